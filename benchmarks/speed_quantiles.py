"""Quantiles of a mixture: time and memory against rows.

    python benchmarks/speed_quantiles.py [--rows 100000 300000 1000000]

Three quantiles of a mixture of four linear experts on ten columns; nanoseconds per row
and quantile, and the largest memory beyond what was in use before, in units of rows x
experts doubles (predictions and weights are two of them).  The distribution function on
a grid of 200 points is timed on the smallest table.
"""

import argparse
import time
import tracemalloc

import numpy as np

from skmoe import MoERegressor, mixture
from skmoe._estimators.answers import see
from skmoe.datasets import make_gated_regression

LEVELS = [0.05, 0.5, 0.95]
GRID = 200
ROWS = [100_000, 300_000, 1_000_000]


def on_grid(model, X):
    """Quantiles read off a grid of the distribution function."""
    own, seen = see(model, X)
    components = own.components(seen)
    spread = max(x.sigma_ for x in model.likelihoods_)
    low = components.predictions.min(axis=(1, 2)) - 5 * spread
    high = components.predictions.max(axis=(1, 2)) + 5 * spread
    points = np.linspace(low, high, GRID)
    found = np.stack([mixture.cdf(t[:, None], components)[:, 0] for t in points])
    places = [(found < level).sum(axis=0) for level in LEVELS]
    return np.stack(
        [points[np.minimum(p, GRID - 1), np.arange(len(X))] for p in places]
    )


def main():
    """Measure each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    arguments = parser.parse_args()
    X, y = make_gated_regression(max(arguments.rows), 10, 4, random_state=0)
    model = MoERegressor(n_experts=4, random_state=0).fit(X[:20_000], y[:20_000])
    model.predict_quantile(X[:10], LEVELS)
    print(
        "| rows | ns per row and quantile | memory / (n x K doubles) |\n|---|---|---|"
    )
    for n_rows in arguments.rows:
        started = time.perf_counter()
        model.predict_quantile(X[:n_rows], LEVELS)
        seconds = time.perf_counter() - started
        tracemalloc.start()
        model.predict_quantile(X[:n_rows], LEVELS)
        peak = tracemalloc.get_traced_memory()[1] / (n_rows * 4 * 8)
        tracemalloc.stop()
        print(
            f"| {n_rows} | {1e9 * seconds / n_rows / 3:.0f} | {peak:.2f} |", flush=True
        )
    few = X[: min(arguments.rows)]
    started = time.perf_counter()
    grid = on_grid(model, few)
    ratio = (time.perf_counter() - started) / len(few) / 3 * 1e9
    error = np.abs(grid.T - model.predict_quantile(few, LEVELS)).max() / y.std()
    print(f"\nGrid of {GRID}: {ratio:.0f} ns, error {error:.1e} sd(y)")


if __name__ == "__main__":
    main()
