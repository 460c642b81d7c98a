"""Trainers fit gate and experts together."""

from ._em import EM, HardEM

__all__ = ["EM", "HardEM"]
