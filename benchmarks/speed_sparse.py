"""What sparse routing saves: prediction with 64 experts, training with 16.

    python benchmarks/speed_sparse.py [predict] [train] [--rows 1000000]

Prediction: one expert of 64 per row, beside one expert's own ``predict`` on all rows
(mean over experts by their share), the same mixture with all experts active,
and the gate's logits alone.  Training: one expert of 16 per row, beside dense training
with the same number of passes.  Ratios are medians over interleaved repetitions.
"""

import argparse
import time
import warnings
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingRegressor

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.routers import DenseRouter, HashRouter, SwitchRouter, TopKRouter
from skmoe.trainers import EM, Gradient
from skmoe.transfer import pretrain_experts

N_FEATURES, N_FITTED, N_TRAINED = 10, 20_000, 60_000


def seconds(function, *arguments):
    """Duration of a call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def medians(calls, repeats):
    """Median duration of each named call; repetitions are interleaved."""
    times = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: np.median(values) for name, values in times.items()}


def fitted_mixtures(n_experts=64):
    """Mixtures that route each row to one expert."""
    X, y = make_gated_regression(N_FITTED, N_FEATURES, 8, noise=0.5, random_state=0)
    groups = KMeans(n_experts, n_init=1, random_state=0).fit_predict(X)
    trees = HistGradientBoostingRegressor(max_iter=50, min_samples_leaf=5)
    # One expert per cluster of rows, so that all of them are at work.
    trees = pretrain_experts(trees, X, y, groups)
    neural = Gradient(max_epochs=3, early_stopping=False)
    brief = EM(max_iter=20, min_load=0.0)
    settings = {
        "boosted trees": (trees, TopKRouter(1), Gradient(start="random")),
        "MLP, 64 hidden": (MLPExpert((64,)), SwitchRouter(), neural),
        "linear": (LinearExpert(), TopKRouter(1), brief),
        "linear, hash router": (LinearExpert(), HashRouter(), brief),
    }
    for name, (expert, router, trainer) in settings.items():
        model = MoERegressor(
            expert, n_experts, router=router, trainer=trainer, random_state=0
        )
        yield name, model.fit(X, y)


def with_all_experts(model):
    """The same fitted mixture without its router."""
    dense = clone(model)
    dense.__dict__.update(vars(model))
    dense.router_ = DenseRouter()
    return dense


def cost_of_one(model, X):
    """Seconds of an expert's own ``predict`` on all rows, weighted by its load."""
    load = model.route(X).load / len(X)
    costs = [
        seconds(expert.predict, X) if share else 0.0
        for expert, share in zip(model.experts_, load, strict=True)
    ]
    return float(load @ costs)


def report_prediction(n_rows, repeats):
    """Table of ratios of prediction."""
    X, _ = make_gated_regression(n_rows, N_FEATURES, 8, random_state=1)
    print(
        f"\nPrediction of {n_rows:,} rows, K = 64, k = 1\n\n"
        "| experts | at work | sparse ms | sparse / one expert | dense / sparse "
        "| sparse / gate logits |\n|---|---|---|---|---|---|"
    )
    for name, model in fitted_mixtures():
        gate = model.gate_
        model.predict(X)
        calls = {
            "sparse": partial(model.predict, X),
            "logits": partial(logits, X, gate.coef_, gate.intercept_),
        }
        found = medians(calls, repeats)
        # Long enough to be timed once.
        found["dense"] = seconds(with_all_experts(model).predict, X)
        print(
            f"| {name} | {np.count_nonzero(model.route(X).load)} "
            f"| {1e3 * found['sparse']:.0f} "
            f"| {found['sparse'] / cost_of_one(model, X):.2f} "
            f"| {found['dense'] / found['sparse']:.1f} "
            f"| {found['sparse'] / found['logits']:.2f} |",
            flush=True,
        )


def logits(X, coef, intercept):
    """The gate's logits, nothing else."""
    return X @ coef.T + intercept


def report_training(repeats):
    """Table of ratios of training."""
    X, y = make_gated_regression(N_TRAINED, N_FEATURES, 8, noise=0.5, random_state=0)
    print(
        f"\nTraining on {N_TRAINED:,} rows, K = 16, k = 1\n\n"
        "| experts | dense s | sparse s | sparse / dense |\n|---|---|---|---|"
    )
    neural = Gradient(max_epochs=5, early_stopping=False, start="random")
    trees = HistGradientBoostingRegressor(max_iter=50)
    refits = EM(max_refits=2, min_load=0.0)
    settings = {
        "MLP, 64 hidden": (MLPExpert((64,)), neural),
        "boosted trees": (trees, refits),
    }
    for name, (expert, trainer) in settings.items():

        def fit(router, expert=expert, trainer=trainer):
            MoERegressor(
                expert, n_experts=16, router=router, trainer=trainer, random_state=0
            ).fit(X, y)

        sparse = TopKRouter(1, training="sparse")
        fit(sparse)
        # A refit of trees is long enough to be timed once.
        times = repeats if trainer is neural else 1
        routers = {"dense": None, "sparse": sparse}
        calls = {key: partial(fit, router) for key, router in routers.items()}
        found = medians(calls, times)
        print(
            f"| {name} | {found['dense']:.2f} | {found['sparse']:.2f} "
            f"| {found['sparse'] / found['dense']:.2f} |",
            flush=True,
        )


def main():
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["predict", "train"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if "predict" in arguments.parts:
        report_prediction(arguments.rows, arguments.repeats)
    if "train" in arguments.parts:
        report_training(arguments.repeats)


if __name__ == "__main__":
    main()
