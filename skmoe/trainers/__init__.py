"""Trainers fit gate and experts together."""

from .._kernels.em import Design
from .._numerics.network import Adam
from .._stamp import public
from ._em import EM, HardEM
from ._em.stepwise import BatchRecords, BatchScales, Memory
from ._em.stepwise_parts import PartsFrame
from ._em.summed_parts import PartsMixture
from ._gradient import Gradient
from ._gradient.layout import Scales
from ._gradient.run import State
from ._rows import Rows, Singles, Subjects
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
    Design,
    EM,
    Fit,
    Gradient,
    HardEM,
    Memory,
    PartsFrame,
    PartsMixture,
    Recipe,
    Report,
    Rows,
    Scales,
    Singles,
    Start,
    State,
    Subjects,
    Trainer,
    TwoStage,
)
