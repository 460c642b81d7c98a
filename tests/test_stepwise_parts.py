"""Stepwise EM of parts that gain from sums: families, curves, Gaussian gates."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.experts._sums import ExpertRows
from skmoe.likelihoods import StudentT
from skmoe.trainers import EM
from skmoe.trainers._streamed import HeldRows

N, SIZE, FIRST = 2400, 300, 900


def drawn(seed, share=1.0, n=N):
    """Columns, linear predictors and curves of two regimes behind a softmax."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(n, 2))
    first = rng.random(n) < 1 / (1 + np.exp(-3 * X[:, 0]))
    eta = np.where(first, 1.5 + 0.5 * share * X[:, 1], 0.3 - 0.6 * share * X[:, 1])
    curve = np.where(first, 2 * np.sin(2 * X[:, 1]), X[:, 1] ** 2 - 2)
    return X, eta, share * curve, rng


def target(kind, eta, curve, rng):
    noise = 0.3 * rng.standard_normal(len(eta))
    return {
        "counts": lambda: rng.poisson(np.exp(eta)).astype(float),
        "positive": lambda: rng.gamma(5, np.exp(eta) / 5),
        "line": lambda: 3 * eta + noise,
        "curve": lambda: curve + noise,
        "outputs": lambda: np.column_stack(
            [3 * eta + noise, 1 - eta + 0.1 * rng.standard_normal(len(eta))]
        ),
        "classes": lambda: np.digitize(curve + noise, [-1.0, 1.0]),
        "sides": lambda: (curve + noise > 0).astype(int),
    }[kind]()


X, ETA, CURVE, RNG = drawn(0)
HELD_OUT = drawn(1)


def mixture(experts=None, kind=MoERegressor, **parameters):
    experts = LinearExpert() if experts is None else experts
    return kind(experts, 2, random_state=0, **parameters)


CURVES = AdditiveExpert(n_knots=8)
# What is a mixture of, and its target.
MODELS = {
    "poisson": (mixture(likelihood="poisson"), "counts"),
    "negative-binomial": (mixture(likelihood="negative-binomial"), "counts"),
    "gamma": (mixture(likelihood="gamma"), "positive"),
    "student-t": (mixture(likelihood=StudentT(df=4)), "line"),
    "laplace": (mixture(likelihood="laplace"), "line"),
    "gaussian gate": (mixture(gate="gaussian"), "line"),
    "tied": (mixture(gate="gaussian", likelihood="poisson"), "counts"),
    "outputs": (mixture(gate="gaussian"), "outputs"),
    "unlike": (mixture([LinearExpert(), LinearExpert(alpha=0)]), "line"),
    "own columns": (mixture(expert_features=[1], gate="additive"), "line"),
    "additive": (mixture(CURVES), "curve"),
    "additive both": (mixture(CURVES, gate="additive"), "curve"),
    "additive counts": (mixture(CURVES, likelihood="poisson"), "counts"),
    "constant gate": (mixture(CURVES, gate="constant", trainer="hard-em"), "curve"),
    "classes": (mixture(CURVES, MoEClassifier, gate="additive"), "classes"),
    "two classes": (mixture(CURVES, MoEClassifier), "sides"),
    "tree": (
        HierarchicalMoERegressor(LinearExpert(), (2,), likelihood="poisson"),
        "counts",
    ),
    "within one": (mixture(likelihood="poisson", router=1), "counts"),
    "linear classes": (mixture(kind=MoEClassifier, gate="gaussian"), "sides"),
}


def given(name):
    """A model and its target."""
    model, kind = MODELS[name]
    return clone(model), target(kind, ETA, CURVE, np.random.default_rng(2))


def stepping(model, **parameters):
    kind = type(EM()) if model.trainer == "em" else type(model._resolve().trainer)
    return model.set_params(trainer=kind(**parameters))


def learned(model, A, b, *starts, size=SIZE):
    """The model after batches that begin at rows ``starts``."""
    for start in starts:
        part = slice(start, start + (FIRST if start == 0 else size))
        first = start == 0 and hasattr(model, "class_weight")
        own = {"classes": np.unique(b)} if first else {}
        model.partial_fit(A[part], b[part], **own)
    return model


@pytest.mark.filterwarnings("ignore:HardEM stopped", "ignore:EM stopped")
@pytest.mark.parametrize("name", [name for name in MODELS if name != "own columns"])
def test_one_step_on_all_rows_is_one_of_rows_on_disk(name):
    model, y = given(name)
    model = learned(stepping(model, step=1.0, max_refits=3), X, y, 0)
    problem, theta = model._learned.state.frame
    problem, theta = problem.of_total(theta, float(N))
    outputs = y if hasattr(model, "classes_") else y.reshape(N, -1)
    streamed = problem.over(HeldRows.of(X, outputs, np.ones(N), float(N)))
    expected = streamed.maximise(theta, streamed.evaluate(theta)[1])
    model.partial_fit(X, y)
    found = model._learned.state.frame.theta
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert np.abs(found - theta).max() > 1e-6


def trials_of(seed):
    """Trials and successes of two regimes."""
    X, eta, _, rng = drawn(seed, n=1500)
    trials = rng.integers(1, 10, len(X))
    y = rng.binomial(trials, 1 / (1 + np.exp(2 - 2 * eta)))
    return X, y.astype(float), trials.astype(float)


def test_batches_bring_their_trials_along():
    A, b, trials = trials_of(4)
    model = mixture(likelihood="binomial")
    whole = clone(model).fit(A, b, trials=trials)
    for start in range(0, len(A), 500):
        part = slice(start, start + 500)
        model.partial_fit(A[part], b[part], trials=trials[part])
    A, b, trials = trials_of(5)
    told = [own.log_density(A, b, trials=trials).mean() for own in (model, whole)]
    assert told[0] > told[1] - 0.01
    with pytest.raises(ValueError, match="exceeds its trials"):
        model.partial_fit(A, b)


NEAR = ["poisson", "student-t", "gaussian gate", "outputs", "own columns", "additive"]
NEAR += ["additive both", "classes", "two classes"]


@pytest.mark.parametrize("name", NEAR)
def test_a_pass_comes_near_the_optimum(name):
    model, y = given(name)
    start = learned(clone(model), X, y, 0)
    half = learned(copy.deepcopy(start), X, y, 900, 1200)
    whole = learned(copy.deepcopy(half), X, y, 1500, 1800, 2100)
    full = clone(model).set_params(trainer=EM(objective="likelihood")).fit(X, y)
    A, *rest = HELD_OUT
    b = target(MODELS[name][1], *rest[:2], np.random.default_rng(3))
    told = [own.log_density(A, b).mean() for own in (start, whole, full)]
    assert told[1] > told[0] - 0.005
    assert abs(told[2] - told[1]) < 0.015
    assert whole.n_iter_ == 6
    # As after a pause.
    again = learned(pickle.loads(pickle.dumps(half)), X, y, 1500, 1800, 2100)
    np.testing.assert_array_equal(again.predict(A), whole.predict(A))
    assert again.history_["log_density"] == whole.history_["log_density"]


@pytest.mark.parametrize("name", ["poisson", "additive"])
def test_a_constant_step_follows_drift(name):
    model, y = given(name)
    Z, *after = drawn(4, share=0.3)
    after = target(MODELS[name][1], *after[:2], np.random.default_rng(5))
    starts, later = [0, *range(FIRST, N, SIZE)], [*range(SIZE, N, SIZE)]
    constant = learned(stepping(clone(model), step=0.3), X, y, *starts)
    falling = learned(clone(model), X, y, *starts)
    for own in (constant, falling):
        learned(own, Z, after, *later, *later)
    told = np.array(constant.history_["log_density"])
    # The batch at the change point is a surprise, those after it less and less.
    assert told.argmin() == len(starts) - 1
    full = model.set_params(trainer=EM(objective="likelihood")).fit(Z, after)
    found = [own.log_density(Z, after).mean() for own in (full, constant, falling)]
    assert found[0] - found[1] < min(0.02, 0.7 * (found[0] - found[2]))


def block(family, **parameters):
    """Sums of one expert, parameters, and rows for it at any of them."""
    names = {"poisson": "counts", "gaussian": "line"}
    y = target(names[family], ETA, CURVE, np.random.default_rng(2))
    model = mixture(**parameters, likelihood=family, gate="gaussian")
    problem, theta = learned(model, X, y, 0)._learned.state.frame
    weight = np.random.default_rng(3).uniform(size=N)

    def rows(at, likelihood=None):
        expert = problem.experts[0].at(at)
        view = X if parameters == {} else expert.encoding_.bins(X)
        known = model.likelihoods_[0] if likelihood is None else likelihood
        prediction = expert.predict(view).reshape(N, 1)
        return ExpertRows(view, y[:, None], weight, prediction, known)

    return problem, problem.split(theta)[1][0], rows


def summed(own, theta, rows):
    sums = own.zeros()
    own.add(sums, theta, rows)
    return sums


def test_carried_sums_of_least_squares_are_those_of_the_rows():
    problem, theta, rows = block("gaussian")
    own, likelihood = problem.experts[0], problem.dispersions[0].likelihood
    moved = theta + np.array([0.1, -0.2, 0.3])
    wider = likelihood.with_dispersions(2.0 * np.ones((1, 1)), False)
    sums = own.carried(summed(own, theta, rows(theta, likelihood)), theta, moved)
    variances = [each.penalty_variance(1) for each in (likelihood, wider)]
    sums = own.rescaled(sums, variances[0] / variances[1])
    expected = summed(own, moved, rows(moved, wider))
    for found, exact in zip(sums, expected, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9 * N)


@pytest.mark.parametrize("parts", [{}, {"experts": CURVES}], ids=["line", "curves"])
def test_carried_slopes_are_near_those_of_the_rows(parts):
    problem, theta, rows = block("poisson", **parts)
    own, rng = problem.experts[0], np.random.default_rng(4)
    moved = theta + 1e-3 * rng.standard_normal(len(theta))
    sums = summed(own, theta, rows(theta))
    found = own.carried(sums, theta, moved)[1]
    expected = summed(own, moved, rows(moved))[1]
    change = np.abs(expected - sums[1]).max()
    assert np.abs(found - expected).max() < 0.02 * change


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (mixture(CURVES, MoEClassifier), "sides"),
        (mixture(kind=MoEClassifier, gate="gaussian"), "classes"),
    ],
    ids=["curves", "lines"],
)
def test_carried_slopes_of_classes(model, labels):
    y = target(labels, ETA, CURVE, np.random.default_rng(2))
    problem, theta = learned(clone(model), X, y, 0)._learned.state.frame
    own, theta = problem.experts[0], problem.split(theta)[1][0]
    move = 1e-3 * np.random.default_rng(4).standard_normal((len(np.unique(y)), 1))
    move = move - move.mean()
    moved = (theta.reshape(len(move), -1) + move).ravel()
    view = X if own.encoding is None else own.encoding.bins(X)
    rows = ExpertRows(view, y, np.ones(N), None, None)
    sums, expected = (summed(own, at, rows) for at in (theta, moved))
    found, place = own.carried(sums, theta, moved), int(own.encoding is not None)
    change = np.abs(expected[place] - sums[place]).max()
    assert np.abs(found[place] - expected[place]).max() < 0.02 * change


def test_carried_derivatives_of_dispersions():
    problem, theta, rows = block("gaussian")
    own = problem.dispersions[0]
    logs, at = own.vector(own.likelihood), rows(theta)
    sums, moved = summed(own, logs, at), logs + 1e-2
    found, expected = own.carried(sums, logs, moved)[0], summed(own, moved, at)[0]
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected - sums[0]).max()
    # Where the log-likelihood curves upwards slopes stay.
    upwards = sums[0], np.abs(sums[1])
    np.testing.assert_array_equal(own.carried(upwards, logs, moved)[0], sums[0])


def test_raw_tables_keep_knots_and_levels_of_the_first_rows():
    y = target("curve", ETA, CURVE, np.random.default_rng(2))
    table = pd.DataFrame(
        {"x": X[:, 0], "z": X[:, 1], "side": np.where(X[:, 0] > 0, "a", "b")}
    )
    y = y + (table["side"] == "a")
    model = learned(mixture(CURVES, gate="additive"), table, y, 0)
    known = {own.name: own.knots for own in model.experts_[0].curves_}
    table.loc[1000:, "z"] += 3.0
    table.loc[1000:1100, "side"] = "new"
    table.loc[1050:1150, "x"] = np.nan
    learned(model, table, y, 900, 1200, 1500)
    curves = {own.name: own for own in model.experts_[0].curves_}
    for name in ("x", "z"):
        np.testing.assert_array_equal(curves[name].knots, known[name])
    assert curves["side"].levels == ["a", "b"]
    assert np.isfinite(model.predict(table)).all()


def test_columns_without_spread_at_first():
    rng = np.random.default_rng(6)
    late = np.where(np.arange(N) < FIRST, 5.0, 100 * rng.uniform(-1, 1, N))
    A = np.column_stack([X, late])
    y = rng.poisson(np.exp(0.3 * X[:, 1] + late / 100))
    for scaled in (True, False):
        model = mixture(LinearExpert(standardize=scaled), likelihood="poisson")
        model.set_params(n_experts=1)
        learned(model, A, y.astype(float), 0, *2 * [*range(900, N, SIZE)])
        assert model.experts_[0].coef_[2] == pytest.approx(0.01, rel=0.1)


def test_a_weight_of_two_is_the_row_twice():
    model, y = given("poisson")
    weight = np.random.default_rng(2).integers(0, 3, N).astype(float)
    one, two = clone(model), clone(model)
    for start in range(0, 1800, 600):
        part = slice(start, start + 600)
        one.partial_fit(X[part], y[part], sample_weight=weight[part])
        times = weight[part].astype(int)
        two.partial_fit(np.repeat(X[part], times, axis=0), np.repeat(y[part], times))
    densities = [own.log_density(X, y) for own in (one, two)]
    np.testing.assert_allclose(*densities, rtol=0, atol=1e-4)


def test_classes_that_come_late():
    model, y = given("linear classes")
    y = y + (np.arange(N) >= FIRST) * (X[:, 1] > 1)
    model.partial_fit(X[:FIRST], y[:FIRST], classes=[0, 1, 2])
    learned(model, X, y, *3 * [*range(900, N, SIZE)])
    late = np.arange(N) >= FIRST
    seen = model.predict_proba(X[late])
    assert seen.shape[1] == 3
    assert seen[y[late] == 2, 2].mean() > 0.4 > seen[y[late] < 2, 2].mean() + 0.2


def test_fit_keeps_its_sums_for_a_step():
    for name in ("poisson", "additive"):
        model, y = given(name)
        model = stepping(model, step=0.2).fit(X[:1800], y[:1800])
        before = model.log_density(X, y).mean()
        learned(model, X, y, 1800)
        assert abs(model.log_density(X, y).mean() - before) < 0.02
        assert model.n_iter_ == 2
    exposed = stepping(given("poisson")[0], step=0.2)
    exposed.fit(X, np.abs(y).round(), offset=np.zeros(N))
    exposed.partial_fit(X, np.abs(y).round(), offset=np.zeros(N))
    assert exposed.n_iter_ == 2
    assert not hasattr(mixture(CURVES).fit(X, y), "partial_fit")


def test_failed_calls_leave_the_model():
    model, y = given("poisson")
    learned(model, X, y, 0)
    before, memory = model.predict(X), pickle.dumps(model._learned.state)
    calls = [
        (X, -y - 1.0, "Poisson"),
        (X[:, :1], y, "features"),
        (X, np.column_stack([y, y]), "n_outputs"),
    ]
    for A, b, match in calls:
        with pytest.raises(ValueError, match=match):
            model.partial_fit(A, b)
    model.set_params(experts="additive")
    with pytest.raises(ValueError, match="has not kept"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="Poisson"):
        clone(model).partial_fit(X, -y - 1.0)
    np.testing.assert_array_equal(model.predict(X), before)
    assert pickle.dumps(model._learned.state) == memory
    beside = mixture(CURVES, MoEClassifier, shared_expert=LinearExpert())
    with pytest.raises(ValueError, match="shared expert beside"):
        beside.partial_fit(X, (y > 1).astype(int), classes=[0, 1])


def test_a_shared_expert_of_values():
    model, y = given("additive")
    model.set_params(shared_expert=Ridge())
    learned(model, X, y, 0, 900, 1200)
    other = learned(given("additive")[0], X, y, 0, 900, 1200)
    assert model.score(X, y) == pytest.approx(other.score(X, y), abs=0.03)


@pytest.mark.parametrize("freeze", ["experts", "gate", ["expert1"]])
@pytest.mark.parametrize("name", ["poisson", "gaussian gate", "additive both"])
def test_frozen_parts_stay_bitwise_the_same(name, freeze):
    model, y = given(name)
    learned(model, X, y, 0)
    before = [own.predict(X[:, :2]) for own in model.experts_]
    gate = model.gate_.predict_log_proba(X)
    for start in (900, 1200):
        part = slice(start, start + SIZE)
        model.partial_fit(X[part], y[part], freeze=freeze)
    for number, old in enumerate(before):
        same = freeze == "experts" or f"expert{number}" in freeze
        assert np.array_equal(model.experts_[number].predict(X), old) == same
    found = model.gate_.predict_log_proba(X)
    assert np.array_equal(found, gate) == (freeze == "gate")
