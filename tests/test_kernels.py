"""Every kernel against its naive twin, compiled and as plain Python."""

import os
import subprocess
import sys

import naive
import numpy as np
import pytest
from scipy.special import log_softmax

from skmoe._kernels import (
    blocks,
    coordinate,
    em,
    multinomial,
    network,
    predict,
    routing,
    vector,
)
from skmoe._numerics.design import empty_design, make_design, read_only
from skmoe._numerics.linalg import curvature_columns, n_pairs, use_exact_newton
from skmoe._numerics.network import ACTIVATIONS, Network
from skmoe._numerics.tree import Tree, balanced_shape, flat
from skmoe.routers._base import among, make_routing
from skmoe.trainers._gradient import objectives as _objectives

RNG = np.random.default_rng(0)
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
# Several blocks with a ragged end; plain Python gets by with fewer rows.
N_ROWS = 70 if PLAIN else 611


@pytest.fixture
def quadratic():
    """Hessian with a column of zeros, right side, penalties and a start."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 7))
    X[:, 3] = 0.0
    return X.T @ X, 20 * rng.normal(size=7), 25 * rng.random(7), rng.normal(size=7)


@pytest.mark.parametrize("n_sweeps", [1, 4])
def test_coordinate_descent(quadratic, n_sweeps):
    hessian, right, lasso, coef = quadratic
    expected = naive.coordinate_descent(hessian, right, lasso, coef, n_sweeps)
    swept = coordinate.coordinate_descent(hessian, right, lasso, coef, n_sweeps, 0.0)
    assert swept == n_sweeps
    np.testing.assert_allclose(coef, expected, rtol=1e-10)


def test_coordinate_descent_ends_at_the_least(quadratic):
    hessian, right, lasso, coef = quadratic
    swept = coordinate.coordinate_descent(hessian, right, lasso, coef, 1000, 1e-12)
    assert swept < 1000
    own = np.diag(hessian) > 0
    slope = (right - hessian @ coef)[own]
    coef, lasso = coef[own], lasso[own]
    assert 0 < np.count_nonzero(coef == 0.0) < len(coef)
    at_zero = coef == 0.0
    assert np.all(np.abs(slope[at_zero]) <= lasso[at_zero])
    inner = ~at_zero
    np.testing.assert_allclose(slope[inner], (lasso * np.sign(coef))[inner], rtol=1e-8)


@pytest.mark.parametrize("low", [-1e-8, -1.0, -40.0, -699.0])
def test_exp(low):
    values = np.linspace(low, 0.0, 501)
    expected = np.exp(values)
    vector.exp_inplace(values, np.empty_like(values))
    np.testing.assert_allclose(values, expected, rtol=4e-16 * 4)


def test_exp_underflows_and_keeps_nan():
    values = np.array([-1e9, -np.inf, np.nan, 0.0])
    vector.exp_inplace(values, np.empty_like(values))
    assert values[0] < 1e-300
    assert values[1] < 1e-300
    assert np.isnan(values[2])
    assert values[3] == 1.0


def test_log():
    values = np.r_[np.exp(np.linspace(-600, 600, 501)), np.linspace(0.6, 1.6, 501)]
    expected = np.log(values)
    vector.log_inplace(values, np.empty_like(values))
    np.testing.assert_allclose(values, expected, rtol=4e-16 * 2, atol=1e-16)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_log_marks_what_has_no_logarithm():
    values = np.array([np.nan, np.inf, 1.0])
    vector.log_inplace(values, np.empty_like(values))
    np.testing.assert_array_equal(values, [np.nan, np.nan, 0.0])


def test_softmax_columns_survives_huge_logits():
    logits = np.array([[1e5, -1e5, 3.0], [1e5 - 1, 0.0, 3.0]])
    peak, total = np.empty(3), np.empty(3)
    expected = naive.softmax(logits, axis=0)
    log_sum = naive.logsumexp(logits, axis=0)
    vector.softmax_columns(logits, peak, total, np.empty_like(logits))
    np.testing.assert_allclose(logits, expected, atol=1e-15)
    np.testing.assert_allclose(peak + np.log(total), log_sum, rtol=1e-15)


def test_one_hot_columns_takes_the_first_of_equals():
    values = np.array([[1.0, 0.0], [1.0, 2.0]])
    vector.one_hot_columns(values)
    np.testing.assert_array_equal(values, [[1, 0], [0, 1]])


def make_data(p_gate, p_expert, dtype):
    X = RNG.normal(size=(N_ROWS, p_gate)).astype(dtype) * 3 + 1
    weight = read_only(RNG.integers(0, 3, size=N_ROWS).astype(float))
    gate = make_design(X, weight) if p_gate else empty_design(N_ROWS)
    if p_expert is None:
        return gate, gate, weight
    other = RNG.normal(size=(N_ROWS, p_expert)).astype(dtype)
    return gate, make_design(other, weight), weight


def zero_statistics(tree, q_gate, q_expert, own, rows, shared):
    n_experts, columns = tree.n_leaves, tree.curves(q_gate)[-1]
    expert_shape = (0, 0) if shared else (n_pairs(q_expert), own)
    return em.Statistics(
        np.zeros(1),
        np.zeros(n_experts),
        np.zeros((tree.n_slots, q_gate)),
        np.zeros((n_pairs(q_gate), columns + own * shared)),
        np.zeros(expert_shape),
        np.zeros((n_experts * rows, q_expert)),
        np.zeros((n_experts, rows)),
    )


def compare(statistics, expected, shared):
    found = statistics._asdict()
    columns = expected["gate_gram"].shape[1]
    if shared:
        found["expert_gram"] = found["gate_gram"][:, columns:]
        found["gate_gram"] = found["gate_gram"][:, :columns]
    found["total"] = found["total"][0]
    for name in expected.keys() & found.keys():
        value = expected[name]
        scale = np.abs(value).max() + 1e-300
        np.testing.assert_allclose(
            found[name] / scale, value / scale, rtol=1e-9, atol=1e-12, err_msg=name
        )


DESIGNS = [(3, None), (3, 2), (0, 2), (25, None)]


TREES = [
    flat(2),
    flat(4),
    Tree(balanced_shape((2, 2))),
    Tree((None, (None, (None, None, None)), None)),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("designs", DESIGNS)
@pytest.mark.parametrize("tree", TREES, ids=lambda tree: str(tree.shape))
@pytest.mark.parametrize(
    ("n_outputs", "n_active", "hard"),
    [(1, 9, False), (2, 9, False), (1, 2, False), (1, 1, False), (1, 9, True)],
)
def test_gaussian_pass(designs, dtype, tree, n_outputs, n_active, hard):
    gate, expert, weight = make_data(*designs, dtype)
    q_gate, q_expert = gate.X.shape[1] + 1, expert.X.shape[1] + 1
    n_experts, n_active = tree.n_leaves, min(n_active, tree.n_leaves)
    theta = (
        RNG.normal(size=(tree.n_slots, q_gate)),
        RNG.normal(size=(n_experts * n_outputs, q_expert)),
        RNG.normal(size=(n_experts, n_outputs)),
    )
    Y = read_only(RNG.normal(size=(N_ROWS, n_outputs)))
    shared = expert is gate
    rule, branches = em.Rule(n_active, hard, shared, False), tree.branches(q_gate)
    found = zero_statistics(tree, q_gate, q_expert, n_experts, n_outputs, shared)
    for rows in ((0, 30), (30, N_ROWS)):
        em.gaussian_pass(gate, expert, Y, weight, theta, rule, branches, found, *rows)
    expected = naive.gaussian_statistics(gate, expert, Y, weight, theta, rule, tree)
    compare(found, expected, shared)


@pytest.mark.parametrize("designs", DESIGNS)
@pytest.mark.parametrize("tree", TREES, ids=lambda tree: str(tree.shape))
@pytest.mark.parametrize(
    ("n_classes", "n_active", "hard"),
    [(2, 9, False), (3, 9, False), (11, 2, False), (2, 9, True)],
)
@pytest.mark.parametrize("n_offset", [0, N_ROWS])
def test_categorical_pass(designs, tree, n_classes, n_active, hard, n_offset):
    gate, expert, weight = make_data(*designs, np.float64)
    q_gate, q_expert = gate.X.shape[1] + 1, expert.X.shape[1] + 1
    n_experts, n_active = tree.n_leaves, min(n_active, tree.n_leaves)
    theta = (
        RNG.normal(size=(tree.n_slots, q_gate)),
        RNG.normal(size=(n_experts * n_classes, q_expert)),
    )
    labels = em.Labels(
        read_only(RNG.integers(0, n_classes, N_ROWS)),
        read_only(RNG.normal(size=(n_offset, n_classes))),
    )
    shared, exact = expert is gate, use_exact_newton(n_classes, q_expert)
    rule, branches = em.Rule(n_active, hard, shared, exact), tree.branches(q_gate)
    own = n_experts * curvature_columns(n_classes, q_expert)
    found = zero_statistics(tree, q_gate, q_expert, own, n_classes, shared)
    em.categorical_pass(
        gate, expert, labels, weight, theta, rule, branches, found, 0, N_ROWS
    )
    expected = naive.categorical_statistics(
        gate, expert, labels, weight, theta, rule, tree
    )
    compare(found, expected, shared)


@pytest.mark.parametrize("n_classes", [2, 5, 12])
@pytest.mark.parametrize("n_offset", [0, N_ROWS])
def test_multinomial_pass(n_classes, n_offset):
    design, _, weight = make_data(20, None, np.float64)
    targets = read_only(RNG.random((N_ROWS, n_classes)))
    offset = read_only(RNG.normal(size=(n_offset, n_classes)))
    coef = RNG.normal(size=(n_classes, 21))
    exact = use_exact_newton(n_classes, 21)
    found = (
        np.zeros(1),
        np.zeros_like(coef),
        np.zeros((n_pairs(21), curvature_columns(n_classes, 21))),
    )
    multinomial.multinomial_pass(
        *design, targets, offset, weight, coef, exact, found, 0, N_ROWS
    )
    expected = naive.multinomial_statistics(
        design, targets, offset, weight, coef, exact
    )
    expected = (np.array([expected[0]]), *expected[1:])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_gram_pass():
    design, _, _ = make_data(4, None, np.float64)
    weights, targets = RNG.random((N_ROWS, 3)), RNG.normal(size=(N_ROWS, 2))
    grams, products = np.zeros((n_pairs(5), 3)), np.zeros((2, 5))
    blocks.gram_pass(*design, weights, targets, grams, products, 0, N_ROWS)
    Z = naive.standardise(design)
    np.testing.assert_allclose(grams, naive.grams(Z, weights), rtol=1e-10)
    np.testing.assert_allclose(products, targets.T @ Z, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_rows(k):
    log_gate = np.log(RNG.dirichlet(np.ones(5), size=40))
    log_gate[:5] = np.log(0.2)
    indices, weights = np.empty((40, k), dtype=np.intp), np.empty((40, k))
    routing.top_k_rows(log_gate, indices, weights)
    expected = naive.top_k(log_gate, k)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(weights, expected[1], rtol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_first_fault_is_the_naive_one(seed):
    """Routings with at most a few faults are judged as by plain rules."""
    rng = np.random.RandomState(seed)
    indices = np.array([rng.permutation(5)[:3] for _ in range(6)])
    weights = rng.dirichlet(np.ones(3), size=6)
    indices[1, 2], weights[1] = -1, [0.25, 0.75, 0.0]
    ugly = [5, -2, np.iinfo(np.int64).min, -1, indices[3, 0]]
    for _ in range(seed % 4):
        row, slot = rng.randint(6), rng.randint(3)
        if rng.rand() < 0.5:
            indices[row, slot] = ugly[rng.randint(len(ugly))]
        else:
            weights[row, slot] = rng.choice([np.nan, np.inf, -np.inf, -0.1, 2.0, 0.0])
    for tolerance in (1e-6, np.inf):
        found = routing.first_fault(indices, weights, 5, tolerance)
        assert tuple(map(int, found)) == naive.first_fault(
            indices, weights, 5, tolerance
        )


def test_group_slots():
    indices = RNG.integers(-1, 4, size=(50, 2))
    order, bounds = routing.group_slots(indices, 4)
    for k in range(4):
        own = order[bounds[k] : bounds[k + 1]]
        np.testing.assert_array_equal(own, np.flatnonzero(indices.ravel() == k))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("activation", [0, 1, 2])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (3, 5, 4, 1)])
@pytest.mark.parametrize("n_frequencies", [0, 4])
def test_network(sizes, activation, dropout, n_frequencies):
    names = {number: name for name, number in ACTIVATIONS.items()}
    net = Network(sizes, names[activation], n_frequencies, 0.3)
    theta = net.start(RNG) + 0.1 * RNG.normal(size=net.n_parameters)
    X, delta = RNG.normal(size=(7, 3)), RNG.normal(size=(7, sizes[-1]))
    masks, flat = None, np.zeros(0)
    if dropout:
        masks = [(RNG.random((7, h)) >= dropout) / (1 - dropout) for h in sizes[1:-1]]
        flat = np.concatenate([np.zeros(0), *(mask.ravel() for mask in masks)])
    work = np.empty(7 * sum(sizes[1:]))
    outputs = network.forward(X, theta, *net.arguments, flat, work)
    given = net.layers(theta), activation
    embedded = naive.embedded(X, net.frequencies(theta)) if n_frequencies else X
    expected, _ = naive.network(embedded, *given, masks)
    np.testing.assert_allclose(outputs, expected, atol=1e-14)
    gradient = np.zeros_like(theta)
    kept = 1 - dropout
    network.backward(X, theta, *net.arguments, flat, kept, work, delta, gradient)
    expected, inward = naive.network_gradient(embedded, *given, delta, masks)
    np.testing.assert_allclose(gradient[3 * n_frequencies :], expected, atol=1e-13)
    if n_frequencies:
        own = naive.frequency_gradient(X, net.frequencies(theta), inward)
        np.testing.assert_allclose(net.frequencies(gradient), own, atol=1e-13)


def test_routed_networks():
    """Each network sees its own rows only; all other slots stay as they are."""
    net = Network((3, 4, 2), "tanh")
    size = net.n_parameters
    theta = RNG.normal(size=3 * size + 5)
    offsets = np.array([5, -1, 5 + size])
    X = RNG.normal(size=(9, 3))
    indices = np.array([RNG.permutation(3)[:2] for _ in range(9)])
    indices[4, 1] = -1
    slots, bounds = routing.group_slots(indices, 3)
    inputs, work = np.empty((len(slots), 3)), np.empty(len(slots) * 6)
    outputs = np.full((9, 2, 2), 7.0)
    layout = slots, bounds, offsets, *net.arguments, theta
    network.experts_forward(X, *layout, np.zeros(0), inputs, work, outputs)
    deltas, gradient = RNG.normal(size=(9, 2, 2)), np.zeros_like(theta)
    network.experts_backward(*layout, np.zeros(0), 1.0, inputs, work, deltas, gradient)
    expected = np.zeros_like(theta)
    for expert in (0, 2):
        own = slice(offsets[expert], offsets[expert] + size)
        rows, place = np.nonzero(indices == expert)
        layers = net.layers(theta[own])
        values, _ = naive.network(X[rows], layers, 2)
        np.testing.assert_allclose(outputs[rows, place], values, atol=1e-14)
        push = deltas[rows, place]
        expected[own], _ = naive.network_gradient(X[rows], layers, 2, push)
    np.testing.assert_allclose(gradient, expected, atol=1e-13)
    assert np.all(outputs[indices == 1] == 7.0)
    assert np.all(outputs[indices == -1] == 7.0)


@pytest.mark.parametrize("n_experts", [1, 3, 64, 2000])
def test_log_softmax_rows(n_experts):
    values = 50 * RNG.normal(size=(130, n_experts))
    values[0, 0], values[1] = 1e4, -1e4
    found = values.copy()
    vector.log_softmax_rows(found)
    np.testing.assert_allclose(found, log_softmax(values, axis=1), atol=1e-12)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("normalised", [True, False])
def test_slopes_of_slots(given, normalised):
    n, n_experts, d = 40, 5, 2
    log_gate = log_softmax(RNG.normal(size=(n, n_experts)), axis=1)
    indices = np.argsort(-log_gate, axis=1)[:, :3].astype(np.int64)
    indices[4, 2], indices[7] = -1, -1
    route = make_routing(log_gate, indices, normalised=normalised)
    y, weight = RNG.normal(size=(n, d)), RNG.uniform(0.5, 2.0, size=n)
    resp = RNG.dirichlet(np.ones(3), size=n) if given else None
    arguments = y, weight, indices, route.weights, RNG.normal(size=(n, 3, d)), resp
    log_variance = 0.3 * RNG.normal(size=(n_experts, d))
    found = _objectives.gaussian_likelihood(*arguments, log_variance)
    expected = naive.gaussian_slots(*arguments, log_variance)
    used = (indices >= 0)[:, :, None]
    np.testing.assert_allclose(found.value, expected.value)
    for name in ("weighted", "log_variance", "resp"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, atol=1e-13)
    np.testing.assert_allclose(
        found.predictions, expected.predictions * used, atol=1e-13
    )
    rivals = (indices[:, :, None] == np.arange(n_experts)).any(axis=1)
    push = found.weighted, indices, among(log_gate, rivals | (not normalised))
    np.testing.assert_allclose(
        _objectives.weights_to_logits(*push), naive.slots_to_logits(*push), atol=1e-13
    )


def test_gather():
    X, center, inverse = RNG.normal(size=(6, 2)), RNG.normal(size=2), np.array([2.0, 3])
    rows, out = np.array([4, 1, 1]), np.empty((3, 2))
    network.gather(X, center, inverse, rows, out)
    np.testing.assert_allclose(out, (X[rows] - center) * inverse)


def test_adam_step():
    theta, gradient = RNG.normal(size=5), RNG.normal(size=5)
    first, second = RNG.normal(size=5), RNG.uniform(size=5)
    decay = np.array([0.0, 0, 0.1, 0.1, 0])
    bounds, rates = np.array([[0, 2], [2, 3], [3, 5]]), np.array([0.01, 0.02, 0.03])
    steps, due = np.array([2, 5, 0]), np.array([1.0, 2.0, 4.0])
    touched = np.array([2, 0])
    own = theta, gradient, first, second
    expected = naive.adam(*own, decay, rates, bounds, touched, steps, due)
    moments = first, second
    how = decay, rates, (0.9, 0.999), bounds, touched, steps, due
    network.adam_step(theta, gradient, moments, *how)
    np.testing.assert_allclose(theta, expected[0], rtol=1e-12)
    np.testing.assert_allclose(first, expected[1])
    np.testing.assert_allclose(second, expected[2])
    np.testing.assert_array_equal(steps, [3, 5, 1])
    np.testing.assert_array_equal(gradient == 0, [True, True, False, True, True])


def test_norm_of_segments():
    gradient = RNG.normal(size=5)
    bounds = np.array([[0, 2], [2, 3], [3, 5]])
    found = network.squared_norm(gradient, bounds, np.array([0, 2]))
    np.testing.assert_allclose(found, np.sum(gradient[[0, 1, 3, 4]] ** 2))


def test_penalties_of_segments():
    theta, ridge = RNG.normal(size=12), RNG.uniform(size=12)
    bounds = np.array([[0, 2], [2, 6], [6, 8], [8, 10], [10, 12]])
    scaled, due = np.array([-1, 8, 10, -1, -1]), np.array([1.0, 3.0, 1.0, 1.0, 1.0])
    for touched in ([0, 1, 3], [0, 1, 2, 3, 4]):
        own = theta, ridge, bounds, np.array(touched), due, scaled, 2
        gradient = np.zeros(12)
        network.add_penalty(*own, gradient)
        np.testing.assert_allclose(gradient, naive.penalties(*own), rtol=1e-12)


@pytest.mark.parametrize("take_next", [True, False])
@pytest.mark.parametrize("capacity", [[1] * 4, [3] * 4, [100] * 4, [1, 9, 0, 4]])
def test_assign_within_capacity(take_next, capacity):
    capacity = np.array(capacity)
    choices = np.array([RNG.permutation(4) for _ in range(15)])
    wanted, priority = RNG.random((15, 2)) < 0.8, RNG.permutation(15)
    indices = np.empty((15, 2), dtype=np.int64)
    overflow = routing.assign_within_capacity(
        choices, wanted, priority, capacity, take_next, indices
    )
    expected = naive.within_capacity(choices, wanted, priority, capacity, take_next)
    np.testing.assert_array_equal(indices, expected[0])
    assert overflow == expected[1]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("k", [1, 2, 4])
def test_hash_to_experts(k):
    bits = RNG.integers(0, 2**63, size=(20, 3)).astype(np.uint64)
    indices = np.empty((20, k), dtype=np.int64)
    routing.hash_to_experts(bits, np.uint64(5), 4, indices)
    expected = [naive.hashed_experts(row, 5, 4, k) for row in bits]
    np.testing.assert_array_equal(indices, expected)


@pytest.mark.parametrize(("size", "most"), [(6, 2), (12, 4), (3, 1), (5, 2)])
def test_fill_places(size, most):
    for _ in range(20):
        order, taken = RNG.permutation(48), np.zeros((12, 4), dtype=bool)
        routing.fill_places(order, size, most, taken)
        expected = naive.filled_places(order, size, most, (12, 4))
        np.testing.assert_array_equal(taken, expected)
        assert np.all(taken.sum(axis=0) == size)
        assert taken.sum(axis=1).max() <= most


@pytest.mark.parametrize(("size", "most"), [(6, 2), (15, 4), (5, 1), (30, 4)])
def test_settle_prices(size, most):
    weights = RNG.dirichlet(np.ones(4), size=30)
    prices = np.sort(weights, axis=0)[30 - size].copy()
    routing.settle_prices(weights, size, most, 7, -1.0, prices)
    expected = naive.settled_prices(weights, size, most, 7)
    np.testing.assert_allclose(prices, expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_row_keys():
    bits = RNG.integers(0, 2**63, size=(20, 3)).astype(np.uint64)
    keys = routing.row_keys(bits, np.uint64(5))
    assert keys.tolist() == [naive.row_key(row, 5) for row in bits]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_deal_out(k):
    frequencies = np.sort(RNG.integers(1, 9, size=12))[::-1].copy()
    load, indices = np.array([5, 0, 0, 2]), np.empty((12, k), dtype=np.int64)
    expected = naive.dealt_out(frequencies, load, k)
    routing.deal_out(frequencies, load, indices)
    assert (indices.tolist(), load.tolist()) == expected


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_sparse_linear_mean(k, n_outputs):
    X, center = RNG.normal(size=(N_ROWS, 4)), RNG.normal(size=4)
    inverse = RNG.uniform(0.5, 2, size=4)
    gate, experts = RNG.normal(size=(6, 5)), RNG.normal(size=(6, n_outputs, 5))
    out = np.zeros((N_ROWS, n_outputs))
    predict.sparse_linear_mean(X, center, inverse, gate, experts, k, out, 0, N_ROWS)
    Z = np.column_stack([(X - center) * inverse, np.ones(N_ROWS)])
    expected = naive.sparse_mean(Z, gate, experts, k)
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(PLAIN, reason="this is the run without compilation")
def test_kernels_as_plain_python():
    """The same tests without the compiler, where every index is checked."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", __file__]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_routed_linear_mean(n_outputs):
    X, coef = RNG.normal(size=(30, 3)), RNG.normal(size=(5, n_outputs, 4))
    indices, weights = RNG.integers(-1, 5, size=(30, 2)), RNG.random((30, 2))
    out = np.zeros((30, n_outputs))
    for rows in ((0, 10), (10, 30)):
        predict.routed_linear_mean(X, indices, weights, coef, out, *rows)
    means = np.einsum("nj,kdj->nkd", np.column_stack([X, np.ones(30)]), coef)
    for i in range(30):
        pairs = zip(indices[i], weights[i], strict=True)
        expected = sum(w * means[i, k] for k, w in pairs if k >= 0)
        np.testing.assert_allclose(out[i], expected * np.ones(n_outputs), atol=1e-12)
