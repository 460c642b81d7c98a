"""Challenges of mixtures of experts, each with a figure: what the page of them shows.

    python benchmarks/challenges.py

A minute or two on one core; tables are generated, so that no data are needed.  Load
balance has a script of its own, ``balance.py``; the accuracy of routers is in
``routing_systems.py``, their work in ``speed_sparse.py``.
"""

import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression, make_regimes
from skmoe.distillation import distill
from skmoe.experts import MLPExpert
from skmoe.inspection import explain
from skmoe.trainers import Gradient
from skmoe.transfer import fine_tune

N_SEEDS = 5


def convergence():
    """Largest fall of EM's objective between iterations, and agreement of starts."""
    X, y = make_gated_regression(3000, 5, 4, noise=0.5, random_state=0)
    models = [
        MoERegressor(n_experts=4, random_state=seed, n_init=5).fit(X, y)
        for seed in range(N_SEEDS)
    ]
    falls = [-np.diff(model.lower_bounds_).min() for model in models]
    ends = [model.lower_bounds_[-1] for model in models]
    print("\nstability and convergence")
    print(f"largest fall of the objective in an iteration: {max(falls):.1e} nats a row")
    print(f"spread of the optima of five seeds: {np.ptp(ends):.1e} nats a row")


def specialisation():
    """How far experts are the true regimes, and better on their rows than others."""
    X, y, truth = make_regimes(1500, noise=0.5, random_state=0, return_truth=True)
    own = truth["regime"]
    n_experts = len(np.unique(own))
    model = MoERegressor(n_experts=n_experts, random_state=0).fit(X[:1000], y[:1000])
    top = model.gate_proba(X[1000:]).argmax(axis=1)
    error = (model.predict_experts(X[1000:]) - y[1000:, None]) ** 2
    mine = error[np.arange(len(top)), top].mean()
    others = (error.sum(axis=1) - error[np.arange(len(top)), top]).mean()
    score = adjusted_rand_score(own[1000:], top)
    print("\nspecialisation")
    print(f"adjusted Rand index of top experts and true regimes: {score:.3f}")
    ratio = others / (n_experts - 1) / mine
    print(f"squared error of the other experts over that of the top one: {ratio:.1f}")


def site(n_rows, cut, seed):
    """Two regimes, whose border differs between sites."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    signal = np.where(X[:, 0] > cut, np.sin(2 * X[:, 1]), X[:, 2])
    return X, 2.0 * signal + 0.2 * rng.normal(size=n_rows)


def transfer():
    """R squared on a new site with 80 rows of its own; means of five of them."""
    trainer = Gradient(objective="prediction")
    mixtures = {
        "networks, by gradient": MoERegressor(
            MLPExpert((32,)), 3, trainer=trainer, random_state=0
        ),
        "piecewise-linear, by EM": MoERegressor(
            None, 3, expert_features="piecewise-linear", random_state=0
        ),
    }
    print("\ngeneralisation and transfer: R squared at the new site")
    for kind, model in mixtures.items():
        found = {}
        old = model.fit(*site(3000, 0.0, 0))
        for seed in range(1, N_SEEDS + 1):
            few, test = site(80, 0.7, seed), site(2000, 0.7, seed + 100)
            models = {
                "old model": old,
                "new model of 80 rows": clone(model).fit(*few),
                "all parameters go on": fine_tune(old, *few),
                "all, pulled back (l2_sp=10)": fine_tune(old, *few, l2_sp=10.0),
                "all, hardly pulled (l2_sp=0.1)": fine_tune(old, *few, l2_sp=0.1),
                "only the gate goes on": fine_tune(old, *few, freeze="experts"),
                "only the gate, pulled back": fine_tune(
                    old, *few, freeze="experts", l2_sp=1.0
                ),
            }
            for name, own in models.items():
                found.setdefault(name, []).append(own.score(*test))
        for name, scores in found.items():
            mean, least = np.mean(scores), min(scores)
            print(f"{kind}, {name}: {mean:.3f} (least {least:.3f})")


def interpretation():
    """How far the terms of explanations add up to the predictions."""
    X, y = make_regimes(1000, noise=0.5, random_state=0)
    model = MoERegressor(random_state=0).fit(X, y)
    rows = explain(model, X[:200])
    parts = [
        rows["gate"][:, k] * own["value"].sum(axis=1)
        for k, own in enumerate(rows["terms"].values())
    ]
    gap = np.abs(sum(parts) - model.predict(X[:200])).max()
    print("\ninterpretability")
    print(f"terms by column are off the predictions by at most {gap:.1e}")


def efficiency():
    """Size, speed and error of a sparse student beside its teacher."""
    X, y = make_gated_regression(4000, 6, 8, noise=0.5, random_state=0)
    trainer = Gradient(objective="prediction")
    teacher = MoERegressor(
        MLPExpert((64,)), 8, trainer=trainer, n_members=2, random_state=0
    ).fit(X[:2500], y[:2500])
    small = MoERegressor(
        MLPExpert((32,)), 8, router=1, trainer=Gradient(), random_state=0
    )
    students = {
        "student alone": small.fit(X[:2500], y[:2500]),
        "distilled": distill(teacher, X[:2500], small, y=y[:2500], hard_share=0.5),
        "distilled until half": distill(
            teacher, X[:2500], small, y=y[:2500], hard_share=0.5, soft_until=0.5
        ),
    }
    print("\ninference efficiency")
    for name, model in {"teacher": teacher, **students}.items():
        error = np.sqrt(np.mean((model.predict(X[2500:]) - y[2500:]) ** 2)) / y.std()
        started = time.process_time()
        for _ in range(20):
            model.predict(X)
        rate = 20 * len(X) / (time.process_time() - started)
        asked = (model.gate_proba(X) > 0).sum(axis=1).mean()
        print(
            f"{name}: RMSE / sd(y) {error:.3f}, {asked:.1f} experts a row, "
            f"{rate:,.0f} rows/s"
        )


def main():
    """Print all figures."""
    warnings.simplefilter("ignore")
    for part in (convergence, specialisation, transfer, interpretation, efficiency):
        part()


if __name__ == "__main__":
    main()
