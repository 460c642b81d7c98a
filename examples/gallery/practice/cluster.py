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


def made(n_rows, n_chunks=8):
    """Rows of two regimes, and their targets, as they are asked for on the workers."""
    rng = da.random.default_rng(1)
    X = rng.normal(size=(n_rows, 4), chunks=(n_rows // n_chunks, 4))
    mean = X @ coef.T
    noise = rng.normal(scale=0.3, size=n_rows, chunks=n_rows // n_chunks)
    return X, da.where(X[:, 0] > 0, mean[:, 0], mean[:, 1]) + noise


# %%
# The same answer as from one memory, however rows are cut.
parts = {"experts": "linear", "n_experts": 2, "trainer": EM(tol=1e-5)}
X, y = made(40_000)
source = RowSource.from_arrays(*da.compute(X, y))
local = MoERegressor(**parts, random_state=0).fit(source)
for n_chunks in (3, 8):
    size = -(-40_000 // n_chunks)
    model = DaskMoERegressor(**parts, client=client, random_state=0)
    model.fit(X.rechunk((size, 4)), y.rechunk(size))
    same = np.array_equal(model.gate_.coef_, local.gate_.coef_)
    print(f"{n_chunks} chunks: the same coefficients to the last bit: {same}")
lazy = model.predict(X)
print(lazy)
print("mean of all predictions:", round(float(lazy.mean().compute()), 4))

# %%
# What travels in a pass depends on columns, experts and tasks, not on rows.
sizes, received = [500_000, 1_000_000, 2_000_000], []
for n_rows in sizes:
    model = DaskMoERegressor(**parts, client=client, random_state=0)
    model.fit(*made(n_rows))
    # The first pass brings the sample for the starts.
    passes = model.history_["communication"]["received"][1:]
    received.append(np.mean(passes) / 1e3)
whole = [8e-3 * 5 * n_rows for n_rows in sizes]

# %%
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
millions = [1e-6 * n_rows for n_rows in sizes]
ax.plot(millions, whole, "o--", color="0.5", label="all rows")
ax.plot(millions, received, "o-", color="#d55e00", label="received in one pass")
ax.set_yscale("log")
ax.set(
    xlabel="rows (millions)",
    ylabel="size (kB)",
    title="Statistics travel, rows stay where they are",
)
ax.legend()
plt.show()
client.close()
