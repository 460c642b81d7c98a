"""``MoERegressor`` and ``MoEClassifier``."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.callback import with_callbacks
from sklearn.utils import check_array, column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from . import mixture
from ._base import BaseMoE, transactional
from ._resolve import LIKELIHOODS, preset
from ._sklearn import HasMethods, fit_context
from .experts import LinearExpert
from .likelihoods import Categorical


class MoERegressor(RegressorMixin, BaseMoE):
    """Mixture of experts for regression."""

    _classify = False
    _parameter_constraints = {
        **BaseMoE._parameter_constraints,
        "likelihood": [str, HasMethods(["log_prob"])],
    }

    def __init__(
        self,
        experts=None,
        n_experts=4,
        *,
        gate="softmax",
        router=None,
        trainer="em",
        likelihood="gaussian",
        gate_features=None,
        expert_features=None,
        n_members=1,
        n_init=1,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.experts = experts
        self.n_experts = n_experts
        self.gate = gate
        self.router = router
        self.trainer = trainer
        self.likelihood = likelihood
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.n_members = n_members
        self.n_init = n_init
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _default_expert(self):
        return LinearExpert()

    def _make_likelihood(self):
        likelihood = preset(
            self.likelihood, LIKELIHOODS, "likelihood", type(self).__name__
        )
        likelihood.check()
        return likelihood

    def _check_y(self, y, len_of):
        y = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self
        )
        if y.ndim > 2:
            raise ValueError(f"y has shape {y.shape}, but expected (n,) or (n, d).")
        check_consistent_length(len_of, y)
        return y

    def _read_target(self, table, y, sample_weight):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        y = self._check_y(y, table.raw)
        self._y_ndim = y.ndim
        return y, self._weights(table, sample_weight)

    def _encode(self, y):
        return y.reshape(len(y), -1)

    def _shaped(self, values):
        return values[:, 0] if self._y_ndim == 1 else values

    @with_callbacks
    @transactional
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **fit_params):
        return self._fit(X, y, sample_weight, fit_params)

    def predict(self, X, return_std=False):
        if not return_std:
            return self._shaped(self._combined(X))
        _, gate_view, views = self._views(X)
        weights = self._route(gate_view).dense()
        predictions = self._predictions(views)
        d = predictions.shape[2]
        within = np.array([x.variance_of(d) for x in self.likelihoods_])
        spread = np.sqrt(mixture.variance(weights, predictions, within))
        return self._shaped(mixture.mean(weights, predictions)), self._shaped(spread)

    def predict_experts(self, X):
        _, _, views = self._views(X)
        predictions = self._predictions(views)
        return predictions[:, :, 0] if self._y_ndim == 1 else predictions


class MoEClassifier(ClassifierMixin, BaseMoE):
    """Mixture of experts for classification."""

    _classify = True
    _parameter_constraints = {
        **BaseMoE._parameter_constraints,
        "class_weight": [dict, str, None],
    }

    def __init__(
        self,
        experts=None,
        n_experts=4,
        *,
        gate="softmax",
        router=None,
        trainer="em",
        class_weight=None,
        gate_features=None,
        expert_features=None,
        n_members=1,
        n_init=1,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.experts = experts
        self.n_experts = n_experts
        self.gate = gate
        self.router = router
        self.trainer = trainer
        self.class_weight = class_weight
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.n_members = n_members
        self.n_init = n_init
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _default_expert(self):
        return LinearExpert()

    def _make_likelihood(self):
        return Categorical()

    def _check_y(self, y, len_of):
        y = column_or_1d(y, warn=True)
        check_consistent_length(len_of, y)
        return y

    def _read_target(self, table, y, sample_weight):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None."
            )
        y = self._check_y(y, table.raw)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        weight = self._weights(table, sample_weight)
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, y)
        return y, weight

    def _encode(self, y):
        unseen = np.setdiff1d(y, self.classes_)
        if len(unseen):
            raise ValueError(
                f"y contains labels {unseen.tolist()} that were not seen in fit; the "
                f"classes are {self.classes_.tolist()}."
            )
        return np.searchsorted(self.classes_, y)

    @with_callbacks
    @transactional
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, **fit_params):
        return self._fit(X, y, sample_weight, fit_params)

    def predict_proba(self, X):
        proba = self._combined(X)
        return proba / proba.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X):
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X):
        proba = self._combined(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_experts(self, X):
        _, _, views = self._views(X)
        return self._predictions(views)
