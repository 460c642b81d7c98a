"""AutoGluon on the folds of tables.py, in an environment of its own.

    python -m venv ENV; ENV/bin/pip install "autogluon.tabular[all]==1.6.3"
    python benchmarks/tables_autogluon.py run --python ENV/bin/python --data DIR \
        --out FILE --seconds 60
    python benchmarks/tables_autogluon.py run ... --beside TABLES --seconds-of MODEL
    python benchmarks/tables_autogluon.py report --out FILE --beside TABLES [--ours M]

TABLES are results of tables.py with the same seed and number of rows: each row of FILE
stands beside those of the same table and fold.  The other interpreter gets and gives
parquet files (autogluon_fold.py), since its packages may be of other versions; losses
are computed here, for all models alike.  AutoGluon has its own preset and one core, and
seconds of processors as its budget, either so many or those that MODEL took for the
same fit.  Boosted trees run beside it, so that days of other speeds compare.  What is
stored is not run again; after --minutes nothing is begun.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from rivals._loss import loss_of
from stored import Stored
from tables import MAX_ROWS, check_same_run, load_parquet, prepared, splits
from tables import run_fold as tables_fold
from tables_report import markdown, pair

NAME, BASELINE = "AutoGluon", "HistGradientBoosting"
VERSION = "1.6.3"
FOLD = Path(__file__).parent / "autogluon_fold.py"
# Seconds that a fold may take beside its budget, and times that budget: others compute.
SLACK, TIMES = 600, 10
COSTS = ["fit_seconds", "wall_seconds", "predict_seconds", "one_row_seconds"]
SIZES = ["peak_mb", "loaded_mb", "disk_mb", "n_models"]
ASK = "import autogluon.tabular as a; print(a.__version__)"


class Given:
    """A model whose answers about the rows are known.

    Parameters
    ----------
    answers : DataFrame
        One column, or one for each class, named by its code.
    """

    def __init__(self, answers):
        self.answers = answers
        if answers.shape[1] > 1:
            self.classes_ = answers.columns.astype(int).to_numpy()

    def predict(self, X):
        """Predictions."""
        return self.answers.iloc[:, 0].to_numpy()

    def predict_proba(self, X):
        """Class probabilities."""
        return self.answers.to_numpy()


def version_of(python):
    """Version of AutoGluon that an interpreter has; stops where it has none."""
    asked = None
    if Path(python).is_file():
        asked = subprocess.run(
            [python, "-c", ASK], capture_output=True, text=True, check=False
        )
    if asked is None or asked.returncode:
        raise SystemExit(
            f"tables_autogluon.py got --python {python}, but expected an interpreter "
            "that has AutoGluon; make an environment, install "
            f'"autogluon.tabular[all]=={VERSION}" there, and give its python.'
        )
    return asked.stdout.split()[-1]


def asked_of(python, train, test, asked):
    """Answers of the other interpreter, and what they cost."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        train.to_parquet(folder / "train.parquet", index=False)
        test.to_parquet(folder / "test.parquet", index=False)
        (folder / "asked.json").write_text(json.dumps(asked))
        ended = subprocess.run(
            [python, str(FOLD), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SLACK + TIMES * asked["seconds"],
        )
        if asked["verbosity"]:
            print(ended.stdout)
        if ended.returncode:
            said = ended.stdout.strip().splitlines() or ["nothing"]
            raise RuntimeError(f"exit {ended.returncode}: {said[-1]}")
        answers = pd.read_parquet(folder / "predicted.parquet")
        return answers, json.loads((folder / "found.json").read_text())


def run_fold(arguments, name, number, seconds):
    """The row of results of one fold."""
    seed, max_rows = arguments.seed, arguments.max_rows
    task, X, y, n_rows = prepared(*load_parquet(arguments.data, name), max_rows, seed)
    train, test = splits(task, X, y, n_rows, seed)[number]
    row = {"table": name, "task": task, "fold": number, "model": arguments.model}
    row |= {"seed": seed, "max_rows": max_rows, "budget": seconds}
    row |= {"version": arguments.version}
    asked = {"task": task, "seconds": seconds, "preset": arguments.preset}
    asked = {"task": task, "seconds": seconds, "presets": arguments.preset}
    asked["verbosity"] = 2 * arguments.verbose
    columns = X.rename(columns=str)
    try:
        answers, found = asked_of(
            arguments.python,
            columns.iloc[train].assign(**{f"{NAME} target": y[train]}),
            columns.iloc[test],
            asked,
        )
        loss = loss_of(task, Given(answers), X.iloc[test], y[test], np.unique(y))
    except Exception as error:  # One fold that breaks must not stop the others.
        return {**row, "error": repr(error)[:300]}
    row |= {"loss": loss, **{own: found[own] for own in COSTS + SIZES}}
    return {**row, "without": "; ".join(found["without"]), "error": None}


def budget_of(arguments, name, number):
    """Seconds for a fold; None where the other model has no result of it."""
    if arguments.seconds:
        return arguments.seconds
    own = arguments.beside
    own = own[(own.table == name) & (own.fold == number)]
    own = own[own.model == arguments.seconds_of]
    return float(own.fit_seconds.iloc[0]) if len(own) else None


def run(arguments):
    """Run what is missing, first folds first, and store it after each fold."""
    arguments.version = version_of(arguments.python)
    arguments.model = (
        f"{NAME}, {arguments.seconds:g} s"
        if arguments.seconds
        else f"{NAME}, as long as {arguments.seconds_of}"
    )
    stored = Stored(arguments.out, ["table", "fold", "model"])
    check_same_run(stored.rows, arguments)
    tables = arguments.tables
    tables = tables or sorted(path.stem for path in arguments.data.glob("*.parquet"))
    begun = time.monotonic()
    for number, name in product(range(arguments.folds), tables):
        if time.monotonic() - begun > 60 * arguments.minutes:
            print(f"{arguments.minutes:g} minutes are over; run it again to go on.")
            return
        fill(arguments, stored, name, number)


def fill(arguments, stored, name, number):
    """Run what is missing of one fold: the baseline, by whose seconds all are seen."""
    if not stored.has(name, number, BASELINE):
        own = arguments.data, name, number, [BASELINE], arguments
        stored.add(tables_fold(load_parquet, *own))
    seconds = budget_of(arguments, name, number)
    if seconds is None or stored.has(name, number, arguments.model):
        return
    row = run_fold(arguments, name, number, seconds)
    stored.add([row])
    said = f"{row.get('loss')}, {row.get('fit_seconds', np.nan):.0f} of {seconds:.0f} s"
    print(f"{name} {number}: {said}", flush=True)


def report(results, beside, ours):
    """Losses of AutoGluon beside ours and all others on the same folds, as Markdown."""
    parts = []
    failed = results[results.error.notna()]
    for own in failed.itertuples():
        parts.append(f"{own.model} failed on {own.table}: {own.error}")
    results = results[results.error.isna() & (results.model != BASELINE)]
    for model, own in results.groupby("model"):
        keys = own[["table", "fold"]]
        others = beside[beside.error.isna()].merge(keys, on=["table", "fold"])
        both = pd.concat([own, others])
        pairs = {
            f"{model} / {other}": pair(both, model, other)
            for other in others.model.unique()
            if others[others.model == other].table.nunique() > 1
        }
        shown = pd.DataFrame(pairs).T
        if len(shown):
            order = shown["geometric mean"].astype(float).sort_values().index[::-1]
            parts.append(markdown(f"{model}: ratios of losses", shown.loc[order]))
        parts.append(markdown(f"{model} beside {ours}", per_table(own, others, ours)))
    return "\n".join(parts)


def per_table(own, others, ours):
    """Loss over ours, and costs, of each table."""
    known = others[others.model == ours].set_index(["table", "fold"])
    own = own.set_index(["table", "fold"])
    shown = own[[*COSTS, *SIZES]].assign(ratio=own.loss / known.loss)
    for name in ("fit_seconds", "predict_seconds"):
        shown[f"ours: {name}"] = known[name]
    shown = shown.groupby("table").mean()
    return shown[["ratio", *shown.columns.drop("ratio")]].map("{:.3g}".format)


def check(parser, arguments):
    """Refuse what does not fit together."""
    if arguments.command == "report" or arguments.seconds_of:
        if arguments.beside is None:
            parser.error("report and --seconds-of need --beside, results of tables.py")
        known = pd.read_parquet(arguments.beside)
        same = known.seed.eq(arguments.seed) & known.max_rows.eq(arguments.max_rows)
        if not same.any():
            parser.error(
                f"--beside {arguments.beside} has no results of seed={arguments.seed} "
                f"and max_rows={arguments.max_rows}; give those of the same folds"
            )
        arguments.beside = known[same]
    if arguments.command == "report":
        return
    if arguments.data is None:
        parser.error("run needs --data, a folder of tables")
    if bool(arguments.seconds) == bool(arguments.seconds_of):
        parser.error("run needs one of --seconds and --seconds-of")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seconds-of", metavar="MODEL")
    parser.add_argument("--beside", type=Path, metavar="TABLES")
    parser.add_argument("--ours", default="skmoe pool")
    parser.add_argument("--preset", default="best_quality")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--max-rows", type=int, default=MAX_ROWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    check(parser, arguments)
    if arguments.command == "run":
        run(arguments)
    else:
        stored = pd.read_parquet(arguments.out)
        print(report(stored, arguments.beside, arguments.ours))


if __name__ == "__main__":
    main()
