"""Mixtures of experts for scikit-learn users."""

import importlib
import importlib.util
import pkgutil

from ._estimators.classifier import MoEClassifier
from ._estimators.fitted import Learned
from ._estimators.hierarchical import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
)
from ._estimators.members import MembersGate, MembersRouter
from ._estimators.presets import POOLS
from ._estimators.regressor import MoERegressor
from ._estimators.shared import SharedExpert
from ._estimators.target import ClassTarget, ValueTarget
from ._estimators.views import Allowed, View, Views
from ._numerics.calibration import Calibration
from ._stamp import public
from ._tables.features import PiecewiseLinear
from ._tables.flat import FlatColumns
from ._version import __version__
from .experts import (
    AutoPool,
    ExtremeTrees,
    LightTrees,
    ObliviousTrees,
    PoolMember,
    TablePipeline,
    TreesOnTables,
)

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]

# A pool has mixtures among its members, which find it by this name.
POOLS["auto"] = AutoPool

public(
    __name__,
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MembersGate,
    MembersRouter,
    MoEClassifier,
    MoERegressor,
    PiecewiseLinear,
    # What a fitted mixture holds.
    Allowed,
    Calibration,
    ClassTarget,
    FlatColumns,
    Learned,
    SharedExpert,
    ValueTarget,
    View,
    Views,
)
public(
    "skmoe.experts",
    AutoPool,
    ExtremeTrees,
    LightTrees,
    ObliviousTrees,
    PoolMember,
    TablePipeline,
    TreesOnTables,
)


def __getattr__(name):
    """A public module, imported when it is first asked for."""
    path = f"{__name__}.{name}"
    if name.startswith("_") or importlib.util.find_spec(path) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(path)


def __dir__():
    modules = [own.name for own in pkgutil.iter_modules(__path__)]
    return sorted([*__all__, *(own for own in modules if not own.startswith("_"))])
