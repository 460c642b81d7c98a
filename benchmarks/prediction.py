"""What last steps for the mean gain in squared error, and what they cost the density.

    python benchmarks/prediction.py --data DIR [--quick] [--jobs 2]

DIR holds NAME.parquet with the target in the last column.  Of each table some random
rows train and up to 4000 others test.  EM(objective="prediction") stands beside
EM(objective="likelihood") with four linear experts, on dummies of categories, and with
four additive ones, on the table as it is; ridge regression and boosted trees see the
same rows as dummies.  Errors are RMSE over the standard deviation of the test target,
densities nats per row; nothing is tuned.  PLANTED are rows of a mixture of linear
experts, where the likelihood is the best objective for the mean, too.
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
from joblib import Parallel, delayed
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.trainers import EM

TABLES = (
    "abalone",
    "airfoil",
    "bike_hourly",
    "california",
    "concrete",
    "cpu_act",
    "diamonds",
    "elevators",
    "insurance",
    "kin8nm",
    "nyc_flights",
    "pol",
)
PLANTED = "a true mixture"
KINDS = {"linear": {}, "additive": {"experts": "additive", "gate": "additive"}}
SIZES, SEEDS, MOST_TESTED = (600, 2000, 4000), (0, 1), 4000


def dummies(train, test):
    """Both as numbers: categories as dummies, gaps as medians of the training rows."""
    both = pd.get_dummies(pd.concat([train, test]), dtype=float).astype(float)
    both = both.fillna(both[: len(train)].median()).to_numpy()
    return both[: len(train)], both[len(train) :]


def rows_of(folder, name, size, seed):
    """Columns and target of training and test rows; None if there are too few."""
    if name == PLANTED:
        X, y = make_gated_regression(size + MOST_TESTED, random_state=seed)[:2]
        X = pd.DataFrame(X)
    else:
        X = pd.read_parquet(Path(folder) / f"{name}.parquet")
        y = X.pop(X.columns[-1]).to_numpy(dtype=float)
    order = np.random.default_rng(seed).permutation(len(X))
    if len(order) < size + 300:
        return None
    parts = order[:size], order[size : size + MOST_TESTED]
    return [(X.iloc[rows].reset_index(drop=True), y[rows]) for rows in parts]


def error_of(model, X, y):
    """RMSE over the standard deviation of the target."""
    return float(np.sqrt(np.mean((model.predict(X) - y) ** 2)) / y.std())


def mixtures(kind, train, test):
    """Errors, densities and seconds of both objectives."""
    found = {}
    for objective in ("likelihood", "prediction"):
        model = MoERegressor(
            n_experts=4,
            trainer=EM(objective=objective),
            random_state=0,
            **KINDS[kind],
        )
        start = time.perf_counter()
        model.fit(*train)
        found[f"{objective}_seconds"] = time.perf_counter() - start
        found[f"{objective}_error"] = error_of(model, *test)
        density = model.log_density(*test)
        found[f"{objective}_density"] = float(np.mean(density))
    return {**found, "taken": model.history_["prediction"]["taken"]}


def run(folder, name, size, seed):
    """Results of both kinds of experts, and of the rivals, on the same rows."""
    warnings.simplefilter("ignore")
    rows = rows_of(folder, name, size, seed)
    if rows is None:
        return []
    (X, y), (X_test, y_test) = rows
    Z, Z_test = dummies(X, X_test)
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(Z, y)
    trees = HistGradientBoostingRegressor(random_state=0).fit(Z, y)
    rivals = {
        "ridge": error_of(ridge, Z_test, y_test),
        "trees": error_of(trees, Z_test, y_test),
    }
    given = {"linear": ((Z, y), (Z_test, y_test)), "additive": rows}
    return [
        {"table": name, "rows": size, "kind": kind, **rivals, **mixtures(kind, *own)}
        for kind, own in given.items()
    ]


def middle(ratios):
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(ratios))))


def summary(group):
    """One row of the report."""
    ratio = group.prediction_error / group.likelihood_error
    gain = group.prediction_density - group.likelihood_density
    seconds = group.prediction_seconds / group.likelihood_seconds
    return pd.Series(
        {
            "RMSE, likelihood": middle(group.likelihood_error),
            "RMSE, prediction": middle(group.prediction_error),
            "ratio": middle(ratio),
            "worst ratio": ratio.max(),
            "nats gained": gain.mean(),
            "worst nats": gain.min(),
            "RMSE higher": f"{(ratio > 1).sum()} of {len(group)}",
            "density lower": f"{(gain < 0).sum()} of {len(group)}",
            "RMSE, ridge": middle(group.ridge),
            "RMSE, boosted trees": middle(group.trees),
            "times the seconds": middle(seconds),
        }
    )


def report(results, *by):
    """Print a table of the results, by some of their columns."""
    shown = [
        {**dict(zip(by, key, strict=True)), **summary(group)}
        for key, group in results.groupby(list(by))
    ]
    frame = pd.DataFrame(shown).round(3)
    print("| " + " | ".join(frame.columns) + " |")
    print("|---" * len(frame.columns) + "|")
    for row in frame.itertuples(index=False):
        print("| " + " | ".join(str(value) for value in row) + " |")
    print()


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="600 rows, one seed")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    sizes, seeds = (SIZES[:1], SEEDS[:1]) if arguments.quick else (SIZES, SEEDS)
    calls = [
        delayed(run)(arguments.data, name, size, seed)
        for size in sizes
        for seed in seeds
        for name in (*TABLES, PLANTED)
    ]
    found = Parallel(n_jobs=arguments.jobs)(calls)
    results = pd.DataFrame([row for rows in found for row in rows])
    report(results, "kind", "table")
    results = results[results.table != PLANTED]
    report(results, "kind", "rows")
    report(results, "kind")


if __name__ == "__main__":
    main()
