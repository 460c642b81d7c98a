"""Trainers fit gate and experts together."""

from ._em import EM, HardEM
from ._gradient import Gradient

__all__ = ["EM", "Gradient", "HardEM"]
