"""
Out of Python
=============

``to_onnx`` writes a fitted mixture as a graph of ONNX, and compares it with the model
before it gives it away. onnxruntime then answers from one file, without Python and
scikit-learn: means, quantiles, and who is to be trusted where. Here a heating bill has
two regimes, below and above a temperature that is not in the data.
"""

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import pandas as pd

from skmoe import MoERegressor
from skmoe.export import onnx_inputs, to_onnx

rng = np.random.default_rng(0)
n = 1500
house = pd.DataFrame(
    {
        "outside": rng.uniform(-10, 25, n),
        "area": rng.uniform(50, 200, n),
        "fuel": rng.choice(["gas", "oil", None], n, p=[0.6, 0.3, 0.1]),
    }
)
heats = rng.random(n) < 1 / (1 + np.exp(house["outside"] - 14))
price = house["fuel"].map({"gas": 1.0, "oil": 1.4}).fillna(1.1)
warm = 0.02 * house["area"] * (20 - house["outside"]) * price
bill = np.where(heats, warm, 6.0) + rng.normal(scale=np.where(heats, 4.0, 0.8), size=n)

model = MoERegressor("additive", 2, gate="additive", random_state=0).fit(house, bill)

# %%
# The sample says which columns there are, and is what the graph is compared on.
outputs = ["prediction", "quantile:0.05", "quantile:0.95", "gate"]
graph = to_onnx(model, house.head(200), outputs=outputs)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "bill.onnx"
    path.write_bytes(graph.SerializeToString())
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

# %%
# It says what the model says, also of gaps and of fuels that training did not have.
new = house.tail(300).assign(fuel=["wood", "gas", None] * 100)
mean, low, high, gate = session.run(outputs, onnx_inputs(session, new))
off = np.abs(mean - model.predict(new)).max() / mean.std()
print(f"largest difference: {off:.0e} of the spread")
assert off < 1e-12

# %%
# What the graph knows along the temperature, for a house of 120 square metres with gas.
line = pd.DataFrame({"outside": np.linspace(-10, 25, 200), "area": 120.0})
line["fuel"] = "gas"
mean, low, high, gate = session.run(outputs, onnx_inputs(session, line))


def seconds(call, repeats=30):
    """The best of several times of a call."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


short = onnxruntime.InferenceSession(
    to_onnx(model, house.head(200)).SerializeToString(),
    providers=["CPUExecutionProvider"],
)
one, given = line.head(1), onnx_inputs(short, line.head(1))
times = {
    "skmoe": seconds(lambda: model.predict(one)),
    "the graph": seconds(lambda: short.run(None, given)),
}

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
known = house["fuel"] == "gas"
axes[0].plot(house["outside"][known], bill[known], ".", color="0.75", ms=3)
axes[0].plot(line["outside"], mean, label="mean")
axes[0].fill_between(line["outside"], low, high, alpha=0.25, label="5 to 95 %")
axes[0].set(xlabel="outside (°C)", ylabel="bill (€ a month)", title="From the graph")
axes[0].legend()
for k, weights in enumerate(gate.T):
    axes[1].plot(line["outside"], weights, label=f"graph, expert {k}")
    own = model.gate_proba(line)[::12, k]
    axes[1].plot(line["outside"][::12], own, "k.", label="model" if k else None)
axes[1].set(xlabel="outside (°C)", ylabel="weight", title="Who is trusted where")
axes[1].legend(loc="center right")
axes[2].barh(list(times), [1e6 * own for own in times.values()], color=["0.6", "C0"])
for place, own in enumerate(times.values()):
    axes[2].text(1e6 * own, place, f" {1e6 * own:.0f}", va="center")
axes[2].set(xlabel="microseconds", title="One row", xscale="log", xlim=(5, 5e4))
plt.show()
