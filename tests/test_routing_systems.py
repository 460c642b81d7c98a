"""Published routing rules beside their formulas, written once more from the papers."""

from collections import Counter

import naive
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe._kernels.routing import row_keys
from skmoe.experts import MLPExpert
from skmoe.gates import SigmoidGate
from skmoe.losses import EntropyLoss, HierarchicalBalancingLoss, LoadBalancingLoss
from skmoe.routers import (
    BalancedHashRouter,
    BalancedRouter,
    BatchPrioritizedRouter,
    BiasBalancedRouter,
    CappedExpertChoiceRouter,
    ExpertChoiceRouter,
    GShardRouter,
    MultiHashRouter,
    ResidualRouter,
    SwitchRouter,
    TopPRouter,
)
from skmoe.routers._choice import auction
from skmoe.routers._hash import bits_of
from skmoe.trainers import EM, Gradient

K = 5
LOG_GATE = np.log(np.random.default_rng(0).dirichlet(np.full(K, 0.5), size=203))
RNG = np.random.default_rng(2)
QUICK = {"max_epochs": 40, "learning_rate": 0.05, "batch_size": 64}
LEVELS = RNG.geometric(0.15, size=(900, 1)).astype(float)


# -- capacities ----------------------------------------------------------------


def prioritised(log_gate, k, capacity):
    """Batch-prioritised routing of V-MoE, row by row; no second try."""
    order = sorted(range(len(log_gate)), key=lambda i: -log_gate[i].max())
    free, found = list(capacity), np.full((len(log_gate), k), -1)
    for slot in range(k):
        for i in order:
            expert = np.argsort(-log_gate[i], kind="stable")[slot]
            if free[expert] > 0:
                free[expert] -= 1
                found[i, slot] = expert
    return found


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("factor", [0.3, 1.0, [2.0, 0.1, 1.0, 0.5, 1.0]])
def test_batch_prioritised_routing_is_its_rule(k, factor):
    router = BatchPrioritizedRouter(k, factor)
    capacity = np.ceil(k * len(LOG_GATE) / K * np.broadcast_to(factor, K))
    expected = prioritised(LOG_GATE, k, np.minimum(capacity, len(LOG_GATE)))
    routing = router.route(LOG_GATE, training=True)
    np.testing.assert_array_equal(routing.indices, expected)
    assert np.all(routing.load <= capacity)


@pytest.mark.parametrize("router", [SwitchRouter(0.4), GShardRouter(0.4)])
def test_priority_by_score_keeps_the_rows_with_the_largest_weights(router):
    router = clone(router).set_params(overflow="drop")
    rng = np.random.default_rng
    first = router.route(LOG_GATE, training=True, rng=rng(0)).indices[:, 0]
    router.set_params(priority="score")
    by_score = router.route(LOG_GATE, training=True, rng=rng(0)).indices[:, 0]
    score, wanted = LOG_GATE.max(axis=1), LOG_GATE.argmax(axis=1)
    for expert in range(K):
        own = wanted == expert
        dropped, kept = own & (by_score < 0), own & (by_score == expert)
        if dropped.any():
            assert score[dropped].max() <= score[kept].min()
    assert not np.array_equal(first, by_score)
    # Any order of the rows, the same ones are served.
    turn = RNG.permutation(len(LOG_GATE))
    turned = router.route(LOG_GATE[turn], training=True, rng=rng(0)).indices[:, 0]
    np.testing.assert_array_equal(turned, by_score[turn])


def test_capacities_belong_to_experts():
    router = SwitchRouter({"a": 2.0, "b": 0.5, "c": 1.0}, overflow="drop")
    own = router.of_experts(["c", "a"])
    assert list(own.capacity_factor) == ["c", "a"]
    np.testing.assert_array_equal(own.capacities(100, 2), [50, 100])
    assert router.tells_apart
    assert not SwitchRouter().tells_apart
    with pytest.raises(ValueError, match=r"there are experts \['d'\]"):
        router.of_experts(["a", "d"])
    with pytest.raises(ValueError, match="3 of them"):
        SwitchRouter([1.0, 2.0]).check(3)
    with pytest.raises(ValueError, match="priority='rank'"):
        SwitchRouter(priority="rank").check(3)


# -- expert choice -------------------------------------------------------------


def largest_sum(weights, size, most):
    """The linear programme of capped expert choice, without its entropy."""
    n, k = weights.shape
    rows = np.kron(np.eye(n), np.ones((1, k)))
    columns = np.kron(np.ones((1, n)), np.eye(k))
    found = linprog(
        -weights.ravel(),
        A_ub=rows,
        b_ub=np.full(n, most),
        A_eq=columns,
        b_eq=np.full(k, size),
        bounds=(0, 1),
    )
    return -found.fun


@pytest.mark.parametrize("most", [1, 2, 4])
@pytest.mark.parametrize("factor", [1.0, 1.7])
def test_capped_expert_choice_is_the_linear_programme(most, factor):
    log_gate = LOG_GATE[:70]
    router = CappedExpertChoiceRouter(factor, most, overflow="drop")
    routing = router.route(log_gate, training=True)
    taken = routing.dense(np.ones(routing.indices.shape)) > 0
    size = min(np.ceil(70 / K * factor), 70 * most // K)
    np.testing.assert_array_equal(taken.sum(axis=0), size)
    assert taken.sum(axis=1).max() <= most
    weights = np.exp(log_gate)
    best = largest_sum(weights, size, most)
    assert weights[taken].sum() == pytest.approx(best, rel=1e-6)
    # The prices of the training rows repeat it, row by row.
    router.fit(log_gate)
    alone = [router.route(log_gate[i : i + 1]).dense()[0] > 0 for i in range(70)]
    missed = ~taken.any(axis=1)
    np.testing.assert_array_equal(np.array(alone)[~missed], taken[~missed])


def test_caps_that_bind_nobody_leave_expert_choice():
    capped = CappedExpertChoiceRouter(2.0, K).route(LOG_GATE, training=True)
    plain = ExpertChoiceRouter(2.0).route(LOG_GATE, training=True)
    np.testing.assert_array_equal(capped.dense() > 0, plain.dense() > 0)


def test_one_expert_per_row_and_equal_shares_is_base():
    weights = np.exp(LOG_GATE[:200])
    capped = CappedExpertChoiceRouter(1.0, 1).route(LOG_GATE[:200], training=True)
    base = BalancedRouter().route(np.exp(LOG_GATE[:200]), training=True)
    rows = np.arange(200)
    sums = [weights[rows, own.indices[:, 0]].sum() for own in (capped, base)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-9)


def test_prices_of_equal_rows_end():
    prices = auction(np.full((40, 3), 1 / 3), 20, 2)
    assert np.isfinite(prices).all()
    routing = CappedExpertChoiceRouter(1.5, 2).route(
        np.full((40, 3), np.log(1 / 3)), training=True
    )
    assert routing.load.max() <= 20


# -- hashes --------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2])
def test_balanced_hash_deals_frequent_rows_to_the_emptiest_expert(k):
    router = BalancedHashRouter(k).fit(np.zeros((900, 4)), X=LEVELS)
    routing = router.route(np.zeros((900, 4)), X=LEVELS)
    counts = Counter(LEVELS[:, 0].tolist())
    keys = row_keys(bits_of(LEVELS), np.uint64(0)).tolist()
    key_of = dict(zip(LEVELS[:, 0].tolist(), keys, strict=True))
    order = sorted(counts, key=lambda level: (-counts[level], key_of[level]))
    expected, load = naive.dealt_out([counts[own] for own in order], [0] * 4, k)
    expected = dict(zip(order, expected, strict=True))
    found = routing.indices.tolist()
    assert found == [expected[level] for level in LEVELS[:, 0]]
    assert routing.load.tolist() == load
    # As Graham's bound has it: no more than the mean and the largest group.
    assert max(load) <= np.mean(load) + max(counts.values())


def test_balanced_hash_is_more_even_than_a_random_one():
    gate = np.zeros((900, 4))
    balanced = BalancedHashRouter().fit(gate, X=LEVELS).route(gate, X=LEVELS).load
    assert balanced.max() / balanced.mean() < 1.05


def test_balanced_hash_keeps_what_it_has_learned():
    gate = np.zeros((900, 4))
    router = BalancedHashRouter().fit(gate[:300], X=LEVELS[:300])
    before = router.route(gate[:300], X=LEVELS[:300]).indices
    router.fit(gate[300:], X=LEVELS[300:])
    np.testing.assert_array_equal(
        router.route(gate[:300], X=LEVELS[:300]).indices, before
    )
    assert set(router.keys_) == set(row_keys(bits_of(LEVELS), np.uint64(0)))
    assert router.resized(3).route(gate[:, :3], X=LEVELS).indices.max() < 3
    new = np.full((1, 1), 1e6)
    assert 0 <= router.route(gate[:1], X=new).indices[0, 0] < 4


@pytest.mark.parametrize("trainer", ["em", Gradient(**QUICK)])
def test_balanced_hash_trains_the_experts_that_it_will_ask(trainer):
    """Levels have means of their own, which only their own expert can know."""
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    codes = np.random.default_rng(0).choice(4, p=shares, size=400)
    X = np.column_stack([codes, np.zeros(400)]).astype(float)
    y = np.array([5.0, -3.0, 1.0, 9.0])[codes]
    model = MoERegressor(
        n_experts=4,
        router=BalancedHashRouter(),
        gate_features=[0],
        expert_features=[1],
        trainer=trainer,
        random_state=0,
    ).fit(X, y)
    assert len(set(model.router_.experts_[:, 0])) == 4
    assert model.score(X, y) > 0.9


def test_multi_hash_chooses_one_expert_of_each_bank():
    gate, rows = np.zeros((900, 6)), RNG.normal(size=(900, 2))
    routing = MultiHashRouter(2, seed=3).route(gate, X=rows)
    bits = bits_of(rows)
    for i in range(50):
        first = naive.hashed_experts(bits[i], 3, 3, 1)[0]
        second = 3 + naive.hashed_experts(bits[i], 4, 3, 1)[0]
        assert routing.indices[i].tolist() == [first, second]
    np.testing.assert_allclose(routing.weights, 0.5)
    # The functions are independent: all pairs are met, about as often.
    pairs = np.bincount(routing.indices[:, 0] * 3 + routing.indices[:, 1] - 3)
    assert len(pairs) == 9
    assert pairs.min() > 60
    with pytest.raises(ValueError, match="n_hashes=9"):
        MultiHashRouter(9).check(6)


# -- top-p ---------------------------------------------------------------------


def test_top_p_trains_within_the_experts_of_a_row(regression):
    X, y = regression
    soft, sparse = (
        MoERegressor(
            n_experts=4,
            router=TopPRouter(0.6, training=training),
            trainer=Gradient(max_epochs=6, start="random"),
            random_state=0,
        ).fit(X, y)
        for training in ("soft", "sparse")
    )
    assert not np.allclose(soft.predict(X), sparse.predict(X))
    # Dispatched rows, of which soft training has all at all experts.
    assert np.ptp(soft.history_["load"][0]) < 1e-12 < np.ptp(sparse.history_["load"][0])
    with pytest.raises(ValueError, match="training='hard'"):
        TopPRouter(training="hard").check(3)


def test_entropy_loss_lowers_the_number_of_experts(regression):
    X, y = regression

    def experts_per_row(losses):
        model = MoERegressor(
            n_experts=4,
            router=TopPRouter(0.8, training="sparse"),
            trainer=Gradient(losses=losses, max_epochs=25, early_stopping=False),
            random_state=0,
        ).fit(X, y)
        return (model.gate_proba(X) > 0).sum(axis=1).mean()

    assert experts_per_row([EntropyLoss(1.0)]) < experts_per_row([]) - 0.1


# -- sigmoids ------------------------------------------------------------------


def test_sigmoid_scores_with_a_bias_route_as_published(regression):
    """Chosen by affinity and bias, weighed by affinities over those chosen."""
    X, y = regression
    router = BiasBalancedRouter(2, update_rate=0.02)
    model = MoERegressor(
        n_experts=4,
        gate=SigmoidGate(),
        router=router,
        trainer=Gradient(
            max_epochs=8,
            start="random",
            losses=[LoadBalancingLoss()],
            early_stopping=False,
        ),
        random_state=0,
    ).fit(X, y)
    gate, bias = model.gate_, model.router_.bias_
    center, inverse = gate._design
    logits = ((X - center) * inverse) @ gate.coefs_[0] + gate.intercepts_[0]
    affinity = expit(logits)
    proba = model.gate_proba(X)
    for i in range(len(X)):
        shares = affinity[i] / affinity[i].sum()
        chosen = np.argsort(-(shares + bias), kind="stable")[:2]
        expected = np.zeros(4)
        expected[chosen] = affinity[i, chosen] / affinity[i, chosen].sum()
        np.testing.assert_allclose(proba[i], expected, rtol=1e-9, atol=1e-12)
    assert np.ptp(bias) > 0


def test_sigmoids_do_not_compete():
    """What one expert gains does not lower the affinity of another."""
    gate, outputs = SigmoidGate(), RNG.normal(size=(20, 3))
    scores, slope = gate.link(outputs)
    np.testing.assert_allclose(np.exp(scores), expit(outputs))
    moved = gate.link(outputs + 1e-6)[0]
    np.testing.assert_allclose((moved - scores) / 1e-6, slope, rtol=1e-4)
    weights = np.log([0.2, 0.5, 0.3])
    np.testing.assert_allclose(
        np.exp(gate.link(gate.unlink(weights))[0]), [0.2, 0.5, 0.3]
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [MoERegressor, HierarchicalMoERegressor])
def test_sigmoid_gates_learn(regression, kind):
    X, y = regression
    size = {"n_experts": 3} if kind is MoERegressor else {"branching": (2, 2)}
    brief = EM(max_iter=20, max_refits=4)
    model = kind(gate="sigmoid", trainer=brief, random_state=0, **size).fit(X, y)
    assert model.score(X, y) > 0.6
    losses = [HierarchicalBalancingLoss()]
    model.set_params(trainer=Gradient(losses=losses, **QUICK)).fit(X, y)
    assert model.score(X, y) > 0.6
    assert np.isfinite(model.history_["HierarchicalBalancingLoss"]).all()


# -- residual mixtures ---------------------------------------------------------


def test_a_residual_mixture_is_shared_expert_and_coefficient_times_the_rest():
    k, n_shared = 2, 1
    routing = ResidualRouter(k, n_shared).route(LOG_GATE)
    values, proba = RNG.normal(size=(len(LOG_GATE), K)), np.exp(LOG_GATE)
    for i in range(60):
        rest = 1 + np.argsort(-proba[i, 1:], kind="stable")[:k]
        routed = proba[i, rest].sum()
        coefficient = routed / (routed + proba[i, 0])
        mixture = proba[i, rest] @ values[i, rest] / routed
        expected = (1 - coefficient) * values[i, 0] + coefficient * mixture
        assert routing.dense()[i] @ values[i] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
def test_a_shared_expert_is_trained_jointly(regression):
    X, y = regression
    model = MoERegressor(
        MLPExpert((8,)),
        n_experts=3,
        shared_expert=MLPExpert((16,)),
        router=ResidualRouter(),
        trainer=Gradient(**QUICK),
        random_state=0,
    ).fit(X, y)
    assert list(model.named_experts_) == ["shared", "expert0", "expert1", "expert2"]
    assert model.named_experts_["shared"].hidden_layer_sizes == (16,)
    assert model.shared_expert_ is None
    routing, coefficient = model.route(X), 1 - model.gate_proba(X)[:, 0]
    assert routing.load[0] == len(X)
    assert routing.load[1:].sum() == len(X)
    # Both are learned: the coefficient differs from row to row, the shared one moves.
    assert np.ptp(coefficient) > 0.1
    before = model.named_experts_["shared"].predict(X)
    model.partial_fit(X, y)
    assert not np.array_equal(model.named_experts_["shared"].predict(X), before)
    # As the same list of experts would.
    experts = [("shared", MLPExpert((16,)))]
    experts += [(f"expert{k}", MLPExpert((8,))) for k in range(3)]
    same = clone(model).set_params(shared_expert=None, experts=experts, n_experts=4)
    np.testing.assert_allclose(
        same.fit(X, y).predict(X), clone(model).fit(X, y).predict(X)
    )


# -- equal parts ---------------------------------------------------------------


class Seen(BalancedRouter):
    """A balanced router that notes the routings of training and of prediction."""

    seen = ([], [])

    def route(self, log_gate, *, X=None, rng=None, training=False):
        routing = super().route(log_gate, X=X, rng=rng, training=training)
        self.seen[training].append(routing)
        return routing


def noted(call):
    """Routings of prediction, and of training, of what is called."""
    Seen.seen = ([], [])
    call()
    return Seen.seen


BALANCED = {
    "em": MoERegressor(n_experts=3),
    "hard em": MoERegressor(n_experts=3, trainer="hard-em"),
    "stepwise": MoERegressor(Ridge(), 3, trainer=EM(max_refits=4)),
    "networks": MoERegressor(MLPExpert((4,)), 3, trainer=Gradient(max_epochs=25)),
    "random": MoERegressor(
        n_experts=3, trainer=Gradient(max_epochs=10, batch_size=50, start="random")
    ),
    "no networks": MoERegressor(
        Ridge(), 3, trainer=Gradient(max_epochs=10, max_refits=2)
    ),
}


@pytest.mark.parametrize("name", BALANCED)
def test_balanced_training_is_even_in_every_batch(regression, name):
    X, y = regression
    model = clone(BALANCED[name]).set_params(router=Seen(), random_state=0)
    weight = np.random.default_rng(0).uniform(0.1, 3.0, size=len(y))
    predicted, trained = noted(lambda: model.fit(X, y, weight))
    sizes = {len(own.indices) for own in trained}
    whole = name in ("em", "hard em", "stepwise")
    assert trained
    assert sizes == {len(y)} if whole else max(sizes) <= 0.9 * len(y)
    for routing in trained:
        assert (routing.indices >= 0).all()
        assert np.ptp(routing.load) <= 1
    if not whole:
        # Held-out rows are judged as they would be predicted.
        assert max(np.ptp(own.load) for own in predicted) > 1
        sparse = [own == "sparse" for own in model.history_["phase"]]
        guided = model.trainer.start == "linear"
        assert all(sparse) != guided
    if name == "no networks":
        # Experts are fitted to all training rows at once.
        assert max(sizes) > model.trainer.batch_size
    best = model.gate_.predict_log_proba(X).argmax(axis=1)
    np.testing.assert_array_equal(model.route(X).indices[:, 0], best)


def test_batches_that_go_on_are_balanced(regression):
    X, y = regression
    trainer = Gradient(max_epochs=5, batch_size=50)
    model = MoERegressor(n_experts=3, router=Seen(), trainer=trainer, random_state=0)
    model.partial_fit(X[:120], y[:120])
    predicted, trained = noted(lambda: model.partial_fit(X[120:240], y[120:240]))
    assert [len(own.indices) for own in trained] == [50, 50, 20]
    assert max(np.ptp(own.load) for own in trained) <= 1


@pytest.mark.parametrize("n_rows", [1025, 2500, 3071])
def test_parts_of_large_batches_are_balanced_together(n_rows):
    log_gate = np.log(np.random.default_rng(1).dirichlet([2.0, 0.2, 0.1], size=n_rows))
    load = BalancedRouter().route(log_gate, training=True).load
    assert load.sum() == n_rows
    assert np.ptp(load) <= 1
    assert np.ptp(BalancedRouter().route(log_gate).load) > n_rows / 3
