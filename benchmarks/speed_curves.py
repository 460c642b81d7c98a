"""Weighted Gram matrices of curves beside those of the same columns as an array.

    OMP_NUM_THREADS=1 python benchmarks/speed_curves.py [--rows 17000] [--columns 12]

Hats on 32 knots of each column, one thread, the fastest of five runs each: nanoseconds
per row, pair of columns and set of weights, and the ratio of the times.
"""

import argparse
import time

import numpy as np

from skmoe._numerics.design import make_design
from skmoe._numerics.grams import weighted_grams
from skmoe.experts._curves import CurveEncoding

N_RUNS = 5
SETS = [1, 4, 8]


def seconds(function, *arguments):
    """Time of the fastest of some runs."""
    best = np.inf
    for _ in range(N_RUNS):
        start = time.perf_counter()
        function(*arguments)
        best = min(best, time.perf_counter() - start)
    return best


def as_array(bins):
    """The hats (n, q) that binned rows stand for."""
    coef = np.eye(bins.basis.n_coef, bins.basis.n_coef + 1)
    return bins.linear(coef)


def main():
    """Print a line for each number of sets of weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=17_000)
    parser.add_argument("--columns", type=int, default=12)
    arguments = parser.parse_args()
    n_rows, n_columns = arguments.rows, arguments.columns
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns))
    bins = CurveEncoding(32).fit(X).bins(X)
    design = make_design(as_array(bins), np.ones(n_rows))
    n_pairs = n_columns * (n_columns + 1) // 2
    print("| sets of weights | ns | dense / curves |\n|---|---|---|")
    for n_sets in SETS:
        weights, none = rng.random((n_rows, n_sets)), np.empty((n_rows, 0))
        bins.grams(weights)
        own = seconds(bins.grams, weights)
        dense = seconds(weighted_grams, design, weights, none)
        each = 1e9 * own / (n_rows * n_pairs * n_sets)
        print(f"| {n_sets} | {each:.1f} | {dense / own:.0f} |")


if __name__ == "__main__":
    main()
