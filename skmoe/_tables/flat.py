"""Columns without spread where rows count: a part that is fitted there sees nothing."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .._numerics.design import canonical_rows, sparse_moments, weighted_moments
from .columns import column_numbers, is_number_column
from .frames import as_columns, is_frame, is_polars


class FlatColumns(NamedTuple):
    """Columns that say nothing, and what stands there in training and ever after.

    Attributes
    ----------
    columns : (m,) positions
    values : (m,)
    """

    columns: np.ndarray
    values: np.ndarray

    def zeroed(self):
        """The same columns, with zeros."""
        return self._replace(values=np.zeros_like(self.values))

    def of(self, X):
        """A copy of X, a float array, a sparse matrix or a frame, with the values."""
        if sparse.issparse(X):
            return self._sparse(X)
        if is_frame(X):
            return self._frame(X)
        X = X.copy()
        X[:, self.columns] = self.values
        return X

    def _sparse(self, X):
        rows, flat = X.tocsr(copy=True), np.zeros(X.shape[1], dtype=bool)
        flat[self.columns] = True
        rows.data[flat[rows.indices]] = 0.0
        rows.eliminate_zeros()
        if not self.values.any():
            return rows.asformat(X.format)
        there = np.zeros((1, X.shape[1]))
        there[0, self.columns] = self.values
        ones = sparse.csr_array(np.ones((X.shape[0], 1)))
        whole = rows + type(rows)(ones @ sparse.csr_array(there))
        return whole.asformat(X.format)

    def _frame(self, X):
        pairs = zip(self.columns.tolist(), self.values, strict=True)
        if is_polars(X):
            kind, names = type(X[X.columns[0]]), list(X.columns)
            return X.with_columns(
                kind(names[j], np.full(len(X), value)).cast(X[names[j]].dtype)
                for j, value in pairs
            )
        X = X.copy(deep=False)
        for j, value in pairs:
            own = X.iloc[:, j]
            X.isetitem(j, own.__class__(value, index=own.index).astype(own.dtype))
        return X


def find_flat(X, weight):
    """The columns of X without spread in rows that count, or None.

    Columns that hold NaN, or no numbers, are left alone.

    Parameters
    ----------
    X : what a part sees
    weight : ndarray of shape (n,)
    """
    if is_frame(X):
        named = {j: own for j, own in enumerate(as_columns(X)) if is_number_column(own)}
        places, columns = [*named], map(column_numbers, named.values())
        moments = [_moments(own[:, None], weight) for own in columns]
        center, scale = np.array(moments).reshape(-1, 2).T
    elif (sparse.issparse(X) or isinstance(X, np.ndarray)) and X.dtype.kind == "f":
        (center, scale), places = _moments(X, weight), range(X.shape[1])
    else:
        return None
    flat = np.flatnonzero((scale == 0.0) & np.isfinite(center))
    return FlatColumns(np.array(places)[flat], center[flat]) if len(flat) else None


def _moments(X, weight):
    with np.errstate(invalid="ignore"):
        if sparse.issparse(X):
            return sparse_moments(canonical_rows(X), weight)
        return weighted_moments(X, weight)
