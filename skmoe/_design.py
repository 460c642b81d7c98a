"""Columns of a data matrix as the kernels want them.

The data are standardised inside the kernels, block by block: coefficients come out
on a common scale, penalties do not depend on units, and no copy of X is made.
"""

import numpy as np
from scipy import sparse

from ._kernels.em import Design

CHUNK_ROWS = 16384
# Mean weights from 2^-40 to 2^40 are taken as they are.
WEIGHT_BITS = 40
# Beside a row of weight one, a row of so little changes no sum.
NEGLIGIBLE_WEIGHT = 1e-20
# Spread, relative to the largest value, that may be all rounding of whatever made the
# column; predictions from a column of less would be rounding, too.
SPREADLESS = 1e-12
SMALLEST_SCALE = 1e-290


def read_only(array, dtype=None):
    """Contiguous read-only view, so that kernels are compiled for one type only."""
    view = np.ascontiguousarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def counting_rows(weight):
    """Mask of the rows whose weight is not lost beside the largest one."""
    return weight > NEGLIGIBLE_WEIGHT * np.max(weight, initial=0.0)


def counted_weights(weight):
    """Weights (n,) of which the negligible are zero, in a unit, and that unit.

    The unit is one unless products of weights and squares might leave the range of
    numbers.  Beyond it penalties are everything or nothing as they are at its ends.
    """
    weight = np.where(counting_rows(weight), weight, 0.0)
    largest = weight.max()
    mean = np.mean(weight[weight > 0] / largest) * largest
    exponent = int(np.frexp(mean)[1])
    unit = 2.0 ** (exponent - np.clip(exponent, -WEIGHT_BITS, WEIGHT_BITS))
    return weight / unit, float(unit)


def weighted_moments(X, weight):
    """Weighted mean and standard deviation of the columns, without a copy of X.

    A column without spread has its very value for a mean, and a deviation of zero.
    Everything is measured from a row that counts, in units of the largest value: so
    a constant leaves no rounding, and no square leaves the range of numbers.
    """
    counts = counting_rows(weight)
    weight = np.where(counts, weight / np.max(weight), 0.0)
    total, unit = weight.sum(), column_units(X, counts)
    at = np.asarray(X[np.argmax(weight)], dtype=float)
    mean, variance, rest = np.zeros((3, X.shape[1]))
    for rows in row_chunks(X.shape[0]):
        mean += weight[rows] @ ((X[rows] - at) / unit)
    center = at + mean / total * unit
    for rows in row_chunks(X.shape[0]):
        deviation = (X[rows] - center) / unit
        rest += weight[rows] @ deviation
        variance += weight[rows] @ deviation**2
    # What rounding left of the mean is no spread.
    scale = np.sqrt(np.maximum(variance / total - (rest / total) ** 2, 0.0))
    scale[scale <= max(SPREADLESS, 16 * np.finfo(X.dtype).eps)] = 0.0
    scale *= unit
    # Its inverse, times a coefficient, must be a number.
    return center, np.where(scale >= SMALLEST_SCALE, scale, 0.0)


def target_scales(y, weight):
    """Means and units (n_outputs,) of targets; the unit is one without spread."""
    center, scale = weighted_moments(y, weight)
    return center, np.where(scale > 0, scale, 1.0)


def column_units(X, counts):
    """Powers of two (p,) near the largest absolute values of the rows that count."""
    largest = np.zeros(X.shape[1])
    for rows in row_chunks(X.shape[0]):
        own = np.asarray(X[rows], dtype=float)[counts[rows]]
        largest = np.maximum(largest, np.abs(own).max(axis=0, initial=0.0))
    return np.ldexp(1.0, np.frexp(np.where(largest > 0, largest, 1.0))[1])


def row_chunks(n_rows):
    """Slices that cover the rows."""
    for start in range(0, n_rows, CHUNK_ROWS):
        yield slice(start, start + CHUNK_ROWS)


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
