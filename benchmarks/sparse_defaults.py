"""What sparse routing costs under a gradient, at the defaults: top-1 and top-2 routing
beside the dense mixture.

    python benchmarks/sparse_defaults.py run --data DIR [--out results.parquet]
        [--tables insurance ...] [--folds 3] [--jobs 1]
    python benchmarks/sparse_defaults.py report [--out results.parquet]

DIR holds NAME.parquet with the target last; categories become indicators, at most
MAX_ROWS random rows are used.  All are ``MoERegressor(trainer="gradient", router=...)``
or ``MoEClassifier``, nothing else set but the seed.  Loss: RMSE or log-loss of the test
rows of each fold; density: mean log-density per test row, in nats; cover: share of the
test rows in their 90 % intervals.  A run that was stopped goes on where it stopped.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

# Before numerical libraries are loaded: one thread for each job.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from joblib import delayed
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold
from stored import Stored
from tables import load_parquet, prepared

from skmoe import MoEClassifier, MoERegressor

MAX_ROWS = 5000
TABLES = (
    "insurance",
    "kin8nm",
    "california",
    "german_credit",
    "concrete",
    "airfoil",
    "abalone",
    "elevators",
    "cpu_act",
    "pumadyn32nm",
    "bike_hourly",
    "diamonds",
    "phoneme",
    "magic",
    "spambase",
    "satimage",
)
ROUTERS = {"dense": None, "top-1": 1, "top-2": 2}
COVERAGE = 0.9


def numeric(X):
    """Columns as numbers: indicators of categories, medians for gaps."""
    X = pd.get_dummies(X, drop_first=True, dtype=float).astype(float)
    return X.fillna(X.median()).fillna(0.0).to_numpy()


def judged(model, task, X, y):
    """Loss, log-density and coverage of a fitted mixture on test rows."""
    found = {"density": float(model.log_density(X, y).mean())}
    if task == "classification":
        proba = model.predict_proba(X)
        return found | {"loss": log_loss(y, proba, labels=model.classes_)}
    low, high = model.predict_interval(X, COVERAGE).T
    error = model.predict(X) - y
    cover = float(np.mean((low <= y) & (y <= high)))
    return found | {"loss": float(np.sqrt(np.mean(error**2))), "cover": cover}


def run_fold(folder, name, number, n_folds):
    """Results of all routers on one fold of one table."""
    warnings.simplefilter("ignore")
    task, X, y, _ = prepared(*load_parquet(folder, name), MAX_ROWS, 0)
    X, classify = numeric(X), task == "classification"
    kind = StratifiedKFold if classify else KFold
    folds = kind(n_folds, shuffle=True, random_state=0).split(X, y)
    train, test = list(folds)[number]
    rows = []
    for router, value in ROUTERS.items():
        kind = MoEClassifier if classify else MoERegressor
        model = kind(router=value, trainer="gradient", random_state=0)
        begun = time.process_time()
        model.fit(X[train], y[train])
        row = {"table": name, "task": task, "fold": number, "router": router}
        row |= {"seconds": time.process_time() - begun, "epochs": model.n_iter_}
        rows.append(row | judged(model, task, X[test], y[test]))
    return rows


def run(arguments):
    """Run what is missing, and store it after each fold."""
    stored = Stored(arguments.out, ["table", "fold", "router"])
    done = set()
    if len(stored.rows):
        done = set(zip(stored.rows["table"], stored.rows["fold"], strict=True))
    calls = [
        delayed(run_fold)(arguments.data, name, number, arguments.folds)
        for number in range(arguments.folds)
        for name in arguments.tables
        if (name, number) not in done
    ]
    stored.collect(calls, arguments.jobs)


def compared(rows):
    """Means over folds of each table: losses relative to dense, densities less its."""
    means = rows.groupby(["table", "router"])[["loss", "density", "cover"]].mean()
    means = means.unstack("router")
    table = pd.DataFrame({"dense loss": means["loss"]["dense"]})
    for router in list(ROUTERS)[1:]:
        table[router] = means["loss"][router] / means["loss"]["dense"]
        table[f"{router} nats"] = means["density"][router] - means["density"]["dense"]
    for router in ROUTERS:
        table[f"{router} cover"] = means["cover"][router]
    return table


def report(arguments):
    """Print a table, and what it comes to."""
    rows = Stored(arguments.out, ["table", "fold", "router"]).rows
    table = compared(rows)
    print(f"{rows['fold'].nunique()} folds, {rows['seconds'].sum():.0f} CPU seconds\n")
    print("| table | " + " | ".join(table.columns) + " |")
    print("|---" * (1 + len(table.columns)) + "|")
    for name, own in table.iterrows():
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in own]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for router in list(ROUTERS)[1:]:
        mean, worst = np.exp(np.log(table[router]).mean()), table[router].max()
        least = table[f"{router} nats"].min()
        print(f"\n{router}: {mean:.3f} of the dense loss (geometric mean), ", end="")
        print(f"at most {worst:.3f}, density at least {least:+.3f} nats", end="")
    print()


def main():
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("sparse_defaults.parquet"))
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    {"run": run, "report": report}[arguments.what](arguments)


if __name__ == "__main__":
    main()
