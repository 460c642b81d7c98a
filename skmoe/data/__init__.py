"""Rows that need not fit into memory."""

from .._stamp import public
from ._source import RowSource

__all__ = ["RowSource"]

public(__name__, RowSource)
