"""Whether the defaults hurt: ``n_experts="auto"`` against one expert, four, none.

    python benchmarks/defaults.py --data DIR [--out results.parquet] [--jobs 2]
    python benchmarks/defaults.py --data DIR --quick
    python benchmarks/defaults.py --data DIR --sizes 200 2000 --tables abalone adult

DIR holds NAME.parquet with the target in the last column.  For each table, size and
seed so many random rows are fitted, and as many of the others as TEST_ROWS are tested
on; a table takes part in the sizes of which it has a quarter more rows.  Linear parts
see numbers and one-hot columns, additive ones the raw table.  Nothing is tuned per
table.  Loss is the RMSE in regression and the log-loss in classification; seconds are
those of the processor.  Results are stored, and a run that was stopped goes on.

The rule: no more than 1.02 times the loss of one expert, and less than a constant's.
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
from rivals._loss import loss_of
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from stored import Stored
from tables import load_parquet, prepared

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts._encoding import numeric_encoding

SIZES = (200, 600, 2000, 10_000)
SEEDS = (0, 1)
TEST_ROWS = 5000
QUICK = {"sizes": [200, 600], "tables": ["german_credit", "insurance", "phoneme"]}
# Many classes and columns, of which one fit takes minutes.
SLOW = ("letter",)
EXPERTS = ("auto", 1, 4)
KINDS = ("linear", "additive")
CONSTANT, ONE_MODEL = "constant", "ridge / logistic"
ALPHAS = np.logspace(-3, 5, 17)


def name_of(kind, n_experts):
    """Name of a mixture in the results."""
    return f"{kind}, n_experts={n_experts}"


def make(name, classify):
    """An unfitted model for raw tables."""
    if name == CONSTANT:
        return DummyClassifier() if classify else DummyRegressor()
    if name == ONE_MODEL:
        model = LogisticRegressionCV(
            l1_ratios=(0.0,), scoring="neg_log_loss", max_iter=500, cv=3
        )
        return make_pipeline(numeric_encoding(), model if classify else RidgeCV(ALPHAS))
    mixture = MoEClassifier if classify else MoERegressor
    kind, n_experts = name.split(", n_experts=")
    n_experts = n_experts if n_experts == "auto" else int(n_experts)
    if kind == "additive":
        return mixture(kind, n_experts, gate=kind, random_state=0)
    return make_pipeline(
        numeric_encoding(), mixture(n_experts=n_experts, random_state=0)
    )


def all_models():
    """Names of all models."""
    mixtures = [name_of(kind, size) for kind in KINDS for size in EXPERTS]
    return [CONSTANT, ONE_MODEL, *mixtures]


def chosen_by(model):
    """Experts that a fitted mixture asked for; none of a rival."""
    last = model[-1] if hasattr(model, "steps") else model
    history = vars(last).get("history_", {})
    return float(history.get("n_experts", {}).get("chosen", np.nan))


def run_cell(data, table, size, seed, models):
    """Rows of results of some models on some rows of one table."""
    warnings.simplefilter("ignore")
    task, X, y, n_rows = prepared(*load_parquet(data, table), 10**9, 0)
    if n_rows < 1.25 * size:
        return []
    order = np.random.default_rng(seed).permutation(n_rows)
    train, test = order[:size], order[size : size + TEST_ROWS]
    parts = [X.iloc[rows].reset_index(drop=True) for rows in (train, test)]
    rows = []
    for name in models:
        row = {"table": table, "task": task, "size": size, "seed": seed, "model": name}
        try:
            model = make(name, task == "classification")
            started = time.process_time()
            fitted = model.fit(parts[0], y[train])
            seconds = time.process_time() - started
            loss = loss_of(task, fitted, parts[1], y[test], np.unique(y))
        except Exception as error:  # One that breaks must not stop the others.
            rows.append({**row, "error": repr(error)[:300]})
            continue
        row |= {"loss": loss, "seconds": seconds, "chosen": chosen_by(fitted)}
        rows.append({**row, "error": None})
    return rows


def missing_calls(arguments, stored):
    """Arguments of ``run_cell`` for what is not stored, small sizes first."""
    tables = arguments.tables
    if not tables:
        found = sorted(path.stem for path in arguments.data.glob("*.parquet"))
        tables = [name for name in found if name not in SLOW]
    for size in arguments.sizes:
        for seed in arguments.seeds:
            for table in tables:
                models = [
                    name
                    for name in all_models()
                    if not stored.has(table, size, seed, name)
                ]
                if models:
                    yield arguments.data, table, size, seed, models


def worst(ratios):
    """The largest of some ratios, and where it is."""
    if not len(ratios):
        return "-"
    at = ratios.idxmax()
    return f"{ratios[at]:.3f} {at[0]}"


def line_of(kind, losses, seconds, chosen):
    """What is said of one kind of parts at one size.

    Parameters
    ----------
    losses, seconds : DataFrame by table and seed, with models as columns
    chosen : Series of the numbers of experts by table and seed
    """
    auto, one, four = (name_of(kind, size) for size in EXPERTS)

    def mean_ratio(other):
        return np.exp(np.log(losses[auto] / losses[other]).mean())

    counts = chosen.value_counts().sort_index()
    to_one = losses[auto] / losses[one]
    return {
        "worst / K=1": worst(to_one),
        "over 1.02": f"{(to_one > 1.02).sum()} of {len(to_one)}",
        "K=4's worst / K=1": worst(losses[four] / losses[one]),
        "worst / constant": worst(losses[auto] / losses[CONSTANT]),
        "mean / K=1": f"{mean_ratio(one):.3f}",
        "mean / K=4": f"{mean_ratio(four):.3f}",
        "mean / ridge, logistic": f"{mean_ratio(ONE_MODEL):.3f}",
        "time / K=4": f"{seconds[auto].sum() / seconds[four].sum():.2f}",
        "chosen": ", ".join(f"{int(k)}: {n}" for k, n in counts.items()),
    }


def report(rows):
    """The rule, size by size, as text."""
    failed = rows[rows.error.notna()]
    rows = rows[rows.error.isna()]
    lines = [
        f"failed: {own.table} {own.model} {own.error}" for own in failed.itertuples()
    ]
    keys = ["table", "seed"]
    for kind in KINDS:
        found = {}
        for size, own in rows.groupby("size"):
            losses = own.pivot(index=keys, columns="model", values="loss")
            seconds = own.pivot(index=keys, columns="model", values="seconds")
            chosen = own[own.model == name_of(kind, "auto")].set_index(keys).chosen
            whole = losses.notna().all(axis=1)
            found[f"n={size}"] = line_of(
                kind, losses[whole], seconds[whole], chosen.dropna()
            )
        lines += ["", f"{kind} parts", pd.DataFrame(found).to_string()]
    return "\n".join(lines)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("defaults.parquet"))
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.tables = QUICK["sizes"], QUICK["tables"]
    stored = Stored(arguments.out, ["table", "size", "seed", "model"])
    calls = [delayed(run_cell)(*own) for own in missing_calls(arguments, stored)]
    stored.collect(calls, arguments.jobs)
    if not stored.rows.empty:
        print(report(stored.rows))


if __name__ == "__main__":
    main()
