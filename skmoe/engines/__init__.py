"""Engines: map and sum over row blocks, and independent calls; only they know how."""

from .._stamp import public
from ._calls import run_calls
from ._stream import recut, recut_whole, sum_blocks
from ._threads import TreeSum, map_rows, single_threaded_blas, unit_rows

__all__ = [
    "TreeSum",
    "map_rows",
    "recut",
    "recut_whole",
    "run_calls",
    "single_threaded_blas",
    "sum_blocks",
    "unit_rows",
]

public(__name__)
