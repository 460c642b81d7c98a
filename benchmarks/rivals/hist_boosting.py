"""scikit-learn's histogram-based boosted trees."""

from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skmoe._estimators.pool_members import TreesOnTables

NAME = "HistGradientBoosting"


def make(classify, seed, pool):
    """Boosted trees on raw categories, with scikit-learn's own settings."""
    kind = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    return TreesOnTables(kind(random_state=seed))
