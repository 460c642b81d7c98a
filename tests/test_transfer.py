"""Experts that were trained before the gate, and mixtures on further rows."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_regimes
from skmoe.exceptions import NoSampleWeightWarning
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.trainers import Gradient
from skmoe.transfer import fine_tune, pretrain_experts


@pytest.fixture(scope="module")
def regimes():
    X, y, truth = make_regimes(800, random_state=0, return_truth=True)
    return X, y, truth["regime"]


@pytest.mark.parametrize("trainer", ["em", Gradient(max_epochs=100)])
@pytest.mark.parametrize("expert", [Ridge(), LinearExpert(), MLPExpert((8,))])
def test_the_gate_learns_whom_to_trust(regimes, expert, trainer):
    X, y, groups = regimes
    experts = pretrain_experts(expert, X[:500], y[:500], groups[:500])
    model = MoERegressor(experts, trainer=trainer, random_state=0)
    model.fit(X[:500], y[:500])
    best = max(
        e.score(X[500:], y[500:]) if hasattr(e, "score") else -np.inf
        for _, e in experts
    )
    assert model.score(X[500:], y[500:]) > max(best, 0.9)
    for (_, given), kept in zip(experts, model.experts_, strict=True):
        np.testing.assert_array_equal(given.predict(X), kept.predict(X))


def test_each_expert_has_seen_its_group_only(regimes):
    X, y, groups = regimes
    weight = np.random.default_rng(0).uniform(0.5, 2.0, size=len(y))
    experts = dict(
        pretrain_experts(Ridge(), X, y, groups, sample_weight=weight, n_jobs=2)
    )
    for group in (0, 1):
        rows = groups == group
        alone = Ridge().fit(X[rows], y[rows], sample_weight=weight[rows])
        np.testing.assert_allclose(experts[str(group)].predict(X), alone.predict(X))


def test_experts_of_different_kinds(regimes):
    X, y, groups = regimes
    names = np.where(groups == 0, "north", "south")
    given = {"north": Ridge(), "south": HistGradientBoostingRegressor(max_iter=20)}
    experts = dict(pretrain_experts(given, X, y, names))
    assert isinstance(experts["south"].estimator, HistGradientBoostingRegressor)
    with pytest.raises(ValueError, match="'south'"):
        pretrain_experts({"north": Ridge()}, X, y, names)


@pytest.mark.parametrize("expert", [LogisticRegression(), LinearExpert()])
def test_classifiers(classification, expert):
    X, y = classification
    groups = (X[:, 0] > 0).astype(int)
    experts = pretrain_experts(expert, X, y, groups, classify=True)
    model = MoEClassifier(experts, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.6


def test_bad_input(regimes):
    X, y, groups = regimes
    with pytest.raises(ValueError, match="inconsistent"):
        pretrain_experts(Ridge(), X, y, groups[:-1])
    with pytest.warns(NoSampleWeightWarning, match="KNeighbors"):
        pretrain_experts(KNeighborsRegressor(), X, y, groups)


@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((4,))])
@pytest.mark.parametrize("kind", ["pandas", "polars", "list", "int"])
def test_built_in_experts_read_tables(regimes, expert, kind):
    X, y, groups = regimes
    X = X.round()
    if kind in ("pandas", "polars"):
        frames = pytest.importorskip(kind)
        X = frames.DataFrame({f"x{j}": column for j, column in enumerate(X.T)})
    elif kind == "list":
        X = X.tolist()
    else:
        X = X.astype(int)
    model = MoERegressor(pretrain_experts(expert, X, y, groups), random_state=0)
    assert model.fit(X, y).score(X, y) > 0.5


def test_groups_are_named_in_errors(regimes):
    X, y, groups = regimes
    with pytest.raises(ValueError, match="group '1' with no row"):
        pretrain_experts(Ridge(), X, y, groups, sample_weight=(groups == 0) * 1.0)
    with pytest.raises(ValueError, match="missing values in groups"):
        pretrain_experts(Ridge(), X, y, np.where(groups == 0, np.nan, 1.0))
    with pytest.raises(ValueError, match="group '0' with rows of one class"):
        pretrain_experts(LogisticRegression(), X, groups, groups)


# -- further rows --------------------------------------------------------------

SHORT = Gradient(max_epochs=15, early_stopping=False)


@pytest.fixture(scope="module")
def trained(regimes):
    X, y, _ = regimes
    names = [("a", LinearExpert()), ("b", MLPExpert((6,)))]
    return MoERegressor(names, trainer=SHORT, random_state=0).fit(X[:600], y[:600])


@pytest.mark.parametrize("freeze", [None, "experts", "gate", ["b"]])
def test_frozen_parts_stay_to_the_last_bit(trained, regimes, freeze):
    X, y, _ = regimes
    before = trained.predict(X)
    tuned = fine_tune(trained, X[600:], y[600:] + 1.0, freeze=freeze)
    np.testing.assert_array_equal(trained.predict(X), before)
    kept = {None: [], "experts": ["a", "b"], "gate": []}
    kept = kept[freeze] if not isinstance(freeze, list) else freeze
    for name in ("a", "b"):
        own, other = (m.named_experts_[name].predict(X) for m in (trained, tuned))
        assert np.array_equal(own, other) == (name in kept)
    same = np.array_equal(trained.gate_proba(X), tuned.gate_proba(X))
    assert same == (freeze == "gate")
    assert tuned.n_iter_ == 30


def test_parameters_are_pulled_to_where_they_start():
    """One linear expert: ridge regression of what the old one leaves."""
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(400, 3)), rng.normal(size=(50, 3))
    y = X @ [1.0, 2.0, 0.0] + 0.1 * rng.normal(size=400)
    y_new = new @ [1.5, 1.0, 0.5] + 0.5 + 0.1 * rng.normal(size=50)
    trainer = Gradient(
        objective="prediction",
        max_epochs=150,
        learning_rate=0.1,
        batch_size=400,
        early_stopping=False,
        clip_norm=None,
    )
    free = LinearExpert(alpha=0)
    model = MoERegressor(free, n_experts=1, trainer=trainer).fit(X, y)
    z = (new - X.mean(axis=0)) / X.std(axis=0)
    design = np.column_stack([z, np.ones(50)])
    left = (y_new - model.predict(new)) / y.std()
    for l2_sp in (0.0, 20.0):
        tuned = fine_tune(model, new, y_new, l2_sp=l2_sp)
        normal = design.T @ design + l2_sp * np.eye(4)
        move = design @ np.linalg.solve(normal, design.T @ left) * y.std()
        found = tuned.predict(new) - model.predict(new)
        np.testing.assert_allclose(found, move, atol=2e-3 * y.std())


def test_classes_are_tuned(classification):
    X, y = classification
    model = MoEClassifier(n_experts=2, trainer=SHORT, random_state=0)
    model.fit(X[:300], y[:300])
    near, far = (
        fine_tune(model, X[300:], y[300:], l2_sp=own).predict_proba(X)
        for own in (1e4, 0.0)
    )
    before = model.predict_proba(X)
    assert np.abs(near - before).max() < 0.1 * np.abs(far - before).max()


def test_what_cannot_be_tuned_says_so(trained, regimes):
    X, y, _ = regimes
    with pytest.raises(ValueError, match="fine_tune got freeze='all'"):
        fine_tune(trained, X, y, freeze="all")
    with pytest.raises(ValueError, match="l2_sp=-1"):
        fine_tune(trained, X, y, l2_sp=-1)
    with pytest.raises(ValueError, match="expected a fitted mixture of skmoe"):
        fine_tune(Ridge().fit(X, y), X, y)
    with pytest.raises(ValueError, match="trainer='em'"):
        fine_tune(MoERegressor(n_experts=2).fit(X, y), X, y)
