"""Experts first, then the gate on their out-of-fold predictions."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    TimeSeriesSplit,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.exceptions import NoSampleWeightWarning
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import ClassifierGate, MLPGate
from skmoe.likelihoods import HeteroscedasticGaussian
from skmoe.routers import ExpertChoiceRouter, SwitchRouter
from skmoe.trainers import TwoStage
from skmoe.trainers._folds import draw_folds
from skmoe.trainers._two_stage.gate_stage import AloneStage, NetworkStage, gate_stage

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.NoSampleWeightWarning",
)
REGRESSORS = [("line", Ridge()), ("tree", DecisionTreeRegressor(max_depth=4))]
CLASSIFIERS = [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=4))]


def stage_of(model, X, y, monkeypatch):
    """The gate's problem as ``fit`` sets it up."""
    kept = []

    def spy(*args):
        kept.append(gate_stage(*args))
        return kept[-1]

    monkeypatch.setattr("skmoe.trainers._two_stage.trainer.gate_stage", spy)
    model.fit(X, y)
    return kept[0]


KINDS = ["values", "two values", "alone", "classes", "classes alone", "tree"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gate", ["softmax", MLPGate((3,))])
def test_gradient(kind, gate, regression, classification, monkeypatch):
    X, y = classification if "classes" in kind else regression
    X, y = X[:60], y[:60]
    common = {"trainer": "two-stage", "gate": gate, "random_state": 0}
    router = 1 if "alone" in kind else None
    if "classes" in kind:
        model = MoEClassifier(CLASSIFIERS, router=router, **common)
    elif kind == "tree":
        experts = [*REGRESSORS, ("mean", Ridge(1e6))]
        model = HierarchicalMoERegressor(experts, (1, 3), **common)
    else:
        y = np.column_stack([y, -(y**2)]) if kind == "two values" else y
        model = MoERegressor(REGRESSORS, router=router, **common)
    stage = stage_of(model, X, y, monkeypatch)
    rng = np.random.default_rng(0)
    theta = stage.start(stage.origin(slice(None)))
    theta += 0.3 * rng.normal(size=len(theta))
    rows = np.arange(5, 40)
    gradient = stage.loss(theta, rows)[1]
    moves = 1e-6 * np.eye(len(theta))
    found = [
        (stage.loss(theta + m, rows)[0] - stage.loss(theta - m, rows)[0]) / 2e-6
        for m in moves
    ]
    np.testing.assert_allclose(gradient, found, rtol=1e-5, atol=1e-8)


def test_experts_that_memorise_get_no_credit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.5 * rng.normal(size=400)
    experts = [("line", Ridge()), ("memory", KNeighborsRegressor(1))]
    model = MoERegressor(experts, trainer=TwoStage(calibrate=False)).fit(X, y)
    line, memory = model.gate_proba(X).mean(axis=0)
    assert line > 0.85
    in_sample = MoERegressor(experts).fit(X, y)
    assert in_sample.gate_proba(X)[:, 1].mean() > memory + 0.1


def test_out_of_fold_means_out_of_fold(regression, monkeypatch):
    X, y = regression
    folds = KFold(4, shuffle=True, random_state=3)
    model = MoERegressor(REGRESSORS, trainer=TwoStage(cv=folds), random_state=0)
    stage = stage_of(model, X, y, monkeypatch)
    expected = cross_val_predict(Ridge(), X, y, cv=folds)
    found = stage.corrected(stage.corrections.identity)[0][:, 0]
    np.testing.assert_allclose(found, expected)


def test_experts_are_fitted_to_all_rows(regression):
    X, y = regression
    model = MoERegressor(REGRESSORS, trainer="two-stage", random_state=0).fit(X, y)
    line = model.named_experts_["line"]
    np.testing.assert_allclose(line.estimator.coef_, Ridge().fit(X, y).coef_)
    corrected = line.intercept[0] + line.slope[0] * Ridge().fit(X, y).predict(X)
    np.testing.assert_allclose(model.predict_experts(X)[:, 0], corrected)
    plain = clone(model).set_params(trainer=TwoStage(calibrate=False)).fit(X, y)
    np.testing.assert_allclose(
        plain.predict_experts(X)[:, 0], Ridge().fit(X, y).predict(X)
    )


def test_experts_without_weights_see_the_rows_as_they_are(regression):
    X, y = regression
    model = MoERegressor([KNeighborsRegressor(3)], trainer=TwoStage(calibrate=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoSampleWeightWarning)
        model.fit(X, y)
    expected = KNeighborsRegressor(3).fit(X, y).predict(X)
    np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.warns(NoSampleWeightWarning):
        model.fit(X, y, sample_weight=np.arange(len(X)) % 2 + 1.0)


def test_corrections_repair_scale_and_confidence(classification):
    """An expert that shrinks is stretched, one that is too sure is cooled down."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2))
    y = X @ [1.0, 1.0] + 0.1 * rng.normal(size=500)
    model = MoERegressor([Ridge(500.0)], trainer="two-stage").fit(X, y)
    assert model.experts_[0].slope[0] > 1.5
    assert model.score(X, y) > 0.97
    X, y = classification
    sure = [DecisionTreeClassifier(random_state=0)]
    model = MoEClassifier(sure, trainer="two-stage").fit(X, y)
    assert model.experts_[0].temperature > 2.0


class Column(RegressorMixin, BaseEstimator):
    """Predicts one of the columns."""

    def __init__(self, number=0):
        self.number = number

    def fit(self, X, y, sample_weight=None):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X[:, self.number]


def test_a_constant_target(regression):
    X, _ = regression
    y = np.full(len(X), 3.0)
    model = MoERegressor(REGRESSORS, trainer="two-stage", random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), 3.0)


@pytest.mark.parametrize("hierarchical", [False, True])
def test_a_strong_penalty_is_linear_stacking(hierarchical):
    """Weights below zero included: here one expert knows the error of another."""
    rng = np.random.default_rng(0)
    y, error = rng.normal(size=(2, 500))
    noise = 0.3 * rng.normal(size=(500, 3))
    X = np.column_stack([y + error, error, y]) + noise
    experts = [(f"c{number}", Column(number)) for number in range(3)]
    trainer = TwoStage(alphas=[1e6])
    if hierarchical:
        model = HierarchicalMoERegressor(experts, (1, 3), trainer=trainer)
    else:
        model = MoERegressor(experts, trainer=trainer)
    model.set_params(random_state=0).fit(X, y)
    stacked = RidgeCV().fit(X, y).predict(X)
    assert np.mean((model.predict(X) - stacked) ** 2) < 0.02 * np.mean(
        (y - stacked) ** 2
    )


def test_regimes_are_gated():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(800, 2))
    left = X[:, 0] < 0
    y = np.where(left, 3 * X[:, 1], np.sign(X[:, 1])) + 0.1 * rng.normal(size=800)
    experts = [
        ("line", LinearRegression()),
        ("steps", DecisionTreeRegressor(max_depth=2)),
    ]
    model = MoERegressor(
        experts, trainer=TwoStage(alphas=[0.1, 1.0]), router=1, random_state=0
    ).fit(X, y)
    chosen = model.route(X).indices[:, 0]
    # Either expert serves one side more often than the other.
    share = [np.mean(chosen[side] == 1) for side in (left, ~left)]
    assert share[1] > share[0] + 0.3
    assert model.history_["alpha"] in (0.1, 1.0)


@pytest.mark.parametrize("router", [None, 1, 2])
def test_predictions_and_densities(regression, router):
    X, y = regression
    experts = [*REGRESSORS, ("mean", Ridge(1e6))]
    model = MoERegressor(experts, trainer="two-stage", router=router, random_state=0)
    model.fit(X, y)
    weights, each = model.gate_proba(X), model.predict_experts(X)
    np.testing.assert_allclose(model.predict(X), np.sum(weights * each, axis=1))
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, model.predict(X[:10]))
    assert np.isfinite(model.log_density(X, y)).all()
    assert model.score(X, y) > 0.3


@pytest.mark.parametrize("trainer", [TwoStage(), TwoStage(calibrate=False, cv=3)])
def test_n_jobs_and_order_change_nothing(regression, trainer):
    X, y = regression
    model = MoERegressor(REGRESSORS, trainer=trainer, random_state=0)
    first = clone(model).fit(X, y).predict(X)
    np.testing.assert_array_equal(
        clone(model).set_params(n_jobs=2).fit(X, y).predict(X), first
    )
    swapped = clone(model).set_params(experts=REGRESSORS[::-1]).fit(X, y)
    np.testing.assert_allclose(swapped.predict(X), first, rtol=1e-3, atol=1e-3)


def test_rows_that_are_never_tested_do_not_train_the_gate(regression, monkeypatch):
    X, y = regression
    model = MoERegressor(REGRESSORS, trainer=TwoStage(cv=TimeSeriesSplit(3)))
    stage = stage_of(model, X, y, monkeypatch)
    tested = sum(len(test) for _, test in TimeSeriesSplit(3).split(X))
    assert len(stage.weight) == tested < len(X)


def test_one_expert_is_itself(regression):
    X, y = regression
    model = MoERegressor([Ridge()], trainer=TwoStage(calibrate=False)).fit(X, y)
    np.testing.assert_allclose(model.predict(X), Ridge().fit(X, y).predict(X))


def test_weights_of_zero_are_no_rows(regression):
    X, y = regression
    weight = (np.arange(len(X)) % 3 > 0).astype(float)
    model = MoERegressor(REGRESSORS, trainer="two-stage", random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    fewer = clone(model).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_allclose(weighted.predict(X), fewer.predict(X))


def test_classes(classification):
    X, y = classification
    labels = np.array(["a", "b", "c"])[y]
    model = MoEClassifier(CLASSIFIERS, trainer="two-stage", random_state=0)
    model.fit(X, labels)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert model.score(X, labels) > 0.6
    # A class that some folds do not know.
    rare = labels.astype(object)
    rare[:2] = "rare"
    assert clone(model).fit(X, rare).predict_proba(X).shape[1] == 4


def test_raw_tables_and_frozen_experts(classification):
    X, y = classification
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    frame["c0"] = frame["c0"].where(frame["c0"] > -1.0)
    frozen = FrozenEstimator(HistGradientBoostingClassifier(max_iter=5).fit(frame, y))
    model = MoEClassifier(
        [("frozen", frozen), ("trees", HistGradientBoostingClassifier(max_iter=5))],
        trainer="two-stage",
        gate_features=SimpleImputer(),
    ).fit(frame, y)
    assert model.named_experts_["frozen"].estimator is frozen
    assert model.predict(frame).shape == y.shape


def test_built_in_experts_and_shared_ones(regression):
    X, y = regression
    model = MoERegressor(
        [LinearExpert(), MLPExpert((8,))],
        trainer="two-stage",
        shared_expert=Ridge(),
        n_members=2,
        random_state=0,
    ).fit(X, y)
    assert model.score(X, y) > 0.3


def test_groups_reach_the_splitter(regression, monkeypatch):
    X, y = regression
    groups = np.arange(len(X)) // 10
    trainer = TwoStage(cv=GroupKFold(4))
    model = MoERegressor(REGRESSORS, trainer=trainer, random_state=0)
    weight = (np.arange(len(X)) % 20 > 0).astype(float)
    with config_context(enable_metadata_routing=True):
        kept = []

        class Spy(NetworkStage):
            def solve(self, alpha, rows=slice(None), start=None):
                kept.append(rows)
                return super().solve(alpha, rows, start)

        monkeypatch.setattr("skmoe.trainers._two_stage.gate_stage.NetworkStage", Spy)
        model.set_fit_request(sample_weight=True)
        model.fit(X, y, groups=groups, sample_weight=weight)
    left = groups[weight > 0]
    expected = cross_val_predict(
        Ridge(), X[weight > 0], y[weight > 0], cv=GroupKFold(4), groups=left
    )
    stage_rows = [rows for rows in kept if not isinstance(rows, slice)]
    for rows in stage_rows:
        # The penalty is chosen on whole groups too.
        assert not set(left[rows]) & set(np.delete(left, rows))
    assert np.isfinite(expected).all()
    assert stage_rows


@pytest.mark.parametrize(
    "gate",
    ["gaussian", "constant", ClassifierGate(DecisionTreeClassifier(max_depth=3))],
)
@pytest.mark.parametrize("calibrate", [True, False])
def test_gates_that_are_no_networks(gate, calibrate, regression, classification):
    X, y = regression
    common = {"gate": gate, "trainer": TwoStage(calibrate=calibrate), "random_state": 0}
    model = MoERegressor(REGRESSORS, **common).fit(X, y)
    assert model.score(X, y) > 0.3
    bounds = np.array(model.lower_bounds_)
    if not calibrate and gate == "constant":
        # Corrections are penalised, trees greedy, and Gaussian gates fitted to the
        # joint density.
        assert (np.diff(bounds) > -1e-8).all()
    X, y = classification
    model = MoEClassifier(CLASSIFIERS, **common).fit(X, y)
    assert model.score(X, y) > 0.6
    assert model.converged_


@pytest.mark.parametrize("settled", [True, False])
def test_only_what_would_still_gain_is_called_unfinished(
    settled, regression, monkeypatch
):
    monkeypatch.setattr(NetworkStage, "_has_settled", lambda *_: settled)
    model = MoERegressor(REGRESSORS, trainer=TwoStage(max_iter=3), random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*regression)
    warned = any("max_iter=3" in str(w.message) for w in caught)
    assert warned is not settled
    assert model.converged_ is settled


def test_gains_are_judged_in_nats(regression, monkeypatch):
    model = MoERegressor(REGRESSORS, trainer="two-stage", random_state=0)
    stage = stage_of(model, *regression, monkeypatch)
    steps = np.arange(40.0)
    for loss in (1.0, 1e-6):
        assert stage._has_settled(list(-loss * (1 + np.exp(-steps))))
        assert not stage._has_settled(list(-loss * (1 + np.exp(-steps / 10))))
    assert not stage._has_settled([-1.0])


def test_gates_can_be_trained_for_densities():
    """The expert with the larger errors takes the rows with more noise."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 2))
    noise = np.where(X[:, 0] < 0, 0.1, 1.0)
    y = X[:, 1] + noise * rng.normal(size=600)
    experts = [
        ("line", LinearRegression()),
        ("steps", DecisionTreeRegressor(max_depth=2)),
    ]
    density = []
    for objective in ("prediction", "likelihood"):
        trainer = TwoStage(objective=objective, alphas=[0.1, 1.0])
        model = MoERegressor(experts, trainer=trainer, random_state=0).fit(X, y)
        density.append(model.log_density(X, y).mean())
        assert model.history_["alpha"] in (0.1, 1.0)
    assert density[1] > density[0] + 0.2
    _, std = model.predict(X, return_std=True)
    assert std[X[:, 0] < -0.3].mean() < 0.5 * std[X[:, 0] > 0.3].mean()


class Doubtful(DecisionTreeClassifier):
    """Says little of what it knows."""

    def predict_proba(self, X):
        proba = super().predict_proba(X) + 0.01
        proba **= 0.05
        return proba / proba.sum(axis=1, keepdims=True)


def test_sparse_gates_judge_experts_by_their_corrected_answers():
    """The better of two serves, though nobody would know it by what it says."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    y = (X[:, 0] > 0).astype(int)
    X[:, 1] = X[:, 0] + 0.5 * rng.normal(size=600)
    model = MoEClassifier(
        [("doubtful", Doubtful(max_depth=2)), ("noisy", LogisticRegression())],
        expert_features={"doubtful": [0], "noisy": [1]},
        router=1,
        trainer="two-stage",
        random_state=0,
    )
    model.fit(X, y)
    assert model.gate_proba(X)[:, 0].mean() > 0.9
    assert model.score(X, y) > 0.97
    assert -model.log_density(X, y).mean() < 0.1


@pytest.mark.parametrize("spread", [0.1, 1e-3])
def test_sparse_gates_find_regimes_of_precise_experts(spread):
    """Errors that are small beside the spread of y still count for the gate."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    inside = np.abs(X[:, 0]) < 0.7
    noise = spread * rng.normal(size=(600, 2))
    noise[np.arange(600), np.where(inside, 1, 0)] *= 10.0
    y = X[:, 1]
    model = MoERegressor(
        [("inner", Column(3)), ("outer", Column(4))],
        gate=MLPGate((8,)),
        router=1,
        gate_features=[0],
        trainer="two-stage",
        random_state=0,
    ).fit(np.hstack([X, y[:, None] + noise]), y)
    served = model.gate_proba(np.hstack([X, X[:, :2]])).argmax(axis=1)
    assert np.mean(served == np.where(inside, 0, 1)) > 0.95


def test_wrong_shares_of_classes_are_put_right():
    """An expert that learned from other shares gets an offset of each class."""
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=2000) < 0.1).astype(int)
    X = y[:, None] + rng.normal(size=(2000, 1))
    known = GaussianNB(priors=[0.5, 0.5])
    model = MoEClassifier([known], trainer="two-stage").fit(X, y)
    offset = model.experts_[0].offset
    assert offset[1] - offset[0] == pytest.approx(np.log(0.1 / 0.9), abs=0.3)
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.01)


def test_offsets_do_not_learn_what_folds_lack():
    """Later rows are of another class: the folds' shares are not those of all rows."""
    rng = np.random.default_rng(0)
    y = (np.arange(400) >= 240).astype(int)
    X = y[:, None] + rng.normal(size=(400, 2))
    trainer = TwoStage(cv=TimeSeriesSplit(5))
    experts = [LogisticRegression(), GaussianNB()]
    ordered = MoEClassifier(experts, trainer=trainer, random_state=0).fit(X, y)
    assert all(not own.offset.any() for own in ordered.experts_)
    assert ordered.score(X, y) > 0.65
    mixed = rng.permutation(400)
    even = clone(ordered).fit(X[mixed], y[mixed])
    assert all(own.offset.any() for own in even.experts_)


def test_sparse_hierarchies_judge_the_expert_that_is_reached(regression, monkeypatch):
    X, y = regression
    experts = [*REGRESSORS, ("mean", Ridge(1e6)), ("near", KNeighborsRegressor(3))]
    model = HierarchicalMoERegressor(
        experts, (2, 2), router=1, trainer=TwoStage(alphas=[1.0]), random_state=0
    )
    stage = stage_of(model, X, y, monkeypatch)
    solution = stage.solve(1.0)
    served = model.gate_proba(X).argmax(axis=1)
    losses, _ = stage.corrections.alone(solution.correction, slice(None))
    expected = losses[np.arange(len(y)), served]
    np.testing.assert_allclose(stage.held_out(solution, slice(None)), expected)


def test_sparse_penalties_are_chosen_nearer_the_best():
    losses = np.array([[1.1, 0.9, 1.1, 0.9], [1.0, 1.0, 1.0, 1.0]]) + [[0.03], [0.0]]
    kinds = NetworkStage, AloneStage
    stages = [kind.__new__(kind) for kind in kinds]
    for stage in stages:
        stage.weight = np.ones(4)
    assert [stage.chosen(losses) for stage in stages] == [0, 1]


FAN = np.random.default_rng(2).uniform(-1, 1, size=(900, 2))
SPREAD = np.exp(1.5 * FAN[:, 0] - 1.0)
FAN_Y = FAN[:, 1] + SPREAD * np.random.default_rng(3).normal(size=900)


@pytest.mark.parametrize(
    ("objective", "router"),
    [
        ("prediction", None),
        ("prediction", 1),
        pytest.param("likelihood", None, marks=pytest.mark.thorough),
    ],
)
def test_spread_that_depends_on_x(objective, router):
    train, test = slice(0, 600), slice(600, None)
    common = {"trainer": TwoStage(objective=objective), "random_state": 0}
    plain = MoERegressor(REGRESSORS, router=router, **common)
    fan = clone(plain).set_params(likelihood="heteroscedastic")
    plain.fit(FAN[train], FAN_Y[train])
    fan.fit(FAN[train], FAN_Y[train])
    _, std = fan.predict(FAN[test], return_std=True)
    np.testing.assert_allclose(np.median(std / SPREAD[test]), 1.0, atol=0.15)
    assert np.corrcoef(np.log(std), np.log(SPREAD[test]))[0, 1] > 0.9
    gain = fan.log_density(FAN[test], FAN_Y[test])
    gain -= plain.log_density(FAN[test], FAN_Y[test])
    assert gain.mean() > 0.1
    if objective == "prediction":
        # The gate and the corrections are those of the squared error.
        np.testing.assert_allclose(fan.predict(FAN), plain.predict(FAN))


def test_a_spread_nobody_is_responsible_for():
    """Many outputs leave an expert without any share; its variance stays constant."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    Y = X @ rng.normal(size=(3, 150))
    model = MoERegressor(
        [LinearRegression(), KNeighborsRegressor()],
        likelihood="heteroscedastic",
        trainer="two-stage",
        random_state=0,
    ).fit(X, Y)
    assert np.isfinite(model.log_likelihood_)


def test_models_of_spreads_that_take_no_weights_are_named(regression):
    X, y = regression
    model = MoERegressor(
        [("a", Column(0)), ("b", Column(1))],
        gate="constant",
        likelihood=HeteroscedasticGaussian(KNeighborsRegressor(20)),
        trainer="two-stage",
    )
    with pytest.warns(NoSampleWeightWarning, match="likelihood"):
        model.fit(X, y)


def test_spread_by_any_model_and_one_expert_by_weights():
    """One linear expert: the corrections count rows by their precision."""
    trees = HeteroscedasticGaussian(
        HistGradientBoostingRegressor(loss="poisson", max_iter=20)
    )
    model = MoERegressor(
        REGRESSORS, likelihood=trees, trainer="two-stage", random_state=0
    ).fit(FAN, FAN_Y)
    _, std = model.predict(FAN, return_std=True)
    assert np.corrcoef(np.log(std), np.log(SPREAD))[0, 1] > 0.7
    frozen = [Column(1)]
    model = MoERegressor(
        frozen,
        likelihood="heteroscedastic",
        trainer=TwoStage(objective="likelihood"),
    ).fit(FAN, FAN_Y)
    ((slope,), (shift,)) = model.experts_[0].slope, model.experts_[0].intercept
    precision = 1.0 / model.likelihoods_[0].at(FAN).sigma_[:, 0] ** 2
    line = Ridge(1e-9).fit(FAN[:, 1:], FAN_Y, precision)
    assert slope == pytest.approx(line.coef_[0], abs=0.01)
    assert shift == pytest.approx(line.intercept_, abs=0.01)


def test_constant_gate_is_found_by_em(regression):
    """With a constant gate and given predictions EM finds the maximum."""
    X, y = regression
    model = MoERegressor(
        REGRESSORS, gate="constant", trainer=TwoStage(calibrate=False, cv=3)
    ).fit(X, y)
    predictions = [
        cross_val_predict(e, X, y, cv=draw_folds(y, None, 3, 0)) for _, e in REGRESSORS
    ]
    weights = model.gate_proba(X)[0]
    assert weights.argmin() == int(
        np.argmax([np.mean((p - y) ** 2) for p in predictions])
    )


def regimes(n_rows=600):
    """A line that goes down, and one that goes up."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, size=(n_rows, 1))
    return X, 3 * np.abs(X[:, 0]) + 0.1 * rng.normal(size=n_rows)


def test_refinement_specialises_experts():
    X, y = regimes()
    experts = [("line", Ridge()), ("stump", DecisionTreeRegressor(max_depth=1))]
    plain = MoERegressor(experts, trainer="two-stage", random_state=0).fit(X, y)
    model = MoERegressor(experts, trainer=TwoStage(refine=5), random_state=0)
    model.fit(X, y)
    losses = model.history_["validation_loss"]
    assert len(losses) > 1
    assert min(losses) < 0.9 * losses[0]
    assert model.score(X, y) > plain.score(X, y)


def test_refinement_is_kept_only_if_it_pays(regression, monkeypatch):
    X, y = regression
    model = MoERegressor(REGRESSORS, trainer=TwoStage(refine=1), random_state=0)
    plain = clone(model).set_params(trainer=TwoStage()).fit(X, y)
    choose, losses = TwoStage._choose, iter([1.0, 2.0])

    def worse(self, *args):
        return choose(self, *args)._replace(loss=next(losses))

    monkeypatch.setattr(TwoStage, "_choose", worse)
    model.fit(X, y)
    assert model.history_["validation_loss"] == [1.0, 2.0]
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_refinement_with_rows_that_are_never_tested(regression, classification):
    X, y = regression
    trainer = TwoStage(cv=TimeSeriesSplit(4), refine=2)
    assert MoERegressor(REGRESSORS, trainer=trainer).fit(X, y).score(X, y) > 0.3
    X, y = classification
    rare = np.where(np.arange(len(y)) < 2, 7, y)
    for gate in ("softmax", "gaussian"):
        model = MoEClassifier(
            CLASSIFIERS, gate=gate, trainer=TwoStage(refine=2), random_state=0
        )
        assert model.fit(X, rare).predict_proba(X).shape == (len(y), 4)


def test_classes_that_a_fold_does_not_have(classification):
    X, _ = classification
    y = (np.arange(len(X)) >= len(X) // 4).astype(int)
    experts = [LogisticRegression(), GaussianNB(), LinearExpert()]
    model = MoEClassifier(
        experts, trainer=TwoStage(cv=TimeSeriesSplit(4)), random_state=0
    ).fit(X, y)
    assert np.isfinite(model.log_likelihood_)
    assert model.n_iter_ > 1


def test_experts_are_silenced_but_not_contradicted():
    """Experts whose folds teach the opposite: the model is the one that was judged."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = ((X[:, 0] > 0) ^ (np.arange(200) < 100)).astype(int)
    for gate in ("softmax", "constant"):
        model = MoEClassifier(
            [LogisticRegression(), DecisionTreeClassifier(max_depth=1)],
            gate=gate,
            trainer=TwoStage(cv=KFold(2)),
        ).fit(X, y)
        expected = model.log_likelihood_ / 200
        assert model.log_density(X, y).mean() == pytest.approx(expected, abs=0.02)


def test_splitters_see_all_rows(regression):
    """Rows of weight zero are dropped after the splitter has seen them."""
    X, y = regression
    folds = PredefinedSplit(np.arange(len(X)) % 4)
    weight = (np.arange(len(X)) % 5 > 0).astype(float)
    model = MoERegressor(REGRESSORS, trainer=TwoStage(cv=folds), random_state=0)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    kept = PredefinedSplit((np.arange(len(X)) % 4)[weight > 0])
    fewer = clone(model).set_params(trainer__cv=kept).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_allclose(weighted.predict(X), fewer.predict(X))
    with pytest.raises(ValueError, match="shared expert is fitted to random folds"):
        model.set_params(shared_expert=Ridge()).fit(X, y)


def test_weights_are_repetitions_within_folds(regression):
    X, y = regression
    X, y = X[:100], y[:100]
    fold = np.arange(100) % 4
    weight = np.where(np.arange(100) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(100), weight.astype(int))
    experts = [("line", Ridge()), ("stiff", Ridge(100.0))]
    for gate in ("softmax", "constant"):
        trainer = TwoStage(cv=PredefinedSplit(fold))
        model = MoERegressor(experts, gate=gate, trainer=trainer, random_state=0)
        weighted = clone(model).fit(X, y, sample_weight=weight)
        trainer = TwoStage(cv=PredefinedSplit(fold[twice]))
        repeated = clone(model).set_params(trainer=trainer).fit(X[twice], y[twice])
        np.testing.assert_allclose(
            weighted.predict(X), repeated.predict(X), rtol=1e-3, atol=1e-3
        )


def test_experts_that_predict_nan_are_named(regression):
    X, y = regression

    class Broken(LinearRegression):
        def predict(self, X):
            return np.full(len(X), np.nan)

    model = MoERegressor([("fine", Ridge()), ("broken", Broken())], trainer="two-stage")
    with pytest.raises(ValueError, match=r"Broken\(\) answers predict with NaN"):
        model.fit(X, y)


def test_what_makes_no_sense_is_refused(regression, classification):
    X, y = regression
    for trainer, match in [
        (TwoStage(cv=1), "cv=1"),
        (TwoStage(gate_cv=1), "gate_cv=1"),
        (TwoStage(max_iter=0), "max_iter=0"),
        (TwoStage(refine=-1), "refine=-1"),
        (TwoStage(objective="both"), "objective='both'"),
        (TwoStage(alphas=[-1.0]), "alphas="),
    ]:
        with pytest.raises(ValueError, match=match):
            MoERegressor(REGRESSORS, trainer=trainer).fit(X, y)
    with pytest.raises(ValueError, match="whose rule needs"):
        MoERegressor(REGRESSORS, router=SwitchRouter(), trainer="two-stage").fit(X, y)
    X, y = classification
    model = MoEClassifier(
        n_experts=2, shared_expert=LogisticRegression(), trainer="two-stage"
    )
    with pytest.raises(ValueError, match="give it as one of the experts"):
        model.fit(X, y)


def test_copies_of_one_expert_have_nothing_to_gate():
    X, y = regimes()
    copies = MoERegressor(n_experts=3, trainer="two-stage", random_state=0)
    with pytest.warns(UserWarning, match="3 experts that say the same") as caught:
        copies.fit(X, y)
    assert caught[0].filename == __file__


def test_expert_choice_learns_its_thresholds():
    X, y = regimes()
    experts = [Ridge(), DecisionTreeRegressor(max_depth=3)]
    model = MoERegressor(
        experts, router=ExpertChoiceRouter(1.0), trainer="two-stage", random_state=0
    ).fit(X, y)
    log_gate = model.gate_.predict_log_proba(X)
    np.testing.assert_array_equal(
        model.router_.thresholds_, np.sort(log_gate, axis=0)[-(len(X) // 2)]
    )
    assert np.isfinite(model.predict(X)).all()
