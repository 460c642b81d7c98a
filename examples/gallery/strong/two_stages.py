"""
Two stages against stacking
===========================

Stacking blends models with the same weights everywhere. Two stages train a gate on the
same out-of-fold predictions, so that a blend may depend on where a row is. Here the
level of a river is read by two gauges, one of which freezes, while the other is washed
over by warm floods.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, StackingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skmoe import MoERegressor
from skmoe.trainers import TwoStage

rng = np.random.default_rng(0)
n = 1400
temperature = rng.uniform(-15, 25, n)
level = 2 + 0.8 * rng.gamma(2, 1, n)
ice, flood = 1 / (1 + np.exp(temperature)), 1 / (1 + np.exp(0.8 * (12 - temperature)))
readings = pd.DataFrame(
    {
        "upper": level + (0.1 + 1.2 * ice) * rng.normal(size=n),
        "lower": level + (0.1 + 1.2 * flood) * rng.normal(size=n),
        "temperature": temperature,
    }
)
train, test = np.arange(700), np.arange(700, n)


def gauge(name):
    """A line through the readings of one gauge."""
    return make_pipeline(make_column_transformer(("passthrough", [name])), Ridge())


experts = [
    ("upper gauge", gauge("upper")),
    ("lower gauge", gauge("lower")),
    ("trees of all", HistGradientBoostingRegressor(max_iter=60)),
]
stacked = StackingRegressor(experts, Ridge(), cv=5)
gated = MoERegressor(
    experts,
    gate_features=["temperature"],
    trainer=TwoStage(cv=5),
    random_state=0,
)
# Weights of stacking are the same at any temperature, those of a gate bend with it.
gated.set_params(gate="additive")
models = {"trees of all": experts[2][1], "stacking": stacked, "two stages": gated}
errors = {}
for name, model in models.items():
    model.fit(readings.iloc[train], level[train])
    misses = model.predict(readings.iloc[test]) - level[test]
    errors[name] = np.sqrt(np.mean(misses**2))
    print(f"{name}: {100 * errors[name]:.0f} cm")

# %%
along = pd.DataFrame(
    {"upper": 3.5, "lower": 3.5, "temperature": np.linspace(-15, 25, 120)}
)
colors = ["#0072b2", "#d55e00", "#009e73"]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.bar(
    list(errors),
    [100 * own for own in errors.values()],
    color=["#009e73", "0.6", "0.2"],
)
left.set(ylabel="RMSE (cm)", title="Levels on days not seen")
names = list(gated.named_experts_)
weights = gated.gate_proba(along)
right.stackplot(along["temperature"], weights.T, labels=names, colors=colors)
right.set(
    xlabel="temperature (°C)",
    ylabel="gate weight",
    title="Whom the gate trusts",
    ylim=(0, 1),
)
right.legend(loc="lower right", framealpha=0.9)
plt.show()
