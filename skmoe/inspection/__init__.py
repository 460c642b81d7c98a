"""Who serves whom, and why: tables and pictures of a fitted mixture."""

from .._stamp import public
from ._additive import curve_importance
from ._costs import measure_costs
from ._curves import CurveDisplay
from ._densities import PredictiveDensityDisplay, SelectionDisplay
from ._displays import ConvergenceDisplay, ExpertUsageDisplay, GateDisplay
from ._regimes import regimes
from ._report import Report, report
from ._sentences import explain_text
from ._tables import expert_usage, explain, gate_importance
from ._trees import export_text, plot_tree

__all__ = [
    "ConvergenceDisplay",
    "CurveDisplay",
    "ExpertUsageDisplay",
    "GateDisplay",
    "PredictiveDensityDisplay",
    "Report",
    "SelectionDisplay",
    "curve_importance",
    "expert_usage",
    "explain",
    "explain_text",
    "export_text",
    "gate_importance",
    "measure_costs",
    "plot_tree",
    "regimes",
    "report",
]

public(
    __name__,
    ConvergenceDisplay,
    CurveDisplay,
    ExpertUsageDisplay,
    GateDisplay,
    PredictiveDensityDisplay,
    Report,
    SelectionDisplay,
    curve_importance,
    expert_usage,
    explain,
    explain_text,
    export_text,
    gate_importance,
    measure_costs,
    plot_tree,
    regimes,
    report,
)
