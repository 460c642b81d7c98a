"""Who serves whom, and why: tables and pictures of a fitted mixture."""

from .._stamp import public
from ._additive import curve_importance
from ._balance import BalanceDisplay
from ._classes import ClassProbabilityDisplay, ExpertCalibrationDisplay
from ._costs import measure_costs
from ._curves import CurveDisplay
from ._densities import PredictiveDensityDisplay, SelectionDisplay
from ._displays import ConvergenceDisplay, ExpertUsageDisplay, GateDisplay
from ._explanation import Explanation, explain, explain_text
from ._palette import expert_colors
from ._regimes import regimes
from ._report import Report, report
from ._rootograms import PosteriorDisplay, RootogramDisplay
from ._tables import expert_usage, gate_importance
from ._tree_picture import plot_tree
from ._trees import export_text
from ._waterfall import ExplanationDisplay

__all__ = [
    "BalanceDisplay",
    "ClassProbabilityDisplay",
    "ConvergenceDisplay",
    "CurveDisplay",
    "ExpertCalibrationDisplay",
    "ExpertUsageDisplay",
    "Explanation",
    "ExplanationDisplay",
    "GateDisplay",
    "PosteriorDisplay",
    "PredictiveDensityDisplay",
    "Report",
    "RootogramDisplay",
    "SelectionDisplay",
    "curve_importance",
    "expert_colors",
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
    BalanceDisplay,
    ClassProbabilityDisplay,
    ConvergenceDisplay,
    CurveDisplay,
    ExpertCalibrationDisplay,
    ExpertUsageDisplay,
    Explanation,
    ExplanationDisplay,
    GateDisplay,
    PosteriorDisplay,
    PredictiveDensityDisplay,
    Report,
    RootogramDisplay,
    SelectionDisplay,
    curve_importance,
    expert_colors,
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
