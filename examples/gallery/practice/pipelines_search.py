"""
Pipelines and grid search
=========================

A mixture is an estimator of scikit-learn's: it ends a pipeline, and any parameter of
any of its parts can be searched for by its name, also where a part was given as a
string.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmoe import MoERegressor

rng = np.random.default_rng(0)
n = 1200
flats = pd.DataFrame(
    {
        "area": rng.gamma(8, 9, n).round(),
        "floor": rng.integers(0, 12, n).astype(float),
        "lift": rng.choice(["lift", "stairs"], n),
        "heating": rng.choice(["gas", "district", "oil"], n),
    }
)
stairs = flats["lift"] == "stairs"
rent = 4 + 0.012 * flats["area"] * 10 + np.where(stairs, -0.5, 0.25) * flats["floor"]
rent = rent + 0.8 * (flats["heating"] == "district") + 0.6 * rng.normal(size=n)
flats.loc[rng.random(n) < 0.05, "floor"] = np.nan
X_train, X_test, y_train, y_test = train_test_split(flats, rent, random_state=0)

columns = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["area", "floor"]),
    (OneHotEncoder(drop="if_binary"), ["lift", "heating"]),
)
pipeline = Pipeline(
    [("columns", columns), ("mixture", MoERegressor("linear", random_state=0))]
)
pipeline

# %%
# How many experts, and which penalties: "evidence", the default, needs no grid; numbers
# are there to compare.
grid = {
    "mixture__n_experts": [1, 2],
    "mixture__experts__alpha": ["evidence", 1.0, 30.0, 300.0],
}
search = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
print(search.best_params_)
print(f"R² {search.score(X_test, y_test):.3f} on flats not seen")

# %%
table = pd.DataFrame(search.cv_results_)
alphas = table["param_mixture__experts__alpha"].astype(str)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
colors = ["#0072b2", "#56b4e9", "#e69f00", "#d55e00"]
for alpha, color in zip(alphas.unique(), colors, strict=True):
    own = table[alphas == alpha]
    where = own["param_mixture__n_experts"].astype(int) + 0.05 * (
        colors.index(color) - 1.5
    )
    ax.errorbar(
        where,
        own["mean_test_score"],
        own["std_test_score"] / np.sqrt(3),
        fmt="o",
        capsize=3,
        color=color,
        label=alpha,
    )
ax.set_xticks([1, 2])
ax.set(
    xlabel="experts",
    ylabel="R², three folds ± standard error",
    title="A grid over two parts of the mixture",
)
ax.legend(title="penalty of the experts")
plt.show()
