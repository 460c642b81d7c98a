"""Experts that several models have in common are fitted once per set of rows.

The seconds of a fit or prediction that is remembered are credited to every model that
asks for it, so that figures are those of models that stand alone.
"""

import time

import joblib
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from skmoe.experts import AutoPool

_FITS, _ANSWERS = {}, {}
_CREDIT = [0.0]


def forget():
    """Drop all that is remembered."""
    _FITS.clear()
    _ANSWERS.clear()


def timed(call, *arguments):
    """Result of a call, and its seconds with those of what was remembered."""
    _CREDIT[0], started = 0.0, time.process_time()
    result = call(*arguments)
    return result, time.process_time() - started + _CREDIT[0]


def _recall(memory, key, make):
    if key in memory:
        value, seconds = memory[key]
        _CREDIT[0] += seconds
        return value
    before, started = _CREDIT[0], time.process_time()
    value = make()
    # Credit that was given meanwhile is part of the price.
    memory[key] = value, time.process_time() - started + _CREDIT[0] - before
    return value


class Remembered(BaseEstimator):
    """An expert whose fits and predictions are remembered.

    Parameters
    ----------
    estimator : estimator
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def __sklearn_tags__(self):
        return get_tags(self.estimator)

    def set_params(self, **params):
        """Parameters of the expert, too, by the names that they have there."""
        own = {
            name if name.partition("__")[0] == "estimator" else f"estimator__{name}": v
            for name, v in params.items()
        }
        return super().set_params(**own)

    def fit(self, X, y, sample_weight=None):
        """Fit, or recall; returns self."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        key = joblib.hash((repr_of(self.estimator), X, np.asarray(y), sample_weight))

        def make():
            return clone(self.estimator).fit(X, y, **weights)

        self.estimator_, self.key_ = _recall(_FITS, key, make), key
        if hasattr(self.estimator_, "classes_"):
            self.classes_ = self.estimator_.classes_
        return self

    def _answer(self, method, X):
        key = self.key_, method, joblib.hash(X)
        return _recall(_ANSWERS, key, lambda: getattr(self.estimator_, method)(X))

    def predict(self, X):
        """Predictions."""
        return self._answer("predict", X)

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Class probabilities."""
        return self._answer("predict_proba", X)


def repr_of(estimator):
    """What tells estimators apart: class and all parameters."""
    own = estimator.get_params(deep=True)
    return type(estimator).__name__, sorted((k, repr(v)) for k, v in own.items())


def seeded(expert, seed):
    """A copy with the seed where it has none."""
    free = [
        name
        for name, value in expert.get_params().items()
        if name.split("__")[-1] == "random_state" and value is None
    ]
    return clone(expert).set_params(**dict.fromkeys(free, seed))


def remembered(experts, seed):
    """Experts whose fits are remembered, with the seed where they have none."""
    return [Remembered(seeded(expert, seed)) for expert in experts]


class SharedPool(AutoPool):
    """The pool of ``experts="auto"``, seeded, with experts that are remembered."""

    def members(self, classify):
        """Names and unfitted experts."""
        names, experts = super().members(classify)
        return names, remembered(experts, 0)

    def for_table(self, classify, X, y):
        """(name, expert) pairs of those that suit a table, as the mixture has them."""
        members = self.screen(*self.members(classify), X, y)
        return [(m.name, m.estimator) for m in members if not m.dropped]
