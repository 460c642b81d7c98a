"""Mixtures on the partitions of Dask arrays: the same model, bytes, seconds.

    OMP_NUM_THREADS=1 python benchmarks/dask_scale.py [--rows N] [--columns 20]
        [--workers 1 2 4] [--seconds 840] [--quick]

Fits four linear experts, at first to a ``RowSource`` of the rows, then on clusters of
1, 2 and 4 worker processes to 7, 16 and 64 partitions, uneven ones and an empty one
among them.  ``theta`` is the largest difference from the parameters of the source,
beside the largest of them.  Bytes are those of a pass over all rows, seconds its
median.  It begins no further fit when its time is over.  What becomes of fits whose
workers are killed is in ``dask_kills.py``.
"""

import argparse
import os
import signal
import threading
import time

import numpy as np

from skmoe import MoERegressor
from skmoe.data import RowSource
from skmoe.distributed import DaskMoERegressor

WORKERS, PARTITIONS, N_EXPERTS = (1, 2, 4), (7, 16, 64), 4
COLUMNS = ("workers", "partitions", "theta", "sent", "received") + (
    "first pass, s",
    "pass, s",
    "passes",
)


def regimes(n_rows, n_columns):
    """Rows of four regimes, told apart by the signs of two columns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns))
    coef = rng.normal(size=(N_EXPERTS, n_columns))
    own = 2 * (X[:, 0] > 0) + (X[:, 1] > 0)
    return X, np.einsum("ij,ij->i", X, coef[own]) + rng.normal(size=n_rows)


def uneven(n_rows, n_parts):
    """Rows of so many partitions; the second one is empty."""
    edges = np.sort(np.random.default_rng(1).integers(0, n_rows, n_parts - 2))
    sizes = np.diff([0, *edges, n_rows])
    return (int(sizes[0]), 0, *map(int, sizes[1:]))


def numbers_of(model):
    """All fitted parameters as one vector."""
    parts = [model.gate_.coef_, model.gate_.intercept_]
    for expert in model.experts_:
        parts += [expert.coef_, expert.intercept_]
    parts += [own.sigma_ for own in model.likelihoods_]
    return np.concatenate([np.ravel(own) for own in parts])


def lazy(X, y, n_parts):
    """The rows as Dask arrays."""
    import dask.array as da

    sizes = uneven(len(X), n_parts)
    return da.from_array(X, chunks=(sizes, -1)), da.from_array(y, chunks=(sizes,))


def cluster(n_workers, preload="skmoe.distributed"):
    """Worker processes of one thread, which are there when they can compute."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        preload=[str(preload)],
    )


def line(model, expected, n_workers, n_parts):
    """Figures of a fit as a row of the table."""
    found, told = numbers_of(model), model.history_["communication"]
    theta = np.abs(found - expected).max() / np.abs(expected).max()
    sent, received = (np.median(told[name][1:]) for name in ("sent", "received"))
    first, others = told["seconds"][0], told["seconds"][1:]
    return (
        f"| {n_workers} | {n_parts} | {theta:.1e} | {sent:.0f} | {received:.0f} | "
        f"{first:.2f} | {np.median(others):.3f} | {len(others)} |"
    )


def kill_at(workers, delay, number):
    """A thread that ends a worker after so many seconds."""

    def work():
        time.sleep(delay)
        own = list(workers.values())
        os.kill(own[number % len(own)].pid, signal.SIGKILL)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def main():
    """Print the table, and what became of the kills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--seconds", type=float, default=840)
    parser.add_argument("--quick", action="store_true", help="2 workers, 7 partitions")
    asked = parser.parse_args()
    ends = time.monotonic() + asked.seconds
    from distributed import Client

    X, y = regimes(asked.rows, asked.columns)
    source = MoERegressor(n_experts=N_EXPERTS, random_state=0)
    source.fit(RowSource.from_arrays(X, y))
    expected = numbers_of(source)
    print(f"{asked.rows} rows, {asked.columns} columns")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for n_workers in (2,) if asked.quick else asked.workers:
        with cluster(n_workers) as own, Client(own) as client:
            model = DaskMoERegressor(n_experts=N_EXPERTS, random_state=0, client=client)
            for n_parts in PARTITIONS[:1] if asked.quick else PARTITIONS:
                if time.monotonic() > ends:
                    return
                model.fit(*lazy(X, y, n_parts))
                print(line(model, expected, n_workers, n_parts), flush=True)


if __name__ == "__main__":
    main()
