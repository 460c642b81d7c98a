"""
Insurance costs, for an officer who has to explain them
=======================================================

Yearly medical costs of the insured: most grow slowly with age, those of smokers jump,
and jump twice with a high body mass index. An officer wants a price, the price's
reasons in words, and how sure it is. The table is generated in the shape of the
well-known one of Lantz.
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from skmoe import MoERegressor
from skmoe.inspection import ExplanationDisplay, explain_text, regimes

rng = np.random.default_rng(0)
n = 1300
insured = pd.DataFrame(
    {
        "age": rng.integers(18, 65, n),
        "bmi": rng.normal(30.5, 6, n).round(1),
        "children": rng.choice(5, n, p=[0.43, 0.24, 0.18, 0.12, 0.03]),
        "smoker": rng.choice(["yes", "no"], n, p=[0.2, 0.8]),
        "region": rng.choice(["north", "south", "east", "west"], n),
    }
)
smokes, heavy = insured["smoker"] == "yes", insured["bmi"] > 30
costs = 0.5 + 0.0035 * insured["age"] ** 2 + 0.5 * insured["children"]
costs += np.where(smokes, 12 + 0.35 * (insured["bmi"] - 25) + 15 * heavy, 0)
costs *= np.exp(0.12 * rng.normal(size=n))
# One in fifteen had an accident, which no column tells.
costs += (rng.random(n) < 1 / 15) * rng.gamma(4, 3, n)
parts = train_test_split(insured, costs.to_numpy(), random_state=0)
X_train, X_test, y_train, y_test = parts

# %%
# Three experts, additive in all columns, under an additive gate; beside boosted trees.
model = MoERegressor("additive", 3, gate="additive", random_state=0)
model.fit(X_train, y_train)
trees = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
trees.fit(X_train.astype({"smoker": "category", "region": "category"}), y_train)
categories = X_test.astype({"smoker": "category", "region": "category"})
print(f"R² of the mixture {model.score(X_test, y_test):.3f}")
print(f"R² of boosted trees {trees.score(categories, y_test):.3f}")
pd.DataFrame(regimes(model, X_train)).round(2)

# %%
# The officer's letter: three customers, in thousands a year.
for text in explain_text(model, X_test[:3]):
    print(fill(text, 84), end="\n\n")

# %%
# The same of the first of them as a picture: from the level of the expert, what an
# average customer of its kind costs, to the price.
display = ExplanationDisplay.from_estimator(model, X_test)
display.ax_.set_xlabel("costs (thousands a year)")
plt.show()

# %%
# How sure is it? A picture of costs along age, for smokers and others of the test rows,
# and the prices with their 90 % intervals.
low, high = model.predict_interval(X_test, coverage=0.9).T
inside = (low <= y_test) & (y_test <= high)
price = model.predict(X_test)
order = np.argsort(price)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for word, color in {"no": "#0072b2", "yes": "#d55e00"}.items():
    rows = X_test["smoker"].to_numpy() == word
    left.scatter(X_test["age"][rows], y_test[rows], s=9, color=color, alpha=0.35)
    left.scatter(X_test["age"][rows], price[rows], s=9, color=color, marker="_")
    left.plot([], [], "o", color=color, label=f"smoker: {word}")
left.plot([], [], "_", color="0.3", label="predicted")
left.set(
    xlabel="age (years)", ylabel="costs (thousands a year)", title="Costs and prices"
)
left.legend()
rank = np.arange(len(order))
right.fill_between(rank, low[order], high[order], color="0.85", label="90 % interval")
right.plot(rank, y_test[order], ".", markersize=4, color="#0072b2", label="costs")
right.plot(rank, price[order], color="#d55e00", label="predicted")
title = f"Intervals hold {inside.mean():.0%} of the costs"
right.set(
    xlabel="test rows, by predicted cost",
    ylabel="costs (thousands a year)",
    title=title,
)
right.legend()
plt.show()
