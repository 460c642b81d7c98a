"""Do predictive intervals cover what they say, and at what price?

    python benchmarks/intervals.py truth [--seeds 20]
    python benchmarks/intervals.py tables --data DIR [--jobs 2]
    python benchmarks/intervals.py pool --data DIR [--likelihoods gaussian ...]

``truth``: data that a mixture generated, coverage of intervals of new rows, with the
default penalty of experts and without.  ``tables``: numeric tables (DIR holds
NAME.parquet with the target in the last column), at most MAX_ROWS random rows, five
folds.  Coverage of central intervals in percent; CRPS as twice the mean pinball loss
over LEVELS, relative to the best on each table; negative log-likelihood in nats, for
models that have a density.  "Either Gaussian" chooses by inner folds whether variances
depend on the input.  ``pool``: every regression table as it comes, one fold of at most
2000 training rows; intervals of 90 % of experts="auto" in two stages under each
likelihood, beside those of boosted quantiles: percent of new rows within, by thirds of
the midpoint too, mean width over that of boosted quantiles, and the interval score
(width and misses as one price) over theirs.  Nothing is tuned per table.
"""

import argparse
import os
import time
import warnings
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import QuantileRegressor
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import load_parquet, prepared, splits

from skmoe import MoERegressor
from skmoe._estimators.pool_members import TreesOnTables
from skmoe.datasets import make_gated_regression, make_regimes
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.model_selection import MoERegressorCV

MAX_ROWS = 1000
FOLDS = 5
COVERAGES = (0.5, 0.8, 0.95)
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
# Of the pool: four of five rows train.
POOL_ROWS, POOL_COVERAGE = 2500, 0.9
THIRDS, QUANTILES = ["low", "middle", "high"], "boosted quantiles"


def boosted(level):
    """Unfitted boosted trees for a quantile."""
    return HistGradientBoostingRegressor(
        loss="quantile", quantile=level, random_state=0
    )


class Mixture:
    """Linear experts, piecewise-linear columns, five members.

    Size, penalty and, of several, likelihood are chosen by three folds.
    """

    def __init__(self, *likelihoods):
        self.likelihoods = list(likelihoods)

    def fit(self, X, y):
        """Search, then average five starts."""
        mixture = MoERegressor(
            LinearExpert(),
            gate=SoftmaxGate(alpha=1.0),
            expert_features="piecewise-linear",
            random_state=0,
        )
        grid = {"experts__alpha": [10.0, 1.0], "likelihood": self.likelihoods}
        search = MoERegressorCV(mixture, n_experts=(1, 2, 4), param_grid=grid, cv=3)
        params = search.fit(X, y).best_params_
        members = 1 if search.n_experts_ == 1 else 5
        self.model = mixture.set_params(**params, n_members=members).fit(X, y)
        return self

    def quantiles(self, X):
        """Quantiles (n, levels)."""
        return self.model.predict_quantile(X, LEVELS)

    def log_density(self, X, y):
        """Log-densities (n,)."""
        return self.model.log_density(X, y)


class Boosting:
    """A gradient-boosted model per quantile; sorted, so that they do not cross."""

    def fit(self, X, y):
        self.models = [boosted(level).fit(X, y) for level in LEVELS]
        return self

    def quantiles(self, X):
        return np.sort(np.column_stack([m.predict(X) for m in self.models]), axis=1)


class LinearQuantiles(Boosting):
    """A linear model per quantile."""

    def fit(self, X, y):
        self.models = [
            make_pipeline(StandardScaler(), QuantileRegressor(quantile=q, alpha=0)).fit(
                X, y
            )
            for q in LEVELS
        ]
        return self


class Normal:
    """Models that predict a normal density."""

    def quantiles(self, X):
        mean, std = self.moments(X)
        return mean[:, None] + std[:, None] * stats.norm.ppf(LEVELS)

    def log_density(self, X, y):
        mean, std = self.moments(X)
        return stats.norm.logpdf(y, mean, std)


class Process(Normal):
    """A Gaussian process with one length scale per column."""

    def fit(self, X, y):
        kernel = ConstantKernel() * RBF(np.ones(X.shape[1])) + WhiteKernel()
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        self.model = make_pipeline(StandardScaler(), process).fit(X, y)
        return self

    def moments(self, X):
        return self.model.predict(X, return_std=True)


class NaturalBoosting(Normal):
    """NGBoost with its own settings."""

    def fit(self, X, y):
        from ngboost import NGBRegressor

        self.model = NGBRegressor(verbose=False, random_state=0).fit(X, y)
        return self

    def moments(self, X):
        found = self.model.pred_dist(X)
        return found.loc, found.scale


MODELS = {
    "skmoe, Gaussian": lambda: Mixture("gaussian"),
    "skmoe, either Gaussian": lambda: Mixture("gaussian", "heteroscedastic"),
    "skmoe, Student's t": lambda: Mixture("student-t"),
    "boosted quantiles": Boosting,
    "linear quantiles": LinearQuantiles,
    "Gaussian process": Process,
    "NGBoost": NaturalBoosting,
}


def scores(model, X, y):
    """Coverages, CRPS and negative log-likelihood of held-out rows."""
    found = model.quantiles(X)
    row = {}
    for coverage in COVERAGES:
        low = LEVELS.index(round((1 - coverage) / 2, 3))
        inside = (y >= found[:, low]) & (y <= found[:, -1 - low])
        row[f"{coverage:.0%}"] = 100 * inside.mean()
    error = y[:, None] - found
    pinball = np.maximum(np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error)
    row["CRPS"] = 2 * pinball.mean()
    density = getattr(model, "log_density", None)
    row["NLL"] = np.nan if density is None else -density(X, y).mean()
    return row


def run_fold(table, name, X, y, train, test):
    """Scores of one model on one fold."""
    warnings.simplefilter("ignore")
    model = MODELS[name]().fit(X[train], y[train])
    return {"table": table, "model": name, **scores(model, X[test], y[test])}


def numeric_tables(folder):
    """Names, columns and targets of tables with numbers only."""
    for path in sorted(Path(folder).glob("*.parquet")):
        frame = pd.read_parquet(path)
        numbers = all(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes)
        y = frame.pop(frame.columns[-1])
        if not numbers or frame.isna().any(axis=None) or y.nunique() < 20:
            continue
        rows = np.random.default_rng(0).permutation(len(frame))[:MAX_ROWS]
        yield path.stem, frame.to_numpy(dtype=float)[rows], y.to_numpy(float)[rows]


def tables(arguments):
    """Table of all models over all tables."""
    calls = []
    for table, X, y in numeric_tables(arguments.data):
        for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(X):
            calls += [delayed(run_fold)(table, n, X, y, train, test) for n in MODELS]
    found = pd.DataFrame(Parallel(n_jobs=arguments.jobs, verbose=1)(calls))
    means = found.groupby(["model", "table"]).mean()
    crps = means["CRPS"].unstack()
    ranks = crps.rank().mean(axis=1)
    report = means[[f"{c:.0%}" for c in COVERAGES]].groupby("model").mean()
    off = (means[["50%", "80%", "95%"]] - [50, 80, 95]).abs()
    report["off by"] = off.mean(axis=1).groupby("model").mean()
    report["CRPS / best"] = np.exp(np.log(crps / crps.min()).mean(axis=1))
    report["mean rank"] = ranks
    print(f"{crps.shape[1]} tables\n")
    print(report.sort_values("mean rank").round(3).to_string(), "\n")
    print((crps / crps.min()).T.round(3).to_string(), "\n")
    print(means["NLL"].unstack().T.dropna(axis=1).round(3).to_string())


def make_growing_spread(n_rows, random_state):
    """Two lines told apart by the second column; their spread grows with the first."""
    rng = np.random.default_rng(random_state)
    X = rng.uniform(-2, 2, size=(n_rows, 2))
    mean = np.where(X[:, 1] > 0, 3 * X[:, 0], 1 - 2 * X[:, 0])
    return X, mean + np.exp(0.8 * X[:, 0] - 1) * rng.normal(size=n_rows)


#: Generator, number of experts and likelihood of data that a mixture describes.
TRUTHS = {
    "regimes": (make_regimes, 2, "gaussian"),
    "gated regression": (make_gated_regression, 3, "gaussian"),
    "growing spread": (make_growing_spread, 2, "heteroscedastic"),
}


def truth(arguments):
    """Coverage of new rows where the model is the truth, by penalty of the experts."""
    found = []
    for seed, (name, own) in product(range(arguments.seeds), TRUTHS.items()):
        make, size, likelihood = own
        X, y = make(3000, random_state=seed)
        for alpha in (1.0, 0.0):
            model = MoERegressor(LinearExpert(alpha=alpha), n_experts=size)
            model.set_params(likelihood=likelihood, random_state=0)
            model.fit(X[:2000], y[:2000])
            row = {"data": name, "alpha": alpha}
            for coverage in COVERAGES:
                low, high = model.predict_interval(X[2000:], coverage).T
                inside = (y[2000:] >= low) & (y[2000:] <= high)
                row[f"{coverage:.0%}"] = 100 * inside.mean()
            found.append(row)
    groups = pd.DataFrame(found).groupby(["data", "alpha"], sort=False)
    print("mean, %\n", groups.mean().round(1).to_string(), "\n")
    print("standard error, points\n", groups.sem().round(1).to_string())


class Pool:
    """The pool, whose likelihood says how its intervals are made."""

    def __init__(self, likelihood):
        self.model = MoERegressor(
            "auto", trainer="two-stage", likelihood=likelihood, random_state=0
        )

    def fit(self, X, y):
        self.model.fit(X, y)
        return self

    def interval(self, X):
        """Ends (n, 2)."""
        return self.model.predict_interval(X, POOL_COVERAGE)


class TrimmedTrees:
    """Boosted trees for both ends, on raw categories; sorted, so that they hold."""

    def fit(self, X, y):
        ends = (1 - POOL_COVERAGE) / 2, (1 + POOL_COVERAGE) / 2
        self.models = [TreesOnTables(boosted(level)).fit(X, y) for level in ends]
        return self

    def interval(self, X):
        """Ends (n, 2)."""
        return np.sort(np.column_stack([m.predict(X) for m in self.models]), axis=1)


def interval_scores(ends, y):
    """Percent within, by thirds of the midpoint too, mean width, and their price."""
    low, high = ends.T
    inside = 100.0 * ((y >= low) & (y <= high))
    order = np.argsort(low + high, kind="stable")
    thirds = [inside[rows].mean() for rows in np.array_split(order, 3)]
    missed = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    price = high - low + 2 / (1 - POOL_COVERAGE) * missed
    row = {"covers": inside.mean(), "width": np.mean(high - low)}
    row |= dict(zip(THIRDS, thirds, strict=True))
    return row | {"price": price.mean()}


def raw_tables(folder, names):
    """Names, and the rows of a fold, of regression tables."""
    for path in sorted(Path(folder).glob("*.parquet")):
        if names and path.stem not in names:
            continue
        task, X, y, n_rows = prepared(*load_parquet(folder, path.stem), POOL_ROWS, 0)
        if task == "regression":
            train, test = splits(task, X, y, n_rows, 0)[0]
            yield path.stem, X, y, train, test


def pool_fold(table, name, likelihood, X, y, train, test):
    """Scores of one model on one table, or why there are none."""
    warnings.simplefilter("ignore")
    model = TrimmedTrees() if likelihood is None else Pool(likelihood)
    begun = time.process_time()
    try:
        model.fit(X.iloc[train].reset_index(drop=True), y[train])
        ends = model.interval(X.iloc[test].reset_index(drop=True))
    except Exception as error:  # One that cannot must not stop the others.
        return {"table": table, "model": name, "error": repr(error)[:200]}
    row = {"table": table, "model": name, "seconds": time.process_time() - begun}
    return {**row, **interval_scores(ends, y[test])}


def pool(arguments):
    """Intervals of the pool beside those of boosted quantiles, table by table."""
    models = {QUANTILES: None} | {f"pool, {own}": own for own in arguments.likelihoods}
    calls = [
        delayed(pool_fold)(table, name, own, *rows)
        for table, *rows in raw_tables(arguments.data, arguments.tables)
        for name, own in models.items()
    ]
    found = pd.DataFrame(Parallel(n_jobs=arguments.jobs, verbose=1)(calls))
    if "error" in found:
        for _, own in found[found.error.notna()].iterrows():
            print(f"{own.model} failed on {own.table}: {own.error}")
        found = found[found.error.isna()].drop(columns="error")
    print(pool_report(found))


def pool_report(found):
    """Figures of each table, and of all of them."""
    found = found.set_index(["table", "model"])
    base = found.xs(QUANTILES, level="model")
    for name in ("width", "price"):
        found[name] = found[name] / base[name].reindex(found.index, level="table")
    found["off by"] = (found.covers - 100 * POOL_COVERAGE).abs()
    found["thirds off by"] = (found[THIRDS] - 100 * POOL_COVERAGE).abs().mean(axis=1)
    means = found.groupby("model").mean()
    for name in ("width", "price"):
        means[name] = np.exp(np.log(found[name]).groupby("model").mean())
    tables = found[["covers", *THIRDS, "width", "price"]].round(2)
    return f"{tables.to_string()}\n\n{means.round(3).T.to_string()}"


PARTS = {"truth": truth, "tables": tables, "pool": pool}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=[*PARTS])
    parser.add_argument("--data")
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--likelihoods", nargs="*", default=["gaussian"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    PARTS[arguments.part](arguments)


if __name__ == "__main__":
    main()
