"""Predictions from one parquet file to another: rows per second, and memory.

    python benchmarks/batch.py [--rows 2000000]

A file of ten columns is written, a kept model is loaded, and its predictions go to
another file.  Memory is the most that the process held of its own, beyond what it held
with the model loaded and a first piece predicted; the file is read through a map of
it, whose pages the system takes back as it likes.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

# Before numerical libraries are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from skmoe import MoERegressor
from skmoe.data import RowSource, write_predictions
from skmoe.datasets import make_gated_regression
from skmoe.export import slim

PIECE = 100_000


def write_rows(path, n_rows):
    """A parquet file without a target, a piece at a time."""
    rng, names = np.random.default_rng(0), [f"x{j}" for j in range(10)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with parquet.ParquetWriter(path, schema) as writer:
        for _ in range(0, n_rows, PIECE):
            X = rng.normal(size=(10, min(PIECE, n_rows)))
            writer.write_table(pa.table([*X], names=names))


def megabytes():
    """Memory that the process has of its own, which Linux says."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024


class Watch(threading.Thread):
    """Looks at the memory every few milliseconds, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.stopped = megabytes(), threading.Event()

    def run(self):
        while not self.stopped.wait(0.005):
            self.most = max(self.most, megabytes())


def main():
    """Write, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    n_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        X, y = make_gated_regression(3000, 10, 8, random_state=0)
        joblib.dump(slim(MoERegressor(n_experts=8).fit(X, y)), folder / "model")
        model = joblib.load(folder / "model")
        for size, name in ((PIECE, "first"), (n_rows, "all")):
            write_rows(folder / f"{name}.parquet", size)
            watch, before, start = Watch(), megabytes(), time.process_time()
            watch.start()
            source = RowSource.from_parquet(folder / f"{name}.parquet")
            written = write_predictions(model, source, folder / f"{name}-y.parquet")
            seconds = time.process_time() - start
            watch.stopped.set()
        size = (folder / "all.parquet").stat().st_size / 2**20
        print(
            f"{written} rows, a file of {size:.0f} MB: {written / seconds:,.0f} rows "
            f"per CPU second, {watch.most - before:.0f} MB more than before"
        )


if __name__ == "__main__":
    main()
