"""Reading X once: for parts that want numbers, and for parts that want the table."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from ._features import as_numbers, view


class Table:
    """X as validated: for parts that want the table, and for those that want numbers.

    Attributes
    ----------
    raw : what the user gave, a frame where it was one; foreign parts read it
    numbers : float array, or None if some columns are not numbers
    """

    def __init__(self, raw, numbers):
        self.raw, self.numbers = raw, numbers
        self._views = {}

    @property
    def n_rows(self):
        """Number of rows."""
        return self.raw.shape[0]

    def view(self, transformer):
        """The transformed columns, computed once per transformer."""
        key = id(transformer)
        if key not in self._views:
            self._views[key] = view(transformer, self.raw)
        return self._views[key]

    def without(self, columns):
        """The other columns as numbers, made once."""
        key = ("without", tuple(columns))
        if key not in self._views:
            self._views[key] = without_columns(self.raw, columns)
        return self._views[key]

    def dense(self, X):
        """A sparse matrix as an array, made once; anything else as it is."""
        if not sparse.issparse(X):
            return X
        key = ("dense", id(X))
        if key not in self._views:
            self._views[key] = X.toarray()
        return self._views[key]


def is_frame(X):
    """Whether X is a pandas or polars data frame."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def text_columns(X):
    """Names (positions) of columns of X that are not numbers."""
    if is_frame(X):
        named = zip(X.columns, as_columns(X), strict=True)
        return [name for name, column in named if not _numeric_dtype(column.dtype)]
    array = np.asarray(X)
    return text_positions(array) if array.ndim == 2 else []


def as_columns(X):
    """Values of each column of a frame, or an array, by position."""
    if not is_frame(X):
        array = X if hasattr(X, "shape") else np.asarray(X, dtype=object)
        return [array[:, j] for j in range(array.shape[1])]
    if hasattr(X, "items"):
        # Several times faster than by position.
        return [column for _, column in X.items()]
    return [X[name] for name in X.columns]


def text_positions(X):
    """Positions of columns that are neither numbers nor times."""
    array = not is_frame(X)
    found = []
    for j, column in enumerate(as_columns(X)):
        if array and getattr(column, "dtype", np.dtype(object)).kind not in "OUS":
            continue
        numeric = _is_floats(column) if array else _is_ordered(column.dtype)
        if not numeric:
            found.append(j)
    return found


def _is_ordered(dtype):
    temporal = getattr(dtype, "is_temporal", None)
    if temporal is not None:
        return _numeric_dtype(dtype) or temporal()
    return _numeric_dtype(dtype) or getattr(dtype, "kind", "O") in "mM"


def column_numbers(column):
    """A numeric column as floats; NaN for gaps, seconds for times."""
    if hasattr(column, "cast") and _numeric_dtype(column.dtype):
        column = column.cast(float)
    if hasattr(column, "isna") and _numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    values = np.asarray(column)
    if values.dtype.kind in "mM":
        seconds = values.astype(f"{values.dtype.kind}8[s]").astype(float)
        return np.where(np.isnat(values), np.nan, seconds)
    return values.astype(float)


def column_text(column):
    """A column of categories as strings, None for gaps."""
    if hasattr(column, "isna"):
        gaps, values = column.isna().to_numpy(), column.to_numpy(dtype=object)
    else:
        values = np.array(list(column), dtype=object)
        gaps = np.array([v is None or v != v for v in values], dtype=bool)
    strings = [None if gap else str(v) for gap, v in zip(gaps, values, strict=True)]
    return np.array(strings, dtype=object)


def _numeric_dtype(dtype):
    if hasattr(dtype, "is_numeric"):
        return dtype.is_numeric() or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biuf"


def _is_floats(column):
    try:
        np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        return False
    return True


def read_table(estimator, X, *, reset, allow_text, tags):
    """Validate X, set or check names and counts of columns on ``estimator``.

    Parameters
    ----------
    allow_text : bool
        Whether no part reads all columns as numbers, so that text may pass.
    tags : InputTags
        Of the estimator: whether NaN and sparse matrices pass.
    """
    if reset:
        estimator._reads_text = bool(allow_text and text_columns(X))
    if estimator._reads_text:
        # What was text in training is text in a batch that happens to have none.
        X = X if hasattr(X, "shape") else np.asarray(X, dtype=object)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return Table(X, None)
    numbers = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr" if tags.sparse else False,
        dtype=(np.float64, np.float32),
        order="C",
        ensure_all_finite="allow-nan" if tags.allow_nan else True,
    )
    return Table(X if is_frame(X) else numbers, numbers)


def without_columns(X, columns):
    """The other columns of X as numbers."""
    if is_frame(X):
        kept = [c for c in X.columns if c not in columns]
        return as_numbers(X[kept])
    array = np.asarray(X)
    kept = [j for j in range(array.shape[1]) if j not in columns]
    return np.ascontiguousarray(array[:, kept], dtype=float)
