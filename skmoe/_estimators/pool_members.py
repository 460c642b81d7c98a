"""The members of a pool, each in the pipeline that a raw table needs."""

from __future__ import annotations

from importlib import import_module

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import get_tags

from .._sklearn import available_if
from .._stamp import Stamped
from ..experts._base import ExpertTraits
from ..experts._encoding import numeric_encoding, ordinal_encoding
from ..experts._foreign import weight_arguments
from ..experts._forest import CompactForest
from ..experts._linear import LinearExpert
from ..experts._mlp import MLPExpert
from ..gates import SoftmaxGate
from ..trainers import Gradient
from .classifier import MoEClassifier
from .regressor import MoERegressor

# Iterations below which trees are not stopped: so few say too little of a fold.
FEWEST_ITERATIONS = 20
# Probabilities of what came are taken to be no smaller.
LEAST_PROBABILITY = 1e-6


class TablePipeline(Stamped, Pipeline):
    """A pipeline that lets gaps in where its first step does."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = get_tags(self.steps[0][1]).input_tags.allow_nan
        return tags


def _has_proba(model):
    if not hasattr(model.estimator, "predict_proba"):
        raise AttributeError(
            f"TreesOnTables has no predict_proba with estimator={model.estimator!r}; "
            "use a classifier that has."
        )


class TreesOnTables(ExpertTraits, Stamped):
    """Boosted trees that split raw categories as categories.

    Parameters
    ----------
    estimator : HistGradientBoostingRegressor or HistGradientBoostingClassifier
    text : list of int, default=None
        Positions of the text columns, see :class:`TableEncoder`.
    """

    settles = True

    def __init__(self, estimator, text=None):
        self.estimator = estimator
        self.text = text

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.regressor_tags, tags.classifier_tags = (
            inner.regressor_tags,
            inner.classifier_tags,
        )
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X, y, sample_weight=None):
        """Fit the encoder and the trees, one model per output; returns self."""
        self.encoder_ = ordinal_encoding(np.nan).set_params(text=self.text).fit(X)
        encoded = self._encoded(X)
        trees = self._unfitted(encoded.shape[1])
        if np.ndim(y) == 2:
            trees = MultiOutputRegressor(trees)
        given = sample_weight is not None
        weights = weight_arguments(trees, sample_weight) if given else {}
        self.estimator_ = trees.fit(encoded, y, **weights, **self._fit_params())
        if is_classifier(trees):
            self.classes_ = trees.classes_
        return self

    @property
    def _n_categories(self):
        """How many columns are categories, which come first."""
        return len(self.encoder_.text_)

    def _unfitted(self, n_columns):
        """The trees, which know that columns are categories."""
        categories = list(range(self._n_categories))
        return clone(self.estimator).set_params(categorical_features=categories)

    def _fit_params(self):
        """What the trees are told of the columns when they are fitted."""
        return {}

    def _encoded(self, X):
        return self.encoder_.transform(X)

    def predict(self, X):
        """Predictions of the trees."""
        return self.estimator_.predict(self._encoded(X))

    @available_if(_has_proba)
    def predict_proba(self, X):
        """Class probabilities of the trees."""
        return self.estimator_.predict_proba(self._encoded(X))

    def settled(self, X, y, sample_weight):
        """Unfitted trees of so many iterations as serve rows that were not seen.

        Parameters
        ----------
        X : table of shape (m, p)
        y : (m,) or (m, n_outputs)
        sample_weight : (m,)
        """
        encoded, several = self._encoded(X), np.ndim(y) == 2
        trees = self.estimator_.estimators_ if several else [self.estimator_]
        targets = y.T if several else [y]
        losses = sum(
            self._staged(own, encoded, target, sample_weight)
            for own, target in zip(trees, targets, strict=True)
        )
        best = max(int(np.argmin(losses)) + 1, min(FEWEST_ITERATIONS, len(losses)))
        return clone(self).set_params(estimator__max_iter=best)

    def _staged(self, trees, X, y, weight):
        """Mean losses after each iteration, (max_iter,)."""
        if is_classifier(trees):
            place = np.minimum(
                np.searchsorted(trees.classes_, y), len(trees.classes_) - 1
            )
            came = trees.classes_[place] == y
            rows = np.arange(len(y))
            probabilities = (
                np.where(came, p[rows, place], 0.0)
                for p in trees.staged_predict_proba(X)
            )
            losses = (-np.log(np.maximum(p, LEAST_PROBABILITY)) for p in probabilities)
        else:
            spread = np.average(
                (y - np.average(y, weights=weight)) ** 2, weights=weight
            )
            unit = spread if spread > 0 else 1.0
            losses = ((y - at) ** 2 / unit for at in trees.staged_predict(X))
        return np.array([np.average(own, weights=weight) for own in losses])


class PackageTrees(TreesOnTables):
    """The same for trees of other packages, which train as long as these say."""

    settles = False

    def _unfitted(self, n_columns):
        return clone(self.estimator)


class LightTrees(PackageTrees):
    """The same for the trees of LightGBM."""

    def _fit_params(self):
        return {"categorical_feature": [*range(self._n_categories)]}


class ExtremeTrees(PackageTrees):
    """The same for the trees of XGBoost."""

    def _unfitted(self, n_columns):
        kinds = ["c"] * self._n_categories + ["q"] * (n_columns - self._n_categories)
        return clone(self.estimator).set_params(
            enable_categorical=True, feature_types=kinds
        )

    def fit(self, X, y, sample_weight=None):
        """Fit the encoder and the trees, which take classes by their numbers."""
        if not is_classifier(self.estimator):
            return super().fit(X, y, sample_weight)
        classes, codes = np.unique(y, return_inverse=True)
        super().fit(X, codes, sample_weight)
        self.classes_ = classes
        return self

    def predict(self, X):
        """Predictions of the trees, or the most probable labels."""
        answers = super().predict(X)
        return self.classes_[answers] if is_classifier(self.estimator) else answers


class ObliviousTrees(PackageTrees):
    """The same for the trees of CatBoost."""

    def _fit_params(self):
        # As a parameter of theirs it would keep them from being cloned.
        return {"cat_features": [*range(self._n_categories)]}

    def _encoded(self, X):
        # Categories have to be whole numbers, and may not have gaps.
        encoded = super()._encoded(X).astype(object)
        categories = encoded[:, : self._n_categories].astype(float)
        encoded[:, : self._n_categories] = np.nan_to_num(categories, nan=-1).astype(int)
        return encoded


def _linear(classify):
    last = LogisticRegression(max_iter=500)
    last = last if classify else RidgeCV(tuple(np.logspace(-2, 4, 13)))
    return TablePipeline([("encode", numeric_encoding()), ("linear", last)])


def _boosting(classify):
    # Stopping by itself would hold rows out, and cannot where a class has a single one.
    # Classifiers are the more cautious: the log-loss punishes those too sure.
    if classify:
        trees = HistGradientBoostingClassifier(max_leaf_nodes=15, l2_regularization=1.0)
    else:
        trees = HistGradientBoostingRegressor(max_features=0.5)
    # The first fold says where to stop.
    trees.set_params(learning_rate=0.1, max_iter=300, early_stopping=False)
    return TreesOnTables(trees)


def _forest(classify):
    if classify:
        trees = ExtraTreesClassifier(n_estimators=60)
    else:
        trees = ExtraTreesRegressor(n_estimators=60)
    last = CompactForest(trees)
    return TablePipeline([("encode", ordinal_encoding(-1)), ("forest", last)])


def _neighbours(classify):
    kind = KNeighborsClassifier if classify else KNeighborsRegressor
    normal = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    last = kind(n_neighbors=10, weights="distance")
    return TablePipeline([("encode", numeric_encoding(normal)), ("neighbours", last)])


def _mixture_kind(classify):
    return MoEClassifier if classify else MoERegressor


def _networks(alpha, classify):
    # A mixture of one expert is that expert.
    expert = MLPExpert((64, 64), alpha=alpha)
    trainer = Gradient(batch_size=256)
    last = _mixture_kind(classify)(expert, n_experts=1, trainer=trainer)
    return TablePipeline([("encode", numeric_encoding()), ("network", last)])


def _network(classify):
    return _networks(1.0, classify)


def _smooth_network(classify):
    return _networks(30.0, classify)


def _additive(classify):
    # A second expert of classes gains little for three times the cost.
    if classify:
        return MoEClassifier("additive", n_experts=1)
    return MoERegressor("additive", gate="additive", n_experts=2)


def _mixture(classify):
    last = MoERegressor(n_experts=8)
    if classify:
        last = MoEClassifier(
            LinearExpert(alpha=1.0), n_experts=4, gate=SoftmaxGate(alpha=1.0)
        )
    return TablePipeline([("encode", numeric_encoding()), ("mixture", last)])


def _catboost(classify):
    package = import_module("catboost")
    kind = package.CatBoostClassifier if classify else package.CatBoostRegressor
    return ObliviousTrees(
        kind(thread_count=1, verbose=False, allow_writing_files=False)
    )


def _lightgbm(classify):
    package = import_module("lightgbm")
    kind = package.LGBMClassifier if classify else package.LGBMRegressor
    return LightTrees(kind(n_jobs=1, verbose=-1))


def _xgboost(classify):
    package = import_module("xgboost")
    kind = package.XGBClassifier if classify else package.XGBRegressor
    return ExtremeTrees(kind(n_jobs=1))


# What "auto" stands for.
USUAL = {
    "linear": _linear,
    "boosting": _boosting,
    "forest": _forest,
    "neighbours": _neighbours,
    "network": _network,
    "smooth_network": _smooth_network,
    "additive": _additive,
}
# Members of other packages, which need not be installed.
OPTIONAL = {"catboost": _catboost, "lightgbm": _lightgbm, "xgboost": _xgboost}
MEMBERS = {**USUAL, "mixture": _mixture, **OPTIONAL}
