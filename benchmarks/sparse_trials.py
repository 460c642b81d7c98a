"""What was tried for one expert per row under a gradient, of what the library offers.

    python benchmarks/sparse_trials.py --data DIR [--tables kin8nm ...] [--splits 2]

Linear experts, as many as each mixture finds that pay, at most four; DIR and rows are
those of ``sparse_defaults.py``.  The last 20 % of the rows are never looked at:
mixtures are fitted to 64 % and judged on 16 %, by RMSE or log-loss relative to the
dense mixture trained by gradient.  ``within one`` has one expert per row (``router=1``,
trained soft first, as by default); ``EM`` is the default trainer with and without it.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from network_experts import halves, timed_loss
from sparse_defaults import MAX_ROWS, numeric
from tables import load_parquet, prepared

from skmoe import MoEClassifier, MoERegressor
from skmoe.trainers import EM, Gradient

TABLES = ("kin8nm", "california", "insurance")
TRIALS = {
    "dense": (None, Gradient()),
    "within one": (1, Gradient()),
    "colder": (1, Gradient(temperature=(1.0, 0.3))),
    "longer": (1, Gradient(max_epochs=400, n_iter_no_change=30)),
    "EM, dense": (None, EM()),
    "EM, within one": (1, EM()),
}


def losses(folder, name, n_splits):
    """Mean losses of all trials on inner splits of a table."""
    task, X, y, _ = prepared(*load_parquet(folder, name), MAX_ROWS, 0)
    classify = task == "classification"
    kind = MoEClassifier if classify else MoERegressor
    seen, _ = halves(numeric(X), y, classify, 0.2, 0)
    found = []
    for seed in range(n_splits):
        fit, test = halves(*seen, classify, 0.2, seed)
        models = [
            kind(router=router, trainer=trainer, random_state=seed)
            for router, trainer in TRIALS.values()
        ]
        found.append([timed_loss(model, fit, test)[0] for model in models])
    return np.mean(found, axis=0)


def main():
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--splits", type=int, default=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| table | dense loss | " + " | ".join(list(TRIALS)[1:]) + " |")
    print("|---" * (1 + len(TRIALS)) + "|", flush=True)
    for name in arguments.tables:
        dense, *others = losses(arguments.data, name, arguments.splits)
        cells = [f"{dense:.4g}", *(f"{own / dense:.3f}" for own in others)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
