"""What models of each kind cost beside boosted trees: the table of docs/choose.md.

    python benchmarks/choose.py [--rows N]

Processor seconds of a fit, of 10 000 predictions and of single rows, one thread,
medians of repeated calls, all relative to boosted trees at their defaults.
"""

import argparse
import time

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.datasets import make_regimes
from skmoe.experts import MLPExpert

# Model, fits that are timed, whether it has densities, and what of it can be read.
MODELS = {
    "boosted trees": (HistGradientBoostingRegressor(), 3, "no", "no"),
    "`MoERegressor()`": (MoERegressor(), 3, "yes", "coefficients"),
    '`MoERegressor("linear", 2)`': (
        MoERegressor("linear", 2),
        5,
        "yes",
        "coefficients",
    ),
    '`"additive"`, gate too, 4 experts': (
        MoERegressor("additive", 4, gate="additive"),
        1,
        "yes",
        "curves, words",
    ),
    "the same, 5 members": (
        MoERegressor("additive", 4, gate="additive", n_members=5),
        1,
        "yes",
        "curves, per member",
    ),
    '`branching="grow"`': (
        HierarchicalMoERegressor(branching="grow"),
        1,
        "yes",
        "cuts, coefficients",
    ),
    '4 networks, `trainer="gradient"`': (
        MoERegressor(MLPExpert(), 4, trainer="gradient"),
        1,
        "yes",
        "who serves whom",
    ),
    '`"auto"`, `trainer="two-stage"`': (
        MoERegressor("auto", trainer="two-stage"),
        1,
        "if asked",
        "who is trusted",
    ),
}


def seconds(function, times):
    """Median processor seconds of some calls."""
    found = []
    for _ in range(times):
        began = time.process_time()
        function()
        found.append(time.process_time() - began)
    return float(np.median(found))


def costs(model, X, y, n_fits):
    """Seconds of a fit, of 10 000 rows, and of a row."""
    # Kernels are compiled, or loaded, before the clock runs.
    model.fit(X[:300], y[:300]).predict(X[:1])
    fit = seconds(lambda: model.fit(X, y), n_fits)
    many = np.tile(X, (-(-10_000 // len(X)), 1))[:10_000]
    return (
        fit,
        seconds(lambda: model.predict(many), 3),
        seconds(lambda: [model.predict(X[:1]) for _ in range(20)], 3) / 20,
    )


def table(n_rows):
    """Print the rows of the table."""
    X, y = make_regimes(n_rows, 10, random_state=0)
    rival = None
    for name, (model, n_fits, density, read) in MODELS.items():
        with threadpool_limits(1):
            if "random_state" in model.get_params():
                model.set_params(random_state=0)
            own = costs(model, X, y, n_fits)
        rival = rival or own
        ratios = [f"{float(f'{a / b:.2g}'):g}" for a, b in zip(own, rival, strict=True)]
        print(f"| {name} | {' | '.join(ratios)} | {density} | {read} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    table(parser.parse_args().rows)
