"""Whether a trainer keeps its promises."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from .._estimators.parts import adapt_expert
from .._estimators.regressor import MoERegressor
from .._warnings import unheard
from ..datasets import make_gated_regression
from ..experts import LinearExpert
from ..gates import SoftmaxGate
from ..likelihoods import Gaussian
from ..routers import DenseRouter
from ..trainers import Fit, Recipe, Report, Rows, Start, Trainer
from ._common import check_parameters, close


def check_trainer(trainer: BaseEstimator, experts: Any = None) -> None:
    """Raise ``AssertionError`` where a trainer breaks the protocol.

    ``fit(rows, recipe, start, report)`` must return a ``Fit`` whose parts belong
    together, and leave what it is given as it was.  In a mixture the trainer must give
    the same model for the same seed, and count rows of weight zero for nothing.

    Parameters
    ----------
    trainer : trainer
    experts : list of experts, default=None
        Two linear ones of different penalties by default.

    Examples
    --------
    >>> from skmoe.testing import check_trainer
    >>> from skmoe.trainers import EM
    >>> check_trainer(EM())
    """
    assert isinstance(trainer, Trainer), "a trainer derives from skmoe.trainers.Trainer"
    check_parameters(trainer)
    trainer.check()
    if experts is None:
        experts = [LinearExpert(), LinearExpert(alpha=20.0)]
    X, y = make_gated_regression(120, 2, 2, random_state=0)
    with unheard():
        # What fits warn of is no breach.
        _check_fit(trainer, X, y, experts)
        _check_mixture(trainer, X, y, experts)


def _check_fit(trainer, X, y, experts):
    """Whether the parts of a fit belong together."""
    n_experts = len(experts)
    rows = Rows(X, [X] * n_experts, y.reshape(len(y), -1), y, None, np.ones(len(y)))
    names = [f"expert{k}" for k in range(n_experts)]
    seeds = list(range(n_experts))
    experts = [adapt_expert(own, "expert", False, "check_trainer") for own in experts]
    parts = SoftmaxGate(), DenseRouter(), Gaussian(), experts, names
    recipe = Recipe(*parts, seed=0, expert_seeds=seeds)
    heard = []

    def listen(iteration, bound, make_fit):
        heard.append(float(bound))
        return False

    before = repr(recipe), X.copy(), y.copy()
    fit = clone(trainer).fit(rows, recipe, Start(), Report(iteration=listen))
    assert repr(recipe) == before[0], "training leaves the recipe as it is"
    close(X, before[1], "training leaves the rows as they are", 0, 0)
    close(y, before[2], "training leaves y as it is", 0, 0)
    assert isinstance(fit, Fit), "fit returns a Fit"
    kept, n_left = list(fit.kept), len(fit.kept)
    assert kept, "an expert is left"
    assert len(set(kept)) == n_left, "experts that are kept differ"
    assert set(kept) <= set(range(n_experts)), "kept are numbers of experts"
    assert len(fit.experts) == len(fit.likelihoods) == n_left, "one of each per expert"
    assert np.shape(fit.gate.predict_log_proba(X)) == (len(X), n_left), (
        "the gate weighs the experts that are left"
    )
    close(np.sum(fit.load), 1, "loads sum to one", 1e-6)
    assert np.isfinite(fit.log_likelihood), "log_likelihood is a number"
    assert len(fit.lower_bounds) > 0, "lower_bounds has a value"
    assert np.isfinite(fit.lower_bounds[-1]), "lower_bounds end with a number"
    assert np.isfinite(heard).all(), "what is reported are numbers"


def _check_mixture(trainer, X, y, experts):
    """Whether a mixture is the same for the same seed and the same rows."""
    model = MoERegressor(experts, trainer=trainer, random_state=0)
    before = repr(model)
    first = clone(model).fit(X, y)
    assert repr(model) == before, "fit leaves the parameters as they are"
    prediction = first.predict(X)
    assert np.isfinite(prediction).all(), "predictions are numbers"
    again = clone(model).fit(X, y).predict(X)
    close(again, prediction, "the same seed, the same model", 1e-9, 1e-9)
    more = np.vstack([X, X[:10]]), np.append(y, y[:10] + 100.0)
    weight = np.append(np.ones(len(X)), np.zeros(10))
    zeros = clone(model).fit(*more, sample_weight=weight).predict(X)
    close(zeros, prediction, "rows of weight zero are no rows", 1e-9, 1e-9)
    spread = np.sqrt(np.mean((y - y.mean()) ** 2))
    error = np.sqrt(np.mean((y - prediction) ** 2))
    assert error < spread, "a mixture is nearer to y than its mean is"
