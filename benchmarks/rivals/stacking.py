"""scikit-learn's stacking over the same experts and folds, its own final estimator."""

from functools import partial

from sklearn.ensemble import StackingClassifier, StackingRegressor

from ._experts import folds, over_pool

NAME = "stacking"


def make(classify, seed, pool):
    """Stacking over the pool."""
    kind = StackingClassifier if classify else StackingRegressor
    return over_pool(classify, partial(kind, cv=folds(classify, seed)), pool)
