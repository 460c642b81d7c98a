"""Prediction of a two-stage mixture with one expert per row, and what it must cost.

    python benchmarks/speed_two_stage.py --data DIR [--tables elevators ...]

The pool of ``experts="auto"`` is fitted to 3000 random rows; the other rows of each
table, up to MAX_ROWS, are predicted by the sparse mixture.  That is compared with the
price of its parts: the gate on all rows, and each expert on as many rows as it is given
(its time on all rows times its load).  All of them take turns; best of fifteen, seconds
per million rows.  The dense mixture is timed once.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

# Before numerical libraries are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rivals._memory import SharedPool
from sklearn.base import clone
from tables import load_parquet, prepared

from skmoe import MoEClassifier, MoERegressor

TABLES = ["elevators", "california", "bike_hourly", "magic", "electricity", "adult"]
TRAIN_ROWS = 3000
MAX_ROWS = 20_000


def in_turn(calls, times=15):
    """Seconds of the fastest of several runs of each call, which take turns."""
    found = np.empty((times, len(calls)))
    for times_of_round in found:
        for number, (call, *arguments) in enumerate(calls):
            started = time.perf_counter()
            call(*arguments)
            times_of_round[number] = time.perf_counter() - started
    return found.min(axis=0)


class Pool(SharedPool):
    """The pool without memory, which would answer for the experts."""

    def members(self, classify):
        """Names and unfitted experts."""
        names, experts = super().members(classify)
        return names, [expert.estimator for expert in experts]


def measure(folder, name):
    """Seconds per million rows: sparse, its parts, dense; and the largest load."""
    task, X, y, _ = prepared(*load_parquet(folder, name), MAX_ROWS, 0)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X.iloc[order], y[order]
    classify = task == "classification"
    kind = MoEClassifier if classify else MoERegressor
    model = kind(Pool(), trainer="two-stage", router=1, random_state=0)
    model.fit(X[:TRAIN_ROWS], y[:TRAIN_ROWS])
    rest = X[TRAIN_ROWS:].reset_index(drop=True)
    answer = "predict_proba" if classify else "predict"
    load = np.bincount(model.route(rest).indices[:, 0], minlength=model.n_experts_)
    share = load / len(rest)
    asked = np.flatnonzero(share)
    experts = [(getattr(model.experts_[k], answer), rest) for k in asked]
    sparse, gate, *costs = in_turn(
        [(getattr(model, answer), rest), (model.gate_proba, rest), *experts]
    )
    dense = clone(model).set_params(router=None)
    dense.fit(X[:TRAIN_ROWS], y[:TRAIN_ROWS])
    (whole,) = in_turn([(getattr(dense, answer), rest)], times=1)
    seconds = np.array([sparse, gate + share[asked] @ costs, whole])
    return 1e6 / len(rest) * seconds, share.max()


def main():
    """Run the tables and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=TABLES)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| table | router=1 | gate + load x cost | ratio | dense | largest load |")
    print("|---" * 6 + "|")
    for name in arguments.tables:
        (sparse, parts, dense), load = measure(arguments.data, name)
        print(
            f"| {name} | {sparse:.2f} | {parts:.2f} | {sparse / parts:.2f} | "
            f"{dense:.2f} | {load:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
