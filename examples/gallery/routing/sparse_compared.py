"""
Sparse routing compared
=======================

Eight experts serve a table with eight regimes. How much does it cost to ask only some
of them for a row, how are the rows shared out, and which router does it best?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.routers import (
    BudgetRouter,
    CappedExpertChoiceRouter,
    ExpertChoiceRouter,
    HashRouter,
    MultiHashRouter,
    ResidualRouter,
    TopPRouter,
)

X, y = make_gated_regression(2500, 5, 8, sharpness=3.0, noise=[0.5] * 8, random_state=3)
train, test = np.arange(1500), np.arange(1500, 2500)
ROUTERS = {
    "dense": None,
    "top 1": 1,
    "top 2": 2,
    "top-p, 90 % of weight": TopPRouter(0.9),
    "budget of 1.5": BudgetRouter(budget=1.5),
    "expert choice, 2": ExpertChoiceRouter(2.0),
    "expert choice, at most 2": CappedExpertChoiceRouter(2.0, 2),
    "one shared, best other": ResidualRouter(1),
    "hash, 1 (no gate)": HashRouter(1),
    "two hashes (no gate)": MultiHashRouter(2),
}
rows, loads = [], {}
for name, router in ROUTERS.items():
    model = MoERegressor("linear", n_experts=8, router=router, random_state=0)
    model.fit(X[train], y[train])
    asked = (model.gate_proba(X[test]) > 0).sum(axis=1).mean()
    error = np.sqrt(np.mean((y[test] - model.predict(X[test])) ** 2)) / y.std()
    density = model.log_density(X[test], y[test]).mean()
    rows.append((name, asked, error, density))
    loads[name] = np.sort(model.gate_proba(X[test]).mean(axis=0))[::-1]
columns = ["router", "experts per row", "RMSE / sd(y)", "nats per row"]
table = pd.DataFrame(rows, columns=columns).set_index("router").round(3)
table

# %%
# Left, what the experts that are not asked cost; right, who is asked: the shares of the
# rows' weight, largest first. A hash shares rows out evenly and knows nothing of them.
colors = ["0.2", "#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#e69f00"]
colors += ["#7f3c8d", "0.6", "0.8"]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for (name, asked, error, _), color in zip(rows, colors, strict=True):
    left.plot(asked, error, "o", color=color, markersize=9, label=name)
    right.plot(np.arange(1, 9), loads[name], "o-", markersize=4, color=color)
left.set(
    xlabel="experts asked per row",
    ylabel="RMSE / sd(y), rows not seen",
    title="Error against work",
)
left.legend(fontsize="small")
right.axhline(1 / 8, color="0.7", linestyle="--")
right.set(
    xlabel="experts, the busiest first",
    ylabel="share of the load",
    title="Who is asked (dashed: equal shares)",
)
plt.show()
