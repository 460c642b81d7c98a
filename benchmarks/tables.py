"""All models on all tables: the same folds, preprocessing and budget for each.

    python benchmarks/tables.py run --data DIR --out results.parquet [--jobs 2]
    python benchmarks/tables.py run --openml abalone credit-g --out results.parquet
    python benchmarks/tables.py report --out results.parquet

Five folds, twice for tables of fewer than 5000 rows; larger tables are cut to MAX_ROWS
random rows.  DIR holds NAME.parquet with the target in the last column.  Nothing is
tuned per table; the models are the files of benchmarks/rivals, those that are slow
(SLOW) only when named by --models.  A run that was stopped goes on where it stopped,
and a fixed seed gives the same losses again.  Loss is the RMSE in regression and the
log-loss in classification; seconds are those of processors.
"""

import argparse
import os
import warnings
from pathlib import Path

# Before numerical libraries are loaded: one thread for each job.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from joblib import delayed
from rivals import all_rivals, serves
from rivals._loss import loss_of
from rivals._memory import SharedPool, forget, timed
from sklearn.base import clone
from sklearn.datasets import fetch_openml
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from stored import Stored
from tables_report import report

MAX_ROWS = 4000
REPEATED_BELOW = 5000
FOLDS = 5
SLOW = ("EBM", "RealMLP", "TabM")


def load_parquet(folder, name):
    """Columns and target of a stored table."""
    frame = pd.read_parquet(Path(folder) / f"{name}.parquet")
    return frame, frame.pop(frame.columns[-1])


def load_openml(_, name):
    """Columns and target of a table that is online."""
    bunch = fetch_openml(name, as_frame=True, parser="auto")
    return bunch.data, bunch.target


def prepared(X, y, max_rows, seed):
    """Task, and at most ``max_rows`` random rows; labels become codes."""
    numeric = pd.api.types.is_numeric_dtype(y)
    classify = not numeric or pd.api.types.is_bool_dtype(y)
    n_rows = len(X)
    rows = np.arange(n_rows)
    if n_rows > max_rows:
        rows = np.random.default_rng(seed).permutation(n_rows)[:max_rows]
    X, y = X.iloc[rows].reset_index(drop=True), y.iloc[rows]
    codes = np.unique(y.astype(str), return_inverse=True)[1] if classify else None
    y = codes if classify else y.to_numpy(dtype=float)
    return ("classification" if classify else "regression"), X, y, n_rows


def splits(task, X, y, n_rows, seed):
    """Training and test rows of each fold, repeats one after another."""
    kind = RepeatedKFold if task == "regression" else RepeatedStratifiedKFold
    n_repeats = 2 if n_rows < REPEATED_BELOW else 1
    splitter = kind(n_splits=FOLDS, n_repeats=n_repeats, random_state=seed)
    return list(splitter.split(X, y))


def run_fold(load, folder, name, number, models, arguments):
    """Rows of results of some models on one fold of one table."""
    warnings.simplefilter("ignore")
    forget()
    rivals, seed = all_rivals()[0], arguments.seed
    task, X, y, n_rows = prepared(*load(folder, name), arguments.max_rows, seed)
    folds = splits(task, X, y, n_rows, seed)
    if number >= len(folds):
        return []
    train, test = folds[number]
    rows = []
    for model in models:
        if not serves(rivals[model], task):
            continue
        row = {"table": name, "task": task, "fold": number, "model": model}
        row |= {"seed": seed, "max_rows": arguments.max_rows}
        estimator = rivals[model].make(task == "classification", seed, SharedPool())
        try:
            fitted, fit_seconds = timed(
                clone(estimator).fit, X.iloc[train].reset_index(drop=True), y[train]
            )
            loss, seconds = timed(
                loss_of,
                task,
                fitted,
                X.iloc[test].reset_index(drop=True),
                y[test],
                np.unique(y),
            )
        except Exception as error:  # A rival that breaks must not stop the others.
            rows.append({**row, "error": repr(error)[:300]})
            continue
        row |= {"loss": loss, "fit_seconds": fit_seconds, "predict_seconds": seconds}
        rows.append({**row, "error": None})
    return rows


def run(arguments):
    """Run what is missing, and store it after each fold."""
    rivals, missing = all_rivals()
    print(*missing, sep="\n")
    stored = Stored(arguments.out, ["table", "fold", "model"])
    check_same_run(stored.rows, arguments)
    models = arguments.models or [name for name in rivals if name not in SLOW]
    calls = [delayed(run_fold)(*c) for c in missing_calls(arguments, models, stored)]
    stored.collect(calls, arguments.jobs)


def check_same_run(done, arguments):
    """Refuse to mix results of different settings."""
    for name in ("seed", "max_rows"):
        asked = getattr(arguments, name)
        if name in done and (done[name] != asked).any():
            raise SystemExit(
                f"{arguments.out} holds results of {name}={done[name].iloc[0]}, but "
                f"{asked} is asked for; give another --out."
            )


def missing_calls(arguments, models, stored):
    """Arguments of ``run_fold`` for what is not stored, first folds first."""
    tables = arguments.openml or arguments.tables
    if not tables:
        tables = sorted(path.stem for path in arguments.data.glob("*.parquet"))
    load = load_openml if arguments.openml else load_parquet
    for number in range(2 * FOLDS):
        for name in tables:
            left = [m for m in models if not stored.has(name, number, m)]
            if left:
                yield load, arguments.data, name, number, left, arguments


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--openml", nargs="*")
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    print(report(pd.read_parquet(arguments.out)))


if __name__ == "__main__":
    main()
