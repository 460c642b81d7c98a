"""Routers make the gate sparse."""

from .._stamp import public
from ._balanced import BalancedRouter
from ._base import BaseRouter, Routing, make_routing
from ._bias import BiasBalancedRouter
from ._budget import BudgetRouter
from ._capacity import CapacityRouter, GShardRouter, SwitchRouter
from ._choice import ExpertChoiceRouter
from ._dense import DenseRouter
from ._hash import HashRouter
from ._noisy import NoisyTopKRouter
from ._top_p import TopPRouter
from ._topk import TopKRouter

__all__ = [
    "BalancedRouter",
    "BaseRouter",
    "BiasBalancedRouter",
    "BudgetRouter",
    "DenseRouter",
    "ExpertChoiceRouter",
    "GShardRouter",
    "HashRouter",
    "NoisyTopKRouter",
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
    BalancedRouter,
    BiasBalancedRouter,
    BudgetRouter,
    CapacityRouter,
    DenseRouter,
    ExpertChoiceRouter,
    GShardRouter,
    HashRouter,
    NoisyTopKRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
