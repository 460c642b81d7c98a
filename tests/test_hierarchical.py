"""Trees of gates: their shape, the product along paths, joint training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe._tree import Tree, balanced_shape
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, ConstantGate, MLPGate, SoftmaxGate
from skmoe.gates._tree import TreeGate
from skmoe.trainers import EM

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
FOLDER = Path(__file__).parent / "known_answers"


@pytest.fixture(scope="module")
def four():
    return make_gated_regression(600, 3, 4, random_state=0)


def test_shape_of_a_tree():
    tree = Tree(balanced_shape((2, 3)))
    assert (tree.n_nodes, tree.n_leaves, tree.depth) == (3, 6, 2)
    assert tree.paths == [[0, 2], [0, 3], [0, 4], [1, 5], [1, 6], [1, 7]]
    assert tree.parents == [-1, 0, 1]
    assert [tree.node_of(slot) for slot in range(8)] == [0, 0, 1, 1, 1, 2, 2, 2]
    np.testing.assert_array_equal(tree.beneath[0], [1, 1, 1, 0, 0, 0])


def test_trees_need_not_be_balanced():
    tree = Tree((None, (None, (None, None)), None))
    assert [len(path) for path in tree.paths] == [1, 2, 3, 3, 1]
    np.testing.assert_array_equal(tree.beneath.sum(axis=1), [1, 3, 1, 1, 2, 1, 1])
    # The node that loses a child of two gives way to the other.
    smaller, slots = tree.without(3)
    assert smaller.shape == (None, (None, None), None)
    assert slots == [0, 1, 2, 3, 4]
    smallest, slots = smaller.without(0)
    assert smallest.shape == ((None, None), None)
    assert slots == [1, 2, 3, 4]
    # A root of two children gives way to a subtree, or to a leaf.
    assert smallest.without(2)[1] == [2, 3]
    assert Tree((None, None)).without(0)[0].shape == (None,)


def test_split_leaves():
    tree, slots = Tree((None, (None, None))).split(1, 3)
    assert tree.shape == (None, ((None, None, None), None))
    assert slots == [0, 1, 2, 3, -1, -1, -1]


def test_arranged_experts_are_neighbours():
    centers = np.array([[3.0, 0], [-3, 1], [3, 0.1], [-3, 1.1]])
    order = Tree(balanced_shape((2, 2))).arranged(centers)
    assert {frozenset(order[:2]), frozenset(order[2:])} == {
        frozenset([0, 2]),
        frozenset([1, 3]),
    }


@pytest.mark.parametrize(
    "gate",
    [
        SoftmaxGate(),
        ConstantGate(),
        MLPGate((4,)),
        ClassifierGate(LogisticRegression()),
    ],
)
def test_leaf_weights_are_products(gate):
    rng = np.random.default_rng(0)
    X, resp = rng.normal(size=(80, 2)), rng.dirichlet(np.ones(6), size=80)
    fitted = TreeGate(gate, Tree(balanced_shape((2, 3)))).fit(X, resp)
    root, left, right = (np.exp(g.predict_log_proba(X)) for g in fitted.gates_)
    expected = np.hstack([root[:, :1] * left, root[:, 1:] * right])
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), expected)


def test_lower_gates_are_weighted_by_the_mass_of_their_node():
    """The M-step of Jordan & Jacobs: targets given the node, weights of the node."""
    rng = np.random.default_rng(0)
    X, resp = rng.normal(size=(80, 2)), rng.dirichlet(np.ones(4), size=80)
    weight = rng.uniform(0.5, 2.0, size=80)
    gate = SoftmaxGate(alpha=0.0)
    fitted = TreeGate(gate, Tree(balanced_shape((2, 2)))).fit(X, resp, weight)
    mass = resp[:, :2].sum(axis=1)
    left = clone(gate).fit(X, resp[:, :2] / mass[:, None], weight * mass)
    np.testing.assert_allclose(fitted.gates_[1].coef_, left.coef_, atol=1e-5)


def test_densities_are_those_of_the_product_gate(four):
    X, y = four
    model = HierarchicalMoERegressor(branching=(2, 2), random_state=0).fit(X, y)
    logs = [
        log_softmax(X @ gate.coef_.T + gate.intercept_, axis=1)
        for gate in model.gate_.gates_
    ]
    log_gate = np.hstack([logs[0][:, [0]] + logs[1], logs[0][:, [1]] + logs[2]])
    np.testing.assert_allclose(np.exp(log_gate), model.gate_proba(X), rtol=1e-9)
    means = X @ np.array([e.coef_ for e in model.experts_]).T
    means += [e.intercept_ for e in model.experts_]
    sigma = np.array([x.sigma_ for x in model.likelihoods_])
    log_prob = -0.5 * ((y[:, None] - means) / sigma) ** 2
    log_prob -= np.log(sigma * np.sqrt(2 * np.pi))
    joint = np.exp(log_gate + log_prob)
    np.testing.assert_allclose(model.log_density(X, y), np.log(joint.sum(axis=1)))
    np.testing.assert_allclose(
        model.responsibilities(X, y), joint / joint.sum(axis=1, keepdims=True)
    )


@pytest.mark.parametrize("trainer", ["em", "hard-em"])
@pytest.mark.parametrize("gate", ["softmax", "constant", MLPGate((4,))])
def test_objective_never_falls(four, trainer, gate):
    model = HierarchicalMoERegressor(gate=gate, trainer=trainer, random_state=0)
    bounds = np.array(model.fit(*four).lower_bounds_)
    assert np.all(np.diff(bounds) >= -1e-9 * np.abs(bounds).max())


def test_one_level_is_the_flat_mixture(four):
    X, y = four
    exact = EM(tol=1e-12, max_refits=1000, max_iter=5000)
    tree = HierarchicalMoERegressor(branching=(4,), trainer=exact, random_state=0)
    flat = MoERegressor(n_experts=4, trainer=exact, random_state=0)
    tree.fit(X, y), flat.fit(X, y)
    np.testing.assert_allclose(
        tree.lower_bounds_[-1], flat.lower_bounds_[-1], rtol=1e-8
    )
    np.testing.assert_allclose(tree.predict(X), flat.predict(X), atol=1e-3)


def test_known_answer():
    """Planted tree of two levels; reference from 40 starts of a general optimiser."""
    table = pd.read_csv(FOLDER / "hme_sim.csv")
    X, y = table[["x1", "x2"]].to_numpy(), table["y"].to_numpy()
    model = HierarchicalMoERegressor(
        LinearExpert(alpha=0),
        branching=(2, 2),
        gate=SoftmaxGate(alpha=0),
        trainer=EM(max_refits=500, tol=1e-9),
        random_state=0,
    ).fit(X, y)
    assert model.log_likelihood_ > -1070.22177162831 - 1e-3
    assert model.n_parameters_ == 25
    planted = [[1, -1], [2, 0], [-2, 1.5], [0, 2]]
    found = np.array([e.coef_ for e in model.experts_])
    gaps = np.abs(found[:, None] - np.array(planted)).max(axis=2)
    assert gaps.min(axis=0).max() < 0.2


@pytest.mark.parametrize("expert", [Ridge(), DecisionTreeRegressor(max_depth=2)])
@pytest.mark.parametrize("branching", [(2, 2), (3, 2), (2, 2, 2), (1, 3)])
def test_leaves_are_any_experts(four, expert, branching):
    X, y = four
    model = HierarchicalMoERegressor(expert, branching, router=2, random_state=0)
    model.fit(X, y)
    assert model.score(X, y) > 0.5
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, model.predict(X[:5]))


def test_named_leaves(four):
    X, y = four
    experts = [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=2))]
    model = HierarchicalMoERegressor(experts, branching=(2,), random_state=0)
    assert list(model.fit(X, y).named_experts_) == ["a", "b"]
    with pytest.raises(ValueError, match="2 experts, but branching=.3,. has 3"):
        model.set_params(branching=(3,)).fit(X, y)


def test_paths_lead_to_the_most_probable_leaf(four):
    X, y = four
    model = HierarchicalMoERegressor(branching=(2, 2), random_state=0).fit(X, y)
    leaves, path = model.apply(X), model.decision_path(X)
    np.testing.assert_array_equal(leaves, model.gate_proba(X).argmax(axis=1))
    assert path.format == "csr"
    assert path.shape == (len(X), model.gate_.tree.n_nodes + model.n_experts_)
    first = path.toarray()[:, -model.n_experts_ :]
    np.testing.assert_array_equal(first.argmax(axis=1), leaves)
    assert np.all(path.toarray()[:, 0] == 1)


def test_members_have_trees_of_their_own(four):
    X, y = four
    model = HierarchicalMoERegressor(n_members=2, random_state=0).fit(X, y)
    assert model.apply(X).max() < model.n_experts_
    with pytest.raises(ValueError, match="ask each of members_"):
        model.decision_path(X)
    assert model.members_[0].decision_path(X).shape[0] == len(X)


def test_mixtures_nest(four):
    """A mixture of mixtures is trained level by level, by plain composition."""
    X, y = four
    inner = MoERegressor(n_experts=2, random_state=0)
    nested = MoERegressor([inner, Ridge()], random_state=0).fit(X, y)
    assert nested.score(X, y) > Ridge().fit(X, y).score(X, y)


def test_classes(classification):
    X, y = classification
    model = HierarchicalMoEClassifier(branching=(2, 2), random_state=0).fit(X, y)
    assert model.score(X, y) > 0.6
    nested = MoEClassifier(HierarchicalMoEClassifier(branching=(2,)), n_experts=2)
    assert nested.fit(X, y).predict_proba(X).shape == (len(X), 3)


@pytest.mark.parametrize("branching", [(), (0, 2), (2, 1.5), "grown", 4])
def test_bad_trees_are_refused(four, branching):
    with pytest.raises(ValueError, match="branching"):
        HierarchicalMoERegressor(branching=branching).fit(*four)


def test_more_leaves_than_rows_are_refused(four):
    X, y = four
    with pytest.raises(ValueError, match="64 experts need at least 64 rows"):
        HierarchicalMoERegressor(branching=(4, 4, 4)).fit(X[:50], y[:50])
