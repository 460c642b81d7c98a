"""A smaller or cheaper model from a fitted one."""

from .._stamp import public
from ._distill import distill
from ._report import Candidate, Distilled

__all__ = ["Candidate", "Distilled", "distill"]

public(__name__, Candidate, Distilled, distill)
