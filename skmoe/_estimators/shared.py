"""The shared expert: active for every row; routed experts model what it leaves.

In regression they predict its residual, in classification they add to its
log-probabilities.  Residuals are out of fold: those of rows that the shared expert was
fitted to would be smaller than the ones that the routed experts meet later.
"""

import numpy as np

from .._numerics.rank import Columns
from .._warnings import heard, tell
from ..engines import run_calls
from ..experts._answers import predict_expert
from ..experts._base import BuiltInExpert
from ..experts._counts import expert_parameters
from ..experts._foreign import fit_expert, is_frozen
from ..likelihoods import smoothed
from ..trainers._folds import draw_folds, predict_fold
from .presets import adapt_expert

# Name of the shared expert among those of the others.
SHARED = "shared_expert"
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
    call = fit_expert, expert, view, labels, weight, seed, fit_params
    fitted, said = heard(*call)
    if is_frozen(expert):
        tell([said])
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
    pairs = run_calls(heard, [(out_of_fold, *fold) for fold in folds], n_jobs)
    tell([said, *(found for _, found in pairs)])
    parts = [part for part, _ in pairs]
    offset = np.zeros((len(weight), parts[0].shape[1]))
    for (_, test), part in zip(folds, parts, strict=True):
        offset[rows[test]] = part
    return fitted, offset


class Shared:
    """A mixture's shared expert, which is fitted before any trainer runs.

    The estimator gives ``_shared_view`` and ``_seed_experts``.
    """

    def _and_shared(self, names, experts):
        """Unfitted experts by name, the shared one included."""
        named = dict(zip(names, experts, strict=True))
        if self.shared_expert is not None:
            named[SHARED] = self.shared_expert
        return named

    def _resolve_shared(self, names, experts, owner):
        if self.shared_expert is None:
            return None
        for name, expert in zip(names, experts, strict=True):
            if self._classify and not isinstance(expert, BuiltInExpert):
                raise ValueError(
                    f"{owner} got shared_expert with expert {name!r}={expert!r}, which "
                    "cannot add to the log-probabilities of another classifier; use "
                    "LinearExpert or MLPExpert beside a shared expert."
                )
        return adapt_expert(self.shared_expert, SHARED, self._classify, owner)

    def _fit_shared(self, parts, table, y, weight, fit_params):
        """Set ``shared_expert_``; returns its out-of-fold contribution, or None."""
        self.shared_expert_, self._shared_parameters = None, 0
        if parts.shared is None:
            return None
        (seed,) = self._seed_experts([SHARED], [parts.shared])
        view = self._shared_view(table, parts.shared)
        self.shared_expert_, offset = fit_shared(
            parts.shared,
            view,
            y,
            weight,
            classes=getattr(self, "classes_", None),
            seed=seed,
            n_jobs=self.n_jobs,
            fit_params=fit_params,
        )
        columns = Columns(view, weight)
        self._shared_parameters = expert_parameters(self.shared_expert_, columns)
        return offset

    def _offset(self, table):
        """Contribution (n, d) or (n, C) of the fitted shared expert, or None."""
        shared = self.shared_expert_
        if shared is None:
            return None
        view = self._shared_view(table, shared)
        return contribution(shared, view, getattr(self, "classes_", None))

    def _with_shared(self, task, offset):
        """The task of what the shared expert leaves."""
        if offset is None:
            return task
        if task.rows.classes is not None:
            return task.with_rows(log_prior=offset)
        y, labels = task.rows.y, task.rows.labels
        if offset.shape != y.shape:
            raise ValueError(
                f"shared_expert predicts {offset.shape[1]} outputs, but y has "
                f"{y.shape[1]}; use one that predicts all of them."
            )
        left = y - offset
        return task.with_rows(y=left, labels=left.reshape(labels.shape))
