"""Trees as text and as pictures."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoEClassifier, HierarchicalMoERegressor, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inspection import export_text, plot_tree


@pytest.fixture(scope="module")
def boxes():
    """Two lines left of zero, one to the right, named columns."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(-1, 1, size=(600, 2)), columns=["east", "north"])
    X["north"] *= 100
    right, up = X["east"] > 0, X["north"] > 0
    y = np.where(right, 3 * X["east"], np.where(up, 5.0, -5.0))
    return X, y + 0.1 * rng.normal(size=600)


@pytest.fixture(scope="module")
def model(boxes):
    model = HierarchicalMoERegressor(
        LinearExpert(alpha=0.01),
        branching="grow",
        gate=SoftmaxGate(alpha=0.01),
        max_leaf_nodes=4,
        criterion="bic",
        random_state=0,
    )
    return model.fit(*boxes)


def test_text_shows_gates_loads_and_coefficients(model):
    lines = export_text(model, n_features=1).split("\n")
    assert lines[0] == "gate 0, load 1.00"
    # Gates are compared per standard deviation, leaves are on the scale of the data.
    for name in ("east", "north"):
        pulls = [line.split(f"[{name} ")[1][0] for line in lines if f"[{name}" in line]
        assert sorted(pulls) == ["+", "-"]
    leaves = [line for line in lines if "expert" in line]
    assert len(leaves) == model.n_experts_ == 3
    loads = [float(line.split("load ")[1]) for line in leaves]
    np.testing.assert_allclose(loads, model.expert_load_, atol=0.006)
    (leaf,) = model.apply(pd.DataFrame([[0.9, 0.0]], columns=["east", "north"]))
    east = model.experts_[leaf]
    assert f"{east.coef_[0]:+.3g} east" in "\n".join(lines)


def test_depth_and_names(model):
    text = export_text(model, max_depth=1, feature_names=["a", "b"])
    assert "experts beneath" in text
    assert "east" not in text
    assert "[a" in text


def test_flat_mixtures_are_trees_of_one_gate(boxes):
    flat = MoERegressor(n_experts=3, random_state=0).fit(*boxes)
    assert export_text(flat).count("|--- ") == 3


def test_classes_have_a_line_each():
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = HierarchicalMoEClassifier(branching=(2,), random_state=0).fit(X, names)
    text = export_text(model)
    assert all(text.count(f"{name}: ") == 2 for name in set(names))


def test_other_parts_show_their_kind(boxes):
    X, y = boxes
    model = HierarchicalMoERegressor(
        Ridge(), (2,), gate="gaussian", gate_features=["north"], random_state=0
    ).fit(X, y)
    text = export_text(model)
    assert "Ridge" in text
    assert "[" not in text


def test_transformed_columns_have_their_names(boxes):
    X, y = boxes
    model = HierarchicalMoERegressor(
        branching=(2,), gate_features=["north"], expert_features="piecewise-linear"
    ).fit(X, y)
    text = export_text(model)
    assert "[north" in text
    assert "column" in text


def test_members_are_shown_one_by_one(boxes):
    model = HierarchicalMoERegressor(n_members=2, branching=(2,)).fit(*boxes)
    with pytest.raises(ValueError, match="pass one of members_"):
        export_text(model)
    assert "gate 0" in export_text(model.members_[0])


def test_picture(model):
    figure, ax = plt.subplots()
    drawn = plot_tree(model, ax=ax, n_features=1)
    assert len(drawn) == model.gate_.tree.n_nodes + model.n_experts_
    texts = "\n".join(box.get_text() for box in drawn)
    assert "gate 0" in texts
    assert "expert0" in texts
    # Leaves stand side by side, deeper nodes lower.
    assert len({box.xy for box in drawn}) == len(drawn)
    widths = [line.get_linewidth() for line in ax.lines]
    assert len(widths) == len(drawn) - 1
    assert len(plot_tree(model, max_depth=1)) == 3
    plt.close("all")
