"""What trees cost: fits beside the flat mixture, prediction along a beam.

    python benchmarks/speed_tree.py [fit] [predict] [--repeats 3]

Fit: 64 linear leaves (six levels of two, or two of eight) on 200 000 rows x 10 columns
and a flat mixture of 64 linear experts, default settings.  Prediction: 256 leaves
(eight levels of two) with a beam of one, and dense; medians over interleaved
repetitions.
"""

import argparse
import warnings
from functools import partial

import numpy as np
from sklearn.tree import DecisionTreeRegressor
from speed_sparse import medians, seconds, with_all_experts

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert
from skmoe.routers import TopKRouter
from skmoe.trainers import EM

N_FEATURES, N_FITTED = 10, 20_000
SHAPES = {"flat, 64": None, "6 x 2": (2,) * 6, "2 x 8": (8, 8)}


def mixture(shape, **arguments):
    """A flat mixture of 64 experts, or a tree."""
    arguments = {"trainer": EM(min_load=0.0), "random_state": 0, **arguments}
    if shape is None:
        return MoERegressor(n_experts=64, **arguments)
    return HierarchicalMoERegressor(branching=shape, **arguments)


def report_fit(n_rows):
    """Table of fit times."""
    X, y = make_gated_regression(n_rows, N_FEATURES, 8, noise=0.5, random_state=0)
    print(
        f"\nFit of 64 linear leaves, {n_rows:,} rows x {N_FEATURES} columns\n\n"
        "| gate | seconds | / flat | iterations | nats per row |\n"
        "|---|---|---|---|---|"
    )
    mixture(None, trainer=EM(max_iter=2)).fit(X[:1000], y[:1000])
    found = {}
    for name, shape in SHAPES.items():
        model = mixture(shape)
        # Long enough to be timed once.
        found[name] = seconds(model.fit, X, y)
        print(
            f"| {name} | {found[name]:.1f} | {found[name] / found['flat, 64']:.2f} "
            f"| {model.n_iter_} | {model.log_likelihood_ / n_rows:.3f} |",
            flush=True,
        )


def report_prediction(n_rows, repeats):
    """Table of prediction times."""
    X, y = make_gated_regression(n_rows, N_FEATURES, 8, noise=0.5, random_state=0)
    print(
        f"\nPrediction of {n_rows:,} rows, 256 leaves, beam of one\n\n"
        "| leaves | beam ms | dense ms | dense / beam |\n|---|---|---|---|"
    )
    # Fitted briefly, and within the beam: prediction is what is timed.
    router = TopKRouter(1, training="sparse")
    brief = {"trainer": EM(max_iter=5, max_refits=1, min_load=0.0)}
    for name, expert in {
        "linear": LinearExpert(),
        "decision trees": DecisionTreeRegressor(max_depth=4, random_state=0),
    }.items():
        model = mixture((2,) * 8, experts=expert, router=router, **brief)
        model.fit(X[:N_FITTED], y[:N_FITTED])
        dense = with_all_experts(model)
        model.predict(X[:10])
        calls = {"beam": partial(model.predict, X), "dense": partial(dense.predict, X)}
        found = medians(calls, repeats)
        print(
            f"| {name} | {1e3 * found['beam']:.0f} | {1e3 * found['dense']:.0f} "
            f"| {found['dense'] / found['beam']:.1f} |",
            flush=True,
        )


def main():
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["fit", "predict"])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    np.set_printoptions(precision=3)
    if "fit" in arguments.parts:
        report_fit(arguments.rows)
    if "predict" in arguments.parts:
        report_prediction(arguments.rows, arguments.repeats)


if __name__ == "__main__":
    main()
