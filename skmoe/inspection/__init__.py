"""Who serves whom, and why: tables and pictures of a fitted mixture."""

from .._stamp import public
from ._densities import PredictiveDensityDisplay, SelectionDisplay
from ._displays import ConvergenceDisplay, ExpertUsageDisplay, GateDisplay
from ._tables import expert_usage, explain, gate_importance
from ._trees import export_text, plot_tree

__all__ = [
    "ConvergenceDisplay",
    "ExpertUsageDisplay",
    "GateDisplay",
    "PredictiveDensityDisplay",
    "SelectionDisplay",
    "expert_usage",
    "explain",
    "export_text",
    "gate_importance",
    "plot_tree",
]

public(
    __name__,
    ConvergenceDisplay,
    ExpertUsageDisplay,
    GateDisplay,
    PredictiveDensityDisplay,
    SelectionDisplay,
    expert_usage,
    explain,
    export_text,
    gate_importance,
    plot_tree,
)
