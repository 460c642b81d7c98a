"""In-memory engine: fixed row chunks on threads, summed in a fixed order."""

import functools
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from joblib import effective_n_jobs
from threadpoolctl import ThreadpoolController

# Chunks depend on the number of rows only, so that sums, and with them every
# result, are the same for any number of threads.
MAX_CHUNKS = 16
MIN_CHUNK_ROWS = 4096


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
def single_threaded_blas():
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


@functools.lru_cache(maxsize=16)
def chunk_edges(n_rows):
    """Boundaries of the row chunks."""
    n_chunks = int(np.clip(n_rows // MIN_CHUNK_ROWS, 1, MAX_CHUNKS))
    return np.linspace(0, n_rows, n_chunks + 1).astype(int)


def map_rows(accumulate, make_statistics, n_rows, n_jobs=None):
    """Sum of ``accumulate(statistics, start, stop)`` over fixed row chunks.

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
    edges = chunk_edges(n_rows)
    if len(edges) == 2 and n_jobs in (None, 1):
        # To ask who else could help costs as much as a pass over few rows.
        statistics = make_statistics()
        accumulate(statistics, *edges)
        return statistics
    chunks = list(zip(edges[:-1], edges[1:], strict=True))
    parts = [None] * len(chunks)
    pending = deque(enumerate(chunks))

    def work():
        while pending:
            try:
                number, chunk = pending.popleft()
            except IndexError:
                return
            parts[number] = make_statistics()
            accumulate(parts[number], *chunk)

    _run_on_threads(work, min(effective_n_jobs(n_jobs), len(chunks)))
    return _sum_in_order(parts)


@functools.cache
def _helpers(n_threads):
    """Threads beside the calling one; starting them anew would cost as much as a
    pass over a hundred thousand rows."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="skmoe")


def _run_on_threads(work, n_threads):
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


def _sum_in_order(parts):
    total = parts[0]
    for part in parts[1:]:
        for accumulated, addend in zip(total, part, strict=True):
            accumulated += addend
    return total
