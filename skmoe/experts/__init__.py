"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from ._linear import LinearExpert
from ._mlp import MLPExpert
from ._pool import AutoPool

__all__ = ["AutoPool", "LinearExpert", "MLPExpert"]
