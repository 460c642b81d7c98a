"""Mixtures of experts for scikit-learn users."""

from ._estimators.classifier import MoEClassifier
from ._estimators.hierarchical import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
)
from ._estimators.regressor import MoERegressor
from ._version import __version__

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]
