"""Trees of gates: their shape, the product along paths, joint training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from records import never_falls
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.datasets import make_gated_regression
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, GroupGate, MLPGate, SoftmaxGate
from skmoe.losses import LoadLoss, RouterZLoss
from skmoe.routers import HashRouter, NoisyTopKRouter, SwitchRouter
from skmoe.trainers import EM, Gradient

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
FOLDER = Path(__file__).parent / "known_answers"


@pytest.fixture(scope="module")
def four():
    return make_gated_regression(600, 3, 4, random_state=0)


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
    # Numbers below the normal ones have no seven digits.
    np.testing.assert_allclose(
        model.responsibilities(X, y),
        joint / joint.sum(axis=1, keepdims=True),
        atol=np.finfo(float).tiny,
    )


@pytest.mark.parametrize("trainer", ["em", "hard-em"])
@pytest.mark.parametrize("gate", ["softmax", "constant", "gaussian", MLPGate((4,))])
def test_objective_never_falls(four, trainer, gate):
    model = HierarchicalMoERegressor(gate=gate, trainer=trainer, random_state=0)
    assert never_falls(model.fit(*four))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"router": 2},
        {"experts": Ridge(), "n_init": 3},
        {"gate": "gaussian"},
        {"trainer": Gradient(max_epochs=5)},
    ],
)
def test_one_level_is_the_flat_mixture(four, changes):
    X, y = four
    tree = HierarchicalMoERegressor(branching=(4,), random_state=0, **changes)
    flat = MoERegressor(n_experts=4, random_state=0, **changes)
    tree.fit(X, y), flat.fit(X, y)
    np.testing.assert_allclose(tree.log_density(X, y), flat.log_density(X, y))
    np.testing.assert_allclose(tree.predict(X), flat.predict(X), rtol=1e-8)
    np.testing.assert_allclose(tree.gate_proba(X), flat.gate_proba(X), atol=1e-8)


def test_known_answer_of_a_curve():
    """Accelerations of a helmet (R's MASS); one of 150 starts finds the optimum."""
    table = pd.read_csv(FOLDER / "mcycle_k4.csv")
    model = HierarchicalMoERegressor(
        LinearExpert(alpha=0),
        branching=(2, 2),
        gate=SoftmaxGate(alpha=0),
        trainer=EM(tol=1e-9, max_iter=3000, min_load=0.0),
        n_init=100,
        random_state=0,
    ).fit(table[["times"]].to_numpy(), table["y"].to_numpy())
    assert model.log_likelihood_ > -550.248147741639 - 1e-3
    assert model.n_parameters_ == 18


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


def test_fused_and_general_em_agree(four):
    """Linear leaves in one pass, and the same fitted anew, reach the same optimum."""
    X, y = four
    exact = EM(tol=1e-10, max_refits=500, max_iter=5000)
    fused = HierarchicalMoERegressor(
        LinearExpert(alpha=1.0),
        branching=(2, 2),
        gate=SoftmaxGate(alpha=0.1),
        trainer=exact,
        random_state=0,
    )
    fused.fit(X, y)
    # Equal transformers that are not the same object keep the parts out of the pass.
    other = clone(fused).set_params(expert_features=FunctionTransformer())
    anew = (
        clone(other)
        .set_params(
            experts=[(f"e{k}", LinearExpert(alpha=1.0 + 1e-12 * k)) for k in range(4)]
        )
        .fit(X, y)
    )
    np.testing.assert_allclose(
        anew.lower_bounds_[-1], fused.lower_bounds_[-1], rtol=1e-6
    )


@pytest.mark.parametrize("trainer", ["em", "hard-em", Gradient(max_epochs=40)])
@pytest.mark.parametrize("gate", ["softmax", MLPGate((4,))])
def test_trained_as_one(four, trainer, gate):
    X, y = four
    model = HierarchicalMoERegressor(gate=gate, trainer=trainer, random_state=0)
    assert model.fit(X, y).score(X, y) > Ridge().fit(X, y).score(X, y) + 0.1
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, model.predict(X[:10]), rtol=1e-9)


@pytest.mark.parametrize("trainer", ["em", Gradient(max_epochs=10)])
def test_n_jobs_changes_nothing(four, trainer):
    X, y = four
    model = HierarchicalMoERegressor(trainer=trainer, random_state=0)
    found = [clone(model).set_params(n_jobs=n).fit(X, y).predict(X) for n in (1, 2)]
    np.testing.assert_array_equal(*found)


def test_weights_are_repetitions(four):
    X, y = four
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    model = HierarchicalMoERegressor(trainer=EM(tol=1e-10), random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-4)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("expert", [None, Ridge()])
def test_beams_ask_for_the_leaves_on_the_way(four, k, expert):
    X, y = four
    model = HierarchicalMoERegressor(expert, (2, 3), router=k, random_state=0)
    model.fit(X, y)
    routing = model.route(X)
    assert routing.indices.shape == (len(X), k)
    np.testing.assert_allclose(routing.weights.sum(axis=1), 1.0)
    each = np.take_along_axis(model.predict_experts(X), routing.indices, axis=1)
    expected = np.sum(routing.weights * each, axis=1)
    np.testing.assert_allclose(model.predict(X), expected)
    np.testing.assert_allclose(
        model.gate_proba(X).sum(axis=1), np.ones(len(X)), rtol=1e-12
    )


def test_a_leaf_that_loses_its_rows_is_removed_with_a_warning(four):
    X, y = four
    model = HierarchicalMoERegressor(branching=(3, 3), trainer=EM(min_load=0.08))
    with pytest.warns(ExpertCollapseWarning, match="lost its rows"):
        model.fit(X, y)
    assert model.n_experts_ == model.gate_.tree.n_leaves < 9
    assert (
        model.decision_path(X).shape[1] == model.gate_.tree.n_nodes + model.n_experts_
    )
    assert np.isfinite(model.predict(X)).all()


def test_warm_start_goes_on(four):
    X, y = four
    fixed = {"experts": LinearExpert(alpha=1.0), "gate": SoftmaxGate(alpha=0.1)}
    model = HierarchicalMoERegressor(**fixed, trainer=EM(max_iter=5), random_state=0)
    first = clone(model).fit(X, y)
    again = clone(model).set_params(warm_start=True).fit(X, y).fit(X, y)
    assert again.lower_bounds_[-1] >= first.lower_bounds_[-1]
    np.testing.assert_allclose(
        again.lower_bounds_[0], first.lower_bounds_[-1], atol=0.05
    )


def test_noise_of_a_router_has_a_network_of_its_own(four):
    X, y = four
    model = HierarchicalMoERegressor(
        router=NoisyTopKRouter(2),
        trainer=Gradient(max_epochs=20, losses=[LoadLoss()]),
        random_state=0,
    )
    assert model.fit(X, y).score(X, y) > Ridge().fit(X, y).score(X, y)
    assert [gate.coef_.shape for gate in model.gate_.gates_] == [(2, 3)] * 3
    assert np.all((model.gate_proba(X) > 0).sum(axis=1) == 2)


def test_pyramid_with_a_shared_expert(four):
    X, y = four
    model = HierarchicalMoERegressor(
        branching=(2, 2), shared_expert=Ridge(), random_state=0
    ).fit(X, y)
    assert model.score(X, y) > Ridge().fit(X, y).score(X, y)


@pytest.mark.parametrize("branching", [(2, 1), (4, 1), (2, 2, 1)])
def test_only_children_may_lose_their_rows(branching):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = 2 * X[:, 0] + 0.01 * rng.normal(size=400)
    for min_load in (0.005, 0.4):
        model = HierarchicalMoERegressor(
            branching=branching, trainer=EM(min_load=min_load), random_state=0
        ).fit(X, y)
        assert model.score(X, y) > 0.99


@pytest.mark.thorough
@pytest.mark.parametrize("gate", [ClassifierGate(), GroupGate(3), "gaussian"])
@pytest.mark.parametrize("branching", [(2, 2, 2), "grow"])
def test_gates_of_any_kind(four, gate, branching):
    X, y = four
    X = np.column_stack([X, np.arange(len(X)) % 3])
    model = HierarchicalMoERegressor(
        branching=branching, gate=gate, max_leaf_nodes=4, random_state=0
    )
    density = model.fit(X, y).log_density(X, y)
    assert density.mean() > -np.log(y.std() * np.sqrt(2 * np.pi)) - 0.5
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)


@pytest.mark.parametrize("branching", [(2, 2), "grow"])
def test_routers_that_take_part_in_training(four, branching):
    X, y = four
    model = HierarchicalMoERegressor(
        branching=branching, router=HashRouter(), max_leaf_nodes=4, random_state=0
    )
    assert np.isfinite(model.fit(X, y).predict(X)).all()
    model.set_params(router=SwitchRouter(), trainer=Gradient(max_epochs=5))
    assert np.isfinite(model.fit(X, y).predict(X)).all()


def test_shapes_as_nested_tuples(four):
    X, y = four
    shape = (None, (None, (None, None)))
    model = HierarchicalMoERegressor(branching=shape, random_state=0).fit(X, y)
    assert model.gate_.tree.shape == shape
    for bad in [(None, ()), (None, (0, 2)), (None, "x"), ((), None)]:
        with pytest.raises(ValueError, match="nested tuples"):
            clone(model).set_params(branching=bad).fit(X, y)


@pytest.mark.parametrize("expert", [None, DecisionTreeRegressor(max_depth=2)])
def test_warm_starts_keep_the_shape(four, expert):
    X, y = four
    model = HierarchicalMoERegressor(expert, (4,), warm_start=True, random_state=0)
    model.fit(X, y).fit(X, y)
    with pytest.raises(ValueError, match="was fitted with a tree of shape"):
        model.set_params(branching=(2, 2)).fit(X, y)


def test_few_rows_are_divided_evenly(four):
    X, y = four
    model = HierarchicalMoERegressor(branching=(2, 2, 2), trainer=EM(max_iter=1))
    assert model.fit(X[:40], y[:40]).expert_load_.max() < 0.5


def test_what_a_tree_cannot_use_is_refused(four):
    trainer = Gradient(losses=[RouterZLoss()])
    with pytest.raises(ValueError, match="nothing to bound"):
        HierarchicalMoERegressor(trainer=trainer).fit(*four)
    features = {"expert0": [0], "expert1": [1]}
    with pytest.raises(ValueError, match="leaves come and go"):
        HierarchicalMoERegressor(branching="grow", expert_features=features).fit(*four)
