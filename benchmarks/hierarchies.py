"""Trees of gates beside the flat mixture, decision trees and linear model trees.

    python benchmarks/hierarchies.py --data DIR [--tables airfoil ...]

Five folds, nothing tuned per table except the last decision tree.  All mixtures have
linear experts and at most eight of them: flat, a tree of three levels of two, one of
four times two, and one that grows.  Rivals: scikit-learn's decision tree with eight
leaves and with as many as an inner cross-validation finds best, linear-tree's
LinearTreeRegressor of depth three over Ridge (at most eight leaves), and boosted trees.
RMSE / sd(y), mean and standard error over folds; log-density in nats of y / sd(y) for
the mixtures; seconds per fit.

DIR holds NAME.parquet with the target last; at most 5000 rows are used, numeric columns
only.  Needs the package linear-tree.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from accuracy_mlp import load_table
from rivals.linear_tree import LinearTree
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoERegressor

TABLES = [
    "mcycle",
    "airfoil",
    "concrete",
    "abalone",
    "cpu_act",
    "elevators",
    "kin8nm",
    "pumadyn32nm",
    "pol",
    "california",
    "kin40k",
]
LEAVES = 8


def models():
    """Name and unfitted model, mixtures first."""
    tree = DecisionTreeRegressor(random_state=0)
    sizes = {"max_leaf_nodes": [4, 8, 16, 32, 64, 128, 256]}
    linear = LinearTree(Ridge(), max_depth=3, min_samples_leaf=0.05)
    return {
        "flat": MoERegressor(n_experts=LEAVES, random_state=0),
        "2 x 2 x 2": HierarchicalMoERegressor(branching=(2, 2, 2), random_state=0),
        "4 x 2": HierarchicalMoERegressor(branching=(4, 2), random_state=0),
        "grown": HierarchicalMoERegressor(
            branching="grow", max_leaf_nodes=LEAVES, random_state=0
        ),
        "decision tree, 8 leaves": clone(tree).set_params(max_leaf_nodes=LEAVES),
        "decision tree, by CV": GridSearchCV(tree, sizes, cv=3),
        "linear tree": make_pipeline(StandardScaler(), linear),
        "boosted trees": HistGradientBoostingRegressor(random_state=0),
    }


def run_table(folder, name, n_folds):
    """Errors, log-densities, seconds and leaves, each (models, folds)."""
    X, y = load_table(folder, name)
    spread = y.std()
    found = np.full((4, len(models()), n_folds), np.nan)
    splitter = KFold(n_folds, shuffle=True, random_state=0)
    for fold, (train, test) in enumerate(splitter.split(X, y)):
        for i, model in enumerate(models().values()):
            started = time.perf_counter()
            model.fit(X[train], y[train])
            found[2, i, fold] = time.perf_counter() - started
            error = model.predict(X[test]) - y[test]
            found[0, i, fold] = np.sqrt(np.mean(error**2)) / spread
            if hasattr(model, "log_density"):
                density = model.log_density(X[test], y[test])
                found[1, i, fold] = density.mean() + np.log(spread)
                found[3, i, fold] = model.n_experts_
    return found


def report(title, names, rows):
    """Print a table, one column per model."""
    print(f"\n{title}\n\n| table | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main():
    """Run the tables and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=TABLES)
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    names, found = list(models()), {}
    # Kernels are compiled, or loaded, before anything is timed.
    for model in models().values():
        model.fit(np.random.default_rng(0).normal(size=(200, 3)), np.arange(200.0))
    for name in arguments.tables:
        found[name] = run_table(arguments.data, name, arguments.folds)
        print(name, found[name].mean(axis=2).round(4).tolist(), flush=True)

    def cells(which, kind, form):
        shown = slice(None, kind)
        return {
            name: [form(values) for values in table[which][shown]]
            for name, table in found.items()
        }

    def error(values):
        return f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}"

    def plain(values):
        return f"{values.mean():.2f}"

    report("RMSE / sd(y)", names, cells(0, None, error))
    report("Log-density, nats", names[:4], cells(1, 4, error))
    report("Leaves", names[:4], cells(3, 4, plain))
    report("Seconds per fit", names, cells(2, None, plain))


if __name__ == "__main__":
    main()
