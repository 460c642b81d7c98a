"""A tree that grows over planted regions, and what it found.

    python examples/growing_tree.py [--picture FILE]

Four lines live in four boxes of the plane, behind two cuts.  The script grows a tree of
gates, prints it, and draws the regions of its leaves beside the tree itself.
"""

import argparse

import matplotlib as mpl
import numpy as np
from sklearn.model_selection import train_test_split

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.gates import SoftmaxGate
from skmoe.inspection import export_text, plot_tree

mpl.use("Agg")


def planted(n_rows, seed):
    """Rows, targets, and the box that each row is in."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n_rows, 2))
    box = 2 * (X[:, 0] > 0) + (X[:, 1] > 0.2 * np.sign(X[:, 0]))
    slopes = np.array([[3, 0], [-3, 1], [0, 3], [1, -3]])
    y = np.array([2.0, -2.0, 1.0, -1.0])[box] + np.sum(slopes[box] * X, axis=1)
    return X, y + 0.2 * rng.normal(size=n_rows), box


def draw(model, X, box, path):
    """Regions of the leaves with the planted boxes as markers, and the tree."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5), width_ratios=[1, 1.6], layout="constrained"
    )
    grid = np.meshgrid(*[np.linspace(-1, 1, 200)] * 2)
    leaves = model.apply(np.column_stack([g.ravel() for g in grid]))
    left.pcolormesh(*grid, leaves.reshape(grid[0].shape), cmap="Pastel1")
    for number, marker in enumerate("osv^"):
        rows = X[box == number][:60]
        left.scatter(*rows.T, marker=marker, s=14, color="0.2")
    left.set(xlabel="east", ylabel="north", title="regions of the leaves")
    plot_tree(model, ax=right, feature_names=["east", "north"], fontsize=8)
    figure.savefig(path, dpi=100)


def main():
    """Grow, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", default="growing_tree.png")
    arguments = parser.parse_args()
    X, y, box = planted(3000, seed=0)
    split = train_test_split(X, y, box, random_state=0)
    X_train, X_test, y_train, y_test = split[:4]
    gate = SoftmaxGate(alpha=1e-3)
    tree = HierarchicalMoERegressor(
        branching="grow", criterion="bic", gate=gate, random_state=0
    ).fit(X_train, y_train)
    flat = MoERegressor(n_experts=tree.n_experts_, gate=gate, random_state=0)
    flat.fit(X_train, y_train)
    print(export_text(tree, feature_names=["east", "north"]))
    for name, model in {"tree": tree, "flat": flat}.items():
        print(f"{name}: R2 = {model.score(X_test, y_test):.4f} on rows not seen")
    draw(tree, X_train, split[4], arguments.picture)
    print(f"Picture saved to {arguments.picture}")


if __name__ == "__main__":
    main()
