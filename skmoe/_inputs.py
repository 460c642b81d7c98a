"""Reading X once: for parts that want numbers, and for parts that want the table."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import assert_all_finite, validate_data

from ._columns import (
    as_table,
    column_names,
    is_frame,
    text_columns,
    text_positions,
    without_na,
)
from ._features import as_numbers, view
from ._sklearn import check_sample_weight


def row_weights(X, sample_weight):
    """Weights (n,) of the rows of X, ones for None.

    Raises ``ValueError`` unless there is one per row, finite, none of them negative and
    some positive: what ``fit`` takes, and whatever else takes weights.
    """
    return check_sample_weight(
        sample_weight,
        X,
        dtype=np.float64,
        ensure_non_negative=True,
        allow_all_zero_weights=False,
    )


class Table:
    """X as validated: for parts that want the table, and for those that want numbers.

    Attributes
    ----------
    raw : what the user gave, a frame where it was one; foreign parts read it
    numbers : float array, or None if some columns are not numbers
    has_gaps : whether X may hold NaN, so that views are still to be checked
    """

    def __init__(self, raw, numbers, has_gaps=True):
        self.raw, self.numbers, self.has_gaps = raw, numbers, has_gaps
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

    def finite(self, X, transformer=None):
        """Numbers, after a check where the table could not be checked as a whole.

        ``transformer`` is what made them of the table, if anything did.
        """
        kind = getattr(X, "dtype", np.dtype(object)).kind
        if kind in "OUS" and (text := text_positions(X)):
            known = column_names(X)
            if hasattr(transformer, "get_feature_names_out"):
                known = transformer.get_feature_names_out()
            names = [str(known[j]) for j in text]
            raise ValueError(
                f"A part that reads numbers got the text columns {names}; encode them, "
                "as in gate_features=make_column_transformer((OneHotEncoder(), "
                f"{names})), or leave them out."
            )
        if self.has_gaps and kind == "f":
            assert_all_finite(X, input_name="X")
        return X

    def dense(self, X):
        """A sparse matrix as an array, made once; anything else as it is."""
        if not sparse.issparse(X):
            return X
        key = ("dense", id(X))
        if key not in self._views:
            self._views[key] = X.toarray()
        return self._views[key]


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
        X = as_table(X)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return Table(X, None)
    X = without_na(X) if tags.allow_nan else X
    numbers = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr" if tags.sparse else False,
        dtype=(np.float64, np.float32),
        order="C",
        ensure_all_finite="allow-nan" if tags.allow_nan else True,
    )
    return Table(X if is_frame(X) else numbers, numbers, tags.allow_nan)


def without_columns(X, columns):
    """The other columns of X as numbers."""
    if is_frame(X):
        kept = [c for c in X.columns if c not in columns]
        return as_numbers(X[kept])
    array = np.asarray(X)
    kept = [j for j in range(array.shape[1]) if j not in columns]
    return np.ascontiguousarray(array[:, kept], dtype=float)
