"""Fitted mixtures outside of Python, of memory, and of the version that made them."""

from .._stamp import public
from ._offload import OffloadedClassifier, OffloadedRegressor, offload
from ._shelf import Shelf, ShelfUse, StoredExpert
from ._slim import slim
from ._trusted import trusted_types
from .onnx._convert import onnx_inputs, to_onnx

__all__ = [
    "OffloadedClassifier",
    "OffloadedRegressor",
    "offload",
    "onnx_inputs",
    "slim",
    "to_onnx",
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
    onnx_inputs,
    slim,
    to_onnx,
    trusted_types,
)
