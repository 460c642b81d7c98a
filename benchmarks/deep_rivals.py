"""Mixtures trained by gradient beside other people's deep networks for tables.

    python benchmarks/deep_rivals.py run --data DIR [--out deep_rivals.parquet]
        [--tables concrete ...] [--folds 3] [--free 1] [--rows 1500] [--jobs 1]
    python benchmarks/deep_rivals.py report [--out deep_rivals.parquet]

Needs ``pip install ".[bench,deep-rivals]"``.  DIR holds NAME.parquet with the
target last; numeric columns, at most so many random rows, one seed.

The mixture of four neural experts is chosen among five settings by one inner split of
20 % of the training rows, and is then the mean of four.  TabM and RealMLP have the
settings of their authors, and hold out 20 % of the training rows.  All have one core
and no more CPU time than the mixture took, choice included: TabM is stopped when it is
over; RealMLP, whose schedule has to end, gets as many epochs as fit into it, at most
its own 256.  On the first ``--free`` folds they also run as long as they like.

Losses: RMSE / sd(y), or log-loss.  A run that was stopped goes on where it stopped.
The first run after an installation compiles kernels: make it one with ``--rows 200``.
"""

import argparse
import os
import warnings
from pathlib import Path

# Before numerical libraries are loaded: one thread for each job.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from accuracy_mlp import CLASSES, load_table
from joblib import delayed
from network_experts import N_MEMBERS, chosen, mixture, mixtures
from rivals._loss import loss_of
from rivals._memory import timed
from sklearn.model_selection import KFold, StratifiedKFold
from stored import Stored
from tables_report import markdown, pair

from skmoe.experts import MLPExpert

TABLES = (
    "concrete",
    "airfoil",
    "kin8nm",
    "pumadyn32nm",
    "cpu_act",
    "pol",
    "elevators",
    "kin40k",
    "spambase",
    "phoneme",
    "magic",
    "satimage",
)
# Two thirds of them are trained on.
MOST_ROWS = 1500
KEYS = ["table", "fold", "model"]
OURS, LIMITED = "mixture", ", in its time"
# RealMLP's own epochs, those that are tried for the time of one, and the share of the
# time that is planned for.
OWN_EPOCHS, TRIED, PLANNED = 256, (1, 6), 0.95


def settings(classify, seed):
    """What the mixture chooses from: depth, and how experts see columns."""
    yield from mixtures(classify, seed)
    yield mixture(classify, seed, MLPExpert((64, 64), n_frequencies=8))


def our_fit(fit, classify, seed):
    """The mean of four of the setting that an inner split chooses."""
    own = chosen(settings(classify, seed), fit, classify)
    return own.set_params(n_members=N_MEMBERS).fit(*fit)


def told(model):
    """The setting of a mixture in words."""
    network = model.experts
    encoding = model.expert_features or (
        "periodic" if network.n_frequencies else "standardised"
    )
    return f"{' × '.join(map(str, network.hidden_layer_sizes))}, {encoding}"


def real_mlp(fit, classify, seed, seconds):
    """RealMLP as it is, or with the epochs that fit into so many CPU seconds."""
    from rivals.real_mlp import network

    if seconds is None:
        return network(classify, seed)
    few, more = (
        timed(network(classify, seed, n_epochs=count).fit, *fit)[1] for count in TRIED
    )
    each = max(more - few, 1e-6) / (TRIED[1] - TRIED[0])
    affordable = TRIED[0] + (PLANNED * seconds - few) / each
    epochs = int(np.clip(affordable, 1, OWN_EPOCHS))
    return network(classify, seed, n_epochs=epochs)


def tab_m(fit, classify, seed, seconds):
    """TabM as it is, or stopped after so many CPU seconds."""
    from rivals.tab_m import TabMClassifier, TabMRegressor

    kind = TabMClassifier if classify else TabMRegressor
    return kind(seconds=seconds, random_state=seed)


RIVALS = {"RealMLP": real_mlp, "TabM": tab_m}


def in_our_time(fit, classify, seed):
    """Name, fitted model and CPU seconds of each side, the mixture first."""
    ours, limit = timed(our_fit, fit, classify, seed)
    yield OURS, ours, limit
    for name, make in RIVALS.items():
        model = make(fit, classify, seed, limit)
        yield name + LIMITED, *timed(model.fit, *fit)


def in_their_time(fit, classify, seed):
    """The same for rivals that nobody stops."""
    for name, make in RIVALS.items():
        yield name, *timed(make(fit, classify, seed, None).fit, *fit)


def run_fold(sides, name, number, arguments):
    """Results of some models on one fold of one table."""
    warnings.simplefilter("ignore")
    X, y = load_table(arguments.data, name, arguments.rows)
    classify = name in CLASSES
    y = np.unique(y, return_inverse=True)[1] if classify else y.astype(float)
    task = "classification" if classify else "regression"
    kind = StratifiedKFold if classify else KFold
    splits = kind(arguments.folds, shuffle=True, random_state=0).split(X, y)
    train, test = list(splits)[number]
    unit = 1.0 if classify else y.std()
    rows = []
    for model, own, seconds in sides((X[train], y[train]), classify, number):
        row = {"table": name, "task": task, "fold": number, "model": model}
        row |= {"seconds": seconds, "what": told(own) if model == OURS else None}
        loss = loss_of(task, own, X[test], y[test], np.unique(y)) / unit
        rows.append(row | {"loss": loss})
    return rows


def run(arguments):
    """Run what is missing, and store it after each fold; long runs come last."""
    stored = Stored(arguments.out, KEYS)
    wanted = [(in_our_time, OURS, number) for number in range(arguments.folds)]
    wanted += [(in_their_time, "TabM", number) for number in range(arguments.free)]
    calls = [
        delayed(run_fold)(sides, name, number, arguments)
        for sides, model, number in wanted
        for name in arguments.tables
        if not stored.has(name, number, model)
    ]
    stored.collect(calls, arguments.jobs)


def compared(rows, value):
    """Means by table, of the folds that a model has, of ours over each other model."""
    cells = rows.pivot(index=["table", "fold"], columns="model", values=value)
    ratios = {}
    for model in cells.columns.drop(OURS):
        means = cells[[OURS, model]].dropna().groupby("table").mean()
        ratios[model] = means[OURS] / means[model]
    return pd.DataFrame(ratios)


def report(arguments):
    """Print ratios of losses and of times by table, and what they come to."""
    rows = Stored(arguments.out, KEYS).rows
    ours = rows[rows.model == OURS]
    table = compared(rows, "loss").map("{:.3f}".format).replace("nan", "")
    table.insert(0, "mixture's loss", ours.groupby("table").loss.mean().round(4))
    chosen_ones = ours.groupby("table").what.agg(
        lambda own: "; ".join(sorted(set(own)))
    )
    table["chosen"] = chosen_ones
    print(markdown("loss of the mixture over that of each", table))
    seconds = rows.groupby(["table", "model"]).seconds.mean().unstack("model")
    seconds = seconds.map("{:.1f}".format).replace("nan", "")
    print(markdown("CPU seconds of a fit", seconds))
    found = {}
    for task, own in [("all", rows), *rows.groupby("task")]:
        times = compared(own, "seconds")
        tables = times.count()
        for model in tables.index[tables > 1]:
            told_of = pair(own, OURS, model) | {
                "time": f"{np.exp(np.log(times[model]).mean()):.2f}"
            }
            found[f"{task}: mixture / {model}"] = told_of
    print(markdown("pairs", pd.DataFrame(found).T))


def main():
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("deep_rivals.parquet"))
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--free", type=int, default=1)
    parser.add_argument("--rows", type=int, default=MOST_ROWS)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    {"run": run, "report": report}[arguments.what](arguments)


if __name__ == "__main__":
    main()
