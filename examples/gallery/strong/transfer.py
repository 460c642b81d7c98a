"""
A new site, with experts that exist already
===========================================

Three wind farms have models of their own, made from years of rows. A fourth opens with
60 rows. Experts of the three are frozen, and only a gate is trained on the new rows:
who serves the new farm, and when.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from skmoe import MoERegressor
from skmoe.gates import SoftmaxGate
from skmoe.trainers import EM
from skmoe.transfer import pretrain_experts

rng = np.random.default_rng(0)


def farm(n_rows, offshore):
    """Wind speed and direction, and power; ``offshore`` says where winds come from."""
    speed, direction = rng.uniform(3, 20, n_rows), rng.uniform(0, 360, n_rows)
    turns = offshore(direction)
    cut = np.where(turns == "sea", 9.0, np.where(turns == "hill", 12.0, 15.0))
    power = 100 / (1 + np.exp(-(speed - cut)))
    return np.column_stack([speed, direction]), power + 3 * rng.normal(size=n_rows)


kinds = ["sea", "hill", "town"]
old = {kind: farm(800, lambda d, kind=kind: np.full(len(d), kind)) for kind in kinds}
X_old = np.concatenate([X for X, _ in old.values()])
y_old = np.concatenate([y for _, y in old.values()])
site = np.repeat(kinds, 800)
trees = HistGradientBoostingRegressor(max_iter=60)
experts = pretrain_experts(trees, X_old, y_old, site)


def coast(direction):
    """The new farm: winds from the west cross the sea, those from the east a town."""
    return np.where(direction > 180, "sea", "town")


X_few, y_few = farm(60, coast)
X_new, y_new = farm(1000, coast)

# %%
# What sixty rows are worth: trees of their own, all rows together, or a gate over old
# experts.
together = HistGradientBoostingRegressor(max_iter=60)
together.fit(np.concatenate([X_old, X_few]), np.concatenate([y_old, y_few]))
moved = MoERegressor(experts, gate=SoftmaxGate(alpha=0.1), trainer=EM(min_load=0.0))
moved.fit(X_few, y_few)
models = {
    "trees of 60 rows": HistGradientBoostingRegressor(max_iter=60).fit(X_few, y_few),
    "trees of all farms": together,
    "old experts, new gate": moved,
}
errors = {
    name: np.sqrt(np.mean((model.predict(X_new) - y_new) ** 2))
    for name, model in models.items()
}
for name, own in errors.items():
    print(f"{name}: {own:.1f} MW")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.barh(list(errors), list(errors.values()), color=["0.6", "#0072b2", "#d55e00"])
left.invert_yaxis()
left.set(
    xlabel="RMSE (MW), 1000 new rows; the noise has 3",
    title="With 60 rows of the new farm",
)
winds = np.column_stack([np.full(181, 11.0), np.linspace(0, 360, 181)])
colors = ["#e69f00", "#0072b2", "#009e73"]
names = list(moved.named_experts_)
right.stackplot(winds[:, 1], moved.gate_proba(winds).T, labels=names, colors=colors)
right.set(xlabel="direction of the wind (°)", ylabel="gate weight", ylim=(0, 1))
right.set_title("Who serves the new farm at 11 m/s")
right.legend(loc="lower right", framealpha=0.9)
plt.show()
