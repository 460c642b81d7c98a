"""A collapsed gate, and what each way of balancing makes of it in 30 epochs.

    python benchmarks/balance.py [--data DIR --tables kin8nm ...]

Eight neural experts, two per row.  First the gate collapses: 15 epochs with a loss that
favours two of the experts, until no row asks another one.  Then training goes on for 30
epochs with one way of balancing, or with none.  Load: the busiest expert's number of
rows over the mean number, 4 at most, of rows that were not trained on.  Loss: their
mean squared error in variances of y, and its ratio to plain top-2 going on.  Means of
three seeds; the synthetic table needs no DIR.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from accuracy_mlp import load_table
from scipy.special import log_softmax
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.losses import (
    BaseLoss,
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    MutualInformationLoss,
    Slopes,
)
from skmoe.routers import BiasBalancedRouter, NoisyTopKRouter, TopKRouter
from skmoe.trainers import Gradient

N_EXPERTS, N_COLLAPSED, N_EPOCHS, N_SEEDS, MOST_ROWS = 8, 15, 30, 3, 4000
PLAIN = "plain top-2"
TOP = TopKRouter(2, training="sparse")
SYSTEMS = {
    PLAIN: (TOP, ()),
    "balance loss": (TOP, (LoadBalancingLoss(0.2),)),
    "load loss, with noise": (NoisyTopKRouter(2), (LoadLoss(0.2),)),
    "bias": (BiasBalancedRouter(2), ()),
    "balance loss, as published": (TOP, (LoadBalancingLoss(),)),
    "load and importance loss": (NoisyTopKRouter(2), (ImportanceLoss(), LoadLoss())),
    "importance loss alone": (TOP, (ImportanceLoss(),)),
    "mutual information": (TOP, (MutualInformationLoss(0.1),)),
    "noise alone": (NoisyTopKRouter(2), ()),
}


class Favour(BaseLoss):
    """Negative log-weight of the first two experts: the gate collapses."""

    def value_and_slopes(self, batch):
        log_proba = log_softmax(batch.logits, axis=1)
        n_rows, n_experts = log_proba.shape
        aim = np.where(np.arange(n_experts) < 2, 0.5, 0.0)
        slope = self.weight * (np.exp(log_proba) - aim) / n_rows
        return -self.weight * np.mean(log_proba @ aim), Slopes(logits=slope)


def trainer(n_epochs, losses):
    """All epochs, to the end."""
    return Gradient(
        objective="prediction",
        losses=list(losses),
        start="random",
        max_epochs=n_epochs,
        early_stopping=False,
    )


def load_of(model, X):
    """Rows of the busiest expert over the mean number."""
    load = model.route(X).load
    return load.max() / load.mean()


def run(router, losses, rows, seed):
    """Load of the collapsed gate, then load and loss after training went on."""
    X, X_test, y, y_test = rows
    model = MoERegressor(
        MLPExpert((32,)),
        n_experts=N_EXPERTS,
        gate=SoftmaxGate(alpha=0.0),
        # With noise the gate has twice the outputs; a bias would work against it.
        router=router if router.noise else TOP,
        trainer=trainer(N_COLLAPSED, [Favour(3.0)]),
        random_state=seed,
        warm_start=True,
    ).fit(X, y)
    before = load_of(model, X_test)
    model.set_params(router=router, trainer=trainer(N_EPOCHS, losses)).fit(X, y)
    error = np.mean((model.predict(X_test) - y_test) ** 2) / y.var()
    return before, load_of(model, X_test), error


def table(X, y):
    """Print the means over seeds."""
    print("| balance | load before | load after | loss | ratio |")
    print("|---|---|---|---|---|", flush=True)
    plain = None
    for name, system in SYSTEMS.items():
        found = []
        for seed in range(N_SEEDS):
            rows = train_test_split(X, y, test_size=0.25, random_state=seed)
            found.append(run(*system, rows, seed))
        before, after, loss = np.mean(found, axis=0)
        plain = loss if plain is None else plain
        cells = f"{before:.2f} | {after:.2f} | {loss:.4f} | {loss / plain:.3f}"
        print(f"| {name} | {cells} |", flush=True)


def main():
    """Print a table per data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tables", nargs="*", default=[])
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y = make_gated_regression(MOST_ROWS, 6, 8, noise=0.5, random_state=0)
    print(f"\nsynthetic, {len(y)} rows\n")
    table(X, y)
    for name in given.tables:
        X, y = load_table(given.data, name, MOST_ROWS)
        print(f"\n{name}, {len(y)} rows\n")
        table(X, y)


if __name__ == "__main__":
    main()
