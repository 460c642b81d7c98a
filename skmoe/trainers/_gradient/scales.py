"""Scales that follow the batches: what is typical, and the parameters in new units.

Medians over the last batches, since one batch in another unit, or one wild value, is
to be forgotten: the mean of squares would remember it for ever.
"""

from typing import NamedTuple

import numpy as np

# Batches whose scales are remembered.
REMEMBERED = 16
# Factor by which a scale may be off before the units change.
NEAR = 2.0
# Factor beyond which what was learned in the old units says nothing about the new.
FAR = 10.0
# Standard deviation of a normal variable, in units of its median absolute deviation.
NORMAL = 1.4826


class Units(NamedTuple):
    """Centres and scales (p,) of columns, and those (p,) that have just changed."""

    center: np.ndarray
    scale: np.ndarray
    moved: np.ndarray


def remember(seen, weight, center, spread):
    """The last batches, this one included: weight, centres and spreads of each.

    Plain tuples, since they are saved with the model.
    """
    return (*seen, (float(weight), center, spread))[-REMEMBERED:]


def weighted_medians(values, weight, lower=False):
    """Weighted medians of columns; of two that share the weight, the upper or lower."""
    order = np.argsort(values, axis=0, kind="stable")
    total = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    half = 0.5 * total[-1]
    before = total < half if lower else total <= half
    at = np.minimum(before.sum(axis=0), len(values) - 1)
    rows = np.take_along_axis(order, at[None], axis=0)
    return np.take_along_axis(values, rows, axis=0)[0]


def typical(seen):
    """Centre and scale of each column in the batches seen; zero where none has any."""
    centers, spreads = (np.stack([own[i] for own in seen]) for i in (1, 2))
    weight = np.array([own[0] for own in seen])[:, None]
    weight = np.broadcast_to(weight, centers.shape)
    center = weighted_medians(centers, weight)
    within = weighted_medians(spreads, weight * (spreads > 0))
    # Two batches do not tell yet whether they are apart for good.
    between = weighted_medians(np.abs(centers - center), weight, lower=True)
    return center, np.hypot(within, NORMAL * between)


def followed(center, scale, seen, known):
    """Units of columns, changed where they were known and are off what is typical."""
    own, spread = typical(seen)
    known = known & (scale > 0) & (spread > 0)
    ratio = np.divide(spread, scale, out=np.ones_like(scale), where=known)
    off = (ratio > NEAR) | (ratio < 1.0 / NEAR) | (np.abs(own - center) > NEAR * spread)
    moved = known & off
    center, scale = np.where(moved, own, center), np.where(moved, spread, scale)
    return Units(center, scale, moved)


def shift_inputs(network, theta, before, after):
    """Let a network in new units (``after``) of its inputs be the same function.

    Not for columns that are far from what they were: their weights were learned on
    what is next to a constant now, or beyond all bounds, and stay as they are.
    """
    moved = after.moved & ~is_far(before, after)
    known = np.where(moved, before.scale, 1.0)
    ratio = np.where(moved, after.scale / known, 1.0)
    shift = np.where(moved, (after.center - before.center) / known, 0.0)
    weights, bias = network.layers(theta)[0]
    n_columns = len(ratio)
    bias += shift @ weights[:n_columns]
    weights[:n_columns] *= ratio[:, None]
    if network.n_frequencies:
        _turn(weights[n_columns:], network.frequencies(theta), ratio, shift)


def _turn(weights, frequencies, ratio, shift):
    """Sines and cosines of shifted inputs are those of the inputs, turned."""
    angle = (2.0 * np.pi * frequencies * shift[:, None]).reshape(-1, 1)
    sine, cosine = weights[::2].copy(), weights[1::2].copy()
    weights[::2] = np.cos(angle) * sine - np.sin(angle) * cosine
    weights[1::2] = np.sin(angle) * sine + np.cos(angle) * cosine
    frequencies *= ratio[:, None]


def shift_outputs(network, theta, before, after):
    """Let a network in new units of its outputs be the same function."""
    weights, bias = network.layers(theta)[-1]
    factor = before.scale / after.scale
    weights *= factor
    bias[:] = bias * factor + (before.center - after.center) / after.scale


def with_scales(before, units):
    """Units of outputs before and after, a scale for those that have none yet."""
    now = np.where(units.scale > 0, units.scale, 1.0)
    center, scale = before
    was = Units(center, np.where(scale > 0, scale, now), units.moved)
    return was, units._replace(scale=now)


def is_far(before, after):
    """Columns whose units have changed by so much that nothing learned holds."""
    apart = np.abs(after.center - before.center)
    smaller, larger = np.sort([before.scale, after.scale], axis=0)
    far = (larger > FAR * smaller) | (apart > FAR * smaller)
    return after.moved & far
