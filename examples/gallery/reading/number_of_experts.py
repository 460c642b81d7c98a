"""
How many experts?
=================

Three answers: rows held out, by default; a path of sizes that merges experts and refits
them, scored by cross-validation; and BIC. The rows come from three regimes. What is
cheap, a single look at rows held out, may keep one expert more than there are; the path
and BIC find them.
"""

import matplotlib.pyplot as plt

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.inspection import SelectionDisplay
from skmoe.model_selection import MoERegressorCV

X, y = make_gated_regression(900, 3, 3, sharpness=4.0, random_state=2)
model = MoERegressor(random_state=0).fit(X, y)
print(model.n_experts_, "experts:", model.history_["n_experts"]["reason"])

# %%
# The simplest size within one standard error of the best is taken.
search = MoERegressorCV(MoERegressor(random_state=0), n_experts=5, cv=3).fit(X, y)
print(search.n_experts_, "experts by cross-validation")
bic = {
    k: MoERegressor(n_experts=k, random_state=0).fit(X, y).bic(X, y)
    for k in range(1, 5)
}

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
SelectionDisplay.from_estimator(search, ax=left)
left.set(
    xlabel="experts",
    ylabel="log-density of held-out rows (nats per row)",
    title="Cross-validation, three folds",
)
right.plot(list(bic), list(bic.values()), "o-", color="#d55e00")
right.set_xticks(list(bic))
right.set(xlabel="experts", ylabel="BIC (less is better)", title="BIC, on all rows")
plt.show()
