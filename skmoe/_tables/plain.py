"""Arrays that need no reading, as most have that are asked about one row at a time."""

import numpy as np

from .table import LARGEST, Table

FLOATS = np.dtype(np.float64), np.dtype(np.float32)


def plain_table(estimator, X, allow_nan):
    """The ``Table`` of an array that reading would leave as it is, else None.

    What has anything else about it, names of columns that the fit had or a gap, say,
    is for ``read_table``, which also says what is wrong.
    """
    known = vars(estimator)
    is_plain = (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.size
        and X.dtype in FLOATS
        and X.flags.c_contiguous
        and X.shape[1] == known.get("n_features_in_")
        and "feature_names_in_" not in known
    )
    # NaN is neither.
    if is_plain and X.min() >= -LARGEST and X.max() <= LARGEST:
        return Table(X, X, allow_nan)
    return None
