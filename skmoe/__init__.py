"""Mixtures of experts for scikit-learn users."""

from ._estimators.classifier import MoEClassifier
from ._estimators.hierarchical import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
)
from ._estimators.members import MembersGate, MembersRouter
from ._estimators.regressor import MoERegressor
from ._stamp import public
from ._tables.features import PiecewiseLinear
from ._version import __version__

__all__ = [
    "HierarchicalMoEClassifier",
    "HierarchicalMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "__version__",
]

public(
    __name__,
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MembersGate,
    MembersRouter,
    MoEClassifier,
    MoERegressor,
    PiecewiseLinear,
)
