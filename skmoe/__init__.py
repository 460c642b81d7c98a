"""Mixtures of experts for scikit-learn users."""

from ._classifier import MoEClassifier
from ._hierarchical import HierarchicalMoEClassifier, HierarchicalMoERegressor
from ._regressor import MoERegressor

__version__ = "0.1.0"

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]
