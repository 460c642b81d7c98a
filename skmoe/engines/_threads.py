"""In-memory engine: units of rows on threads, summed in a fixed tree."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

from .._kernels.blocks import BLOCK_ROWS

# Units depend on the number of rows only, so that sums, and with them every
# result, are the same for any number of threads.  A unit is whole blocks of the
# kernels: few rows make so many units at most, of so many rows at least, and more
# rows make more units.
FEW_UNITS, LEAST_ROWS, MOST_BLOCKS = 16, 4096, 256


@functools.cache
def _controller():
    return ThreadpoolController()


class _Limit:
    """The limit that is in force, and how many have asked for it."""

    def __init__(self):
        self.lock, self.depth, self.active = threading.Lock(), 0, None
        # Whether estimators ran that may have started OpenMP's own threads.
        self.foreign = False


_limit = _Limit()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Context in which BLAS keeps to one thread per caller.

    Our products are blocks of a few hundred rows: the rows are what is shared among
    threads, and BLAS threads beneath them would only wait for each other.  The limit
    is one of the whole process, so the first to enter sets it and the last to leave
    lifts it.
    """
    limit = _limit
    with limit.lock:
        limit.depth += 1
        if limit.depth == 1:
            limit.active = _controller().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        # A child that was forked within the context has lifted the limit already.
        if limit is _limit:
            with limit.lock:
                limit.depth -= 1
                if limit.depth == 0:
                    limit.active.restore_original_limits()


def runs_foreign_code():
    """Note that estimators run that may start threads by OpenMP."""
    _limit.foreign = True


def _after_fork():
    """Make a forked child fit to work: it inherits locks and books, but no threads."""
    global _limit
    _helpers.cache_clear()
    parent, _limit = _limit, _Limit()
    if parent.depth and parent.active is not None:
        parent.active.restore_original_limits()
    if parent.foreign:
        # OpenMP would wait for the threads that this thread had in the parent.
        _limit.foreign = True
        _controller().limit(limits=1, user_api="openmp")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def unit_rows(n_rows: int) -> int:
    """Rows that are summed in one go, of so many."""
    n_units = min(max(n_rows // LEAST_ROWS, 1), FEW_UNITS)
    n_blocks = -(-n_rows // (BLOCK_ROWS * n_units))
    return BLOCK_ROWS * min(max(n_blocks, 1), MOST_BLOCKS)


def add_arrays(total, addend):
    """The sum of two tuples of arrays, in place of the first."""
    for accumulated, own in zip(total, addend, strict=True):
        accumulated += own
    return total


class TreeSum:
    """Sum of numbered parts in one binary tree, in whatever order they come.

    Neighbours are added as soon as both are there, so that hardly more parts are held
    than the logarithm of their number.

    Parameters
    ----------
    merge : callable(left, right) -> part, default=add_arrays
    """

    def __init__(self, merge: Callable[[Any, Any], Any] = add_arrays) -> None:
        self._merge, self._lock = merge, threading.Lock()
        self._waiting: dict[tuple[int, int], Any] = {}

    def add(self, number, part, level=0):
        """Take part ``number``, counted from zero, or a branch of higher level."""
        while True:
            with self._lock:
                other = self._waiting.pop((level, number ^ 1), None)
                if other is None:
                    self._waiting[level, number] = part
                    return
            left, right = (other, part) if number % 2 else (part, other)
            part = self._merge(left, right)
            level, number = level + 1, number // 2

    def branches(self):
        """Arguments of ``add`` that stand for all parts that came so far."""
        return [(number, own, at) for (at, number), own in self._waiting.items()]

    def total(self):
        """The sum of all parts, of which none may be missing."""
        total = None
        for place in sorted(self._waiting):
            part = self._waiting[place]
            total = part if total is None else self._merge(part, total)
        return total


def map_rows(
    accumulate: Callable[..., Any],
    make_statistics: Callable[..., Any],
    n_rows: int,
    n_jobs: int | None = None,
) -> Any:
    """Sum of ``accumulate(statistics, start, stop)`` over units of rows.

    Parameters
    ----------
    accumulate : callable
        Adds rows ``start : stop`` to a tuple of arrays in place; releases the GIL.
    make_statistics : callable
        Returns a tuple of zero arrays.
    n_rows : int
    n_jobs : int or None
        Threads, as joblib counts them; does not change the result.

    Returns
    -------
    tuple of ndarray
    """
    size = unit_rows(n_rows)
    if n_rows <= size and n_jobs in (None, 1):
        # To ask who else could help costs as much as a pass over few rows.
        statistics = make_statistics()
        accumulate(statistics, 0, n_rows)
        return statistics
    pending = deque(enumerate(range(0, max(n_rows, 1), size)))
    total = TreeSum()

    def work():
        while pending:
            try:
                number, start = pending.popleft()
            except IndexError:
                return
            statistics = make_statistics()
            accumulate(statistics, start, min(start + size, n_rows))
            total.add(number, statistics)

    run_on_threads(work, min(effective_n_jobs(n_jobs), len(pending)))
    return total.total()


@functools.cache
def _helpers(n_threads):
    """Threads beside the calling one; starting them anew would cost as much as a
    pass over a hundred thousand rows."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="skmoe")


def run_on_threads(work, n_threads):
    """Run ``work`` in the calling thread and in ``n_threads - 1`` others."""
    others = []
    if n_threads > 1:
        pool = _helpers(n_threads - 1)
        others = [pool.submit(work) for _ in range(n_threads - 1)]
    work()
    for other in others:
        # One that another caller kept from starting has nothing left to do.
        if not other.cancel():
            other.result()
