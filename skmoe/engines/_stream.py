"""Rows that come in batches: cut into blocks anew, summed in the one tree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from joblib import effective_n_jobs

from ._threads import TreeSum, run_on_threads


def recut(batches: Iterable[tuple[Any, ...]], size: int) -> Iterator[tuple[Any, ...]]:
    """Tuples of arrays as tuples of ``size`` rows each; the last one may have fewer.

    However the rows were cut, what is made of the blocks is the same.  Blocks that lie
    within a batch are views of it.
    """
    held, n_held = [], 0
    for batch in batches:
        n_rows, first = len(batch[0]), 0
        while first < n_rows:
            last = min(first + size - n_held, n_rows)
            held.append(tuple(own[first:last] for own in batch))
            n_held, first = n_held + last - first, last
            if n_held == size:
                yield _joined(held)
                held, n_held = [], 0
    if held:
        yield _joined(held)


def recut_whole(
    batches: Iterable[tuple[Any, ...]], size: int, place: int
) -> Iterator[tuple[Any, ...]]:
    """As ``recut``, but rows of equal numbers stay together.

    Numbers are the array at a ``place`` of each tuple, where equal ones are neighbours.
    A block ends with the first of them after which it has ``size`` rows.
    """
    held, n_held, last = [], 0, None
    for batch in batches:
        codes, n_rows, first = batch[place], len(batch[0]), 0
        before = codes[:1] if last is None else last
        begins = np.flatnonzero(np.diff(codes, prepend=before))
        while True:
            at = np.searchsorted(begins, first + size - n_held)
            if at == len(begins):
                break
            if begins[at] > first:
                held.append(tuple(own[first : begins[at]] for own in batch))
            yield _joined(held)
            held, n_held, first = [], 0, begins[at]
        held.append(tuple(own[first:] for own in batch))
        n_held, last = n_held + n_rows - first, codes[-1:]
    if held:
        yield _joined(held)


def _joined(parts):
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(own) for own in zip(*parts, strict=True))


def sum_blocks(
    accumulate: Callable[..., Any],
    make_statistics: Callable[..., Any],
    blocks: Iterable[Any],
    n_jobs: int | None = None,
) -> Any:
    """Sum of ``accumulate(statistics, *block)`` over blocks that come one by one.

    Blocks of as many rows as the units of ``map_rows`` give the same sums to the last
    bit, for any number of threads.  Each thread holds one block.

    Parameters
    ----------
    accumulate : callable
        Adds a block to a tuple of arrays in place; releases the GIL.
    make_statistics : callable
        Returns a tuple of zero arrays.
    blocks : iterator of tuples of arrays
        Read by one thread at a time.
    n_jobs : int or None
        Threads, as joblib counts them; does not change the result.

    Returns
    -------
    tuple of ndarray
    """
    numbered, reading, total = enumerate(blocks), threading.Lock(), TreeSum()
    failed: list[BaseException] = []

    def work():
        try:
            while not failed:
                with reading:
                    found = next(numbered, None)
                if found is None:
                    return
                statistics = make_statistics()
                accumulate(statistics, *found[1])
                total.add(found[0], statistics)
        except BaseException:
            # The others need not read the rest of the rows.
            failed.append(True)
            raise

    run_on_threads(work, effective_n_jobs(n_jobs))
    return total.total()
