"""Trees as text and as pictures."""

import re

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import HierarchicalMoEClassifier, HierarchicalMoERegressor, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inspection import expert_colors, export_text, plot_tree
from skmoe.inspection._tree_picture import drawn
from skmoe.inspection._trees import Node
from skmoe.trainers import EM


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
    # Both sides of a cut.
    for name in ("east", "north"):
        signs = [line.split(f"[{name} ")[1] for line in lines if f"[{name}" in line]
        assert sorted(re.findall("[<>]", "".join(signs))) == ["<", ">"]
    leaves = [line for line in lines if "expert" in line]
    assert len(leaves) == model.n_experts_ == 3
    loads = [float(line.split("load ")[1]) for line in leaves]
    np.testing.assert_allclose(loads, model.expert_load_, atol=0.006)
    (leaf,) = model.apply(pd.DataFrame([[0.9, 0.0]], columns=["east", "north"]))
    east = model.experts_[leaf]
    assert f"{east.coef_[0]:+.3g} east" in "\n".join(lines)
    assert lines[-2].startswith("Cuts are in units of the columns that the mixture")
    assert "at their means" in lines[-1]


def test_cuts_are_where_both_sides_weigh_the_same(boxes, model):
    """In the units of the data, with the other column at its mean."""
    X, _ = boxes
    first = export_text(model, n_features=1, precision=12).split("\n")[1]
    name, sign, at, wide = re.match(
        r"\|--- \[(\w+) … (.) (\S+) \(±(\S+)\)\]", first
    ).groups()
    at, wide = float(at), float(wide)
    rows = pd.DataFrame([X.mean()] * 3).assign(**{name: [at - wide, at, at + wide]})
    weight = np.exp(model.gate_.nodes()[0].predict_log_proba(rows.to_numpy())[:, 0])
    wanted = [0.1, 0.5, 0.9] if sign == ">" else [0.9, 0.5, 0.1]
    np.testing.assert_allclose(weight, wanted, atol=0.02)
    np.testing.assert_allclose(weight[1], 0.5, atol=1e-6)


def test_several_children_have_scores(boxes):
    X, y = boxes
    flat = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    text = export_text(flat, precision=9)
    scores = [
        [float(own.replace(" ", "")) for own in line]
        for line in re.findall(r"\[score (\S+) (\S+) \w+ (\S+) \w+\]", text)
    ]
    gate = flat.gate_
    np.testing.assert_allclose([own[0] for own in scores], gate.intercept_, rtol=1e-6)
    assert "the largest leads" in text
    # A level with others at their mean is what the expert answers there.
    short = export_text(flat, n_features=0, precision=9).split("\n")
    level = flat.experts_[0].predict(X.mean().to_numpy()[None])[0]
    assert f"{level:.9g} …" in "\n".join(short)


def test_depth_and_names(model):
    text = export_text(model, max_depth=1, feature_names=["a", "b"])
    assert "experts beneath" in text
    assert "east" not in text
    assert "[a" in text
    with pytest.raises(ValueError, match="has 3 names, but the mixture sees 2 columns"):
        export_text(model, feature_names=["a", "b", "c"])


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
    assert "[up" in export_text(model, feature_names=["right", "up"])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_link_and_pipeline_are_told(boxes):
    X, y = boxes
    counts = np.round(np.abs(y))
    own = HierarchicalMoERegressor(
        branching=(2,), likelihood="poisson", random_state=0, trainer=EM(max_iter=5)
    )
    text = export_text(make_pipeline(StandardScaler(), own).fit(X, counts))
    assert text.count("log y = ") == 2
    assert "units of the columns that the mixture sees" in text


def test_members_are_shown_one_by_one(boxes):
    model = HierarchicalMoERegressor(n_members=2, branching=(2,)).fit(*boxes)
    with pytest.raises(ValueError, match="pass one of members_"):
        export_text(model)
    assert "gate 0" in export_text(model.members_[0])


def test_picture(model):
    figure, ax = plt.subplots()
    found = plot_tree(model, ax=ax, n_features=1)
    assert len(found) == model.gate_.tree.n_nodes + model.n_experts_
    texts = "\n".join(box.get_text() for box in found)
    assert "gate 0" in texts
    assert "expert0" in texts
    widths = [line.get_linewidth() for line in ax.lines]
    assert len(widths) == len(found) - 1
    # Leaves have the colours of their experts.
    colours = expert_colors(model)
    for box in found:
        name = next((own for own in colours if own in box.get_text()), None)
        if name is not None:
            edge = box.get_bbox_patch().get_edgecolor()
            assert to_hex(edge) == colours[name]
    assert len(plot_tree(model, max_depth=1)) == 3
    plt.close("all")


def tree_of(n_leaves, rng, first=0):
    """A tree of any shape, with words of any length."""
    text = "west +0.25 south > 12.3 (±0.4)"[: rng.integers(6, 31)]
    if n_leaves == 1:
        formulas = [["1.25", "+0.3 east", "-2 north"][: rng.integers(1, 4)]]
        return Node(f"expert{first}", 0.1, text, formulas, [], first)
    n_children = min(int(rng.integers(2, 5)), n_leaves)
    cuts = np.sort(rng.choice(np.arange(1, n_leaves), n_children - 1, replace=False))
    sizes = np.diff([0, *cuts, n_leaves])
    starts = first + np.cumsum([0, *sizes[:-1]])
    pairs = zip(sizes, starts, strict=True)
    children = [tree_of(int(size), rng, int(start)) for size, start in pairs]
    return Node("gate 0", 0.5, text, [], children)


def overlaps(boxes):
    """Pairs of annotations whose boxes have points in common."""
    boxes[0].figure.draw_without_rendering()
    ends = [own.get_bbox_patch().get_window_extent().extents for own in boxes]
    low, high = np.array(ends)[:, None, :2], np.array(ends)[None, :, 2:]
    begins = np.all(low < high, axis=2)
    return np.sum(begins & begins.T) - len(ends)


@pytest.mark.parametrize("n_leaves", [2, 3, 5, 9, 17, 32])
def test_boxes_never_overlap(n_leaves):
    rng = np.random.default_rng(n_leaves)
    root = tree_of(n_leaves, rng)
    boxes = drawn(root, ["A note."])
    assert overlaps(boxes) == 0
    figure = boxes[0].figure
    ends = [own.get_bbox_patch().get_window_extent() for own in boxes]
    assert min(min(own.x0, own.y0) for own in ends) >= 0
    assert max(own.x1 for own in ends) <= figure.bbox.width
    assert max(own.y1 for own in ends) <= figure.bbox.height
    figure, (ax, _) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    small = drawn(root, [], ax)
    ax.set_title("a title")
    assert overlaps(small) == 0
    if n_leaves == 32:
        flat = Node("gate 0", 1.0, "", [], [tree_of(1, rng, k) for k in range(32)])
        assert overlaps(drawn(flat, [])) == 0
    plt.close("all")


def test_gates_that_read_next_to_nothing_say_so(boxes):
    model = MoERegressor(n_experts=2, trainer=EM(max_iter=9), random_state=0)
    model.fit(*boxes)
    assert "same weights" not in export_text(model)
    model.gate_.coef_ *= 1e-7
    assert export_text(model).count("[same weights everywhere]") == 2


def test_curves_of_a_tree_say_where_they_lead():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"hour": rng.integers(0, 24, 300), "day": rng.choice(["work", "free"], 300)}
    )
    y = np.where(X["day"] == "work", 5 * X["hour"], 40 - X["hour"])
    model = HierarchicalMoERegressor(
        "additive", gate="additive", branching=(2,), random_state=0
    ).fit(X, y + rng.normal(size=300))
    text = export_text(model)
    assert "[day work]" in text
    assert "[day free]" in text
    assert "curves of hour" in text
    assert "[kind work]" in export_text(model, feature_names=["time", "kind"])
