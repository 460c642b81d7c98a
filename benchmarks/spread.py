"""Additive mixtures whose spread depends on the row, beside those with one per expert.

    python benchmarks/spread.py truth [--seeds 20]
    python benchmarks/spread.py tables --data DIR

``truth``: generated tables whose spread follows a curve of one column and a level of
another; log-density of new rows less that of the truth, and the share of them within
intervals of 90 % in each third of the column.  ``tables``: raw tables (DIR holds
NAME.parquet with the target in the last column), at most MAX_ROWS random rows, three
folds; the thirds are those of the predicted mean.  A single row may outweigh all, so
log-densities are also those without the worst hundredth.  Nothing is tuned per table.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.model_selection import KFold

from skmoe import MoERegressor

MAX_ROWS = 3000
FOLDS = 3
TABLES = ["abalone", "bike_hourly", "california", "concrete", "insurance"]
SIZES = [1, 4]
COVERAGE = 0.9


def make_spread(n_rows, random_state):
    """Columns, target, mean and spread: a curve of x, and the level of a category."""
    rng = np.random.default_rng(random_state)
    x, kind = rng.uniform(-2, 2, n_rows), rng.choice(["u", "v", "w"], n_rows)
    other = np.where(rng.random(n_rows) < 0.1, np.nan, rng.normal(size=n_rows))
    mean = np.sin(2 * x) + (kind == "u") + np.nan_to_num(other)
    spread = np.exp(-1 + np.cos(2 * x) + 0.8 * (kind == "v"))
    X = pd.DataFrame({"x": x, "kind": kind, "other": other})
    return X, mean + spread * rng.normal(size=n_rows), mean, spread


def scores(model, X, y, by):
    """Log-density, and coverage in percent of all rows and by thirds of ``by``."""
    low, high = model.predict_interval(X, COVERAGE).T
    inside = 100.0 * ((y >= low) & (y <= high))
    third = np.digitize(by, np.quantile(by, [1 / 3, 2 / 3]))
    own = [inside[third == part].mean() for part in range(3)]
    density = np.sort(model.log_density(X, y))
    found = {
        "log-density": density.mean(),
        "but worst 1 %": density[len(density) // 100 :].mean(),
        "covered": inside.mean(),
    }
    return found | dict(zip(["low", "middle", "high"], own, strict=True))


def fitted(X, y, size, likelihood):
    """A mixture, and seconds of its fit."""
    model = MoERegressor("additive", size, gate="additive", random_state=0)
    began = time.perf_counter()
    model.set_params(likelihood=likelihood).fit(X, y)
    return model, time.perf_counter() - began


def truth(arguments):
    """Report on generated tables."""
    found = []
    for seed in range(arguments.seeds):
        X, y, mean, spread = make_spread(3000, seed)
        exact = stats.norm.logpdf(y, mean, spread)[1000:].mean()
        for size in (1, 2):
            for likelihood in ("gaussian", "heteroscedastic"):
                model, _ = fitted(X[:1000], y[:1000], size, likelihood)
                own = scores(model, X[1000:], y[1000:], X["x"][1000:])
                own["log-density"] -= exact
                del own["but worst 1 %"]
                found.append({"size": size, "likelihood": likelihood, **own})
    groups = pd.DataFrame(found).groupby(["size", "likelihood"])
    print("mean; log-densities less those of the truth\n", groups.mean().round(3))
    print("standard error\n", groups.sem().round(3))


def tables(arguments):
    """Report on tables."""
    found = []
    for name in TABLES:
        frame = pd.read_parquet(Path(arguments.data) / f"{name}.parquet")
        frame = frame.sample(min(len(frame), MAX_ROWS), random_state=0)
        y, X = frame.pop(frame.columns[-1]).to_numpy(dtype=float), frame
        for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(X):
            for size in SIZES:
                for likelihood in ("gaussian", "heteroscedastic"):
                    own = X.iloc[train], y[train], size, likelihood
                    model, seconds = fitted(*own)
                    mean = model.predict(X.iloc[test])
                    row = scores(model, X.iloc[test], y[test], mean)
                    rmse = np.sqrt(np.mean((mean - y[test]) ** 2)) / y.std()
                    names = {"table": name, "size": size, "likelihood": likelihood}
                    found.append(names | row | {"RMSE / sd": rmse, "seconds": seconds})
    groups = pd.DataFrame(found).groupby(["table", "size", "likelihood"])
    print(groups.mean().round(3).to_string())


def main():
    """Run a part from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("truth", "tables"))
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    pd.set_option("display.width", 150)
    (truth if arguments.part == "truth" else tables)(arguments)


if __name__ == "__main__":
    main()
