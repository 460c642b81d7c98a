"""Products with a standardised design, dense or sparse.

With many columns matrices of curvature cost more than they tell, and solvers ask for
products only.  Sparse rows are centred through the intercept, and stay sparse.
"""

import numpy as np
from scipy import sparse

from .._kernels.em import Design
from ..engines import map_rows
from .design import read_only, row_chunks
from .iterative import lasso_move, preconditioner, solve_by_products
from .linalg import spread_is_rounding

# Dense columns further from zero than this many standard deviations are centred before
# a product; the rest of them, and sparse ones, through the intercept, which loses as
# many digits as that.
FAR = 1e3
# Dense rows are read in blocks of half a megabyte: BLAS is slow with tall ones.
BLOCK_CELLS = 1 << 16
# Cells of sparse rows that are dense at a time.
SPARSE_CELLS = 1 << 20
# Rounds that find the principal axes of many columns.
RANGE_ROUNDS = 3
# Share of its slope that a regression may leave.
REGRESSION_RESIDUAL = 1e-8


def linear(design, coef, n_jobs=None):
    """Standardised rows times coefficients (m, q), last the intercept: (n, m)."""
    slopes, intercept = coef[:, :-1].T, coef[:, -1]
    out = np.empty((design.X.shape[0], len(coef)))
    far = _is_far(design)
    if not far:
        slopes = slopes * design.inverse_scale[:, None]
        intercept = intercept - design.center @ slopes
    slopes = np.ascontiguousarray(slopes)

    def run(_, start, stop):
        for rows, block in _blocks(design, far, start, stop):
            out[rows] = block @ slopes

    map_rows(run, tuple, len(out), n_jobs)
    out += intercept
    return out


def gather(design, values, n_jobs=None):
    """Sums (m, q) over rows of ``values`` (n, m) times standardised rows and a one."""
    n_rows, n_columns = design.X.shape
    shape = values.shape[1], n_columns + 1
    far = _is_far(design)

    def accumulate(sums, start, stop):
        (total,) = sums
        for rows, block in _blocks(design, far, start, stop):
            total[:, :-1] += (block.T @ values[rows]).T
        total[:, -1] += values[start:stop].sum(axis=0)

    (total,) = map_rows(accumulate, lambda: (np.zeros(shape),), n_rows, n_jobs)
    if not far:
        total[:, :-1] -= total[:, -1:] * design.center
        total[:, :-1] *= design.inverse_scale
    return total


def _is_far(design):
    """Whether dense rows lose digits when they are centred after a product."""
    if sparse.issparse(design.X):
        return False
    exact = design.X.dtype == np.float64
    distance = np.abs(design.center * design.inverse_scale)
    return not exact or bool(distance.size and distance.max() > FAR)


def _blocks(design, far, start, stop):
    """Row numbers and rows, standardised where they have to be."""
    X, center, inverse_scale = design
    if sparse.issparse(X):
        yield slice(start, stop), sparse_rows(X, start, stop)
        return
    width = max(1, BLOCK_CELLS // max(X.shape[1], 1))
    for first in range(start, stop, width):
        rows = slice(first, min(first + width, stop))
        yield rows, (X[rows] - center) * inverse_scale if far else X[rows]


def sparse_rows(X, start, stop):
    """Rows of a CSR array, without a copy of what they hold."""
    if start == 0 and stop == X.shape[0]:
        return X
    first, last = X.indptr[start], X.indptr[stop]
    parts = X.data[first:last], X.indices[first:last], X.indptr[start : stop + 1]
    parts = *parts[:2], parts[2] - first
    return sparse.csr_array(parts, shape=(stop - start, X.shape[1]))


def column_sums(design, weights):
    """Masses (m,), sums and sums of squares (m, p) of columns, for weights (n, m)."""
    X, center, inverse = design
    mass, mean, square = weights.sum(axis=0), 0.0, 0.0
    if sparse.issparse(X):
        # Most of them sit at zero, and need no centre.
        scaled = X.data * inverse[X.indices]
        powers = [
            sparse.csr_array((own, X.indices, X.indptr), shape=X.shape)
            for own in (scaled, scaled**2)
        ]
        return mass, *((own.T @ weights).T for own in powers)
    for rows in row_chunks(X.shape[0]):
        own, Z = weights[rows].T, (X[rows] - center) * inverse
        mean, square = mean + own @ Z, square + own @ Z**2
    return mass, mean, square


def regress(design, weights, targets, penalty, start, n_jobs=None):
    """Penalised weighted least squares, one regression per column of the weights.

    Parameters
    ----------
    design : Design
    weights, targets : (n, m)
        Weights of the rows, and weights times outputs.
    penalty : Penalty
        Its numbers may be arrays, one number for each regression.
    start : (m, q)

    Returns
    -------
    (m, q)
    """
    ridge = np.zeros_like(start)
    ridge[:, :-1] = np.reshape(penalty.ridge, (-1, 1))

    def apply(coef):
        rows = linear(design, coef, n_jobs)
        rows *= weights
        return gather(design, rows, n_jobs) + ridge * coef

    # Without spread a column has no coefficient, and keeps none.
    flat = np.zeros(start.shape, dtype=bool)
    flat[:, :-1] = spread_is_rounding(*column_sums(design, weights))
    start = np.where(flat, 0.0, start)

    def curve(move):
        return np.where(flat, move, apply(np.where(flat, 0.0, move)))

    slope = np.where(flat, 0.0, gather(design, targets, n_jobs) - apply(start))
    if np.any(penalty.lasso):
        return start + lasso_move(curve, slope, start, penalty.lasso)
    diagonal = preconditioner(weights.sum(axis=0), ridge)
    return start + solve_by_products(curve, slope, diagonal, REGRESSION_RESIDUAL)


def dense_rows(design):
    """Standardised rows as a dense array, for what can read no other."""
    if sparse.issparse(design.X):
        n_columns = design.X.shape[1]
        return linear(design, np.eye(n_columns, n_columns + 1))
    return (design.X - design.center) * design.inverse_scale


def dense_blocks(design, start, stop):
    """First row, last row, and a dense design of rows ``start : stop``, by blocks."""
    if not sparse.issparse(design.X):
        yield start, stop, design._replace(X=design.X[start:stop])
        return
    width = max(1, SPARSE_CELLS // max(design.X.shape[1], 1))
    center, scale = np.zeros(design.X.shape[1]), np.ones(design.X.shape[1])
    for first in range(start, stop, width):
        last = min(first + width, stop)
        part = design._replace(X=sparse_rows(design.X, first, last))
        yield first, last, Design(read_only(dense_rows(part)), center, scale)


def principal_axes(design, weight, width):
    """Orthonormal combinations (width, q) of the columns that vary most.

    By a few rounds of a randomised range finder (Halko, Martinsson & Tropp 2011) from
    a fixed start; a row of weight two counts as two.
    """
    # Columns without spread draw nothing.
    spread = np.append(design.inverse_scale > 0, True)
    axes = np.zeros((width, len(spread)))
    drawn = width, np.count_nonzero(spread)
    axes[:, spread] = np.random.RandomState(0).normal(size=drawn)
    for _ in range(RANGE_ROUNDS):
        rows = linear(design, axes)
        sums = gather(design, rows * weight[:, None])[:, :-1]
        basis = np.linalg.qr(sums.T)[0].T
        axes = np.column_stack([basis, np.zeros(len(basis))])
    return axes
