"""Tables as users give them: what cannot be read at all is refused at the door."""

import numpy as np
from scipy import sparse

from .columns import is_gap
from .frames import as_columns, column_labels, from_arrow, is_frame


def opened(X, estimator):
    """The table behind X: an arrow table as a data frame, masked values as gaps.

    Raises ``ValueError`` for what is no table of single values with a name each.
    """
    if type(X).__name__ == "LazyFrame":
        raise ValueError("X is a LazyFrame, whose rows are not read; give X.collect().")
    if isinstance(X, np.ma.MaskedArray):
        return without_mask(X)
    X = from_arrow(X)
    if is_frame(X):
        _check_names(X, type(estimator).__name__)
        _check_cells(X)
    return X


def without_mask(values):
    """A masked array as an array, with NaN in place of what is masked."""
    if not np.ma.getmaskarray(values).any():
        return values.data
    return values.astype(np.result_type(values.dtype, np.float32)).filled(np.nan)


def _check_names(X, owner):
    names = list(X.columns)
    if not names:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {owner}; give X at least one column."
        )
    if len(set(names)) < len(names):
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        raise ValueError(
            f"X has several columns named {twice[0]!r}, but expected a name for each; "
            "rename or drop the others."
        )


def _check_cells(X):
    """Refuse columns whose type says that each cell holds several values."""
    for name, dtype in zip(X.columns, X.dtypes, strict=True):
        if hasattr(dtype, "is_nested") and dtype.is_nested():
            raise ValueError(
                f"Column {name!r} of X holds {dtype}, but each cell must be a single "
                "value; give its parts columns of their own."
            )


def not_finite(X):
    """Name (position) of the first column with a gap or infinity, or None."""
    if sparse.issparse(X) or len(np.shape(X)) != 2:
        return None
    for name, column in zip(column_labels(X), as_columns(X), strict=True):
        if any(is_gap(value) or value in (np.inf, -np.inf) for value in column):
            return name
    return None
