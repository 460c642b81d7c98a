"""Columns of a data matrix as the kernels want them.

The data are standardised inside the kernels, block by block: coefficients come out
on a common scale, penalties do not depend on units, and no copy of X is made.  Sparse
columns stay as they are; ``_products`` centres what it makes of them.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .._kernels.em import Design
from ..engines import TreeSum

CHUNK_ROWS = 16384
# So few sparse columns, in so few cells, are made dense for training: passes over them
# are faster than products.
FEW_COLUMNS, FEW_CELLS = 100, 1 << 24
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


def evidence(weight):
    """How many rows weights (n,) stand for: their sum, or the rows, if that is more.

    Weights that sum to less than there are rows are relative ones.
    """
    return max(float(weight.sum()), float(np.count_nonzero(counting_rows(weight))))


def counted_weights(weight):
    """Weights (n,) of which the negligible are zero, in a unit, and that unit.

    The unit is one unless products of weights and squares might leave the range of
    numbers.  Beyond it penalties are everything or nothing as they are at its ends.
    """
    weight = np.where(counting_rows(weight), weight, 0.0)
    largest = weight.max()
    mean = np.mean(weight[weight > 0] / largest) * largest
    unit = weight_unit(mean)
    return weight / unit, unit


def weight_unit(mean):
    """The unit of weights of which this is the mean, for ``counted_weights``."""
    exponent = int(np.frexp(mean)[1])
    return float(2.0 ** (exponent - np.clip(exponent, -WEIGHT_BITS, WEIGHT_BITS)))


class Moments(NamedTuple):
    """Weighted moments of the columns of some rows.

    Attributes
    ----------
    weight : float, sum of the weights
    mean : (p,) array
    square : (p,) array, weighted sum of squared deviations, in squares of ``unit``
    unit : (p,) array, powers of two near the largest absolute values
    """

    weight: float
    mean: np.ndarray
    square: np.ndarray
    unit: np.ndarray

    def scales(self, dtype):
        """Mean and standard deviation of columns of a type.

        A column without spread has its very value for a mean, and a deviation of zero.
        """
        variance = self.square / self.weight
        return self.mean, rounded_scale(variance, 0.0, self.unit, dtype)


def block_moments(X, weight):
    """``Moments`` of a few rows; rows without weight count for nothing.

    Everything is measured from a row that counts, in units of the largest value: so
    a constant leaves no rounding, and no square leaves the range of numbers.
    """
    X, total = np.asarray(X, dtype=float), float(weight.sum())
    if not total:
        return Moments(0.0, *np.zeros((2, X.shape[1])), np.ones(X.shape[1]))
    unit = powers_above(np.abs(X[weight > 0]).max(axis=0, initial=0.0))
    at = X[np.argmax(weight)]
    mean = at + weight @ ((X - at) / unit) / total * unit
    deviation = (X - mean) / unit
    rest = weight @ deviation
    square = weight @ deviation**2 - rest**2 / total
    return Moments(total, mean, np.maximum(square, 0.0), unit)


def merged_moments(one, other):
    """``Moments`` of the rows of both.

    Chan, T. F., Golub, G. H., LeVeque, R. J. (1979). Updating formulae and a pairwise
    algorithm for computing sample variances. Stanford, STAN-CS-79-773.
    """
    if not one.weight or not other.weight:
        return one if one.weight else other
    weight, unit = one.weight + other.weight, np.maximum(one.unit, other.unit)
    step = (other.mean - one.mean) / unit
    square = one.square * (one.unit / unit) ** 2 + other.square * (
        (other.unit / unit) ** 2
    )
    square += step**2 * (one.weight * (other.weight / weight))
    return Moments(
        weight, one.mean + step * (other.weight / weight) * unit, square, unit
    )


def weighted_moments(X, weight):
    """Weighted mean and standard deviation of the columns, without a copy of X.

    A column without spread has its very value for a mean, and a deviation of zero.
    """
    weight = np.where(counting_rows(weight), weight, 0.0)
    # Exact, so that the unit of the weights leaves no trace.
    weight = weight / powers_above(np.max(weight, initial=0.0))
    total = TreeSum(merged_moments)
    for number, rows in enumerate(row_chunks(X.shape[0])):
        total.add(number, block_moments(X[rows], weight[rows]))
    return total.total().scales(X.dtype)


def widened_scales(scales, values, seen, weight):
    """Scales by which columns without spread so far have that of ``values`` (n, p).

    Their centres stay: all rows before, of weight ``seen``, were just there, and are
    zeros in every sum.
    """
    if scales is None or np.all(scales[1] > 0):
        return scales
    center, scale = scales[0], scales[1].copy()
    flat = scale == 0
    at = center[flat]
    before = Moments(seen, at, np.zeros(len(at)), powers_above(np.abs(at)))
    moments = merged_moments(before, block_moments(values[:, flat], weight))
    scale[flat] = moments.scales(values.dtype)[1]
    return center, scale


def rounded_scale(variance, rest, unit, dtype):
    """Standard deviations by mean squares and means of deviations in some unit."""
    # What rounding left of the mean is no spread.
    scale = np.sqrt(np.maximum(variance - rest**2, 0.0))
    scale[scale <= max(SPREADLESS, 16 * np.finfo(dtype).eps)] = 0.0
    scale *= unit
    # Its inverse, times a coefficient, must be a number.
    return np.where(scale >= SMALLEST_SCALE, scale, 0.0)


def target_scales(y, weight, scales=None):
    """Means and units (n_outputs,) of targets; the unit is one without spread.

    ``scales`` are their means and standard deviations, if they are known.
    """
    center, scale = weighted_moments(y, weight) if scales is None else scales
    return center, np.where(scale > 0, scale, 1.0)


def column_units(X, counts):
    """Powers of two (p,) near the largest absolute values of the rows that count."""
    largest = np.zeros(X.shape[1])
    for rows in row_chunks(X.shape[0]):
        own = np.asarray(X[rows], dtype=float)[counts[rows]]
        largest = np.maximum(largest, np.abs(own).max(axis=0, initial=0.0))
    return powers_above(largest)


def powers_above(largest):
    """Powers of two just above positive numbers; one for others."""
    return np.ldexp(1.0, np.frexp(np.where(largest > 0, largest, 1.0))[1])


def row_chunks(n_rows):
    """Slices that cover the rows."""
    for start in range(0, n_rows, CHUNK_ROWS):
        yield slice(start, start + CHUNK_ROWS)


def sparse_moments(X, weight):
    """``weighted_moments`` of a CSR array in canonical form; zeros are not visited."""
    counts = counting_rows(weight)
    weight = np.where(counts, weight / np.max(weight), 0.0)
    total, n_columns = weight.sum(), X.shape[1]
    own = np.repeat(weight, np.diff(X.indptr))
    unit = sparse_units(X, own > 0)

    def sums(values):
        return np.bincount(X.indices, weights=values, minlength=n_columns)

    # Counted, since a difference of weights would leave rounding where none is zero.
    stored = np.bincount(X.indices[own > 0], minlength=n_columns)
    zeros = np.where(stored < np.count_nonzero(weight), total - sums(own), 0.0)
    first = slice(*X.indptr[[np.argmax(weight), np.argmax(weight) + 1]])
    at = np.zeros(n_columns)
    at[X.indices[first]] = X.data[first]
    distance = (X.data - at[X.indices]) / unit[X.indices]
    mean = sums(own * distance) - zeros * (at / unit)
    center = at + mean / total * unit
    distance = (X.data - center[X.indices]) / unit[X.indices]
    rest = sums(own * distance) - zeros * (center / unit)
    variance = sums(own * distance**2) + zeros * (center / unit) ** 2
    return center, rounded_scale(variance / total, rest / total, unit, X.dtype)


def sparse_units(X, counts):
    """``column_units`` of the entries of a CSR array that count."""
    largest = np.zeros(X.shape[1])
    np.maximum.at(largest, X.indices[counts], np.abs(X.data[counts]))
    return powers_above(largest)


def make_design(X, weight, standardize=True, scales=None):
    """Design of the columns of ``X`` (n, p), finite; sparse columns stay sparse.

    Without ``standardize`` columns keep their scale, and constant ones still drop out.
    ``scales`` are means and standard deviations of the columns, if they are known.
    """
    if sparse.issparse(X):
        X, moments = canonical_rows(X), sparse_moments
    else:
        X, moments = read_only(X), weighted_moments
    center, scale = moments(X, weight) if scales is None else scales
    scale = scale if standardize else (scale > 0).astype(float)
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return Design(X, center, inverse)


def known_design(X, fitted):
    """Design of columns (n, p) that are standardised as those of a ``fitted`` part."""
    scale = fitted.scale_
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return Design(read_only(X), fitted.center_, inverse)


def canonical_rows(X):
    """A sparse matrix as a CSR array of doubles without entries that are doubled."""
    rows = sparse.csr_array(X, dtype=np.float64)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def as_dense(X):
    """A sparse matrix as an array, for parts that read no other; others as they are."""
    return X.toarray() if sparse.issparse(X) else X


def stays_sparse(X):
    """Whether sparse columns are too many to be made dense."""
    return X.shape[1] > FEW_COLUMNS or X.shape[0] * X.shape[1] > FEW_CELLS


def empty_design(n_rows):
    """Design without columns: an intercept only."""
    return Design(read_only(np.empty((n_rows, 0))), np.zeros(0), np.zeros(0))


def take_rows(design, rows):
    """The same standardisation on a subset of the rows."""
    X = design.X[rows]
    return design._replace(X=X if sparse.issparse(X) else read_only(X))


def n_varying(design):
    """Number of columns with some spread, and one for the intercept."""
    return 1 + np.count_nonzero(design.inverse_scale)


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
