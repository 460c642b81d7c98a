"""The shared expert: active for every row; routed experts model what it leaves.

In regression they predict its residual, in classification they add to its
log-probabilities.  Residuals are out of fold: those of rows that the shared expert was
fitted to would be smaller than the ones that the routed experts meet later.
"""

import numpy as np

from .engines import run_calls
from .experts._foreign import fit_expert, is_frozen
from .likelihoods import smoothed
from .trainers._folds import draw_folds, predict_fold
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
        part = predict_fold(
            expert,
            view,
            labels,
            weight,
            (rows[train], rows[test]),
            classes=classes,
            seed=seed,
            fit_params=fit_params,
        )
        return part if classes is None else np.log(smoothed(part))

    folds = draw_folds(labels[rows], classes, N_FOLDS, seed)
    parts = run_calls(out_of_fold, folds, n_jobs)
    offset = np.zeros((len(weight), parts[0].shape[1]))
    for (_, test), part in zip(folds, parts, strict=True):
        offset[rows[test]] = part
    return fitted, offset
