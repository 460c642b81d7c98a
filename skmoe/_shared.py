"""The shared expert: active for every row; routed experts model what it leaves.

In regression they predict its residual, in classification they add to its
log-probabilities.  Residuals are out of fold: those of rows that the shared expert was
fitted to would be smaller than the ones that the routed experts meet later.
"""

import numpy as np

from ._features import as_numbers
from ._sklearn import safe_indexing
from .engines import run_calls
from .experts._foreign import fit_expert, is_frozen
from .initialization import content_hash
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
        own = np.zeros_like(weight)
        own[rows[train]] = weight[rows[train]]
        part = fit_expert(expert, view, labels, own, seed, fit_params)
        return contribution(part, safe_indexing(view, rows[test]), classes)

    folds = list(_folds(safe_indexing(view, rows), labels[rows], classes, seed))
    parts = run_calls(out_of_fold, folds, n_jobs)
    offset = np.zeros((len(weight), parts[0].shape[1]))
    for (_, test), part in zip(folds, parts, strict=True):
        offset[rows[test]] = part
    return fitted, offset


def _folds(view, labels, classes, seed):
    """Training and test rows of each fold.

    Equal rows share a fold, and so weights count as repetitions; classes are spread
    over the folds.
    """
    keys = _row_keys(view, labels if classes is None else None, seed)
    group = np.zeros(len(keys))
    if classes is not None:
        group = np.searchsorted(classes, labels)
    _, code = np.unique(np.column_stack([group, keys]), axis=0, return_inverse=True)
    fold = code.ravel() % min(N_FOLDS, code.max() + 1)
    for number in range(fold.max() + 1):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _row_keys(view, labels, seed):
    """A number per row: of its content where that is numeric, else by chance."""
    numbers = as_numbers(view)
    if getattr(numbers, "dtype", np.dtype(object)).kind != "f":
        return np.random.default_rng(seed).random(view.shape[0])
    if isinstance(numbers, np.ndarray):
        numbers = np.nan_to_num(numbers)
    keys = content_hash(numbers)
    if labels is not None:
        keys = keys + content_hash(labels.reshape(len(labels), -1))
    return keys
