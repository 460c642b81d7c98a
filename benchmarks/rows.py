"""Rows read from disk pass by pass, beside the same rows in memory.

    OMP_NUM_THREADS=1 python benchmarks/rows.py [--rows N] [--columns 30] [--quick]
        [--ways memory map parquet batches] [--max-iter N] [--rounds 1]
        [--seconds 840]

Writes 32-bit floats in two forms, and fits four linear experts to them, each time in a
process of its own: as an array in memory, as a memory map, as ten files of parquet, and
as batches that a callable reads from the map.  Private memory is the highest that the
process held beyond what it held before the fit, sampled every 10 ms (Linux only); the
array itself counts.  Rows per second are those of a pass in the median, the reading of
the file included: of a source as it tells them, in memory those of an iteration.  Fits
of each round follow each other, so that what else the machine does falls on all of
them; ratios are to the rows in memory of the same round.  ``growth`` is
what private memory grows by for each row from a fit to a tenth of the rows to one of
all.  With ``--max-iter`` runs end early, for files of which a pass takes a minute.
After ``--seconds`` it begins no further fit.  For 10 GB:

    --rows 114000000 --columns 20 --ways map parquet batches --max-iter 4 --seconds 3000
"""

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from skmoe import MoERegressor
from skmoe.data import RowSource
from skmoe.trainers import EM

WAYS = "memory", "map", "parquet", "batches"
N_EXPERTS, BATCH_ROWS, WARM_ROWS, N_FILES = 4, 100_000, 3000, 10
COLUMNS = "rows", "fitted", "seconds", "passes", "rows per second", "ratio"
COLUMNS += "private MB", "growth, bytes", "nats per row"


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


class Lines(io.StringIO):
    """What a fit tells, with the time of each line."""

    def __init__(self):
        super().__init__()
        self.told = []

    def write(self, text):
        if text.strip():
            self.told.append((time.perf_counter(), text))
        return len(text)

    def seconds_per_pass(self):
        """Median seconds of the passes over all rows, 0 where there were none."""
        known = [
            re.search(r" pass \d+ over .*: ([\d.]+) s", own) for _, own in self.told
        ]
        found = [float(own[1]) for own in known if own]
        if not any(" first pass" in own for _, own in self.told):
            found = np.diff([at for at, own in self.told if "] iteration" in own])
        return float(np.median(found)) if len(found) else 0.0


def regimes(rng, coef, n_rows):
    """Rows of four regimes, told apart by the signs of two columns."""
    X = rng.standard_normal(size=(n_rows, coef.shape[1]), dtype=np.float32)
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
    (folder / "parquet").mkdir()
    edges = [n_rows * k // N_FILES for k in range(N_FILES + 1)]
    for number, (begin, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        name = folder / "parquet" / f"{number}.parquet"
        with parquet.ParquetWriter(name, schema) as file:
            for first in range(begin, end, BATCH_ROWS):
                part = slice(first, min(first + BATCH_ROWS, end))
                X[part], y[part] = regimes(rng, coef, part.stop - first)
                columns = [*X[part].T.copy(), np.array(y[part])]
                file.write_table(pyarrow.table(columns, schema=schema))


def mapped(folder, n_rows):
    """The first rows as memory maps."""
    names = [folder / f"{name}.npy" for name in "Xy"]
    return [np.load(name, mmap_mode="r")[:n_rows] for name in names]


def rows_of(way, folder, n_rows):
    """What is given to ``fit``: the first rows, or a tenth of them."""
    X, y = mapped(folder, n_rows)
    if way == "memory":
        return np.array(X), np.array(y)
    if way == "map":
        return (RowSource.from_arrays(X, y),)
    if way == "parquet":
        tenth = n_rows < len(mapped(folder, None)[1])
        path = folder / "parquet" / ("0.parquet" if tenth else "")
        return (RowSource.from_parquet(path, "y"),)

    def read():
        for first in range(0, n_rows, BATCH_ROWS):
            part = slice(first, first + BATCH_ROWS)
            yield X[part], y[part]

    return (RowSource.from_batches(read),)


def measure(way, folder, n_rows, n_jobs, max_iter):
    """Figures of one fit, in a process of its own."""
    model = MoERegressor(
        n_experts=N_EXPERTS,
        random_state=0,
        n_jobs=n_jobs,
        trainer=EM(max_iter=max_iter),
        verbose=1,
    )
    lines = Lines()
    with contextlib.redirect_stdout(io.StringIO()):
        # Compiled before anything is measured.
        model.fit(*rows_of("map", folder, WARM_ROWS))
    with Peak() as peak, contextlib.redirect_stdout(lines):
        start = time.perf_counter()
        model.fit(*rows_of(way, folder, n_rows))
        seconds = time.perf_counter() - start
    history = model.history_
    passes = history.get("passes", len(history["bound"]) + history["rejected"])
    return {
        "seconds": seconds,
        "passes": passes,
        "pass": lines.seconds_per_pass(),
        "private": peak.mb,
        "value": model.log_likelihood_ / n_rows,
    }


def in_process(way, folder, n_rows, asked):
    """``measure`` in a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, "--folder", str(folder)]
    command += ["--way", way, "--rows", str(n_rows), "--jobs", str(asked.jobs)]
    command += ["--max-iter", str(asked.max_iter)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout.splitlines()[-1])


def line(way, n_rows, own, beside, tenth):
    """Figures of a fit as a row of the table.

    ``beside`` are those of rows in memory, ``tenth`` those of a tenth of the rows.
    """
    known = own["pass"] > 0
    rate = f"{n_rows / own['pass']:.3g}" if known else ""
    ratio = f"{beside['pass'] / own['pass']:.2f}" if known and beside else ""
    growth = ""
    if tenth is not None:
        growth = f"{(own['private'] - tenth['private']) * 2**20 / (0.9 * n_rows):.3f}"
    return (
        f"| {way} | {n_rows} | {own['seconds']:.1f} | {own['passes']} | "
        f"{rate} | {ratio} | {own['private']:.0f} | {growth} | "
        f"{own['value']:.6f} |"
    )


def rounds(folder, n_rows, asked):
    """Lines of the table, one after the other."""
    ends, beside, tenths = time.monotonic() + asked.seconds, None, {}
    for _ in range(asked.rounds):
        for way in asked.ways:
            for size in (n_rows // N_FILES, n_rows):
                if size < n_rows and way in tenths:
                    continue
                if time.monotonic() > ends:
                    return
                own = in_process(way, folder, size, asked)
                if size < n_rows:
                    tenths[way] = own
                    yield line(way, size, own, None, None)
                    continue
                beside = own if way == "memory" else beside
                yield line(way, size, own, beside, tenths[way])


def main():
    """Print a line for each fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--max-iter", type=int, default=EM().max_iter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=840)
    parser.add_argument("--quick", action="store_true", help="300 000 rows, 5 columns")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        given = asked.way, asked.folder, asked.rows, asked.jobs, asked.max_iter
        print(json.dumps(measure(*given)))
        return
    n_rows, n_columns = (300_000, 5) if asked.quick else (asked.rows, asked.columns)
    print(
        f"{n_rows} rows, {n_columns} columns: {n_rows * n_columns * 4e-6:.0f} MB of X"
    )
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), n_rows, n_columns)
        for own in rounds(folder, n_rows, asked):
            print(own, flush=True)


if __name__ == "__main__":
    main()
