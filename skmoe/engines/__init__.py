"""Engines run map and sum over row blocks; only they know how."""

from ._threads import map_rows, single_threaded_blas

__all__ = ["map_rows", "single_threaded_blas"]
