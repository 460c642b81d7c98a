"""Mixtures of experts for scikit-learn users."""

from ._hierarchical import HierarchicalMoEClassifier, HierarchicalMoERegressor
from ._moe import MoEClassifier, MoERegressor

__version__ = "0.1.0"

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]
