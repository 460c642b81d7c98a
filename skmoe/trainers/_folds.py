"""Predictions of rows by experts that have not seen them."""

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from .._sklearn import safe_indexing
from ..experts._answers import predict_expert
from ..experts._base import is_frozen
from ..experts._foreign import fit_expert

# How many times rarer or more frequent than in all rows a class may be in a fold's.
MOST_ODDS = 2.0


def draw_folds(labels, classes, cv, seed, split_params=None):
    """Training and test rows of each fold; classes are spread where they suffice.

    Parameters
    ----------
    labels : (n,) or (n, d)
    classes : class labels, or None
    cv : int, or object with ``split``
    seed : int
        Shuffles the rows if ``cv`` is a number.
    split_params : dict, default=None
        What ``cv.split`` is given besides, such as groups.
    """
    if hasattr(cv, "split"):
        rows = np.zeros((len(labels), 1))
        return list(cv.split(rows, labels, **(split_params or {})))
    n_folds, kind = min(cv, len(labels)), KFold
    if classes is not None:
        rarest = np.unique(labels, return_counts=True)[1].min()
        kind = StratifiedKFold if rarest >= n_folds else KFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels))


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
    train, test = fold
    part = safe_indexing(view, test)
    if is_frozen(expert):
        return predict_expert(expert, part, classes, check=False)
    if classes is not None and np.all(labels[train] == labels[train[0]]):
        # Most classifiers refuse a single class; the answer is known anyway.
        only = np.asarray(classes == labels[train[0]], dtype=float)
        return np.tile(only, (len(test), 1))
    kept = np.zeros_like(weight)
    kept[train] = weight[train]
    fitted = fit_expert(expert, view, labels, kept, seed, fit_params)
    return predict_expert(fitted, part, classes, check=False)
