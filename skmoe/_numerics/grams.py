"""Weighted Gram matrices of a design, in one pass over its rows."""

import numpy as np

from .._kernels.blocks import gram_pass
from ..engines import map_rows
from .design import read_only
from .linalg import n_pairs, spread_is_rounding, unpack_grams
from .products import column_sums, dense_blocks


def weighted_grams(design, weights, targets, n_jobs=None):
    """Gram matrices (m, q, q) for weight columns (n, m), and products (t, q)."""
    weights, targets = read_only(weights, float), read_only(targets, float)
    n_channels = design.X.shape[1] + 1

    def make():
        return (
            np.zeros((n_pairs(n_channels), weights.shape[1])),
            np.zeros((targets.shape[1], n_channels)),
        )

    def accumulate(statistics, start, stop):
        for first, last, part in dense_blocks(design, start, stop):
            own = weights[first:last], targets[first:last]
            gram_pass(*part, *own, *statistics, 0, last - first)

    grams, products = map_rows(accumulate, make, len(weights), n_jobs)
    return unpack_grams(grams, n_channels), products


def flat_columns(design, weights):
    """Columns (m, p) without spread in the rows of each weight column (n, m)."""
    return spread_is_rounding(*column_sums(design, weights))


def without_flat(coef, design, weight):
    """Coefficients (K, q) of the same values in the weighted rows, none of them on a
    column without spread there."""
    mass, total, square = column_sums(design, weight[:, None])
    flat, tiny = spread_is_rounding(mass, total, square)[0], np.finfo(float).tiny
    if not coef[:, :-1][:, flat].any():
        return coef
    coef = coef.copy()
    coef[:, -1] += coef[:, :-1][:, flat] @ (total[0, flat] / np.maximum(mass[0], tiny))
    coef[:, :-1][:, flat] = 0.0
    return coef
