"""Experts first, then a gate by what they say of rows that they have not seen."""

from .trainer import TwoStage

__all__ = ["TwoStage"]
