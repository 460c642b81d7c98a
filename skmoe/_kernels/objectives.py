"""Slopes of the likelihood of routed rows, slot by slot."""

import numpy as np

from ._jit import jit
from .vector import EXP_FLOOR, copy_row, exp_inplace

LOG_2PI = float(np.log(2.0 * np.pi))
# What rounding may leave of a weight of one.
NO_LACK = 1e-12


@jit
def gaussian_log_joint(y, indices, weights, predictions, log_variance, joint):
    """``log w + log N(y | prediction)`` of the slots of a row; -inf where empty."""
    for s in range(indices.size):
        joint[s] = -np.inf
        if indices[s] < 0 or weights[s] <= 0.0:
            continue
        quadratic = 0.0
        for d in range(y.size):
            own = log_variance[indices[s], d]
            error = y[d] - predictions[s, d]
            quadratic += error * error * np.exp(-own) + own + LOG_2PI
        joint[s] = np.log(weights[s]) - 0.5 * quadratic


@jit
def row_posterior(joint, weights, fallback, resp, weighted):
    """Log-density of a row; fills ``resp`` and ``weighted`` of its slots.

    The density and ``resp`` are those of the routed experts alone; ``weighted``, the
    gradient for the gate, compares them with a fallback that has what their weights
    lack to one.
    """
    total, peak = weights.sum(), joint.max()
    if total <= 0.0:
        resp[:], weighted[:] = 0.0, 0.0
        return fallback
    sums = 0.0
    for s in range(joint.size):
        resp[s] = np.exp(joint[s] - peak)
        sums += resp[s]
    lack, relative = 1.0 - total, 0.0
    if lack > NO_LACK:
        relative = np.exp(min(fallback - peak, 700.0))
    mixed = sums + lack * relative
    for s in range(joint.size):
        weighted[s] = (weights[s] * relative - resp[s]) / mixed
        resp[s] /= sums
    return peak + np.log(sums / total)


@jit
def gaussian_slots(
    y, row_weight, indices, weights, given, log_variance, predictions, outputs
):
    """Negative log-likelihood of Gaussian experts; targets have mean 0, variance 1.

    Parameters
    ----------
    y : (n, d), row_weight : (n,), indices, weights : (n, k), log_variance : (K, d)
    given : (n, k) responsibilities in place of the posterior's, or (0, k).
    predictions : (n, k, d)
    outputs : tuple of ``weighted`` (n, k), the slopes of the predictions (n, k, d),
        those of the log-variances (K, d), zero on entry, and ``resp`` (n, k).
    """
    weighted, slope, spread, resp = outputs
    n_rows, n_slots = indices.shape
    joint, value = np.empty(n_slots), 0.0
    for i in range(n_rows):
        fallback = -0.5 * (np.sum(y[i] * y[i]) + y.shape[1] * LOG_2PI)
        gaussian_log_joint(
            y[i], indices[i], weights[i], predictions[i], log_variance, joint
        )
        share = row_weight[i] / n_rows
        density = row_posterior(joint, weights[i], fallback, resp[i], weighted[i])
        value -= share * density
        for s in range(n_slots):
            if given.shape[0] > 0:
                resp[i, s], weighted[i, s] = given[i, s], -given[i, s]
            weighted[i, s] *= share
            pull = share * resp[i, s]
            k = indices[i, s]
            for d in range(y.shape[1]):
                slope[i, s, d] = 0.0
                if k >= 0:
                    precision = np.exp(-log_variance[k, d])
                    error = predictions[i, s, d] - y[i, d]
                    slope[i, s, d] = pull * error * precision
                    spread[k, d] += 0.5 * pull * (1.0 - error * error * precision)
    return value


@jit
def slots_to_logits(weighted, indices, reference, out):
    """Gradient of the logits (n, K), given ``weighted`` (n, k) of the slots.

    ``reference`` (n, K) are log-weights of the experts that share a row's weight.
    """
    n_rows, n_slots = indices.shape
    scratch = np.empty(out.shape[1])
    for i in range(n_rows):
        total = 0.0
        for s in range(n_slots):
            if indices[i, s] >= 0:
                total += weighted[i, s]
        copy_row(reference[i], out[i])
        exp_inplace(out[i], scratch)
        for k in range(out.shape[1]):
            out[i, k] *= -total if reference[i, k] > EXP_FLOOR else 0.0
        for s in range(n_slots):
            if indices[i, s] >= 0:
                out[i, indices[i, s]] += weighted[i, s]
