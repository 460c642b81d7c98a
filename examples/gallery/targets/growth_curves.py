"""
Growth curves by subject
========================

Children are measured once a year; some grow early, some late, and nobody noted who.
Rows of one child belong to one regime. Where all were measured at the same ages, a
child is one row with an output per age: then responsibilities are those of the child.
"""

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.experts import LinearExpert

rng = np.random.default_rng(0)
ages = np.arange(6, 19)
n = 240
girls = rng.random(n) < 0.5
early = rng.random(n) < 0.4
spurt = (
    np.where(girls, 11.5, 13.5) - np.where(early, 1.6, -0.4) + 0.3 * rng.normal(size=n)
)
parents = rng.normal(172, 6, n)
final = 0.6 * (parents - 172) + np.where(girls, 166, 179) + 2 * rng.normal(size=n)
share = 0.665 + 0.022 * (ages - 6) + 0.1 / (1 + np.exp(-1.6 * (ages - spurt[:, None])))
heights = final[:, None] * np.minimum(share, 1.0) + 0.7 * rng.normal(size=(n, 13))
X = np.column_stack([girls, parents]).astype(float)

# %%
# Experts have a linear model of all thirteen heights, in sex and in the height of the
# parents. The gate is constant: sex and parents do not tell who grows early. The first
# heights of a child do, once they are known, by way of the responsibilities.
model = MoERegressor(
    LinearExpert(alpha=1.0), n_experts=2, gate="constant", n_init=5, random_state=0
).fit(X, heights)
resp = model.responsibilities(X, heights)
first = int(resp[early].mean(axis=0).argmax())
agree = np.mean((resp[:, first] > 0.5) == early)
print(f"{agree:.0%} of the children are in the class that they were drawn from")
print(
    "BIC of 1 and 2 classes:",
    [
        round(
            MoERegressor(
                LinearExpert(alpha=1.0),
                n_experts=k,
                gate="constant",
                n_init=5,
                random_state=0,
            )
            .fit(X, heights)
            .bic(X, heights)
        )
        for k in (1, 2)
    ],
)

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
colors = ["#0072b2", "#d55e00"]
for ax, is_girl, name in zip(axes, (1.0, 0.0), ("girls", "boys"), strict=True):
    rows = X[:, 0] == is_girl
    for k, word in ((first, "early"), (1 - first, "late")):
        own = rows & (resp[:, k] > 0.5)
        ax.plot(ages, heights[own][:25].T, color=colors[k], alpha=0.15, linewidth=0.8)
        typical = model.predict_experts([[is_girl, 172.0]])[0, k]
        ax.plot(
            ages, typical, color=colors[k], linewidth=2.5, label=f"{word}: {own.sum()}"
        )
    ax.set(xlabel="age (years)", ylabel="height (cm)", title=f"Two classes of {name}")
    ax.legend(title="children")
plt.show()
