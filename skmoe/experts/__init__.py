"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from .._stamp import public
from ._base import BuiltInExpert, CorrectedExpert
from ._corrected import (
    CorrectedClassifier,
    CorrectedRegressor,
    LocallyCorrectedClassifier,
    LocallyCorrectedRegressor,
)
from ._encoding import TableEncoder
from ._glm import GeneralizedLinearExpert
from ._linear import LinearClassifierExpert, LinearExpert
from ._mlp import MLPClassifierExpert, MLPExpert
from ._noise import NoiseExpert
from ._pool import AutoPool, PoolMember, TablePipeline, TreesOnTables
from ._variance import VarianceExpert

__all__ = [
    "AutoPool",
    "BuiltInExpert",
    "LinearExpert",
    "MLPExpert",
    "NoiseExpert",
]

public(
    __name__,
    AutoPool,
    BuiltInExpert,
    LinearExpert,
    LinearClassifierExpert,
    GeneralizedLinearExpert,
    VarianceExpert,
    MLPExpert,
    MLPClassifierExpert,
    NoiseExpert,
    CorrectedExpert,
    CorrectedRegressor,
    CorrectedClassifier,
    LocallyCorrectedRegressor,
    LocallyCorrectedClassifier,
    PoolMember,
    TableEncoder,
    TablePipeline,
    TreesOnTables,
)
