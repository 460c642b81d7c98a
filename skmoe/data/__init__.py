"""Rows that need not fit into memory."""

from .._stamp import public
from ._predictions import write_predictions
from ._source import RowSource

__all__ = ["RowSource", "write_predictions"]

public(__name__, RowSource, write_predictions)
