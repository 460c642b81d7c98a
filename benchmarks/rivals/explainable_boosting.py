"""Explainable boosting machines of interpret."""

from interpret.glassbox import (
    ExplainableBoostingClassifier,
    ExplainableBoostingRegressor,
)

from ._native import NativeCategories

NAME = "EBM"


def make(classify, seed, pool):
    """EBM with its own settings."""
    kind = ExplainableBoostingClassifier if classify else ExplainableBoostingRegressor
    return NativeCategories(kind(random_state=seed, n_jobs=1))
