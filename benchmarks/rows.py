"""Rows read from disk pass by pass, beside the same rows in memory.

    OMP_NUM_THREADS=1 python benchmarks/rows.py [--rows N] [--columns 30] [--quick]

Writes a file of 32-bit floats in two forms, and fits four linear experts to it three
times, each in a process of its own: as an array in memory, as a memory map, and as
parquet.  Private memory is the highest that the process held beyond what it held before
the fit, sampled every 10 ms (Linux only); the array itself counts.  Rows per second are
those of all passes, the reading of the file included.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from skmoe import MoERegressor
from skmoe.data import RowSource

WAYS = "memory", "map", "parquet"
N_EXPERTS, BATCH_ROWS, WARM_ROWS = 4, 100_000, 3000


def private_memory():
    """Private memory of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (own for own in lines if own.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


class Peak:
    """The highest private memory while the context lasts, beyond that at its start."""

    def __enter__(self):
        self.first = self.highest = private_memory()
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.ends.wait(0.01):
            self.highest = max(self.highest, private_memory())

    def __exit__(self, *raised):
        self.ends.set()
        self.thread.join()
        self.mb = self.highest - self.first


def regimes(rng, coef, n_rows):
    """Rows of four regimes, told apart by the signs of two columns."""
    X = rng.normal(size=(n_rows, coef.shape[1])).astype(np.float32)
    own = 2 * (X[:, 0] > 0) + (X[:, 1] > 0)
    y = np.einsum("ij,ij->i", X, coef[own]) + rng.normal(size=n_rows)
    return X, y


def write(folder, n_rows, n_columns):
    """The rows as arrays and as parquet, written batch by batch."""
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    coef = rng.normal(size=(4, n_columns))
    shapes = {"X": ((n_rows, n_columns), np.float32), "y": ((n_rows,), np.float64)}
    X, y = (
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)
        for name, (shape, dtype) in shapes.items()
    )
    names = [f"x{j}" for j in range(n_columns)]
    kinds = [(name, pyarrow.float32()) for name in names]
    schema = pyarrow.schema([*kinds, ("y", pyarrow.float64())])
    with parquet.ParquetWriter(folder / "rows.parquet", schema) as file:
        for first in range(0, n_rows, BATCH_ROWS):
            part = slice(first, min(first + BATCH_ROWS, n_rows))
            X[part], y[part] = regimes(rng, coef, part.stop - first)
            columns = [*X[part].T.copy(), np.array(y[part])]
            file.write_table(pyarrow.table(columns, schema=schema))


def rows_of(way, folder):
    """What is given to ``fit``."""
    if way == "parquet":
        return (RowSource.from_parquet(folder / "rows.parquet", "y"),)
    mode = None if way == "memory" else "r"
    arrays = [np.load(folder / f"{name}.npy", mmap_mode=mode) for name in "Xy"]
    return arrays if way == "memory" else (RowSource.from_arrays(*arrays),)


def measure(way, folder, n_jobs):
    """Figures of one fit, in a process of its own."""
    model = MoERegressor(n_experts=N_EXPERTS, random_state=0, n_jobs=n_jobs)
    small = [own[:WARM_ROWS] for own in rows_of("memory", folder)]
    # Compiled before anything is measured.
    model.fit(RowSource.from_arrays(*small))
    del small
    with Peak() as peak:
        start = time.perf_counter()
        model.fit(*rows_of(way, folder))
        seconds = time.perf_counter() - start
    n_rows = len(np.load(folder / "y.npy", mmap_mode="r"))
    history = model.history_
    passes = history.get("passes", len(history["bound"]) + history["rejected"])
    return {
        "seconds": seconds,
        "passes": passes,
        "rate": passes * n_rows / seconds,
        "private": peak.mb,
        "value": model.log_likelihood_ / n_rows,
    }


def in_process(way, folder, n_jobs):
    """``measure`` in a fresh process."""
    command = [sys.executable, __file__, "--folder", str(folder), "--way", way]
    command += ["--jobs", str(n_jobs)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout.splitlines()[-1])


def main():
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="30 000 rows, 5 columns")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measure(asked.way, asked.folder, asked.jobs)))
        return
    n_rows, n_columns = (30_000, 5) if asked.quick else (asked.rows, asked.columns)
    print(
        f"{n_rows} rows, {n_columns} columns: {n_rows * n_columns * 4e-6:.0f} MB of X"
    )
    print("| rows | seconds | passes | rows per second | private MB | nats per row |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), n_rows, n_columns)
        for way in WAYS:
            own = in_process(way, folder, asked.jobs)
            print(
                f"| {way} | {own['seconds']:.1f} | {own['passes']} | "
                f"{own['rate']:.2g} | {own['private']:.0f} | {own['value']:.6f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
