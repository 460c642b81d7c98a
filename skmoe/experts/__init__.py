"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from ._glm import adapted
from ._linear import LinearExpert
from ._mlp import MLPExpert
from ._noise import NoiseExpert
from ._pool import AutoPool

LinearExpert._adapted = staticmethod(adapted)

__all__ = ["AutoPool", "LinearExpert", "MLPExpert", "NoiseExpert"]
