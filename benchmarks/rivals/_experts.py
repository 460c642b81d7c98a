"""Estimators over the pool's experts, resolved when the table is known."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.model_selection import KFold, StratifiedKFold


def folds(classify, seed):
    """The folds of all models that need predictions out of fold."""
    kind = StratifiedKFold if classify else KFold
    return kind(5, shuffle=True, random_state=seed)


class OverPool(BaseEstimator):
    """An estimator that is built from the experts that suit the training table.

    Parameters
    ----------
    build : callable(experts) -> estimator
    pool : SharedPool
    """

    _classify = False

    def __init__(self, build, pool):
        self.build = build
        self.pool = pool

    def fit(self, X, y):
        """Build and fit; returns self."""
        experts = self.pool.for_table(self._classify, X, y)
        self.model_ = self.build(experts).fit(X, y)
        return self

    def predict(self, X):
        """Predictions."""
        return self.model_.predict(X)


class RegressorOverPool(RegressorMixin, OverPool):
    """For regression."""


class ClassifierOverPool(ClassifierMixin, OverPool):
    """For classification."""

    _classify = True

    def fit(self, X, y):
        """Build and fit; returns self."""
        super().fit(X, y)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        """Class probabilities."""
        return self.model_.predict_proba(X)


def over_pool(classify, build, pool):
    """The class for the task."""
    return (ClassifierOverPool if classify else RegressorOverPool)(build, clone(pool))
