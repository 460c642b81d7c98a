"""A stream whose rows change: a constant step follows, a falling one remembers.

    python examples/stream.py [--picture FILE]

A machine runs in two regimes, told apart by its load.  After half of the stream a part
is replaced, and the lines of both regimes are other ones.  Two mixtures learn batch by
batch: one with steps that fall, as for rows that stay the same, one with a constant
step.  The script prints, and draws, the mean log-density of batches before they were
learned.
"""

import argparse

import matplotlib as mpl
import numpy as np

from skmoe import MoERegressor
from skmoe.trainers import EM

mpl.use("Agg")
BATCH_ROWS, N_BATCHES, CHANGE = 200, 45, 20


def readings(rng, n_rows, changed):
    """Load and temperature, and the current that the machine draws."""
    X = np.column_stack([rng.uniform(0, 1, n_rows), rng.normal(20, 5, n_rows)])
    high = rng.uniform(size=n_rows) < 1 / (1 + np.exp(-20 * (X[:, 0] - 0.5)))
    low = 1.0 + 2.0 * X[:, 0] + (0.05 if changed else 0.0) * (X[:, 1] - 20)
    full = 6.0 - 3.0 * X[:, 0] + (0.1 if changed else 0.0) * (X[:, 1] - 20)
    return X, np.where(high, full, low) + 0.1 * rng.normal(size=n_rows)


def draw(densities, path):
    """Mean log-densities of batches before they were learned."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, values in densities.items():
        axes.plot(np.arange(2, len(values) + 2), values, label=name)
    axes.axvline(CHANGE + 0.5, color="0.7", linestyle="--")
    axes.set(xlabel="batch", ylabel="log-density of what comes (nats per row)")
    axes.legend()
    figure.savefig(path, dpi=100)


def main():
    """Stream, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", default="stream.png")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    stream = [
        readings(rng, BATCH_ROWS, changed=number >= CHANGE)
        for number in range(N_BATCHES)
    ]
    models = {
        "falling steps": MoERegressor("linear", 2, random_state=0),
        "constant step": MoERegressor(
            "linear", 2, trainer=EM(step=0.3), random_state=0
        ),
    }
    for X, y in stream:
        for model in models.values():
            model.partial_fit(X, y)
    # The first batch is what both begin with: of it nothing was known before.
    densities = {n: np.array(m.history_["log_density"]) for n, m in models.items()}
    for name, told in densities.items():
        at = CHANGE - 1
        before, soon, after = (told[i : i + 5].mean() for i in (at - 5, at + 6, -6))
        print(
            f"{name}: {before:.2f} nats per row before the change, {told[at]:.2f} at "
            f"it, {soon:.2f} soon after, {after:.2f} in the end"
        )
    draw(densities, arguments.picture)
    print(f"Picture saved to {arguments.picture}")


if __name__ == "__main__":
    main()
