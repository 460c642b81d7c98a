"""Mixtures of experts for scikit-learn users."""

from ._estimators.classifier import MoEClassifier
from ._estimators.hierarchical import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
)
from ._estimators.parts import POOLS
from ._estimators.regressor import MoERegressor
from ._version import __version__
from .experts import AutoPool

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]

# A pool has mixtures among its members, which find it by this name.
POOLS["auto"] = AutoPool
