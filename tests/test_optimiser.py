"""Steps of training by gradient: schedules, rates, segments, precision, losses."""

import threading

import numpy as np
import pytest
from sklearn.base import clone

from skmoe import MoERegressor
from skmoe._numerics.network import Adam
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.losses import (
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    MutualInformationLoss,
    RouterZLoss,
)
from skmoe.routers import NoisyTopKRouter, TopKRouter
from skmoe.trainers import Gradient, Recipe, Rows
from skmoe.trainers._gradient.record import Record
from skmoe.trainers._gradient.run import GradientRun
from skmoe.trainers._gradient.task import GradientTask, Phase
from skmoe.trainers._gradient.team import LEAST_WORK, Team
from skmoe.trainers._task import Task


@pytest.fixture(scope="module")
def data():
    return make_gated_regression(400, 3, 3, noise=0.3, random_state=0)


def problem_of(X, y, *, expert, router, n_experts=6):
    rows = Rows(X, [X] * n_experts, y[:, None], y, None, np.ones(len(y)))
    names = [f"e{k}" for k in range(n_experts)]
    experts = [expert] * n_experts
    recipe = Recipe(SoftmaxGate(), router, Gaussian(), experts, names)
    problem = GradientTask(Task(rows, recipe), "likelihood")
    problem.guide = np.full((len(y), n_experts), 1.0 / n_experts)
    return problem


# -- schedules and rates ---------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [
        ("constant", 1.0, 1.0),
        ("cosine", 0.5, 0.0),
        ("linear", 0.5, 0.0),
        ("plateau", 1.0, 1.0),
    ],
)
def test_schedules(schedule, middle, end):
    trainer = Gradient(schedule=schedule, warmup=0.2)
    rates = [trainer.rate(share) for share in (0.0, 0.1, 0.2, 0.6, 1.0)]
    np.testing.assert_allclose(rates, [0.0, 0.5, 1.0, middle, end], atol=1e-12)


def test_rates_halve_on_a_plateau():
    run = GradientRun.__new__(GradientRun)
    run.trainer = Gradient(schedule="plateau", n_iter_no_change=6)
    run.record, run.stage_start, run.slowed = Record([]), 0, 1.0
    slowed = []
    for value in [3.0, 2.0, 2.5, 2.0, 1.0, 1.5, 1.5, 1.5, 1.5]:
        run.record.add(held_out_loss=value, bound=0.0)
        run._slow_down()
        slowed.append(run.slowed)
    assert slowed == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    run.trainer = Gradient()
    run._slow_down()
    assert run.slowed == 0.125


def test_a_plateau_ends_training(data):
    trainer = Gradient(schedule="plateau", learning_rate=0.1, n_iter_no_change=6)
    model = MoERegressor(n_experts=3, trainer=trainer, random_state=0).fit(*data)
    assert model.converged_
    assert model.score(*data) > 0.5


def test_gate_and_experts_have_rates_of_their_own(data):
    X, y = data
    rates = {"gate": 1e-12, "experts": 0.02}
    trainer = Gradient(start="random", max_epochs=20, learning_rate=rates)
    model = MoERegressor(n_experts=3, trainer=trainer, random_state=0).fit(X, y)
    # As at the start, where weights are nearly equal.
    assert np.ptp(model.gate_proba(X), axis=0).max() < 0.25
    assert model.score(X, y) > 0.1
    model.set_params(trainer__learning_rate={"gate": 0.02, "experts": 1e-12}).fit(X, y)
    assert np.ptp(model.gate_proba(X), axis=0).max() > 0.4
    for wrong in ({"gate": 0.1}, {"gate": 0.1, "experts": 0}, -1, {"gate": 1, "b": 1}):
        model.set_params(trainer__learning_rate=wrong)
        with pytest.raises(ValueError, match="expected a number > 0, or a dict"):
            model.fit(X, y)


# -- segments -------------------------------------------------------------------


@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((4,))])
def test_a_batch_moves_only_the_experts_that_it_asked(data, expert):
    X, y = data
    router = TopKRouter(1, training="sparse")
    problem = problem_of(X, y, expert=expert, router=router)
    theta, rng = problem.start(), np.random.default_rng(0)
    optimizer = Adam(
        0.1 * problem.is_weight(), problem.bounds, np.full(len(problem.bounds), 0.01)
    )
    gradient, before = np.zeros_like(theta), theta.copy()
    batch, phase = np.arange(8), Phase(1.0, dense=False)
    step = problem.gradient(theta, batch, rng, phase, [], gradient)
    problem.add_penalty(theta, problem.ridge(), step.touched, optimizer.due, gradient)
    optimizer.step(theta, gradient, 1.0, step.touched)
    asked = np.flatnonzero(step.routing.load)
    assert 0 < len(asked) < 6
    for k in range(6):
        own = problem.expert_slices[k]
        assert np.array_equal(theta[own], before[own]) == (k not in asked)
    assert not gradient.any()
    # What was due in between is made up for.
    first = 1 + asked[0]
    idle = next(s for s in range(1, 7) if s - 1 not in asked)
    assert optimizer.due[first] == 1
    assert optimizer.due[idle] == 2


def test_parameters_belong_to_one_segment_each(data):
    for variance in ("own", "shared"):
        problem = problem_of(*data, expert=LinearExpert(), router=TopKRouter(1))
        problem.task.recipe.likelihood.variance = variance
        problem._lay_out()
        covered = np.concatenate([np.arange(*pair) for pair in problem.bounds])
        np.testing.assert_array_equal(covered, np.arange(problem.n_parameters))
        touched = problem.touched(np.arange(6))
        np.testing.assert_array_equal(np.sort(touched), np.arange(len(problem.bounds)))


# -- precision ------------------------------------------------------------------


@pytest.mark.parametrize("router", [None, TopKRouter(1, training="sparse")])
@pytest.mark.parametrize(
    "expert", [LinearExpert(), MLPExpert((6,), "tanh", n_frequencies=2)]
)
def test_single_columns_are_trained_in_single_precision(data, expert, router):
    X, y = data
    trainer = Gradient(max_epochs=6, early_stopping=False)
    model = MoERegressor(
        expert, n_experts=3, router=router, trainer=trainer, random_state=0
    )
    # Values that single precision holds, so that both see the same columns.
    X = X.astype(np.float32).astype(float)
    double = model.fit(X, y)
    single = clone(model).fit(X.astype(np.float32), y)
    state = single._learned.state
    kinds = {own.dtype.name for own in state.optimizer.moments}
    assert kinds == {"float32"}
    kinds = {own.dtype.name for own in double._learned.state.optimizer.moments}
    assert kinds == {"float64"}
    near = np.std(single.predict(X.astype(np.float32)) - double.predict(X))
    assert 0 < near < 0.02 * np.std(y)
    found = single.log_density(X.astype(np.float32), y).sum()
    np.testing.assert_allclose(single.log_likelihood_, found, rtol=1e-5)
    single.partial_fit(X[:50].astype(np.float32), y[:50])


# -- losses ---------------------------------------------------------------------

LOSSES = [
    ImportanceLoss(1.0),
    LoadBalancingLoss(1.0),
    LoadLoss(1.0),
    MutualInformationLoss(1.0),
    RouterZLoss(1.0),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda own: type(own).__name__)
@pytest.mark.parametrize(
    "phase",
    [Phase(1.0, dense=True, guided=True), Phase(1.0, True), Phase(1.0, False)],
    ids=["guided", "soft", "sparse"],
)
def test_losses_act_in_every_stage(data, loss, phase):
    X, y = data
    problem = problem_of(X, y, expert=LinearExpert(), router=NoisyTopKRouter(2))
    theta = problem.start()
    theta += 0.3 * np.random.default_rng(1).normal(size=len(theta))
    slopes = []
    for losses in ([], [loss]):
        gradient, rng = np.zeros_like(theta), np.random.default_rng(2)
        step = problem.gradient(theta, np.arange(64), rng, phase, losses, gradient)
        slopes.append(gradient[: problem.gate.n_parameters])
    assert step.parts[1] != 0
    assert np.abs(slopes[1] - slopes[0]).max() > 1e-3


# -- threads --------------------------------------------------------------------


@pytest.mark.parametrize("router", [None, TopKRouter(2, training="sparse")])
def test_threads_change_nothing(data, router, monkeypatch):
    X, y = data
    monkeypatch.setattr("skmoe.trainers._gradient.team.LEAST_WORK", 0)
    experts = [LinearExpert(), MLPExpert((6,)), MLPExpert((6,)), MLPExpert((6,))]
    trainer = Gradient(max_epochs=4, expert_dropout=0.2, early_stopping=False)
    model = MoERegressor(experts, router=router, trainer=trainer, random_state=0)
    found = [
        clone(model).set_params(n_jobs=n_jobs).fit(X, y).predict(X)
        for n_jobs in (1, 2, 3)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_threads_share_the_experts():
    calls, threads = [], set()

    def call(offsets):
        calls.append(offsets)
        threads.add(threading.get_ident())

    team = Team(2)
    team.run(call, np.array([0, -1, 3, 6]), LEAST_WORK)
    assert len(calls) == 1
    with team:
        team.run(call, np.array([0, -1, 3, 6]), LEAST_WORK)
        team.run(call, np.array([0, -1, 3, 6]), LEAST_WORK - 1)
    first, second = sorted(calls[1:3], key=lambda own: own[0])
    np.testing.assert_array_equal(np.maximum(first, second), [0, -1, 3, 6])
    assert np.minimum(first, second).max() == -1
    assert len(calls) == 4
    assert threading.get_ident() in threads
    assert len(threads) > 1
