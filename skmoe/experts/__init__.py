"""Experts: built-in linear and neural ones, adapters for any scikit-learn estimator."""

from importlib import import_module

from .._numerics.curves import Basis, Bins, Block
from .._stamp import public
from ._additive import (
    AdditiveClassifierExpert,
    AdditiveExpert,
    GeneralizedAdditiveExpert,
)
from ._base import BuiltInExpert, CorrectedExpert
from ._corrected import (
    CorrectedClassifier,
    CorrectedRegressor,
    LocallyCorrectedClassifier,
    LocallyCorrectedRegressor,
)
from ._curved import Curve
from ._curved_variance import VarianceCurves
from ._curves import Column, CurveEncoding
from ._encoding import TableEncoder
from ._forest import CompactForest
from ._glm import GeneralizedLinearExpert
from ._linear import LinearExpert
from ._linear_classes import LinearClassifierExpert
from ._mlp import MLPClassifierExpert, MLPExpert
from ._noise import BareExpert, NoiseExpert, ZeroExpert
from ._origin import OriginExpert
from ._sums import (
    ClassSums,
    CurveClasses,
    CurveValues,
    LeastSquaresSums,
    SlopeSums,
)
from ._variance import VarianceExpert

__all__ = [
    "AdditiveExpert",
    "AutoPool",
    "BuiltInExpert",
    "LinearExpert",
    "MLPExpert",
    "NoiseExpert",
    "ZeroExpert",
]

# A pool has mixtures among its members, and so stands above this package.
POOL = {
    "AutoPool": "pool",
    "PoolMember": "presets",
    "TablePipeline": "pool_members",
    "TreesOnTables": "pool_members",
    "LightTrees": "pool_members",
    "ExtremeTrees": "pool_members",
    "ObliviousTrees": "pool_members",
}

public(
    __name__,
    BuiltInExpert,
    AdditiveExpert,
    AdditiveClassifierExpert,
    GeneralizedAdditiveExpert,
    Curve,
    CurveEncoding,
    LinearExpert,
    LinearClassifierExpert,
    OriginExpert,
    GeneralizedLinearExpert,
    VarianceExpert,
    VarianceCurves,
    MLPExpert,
    MLPClassifierExpert,
    BareExpert,
    NoiseExpert,
    ZeroExpert,
    CorrectedExpert,
    CorrectedRegressor,
    CorrectedClassifier,
    LocallyCorrectedRegressor,
    LocallyCorrectedClassifier,
    TableEncoder,
    CompactForest,
    # What a curve, or a batch, leaves.
    Basis,
    Bins,
    Block,
    ClassSums,
    Column,
    CurveClasses,
    CurveValues,
    LeastSquaresSums,
    SlopeSums,
)


def __getattr__(name):
    if name in POOL:
        home = import_module(f"skmoe._estimators.{POOL[name]}")
        globals()[name] = vars(home)[name]
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
