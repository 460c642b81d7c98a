"""Routers make the gate sparse."""

from .._stamp import public
from ._balanced import BalancedRouter
from ._base import BaseRouter, Routing, make_routing
from ._bias import BiasBalancedRouter
from ._budget import BudgetRouter
from ._capacity import (
    BatchPrioritizedRouter,
    CapacityRouter,
    GShardRouter,
    SwitchRouter,
)
from ._choice import CappedExpertChoiceRouter, ExpertChoiceRouter
from ._dense import DenseRouter
from ._hash import HashRouter
from ._hashes import BalancedHashRouter, MultiHashRouter
from ._noisy import NoisyTopKRouter
from ._residual import ResidualRouter
from ._top_p import TopPRouter
from ._topk import TopKRouter

__all__ = [
    "BalancedHashRouter",
    "BalancedRouter",
    "BaseRouter",
    "BatchPrioritizedRouter",
    "BiasBalancedRouter",
    "BudgetRouter",
    "CappedExpertChoiceRouter",
    "DenseRouter",
    "ExpertChoiceRouter",
    "GShardRouter",
    "HashRouter",
    "MultiHashRouter",
    "NoisyTopKRouter",
    "ResidualRouter",
    "Routing",
    "SwitchRouter",
    "TopKRouter",
    "TopPRouter",
    "make_routing",
]

public(
    __name__,
    BaseRouter,
    Routing,
    make_routing,
    BalancedHashRouter,
    BalancedRouter,
    BatchPrioritizedRouter,
    BiasBalancedRouter,
    BudgetRouter,
    CapacityRouter,
    CappedExpertChoiceRouter,
    DenseRouter,
    ExpertChoiceRouter,
    GShardRouter,
    HashRouter,
    MultiHashRouter,
    NoisyTopKRouter,
    ResidualRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
