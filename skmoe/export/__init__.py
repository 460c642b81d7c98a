"""Fitted mixtures outside of the memory of one process."""

from .._stamp import public
from ._offload import OffloadedClassifier, OffloadedRegressor, offload
from ._shelf import Shelf, ShelfUse, StoredExpert

__all__ = ["OffloadedClassifier", "OffloadedRegressor", "offload"]

public(
    __name__,
    OffloadedClassifier,
    OffloadedRegressor,
    Shelf,
    ShelfUse,
    StoredExpert,
    offload,
)
