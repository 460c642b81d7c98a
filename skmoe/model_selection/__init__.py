"""How many experts, and which penalties."""

from .._stamp import public
from ._merging import merge_experts
from ._search import MoEClassifierCV, MoERegressorCV

__all__ = ["MoEClassifierCV", "MoERegressorCV", "merge_experts"]

public(__name__, MoEClassifierCV, MoERegressorCV, merge_experts)
