"""
A tree of gates that grows
==========================

Four lines live in four boxes of a map, behind two cuts. A tree starts from one expert,
splits the leaf that gains most, and stops when rows held out gain no more. Its cuts can
be read.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.gates import SoftmaxGate
from skmoe.inspection import expert_colors, export_text, plot_tree

rng = np.random.default_rng(0)
X = rng.uniform(-10, 10, size=(1500, 2))
box = 2 * (X[:, 0] > 0) + (X[:, 1] > 2 * np.sign(X[:, 0]))
slopes = np.array([[0.3, 0], [-0.3, 0.1], [0, 0.3], [0.1, -0.3]])
price = np.array([6.0, 2.0, 5.0, 3.0])[box] + np.sum(slopes[box] * X, axis=1)
price = price + 0.2 * rng.normal(size=len(X))
train, test = np.arange(1000), np.arange(1000, 1500)

tree = HierarchicalMoERegressor(
    branching="grow", max_leaf_nodes=6, gate=SoftmaxGate(alpha=1e-3), random_state=0
)
tree.fit(X[train], price[train])
flat = MoERegressor(n_experts=tree.n_experts_, random_state=0).fit(
    X[train], price[train]
)
for name, model in {"tree": tree, "flat": flat}.items():
    print(f"{name}: R² {model.score(X[test], price[test]):.3f} on rows not seen")
print(export_text(tree, feature_names=["east", "north"]))

# %%
# The regions of its leaves, with rows of the four boxes as markers. Leaves have the
# same colours in all pictures.
grid = np.meshgrid(*[np.linspace(-10, 10, 150)] * 2)
leaves = tree.apply(np.column_stack([own.ravel() for own in grid]))
leaves = leaves.reshape(grid[0].shape)
colors = list(expert_colors(tree).values())

figure, ax = plt.subplots(figsize=(5.6, 4.8), layout="constrained")
ax.pcolormesh(
    *grid,
    leaves,
    cmap=ListedColormap(colors),
    alpha=0.4,
    vmin=-0.5,
    vmax=len(colors) - 0.5,
)
for number, marker in enumerate("osv^"):
    rows = X[train][box[train] == number][:40]
    ax.scatter(*rows.T, marker=marker, s=14, color="0.15", label=f"box {number}")
ax.set(
    xlabel="east (km)",
    ylabel="north (km)",
    title="Leaves that grew, and the boxes behind",
)
ax.legend(loc="upper left", fontsize="small", framealpha=0.9)
plt.show()

# %%
# And the tree itself.
figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
plot_tree(tree, ax=ax, feature_names=["east", "north"], fontsize=8)
ax.set_title("Gates at the nodes, experts at the leaves")
plt.show()
