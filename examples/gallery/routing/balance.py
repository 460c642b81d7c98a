"""
Balance during training
=======================

Networks that are trained together with their gate tend to leave some experts idle: who
is asked early learns, and is asked again. Auxiliary losses and biases of the router
even the load out. On a table that is worth little in itself, but idle experts are
wasted ones.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import MLPExpert
from skmoe.inspection import BalanceDisplay
from skmoe.losses import ImportanceLoss, LoadBalancingLoss, LoadLoss
from skmoe.routers import BiasBalancedRouter, NoisyTopKRouter, SwitchRouter, TopKRouter
from skmoe.trainers import Gradient

X, y = make_gated_regression(1500, 3, 6, sharpness=8.0, noise=0.3, random_state=0)
y = (y - y.mean()) / y.std()
train, test = np.arange(1000), np.arange(1000, 1500)
WAYS = {
    "top 1, no loss": (TopKRouter(1, training="sparse"), []),
    "Switch: capacity, balancing loss": (SwitchRouter(), [LoadBalancingLoss(0.05)]),
    "noisy top 2: importance, load": (
        NoisyTopKRouter(2),
        [ImportanceLoss(), LoadLoss()],
    ),
    "top 2 with a bias": (BiasBalancedRouter(2), []),
}
figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), sharey=True, layout="constrained")
models = {}
for ax, (name, (router, losses)) in zip(axes, WAYS.items(), strict=True):
    model = MoERegressor(
        MLPExpert((16,)),
        n_experts=6,
        router=router,
        trainer=Gradient(losses=losses, max_epochs=40, early_stopping=False),
        random_state=0,
    ).fit(X[train], y[train])
    models[name] = model
    load = np.array(model.history_["load"])
    load = load / load.sum(axis=1, keepdims=True)
    ax.stackplot(np.arange(1, len(load) + 1), load.T, colors=plt.cm.Set2.colors)
    busiest = 6 * load[-1].max()
    print(
        f"{name}: R² {model.score(X[test], y[test]):.2f}, busiest {busiest:.1f} shares"
    )
    ax.set(xlabel="epoch", title=name, ylim=(0, 1))
axes[0].set_ylabel("share of the rows")
figure.suptitle("Loads of six experts while they are trained", y=1.08)
plt.show()

# %%
# All that is recorded of one of them: the weights that the gate itself gives (solid)
# beside what was dispatched (dotted), losses, requests that found an expert full, and
# how many rows changed their expert. Lines separate the stages of training.

BalanceDisplay.from_estimator(models["Switch: capacity, balancing loss"])
plt.show()
