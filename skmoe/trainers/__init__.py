"""Trainers fit gate and experts together."""

from .._numerics.network import Adam
from .._stamp import public
from ._em import EM, HardEM
from ._em.stepwise import BatchRecords, BatchScales, Memory
from ._gradient import Gradient
from ._gradient.layout import Scales
from ._gradient.run import State
from ._rows import Rows
from ._task import Fit, Recipe, Report, Start, Trainer
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

public(
    __name__,
    Adam,
    BatchRecords,
    BatchScales,
    EM,
    Fit,
    Gradient,
    HardEM,
    Memory,
    Recipe,
    Report,
    Rows,
    Scales,
    Start,
    State,
    Trainer,
    TwoStage,
)
