"""Fitted mixtures outside of the memory of one process."""

from .._stamp import public
from ._offload import OffloadedClassifier, OffloadedRegressor, offload
from ._shelf import Shelf, ShelfUse, StoredExpert
from ._slim import slim
from ._trusted import trusted_types

__all__ = [
    "OffloadedClassifier",
    "OffloadedRegressor",
    "offload",
    "slim",
    "trusted_types",
]

public(
    __name__,
    OffloadedClassifier,
    OffloadedRegressor,
    Shelf,
    ShelfUse,
    StoredExpert,
    offload,
    slim,
    trusted_types,
)
