"""Mixtures of experts for scikit-learn users."""

from ._moe import MoEClassifier, MoERegressor

__version__ = "0.1.0"

__all__ = ["MoEClassifier", "MoERegressor", "__version__"]
