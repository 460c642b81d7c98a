"""
More zeros than a count has
===========================

Some visitors of a park do not fish at all, others fish and catch nothing: two kinds of
zero. A Poisson regression beside a component that is zero is the zero-inflated model of
the textbooks (ZIP): ``zero_inflation=True``. Its gate says who does not fish.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inspection import RootogramDisplay

rng = np.random.default_rng(0)
n = 1500
children = rng.integers(0, 4, n)
hours = rng.uniform(0.5, 8, n)
fishes = rng.random(n) < 1 / (1 + np.exp(-(1.5 - 1.1 * children)))
fish = np.where(fishes, rng.poisson(np.exp(0.2 + 0.22 * hours)), 0)
X = np.column_stack([children, hours]).astype(float)

one = MoERegressor(LinearExpert(alpha=0), n_experts=1, likelihood="poisson").fit(
    X, fish
)
zip_model = MoERegressor(
    [("fishing", LinearExpert(alpha=0))],
    gate=SoftmaxGate(alpha=0),
    likelihood="poisson",
    zero_inflation=True,
).fit(X, fish)
print(
    f"log-likelihood: Poisson {one.log_likelihood_:.0f}, with zeros "
    f"{zip_model.log_likelihood_:.0f}"
)
fishing = zip_model.named_experts_["fishing"]
print("log-rate per hour:", fishing.coef_.round(2)[1], "and planted 0.22")

# %%
# Counted visitors hang from the expected ones, in square roots, so that rare catches
# show: one Poisson regression has far too few zeros, and too few large catches; with
# zeros, bars end on the ground.
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
names = "Poisson", "with zeros"
for ax, model, name in zip(axes, (one, zip_model), names, strict=True):
    RootogramDisplay.from_estimator(model, X, fish, most=15, ax=ax)
    ax.set(xlabel="fish per visitor", title=f"Visitors by catch: {name}")

# %%
# The gate's weight of the idle is the probability that a visitor does not fish.
figure, right = plt.subplots(figsize=(5.5, 4.2), layout="constrained")
idle = zip_model.gate_proba(X)[:, -1]
shares = [idle[children == own].mean() for own in range(4)]
true = [1 - 1 / (1 + np.exp(-(1.5 - 1.1 * own))) for own in range(4)]
right.bar(range(4), shares, width=0.5, color="#d55e00", alpha=0.7, label="gate weight")
right.plot(range(4), true, "k_", markersize=26, label="truth")
right.set_xticks(range(4))
right.set(xlabel="children", ylabel="share who do not fish", title="Who does not fish")
right.legend()
plt.show()
