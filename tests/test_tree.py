"""The shape of trees, gates at their nodes, and the best paths down to the leaves."""

from itertools import product

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from skmoe._numerics.design import Design
from skmoe._numerics.tree import Tree, balanced_shape, flat
from skmoe.gates import (
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    GroupGate,
    MLPGate,
    SoftmaxGate,
)
from skmoe.gates._tree import TreeGate
from skmoe.routers import TopKRouter
from skmoe.trainers._gradient.gate import TreeNetworks

RNG = np.random.default_rng(0)
SHAPES = [
    balanced_shape((2, 2)),
    balanced_shape((3, 2)),
    balanced_shape((2, 2, 2)),
    (None, (None, (None, None)), None),
    (((None, None), None), (None, None, None)),
]


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


def best_paths(log_slots, tree, k):
    """Beam search of one row, spelled out: paths as tuples of slots."""
    children = {above: [] for above in {-1, *tree.above}}
    for slot, above in enumerate(tree.above):
        children[above].append(slot)
    front = [((), 0.0)]
    while True:
        found = []
        for path, log in front:
            last = path[-1] if path else -1
            if last in tree.leaves:
                found.append((path, log))
            else:
                found += [((*path, s), log + log_slots[s]) for s in children[last]]
        best = sorted(found, key=lambda p: (-p[1], p[0][-1]))[:k]
        if best == front:
            return {tree.leaves.index(path[-1]): log for path, log in front}
        front = best


@pytest.mark.parametrize(("shape", "k"), list(product(SHAPES, [1, 2, 3])))
def test_best_paths(shape, k):
    """The kernel, the generic search and the masked log-weights find the same."""
    tree, X = Tree(shape), RNG.normal(size=(40, 3))
    gate = TreeGate(SoftmaxGate(alpha=0.1), tree)
    gate.fit(X, RNG.dirichlet(np.full(tree.n_leaves, 0.2), size=40))
    routing = gate.route(X, TopKRouter(k))
    generic = gate._beam(X, k)
    np.testing.assert_array_equal(routing.indices, generic[0])
    np.testing.assert_allclose(routing.weights, generic[1], rtol=1e-9)
    masked = tree.on_beam(gate.predict_log_proba(X), k)
    assert np.all(np.isfinite(masked).sum(axis=1) == k)
    slots = gate.slot_log_proba(X)
    for i in range(len(X)):
        expected = best_paths(slots[i], tree, k)
        assert set(routing.indices[i]) == set(expected)
        assert set(np.flatnonzero(np.isfinite(masked[i]))) == set(expected)
        logs = np.array([expected[leaf] for leaf in routing.indices[i]])
        weights = np.exp(logs) / np.exp(logs).sum()
        np.testing.assert_allclose(routing.weights[i], weights, rtol=1e-9)
        assert np.all(np.diff(weights) <= 0)


def test_equal_paths_go_to_the_first():
    tree = Tree(balanced_shape((2, 2)))
    gate = TreeGate(SoftmaxGate(), tree)
    gate.gates_ = [SoftmaxGate() for _ in range(3)]
    for node in gate.gates_:
        node.coef_, node.intercept_ = np.zeros((2, 1)), np.zeros(2)
    X = np.zeros((5, 1))
    for indices in (gate.route(X, TopKRouter(2)).indices, gate._beam(X, 2)[0]):
        np.testing.assert_array_equal(indices, [[0, 1]] * 5)
    masked = tree.on_beam(np.log(np.full((1, 4), 0.25)), 2)
    np.testing.assert_array_equal(np.isfinite(masked), [[True, True, False, False]])


def test_a_beam_of_all_leaves_is_dense():
    tree, X = Tree(SHAPES[3]), RNG.normal(size=(20, 2))
    gate = TreeGate(SoftmaxGate(), tree).fit(X, RNG.dirichlet(np.ones(5), size=20))
    dense = np.exp(gate.predict_log_proba(X))
    np.testing.assert_allclose(gate.route(X, TopKRouter(5)).dense(), dense)
    np.testing.assert_array_equal(tree.on_beam(np.log(dense), 5), np.log(dense))


def test_only_gates_on_the_way_are_asked():
    class Counting(SoftmaxGate):
        def predict_log_proba(self, X):
            self.rows = len(X)
            return super().predict_log_proba(X)

    tree, X = Tree(balanced_shape((2, 2, 2))), RNG.normal(size=(64, 2))
    gate = TreeGate(Counting(), tree).fit(X, RNG.dirichlet(np.ones(8), size=64))
    gate.route(X, TopKRouter(1))
    asked = [getattr(node, "rows", 0) for node in gate.gates_]
    assert asked[0] == asked[1] + asked[2] == sum(asked[3:]) == 64


@pytest.mark.parametrize("gate", [SoftmaxGate(), MLPGate((4,))])
@pytest.mark.parametrize("shape", [*SHAPES, (None, None)])
@pytest.mark.parametrize("more", [0, 2])
def test_gradient_of_a_tree_of_networks(gate, shape, more):
    tree, X = Tree(shape), RNG.normal(size=(12, 3))
    networks = TreeNetworks(TreeGate(gate, tree), 3, tree.n_leaves + more)
    theta = RNG.normal(size=networks.n_parameters)
    push = RNG.normal(size=(12, tree.n_leaves + more))

    def value(at):
        return float(np.sum(push * networks.forward(X, at, 1.3)[0]))

    gradient = np.zeros_like(theta)
    _, kept = networks.forward(X, theta, 1.3)
    networks.backward(X, theta, kept, push, 1.3, gradient)
    moves = 1e-6 * np.eye(len(theta))
    found = [(value(theta + m) - value(theta - m)) / 2e-6 for m in moves]
    np.testing.assert_allclose(gradient, found, rtol=1e-5, atol=1e-7)


def test_the_fitted_tree_is_the_trained_one():
    tree, X = Tree(SHAPES[3]), RNG.normal(size=(12, 3))
    networks = TreeNetworks(TreeGate(SoftmaxGate(), tree), 3, 5)
    theta = networks.start(0, [np.random.default_rng(k) for k in range(5)])
    outputs, _ = networks.forward(X, theta, 0.7)
    design = (X, np.zeros(3), np.ones(3))
    fitted = networks.fitted(theta, 0.7, Design(*design))
    np.testing.assert_allclose(fitted.predict_log_proba(X), outputs, rtol=1e-9)


def test_flat_is_one_node():
    tree = flat(3)
    assert (tree.shape, tree.n_nodes, tree.depth) == ((None,) * 3, 1, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_along_paths(shape):
    tree = Tree(shape)
    slots, leaves = (
        RNG.normal(size=(5, tree.n_slots)),
        RNG.normal(size=(5, tree.n_leaves)),
    )
    np.testing.assert_allclose(tree.to_leaves(slots), slots @ tree.beneath)
    np.testing.assert_allclose(tree.to_slots(leaves), leaves @ tree.beneath.T)


@pytest.mark.parametrize("branching", [(2, 1), (1, 2), (2, 2, 1), (3, 1, 2)])
def test_nodes_are_never_empty(branching):
    """Whatever leaves go, in whatever order."""
    tree = Tree(balanced_shape(branching))
    while tree.n_leaves > 1:
        smaller, slots = tree.without(RNG.integers(tree.n_leaves))
        assert smaller.n_leaves == tree.n_leaves - 1
        assert min(smaller.widths) >= 1
        assert len(slots) == smaller.n_slots
        tree = smaller


def test_a_gate_of_a_classifier_weighs_rows_by_the_mass_of_its_node():
    X, resp = (
        np.zeros((3, 1)),
        np.array([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0, 0, 1.0]]),
    )
    tree = Tree((None, (None, None)))
    gate = TreeGate(ClassifierGate(DummyClassifier()), tree).fit(X, resp)
    exact = TreeGate(ConstantGate(), tree).fit(X, resp)
    np.testing.assert_allclose(
        gate.predict_log_proba(X), exact.predict_log_proba(X), atol=1e-9
    )


@pytest.mark.parametrize("gate", [GroupGate(0), ClassifierGate(), SoftmaxGate()])
def test_nodes_without_rows(gate):
    X, resp = np.arange(4.0)[:, None], np.zeros((4, 4))
    resp[:, 0] = 1.0
    fitted = TreeGate(gate, Tree(SHAPES[0])).fit(X, resp)
    proba = np.exp(fitted.predict_log_proba(X))
    assert np.all(proba[:, 0] > 0.5)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


def test_leaf_weights_of_many_linear_gates():
    """In one pass, as by the gates one by one, over more than one block of rows."""
    tree, X = Tree(SHAPES[4]), RNG.normal(size=(600, 3))
    gate = TreeGate(SoftmaxGate(), tree).fit(X, RNG.dirichlet(np.ones(6), size=600))
    expected = gate.slot_log_proba(X) @ tree.beneath
    np.testing.assert_allclose(gate.predict_log_proba(X), expected, atol=1e-12)
    assert gate.predict_log_proba(X[:0]).shape == (0, 6)


def test_generative_gates_give_joint_densities():
    X = RNG.normal(size=(50, 2))
    resp = RNG.dirichlet(np.ones(4), size=50)
    fitted = TreeGate(GaussianGate(), Tree(SHAPES[0])).fit(X, resp)
    parts = np.hstack([gate.log_joint(X) for gate in fitted.gates_])
    np.testing.assert_allclose(fitted.log_joint(X), parts @ fitted.tree.beneath)
    # Leaves of unequal depth are compared by their weights given x.
    uneven = TreeGate(GaussianGate(), Tree((None, (None, None)))).fit(X, resp[:, :3])
    np.testing.assert_allclose(uneven.log_joint(X), uneven.predict_log_proba(X))
