"""The shared expert: active for every row; routed experts model what it leaves.

In regression they predict its residual, in classification they add to its
log-probabilities.  Residuals are out of fold: those of rows that the shared expert was
fitted to would be smaller than the ones that the routed experts meet later.
"""

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from ._sklearn import safe_indexing
from .engines import run_calls
from .experts._foreign import fit_expert, is_frozen
from .likelihoods import smoothed
from .trainers._refit import predict_expert

N_FOLDS = 5


def contribution(shared, view, classes):
    """What a fitted shared expert adds to every expert: (n, d) predictions or
    log-probabilities (n, C)."""
    prediction = predict_expert(shared, view, classes)
    return prediction if classes is None else np.log(smoothed(prediction))


def fit_shared(expert, view, labels, weight, *, classes, seed, n_jobs, fit_params):
    """Fit the shared expert to all rows, and to all but each fold.

    Parameters
    ----------
    expert : unfitted estimator, or a frozen one, which is taken as it is
    view : what it sees of X
    labels : (n,) or (n, d)
    weight : (n,) rows of weight zero take no part.
    classes : class labels, or None
    seed : int
    n_jobs : int or None
    fit_params : dict

    Returns
    -------
    fitted : estimator
    offset : (n, d) or (n, C)
        Its out-of-fold contribution; zero in rows of weight zero.
    """
    rows = np.flatnonzero(weight > 0)
    fitted = fit_expert(expert, view, labels, weight, seed, fit_params)
    if is_frozen(expert):
        return fitted, contribution(fitted, view, classes)

    def out_of_fold(train, test):
        train, test = rows[train], rows[test]
        if classes is not None and np.all(labels[train] == labels[train[0]]):
            # Most classifiers refuse a single class; the answer is known anyway.
            only = np.asarray(classes == labels[train[0]], dtype=float)
            return np.log(smoothed(np.tile(only, (len(test), 1))))
        kept = np.zeros_like(weight)
        kept[train] = weight[train]
        part = fit_expert(expert, view, labels, kept, seed, fit_params)
        return contribution(part, safe_indexing(view, test), classes)

    folds = list(_folds(labels[rows], classes, seed))
    parts = run_calls(out_of_fold, folds, n_jobs)
    offset = np.zeros((len(weight), parts[0].shape[1]))
    for (_, test), part in zip(folds, parts, strict=True):
        offset[rows[test]] = part
    return fitted, offset


def _folds(labels, classes, seed):
    """Training and test rows of each fold; classes are spread where they suffice."""
    n_folds, kind = min(N_FOLDS, len(labels)), KFold
    if classes is not None:
        rarest = np.unique(labels, return_counts=True)[1].min()
        kind = StratifiedKFold if rarest >= n_folds else KFold
    return kind(n_folds, shuffle=True, random_state=seed).split(labels, labels)
