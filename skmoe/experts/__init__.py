"""Experts: the built-in linear one and adapters for any scikit-learn estimator."""

from ._linear import LinearExpert

__all__ = ["LinearExpert"]
