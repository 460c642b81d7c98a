"""Trainers fit gate and experts together."""

from ._em import EM, HardEM
from ._gradient import Gradient
from ._recipe import Fit, Recipe
from ._rows import Rows
from ._task import Report, Start, Trainer
from ._two_stage import TwoStage

__all__ = [
    "EM",
    "Fit",
    "Gradient",
    "HardEM",
    "Recipe",
    "Report",
    "Rows",
    "Start",
    "Trainer",
    "TwoStage",
]
