"""Expectation maximisation: one loop, two kinds of problem."""

from .trainers import EM, HardEM

__all__ = ["EM", "HardEM"]
