"""Auxiliary losses on the gate, for training by gradient.

Each is added to the loss of a batch with its own weight; coefficients default to the
published ones.  A loss sees a :class:`GateBatch` and returns its value and slopes.
"""

from .._stamp import public
from ._base import BaseLoss, GateBatch, NoEffect, Slopes
from ._gate import EntropyLoss, MutualInformationLoss, RouterZLoss
from ._load import ImportanceLoss, LoadBalancingLoss, LoadLoss
from ._shares import (
    HierarchicalBalancingLoss,
    ParameterPenaltyLoss,
    SlotBalancingLoss,
)

__all__ = [
    "BaseLoss",
    "EntropyLoss",
    "GateBatch",
    "HierarchicalBalancingLoss",
    "ImportanceLoss",
    "LoadBalancingLoss",
    "LoadLoss",
    "MutualInformationLoss",
    "NoEffect",
    "ParameterPenaltyLoss",
    "RouterZLoss",
    "Slopes",
    "SlotBalancingLoss",
]

public(
    __name__,
    BaseLoss,
    GateBatch,
    NoEffect,
    Slopes,
    EntropyLoss,
    HierarchicalBalancingLoss,
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    MutualInformationLoss,
    ParameterPenaltyLoss,
    RouterZLoss,
    SlotBalancingLoss,
)
