"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from ._base import BuiltInExpert
from ._glm import GeneralizedLinearExpert  # noqa: F401
from ._linear import LinearExpert
from ._mlp import MLPExpert
from ._noise import NoiseExpert
from ._pool import AutoPool

__all__ = ["AutoPool", "BuiltInExpert", "LinearExpert", "MLPExpert", "NoiseExpert"]
