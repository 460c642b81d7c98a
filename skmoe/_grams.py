"""Weighted Gram matrices of a design, in one pass over its rows."""

import numpy as np

from ._design import read_only, row_chunks
from ._kernels.blocks import gram_pass
from ._linalg import n_pairs, spread_is_rounding, unpack_grams
from .engines import map_rows


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
        gram_pass(*design, weights, targets, *statistics, start, stop)

    grams, products = map_rows(accumulate, make, len(weights), n_jobs)
    return unpack_grams(grams, n_channels), products


def flat_columns(design, weights):
    """Columns (m, p) without spread in the rows of each weight column (n, m)."""
    X, center, inverse = design
    mass, mean, square = weights.sum(axis=0), 0.0, 0.0
    for rows in row_chunks(X.shape[0]):
        own, Z = weights[rows].T, (X[rows] - center) * inverse
        mean, square = mean + own @ Z, square + own @ Z**2
    return spread_is_rounding(mass, mean, square)
