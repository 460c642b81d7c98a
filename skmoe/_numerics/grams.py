"""Weighted Gram matrices of a design, and what they tell of its columns.

In the rows of a weight some are flat, and no more count than their rank: collinear
ones bear the parameters of one.
"""

import numpy as np
from scipy import sparse

from .._kernels.blocks import gram_pass
from .._kernels.em import Design
from ..engines import map_rows
from .design import as_dense, column_units, counting_rows, make_design, read_only
from .linalg import SINGULAR, n_pairs, spread_is_rounding, unpack_grams
from .products import column_sums, dense_blocks

# Products above which a rank is not looked for, but bounded by rows and columns.
MOST_PRODUCTS = 2e9


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
    return without_spreadless(coef, mass[0], total[0], square[0])


def without_spreadless(coef, mass, total, square):
    """The same by the mass of rows, and sums and sums of squares (p,) of columns."""
    flat = spread_is_rounding(np.array([mass]), total[None], square[None])[0]
    if not coef[:, :-1][:, flat].any():
        return coef
    coef, tiny = coef.copy(), np.finfo(float).tiny
    coef[:, -1] += coef[:, :-1][:, flat] @ (total[flat] / np.maximum(mass, tiny))
    coef[:, :-1][:, flat] = 0.0
    return coef


class Columns:
    """The columns that a part was fitted to, as far as they are known.

    Parameters
    ----------
    X : array, sparse matrix or frame of shape (n, p), default=None
        None, and columns that are no numbers, bound nothing.
    weight : ndarray of shape (n,), default=None
    """

    def __init__(self, X=None, weight=None):
        self.X, self.weight = X, weight
        self._ranks = {}

    def rank(self, centred=True):
        """Rank of the columns, beside an intercept if they are ``centred``."""
        if centred not in self._ranks:
            self._ranks[centred] = self._rank(centred)
        return self._ranks[centred]

    def _rank(self, centred):
        X = numbers_or_none(self.X)
        if X is None:
            return np.inf
        weight = np.ones(X.shape[0]) if self.weight is None else self.weight
        return column_rank(X, weight, centred)

    def through(self, transform):
        """The columns that a fitted transform makes of these."""
        if self.X is None:
            return self
        return Columns(transform(self.X), self.weight)


def numbers_or_none(X):
    """X as a float array or sparse matrix of finite numbers, or None if it is none."""
    if X is None:
        return None
    if sparse.issparse(X):
        return X
    try:
        X = np.asarray(X)
        X = X if X.dtype.kind == "f" else X.astype(float)
    except (TypeError, ValueError):
        return None
    return X if X.ndim == 2 and np.isfinite(X).all() else None


def column_rank(X, weight, centred=True):
    """Rank of the columns of X (n, p) in rows of positive weight.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, p)
    weight : ndarray of shape (n,)
    centred : bool
        Whether they stand beside an intercept.
    """
    n_rows, n_columns = np.count_nonzero(weight), X.shape[1]
    most = max(min(n_rows - centred, n_columns), 0)
    if n_rows * n_columns * most > MOST_PRODUCTS or most == 0:
        return most
    design = make_design(X, weight) if centred else _uncentred(as_dense(X), weight)
    return min(_gram_rank(design, weight), most)


def _gram_rank(design, weight):
    varies = design.inverse_scale > 0
    if np.count_nonzero(varies) < 2:
        return int(np.count_nonzero(varies))
    if len(weight) < design.X.shape[1]:
        rows = weight > 0
        Z = (as_dense(design.X[rows]) - design.center) * design.inverse_scale
        Z *= np.sqrt(weight[rows])[:, None]
        gram = Z @ Z.T
    else:
        grams, _ = weighted_grams(design, weight[:, None], np.empty((len(weight), 0)))
        gram = grams[0, :-1, :-1][np.ix_(varies, varies)]
    values = np.linalg.eigvalsh(gram)
    return int(np.count_nonzero(values > SINGULAR * len(values) * values[-1]))


def _uncentred(X, weight):
    """Design of columns as they are, in units of their root mean square."""
    unit = column_units(X, counting_rows(weight))
    scale = unit * np.sqrt(np.average((X / unit) ** 2, axis=0, weights=weight))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return Design(make_design(X, weight).X, np.zeros(X.shape[1]), inverse)
