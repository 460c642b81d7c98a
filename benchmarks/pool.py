"""The pool of ``experts="auto"`` beside what it was, and beside stored rivals.

    python benchmarks/tables.py run --data DIR --out FILE \
        --models "skmoe pool" HistGradientBoosting
    python benchmarks/pool.py [--now FILE] [--before FILE]

Losses of the first fold of each table over those that ``--before`` holds of the same
fold; CPU seconds of a fit over those of boosted trees at the same time, since the speed
of the machine differs between runs.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from tables_report import markdown

RESULTS = Path(__file__).parent / "results"
OURS, BASELINE = "skmoe pool", "HistGradientBoosting"
RIVALS = {
    "the earlier pool": "skmoe two-stage",
    "stacking": "stacking",
    "best expert by CV": "best expert by CV",
    "CatBoost": "CatBoost",
}


def first_folds(path, what):
    """A frame (tables, models) of one column of results."""
    rows = pd.read_parquet(path)
    rows = rows[(rows.fold == 0) & rows.loss.notna()]
    return rows.pivot_table(index=["task", "table"], columns="model", values=what)


def ratios(now, before):
    """Losses of the pool over those of rivals, (tables, rivals), and relative costs."""
    ours, theirs = first_folds(now, "loss")[OURS], first_folds(before, "loss")
    found = pd.DataFrame({name: ours / theirs[own] for name, own in RIVALS.items()})
    seconds = first_folds(now, "fit_seconds")
    found["boosted trees"] = ours / first_folds(now, "loss")[BASELINE]
    found["times their seconds"] = seconds[OURS] / seconds[BASELINE]
    return found.loc[ours.dropna().index]


def summary(found):
    """Geometric means, numbers of tables with a lower loss, and the worst."""
    logs = np.log(found)
    return pd.DataFrame(
        {
            "geometric mean": np.exp(logs.mean()).round(3),
            "lower on": (found < 1).sum(),
            "of": found.notna().sum(),
            "worst": found.max().round(3),
        },
        dtype=object,
    )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--now", type=Path, default=RESULTS / "pool.parquet")
    parser.add_argument("--before", type=Path, default=RESULTS / "tables.parquet")
    arguments = parser.parse_args()
    found = ratios(arguments.now, arguments.before)
    for task, own in found.groupby(level="task"):
        print(markdown(f"{task}: loss over", summary(own)))
    shown = found.droplevel("task").sort_index().round(3)
    print(markdown("table by table", shown))


if __name__ == "__main__":
    main()
