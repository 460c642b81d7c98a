"""Who serves whom, and why: tables and pictures of a fitted mixture."""

from ._displays import ConvergenceDisplay, ExpertUsageDisplay, GateDisplay
from ._tables import expert_usage, explain, gate_importance

__all__ = [
    "ConvergenceDisplay",
    "ExpertUsageDisplay",
    "GateDisplay",
    "expert_usage",
    "explain",
    "gate_importance",
]
