"""
A stream that drifts
====================

A machine runs in two regimes, told apart by its load. After twenty batches a part is
replaced, and the lines of both regimes are other ones. Two mixtures learn batch by
batch: one with steps that fall, as for rows that stay the same, one with a constant
step, which forgets.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.trainers import EM

rng = np.random.default_rng(0)
CHANGE, N_BATCHES = 20, 45


def readings(changed, n_rows=200):
    """Load and temperature, and the current that the machine draws."""
    X = np.column_stack([rng.uniform(0, 1, n_rows), rng.normal(20, 5, n_rows)])
    high = rng.random(n_rows) < 1 / (1 + np.exp(-20 * (X[:, 0] - 0.5)))
    low = 1.0 + 2.0 * X[:, 0] + (0.05 if changed else 0.0) * (X[:, 1] - 20)
    full = 6.0 - 3.0 * X[:, 0] + (0.1 if changed else 0.0) * (X[:, 1] - 20)
    return X, np.where(high, full, low) + 0.1 * rng.normal(size=n_rows)


models = {
    "falling steps": MoERegressor("linear", 2, random_state=0),
    "constant step": MoERegressor("linear", 2, trainer=EM(step=0.3), random_state=0),
}
slopes = {name: [] for name in models}
for number in range(N_BATCHES):
    X, y = readings(changed=number >= CHANGE)
    for name, model in models.items():
        model.partial_fit(X, y)
        # The expert of full load is the one with the falling line.
        slopes[name].append(min(model.experts_, key=lambda own: own.coef_[0]).coef_[1])

# %%
# Each batch is judged before it is learned; ``history_`` keeps that.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for (name, model), color in zip(models.items(), ("#0072b2", "#d55e00"), strict=True):
    told = np.array(model.history_["log_density"])
    before = told[CHANGE - 6 : CHANGE - 1].mean()
    print(f"{name}: {before:.2f} nats per row before the change,")
    print(f"    {told[CHANGE - 1]:.2f} at it, {told[-6:].mean():.2f} in the end")
    left.plot(np.arange(2, len(told) + 2), told, color=color, label=name)
    right.plot(np.arange(1, N_BATCHES + 1), slopes[name], color=color, label=name)
for ax in (left, right):
    ax.axvline(CHANGE + 0.5, color="0.6", linestyle="--")
    ax.set(xlabel="batch of 200 rows")
left.set(ylabel="log-density (nats per row)", title="How well a batch was foreseen")
left.legend()
truth = [0, 0.1, 0.1]
right.step([1, CHANGE + 0.5, N_BATCHES], truth, ":k", where="post", label="truth")
right.set(ylabel="slope (A per °C)", title="What the expert of full load has learned")
right.legend()
plt.show()
