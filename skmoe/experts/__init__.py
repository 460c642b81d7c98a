"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from importlib import import_module

from ._base import BuiltInExpert
from ._glm import GeneralizedLinearExpert  # noqa: F401
from ._linear import LinearExpert
from ._mlp import MLPExpert
from ._noise import NoiseExpert

__all__ = ["AutoPool", "BuiltInExpert", "LinearExpert", "MLPExpert", "NoiseExpert"]


def __getattr__(name):
    # The pool has mixtures among its members, and so stands above this package.
    if name == "AutoPool":
        globals()[name] = import_module("skmoe._estimators.pool").AutoPool
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
