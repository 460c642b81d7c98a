"""
Intervals, and conformal calibration by hand
============================================

Two lines cross, and their spread grows: one cloud in the middle, two branches on either
side. The intervals of a mixture are right if the mixture is. Split conformal
calibration makes their coverage right on average whatever the model, from rows held
out, in six lines.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.inspection import PredictiveDensityDisplay

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, size=3000)
line = np.where(rng.random(3000) < 0.5, 1.5 * x, -0.5 * x)
y = line + 0.15 * np.exp(0.5 * x) * rng.normal(size=3000)
X = x[:, None]
fit, hold, test = np.split(np.arange(3000), [1400, 2000])
COVERAGE = 0.9


def conformal_shift(model):
    """By how much interval ends move so that they hold what they say (CQR)."""
    low, high = model.predict_interval(X[hold], COVERAGE).T
    misses = np.maximum(low - y[hold], y[hold] - high)
    rank = min(int(np.ceil((len(hold) + 1) * COVERAGE)), len(hold))
    return np.sort(misses)[rank - 1]


def held(low, high):
    """Share of the test rows inside of their intervals."""
    return np.mean((low <= y[test]) & (y[test] <= high))


# %%
# The right model, whose spread depends on x, and a wrong one, with a single expert.
models = {
    "two experts, spread along x": MoERegressor(
        n_experts=2, gate="constant", likelihood="heteroscedastic", random_state=0
    ),
    "one expert, one spread": MoERegressor(n_experts=1),
}
shifts = {}
for name, model in models.items():
    low, high = model.fit(X[fit], y[fit]).predict_interval(X[test], COVERAGE).T
    shift = shifts[name] = conformal_shift(model)
    print(f"{name}: {held(low, high):.1%} as fitted, width {np.mean(high - low):.2f};")
    width = np.mean(high - low + 2 * shift)
    print(f"    {held(low - shift, high + shift):.1%} calibrated, width {width:.2f}")

# %%
# Calibration makes the coverage of the wrong model right on average, but not its shape:
# it is too wide where the lines meet. The density knows where y can be.
figure, axes = plt.subplots(1, 3, figsize=(13, 4), sharey=True, layout="constrained")
right_one, wrong_one = models.values()
PredictiveDensityDisplay.from_estimator(right_one, X, 0, ax=axes[0])
axes[0].set(xlabel="dose (mg)", ylabel="response (mV)", title="density of the mixture")
grid = np.linspace(-2, 2, 100)[:, None]
for ax, (name, model) in zip(axes[1:], models.items(), strict=True):
    low, high = model.predict_interval(grid, COVERAGE).T
    ax.plot(x[test], y[test], ".", markersize=3, color="0.6")
    ax.fill_between(
        grid[:, 0], low, high, alpha=0.3, color="#0072b2", label="as fitted"
    )
    for end, sign in ((low, -1), (high, 1)):
        ax.plot(grid, end + sign * shifts[name], "--", color="#d55e00")
    ax.plot([], [], "--", color="#d55e00", label="calibrated")
    ax.set(xlabel="dose (mg)", title=f"90 % intervals,\n{name}")
    ax.legend(loc="upper left")
plt.show()
