"""How many parameters columns can bear: their rank, collinear ones counted once."""

import numpy as np
from scipy import sparse

from .._kernels.em import Design
from .design import as_dense, column_units, counting_rows, make_design
from .grams import weighted_grams
from .linalg import SINGULAR
from .network import standardised

# Products above which a rank is not looked for, but bounded by rows and columns.
MOST_PRODUCTS = 2e9


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
        Z = np.sqrt(weight[rows])[:, None] * standardised(design.X[rows], *design[1:])
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
