"""The shared expert: active for every row; routed experts model what it leaves.

In regression they predict its residual, in classification they add to its
log-probabilities.  Residuals are out of fold: those of rows that the shared expert was
fitted to would be smaller than the ones that the routed experts meet later.
"""

from typing import NamedTuple

import numpy as np

from .._numerics.grams import Columns
from .._warnings import heard, tell
from ..engines import run_calls
from ..experts._answers import predict_expert
from ..experts._base import is_frozen
from ..experts._counts import expert_parameters
from ..experts._foreign import fit_expert
from ..likelihoods import smoothed
from ..trainers._folds import draw_folds, predict_fold

N_FOLDS = 5


class SharedExpert(NamedTuple):
    """A fitted shared expert.

    Attributes
    ----------
    estimator : fitted estimator
    classes : class labels, or None
    n_parameters : int or None
        Free ones; None if they have no count.
    n_outputs : int, or None for classes
    """

    estimator: object
    classes: np.ndarray | None
    n_parameters: int | None
    n_outputs: int | None

    def contribution(self, view):
        """What it adds to every expert: (n, d) predictions or log-probabilities."""
        prediction = predict_expert(self.estimator, view, self.classes, self.n_outputs)
        return self._added(prediction)

    def _added(self, prediction):
        return prediction if self.classes is None else np.log(smoothed(prediction))


def fit_shared(
    expert,
    view,
    labels,
    weight,
    *,
    classes,
    seed,
    n_jobs,
    fit_params,
    groups=None,
):
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
    groups : (n,) of rows that share a fold, or None

    Returns
    -------
    shared : SharedExpert
    offset : (n, d) or (n, C)
        Its out-of-fold contribution; zero in rows of weight zero.
    """
    rows = np.flatnonzero(weight > 0)
    call = fit_expert, expert, view, labels, weight, seed, fit_params
    fitted, said = heard(*call)
    count = expert_parameters(fitted, Columns(view, weight))
    n_outputs = None if classes is not None else np.size(labels[0])
    shared = SharedExpert(fitted, classes, count, n_outputs)
    if is_frozen(expert):
        tell([said])
        return shared, shared.contribution(view)

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
        return shared._added(part)

    split_params = {"groups": None if groups is None else groups[rows]}
    folds = draw_folds(labels[rows], classes, N_FOLDS, seed, split_params)
    pairs = run_calls(heard, [(out_of_fold, *fold) for fold in folds], n_jobs)
    tell([said, *(found for _, found in pairs)])
    parts = [part for part, _ in pairs]
    offset = np.zeros((len(weight), parts[0].shape[1]))
    for (_, test), part in zip(folds, parts, strict=True):
        offset[rows[test]] = part
    return shared, offset
