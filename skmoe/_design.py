"""Columns of a data matrix as the kernels want them.

The data are standardised inside the kernels, block by block: coefficients come out
on a common scale, penalties do not depend on units, and no copy of X is made.
"""

import numpy as np
from scipy import sparse

from ._kernels.em import Design

CHUNK_ROWS = 16384


def read_only(array, dtype=None):
    """Contiguous read-only view, so that kernels are compiled for one type only."""
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def weighted_moments(X, weight):
    """Weighted mean and standard deviation of the columns, without a copy of X.

    Columns that are constant up to rounding get a standard deviation of zero.
    """
    total = weight.sum()
    center = np.zeros(X.shape[1])
    for start in range(0, X.shape[0], CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        center += weight[rows] @ np.asarray(X[rows], dtype=float)
    center /= total
    variance = np.zeros(X.shape[1])
    magnitude = np.zeros(X.shape[1])
    for start in range(0, X.shape[0], CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        deviation = np.asarray(X[rows], dtype=float) - center
        variance += weight[rows] @ deviation**2
        magnitude = np.maximum(magnitude, np.abs(deviation).max(axis=0))
    scale = np.sqrt(variance / total)
    rounding = 10 * np.finfo(X.dtype).eps * np.abs(center)
    scale[(scale <= rounding) | (magnitude <= rounding)] = 0.0
    return center, scale


def make_design(X, weight, standardize=True):
    """Design of the columns of ``X`` (n, p), dense and finite.

    Without ``standardize`` columns keep their scale, and constant ones still drop out.
    """
    X = X.toarray() if sparse.issparse(X) else X
    center, scale = weighted_moments(X, weight)
    scale = scale if standardize else (scale > 0).astype(float)
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return Design(read_only(X), center, inverse)


def empty_design(n_rows):
    """Design without columns: an intercept only."""
    return Design(read_only(np.empty((n_rows, 0))), np.zeros(0), np.zeros(0))


def take_rows(design, rows):
    """The same standardisation on a subset of the rows."""
    return design._replace(X=read_only(design.X[rows]))


def column_scale(design):
    """Standard deviations (p,) of the columns; zero where they are constant."""
    inverse = design.inverse_scale
    return np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)


def to_data_scale(coef, design):
    """Split standardised (m, q) coefficients into slopes and intercepts of the data."""
    slopes = coef[:, :-1] * design.inverse_scale
    return slopes, coef[:, -1] - slopes @ design.center


def from_data_scale(slopes, intercepts, design):
    """Inverse of :func:`to_data_scale`."""
    return np.column_stack(
        [slopes * column_scale(design), intercepts + slopes @ design.center]
    )
