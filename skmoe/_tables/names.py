"""Names of columns, which rows may have though those of training had none."""

import sys
from functools import partial

from scipy import sparse

from .._warnings import quietly, warn
from .frames import column_labels, is_frame


def text_names(X):
    """Names of the columns as scikit-learn sees them: strings only, or None."""
    names = column_labels(X) if is_frame(X) else []
    return names if names and all(isinstance(n, str) for n in names) else None


def without_names(X):
    """A frame as an array."""
    return X.to_numpy()


def with_names(X, names):
    """An array as a frame of the library that is there, or as it is without one."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if sparse.issparse(X):
        if pandas is None:
            return X
        return pandas.DataFrame.sparse.from_spmatrix(X, columns=list(names))
    if pandas is not None:
        return pandas.DataFrame(X, columns=list(names)).infer_objects()
    return X if polars is None else polars.DataFrame(X, schema=list(names))


def names_differ(estimator, X):
    """Whether rows have names of columns where training had none, or the reverse.

    A warning says so at the user's line.
    """
    known, own = vars(estimator).get("feature_names_in_"), text_names(X)
    if (known is None) == (own is None):
        return False
    owner, shown = type(estimator).__name__, "X does not have valid feature names, but"
    given = f"{shown} {owner} was fitted with feature names"
    if known is None:
        given = f"X has feature names, but {owner} was fitted without feature names"
    warn(f"{given}; columns are taken in their order.")
    return True


def as_in_training(estimator, X, numbers=None):
    """X with names of columns if training had them, and without if it had none.

    No part is to wonder again. ``numbers`` is what X holds if it is numbers.
    """
    known = vars(estimator).get("feature_names_in_")
    if known is None:
        return without_names(X) if numbers is None else numbers
    return with_names(X if numbers is None else numbers, known)


def checking_quietly(check):
    """A check that has no more to say of names, of which the user was told."""
    return partial(quietly, check, kinds=UserWarning)


def advised(error, advice):
    """An error of scikit-learn with what to do, which it leaves out."""
    said = str(error).partition("\n")[0].rstrip(".!")
    return ValueError(f"{said}; {advice}.")


# How scikit-learn begins where columns are not those of training, and what to do.
COLUMNS = {
    "The feature names should match": (
        "Give the columns of training in their order, as by "
        "X[list(model.feature_names_in_)]."
    ),
    "X has ": "Give as many columns as fit was given, in their order.",
}


def refuse_columns(error):
    """Say what to do, too, where scikit-learn says how columns differ."""
    said = str(error).rstrip()
    for begin, advice in COLUMNS.items():
        if said.startswith(begin):
            raise ValueError(f"{said}\n{advice}") from error


def check_names(X, owner):
    """Raise ``ValueError`` for a frame without columns, or with a name twice."""
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


def check_cells(X):
    """Refuse columns whose type says that each cell holds several values."""
    for name, dtype in zip(X.columns, X.dtypes, strict=True):
        if hasattr(dtype, "is_nested") and dtype.is_nested():
            raise ValueError(
                f"Column {name!r} of X holds {dtype}, but each cell must be a single "
                "value; give its parts columns of their own."
            )
