"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from ._linear import LinearExpert
from ._mlp import MLPExpert

__all__ = ["LinearExpert", "MLPExpert"]
