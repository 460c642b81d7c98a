"""What the answer about one row costs, beside the parts of a mixture and a ridge.

    python benchmarks/latency.py [--calls 2000] [--rounds 7]

CPU microseconds per call, the least of several rounds in which all take turns, so that
what disturbs the cores disturbs all of them.  Rows are arrays of NumPy with ten
columns, or data frames of pandas where that is said.  A linear mixture stands beside
scikit-learn's Ridge, a classifier beside its logistic regression, and one of other
estimators beside the sum of what its experts and its gate need when they are asked one
after the other.
"""

import argparse
import os
import time

# Before numerical libraries are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.datasets import make_gated_regression

LINEAR, CLASSES, FRAME = "Ridge", "LogisticRegression", "Ridge, a data frame"
EM, STAGES = "sum of parts, EM", "sum of parts, two stages"


def rows():
    """Columns, target and classes."""
    X, y = make_gated_regression(3000, 10, 8, random_state=0)
    return X, y, np.digitize(y, np.quantile(y, [0.3, 0.7]))


def parts_of(model):
    """A call that asks experts and gate of a mixture about a row, one by one."""

    def ask(row):
        for expert in model.experts_:
            expert.predict(row)
        model.gate_.predict_log_proba(row)

    return ask


def subjects():
    """Calls of one row by name, each with what it stands beside, and its unit."""
    X, y, classes = rows()
    ridge, logistic = Ridge().fit(X, y), LogisticRegression().fit(X, classes)
    table = pd.DataFrame(X).add_prefix("x")
    ridge_of_table, one_row = Ridge().fit(table, y), table[:1]
    of_table = MoERegressor(n_experts=2, random_state=0).fit(table, y)
    two = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    eight = MoERegressor(n_experts=8, random_state=0).fit(X, y)
    one = MoERegressor(n_experts=8, router=1, random_state=0).fit(X, y)
    tree = HierarchicalMoERegressor(branching=(2, 2), random_state=0).fit(X, y)
    of_classes = MoEClassifier(n_experts=3, random_state=0).fit(X, classes)
    class_tree = HierarchicalMoEClassifier(branching=(2, 2)).fit(X, classes)
    experts = [Ridge(), DecisionTreeRegressor(max_depth=4), RandomForestRegressor(20)]
    em = MoERegressor(experts, random_state=0).fit(X, y)
    stages = MoERegressor(experts, random_state=0, trainer="two-stage").fit(X, y)
    calls = {
        LINEAR: (ridge.predict, None),
        "2 linear experts": (two.predict, LINEAR),
        "8 linear experts": (eight.predict, LINEAR),
        "1 of 8 linear experts": (one.predict, LINEAR),
        "4 linear experts in a tree": (tree.predict, LINEAR),
        FRAME: (lambda _: ridge_of_table.predict(one_row), None),
        "2 linear experts, a data frame": (lambda _: of_table.predict(one_row), FRAME),
        CLASSES: (logistic.predict_proba, None),
        "its predict": (logistic.predict, None),
        "3 experts of classes": (of_classes.predict_proba, CLASSES),
        "3 experts of classes, predict": (of_classes.predict, "its predict"),
        "4 experts of classes in a tree": (class_tree.predict_proba, CLASSES),
        EM: (parts_of(em), None),
        "3 estimators of scikit-learn": (em.predict, EM),
        STAGES: (parts_of(stages), None),
        "the same, corrected": (stages.predict, STAGES),
    }
    return calls, X[:1]


def microseconds(call, row, n_calls):
    """CPU time of a call, in microseconds."""
    start = time.process_time()
    for _ in range(n_calls):
        call(row)
    return 1e6 * (time.process_time() - start) / n_calls


def main():
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    calls, row = subjects()
    least = {name: microseconds(call, row, 20) for name, (call, _) in calls.items()}
    for _ in range(given.rounds):
        for name, (call, _) in calls.items():
            found = microseconds(call, row, given.calls // given.rounds)
            least[name] = min(least[name], found)
    print(f"{'one row':32}{'microseconds':>14}{'ratio':>8}  beside")
    for name, (_, beside) in calls.items():
        ratio = "" if beside is None else f"{least[name] / least[beside]:.2f}"
        print(f"{name:32}{least[name]:14.0f}{ratio:>8}  {beside or ''}")


if __name__ == "__main__":
    main()
