"""Joint training by gradient."""

from .trainer import Gradient

__all__ = ["Gradient"]
