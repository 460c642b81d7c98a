"""Experts that serve nobody under training by gradient: told, and brought back."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import MLPGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.routers import BalancedRouter, HashRouter, NoisyTopKRouter, TopKRouter
from skmoe.trainers import Gradient, Recipe, Rows
from skmoe.trainers._gradient.revival import part_rows, revive
from skmoe.trainers._gradient.task import GradientTask, Phase
from skmoe.trainers._task import Task


@pytest.fixture(scope="module")
def data():
    return make_gated_regression(600, 3, 4, sharpness=4.0, noise=0.3, random_state=0)


def starved(**given):
    """A mixture whose gate is drawn to few of its experts."""
    trainer = Gradient(start="random", max_epochs=24, learning_rate=0.05, **given)
    return MoERegressor(
        n_experts=12,
        router=TopKRouter(1, training="sparse"),
        trainer=trainer,
        random_state=0,
    )


def idle(model):
    return int(np.sum(model.expert_load_ == 0))


def quiet_fit(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpertCollapseWarning)
        return model.fit(X, y)


def test_experts_that_serve_nobody_are_told(data):
    said = r"Gradient left expert 'expert\d+'.* without a row to serve; use revive=10"
    with pytest.warns(ExpertCollapseWarning, match=said):
        model = starved().fit(*data)
    assert idle(model)


def test_an_ordinary_fit_does_not_warn(data):
    for router in (None, 1):
        trainer = Gradient(max_epochs=30)
        model = MoERegressor(n_experts=3, router=router, trainer=trainer)
        model.set_params(random_state=0).fit(*data)


def test_the_remedy_is_one_that_there_is(data):
    """Where no gate is asked, neither losses nor revival help."""
    X, y = data
    trainer = Gradient(max_epochs=1, start="random")
    model = MoERegressor(n_experts=60, router=HashRouter(), trainer=trainer)
    with pytest.warns(ExpertCollapseWarning, match="to serve; use fewer experts"):
        model.fit(X[:80], y[:80])


def test_idle_experts_come_back(data):
    X, y = data
    before = quiet_fit(starved(), X, y)
    after = quiet_fit(starved(revive=3), X, y)
    assert idle(after) < idle(before)
    assert sum(after.history_["revived"]) > 0
    assert sum(before.history_["revived"]) == 0
    again = quiet_fit(clone(after), X, y)
    np.testing.assert_array_equal(again.predict(X), after.predict(X))


@pytest.mark.parametrize("gate", [SoftmaxGate(), MLPGate((4,))])
@pytest.mark.parametrize("router", [TopKRouter(1), NoisyTopKRouter(1)])
def test_rows_of_the_busiest_are_parted(data, gate, router):
    X, y = data
    experts = [LinearExpert(), LinearExpert(), MLPExpert((4,))]
    names = ["a", "b", "c"]
    rows = Rows(X, [X] * 3, y[:, None], y, None, np.ones(len(y)))
    task = Task(rows, Recipe(gate, router, Gaussian(), experts, names))
    problem, rng = GradientTask(task, "likelihood"), np.random.default_rng(0)
    theta, every = problem.start(), np.arange(len(y))
    weights, bias = problem.gate.network.layers(theta)[-1]
    bias[:3] = [5.0, 0.0, -20.0]
    before = np.exp(problem.log_gate(theta, every, 2.0))

    class Optimizer:
        def forget(self, where):
            assert (
                where[problem.expert_slices[1]].all()
                or where[problem.expert_slices[2]].all()
            )

    phase = Phase(2.0, dense=False)
    assert revive(problem, theta, Optimizer(), every, phase, rng) == 2
    served, _ = problem.served(theta, every, phase)
    assert served.min() > 0.1 * len(y)
    # Kinds stay as they are; who is like the busiest has its answers.
    network = problem.networks()[1]
    one, other = (theta[problem.expert_slices[k]] for k in (0, 1))
    np.testing.assert_allclose(one, other, atol=0.2)
    assert problem.networks()[2].sizes != network.sizes
    after = np.exp(problem.log_gate(theta, every, 2.0))
    assert np.abs(after.sum(axis=1) - before.sum(axis=1)).max() < 1e-12


def test_half_of_the_rows_to_each():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 2))
    rows = Rows(X, [X] * 2, X[:, :1], X[:, 0], None, np.ones(400))
    recipe = Recipe(
        SoftmaxGate(), TopKRouter(1), Gaussian(), [LinearExpert()] * 2, ["a", "b"]
    )
    problem = GradientTask(Task(rows, recipe), "likelihood")
    theta, every = problem.start(), np.arange(400)
    problem.gate.network.layers(theta)[-1][1][:] = [9.0, -9.0]
    part_rows(problem, theta, 1, 0, every, 1.0, rng)
    served, _ = problem.served(theta, every, Phase(1.0, dense=False))
    np.testing.assert_allclose(served, 200, atol=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MoERegressor(Ridge(), 2), "experts that are no networks"),
        (HierarchicalMoERegressor(branching=(2, 2)), "a tree of gates"),
        (MoERegressor(n_experts=2, router=HashRouter()), "asks no gate"),
    ],
)
def test_where_nobody_comes_back_revive_is_refused(data, model, message):
    model.set_params(trainer=Gradient(revive=2))
    with pytest.raises(ValueError, match=f"revive=2 with.*{message}"):
        model.fit(*data)
    model.set_params(trainer=Gradient(revive=0))
    with pytest.raises(ValueError, match="revive=0, but expected None or an integer"):
        model.fit(*data)


def test_two_stages_refuse_a_router_that_balances_training(data):
    experts = [Ridge(), Ridge(100.0)]
    model = MoERegressor(experts, router=BalancedRouter(), trainer="two-stage")
    with pytest.raises(ValueError, match=r"TwoStage got router=BalancedRouter\(\)"):
        model.fit(*data)
