"""Trainers fit gate and experts together."""

from ._em import EM, HardEM
from ._gradient import Gradient
from ._two_stage import TwoStage

__all__ = ["EM", "Gradient", "HardEM", "TwoStage"]
