"""Experts of other libraries on Dask workers: what is sent, kills, experts in shards.

    OMP_NUM_THREADS=1 python benchmarks/dask_experts.py [--rows 60000] [--kills 2]
        [--experts 16] [--megabytes 20] [--limit 700]

Refits two boosted-tree experts on two worker processes, and tells bytes and seconds;
then again while a worker is killed at a random time.  Then frozen experts of so many
megabytes each predict, in shards on two workers whose memory is limited, beside the
local model.
"""

import argparse
import os
import signal
import threading
import time
import warnings

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator

from skmoe import MoERegressor
from skmoe.distributed import DaskMoERegressor
from skmoe.trainers import EM


class Heavy(RegressorMixin, BaseEstimator):
    """A linear function with a table of so many megabytes, of which it reads a row."""

    def __init__(self, seed=0, megabytes=20):
        self.seed = seed
        self.megabytes = megabytes

    def fit(self, X, y):
        """Draw the table."""
        rng = np.random.default_rng(self.seed)
        self.table_ = rng.normal(size=(self.megabytes * 131_072 // 8, 8))
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        """One column times a number of the table."""
        return X[:, 0] * self.table_[len(self.table_) // 2, 0]


def cluster(limit):
    """Two worker processes of one thread each."""
    return LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        memory_limit=limit,
        dashboard_address=":0",
        preload=["skmoe.distributed"],
    )


def regimes(n_rows, n_columns=10):
    """Rows of two regimes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns))
    y = np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2] ** 2)
    return X, y + 0.3 * rng.normal(size=n_rows)


def lazy(X, y, n_parts=6):
    """The rows in partitions."""
    size = -(-len(X) // n_parts)
    return da.from_array(X, chunks=(size, -1)), da.from_array(y, chunks=size)


def kill_after(workers, delay):
    """End a worker after so many seconds."""
    time.sleep(delay)
    os.kill(next(iter(workers.values())).pid, signal.SIGKILL)


def refits(n_rows, n_kills):
    """Figures of refits, and what became of kills."""
    X, y = regimes(n_rows)
    trees = HistGradientBoostingRegressor(max_iter=30, random_state=0)
    with cluster("2GB") as own, Client(own) as client:
        asked = {"n_experts": 2, "trainer": EM(max_refits=8), "random_state": 0}
        model = DaskMoERegressor(trees, **asked, client=client)
        begun = time.perf_counter()
        told = model.fit(*lazy(X, y)).history_["communication"]
        usual = time.perf_counter() - begun
        print(f"{n_rows} rows, fit {usual:.1f} s, {model.n_iter_} M-steps")
        for name in ("recut", "sent", "received", "gathered", "seconds"):
            print(f"  {name}: {np.round(told[name], 2).tolist()}")
        expected = model.predict(X)
        rng = np.random.default_rng(1)
        for _ in range(n_kills):
            client.wait_for_workers(2)
            delay, begun = rng.uniform(0.3, 1.0) * usual, time.perf_counter()
            thread = threading.Thread(target=kill_after, args=(own.workers, delay))
            thread.start()
            found = model.fit(*lazy(X, y)).predict(X)
            seconds = time.perf_counter() - begun
            thread.join()
            same = np.array_equal(found, expected)
            print(f"  killed after {delay:.1f} s: {seconds:.1f} s, same bits: {same}")


def shards(n_experts, megabytes, limit):
    """Figures of predictions by experts of so many megabytes."""
    X, y = regimes(20_000)
    frozen = [FrozenEstimator(Heavy(k, megabytes).fit(X, y)) for k in range(n_experts)]
    local = MoERegressor(frozen, router=1, random_state=0, trainer=EM(max_iter=3))
    local.fit(X[:2000], y[:2000])
    expected = local.predict(X)
    with cluster(f"{limit}MB") as own, Client(own) as client:
        model = DaskMoERegressor(frozen, router=1, placement="shard", client=client)
        vars(model).update(
            {k: v for k, v in vars(local).items() if k not in local.get_params()}
        )
        lazy_X, _ = lazy(X, y)
        begun = time.perf_counter()
        found = model.predict(lazy_X).compute()
        seconds = time.perf_counter() - begun
        used = client.run(lambda dask_worker: dask_worker.monitor.get_process_memory())
    print(
        f"{model.n_experts_} experts of {megabytes} MB on two workers of {limit} MB: "
        f"{seconds:.1f} s, largest difference {np.abs(found - expected).max()}, "
        f"memory {[own >> 20 for own in used.values()]} MB"
    )


def main():
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--limit", type=int, default=700)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    refits(asked.rows, asked.kills)
    shards(asked.experts, asked.megabytes, asked.limit)


if __name__ == "__main__":
    main()
