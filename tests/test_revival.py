"""Experts that serve nobody under training by gradient: told, brought back, removed."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._numerics.network import Adam
from skmoe.datasets import make_gated_regression
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import MLPGate, SoftmaxGate
from skmoe.inspection import BalanceDisplay, ConvergenceDisplay
from skmoe.likelihoods import Gaussian
from skmoe.routers import (
    BalancedRouter,
    BiasBalancedRouter,
    DenseRouter,
    HashRouter,
    NoisyTopKRouter,
    ResidualRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
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


# -- those that are removed ------------------------------------------------------

# Nobody is removed for it who serves a row.
NO_ROW = 1e-12
MIXED = [
    *[(f"line{k}", LinearExpert()) for k in range(6)],
    *[(f"net{k}", MLPExpert((4,))) for k in range(6)],
]
FACTORS = {name: 2.0 + k for k, (name, _) in enumerate(MIXED)}
STARVED = {
    "top 1": {},
    "mixed": {"experts": MIXED},
    "hidden gate": {"gate": MLPGate((4,))},
    "sigmoid gate": {"gate": "sigmoid"},
    "noisy": {"router": NoisyTopKRouter(1)},
    "capacities": {"experts": MIXED, "router": SwitchRouter(FACTORS, jitter_noise=0.0)},
    "shared variance": {"likelihood": Gaussian(variance="shared")},
    "no networks": {"experts": Ridge()},
}


@pytest.mark.parametrize("name", STARVED)
def test_who_served_no_row_is_not_missed(data, name):
    X, y = data
    asked = STARVED[name]
    whole = quiet_fit(starved(max_refits=1).set_params(**asked), X, y)
    with pytest.warns(ExpertCollapseWarning, match="was removed: n_experts_"):
        model = starved(max_refits=1, min_load=NO_ROW).set_params(**asked).fit(X, y)
    gone = [own["expert"] for own in model.history_["removed"]]
    pairs = zip(whole.named_experts_, whole.expert_load_, strict=True)
    assert gone == [own for own, load in pairs if load == 0]
    assert gone
    assert [*model.named_experts_] == [k for k in whole.named_experts_ if k not in gone]
    np.testing.assert_allclose(model.predict(X), whole.predict(X), rtol=1e-9)
    np.testing.assert_allclose(
        model.expert_load_, whole.expert_load_[whole.expert_load_ > 0]
    )
    np.testing.assert_allclose(model.log_likelihood_, whole.log_likelihood_)
    np.testing.assert_allclose(model.log_likelihood_, model.log_density(X, y).sum())
    assert model.n_parameters_ < whole.n_parameters_
    assert np.shape(model.history_["gate_load"])[1] == model.n_experts_
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert (
        len(BalanceDisplay.from_estimator(model, plot=False).names) == model.n_experts_
    )
    display = ConvergenceDisplay.from_estimator(model, plot=False)
    assert len(display.removed) == len(gone)


@pytest.mark.parametrize(
    "router",
    [
        BiasBalancedRouter(1, update_rate=1e-6),
        TopPRouter(0.5, training="sparse"),
        ResidualRouter(),
        None,
    ],
    ids=repr,
)
def test_what_a_router_has_learned_stays_with_those_who_are_left(data, router):
    X, y = data
    model = starved(min_load=0.05).set_params(router=router, n_experts=6)
    quiet_fit(model, X, y)
    n_left = model.n_experts_
    assert n_left < 6
    assert len(vars(model.router_).get("bias_", model.experts_)) == n_left
    assert model.gate_proba(X).shape == (len(X), n_left)
    np.testing.assert_allclose(model.log_likelihood_, model.log_density(X, y).sum())
    state = model._learned.state
    quiet_fit(model.set_params(warm_start=True, trainer__max_epochs=2), X, y)
    assert model.n_experts_ <= n_left
    assert len(model._learned.state.theta) <= len(state.theta)
    for loads in model.history_["load"]:
        assert len(loads) == model.n_experts_
    model.partial_fit(X[:50], y[:50])
    assert np.isfinite(model.predict(X)).all()


def test_training_goes_on_without_the_removed(data):
    X, y = data
    model = quiet_fit(starved(min_load=0.01), X, y)
    left = [*model.named_experts_]
    parts = model._learned.state
    assert len(parts.optimizer.moments[0]) == len(parts.theta)
    assert len(parts.optimizer.steps) == 1 + 2 * len(left)
    before = model.score(X, y)
    model.set_params(trainer__learning_rate=0.002)
    for _ in range(20):
        model.partial_fit(X, y)
    assert [*model.named_experts_] == left
    assert model.score(X, y) > before


@pytest.mark.parametrize("gate", [SoftmaxGate(), MLPGate((4,))])
@pytest.mark.parametrize("variance", ["expert", "shared"])
@pytest.mark.parametrize(
    "router", [TopKRouter(2), NoisyTopKRouter(2), None, BiasBalancedRouter(2)], ids=repr
)
def test_parameters_are_those_of_who_is_left(data, gate, variance, router):
    X, y = data
    experts = [LinearExpert(), MLPExpert((3,)), LinearExpert(), MLPExpert((4,))]
    rows = Rows(X, [X] * 4, y[:, None], y, None, np.ones(len(y)))
    router = DenseRouter() if router is None else clone(router)
    router.observe(router.route(np.log(np.full((4, 4), 0.25))))
    likelihood = Gaussian(variance=variance)
    task = Task(rows, Recipe(gate, router, likelihood, experts, [*"abcd"]))
    problem, every = GradientTask(task, "likelihood"), np.arange(len(y))
    theta = problem.start() + 0.3 * np.random.default_rng(0).normal(
        size=problem.n_parameters
    )
    problem.gate.network.layers(theta[: problem.gate.n_parameters])[-1][1][1] = -60.0
    phase = Phase(1.3, dense=False)
    value, load = problem.evaluate(theta, every, phase)
    small, places, segments = problem.of_experts([0, 2, 3])
    own = theta[places]
    found, left = small.evaluate(own, every, phase)
    np.testing.assert_allclose(found, value, rtol=1e-9)
    np.testing.assert_allclose(left, load[[0, 2, 3]], atol=1e-9)
    assert len(segments) == len(small.bounds)
    assert small.task.recipe.names == ["a", "c", "d"]
    for one, other in zip(small.fitted_parts(own, 1.3)[1], (0, 2, 3), strict=True):
        whole = problem.fitted_parts(theta, 1.3)[1][other]
        np.testing.assert_array_equal(one.predict(X), whole.predict(X))


def test_moments_are_those_of_the_parameters_that_stay():
    bounds = np.array([[0, 2], [2, 5], [5, 8]])
    adam = Adam(np.arange(8.0), bounds, [1.0, 2.0, 3.0])
    rng = np.random.default_rng(0)
    theta = rng.normal(size=8)
    for touched in ([0, 1, 2], [0, 2]):
        adam.step(theta, rng.normal(size=8), 0.1, np.array(touched))
    places = np.array([0, 1, 5, 6, 7])
    small = adam.only(places, np.array([[0, 2], [2, 5]]), np.array([0, 2]))
    gradient, other = rng.normal(size=8), theta[places]
    part = gradient[places]
    adam.step(theta, gradient, 0.1, np.array([0, 2]))
    small.step(other, part, 0.1, np.array([0, 1]))
    np.testing.assert_allclose(other, theta[places], rtol=1e-14)


def test_classes_and_members_lose_experts_too(data):
    X, y = data
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    own = starved(min_load=0.01)
    router, trainer = own.router, own.trainer
    model = MoEClassifier(None, 12, router=router, trainer=trainer, n_members=2)
    quiet_fit(model, X, labels)
    assert model.n_experts_ < 24
    assert model.predict_proba(X).shape == (len(X), 3)
    assert len(model.named_experts_) == model.n_experts_


def test_a_graph_has_the_experts_that_are_left(data):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from skmoe.export import to_onnx

    X, y = data
    model = quiet_fit(starved(min_load=0.01), X, y)
    graph = to_onnx(model, X[:5])
    session = runtime.InferenceSession(graph.SerializeToString())
    name = session.get_inputs()[0].name
    found = session.run(None, {name: X[:50]})[0]
    np.testing.assert_allclose(found.ravel(), model.predict(X[:50]), rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (HierarchicalMoERegressor(branching=(2, 2)), "a tree of gates"),
        (MoERegressor(n_experts=2, router=HashRouter()), "asks no gate"),
    ],
)
def test_who_has_a_place_is_not_removed(data, model, message):
    model.set_params(trainer=Gradient(min_load=0.01))
    with pytest.raises(ValueError, match=f"min_load=0.01 with.*{message}"):
        model.fit(*data)


@pytest.mark.parametrize("value", [0, 1.0, -0.1, "few"])
def test_shares_that_make_no_sense_are_refused(data, value):
    with pytest.raises(ValueError, match="min_load=.* expected None or a number in"):
        starved(min_load=value).fit(*data)
    with pytest.raises(
        ValueError, match="min_load=0.01, but expected None with revive"
    ):
        starved(min_load=0.01, revive=3).fit(*data)


def test_removal_is_among_the_remedies(data):
    said = "to serve; use revive=10 or min_load=0.005 or losses"
    with pytest.warns(ExpertCollapseWarning, match=said):
        starved().fit(*data)
