"""
Rows that no expert explains
============================

Two machines, one of which reads its meter with a slip now and then. Three ways to live
with outliers: a component of noise, which names them; experts with heavy tails, which
shrug; and nothing.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor

rng = np.random.default_rng(0)
x = rng.uniform(0, 10, 500)
second = rng.random(500) < 0.5
y = np.where(second, 2 + 1.5 * x, 20 - x) + 0.5 * rng.normal(size=500)
slips = rng.random(500) < 0.08
y[slips] = rng.uniform(-10, 45, slips.sum())
X = x[:, None]

WAYS = {
    "Gaussian": {},
    "Student's t": {"likelihood": "student-t"},
    "Gaussian, with noise": {"noise": "constant"},
}
models = {
    name: MoERegressor(
        "linear", n_experts=2, gate="constant", n_init=3, random_state=0, **way
    ).fit(X, y)
    for name, way in WAYS.items()
}
figure, axes = plt.subplots(1, 3, figsize=(13, 4), sharey=True, layout="constrained")
grid = np.linspace(0, 10, 2)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ax.scatter(x, y, s=9, color="0.65")
    lines = [own for own in model.experts_ if hasattr(own, "coef_")]
    for own in lines:
        ax.plot(
            grid, own.intercept_ + own.coef_[0] * grid, color="#0072b2", linewidth=2
        )
    said = ", ".join(f"{own.coef_[0]:.2f}" for own in lines)
    width = np.diff(model.predict_interval(X, 0.8)).mean()
    print(f"{name}: slopes {said}; 80 % intervals {width:.1f} kWh wide")
    ax.set(xlabel="hours of use", title=f"{name}\n")
axes[0].set_ylabel("energy (kWh)")
named = models["Gaussian, with noise"].outlier_proba(X, y) > 0.5
axes[2].scatter(x[named], y[named], s=22, facecolors="none", edgecolors="#d55e00")
axes[2].set_title(
    f"Gaussian, with noise\n{named.sum()} rows named, {slips.sum()} slips"
)
plt.show()
