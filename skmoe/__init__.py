"""Mixtures of experts for scikit-learn users."""

from ._classifier import MoEClassifier
from ._hierarchical import HierarchicalMoEClassifier, HierarchicalMoERegressor
from ._regressor import MoERegressor
from ._version import __version__

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]
