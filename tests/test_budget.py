"""Costs of experts and a budget: kept, used, and spent where it buys the most."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.inspection import measure_costs
from skmoe.routers import BudgetRouter
from skmoe.routers._base import routed

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
K = 5
LOG_GATE = np.log(np.random.default_rng(0).dirichlet(np.full(K, 0.5), size=203))
COSTS = np.array([1.0, 8.0, 2.5, 4.0, 0.5])


def _best_sets(weights, costs, price):
    """Mass and cost of the best set of each row, out of all that there are."""
    sets = [s for r in range(1, K + 1) for s in combinations(range(K), r)]
    member = np.array([[k in s for k in range(K)] for s in sets], dtype=float)
    best = (weights @ member.T - price * (member @ costs)).argmax(axis=1)
    return (weights * member[best]).sum(axis=1), member[best] @ costs


@pytest.mark.parametrize("budget", [0.5, 0.7, 1.5, 3.0, 7.0, 15.9, 16.0, 40.0])
def test_a_budget_is_kept_and_used(budget):
    router = BudgetRouter(COSTS, budget).fit(LOG_GATE)
    routing = router.route(LOG_GATE)
    mean = (routing.load @ COSTS) / len(LOG_GATE)
    assert mean <= budget * (1 + 1e-12)
    assert mean == pytest.approx(router.mean_cost_)
    # One row less or more is all that is left of it.
    assert min(budget, COSTS.sum()) - mean <= COSTS.max() / len(LOG_GATE)


@pytest.mark.parametrize("budget", [0.7, 1.5, 3.0, 7.0])
def test_a_budget_buys_the_most_mass(budget):
    """No sets of the rows that cost as little hold more of the gate's weight."""
    weights = np.exp(LOG_GATE)
    router = BudgetRouter(COSTS, budget).fit(LOG_GATE)
    kept = (router.route(LOG_GATE).dense() > 0) * weights
    mass, cost = _best_sets(weights, COSTS, router.multiplier_)
    np.testing.assert_allclose(kept.sum(axis=1), mass, rtol=1e-6)
    assert cost.mean() == pytest.approx(router.mean_cost_)
    # By duality, for any other choice of sets.
    bound = kept.sum() + router.multiplier_ * len(kept) * (budget - router.mean_cost_)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = rng.random(weights.shape) < rng.random()
        other[np.arange(len(other)), rng.integers(0, K, len(other))] = True
        if (other @ COSTS).mean() <= budget:
            assert (weights * other).sum() <= bound * (1 + 1e-9)


def test_equal_costs_are_a_number_of_experts():
    same = [BudgetRouter(cost, 2.0 * unit) for cost, unit in ((1.0, 1), ([3.0] * K, 3))]
    routings = [router.fit(LOG_GATE).route(LOG_GATE) for router in same]
    assert routings[0].load.sum() == 2 * len(LOG_GATE)
    for own, other in zip(*routings, strict=True):
        np.testing.assert_array_equal(own, other)


@given(
    log_gate=st.integers(1, 30).flatmap(
        lambda n: arrays(float, (n, 3), elements=st.floats(-700, 700))
    ),
    cost=st.lists(st.floats(1e-9, 1e9), min_size=3, max_size=3),
    share=st.floats(0.0, 1.2),
)
@settings(deadline=None, max_examples=60)
def test_any_gate_and_costs_are_within_the_budget(log_gate, cost, share):
    log_gate = log_gate - logsumexp(log_gate, axis=1, keepdims=True)
    budget = min(cost) + share * (sum(cost) - min(cost))
    router = BudgetRouter(cost, budget).fit(log_gate)
    routing = routed(router, log_gate)
    assert routing.load @ cost / len(log_gate) <= budget * (1 + 1e-9)
    if share >= 1.0:
        assert np.all((routing.dense() > 0) == (np.exp(log_gate) > 0))


def test_costs_go_with_their_experts(regression):
    """Whatever the order, and also where some are lost."""
    X, y = regression
    experts = [("a", Ridge()), ("b", LinearExpert()), ("c", Ridge(50.0))]
    cost = {"a": 1.0, "b": 2.0, "c": 30.0, "of another pool": 0.1}
    model = MoERegressor(experts, router=BudgetRouter(cost, 2.0), random_state=0)
    turned = clone(model).set_params(experts=experts[::-1]).fit(X, y)
    model.fit(X, y)
    assert model.router_.cost == {"a": 1.0, "b": 2.0, "c": 30.0}
    assert list(turned.router_.cost) == ["c", "b", "a"]
    as_array = clone(model).set_params(router__cost=[1.0, 2.0, 30.0]).fit(X, y)
    np.testing.assert_array_equal(as_array.predict(X), model.predict(X))
    left = BudgetRouter(cost, 2.0).of_experts(["c", "a"])
    assert left.cost == {"c": 30.0, "a": 1.0}
    with_noise = clone(as_array).set_params(noise=True).fit(X, y)
    assert with_noise.router_.cost["noise"] == 1.0


def test_experts_of_unequal_cost_keep_their_places():
    """They are alike but for the cost, and would be put in order of their load."""
    X = np.random.default_rng(0).normal(size=(300, 2))
    y = np.where(X[:, 0] > -1, 3 * X[:, 1], -3 * X[:, 1])
    model = MoERegressor(n_experts=2, random_state=0)
    same, apart = (
        clone(model).set_params(router=BudgetRouter(cost, 1.2)).fit(X, y)
        for cost in (1.0, [1.0, 1.1])
    )
    np.testing.assert_allclose(same.expert_load_, apart.expert_load_[::-1])


def test_a_budget_that_lost_experts_cannot_meet_is_told():
    router = BudgetRouter({"a": 1.0, "b": 5.0}, 2.0).of_experts(["b"])
    with pytest.warns(UserWarning, match="left cost 5 or more"):
        router.fit(np.zeros((4, 1)))
    assert router.route(np.zeros((4, 1))).indices.tolist() == [[0]] * 4


def test_a_budget_counts_weights_as_rows():
    weight = np.random.default_rng(3).integers(0, 4, len(LOG_GATE))
    router = BudgetRouter(COSTS, 2.0).fit(LOG_GATE, sample_weight=weight)
    repeated = BudgetRouter(COSTS, 2.0).fit(np.repeat(LOG_GATE, weight, axis=0))
    assert router.mean_cost_ == pytest.approx(repeated.mean_cost_)
    found = [own.route(LOG_GATE).indices for own in (router, repeated)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("router", "said"),
    [
        (BudgetRouter(0.0), "cost=0.0"),
        (BudgetRouter(True), "cost=True"),
        (BudgetRouter([1.0, 2.0]), "4 of them"),
        (BudgetRouter([1.0, -2.0, 1.0, 1.0]), "> 0"),
        (BudgetRouter([1.0, np.nan, 1.0, 1.0]), "> 0"),
        (BudgetRouter("cheap"), "cost='cheap'"),
        (BudgetRouter({"a": "b"}), "dict"),
        (BudgetRouter({}), "dict"),
        (BudgetRouter(1.0, 0.5), "cheapest expert costs 1"),
        (BudgetRouter(1.0, "a"), "budget='a'"),
    ],
    ids=repr,
)
def test_costs_that_are_none_are_refused(router, said):
    with pytest.raises(ValueError, match=f"BudgetRouter got .*{said}"):
        router.check(4)


def test_a_cost_is_wanted_of_every_expert(regression):
    router = BudgetRouter({"a": 1.0}, 2.0)
    model = MoERegressor([("a", Ridge()), ("b", Ridge())], router=router)
    with pytest.raises(ValueError, match=r"there are experts \['b'\]"):
        model.fit(*regression)


def test_experts_without_rows_are_not_asked(regression):
    """Also where a row of the call has all of them."""
    X, y = regression
    model = MoERegressor([Ridge(), Spied()], router=BudgetRouter([1, 9], 5))
    model.fit(X, y)
    asked = model.route(X).load[1]
    assert 0 < asked < len(X)
    Spied.rows = 0
    model.predict(X)
    assert Spied.rows == asked


class Spied(Ridge):
    rows = 0

    def predict(self, X):
        Spied.rows += len(X)
        return super().predict(X)


@pytest.mark.parametrize(("budget", "router"), [(1.1, 1), (2.5, None)])
def test_two_stages_train_the_gate_that_a_budget_needs(regression, budget, router):
    """Of one expert per row, or of combinations, as the routers of these do."""
    X, y = regression[0][:150], regression[1][:150]
    experts = [Ridge(), Ridge(100.0), LinearExpert()]
    model = MoERegressor(experts, trainer="two-stage", random_state=0)
    own = clone(model).set_params(router=BudgetRouter(1.0, budget)).fit(X, y)
    other = clone(model).set_params(router=router).fit(X, y)
    found = [m.gate_.predict_log_proba(X) for m in (own, other)]
    np.testing.assert_array_equal(*found)
    if router == 1:
        dense = clone(model).fit(X, y).gate_.predict_log_proba(X)
        assert not np.allclose(found[0], dense)


def test_members_and_trees_have_budgets_of_their_own(regression):
    X, y = regression
    router = BudgetRouter([1.0, 3.0], 2.0)
    pair = MoERegressor(n_experts=2, n_members=2, router=router, random_state=0)
    load = pair.fit(X, y).route(X).load
    assert load @ [1, 3, 1, 3] <= 2 * 2.0 * len(X) * (1 + 1e-9)
    tree = HierarchicalMoERegressor(branching=(2,), router=router, random_state=0)
    assert tree.fit(X, y).route(X).load @ [1, 3] <= 2.0 * len(X) * (1 + 1e-9)


def test_costs_are_measured_by_name(regression):
    X, y = regression
    model = MoERegressor([("a", Ridge()), ("b", LinearExpert())], noise=True)
    with pytest.raises(NotFittedError):
        measure_costs(model, X)
    costs = measure_costs(model.fit(X, y), X, n_repeats=1)
    assert list(costs) == list(model.named_experts_)
    assert all(own > 0 for own in costs.values())
    budget = 2.0 * max(costs.values())
    model.set_params(router=BudgetRouter(costs, budget)).fit(X, y)
    assert model.router_.mean_cost_ <= budget * (1 + 1e-9)
    labels = MoEClassifier(n_experts=2, random_state=0).fit(X, y > 0)
    assert len(measure_costs(labels, X)) == labels.n_experts_
    with pytest.raises(ValueError, match="n_repeats=0"):
        measure_costs(model, X, n_repeats=0)
