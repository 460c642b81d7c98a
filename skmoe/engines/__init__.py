"""Engines run map and sum over row blocks; only they know how."""

from ._threads import map_rows

__all__ = ["map_rows"]
