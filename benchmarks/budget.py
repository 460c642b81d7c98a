"""A budget on the mean cost per row against top-k, at equal mean cost.

One pool of unlike scikit-learn experts per table, trained in two stages under a softmax
gate; the same fit is then routed by TopKRouter(1), (2) and (3), and by BudgetRouter
with the mean cost that each of these has on the test rows.  The line "1, trained" is a
fit of its own with router=1, whose gate is trained for one expert per row.  Costs are
seconds per row, as measure_costs finds them on training rows; half of the rows train.

    OMP_NUM_THREADS=1 python benchmarks/budget.py [--data DIR] [--tables elevators ...]

DIR holds NAME.parquet with the target last; without it only generated tables are used.
The output: RMSE / sd(y), or the share of wrong labels; cost: mean cost of a test row,
in costs of the dense mixture; mass: the share of the gate's weight that is kept.  The
last column is the smallest cost at which BudgetRouter is as good as top-k, in costs of
top-k.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_gated_regression, make_regimes
from skmoe.inspection import measure_costs
from skmoe.routers import BudgetRouter, TopKRouter

TABLES = ("elevators", "kin8nm", "california", "cpu_act", "magic", "electricity")
CLASSES = {"magic", "electricity"}
MOST_ROWS = 4000
# Budgets to try, in costs of top-k.
GRID = np.geomspace(0.03, 2.0, 20)
HEADER = (
    "| table | top-k | its error | its cost | its mass | budget: error | cost | mass "
    "| as good at |\n|---|---|---|---|---|---|---|---|---|"
)


def pool(classify):
    """Unlike experts by name."""
    network = {"early_stopping": True, "random_state": 0}
    if classify:
        return [
            ("line", make_pipeline(StandardScaler(), LogisticRegression())),
            ("tree", DecisionTreeClassifier(max_depth=6, random_state=0)),
            ("near", make_pipeline(StandardScaler(), KNeighborsClassifier(15))),
            ("forest", RandomForestClassifier(50, min_samples_leaf=3, random_state=0)),
            ("extra", ExtraTreesClassifier(50, min_samples_leaf=3, random_state=0)),
            ("boosted", HistGradientBoostingClassifier(random_state=0)),
            ("net", make_pipeline(StandardScaler(), MLPClassifier(**network))),
        ]
    return [
        ("line", make_pipeline(StandardScaler(), Ridge())),
        ("tree", DecisionTreeRegressor(max_depth=6, random_state=0)),
        ("near", make_pipeline(StandardScaler(), KNeighborsRegressor(10))),
        ("forest", RandomForestRegressor(50, min_samples_leaf=3, random_state=0)),
        ("extra", ExtraTreesRegressor(50, min_samples_leaf=3, random_state=0)),
        ("boosted", HistGradientBoostingRegressor(random_state=0)),
        ("net", make_pipeline(StandardScaler(), MLPRegressor(**network))),
    ]


def tables(arguments):
    """Name, task, columns and target of each table."""
    yield "regimes", False, *make_regimes(3000, noise=0.5, random_state=0)
    yield "gated", False, *make_gated_regression(3000, 6, 5, noise=0.5, random_state=0)
    for name in arguments.tables if arguments.data else ():
        frame = pd.read_parquet(arguments.data / f"{name}.parquet").dropna()
        if len(frame) > MOST_ROWS:
            frame = frame.sample(MOST_ROWS, random_state=0)
        X = frame.iloc[:, :-1].select_dtypes("number").to_numpy(float)
        y = frame.iloc[:, -1].to_numpy()
        yield name, name in CLASSES, X, y if name in CLASSES else y.astype(float)


def fitted(classify, X, y, router=None):
    """A mixture of the pool."""
    model = (MoEClassifier if classify else MoERegressor)(
        pool(classify),
        router=router,
        trainer="two-stage",
        gate_features=StandardScaler(),
        random_state=0,
    )
    return model.fit(X, y)


def error_of(classify, answer, y):
    """Share of wrong labels, or RMSE / sd(y)."""
    if classify:
        return np.mean(answer != y)
    return np.sqrt(np.mean((answer - y) ** 2)) / y.std()


class Routed:
    """One dense fit that any router may route.

    The predictions of all experts are made once, so that only routes differ.
    """

    def __init__(self, classify, X, y):
        self.classify, self.model = classify, fitted(classify, X, y)
        self.costs = measure_costs(self.model, X)
        self.log_gate = self._log_gate(X)

    def _log_gate(self, X):
        with np.errstate(divide="ignore"):
            return np.log(self.model.gate_proba(X))

    def see(self, X, y):
        """The rows to be judged on."""
        self.y, self.test_gate = y, self._log_gate(X)
        self.parts = self.model.predict_experts(X)

    def judged(self, router):
        """Error, mean cost relative to dense, and kept mass under a router."""
        costs = np.array(list(self.costs.values()))
        router = router.of_experts(list(self.costs)).fit(self.log_gate)
        weights = router.route(self.test_gate).dense()
        active = weights > 0
        cost = (active @ costs).mean() / costs.sum()
        mass = (np.exp(self.test_gate) * active).sum(axis=1).mean()
        return self._error(weights), cost, mass

    def budgeted(self, cost):
        """BudgetRouter of a mean cost relative to dense."""
        costs = np.array(list(self.costs.values()))
        budget = max(cost * costs.sum(), costs.min())
        return self.judged(BudgetRouter(self.costs, budget))

    def _error(self, weights):
        if not self.classify:
            answer = (weights * self.parts).sum(axis=1)
            return error_of(False, answer, self.y)
        proba = np.einsum("nk,nkc->nc", weights, self.parts)
        answer = self.model.classes_[proba.argmax(axis=1)]
        return error_of(True, answer, self.y)


def as_good_at(routed, error, cost):
    """Least cost of a budget that is as good as top-k, relative to that of top-k."""
    curve = [routed.budgeted(cost * own) for own in GRID]
    good = [own for error_at, own, _ in curve if error_at <= error]
    return min(good, default=np.nan) / cost


def trained_alone(routed, classify, X, y, rows):
    """Error and cost of a fit with router=1, with the experts' costs as measured."""
    model = fitted(classify, X, y, 1)
    error = error_of(classify, model.predict(rows[0]), rows[1])
    costs = np.array(list(routed.costs.values()))
    return error, model.route(rows[0]).load @ costs / len(rows[1]) / costs.sum(), np.nan


def run_table(classify, X, y):
    """Rows of figures, for each k."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    routed = Routed(classify, X, y)
    routed.see(X_test, y_test)
    found = {str(k): routed.judged(TopKRouter(k)) for k in (1, 2, 3)}
    found["1, trained"] = trained_alone(routed, classify, X, y, (X_test, y_test))
    for name, top in found.items():
        own = routed.budgeted(top[1])
        yield name, *top, *own, as_good_at(routed, top[0], top[1])


def main():
    """Print a line per table and k."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="*", default=TABLES)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(HEADER)
    ratios, started = [], time.perf_counter()
    for name, classify, X, y in tables(arguments):
        for k, *own in run_table(classify, X, y):
            ratios.append((k, own[3] / own[0], own[6]))
            cells = [f"{x:.3f}" for x in own[:6]] + [f"{own[6]:.2f}"]
            print(f"| {name} | {k} | " + " | ".join(cells) + " |", flush=True)
    found = pd.DataFrame(ratios, columns=["top-k", "error", "cost"]).set_index("top-k")
    means = np.exp(np.log(found).groupby(level=0).mean())
    print(f"\nBudget / top-k, geometric means:\n{means.round(3)}")
    print(f"{time.perf_counter() - started:.0f} seconds")


if __name__ == "__main__":
    main()
