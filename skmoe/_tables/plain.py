"""Rows that need no reading, as most have that are asked about one at a time."""

import sys

import numpy as np

from .table import LARGEST, Table

FLOATS = np.dtype(np.float64), np.dtype(np.float32)


def plain_table(estimator, X, allow_nan):
    """The ``Table`` of rows that reading would leave as they are, else None.

    They are arrays of finite floats, or data frames of pandas with the columns of the
    fit in their order, all doubles.  Whatever has anything else about it, a gap, say,
    is for ``read_table``, which also says what is wrong.
    """
    known, numbers = vars(estimator), X
    names = known.get("feature_names_in_")
    if names is not None:
        numbers = _frame_numbers(X, names)
    is_plain = (
        type(numbers) is np.ndarray
        and numbers.ndim == 2
        and numbers.size
        and numbers.dtype in FLOATS
        and numbers.flags.c_contiguous
        and numbers.shape[1] == known.get("n_features_in_")
    )
    # NaN is within no range.
    if is_plain and -LARGEST <= float(numbers.min()) <= float(numbers.max()) <= LARGEST:
        return Table(X, numbers, allow_nan)
    return None


def plain_numbers(X):
    """The numbers of a float array, or a frame of pandas that holds nothing else.

    None for anything else, integers that floats do not hold among it.
    """
    pandas = sys.modules.get("pandas")
    if type(X) is np.ndarray:
        return X if X.dtype in FLOATS else None
    if pandas is None or type(X) is not pandas.DataFrame:
        return None
    return X.to_numpy() if all(own in FLOATS for own in X.dtypes.tolist()) else None


def _frame_numbers(X, names):
    """The doubles of a frame of pandas with these columns, None for anything else."""
    pandas = sys.modules.get("pandas")
    if pandas is None or type(X) is not pandas.DataFrame:
        return None
    if X.columns.tolist() != names.tolist():
        return None
    # Of other types scikit-learn knows what they are together.
    if any(own != FLOATS[0] for own in X.dtypes.tolist()):
        return None
    return np.ascontiguousarray(X.to_numpy())
