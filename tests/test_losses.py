"""Auxiliary losses and objectives: values, and gradients by finite differences."""

import naive
import numpy as np
import pytest
from sklearn.base import clone

from skmoe import (
    HierarchicalMoERegressor,
    MoERegressor,
    losses,
    routers,
    trainers,
)
from skmoe._numerics.tree import Tree
from skmoe.datasets import make_regimes
from skmoe.losses import (
    EntropyLoss,
    GateBatch,
    HierarchicalBalancingLoss,
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    MutualInformationLoss,
    ParameterPenaltyLoss,
    RouterZLoss,
    SlotBalancingLoss,
)
from skmoe.routers import (
    DenseRouter,
    NoisyTopKRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
from skmoe.routers._base import active_mask, among, make_routing
from skmoe.trainers import Gradient, Recipe, Rows
from skmoe.trainers._gradient import objectives
from skmoe.trainers._gradient.task import GradientTask, Phase
from skmoe.trainers._task import Task

N, K = 12, 4
LOSSES = {
    "importance": ImportanceLoss(),
    "load": LoadLoss(),
    "balancing": LoadBalancingLoss(),
    "z": RouterZLoss(),
    "information": MutualInformationLoss(),
    "entropy": EntropyLoss(0.1),
    "slots": SlotBalancingLoss(),
    "hierarchical": HierarchicalBalancingLoss(),
    "penalty": ParameterPenaltyLoss([1.0, 2.0, 8.0, 4.0]),
}


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=1)[:, None]


def gate_batch(outputs, router, draws):
    """Batch of noisy top-k with fixed noise."""

    class Fixed:
        def standard_normal(self, shape):
            return draws

    logits, pull = router.perturb(outputs, Fixed())
    routing = router.route(log_softmax(logits))
    return GateBatch(outputs, logits, routing, router), pull


def numeric(function, at, step=1e-6):
    slope = np.empty(at.size)
    for i in range(at.size):
        move = np.zeros(at.size)
        move[i] = step
        move = move.reshape(at.shape)
        slope[i] = (function(at + move) - function(at - move)) / (2 * step)
    return slope.reshape(at.shape)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name):
    rng = np.random.default_rng(0)
    loss, router = LOSSES[name], NoisyTopKRouter(2)
    draws, outputs = rng.normal(size=(N, K)), rng.normal(size=(N, 2 * K))

    def value(at):
        return loss.value_and_slopes(gate_batch(at, router, draws)[0])[0]

    batch, pull = gate_batch(outputs, router, draws)
    _, slopes = loss.value_and_slopes(batch)
    slope = np.zeros_like(outputs) if slopes.outputs is None else slopes.outputs
    push = np.zeros((N, K)) if slopes.logits is None else slopes.logits
    if slopes.weights is not None:
        weighted = slopes.weights * batch.routing.weights
        log_gate = log_softmax(batch.logits)
        push = push + objectives.weights_to_logits(
            weighted, batch.routing.indices, shared(log_gate, batch.routing)
        )
    np.testing.assert_allclose(
        slope + pull(push), numeric(value, outputs), rtol=1e-5, atol=1e-8
    )


def plain_batch(logits, k=1):
    router = TopKRouter(k)
    return GateBatch(logits, logits, router.route(log_softmax(logits)), router)


def test_values_at_uniform_and_collapsed_gates():
    even = np.tile(np.eye(K) * 1e-9, (3, 1))
    assert LoadBalancingLoss(0.01).value_and_slopes(plain_batch(even))[
        0
    ] == pytest.approx(0.01)
    assert ImportanceLoss().value_and_slopes(plain_batch(even))[0] == pytest.approx(0)
    collapsed = np.tile([50.0, 0, 0, 0], (N, 1))
    value, _ = LoadBalancingLoss(0.01).value_and_slopes(plain_batch(collapsed))
    assert value == pytest.approx(0.01 * K)
    value, _ = ImportanceLoss(1.0).value_and_slopes(plain_batch(collapsed))
    assert value == pytest.approx(K - 1)
    sharp = np.tile(np.eye(K) * 50.0, (3, 1))
    value, _ = MutualInformationLoss(1.0).value_and_slopes(plain_batch(sharp))
    assert value == pytest.approx(-np.log(K))
    value, _ = RouterZLoss(1.0).value_and_slopes(plain_batch(np.zeros((N, K))))
    assert value == pytest.approx(np.log(K) ** 2)


def softmax(logits):
    return np.exp(log_softmax(logits))


LOGITS = np.random.default_rng(5).normal(size=(60, K))


def test_entropy_is_that_of_the_rows():
    proba = softmax(LOGITS)
    expected = np.mean([-sum(p * np.log(p) for p in row) for row in proba])
    value, _ = EntropyLoss(2.0).value_and_slopes(plain_batch(LOGITS))
    assert value == pytest.approx(2.0 * expected)
    value, slopes = EntropyLoss().value_and_slopes(
        plain_batch(np.where(np.eye(K)[:1] > 0, 0.0, -np.inf) + np.zeros((3, K)))
    )
    assert value == 0
    assert np.isfinite(slopes.logits).all()


def test_slots_are_balanced_each_by_itself():
    """GShard's loss of first places, and half of that of second ones among the rest."""
    first, second = np.argsort(-LOGITS, axis=1)[:, :2].T
    proba = softmax(LOGITS)
    gshard = sum(np.mean(first == e) * proba[:, e].mean() for e in range(K)) * K
    rest = proba.copy()
    rest[np.arange(60), first] = 0.0
    rest /= rest.sum(axis=1, keepdims=True)
    later = sum(np.mean(second == e) * rest[:, e].mean() for e in range(K)) * K
    batch = plain_batch(LOGITS, 2)
    for loss, expected in [
        (SlotBalancingLoss(1.0), gshard + 0.5 * later),
        (SlotBalancingLoss(1.0, 1), gshard),
        (SlotBalancingLoss(1.0, 2), gshard + 0.5 * later),
    ]:
        assert loss.value_and_slopes(batch)[0] == pytest.approx(expected)
    one = LoadBalancingLoss(1.0).value_and_slopes(plain_batch(LOGITS))[0]
    assert one == pytest.approx(gshard)


# Shapes, and their nodes as the leaves beneath each child.
TREES = [
    (
        ((None, None), (None, None)),
        [[[0, 1], [2, 3]], [[0], [1]], [[2], [3]]],
    ),
    (
        (None, (None, (None, None))),
        [[[0], [1, 2, 3]], [[1], [2, 3]], [[2], [3]]],
    ),
]


@pytest.mark.parametrize(("shape", "nodes"), TREES)
def test_every_node_is_balanced(shape, nodes):
    tree, proba = Tree(shape), softmax(LOGITS)
    wanted, expected = LOGITS.argmax(axis=1), 0.0
    for children in nodes:
        mass = [proba[:, own].sum(axis=1).mean() for own in children]
        share = [np.isin(wanted, own).mean() for own in children]
        pairs = zip(share, mass, strict=True)
        expected += len(children) * sum(f * m / sum(mass) for f, m in pairs)
    expected /= tree.depth
    loss, batch = HierarchicalBalancingLoss(1.0), plain_batch(LOGITS)
    value, slopes = loss.value_and_slopes(batch._replace(tree=tree))
    assert value == pytest.approx(expected)

    def of_logits(at):
        return loss.value_and_slopes(plain_batch(at)._replace(tree=tree))[0]

    np.testing.assert_allclose(slopes.logits, numeric(of_logits, LOGITS), atol=1e-7)


def test_a_flat_gate_is_a_tree_of_one_node():
    for k in (1, 2):
        batch = plain_batch(LOGITS, k)
        flat = LoadBalancingLoss(1.0).value_and_slopes(batch)
        node = HierarchicalBalancingLoss(1.0).value_and_slopes(batch)
        assert node[0] == pytest.approx(flat[0])
        np.testing.assert_allclose(node[1].logits, flat[1].logits)


def test_large_experts_are_dear():
    batch = plain_batch(LOGITS, 2)
    equal = ParameterPenaltyLoss([3, 3, 3, 3], 1.0).value_and_slopes(batch)
    plain = LoadBalancingLoss(1.0).value_and_slopes(batch)
    assert equal[0] == pytest.approx(plain[0])
    np.testing.assert_allclose(equal[1].logits, plain[1].logits)
    proba, best = softmax(LOGITS), np.argsort(-LOGITS, axis=1)[:, :2]
    share = [np.mean(best == e) for e in range(K)]
    expected = K * sum(
        s * f * p
        for s, f, p in zip(
            [0.125, 0.25, 1.0, 0.5], share, proba.mean(axis=0), strict=True
        )
    )
    loss = ParameterPenaltyLoss([1, 2, 8, 4], 1.0)
    assert loss.value_and_slopes(batch)[0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="3 sizes, but there are 4"):
        ParameterPenaltyLoss([1, 2, 3]).value_and_slopes(batch)


@pytest.mark.parametrize(
    "loss",
    [
        ParameterPenaltyLoss("small"),
        ParameterPenaltyLoss([1.0, -1.0]),
        SlotBalancingLoss(n_slots=0),
        SlotBalancingLoss(n_slots=True),
        LoadBalancingLoss("a"),
        EntropyLoss(True),
    ],
    ids=repr,
)
def test_parameters_of_losses_are_checked(loss):
    with pytest.raises(ValueError, match=f"{type(loss).__name__} got .*but expected"):
        loss.check()


def test_z_loss_stays_finite():
    value, slopes = RouterZLoss().value_and_slopes(plain_batch(np.full((N, K), 1e4)))
    assert np.isfinite(value)
    assert np.isfinite(slopes.logits).all()


def test_load_loss_spreads_a_collapsed_gate():
    """Gradient descent on the loss alone, from a gate that prefers one expert."""
    rng = np.random.default_rng(0)
    router, loss = NoisyTopKRouter(1), LoadLoss()
    start = np.r_[3.0, np.zeros(2 * K - 1)]
    outputs = np.tile(start, (256, 1))
    plain = router.route(log_softmax(outputs[:, :K])).load
    assert plain.max() == K * plain.mean()
    for _ in range(400):
        batch, pull = gate_batch(outputs, router, rng.normal(size=(256, K)))
        _, slopes = loss.value_and_slopes(batch)
        outputs -= 5.0 * np.sum(slopes.outputs + pull(slopes.logits), axis=0)
    many = np.tile(outputs, (40, 1))
    load = gate_batch(many, router, rng.normal(size=(256 * 40, K)))[0].routing.load
    np.testing.assert_allclose(load / load.mean(), 1, atol=0.1)


def test_load_loss_needs_noise():
    batch = plain_batch(np.zeros((N, K)))
    with pytest.raises(ValueError, match="NoisyTopKRouter"):
        LoadLoss().value_and_slopes(batch)


@pytest.mark.parametrize("loss", [c(-1.0) for c in (ImportanceLoss, RouterZLoss)])
def test_bad_weight_is_refused(loss):
    with pytest.raises(ValueError, match="weight=-1.0"):
        loss.check()


# -- objectives ----------------------------------------------------------------

ROUTINGS = ["normalised", "probability", "dropped"]


def routed(logits, kind):
    log_gate = log_softmax(logits)
    indices = np.argsort(-log_gate, axis=1)[:, :2]
    if kind == "dropped":
        indices[::3] = -1
    return make_routing(log_gate, indices, normalised=kind == "normalised"), log_gate


def shared(log_gate, routing, normalised=True):
    """Log-weights among the experts that share a row's weight."""
    rivals = active_mask(routing.indices, log_gate.shape[1])
    return among(log_gate, rivals | (not normalised))


def mixed_density(weights, log_prob, log_fallback):
    """Log-density with the fallback, from which an unnormalised gate learns."""
    rest = np.maximum(1 - weights.sum(axis=1), 0)
    return np.log(np.sum(weights * np.exp(log_prob), 1) + rest * np.exp(log_fallback))


@pytest.mark.parametrize("kind", ROUTINGS)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_gaussian_gradient(kind, n_outputs):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(N, K)), rng.normal(size=(N, n_outputs))
    predictions = rng.normal(size=(N, 2, n_outputs))
    log_variance = rng.normal(size=(K, n_outputs)) * 0.3
    weight = rng.uniform(0.5, 2, size=N)

    def slope(logits, predictions, log_variance):
        routing, log_gate = routed(logits, kind)
        found = objectives.gaussian_likelihood(
            y,
            weight,
            routing.indices,
            routing.weights,
            predictions,
            None,
            log_variance,
        )
        return found, objectives.weights_to_logits(
            found.weighted,
            routing.indices,
            shared(log_gate, routing, kind == "normalised"),
        )

    found, push = slope(logits, predictions, log_variance)
    close = {"rtol": 1e-5, "atol": 1e-8}

    def gate_loss(logits):
        routing, _ = routed(logits, kind)
        own = log_variance[routing.indices]
        log_prob = naive.gaussian_log_prob(y, predictions, own)
        fallback = -0.5 * np.sum(y**2 + np.log(2 * np.pi), axis=1)
        return -weight @ mixed_density(routing.weights, log_prob, fallback) / N

    np.testing.assert_allclose(push, numeric(gate_loss, logits), **close)
    used = routed(logits, kind)[0].indices >= 0
    np.testing.assert_allclose(
        found.predictions * used[:, :, None],
        numeric(lambda a: slope(logits, a, log_variance)[0][0], predictions),
        **close,
    )
    np.testing.assert_allclose(
        found.log_variance,
        numeric(lambda a: slope(logits, predictions, a)[0][0], log_variance),
        **close,
    )


@pytest.mark.parametrize("kind", ROUTINGS)
def test_categorical_gradient(kind):
    rng = np.random.default_rng(0)
    logits, codes = rng.normal(size=(N, K)), rng.integers(0, 3, size=N)
    predictions = rng.normal(size=(N, 2, 3))
    weight, prior = rng.uniform(0.5, 2, size=N), np.log([0.2, 0.3, 0.5])

    def slope(logits, predictions):
        routing, log_gate = routed(logits, kind)
        found = objectives.categorical_likelihood(
            codes,
            weight,
            routing.indices,
            routing.weights,
            predictions,
            None,
            prior[codes],
        )
        return found, objectives.weights_to_logits(
            found.weighted,
            routing.indices,
            shared(log_gate, routing, kind == "normalised"),
        )

    found, push = slope(logits, predictions)
    close = {"rtol": 1e-5, "atol": 1e-8}

    def gate_loss(logits):
        routing, _ = routed(logits, kind)
        log_prob = log_softmax(predictions.reshape(-1, 3)).reshape(N, 2, 3)
        log_prob = log_prob[np.arange(N), :, codes]
        return -weight @ mixed_density(routing.weights, log_prob, prior[codes]) / N

    np.testing.assert_allclose(push, numeric(gate_loss, logits), **close)
    used = routed(logits, kind)[0].indices >= 0
    np.testing.assert_allclose(
        found.predictions * used[:, :, None],
        numeric(lambda a: slope(logits, a)[0][0], predictions),
        **close,
    )


def test_squared_error_gradient():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(N, K)), rng.normal(size=(N, 2))
    predictions, weight = rng.normal(size=(N, 2, 2)), rng.uniform(0.5, 2, size=N)

    def slope(logits, predictions):
        routing, log_gate = routed(logits, "normalised")
        found = objectives.squared_error(
            y, weight, routing.indices, routing.weights, predictions, None, None
        )
        return found, objectives.weights_to_logits(
            found.weighted, routing.indices, shared(log_gate, routing)
        )

    found, push = slope(logits, predictions)
    np.testing.assert_allclose(
        push, numeric(lambda a: slope(a, predictions)[0][0], logits), rtol=1e-5
    )
    np.testing.assert_allclose(
        found.predictions,
        numeric(lambda a: slope(logits, a)[0][0], predictions),
        rtol=1e-5,
        atol=1e-9,
    )


def test_switch_gate_learns_who_beats_the_fallback():
    """With one expert per row the gate still gets a gradient, of the right sign."""
    log_gate = log_softmax(np.zeros((2, 2)))
    routing = SwitchRouter(capacity_factor=2.0).route(log_gate, training=True)
    # The first row's expert is better than the fallback, the second's is worse.
    y = np.array([[3.0], [0.0]])
    predictions = np.array([[[3.0]], [[5.0]]])
    found = objectives.gaussian_likelihood(
        y,
        np.ones(2),
        routing.indices,
        routing.weights,
        predictions,
        None,
        np.zeros((2, 1)),
    )
    push = objectives.weights_to_logits(found.weighted, routing.indices, log_gate)
    chosen = push[np.arange(2), routing.indices[:, 0]]
    assert chosen[0] < 0 < chosen[1]


@pytest.mark.parametrize("router", [DenseRouter(), TopPRouter(0.9), TopKRouter(1)])
def test_balancing_loss_acts_while_all_experts_are_active(router):
    """A collapsed gate is pushed apart, though every expert serves every row."""
    logits = np.tile([3.0, 0, 0, 0], (N, 1))
    every = np.tile(np.arange(K), (N, 1))
    routing = make_routing(log_softmax(logits), every)
    batch = GateBatch(logits, logits, routing, router)
    value, slopes = LoadBalancingLoss().value_and_slopes(batch)
    assert value > 0.02
    assert np.all(slopes.logits[:, 0] > 0)
    assert np.all(slopes.logits[:, 1:] < 0)


# -- what has an effect --------------------------------------------------------

ALL = [vars(losses)[name] for name in losses.__all__ if name.endswith("Loss")]
ALL.remove(losses.BaseLoss)
ROUTERS = [
    vars(routers)[name]()
    for name in routers.__all__
    if name.endswith("Router") and name != "BaseRouter"
]
ROUTERS += [NoisyTopKRouter(k) for k in (1, 3, 4)]
ROUTERS += [NoisyTopKRouter(noise=0.0), TopKRouter(4), TopPRouter(training="sparse")]
DATA = make_regimes(40, random_state=0)


def of_size(kind, n_experts):
    sized = kind is ParameterPenaltyLoss
    return kind(np.arange(1.0, n_experts + 1)) if sized else kind()


def gate_slope(parts, added):
    """Gradient of the gate's parameters in a batch, as the main stage has it."""
    X, y = DATA
    views = [X] * len(parts.experts)
    rows = Rows(X, views, y[:, None], y, None, np.ones(len(y)))
    recipe = Recipe(
        parts.gate, parts.router, parts.likelihood, parts.experts, parts.names
    )
    problem = GradientTask(Task(rows, recipe), "likelihood")
    theta, every = problem.start(), np.arange(len(y))
    theta += np.random.default_rng(1).normal(size=len(theta))
    if parts.router.fits_first:
        parts.router.fit(np.zeros((len(y), len(parts.experts))), X=X)
    phase = Phase(1.0, dense=parts.router.soft_share == 1.0)
    slope = np.zeros(len(theta))
    rng = np.random.default_rng(2)
    problem.gradient(theta, every, rng, phase, added, slope)
    return slope[: problem.gate.n_parameters]


def models(router, n_experts):
    flat = MoERegressor(n_experts=n_experts, router=router.resized(n_experts))
    if n_experts < 4:
        return [flat]
    tree = HierarchicalMoERegressor(branching=(2, 2), router=clone(flat.router))
    return [flat, clone(flat).set_params(gate="sigmoid"), tree]


@pytest.mark.parametrize(
    "n_experts", [*(pytest.param(n, marks=pytest.mark.thorough) for n in (1, 2)), 4]
)
@pytest.mark.parametrize("router", ROUTERS, ids=repr)
def test_a_loss_has_an_effect_or_says_why_not(router, n_experts):
    for model in models(router, n_experts):
        model.set_params(trainer=Gradient(), random_state=0)
        parts = model._resolve()
        plain = gate_slope(parts, [])
        for kind in ALL:
            loss = of_size(kind, n_experts)
            found = loss.no_effect(parts.gate, parts.router, n_experts)
            if found is None:
                moved = np.abs(gate_slope(parts, [loss]) - plain).max()
                assert moved > 1e-6, (loss, parts.gate)
                continue
            model.set_params(trainer=Gradient(losses=[loss], max_epochs=1))
            says = rf"{kind.__name__}.* with .+; .+"
            if found.by_size:
                # One expert has all rows, wherever the logits of its gate go.
                moved = np.abs(gate_slope(parts, [loss]) - plain).max()
                assert moved == 0.0 or n_experts == 1, (loss, parts.gate)
                with pytest.warns(UserWarning, match=says):
                    model.fit(*DATA)
                continue
            with pytest.raises(ValueError, match=says):
                model.fit(*DATA)


def test_only_training_by_gradient_has_losses():
    """So that no other trainer passes them over in silence."""
    named = [
        name
        for name in trainers.__all__
        if "losses" in getattr(vars(trainers)[name], "_get_param_names", list)()
    ]
    assert named == ["Gradient"]


@pytest.mark.parametrize("kind", ALL)
def test_one_expert_has_nothing_to_share_out(kind):
    trainer = Gradient(losses=[of_size(kind, 1)], max_epochs=1)
    router = NoisyTopKRouter(1)
    model = MoERegressor(n_experts=1, router=router, trainer=trainer)
    said = f"{kind.__name__}, which has no effect with one expert.*; .*more experts"
    with pytest.warns(UserWarning, match=said):
        model.fit(*DATA)


def test_even_loads_are_told_with_the_remedy():
    trainer = Gradient(losses=[LoadLoss()], max_epochs=1)
    model = MoERegressor(n_experts=2, router=NoisyTopKRouter(2), trainer=trainer)
    said = r"no effect with router=NoisyTopKRouter\(\), .* all 2 experts.*; use k < 2"
    with pytest.warns(UserWarning, match=said):
        model.fit(*DATA)
