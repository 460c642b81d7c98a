"""
More rows than memory
=====================

``fit`` reads a source of rows batch by batch, once per pass, and gives the model that
it would give of the whole in memory. Here rows are made as they are asked for, as they
would come from a data base; there are sources for Parquet files and for mapped arrays,
too.
"""

import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

from skmoe import MoERegressor
from skmoe.data import RowSource
from skmoe.trainers import EM

N_FEATURES, BATCH = 4, 50_000
coef = np.random.default_rng(0).normal(size=(2, N_FEATURES))


def made(seed):
    """A batch of rows and targets, with two regimes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(BATCH, N_FEATURES))
    mean = X @ coef.T
    return X, np.where(X[:, 0] > 0, *mean.T) + 0.3 * rng.normal(size=BATCH)


def source(n_rows):
    """Rows that are the same at each pass, as training asks."""
    return RowSource.from_batches(lambda: map(made, range(n_rows // BATCH)))


# %%
# More rows, and what a fit holds of them.
X_new, y_new = made(10**6)
sizes, held = [400_000, 2_000_000], []
for n_rows in sizes:
    tracemalloc.start()
    model = MoERegressor("linear", 2, trainer=EM(tol=1e-4), random_state=0)
    model.fit(source(n_rows))
    held.append(tracemalloc.get_traced_memory()[1] / 1e6)
    tracemalloc.stop()
    print(f"{n_rows} rows, {model.history_['passes']} passes, {held[-1]:.0f} MB held;")
    print(f"    R² {model.score(X_new, y_new):.3f}")

# %%
whole = [8e-6 * (N_FEATURES + 1) * n_rows for n_rows in sizes]
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
millions = [1e-6 * n_rows for n_rows in sizes]
ax.plot(millions, whole, "o--", color="0.5", label="all rows")
ax.plot(millions, held, "o-", color="#d55e00", label="held while fitting")
ax.set(
    xlabel="rows (millions)",
    ylabel="size (MB)",
    title="A fit holds a sample, whatever the rows",
)
ax.legend()
plt.show()
