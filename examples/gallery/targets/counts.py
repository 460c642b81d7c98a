"""
Counts with exposure
====================

Insurers count claims over contracts of different length: what is to be predicted is a
rate per year. ``offset`` is the logarithm of the exposure, and each expert is a Poisson
regression, fitted by Newton's steps inside EM.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.experts import LinearExpert

rng = np.random.default_rng(0)
n = 2500
age = rng.uniform(18, 80, n)
power = rng.uniform(40, 200, n)
years = rng.uniform(0.1, 3.0, n)
# The young claim more with every horsepower, others hardly.
young = age < 28
rate = np.exp(np.where(young, -1.4 + 0.011 * power, -2.0 + 0.001 * power))
claims = rng.poisson(years * rate)
X = np.column_stack([age, power])
train, test = np.arange(1700), np.arange(1700, n)

scores = {}
for n_experts in (1, 2, 3):
    model = MoERegressor(
        LinearExpert(), n_experts=n_experts, likelihood="poisson", random_state=0
    )
    model.fit(X[train], claims[train], offset=np.log(years[train]))
    held_out = model.log_density(X[test], claims[test], offset=np.log(years[test]))
    scores[n_experts] = float(held_out.mean())
    if n_experts == 2:
        two = model
print({k: round(v, 4) for k, v in scores.items()}, "nats per contract, by experts")

# %%
# Without an offset predictions are rates per year; with one they are claims of that
# contract.
driver = [[22, 150]]
print(f"{two.predict(driver)[0]:.2f} claims per year")
print(f"{two.predict(driver, offset=[np.log(0.5)])[0]:.2f} claims in half a year")

# %%
# Rates along age and power, and whether they are right: contracts in ten groups by
# predicted claims, against what was counted.
ages = np.linspace(18, 80, 120)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for own, color in zip((60, 110, 160), ("#56b4e9", "#0072b2", "#d55e00"), strict=True):
    grid = np.column_stack([ages, np.full(120, own)])
    left.plot(ages, two.predict(grid), color=color, label=f"{own} hp")
    truth = np.exp(np.where(ages < 28, -1.4 + 0.011 * own, -2.0 + 0.001 * own))
    left.plot(ages, truth, ":", color=color)
left.plot([], [], ":", color="0.3", label="truth")
left.set(
    xlabel="age (years)", ylabel="claims per year", title="Rates of a mixture of two"
)
left.legend()
expected = two.predict(X[test], offset=np.log(years[test]))
groups = np.array_split(np.argsort(expected), 10)
sums = [(expected[own].sum(), claims[test][own].sum()) for own in groups]
predicted, counted = np.transpose(sums)
right.errorbar(
    predicted, counted, np.sqrt(counted), fmt="o", capsize=3, color="#0072b2"
)
right.axline((0, 0), slope=1, color="0.6", linestyle="--")
right.set(
    xlabel="claims predicted, of 80 contracts",
    ylabel="claims counted ± √count",
    title="Contracts not seen, in ten groups",
)
plt.show()
