"""Fitted mixtures outside of the memory of one process."""

from .._stamp import public
from ._offload import OffloadedClassifier, OffloadedRegressor, offload
from ._shelf import Shelf, ShelfUse, StoredExpert
from .onnx._convert import onnx_inputs, to_onnx

__all__ = [
    "OffloadedClassifier",
    "OffloadedRegressor",
    "offload",
    "onnx_inputs",
    "to_onnx",
]

public(
    __name__,
    OffloadedClassifier,
    OffloadedRegressor,
    Shelf,
    ShelfUse,
    StoredExpert,
    offload,
    onnx_inputs,
    to_onnx,
)
