"""
Rows on a cluster
=================

``DaskMoERegressor`` trains where the rows are: workers of Dask keep them, and only
statistics travel. The model is that of the rows in one memory, to the last bit, and
predictions are lazy. Here two workers are threads of this process; a cluster takes
their place by its address.
"""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client

from skmoe import MoERegressor
from skmoe.data import RowSource
from skmoe.distributed import DaskMoERegressor
from skmoe.trainers import EM

client = Client(
    n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
)
coef = np.random.default_rng(0).normal(size=(2, 4))


def made(n_rows):
    """Rows of two regimes, and their targets."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n_rows, 4))
    mean = X @ coef.T
    return X, np.where(X[:, 0] > 0, *mean.T) + 0.3 * rng.normal(size=n_rows)


def chunked(X, y, n_chunks):
    """The same as Dask arrays, in chunks of rows."""
    size = -(-len(y) // n_chunks)
    return da.from_array(X, chunks=(size, -1)), da.from_array(y, chunks=size)


# %%
# The same answer as from one memory, however rows are cut.
parts = {"experts": "linear", "n_experts": 2, "trainer": EM(tol=1e-5)}
X, y = made(40_000)
local = MoERegressor(**parts, random_state=0).fit(RowSource.from_arrays(X, y))
for n_chunks in (3, 8):
    model = DaskMoERegressor(**parts, client=client, random_state=0)
    model.fit(*chunked(X, y, n_chunks))
    same = np.array_equal(model.gate_.coef_, local.gate_.coef_)
    print(f"{n_chunks} chunks: the same coefficients to the last bit: {same}")
lazy = model.predict(chunked(X, y, 8)[0])
print(lazy)
print("mean of all predictions:", round(float(lazy.mean().compute()), 4))

# %%
# What travels in a pass depends on columns, experts and tasks, not on rows.
sizes, received = [20_000, 40_000, 80_000, 160_000], []
for n_rows in sizes:
    model = DaskMoERegressor(**parts, client=client, random_state=0)
    model.fit(*chunked(*made(n_rows), 8))
    # The first pass brings the sample for the starts.
    passes = model.history_["communication"]["received"][1:]
    received.append(np.mean(passes) / 1e3)
whole = [8e-3 * 5 * n_rows for n_rows in sizes]

# %%
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
thousands = [1e-3 * n_rows for n_rows in sizes]
ax.plot(thousands, whole, "o--", color="0.5", label="all rows")
ax.plot(thousands, received, "o-", color="#d55e00", label="received in one pass")
ax.set_yscale("log")
ax.set(
    xlabel="rows (thousands)",
    ylabel="size (kB)",
    title="Statistics travel, rows stay where they are",
)
ax.legend()
plt.show()
client.close()
