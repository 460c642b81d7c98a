"""
Experts of unequal cost under a budget
======================================

A forest is right more often than a line, and takes a hundred times as long. Where the
line is as good, the forest need not be asked: a budget on the mean cost of a row
decides how often it is.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from skmoe import MoERegressor
from skmoe.routers import BudgetRouter

rng = np.random.default_rng(0)
n = 1500
x = rng.uniform(0, 10, n)
wiggle = np.where(x > 6, 2.5 * np.sin(5 * x), 0.0)
y = 1.2 * x + wiggle + 0.4 * rng.normal(size=n)
X = np.column_stack([x, rng.normal(size=n)])
train, test = np.arange(800), np.arange(800, n)
# In units of the time that a line takes; ``measure_costs`` of skmoe.inspection finds
# seconds.
COSTS = {"line": 1.0, "forest": 100.0}

points, models = [], {}
for budget in (2, 10, 25, 45, 70, 101):
    model = MoERegressor(
        [
            ("line", Ridge()),
            ("forest", RandomForestRegressor(30, min_samples_leaf=3, random_state=0)),
        ],
        gate_features="piecewise-linear",
        trainer="two-stage",
        router=BudgetRouter(COSTS, budget),
        random_state=0,
    ).fit(X[train], y[train])
    misses = y[test] - model.predict(X[test])
    asked = model.gate_proba(X[test]) > 0
    cost = (asked * list(COSTS.values())).sum(axis=1).mean()
    points.append((cost, np.sqrt(np.mean(misses**2))))
    models[budget] = asked[:, 1]
    print(f"budget {budget}: mean cost {cost:.0f}, RMSE {points[-1][1]:.2f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.plot(*np.transpose(points), "o-", color="#0072b2")
left.set(
    xlabel="mean cost of a row (lines)",
    ylabel="RMSE (°C), rows not seen",
    title="Error against cost",
)
asked = models[45]
right.plot(x[test][~asked], y[test][~asked], ".", color="0.6", label="the line answers")
right.plot(
    x[test][asked], y[test][asked], ".", color="#d55e00", label="the forest is asked"
)
right.set(
    xlabel="depth (m)", ylabel="temperature (°C)", title="Whom a budget of 45 asks"
)
right.legend()
plt.show()
