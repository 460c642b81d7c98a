"""
A part of your own: a gate for the time of day
==============================================

A softmax of linear functions cannot know that 23 o'clock is next to midnight. A gate
needs two methods, ``fit`` with responsibilities and ``predict_log_proba``; this one has
a weight for each of some hours of a circle, and passes the check that the library has
for gates.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.gates import BaseGate
from skmoe.testing import check_gate


class ClockGate(BaseGate):
    """Shares of the experts around a clock, smoothed over the hours next to it."""

    exchangeable = True

    def __init__(self, column=0, width=1.0):
        self.column = column
        self.width = width

    def _near(self, X):
        """Weights (n, 24) of the hours of the clock at each row."""
        apart = np.abs(X[:, [self.column]] % 24 - np.arange(24))
        apart = np.minimum(apart, 24 - apart)
        near = np.exp(-0.5 * (apart / self.width) ** 2)
        return near / near.sum(axis=1, keepdims=True)

    def fit(self, X, resp, sample_weight=None):
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        mass = self._near(X).T @ (resp * weight[:, None]) + 1e-3
        self.shares_ = mass / mass.sum(axis=1, keepdims=True)
        self.n_parameters_ = 24 * (resp.shape[1] - 1)
        return self

    def predict_log_proba(self, X):
        return np.log(self._near(X) @ self.shares_)


check_gate(ClockGate())

# %%
# A shop's fridges: at night, from nine to five, they are closed, and the power that
# they draw hardly depends on the warmth of the shop.
rng = np.random.default_rng(0)
hour, warmth = rng.uniform(0, 24, 900), rng.normal(20, 3, 900)
closed = (hour > 21) | (hour < 5)
power = np.where(closed, 3 + 0.02 * warmth, 2 + 0.25 * warmth) + 0.25 * rng.normal(
    size=900
)
X = np.column_stack([hour, warmth])

gates = {"softmax": "softmax", "clock": ClockGate()}
models = {
    name: MoERegressor("linear", 2, gate=gate, random_state=0).fit(X[:600], power[:600])
    for name, gate in gates.items()
}
for name, model in models.items():
    print(f"{name}: R² {model.score(X[600:], power[600:]):.3f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
hours = np.column_stack([np.linspace(0, 24, 200), np.full(200, 20.0)])
for (name, model), color in zip(models.items(), ("#0072b2", "#d55e00"), strict=True):
    steep = int(np.argmax([own.coef_[1] for own in model.experts_]))
    left.plot(hours[:, 0], model.gate_proba(hours)[:, steep], color=color, label=name)
left.axvspan(0, 5, color="0.9")
left.axvspan(21, 24, color="0.9")
left.set(
    xlabel="hour", ylabel="gate weight", title="Weight of the expert of open fridges"
)
left.legend(title="gate")
shown = right.scatter(warmth, power, c=closed, cmap="coolwarm_r", s=8, alpha=0.5)
warm = np.linspace(12, 28, 2)
for expert in models["clock"].experts_:
    right.plot(
        warm, expert.intercept_ + expert.coef_[0] * 12 + expert.coef_[1] * warm, "k"
    )
right.set(
    xlabel="warmth of the shop (°C)", ylabel="power (kW)", title="Two experts at noon"
)
plt.show()
