"""Size of a kept model, and the time to load it, by the way of keeping.

    python benchmarks/keep.py

Kilobytes on disk and CPU milliseconds to load, the least of several, for mixtures of
linear experts, of networks, and of forests.  A file of joblib is loaded as a map
(``mmap_mode="r"``); skops is left out where it is not installed.
"""

import os
import pickle
import tempfile
import time
import warnings
from pathlib import Path

# Before numerical libraries are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib
from sklearn.ensemble import RandomForestRegressor

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.export import slim, trusted_types

ROUNDS = 5


def models():
    """Fitted mixtures by name."""
    X, y = make_gated_regression(3000, 10, 8, random_state=0)
    forests = RandomForestRegressor(100, min_samples_leaf=5, random_state=0)
    asked = {
        "8 linear experts": MoERegressor(n_experts=8, random_state=0),
        "4 networks": MoERegressor("mlp", 4, trainer="gradient", random_state=0),
        "2 forests": MoERegressor(forests, 2, random_state=0),
    }
    return {name: model.fit(X, y) for name, model in asked.items()}


def by_pickle(model, path):
    """Keep by pickle; what loads it again."""
    path.write_bytes(pickle.dumps(model))
    return lambda: pickle.loads(path.read_bytes())


def by_slim_pickle(model, path):
    """The same of the slim copy."""
    return by_pickle(slim(model), path)


def by_joblib(model, path):
    """By joblib, as a map."""
    joblib.dump(slim(model), path)
    return lambda: joblib.load(path, mmap_mode="r")


def by_skops(model, path):
    """By skops, with types that are trusted beforehand."""
    import skops.io

    small = slim(model)
    trusted = trusted_types(small)
    skops.io.dump(small, path)
    return lambda: skops.io.load(path, trusted=trusted)


WAYS = {
    "pickle": by_pickle,
    "slim, pickle": by_slim_pickle,
    "slim, joblib as a map": by_joblib,
    "slim, skops": by_skops,
}


def milliseconds(load):
    """CPU time of a load, the least of several."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        load()
        found.append(1e3 * (time.process_time() - start))
    return min(found)


def main():
    """Print a line for each model and way."""
    warnings.simplefilter("ignore")
    print(f"{'model':20}{'way':24}{'KB':>10}{'ms to load':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models().items():
            for number, (way, keep) in enumerate(WAYS.items()):
                path = Path(folder) / f"{name}-{number}"
                try:
                    load = keep(model, path)
                except ImportError:
                    continue
                size = path.stat().st_size / 1e3
                print(f"{name:20}{way:24}{size:10,.0f}{milliseconds(load):14.1f}")


if __name__ == "__main__":
    main()
