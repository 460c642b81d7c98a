"""Students of the pool beside the pool: what is lost, and what a prediction then costs.

    python benchmarks/students.py run --data DIR --out FILE [--jobs 2]
    python benchmarks/students.py report --out FILE

DIR holds NAME.parquet with the target in the last column; of each table the first fold
of tables.py, with at most 2000 training rows.  The pool is experts="auto" in two
stages; its students (skmoe.distillation.distill) see the same rows, with their
targets.  Each student stands beside the same model without a teacher.  Losses are RMSE
or log-loss; costs are CPU seconds of a call with one row and with 1000 rows, the least
of several.  The goal: at most 2 % more loss at a hundredth of the cost.
"""

import argparse
import os
import warnings
from functools import partial
from pathlib import Path

# Before numerical libraries are loaded: one thread for each job.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from joblib import delayed
from rivals import hist_boosting
from rivals._loss import loss_of
from rivals._memory import timed
from sklearn.base import clone
from spent import least_seconds
from stored import Stored
from tables import check_same_run, load_parquet, prepared, splits
from tables_report import markdown

from skmoe import MoEClassifier, MoERegressor
from skmoe.distillation import distill
from skmoe.experts import AutoPool, MLPExpert

# Of which four of five train.
MAX_ROWS = 2500
MOST_LOSS, MOST_COST = 1.02, 0.01
POOL, ALONE = "pool", ", no teacher"
COSTS = {"one row": 1, "1000 rows": 1000}


def mixture(classify, *experts, **parameters):
    """An unfitted mixture for the task."""
    kind = MoEClassifier if classify else MoERegressor
    return kind(*experts, random_state=0, **parameters)


def network(classify):
    """A network on the pool's numeric columns."""
    encoding = AutoPool().encoding()
    seen = {"gate_features": encoding, "expert_features": encoding}
    return mixture(classify, MLPExpert((64, 64)), 1, trainer="gradient", **seen)


#: What distill takes as a student, by name.
STUDENTS = {
    "auto": lambda classify: "auto",
    "additive": lambda classify: mixture(classify, "additive", 4, gate="additive"),
    "additive, n_experts=1": lambda classify: mixture(classify, "additive", 1),
    "network": network,
    "boosted trees": lambda classify: hist_boosting.make(classify, 0, None),
}


def measured(task, model, fit_seconds, X, y, classes):
    """Loss of a fitted model on held-out rows, and what its answers cost."""
    answer = model.predict if task == "regression" else model.predict_proba
    row = {"loss": loss_of(task, model, X, y, classes), "fit_seconds": fit_seconds}
    for name, n_rows in COSTS.items():
        rows = X.iloc[np.arange(n_rows) % len(X)].reset_index(drop=True)
        row[name] = least_seconds(answer, rows)
    return {**row, "error": None}


def chosen_of(student):
    """Name of a student that was chosen, or None."""
    found = getattr(student, "distilled_", None)
    return found and found.chosen.name


def run_table(arguments, name, students):
    """Rows of results of the pool, of its students, and of those without a teacher."""
    warnings.simplefilter("ignore")
    seed, max_rows = arguments.seed, arguments.max_rows
    task, X, y, n_rows = prepared(*load_parquet(arguments.data, name), max_rows, seed)
    train, test = splits(task, X, y, n_rows, seed)[0]
    X_test, y_test = X.iloc[test].reset_index(drop=True), y[test]
    X, y, classes = X.iloc[train].reset_index(drop=True), y[train], np.unique(y)
    classify, rows = task == "classification", []

    def tell(model, fit, *given):
        row = {"table": name, "task": task, "model": model}
        row |= {"seed": seed, "max_rows": max_rows}
        try:
            fitted, seconds = timed(fit, *given)
            row |= measured(task, fitted, seconds, X_test, y_test, classes)
            row["chosen"] = chosen_of(fitted)
        except Exception as error:  # One that breaks must not stop the others.
            fitted, row["error"] = None, repr(error)[:300]
        rows.append(row)
        return fitted

    pool = mixture(classify, arguments.pool, trainer="two-stage")
    pool = tell(POOL, pool.fit, X, y)
    for own in students if pool is not None else ():
        student = STUDENTS[own](classify)
        options = {"random_state": seed} if isinstance(student, str) else {}
        tell(own, partial(distill, y=y, **options), pool, X, student)
        if not isinstance(student, str):
            tell(own + ALONE, clone(student).fit, X, y)
    return rows


def run(arguments):
    """Run what is missing, and store it after each table."""
    stored = Stored(arguments.out, ["table", "model"])
    check_same_run(stored.rows, arguments)
    students = arguments.students or [*STUDENTS]
    tables = arguments.tables
    tables = tables or sorted(path.stem for path in arguments.data.glob("*.parquet"))
    calls = []
    for name in tables:
        left = [own for own in students if not stored.has(name, own)]
        if left:
            calls.append(delayed(run_table)(arguments, name, left))
    stored.collect(calls, arguments.jobs)


def report(results):
    """Ratios to the pool, as Markdown."""
    parts = []
    failed = results[results.error.notna()]
    for (model, said), own in failed.groupby(["model", "error"]):
        parts.append(f"{model} failed on {', '.join(own.table)}: {said}")
    figures = ["loss", "fit_seconds", *COSTS]
    by_model = results[results.error.isna()].set_index(["model", "table"])[figures]
    rows = {}
    for model in by_model.index.unique("model").drop(POOL, errors="ignore"):
        rows[model] = beside(by_model.loc[model] / by_model.loc[POOL])
    chosen = results.reindex(columns=["model", "chosen"]).dropna()
    for model, own in chosen.groupby("model"):
        counts = own.chosen.value_counts().items()
        parts.append(
            f"{model} chose {', '.join(f'{n} x {name}' for name, n in counts)}"
        )
    if rows:
        parts.append(markdown("students over the pool", pd.DataFrame(rows).T))
    return "\n".join(parts)


def beside(ratios):
    """Geometric means over tables, the worst table, and on how many the goal is met."""
    ratios = ratios.dropna()
    means = np.exp(np.log(ratios).mean())
    row = {"loss": f"{means.loss:.3f}"}
    row["worst"] = f"{ratios.loss.idxmax()} {ratios.loss.max():.3f}"
    row |= {own: f"{means[own]:.4f}" for own in COSTS}
    for own in COSTS:
        met = (ratios.loss <= MOST_LOSS) & (ratios[own] <= MOST_COST)
        row[f"goal, {own}"] = f"{met.sum()} of {len(ratios)}"
    return row | {"seconds of training": f"{means.fit_seconds:.3f}"}


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--students", nargs="*", choices=[*STUDENTS])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(pool="auto")
    arguments = parser.parse_args()
    if arguments.command == "run":
        if arguments.data is None:
            parser.error("run needs --data, a folder of tables")
        run(arguments)
    print(report(pd.read_parquet(arguments.out)))


if __name__ == "__main__":
    main()
