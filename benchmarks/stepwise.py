"""Stepwise EM on a stream, beside EM on all rows at once.

    OMP_NUM_THREADS=1 python benchmarks/stepwise.py [--quick]

Linear experts whose regions overlap.  One shuffled pass over a million rows, and one
over 40 000 rows, where the first batch makes the difference: a start that it gets wrong
stays wrong.  ``lost`` are nats per row on held-out rows below those of ``fit`` on all
rows, before and after the pass; below zero the stream has found a better optimum than
``fit``, which reads the rows as a ``RowSource``: its starts are those of a sample.
"""

import argparse
import time
import warnings

import numpy as np

from skmoe import MoEClassifier, MoERegressor
from skmoe.data import RowSource
from skmoe.experts import LinearExpert
from skmoe.trainers import EM

HELD_OUT = 50_000
EXPONENTS = 0.6, 1.0


def overlapping(n_rows, n_experts, n_columns, n_classes=None, sharpness=1.0):
    """Rows of experts that a soft gate mixes up; y is a number, or a class."""
    rng = np.random.default_rng(0)
    gate = sharpness * rng.normal(size=(n_experts, n_columns))
    slopes = rng.normal(size=(n_experts, n_classes or 1, n_columns))
    level = 2 * rng.normal(size=n_experts)
    X = rng.normal(size=(n_rows, n_columns))
    own = np.empty(n_rows, dtype=int)
    for rows in np.array_split(np.arange(n_rows), max(n_rows // 10_000, 1)):
        logits = X[rows] @ gate.T
        own[rows] = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    y = np.einsum("nj,ncj->nc", X, slopes[own])
    if n_classes:
        return X, (y + rng.gumbel(size=y.shape)).argmax(axis=1)
    return X, y[:, 0] + level[own] + rng.normal(size=n_rows)


def stream(model, X, y, first, size, classes):
    """The model after its first batch, and after a pass; seconds of the pass."""
    more = {} if classes is None else {"classes": classes}
    model.partial_fit(X[:first], y[:first], **more)
    yield model, 0.0
    begun = time.perf_counter()
    for at in range(first, len(X), size):
        model.partial_fit(X[at : at + size], y[at : at + size])
    yield model, time.perf_counter() - begun


def compare(name, n_rows, n_experts, n_columns, sizes, n_classes=None, sharpness=1.0):
    """Print what streams lose beside a fit to all rows."""
    data = overlapping(n_rows + HELD_OUT, n_experts, n_columns, n_classes, sharpness)
    (X, A), (y, b) = (np.split(own, [n_rows]) for own in data)
    kind = MoERegressor if n_classes is None else MoEClassifier
    classes = None if n_classes is None else np.arange(n_classes)
    begun = time.perf_counter()
    full = kind(LinearExpert(), n_experts, random_state=0)
    full.fit(RowSource.from_arrays(X, y))
    seconds = time.perf_counter() - begun
    best = full.log_density(A, b).mean()
    print(f"\n{name}: {n_rows} rows, {n_experts} experts, {n_columns} columns")
    print(f"  fit: {best:.4f} nats per row, {full.n_iter_} iterations, {seconds:.1f} s")
    print("  exponent   first  batch   lost before     after   seconds")
    for exponent in EXPONENTS:
        for first, size in sizes:
            model = kind(
                LinearExpert(),
                n_experts,
                trainer=EM(step_exponent=exponent),
                random_state=0,
            )
            pairs = stream(model, X, y, first, size, classes)
            lost = [(best - m.log_density(A, b).mean(), s) for m, s in pairs]
            print(
                f"  {exponent:8.1f} {first:7d} {size:6d} {lost[0][0]:13.4f} "
                f"{lost[1][0]:9.4f} {lost[1][1]:9.1f}",
                flush=True,
            )


def main():
    """The comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the rows")
    share = 50 if parser.parse_args().quick else 1
    warnings.simplefilter("ignore")
    n_rows = 1_000_000 // share
    sizes = [(2000, 2000), (20_000 // share, 2000), (20_000 // share, 20_000 // share)]
    compare("numbers", n_rows, 6, 10, sizes)
    compare("numbers, overlapping", n_rows, 12, 10, sizes, sharpness=0.5)
    compare("classes", n_rows // 4, 3, 5, sizes, n_classes=3)
    few = [(1000, 1000), (5000, 1000), (20_000, 1000)]
    compare("few rows", 40_000, 12, 10, few if share == 1 else few[:1])


if __name__ == "__main__":
    main()
