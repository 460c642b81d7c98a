"""Engines: map and sum over row blocks, and independent calls; only they know how."""

from ._calls import run_calls
from ._threads import map_rows, single_threaded_blas

__all__ = ["map_rows", "run_calls", "single_threaded_blas"]
