"""EM that ends with steps for the mean: what they climb, gain, and leave alone."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import GaussianGate, SoftmaxGate
from skmoe.likelihoods import Gaussian, Poisson
from skmoe.mixture import log_prob, mean
from skmoe.routers import DenseRouter, HashRouter
from skmoe.trainers import EM, HardEM, Recipe, Rows
from skmoe.trainers._em import prediction
from skmoe.trainers._em.prediction import PredictionMixture
from skmoe.trainers._em.refit import Parts
from skmoe.trainers._task import Task

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
ADDITIVE = {"experts": "additive", "gate": "additive"}


def wide_and_narrow(n_rows=400, seed=0):
    """Two regimes, of which the one that bends has twenty times the noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    wide = X[:, 0] + 0.5 * rng.normal(size=n_rows) > 0
    y = np.where(wide, 2.0 * X[:, 1] + np.abs(X[:, 2]), 1.0 - X[:, 1])
    return X, y + rng.normal(size=n_rows) * np.where(wide, 1.0, 0.05)


def smooth(n_rows=400, seed=0):
    """A surface that is no mixture, with noise that grows along it."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n_rows, 3))
    y = np.exp(3.0 * X[:, 0] * X[:, 1]) + 5.0 * np.sin(4.0 * X[:, 2])
    return X, y + 2.0 * X[:, 0] * rng.normal(size=n_rows)


def fitted(X, y, objective="prediction", *, weight=None, **parameters):
    given = {"n_experts": 3, "random_state": 0, **parameters}
    model = MoERegressor(trainer=EM(objective=objective), **given)
    return model.fit(X, y, sample_weight=weight)


def error(model, X, y):
    return float(np.mean((model.predict(X) - y) ** 2))


# -- the objective, and its steps -------------------------------------------------


class Recording(SoftmaxGate):
    """A gate that keeps the targets of its last update."""

    def update(self, X, resp, sample_weight=None):
        self.targets = resp
        return super().update(X, resp, sample_weight)


def problem_and_parts(n_outputs=1, alpha=1.0):
    """A mixture of two linear experts that is not at any optimum."""
    rng = np.random.default_rng(1)
    X, y = wide_and_narrow(60)
    y = np.column_stack([y, y**2])[:, :n_outputs]
    weight, resp = rng.uniform(0.5, 2.0, size=60), softmax(X[:, :2], axis=1)
    recipe = Recipe(
        gate=Recording(alpha=0.3),
        router=DenseRouter(),
        likelihood=Gaussian(),
        experts=[LinearExpert(alpha=alpha)] * 2,
        names=["a", "b"],
    )
    task = Task(Rows(X, [X, X], y, y, None, weight), recipe)
    shares = weight[:, None] * resp
    experts = [
        clone(e).fit(X, y, s) for e, s in zip(recipe.experts, shares.T, strict=True)
    ]
    predictions = [own.predict(X).reshape(60, -1) for own in experts]
    likelihoods = Gaussian().fit_dispersions(y, predictions, shares)
    gate = clone(recipe.gate).fit(X, resp, weight)
    return PredictionMixture(task), Parts(gate, experts, likelihoods)


def objective(logits, problem, parts):
    """Half the mean log-density of the mixture, and half that of one Gaussian around
    its mean, up to a constant."""
    rows = problem.task.rows
    log_gate = logits - logsumexp(logits, axis=1, keepdims=True)
    at = [own.predict(rows.gate_view).reshape(rows.y.shape) for own in parts.experts]
    densities = log_prob(parts.likelihoods, rows.y, at)
    share = rows.weight / rows.weight.sum()
    rest = rows.y - mean(np.exp(log_gate), np.stack(at, axis=1))
    density = share @ logsumexp(log_gate + densities, axis=1)
    return 0.5 * density - 0.25 * np.sum(np.log(share @ rest**2))


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_half_of_the_objective_is_the_density_of_the_mean(n_outputs):
    problem, parts = problem_and_parts(n_outputs)
    value, _ = problem.evaluate(parts)
    logits = parts.gate.predict_log_proba(problem.task.rows.gate_view)
    paid = problem._penalty(parts) / problem.total_weight
    np.testing.assert_allclose(value, objective(logits, problem, parts) - paid)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_gates_are_updated_along_the_slope_of_the_objective(n_outputs):
    problem, parts = problem_and_parts(n_outputs)
    rows, (_, state) = problem.task.rows, problem.evaluate(parts)
    targets = problem.maximise(parts, state).gate.targets
    assert np.all(targets >= 0)
    slope = targets - targets.sum(axis=1, keepdims=True) * state.gate
    slope *= (rows.weight / rows.weight.sum())[:, None]
    logits = parts.gate.predict_log_proba(rows.gate_view)
    for row, k in [(0, 0), (7, 1), (33, 0)]:
        move = np.zeros_like(logits)
        move[row, k] = 1e-4
        up, down = (objective(logits + m, problem, parts) for m in (move, -move))
        np.testing.assert_allclose(slope[row, k], (up - down) / 2e-4, rtol=1e-4)


def test_steps_of_experts_go_to_the_joint_least_squares(monkeypatch):
    monkeypatch.setattr(prediction, "SHARE", 1.0)
    problem, parts = problem_and_parts(alpha=0)
    rows, errors = problem.task.rows, []
    for _ in range(500):
        _, state = problem.evaluate(parts)
        errors.append(state.errors[0])
        parts = parts._replace(experts=problem._stepped_experts(parts, state))
    assert np.all(np.diff(errors) <= 1e-12)
    ones = np.column_stack([rows.gate_view, np.ones(60)])
    joint = np.column_stack([g[:, None] * ones for g in state.gate.T])
    root = np.sqrt(rows.weight)[:, None]
    _, squares, *_ = np.linalg.lstsq(root * joint, root * rows.y)
    np.testing.assert_allclose(errors[-1], squares[0] / rows.weight.sum(), rtol=1e-3)
    assert errors[0] > 1.1 * errors[-1]


def test_each_step_climbs():
    problem, parts = problem_and_parts(2)
    value, state = problem.evaluate(parts)
    for _ in range(5):
        parts = problem.maximise(parts, state)
        before, (value, state) = value, problem.evaluate(parts)
        assert value > before


# -- what it gains, and what it tells -----------------------------------------------


@pytest.mark.parametrize("parts", [{}, ADDITIVE], ids=["linear", "additive"])
def test_the_mean_of_fresh_rows_gains_and_their_density_hardly_pays(parts):
    ratios, nats = [], []
    for seed in range(6):
        X, y = smooth(seed=seed)
        fresh = smooth(2000, seed=seed + 10)
        two = [fitted(X, y, own, **parts) for own in ("likelihood", "prediction")]
        errors = [error(model, *fresh) for model in two]
        ratios.append(errors[1] / errors[0])
        nats.append(np.mean(two[1].log_density(*fresh) - two[0].log_density(*fresh)))
    assert np.mean(ratios) < 0.99
    assert np.mean(nats) > -0.03


def test_history_tells_what_was_done():
    X, y = wide_and_narrow()
    model = fitted(X, y)
    told = model.history_["prediction"]
    assert told["taken"]
    assert told["left"] is None
    assert 0 < told["n_iter"] <= prediction.STEPS
    before = fitted(X, y, "likelihood")
    assert "prediction" not in before.history_
    for name, own in (("before", before), ("after", model)):
        np.testing.assert_allclose(told[name]["squared_error"], [error(own, X, y)])
        density = np.mean(own.log_density(X, y))
        np.testing.assert_allclose(told[name]["log_density"], density)
        np.testing.assert_allclose(own.log_likelihood_, len(y) * density)
    assert error(model, X, y) < error(before, X, y)
    np.testing.assert_allclose(
        model.expert_load_, model.responsibilities(X, y).mean(axis=0)
    )


def test_the_objective_must_be_known():
    with pytest.raises(ValueError, match="objective='mean', but expected"):
        fitted(*wide_and_narrow(), "mean")


# -- what stays as it was -------------------------------------------------------------


def test_classes_have_no_other_objective(classification):
    X, y = classification[:2]
    two = [
        MoEClassifier(n_experts=2, trainer=EM(objective=own), random_state=0).fit(X, y)
        for own in ("likelihood", "prediction")
    ]
    np.testing.assert_array_equal(*(model.predict_proba(X) for model in two))
    told = two[1].history_["prediction"]
    assert not told["taken"]
    assert "log-loss" in told["left"]


def test_one_expert_has_no_other_mean():
    X, y = wide_and_narrow()
    two = [fitted(X, y, own, n_experts=1) for own in ("likelihood", "prediction")]
    np.testing.assert_array_equal(*(model.predict(X) for model in two))


def test_steps_that_do_not_pay_are_not_taken(monkeypatch):
    X, y = wide_and_narrow()
    before = fitted(X, y, "likelihood")
    # The mean would pay with more nats of the density than it gains.
    monkeypatch.setattr(prediction, "LEAST_GAIN", 10.0)
    model = fitted(X, y)
    assert "too little" in model.history_["prediction"]["left"]
    np.testing.assert_array_equal(model.predict(X), before.predict(X))
    np.testing.assert_array_equal(model.log_density(X, y), before.log_density(X, y))


@pytest.mark.parametrize("slope", [0.0, 2.0])
def test_targets_without_noise_leave_nothing_to_gain(slope):
    X, _ = wide_and_narrow(100)
    y = 1.0 + slope * X[:, 0]
    model = fitted(X, y, experts=LinearExpert(alpha=0))
    np.testing.assert_allclose(model.predict(X), y, atol=1e-6)
    assert np.all(np.isfinite(model.log_density(X, y)))


def test_only_the_gate_moves_beside_experts_of_others():
    X, y = wide_and_narrow()
    frozen = FrozenEstimator(Ridge().fit(X[:50], y[:50]))
    experts = [DecisionTreeRegressor(max_depth=3, random_state=0), frozen]
    two = [
        fitted(X, y, own, experts=experts, n_experts=2)
        for own in ("likelihood", "prediction")
    ]
    assert two[1].history_["prediction"]["taken"]
    assert error(two[1], X, y) < error(two[0], X, y)
    for old, new in zip(two[0].experts_, two[1].experts_, strict=True):
        np.testing.assert_array_equal(old.predict(X), new.predict(X))


def test_gates_that_model_the_columns_stay():
    X, y = wide_and_narrow()
    two = [
        fitted(X, y, own, gate=GaussianGate()) for own in ("likelihood", "prediction")
    ]
    assert two[1].history_["prediction"]["taken"]
    weights = [np.sort(model.gate_.weights_) for model in two]
    np.testing.assert_array_equal(*weights)


def test_routers_with_rules_of_their_own_in_training_are_refused():
    with pytest.raises(ValueError, match=r"EM got router=HashRouter\(\), which routes"):
        fitted(*wide_and_narrow(), router=HashRouter())


# -- with everything else ----------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise": True},
        {"router": 2},
        {"n_members": 2},
        {"shared_expert": LinearExpert()},
        {"likelihood": "student-t"},
        {"experts": LinearExpert(alpha=1.0, l1_ratio=1.0)},
        {"gate": "constant"},
    ],
    ids=str,
)
def test_the_error_of_the_training_rows_falls(parameters):
    X, y = wide_and_narrow()
    two = [fitted(X, y, own, **parameters) for own in ("likelihood", "prediction")]
    assert error(two[1], X, y) < error(two[0], X, y)


def test_several_outputs_count_by_their_own_errors():
    X, y = wide_and_narrow()
    Y = np.column_stack([y, 1000.0 * X[:, 2] * y])
    model = fitted(X, Y)
    told = model.history_["prediction"]
    logs = [np.log(told[name]["squared_error"]).sum() for name in ("before", "after")]
    assert logs[1] < logs[0]
    scaled = fitted(X, Y / [1.0, 1000.0])
    np.testing.assert_allclose(
        model.predict(X) / [1.0, 1000.0], scaled.predict(X), rtol=1e-5, atol=1e-6
    )


def test_counts_move_their_gate():
    X, y = wide_and_narrow()
    counts = np.random.default_rng(0).poisson(np.exp(np.clip(y, -3.0, 3.0)))
    options = {"likelihood": Poisson(), "n_experts": 2}
    two = [
        fitted(X, counts.astype(float), own, **options)
        for own in ("likelihood", "prediction")
    ]
    errors = [error(model, X, counts) for model in two]
    assert errors[1] <= errors[0]
    assert two[1].history_["prediction"]["n_iter"] >= 1


@pytest.mark.parametrize("branching", [(2, 2), "grow"])
def test_trees_take_the_steps_as_a_whole(branching):
    X, y = wide_and_narrow()
    model = HierarchicalMoERegressor(
        branching=branching, trainer=EM(objective="prediction"), random_state=0
    ).fit(X, y)
    told = model.history_["prediction"]
    assert told["taken"]
    assert told["after"]["squared_error"] < told["before"]["squared_error"]


def test_hard_em_takes_them_too():
    X, y = wide_and_narrow()
    model = MoERegressor(trainer=HardEM(objective="prediction"), random_state=0)
    assert model.fit(X, y).history_["prediction"]["taken"]


def test_rows_count_by_their_weights():
    X, y = wide_and_narrow(200)
    times = np.arange(200) % 3
    repeated = np.repeat(np.arange(200), times)
    one, two = fitted(X, y, weight=times), fitted(X[repeated], y[repeated])
    np.testing.assert_allclose(one.predict(X), two.predict(X), rtol=1e-3, atol=1e-3)


def test_it_is_the_same_in_several_jobs():
    X, y = wide_and_narrow()
    one, two = fitted(X, y, **ADDITIVE), fitted(X, y, n_jobs=2, **ADDITIVE)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


def test_a_warm_start_goes_on_from_the_likelihood():
    X, y = wide_and_narrow()
    model = fitted(X, y, warm_start=True)
    first = model.history_["prediction"]["after"]["squared_error"]
    model.fit(X, y)
    told = model.history_["prediction"]
    assert told["taken"]
    np.testing.assert_allclose(told["after"]["squared_error"], first, rtol=0.02)
