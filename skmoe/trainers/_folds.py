"""Predictions of rows by experts that have not seen them."""

import warnings

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
)

from .._sklearn import safe_indexing
from ..experts._answers import predict_expert
from ..experts._base import is_frozen
from ..experts._foreign import fit_expert

# How many times rarer or more frequent than in all rows a class may be in a fold's.
MOST_ODDS = 2.0


def is_splitter(value):
    """Whether a parameter splits rows as those of scikit-learn do."""
    return hasattr(value, "split") and not isinstance(value, str)


def draw_folds(labels, classes, cv, seed, split_params=None, name="cv"):
    """Training and test rows of each fold; classes are spread where they suffice.

    Parameters
    ----------
    labels : (n,) or (n, d)
    classes : class labels, or None
    cv : int, or object with ``split``
    seed : int
        Shuffles the rows if ``cv`` is a number.
    split_params : dict, default=None
        What ``cv.split`` is given besides, such as groups, which a number of folds
        keeps whole.
    name : str
        The parameter that ``cv`` was given by, for messages.
    """
    params = split_params or {}
    if is_splitter(cv):
        rows = np.zeros((len(labels), 1))
        splits = cv.split(rows, labels, **params)
        return checked_folds(splits, len(labels), f"The trainer got {name}={cv!r}")
    if params.get("groups") is not None:
        return _whole_groups(labels, classes, cv, seed, params["groups"])
    n_folds, kind = min(cv, len(labels)), KFold
    if classes is not None:
        rarest = np.unique(labels, return_counts=True)[1].min()
        kind = StratifiedKFold if rarest >= n_folds else KFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels))


def _whole_groups(labels, classes, n_folds, seed, groups):
    """Folds of whole groups; classes are spread as well as these allow."""
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "groups are one only, but folds take at least two; leave groups out, or "
            "use trainer='em'."
        )
    kind = GroupKFold if classes is None else StratifiedGroupKFold
    splitter = kind(min(n_folds, n_groups), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class may have fewer rows than there are folds.
        warnings.filterwarnings("ignore", message="The least populated class")
        splits = list(splitter.split(labels, labels, groups))
    return [(train, test) for train, test in splits if len(train) and len(test)]


def check_whole(folds, groups, whose):
    """Raise ``ValueError``, which begins with ``whose``, where a fold parts a group."""
    for number, (train, test) in enumerate(folds):
        both = np.intersect1d(groups[train], groups[test])
        if len(both):
            raise ValueError(
                f"{whose}, whose fold {number} trains on rows of group {both[0]!r} and "
                "tests others of it; use GroupKFold, or leave groups out."
            )


def checked_folds(splits, n_rows, whose):
    """Training and test rows of each fold as arrays of row numbers.

    Raises ``ValueError``, which begins with ``whose``, for what is no pair of rows.
    """
    folds = []
    try:
        for train, test in splits:
            folds.append((_row_numbers(train, n_rows), _row_numbers(test, n_rows)))
    except (TypeError, ValueError) as error:
        said = str(error).rstrip(".")
        raise ValueError(
            f"{whose}, whose fold {len(folds)} cannot be made: {said}; expected pairs "
            f"of row numbers from 0 to {n_rows - 1}, to train and to test on."
        ) from error
    return folds


def _row_numbers(part, n_rows):
    """Row numbers (m,) of a part of a fold, which may be a mask (n,)."""
    rows = np.asarray(part)
    if rows.dtype == bool and rows.shape == (n_rows,):
        return np.flatnonzero(rows)
    if rows.size == 0 and rows.ndim == 1:
        return np.empty(0, dtype=int)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(f"it has rows of type {rows.dtype}, shape {rows.shape}")
    if rows.min() < 0 or rows.max() >= n_rows:
        worst = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"it has row {worst} of {n_rows} rows")
    return rows


def shares_agree(codes, weight, folds):
    """Whether the training rows of every fold hold the classes about as all rows do."""
    overall = np.bincount(codes, weight)
    overall /= overall.sum()
    for train, _ in folds:
        own = np.bincount(codes[train], weight[train], minlength=len(overall))
        own /= own.sum() or 1.0
        if np.any(own > MOST_ODDS * overall) or np.any(MOST_ODDS * own < overall):
            return False
    return True


def predict_fold(expert, view, labels, weight, fold, *, classes, seed, fit_params=None):
    """Predictions (m, d), or class probabilities, of the test rows of a fold.

    ``fold`` is a pair of training and test rows; ``weight`` (n,) are row weights.
    """
    known = {"classes": classes, "seed": seed, "fit_params": fit_params}
    fitted = fit_to_fold(expert, view, labels, weight, fold, **known)
    return answer_of_fold(fitted, view, labels, fold, classes)


def fit_to_fold(expert, view, labels, weight, fold, *, classes, seed, fit_params=None):
    """The expert, fitted to the training rows; None if these are of one class."""
    train = fold[0]
    if is_frozen(expert):
        return expert
    if classes is not None and np.all(labels[train] == labels[train[0]]):
        # Most classifiers refuse a single class; the answer is known anyway.
        return None
    kept = np.zeros_like(weight)
    kept[train] = weight[train]
    return fit_expert(expert, view, labels, kept, seed, fit_params)


def answer_of_fold(fitted, view, labels, fold, classes):
    """What an expert of ``fit_to_fold`` says of the test rows, (m, d)."""
    train, test = fold
    if fitted is None:
        only = np.asarray(classes == labels[train[0]], dtype=float)
        return np.tile(only, (len(test), 1))
    n_outputs = None if classes is not None else np.size(labels[0])
    return predict_expert(fitted, safe_indexing(view, test), classes, n_outputs)
