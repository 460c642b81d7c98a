"""Fitted mixtures as ONNX graphs, and converters for parts of your own."""

from ..._stamp import public
from . import (  # noqa: F401
    _additive,
    _boosted,
    _composed,
    _gates,
    _likelihoods,
    _linear,
    _neighbours,
    _networks,
    _quantiles,
    _routing,
    _trees,
)
from ._graph import Graph
from ._inputs import Inputs
from ._registry import (
    register_expert,
    register_gate,
    register_likelihood,
    register_router,
    register_transformer,
)
from ._skl2onnx import register_with_skl2onnx

__all__ = [
    "Graph",
    "Inputs",
    "register_expert",
    "register_gate",
    "register_likelihood",
    "register_router",
    "register_transformer",
    "register_with_skl2onnx",
]

public(
    __name__,
    Graph,
    Inputs,
    register_expert,
    register_gate,
    register_likelihood,
    register_router,
    register_transformer,
    register_with_skl2onnx,
)
