"""What curves cost: sums over rows, fits, predictions, rows and columns in number.

    OMP_NUM_THREADS=1 python benchmarks/speed_curves.py grams [--rows 17000]
    OMP_NUM_THREADS=1 python benchmarks/speed_curves.py fit --data DIR [--members 5]
    OMP_NUM_THREADS=1 python benchmarks/speed_curves.py predict --data DIR
    OMP_NUM_THREADS=1 python benchmarks/speed_curves.py rows --rows 500000
    OMP_NUM_THREADS=1 python benchmarks/speed_curves.py wide

``grams``: weighted Gram matrices of hats beside those of the same columns as an array.
``fit`` and ``predict``: a mixture of four additive experts beside scikit-learn's
boosted trees at defaults, CPU seconds of one thread on the tables of DIR, of which
4000 rows are kept; predictions are of 100 000 rows drawn from them.  ``rows``: seconds
and bytes per row of eight iterations, with one thread and with two.  ``wide``: 200
columns, and a column of 20 000 levels.
"""

import argparse
import os
import pickle
import resource
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from rivals import all_rivals
from rivals._loss import loss_of
from sklearn.ensemble import HistGradientBoostingRegressor
from tables import load_parquet, prepared, splits

from skmoe import MoERegressor
from skmoe._numerics.design import make_design
from skmoe._numerics.grams import weighted_grams
from skmoe.experts._curves import CurveEncoding
from skmoe.trainers import EM

N_RUNS = 5
SETS = [1, 4, 8]
NAMES = [
    "abalone",
    "adult",
    "airfoil",
    "bike_hourly",
    "california",
    "concrete",
    "cpu_act",
    "diamonds",
    "electricity",
    "elevators",
    "german_credit",
    "insurance",
    "magic",
    "phoneme",
    "satimage",
    "spambase",
]
MOST_ROWS, N_PREDICTED = 4000, 100_000


def seconds(function, *arguments, clock=time.perf_counter, n_runs=N_RUNS):
    """Time of the fastest of some runs."""
    best = np.inf
    for _ in range(n_runs):
        start = clock()
        function(*arguments)
        best = min(best, clock() - start)
    return best


def as_array(bins):
    """The hats (n, q) that binned rows stand for."""
    coef = np.eye(bins.basis.n_coef, bins.basis.n_coef + 1)
    return bins.linear(coef)


def grams(arguments):
    """A line for each number of sets of weights."""
    n_rows, n_columns = arguments.rows or 17_000, arguments.columns
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


def models(task, members):
    """Boosted trees and the mixture, as the tables of all models have them."""
    rivals = all_rivals()[0]
    names = ["HistGradientBoosting", "skmoe additive"]
    trees, own = (rivals[n].make(task == "classification", 0, None) for n in names)
    return trees, own.set_params(n_members=members)


def tables(arguments):
    """Name, task, table and target of each, and its first fold."""
    for name in arguments.tables or NAMES:
        loaded = load_parquet(arguments.data, name)
        task, X, y, n_rows = prepared(*loaded, MOST_ROWS, 0)
        yield name, task, X, y, splits(task, X, y, n_rows, 0)[0]


def geometric(ratios):
    """Geometric mean."""
    return np.exp(np.mean(np.log(ratios)))


def fit(arguments):
    """Seconds of fits, sizes of pickles, and losses on the first fold."""
    print(
        "| table | trees, s | ratio | loss, ratio | pickle, MB |\n|---|---|---|---|---|"
    )
    ratios = []
    for name, task, X, y, (train, test) in tables(arguments):
        A, b = X.iloc[train].reset_index(drop=True), y[train]
        T, classes = X.iloc[test].reset_index(drop=True), np.unique(y)
        spent, losses = [], []
        for model in models(task, arguments.members):
            spent.append(seconds(model.fit, A, b, clock=time.process_time, n_runs=1))
            losses.append(loss_of(task, model, T, y[test], classes))
        size = len(pickle.dumps(model)) / 1e6
        ratios.append(spent[1] / spent[0])
        loss = losses[1] / losses[0]
        print(
            f"| {name} | {spent[0]:.2f} | {ratios[-1]:.1f} | {loss:.3f} | {size:.2f} |"
        )
    print(f"geometric mean of the ratios: {geometric(ratios):.2f}")


def predict(arguments):
    """Seconds of predictions of many rows, and milliseconds of one."""
    print("| table | trees, s | ratio | one row, ms |\n|---|---|---|---|")
    ratios, clock = [], time.process_time
    for name, task, X, y, _ in tables(arguments):
        rows, spent = np.random.default_rng(0).integers(0, len(X), N_PREDICTED), []
        many, one = X.iloc[rows].reset_index(drop=True), X.iloc[:1]
        for model in models(task, 1):
            model.fit(X, y)
            ask = model.predict
            if task == "classification":
                ask = model.predict_proba
            spent.append(seconds(ask, many, clock=clock, n_runs=3))
        alone = 1e3 * seconds(ask, one, clock=clock, n_runs=20)
        ratios.append(spent[1] / spent[0])
        print(f"| {name} | {spent[0]:.2f} | {ratios[-1]:.2f} | {alone:.1f} |")
    print(f"geometric mean of the ratios: {geometric(ratios):.2f}")


def additive(n_jobs=1, max_iter=8):
    """A mixture that is trained for some iterations."""
    trainer = EM(max_iter=max_iter)
    return MoERegressor(
        "additive", 4, gate="additive", trainer=trainer, n_jobs=n_jobs, random_state=0
    )


def regimes(n_rows, n_columns):
    """Numeric columns, and a target of two regimes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_columns))
    y = np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])
    return X, y + 0.2 * rng.normal(size=n_rows)


def rows(arguments):
    """Seconds and memory of a fit to many rows."""
    X, y = regimes(arguments.rows or 100_000, arguments.columns)
    additive().fit(X[:500], y[:500])
    answers = []
    for n_jobs in (1, 2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model, wall, cpu = additive(n_jobs), time.perf_counter(), time.process_time()
        model.fit(X, y)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        answers.append(model.predict(X[:1000]))
        line = f"n_jobs={n_jobs}: {wall:.1f} s, of which CPU {cpu:.1f} s"
        print(f"{line}, {1024 * peak / len(X):.0f} bytes per row more at the peak")
    print("the same numbers:", np.array_equal(*answers))


def wide(arguments):
    """More coefficients than are solved for together."""
    X, y = regimes(arguments.rows or 4000, 200)
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 20_000, 5 * len(X))
    many = pd.DataFrame({"who": levels.astype(str), "x": rng.normal(size=len(levels))})
    value = rng.normal(size=20_000)[levels] + many["x"].to_numpy()
    additive().fit(X[:500, :20], y[:500])
    for name, A, b in (("200 columns", X, y), ("20 000 levels", many, value)):
        spent = seconds(additive().fit, A, b, clock=time.process_time, n_runs=1)
        line = f"{name}: {spent:.1f} s of eight iterations"
        if A is X:
            trees = HistGradientBoostingRegressor(random_state=0)
            own = seconds(trees.fit, A, b, clock=time.process_time, n_runs=1)
            line += f", boosted trees {own:.1f} s"
        print(line)


def main():
    """Command line."""
    parts = {own.__name__: own for own in (grams, fit, predict, rows, wide)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=parts, default="grams")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="*")
    arguments = parser.parse_args()
    with warnings.catch_warnings(action="ignore"):
        parts[arguments.part](arguments)


if __name__ == "__main__":
    main()
