"""A budget on the mean cost per row against top-k, at equal mean cost.

One pool of unlike scikit-learn experts per table, trained in two stages under a softmax
gate, once for combinations of experts and once for one expert per row (as router=1
does).  Lines 1, 2 and 3 are TopKRouter(k) on the gate that it is trained with, lines 2*
and 3* on the gate for one.  BudgetRouter has the mean cost that top-k has on the test
rows, on the gate that its budget asks for.  Costs are seconds per row, as measure_costs
finds them on training rows; half of the rows train.

    OMP_NUM_THREADS=1 python benchmarks/budget.py [--data DIR] [--tables elevators ...]

DIR holds NAME.parquet with the target last; without it only generated tables are used.
The output: RMSE / sd(y), or the share of wrong labels; cost: mean cost of a test row,
in costs of the dense mixture.  The last column is the smallest cost at which
BudgetRouter is as good as top-k, in costs of top-k; NaN if it is nowhere up to twice.
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
from skmoe._estimators.answers import see
from skmoe.datasets import make_gated_regression, make_regimes
from skmoe.inspection import measure_costs
from skmoe.routers import BudgetRouter, TopKRouter

TABLES = ("elevators", "kin8nm", "california", "magic", "electricity")
CLASSES = {"magic", "electricity"}
MOST_ROWS = 3000
# Budgets to try, in costs of top-k.
GRID = np.geomspace(0.03, 2.0, 20)
HEADER = (
    "| table | top-k | its error | its cost | budget: error | cost | as good at |\n"
    "|---|---|---|---|---|---|---|"
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
    """One fit that any router may route.

    The predictions of all experts are made once, so that only routes differ.
    """

    def __init__(self, classify, train, test, router=None):
        self.classify, self.y = classify, test[1]
        self.model = fitted(classify, *train, router)
        self.log_gate, self.test_gate = map(self._log_gate, (train[0], test[0]))
        self.parts = self.model.predict_experts(test[0])

    def _log_gate(self, X):
        return self.model.gate_.predict_log_proba(see(self.model, X)[1].gate)

    def judged(self, router, costs):
        """Error, and mean cost relative to dense, under a router."""
        router = router.of_experts(list(costs)).fit(self.log_gate)
        weights, costs = router.route(self.test_gate).dense(), [*costs.values()]
        return self._error(weights), ((weights > 0) @ costs).mean() / sum(costs)

    def _error(self, weights):
        if not self.classify:
            answer = (weights * self.parts).sum(axis=1)
            return error_of(False, answer, self.y)
        proba = np.einsum("nk,nkc->nc", weights, self.parts)
        answer = self.model.classes_[proba.argmax(axis=1)]
        return error_of(True, answer, self.y)


class Pair:
    """Fits for combinations and for one expert per row, and the costs of experts."""

    def __init__(self, classify, train, test):
        self.together = Routed(classify, train, test)
        self.alone = Routed(classify, train, test, 1)
        self.costs = measure_costs(self.together.model, train[0])

    def top(self, k, alone):
        """Error and cost of top-k."""
        own = self.alone if alone else self.together
        return own.judged(TopKRouter(k), self.costs)

    def budgeted(self, cost):
        """Error and cost of a budget relative to dense."""
        costs = [*self.costs.values()]
        router = BudgetRouter(self.costs, max(cost * sum(costs), min(costs)))
        own = self.alone if router.prefers_one(len(costs)) else self.together
        return own.judged(router, self.costs)

    def as_good_at(self, error, cost):
        """Least cost of a budget that is as good as top-k, in costs of top-k."""
        curve = [self.budgeted(cost * own) for own in GRID]
        good = [own for error_at, own in curve if error_at <= error]
        return min(good, default=np.nan) / cost


def run_table(classify, X, y):
    """Rows of figures, for each k."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    pair = Pair(classify, (X, y), (X_test, y_test))
    for name in ("1", "2", "3", "2*", "3*"):
        top = pair.top(int(name[0]), alone=name in ("1", "2*", "3*"))
        yield name, *top, *pair.budgeted(top[1]), pair.as_good_at(*top)


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
            ratios.append((k, own[2] / own[0], own[4]))
            cells = [f"{x:.3f}" for x in own[:4]] + [f"{own[4]:.2f}"]
            print(f"| {name} | {k} | " + " | ".join(cells) + " |", flush=True)
    found = pd.DataFrame(ratios, columns=["top-k", "error", "cost"]).set_index("top-k")
    means = np.exp(np.log(found).groupby(level=0).mean())
    print(f"\nBudget / top-k, geometric means:\n{means.round(3)}")
    print(f"{time.perf_counter() - started:.0f} seconds")


if __name__ == "__main__":
    main()
