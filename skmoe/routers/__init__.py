"""Routers make the gate sparse."""

from ._base import Routing
from ._dense import DenseRouter
from ._topk import TopKRouter

__all__ = ["DenseRouter", "Routing", "TopKRouter"]
