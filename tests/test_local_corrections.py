"""Corrections of experts that depend on x."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, PredefinedSplit, TimeSeriesSplit
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._estimators.shown import shown_names
from skmoe.experts import AutoPool, LinearExpert
from skmoe.experts._base import called
from skmoe.experts._corrected import (
    CorrectedClassifier,
    CorrectedRegressor,
    LocallyCorrectedClassifier,
    LocallyCorrectedRegressor,
)
from skmoe.trainers import Recipe, Rows, TwoStage
from skmoe.trainers._task import Task
from skmoe.trainers._two_stage.local_corrections import (
    Opinions,
    Residuals,
    local_model,
    part_of_variance,
)

LOCAL = (LocallyCorrectedRegressor, LocallyCorrectedClassifier)


def with_trees(**options):
    """A trainer that corrects every expert locally."""
    return TwoStage(local_correction="trees", **options)


def corrected(model):
    """Whether each expert of a fitted mixture is corrected locally."""
    return [isinstance(expert.estimator, LOCAL) for expert in model.experts_]


@pytest.fixture
def steps():
    """A slope and a step, which a linear model misses."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    y = X[:, 0] + 3.0 * (X[:, 1] > 0) + 0.2 * rng.normal(size=600)
    return X, y


@pytest.fixture
def corners():
    """Two classes in opposite corners."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 2))
    score = 3.0 * np.sign(X[:, 0] * X[:, 1]) + X[:, 0]
    return X, np.where(rng.logistic(size=800) < score, "in", "out")


def test_a_regressor_learns_what_it_leaves(steps):
    X, y = steps
    errors = {}
    for local in (None, "trees"):
        trainer = TwoStage(local_correction=local)
        model = MoERegressor([Ridge()], trainer=trainer, random_state=0)
        model.fit(X[:400], y[:400])
        errors[local] = np.sqrt(np.mean((model.predict(X[400:]) - y[400:]) ** 2))
    assert errors[None] > 0.8
    assert errors["trees"] < 0.5
    assert corrected(model) == [True]


def test_a_classifier_learns_what_it_leaves(corners):
    X, y = corners
    losses = {}
    for local in (None, "trees"):
        trainer = TwoStage(local_correction=local)
        model = MoEClassifier([LogisticRegression()], trainer=trainer, random_state=0)
        model.fit(X[:600], y[:600])
        losses[local] = log_loss(y[600:], model.predict_proba(X[600:]))
    assert losses[None] > 0.6
    assert losses["trees"] < 0.4
    assert corrected(model) == [True]
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


@pytest.mark.parametrize("model", ["trees", DecisionTreeRegressor()])
def test_what_memorises_gets_no_credit(model):
    """A linear model leaves noise, which trees may learn by heart."""
    X, y = make_regression(300, 3, n_informative=3, noise=20.0, random_state=0)
    trainer = TwoStage(local_correction=model)
    fitted = MoERegressor([Ridge(), Ridge(10.0)], trainer=trainer, random_state=0)
    assert corrected(fitted.fit(X, y)) == [False, False]


def test_classifiers_that_memorise_get_no_credit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = (rng.logistic(size=300) < X[:, 0]).astype(int)
    trainer = TwoStage(local_correction=DecisionTreeClassifier())
    fitted = MoEClassifier([LogisticRegression()], trainer=trainer, random_state=0)
    assert corrected(fitted.fit(X, y)) == [False]


def task_of(y, weight, classes=None):
    """A task of which only the target counts."""
    rows = Rows(None, [], y, y, classes, weight)
    return Task(rows, Recipe(None, None, None, [], []))


def test_shares_are_the_best_ones():
    """Against a grid of shares, for weighted rows."""
    rng = np.random.default_rng(0)
    weight, grid = rng.random(200), np.linspace(0, 1, 2001)
    y = rng.normal(size=(200, 2))
    said = 0.6 * y + rng.normal(size=(200, 2)) * [0.8, 1.0]
    task = task_of(y, weight)
    share = Residuals(task, local_model("trees", False), weight).share(
        np.zeros_like(y), said
    )
    squares = (y - grid[:, None, None] * said) ** 2
    best = grid[np.argmin(np.einsum("n,gnd->gd", weight, squares), axis=0)]
    assert np.all((best > 0.0) & (best < 1.0))
    np.testing.assert_allclose(share, best, atol=1e-3)

    codes = rng.integers(3, size=200)
    opinion = rng.dirichlet([1, 1, 1], size=200)
    opinion = (opinion + 0.7 * np.eye(3)[codes]) / 1.7
    answers = rng.dirichlet([5, 5, 5], size=200)
    task = task_of(codes, weight, np.arange(3))
    share = Opinions(task, local_model("trees", True), weight).share(answers, opinion)
    logs = np.log(answers), np.log(opinion)
    mixed = (1 - grid)[:, None, None] * logs[0] + grid[:, None, None] * logs[1]
    mixed -= np.log(np.exp(mixed).sum(axis=2, keepdims=True))
    losses = -mixed[:, np.arange(200), codes] @ weight
    assert share == pytest.approx(grid[np.argmin(losses)], abs=1e-3)


def test_no_share_without_a_gain_beyond_error():
    rng = np.random.default_rng(0)
    y, said = rng.normal(size=(2, 100, 1))
    said = 0.02 * y + said
    ones = np.ones(100)
    corrector = Residuals(task_of(y, ones), local_model("trees", False), ones)
    assert corrector.share(np.zeros_like(y), said) == 0.0


def test_a_weight_of_two_is_two_rows():
    rng = np.random.default_rng(1)
    y, said = rng.normal(size=(2, 100, 1))
    said = 0.24 * y + said
    found = []
    for weight, times in ((2.0, 1), (1.0, 2)):
        own = np.full(100 * times, weight)
        target, opinion = (np.tile(part, (times, 1)) for part in (y, said))
        corrector = Residuals(task_of(target, own), local_model("trees", False), own)
        found.append(corrector.share(np.zeros_like(target), opinion))
    assert found[0] > 0.0
    np.testing.assert_allclose(*found)


@pytest.mark.parametrize("router", [None, 1])
def test_corrected_experts_are_experts(steps, router):
    """One by one, together, in parallel and through densities they say the same."""
    X, y = steps
    experts = [Ridge(), KNeighborsRegressor(30)]
    model = MoERegressor(experts, trainer=with_trees(), router=router, random_state=0)
    model.fit(X, y)
    assert any(corrected(model))
    each = np.column_stack([expert.predict(X) for expert in model.experts_])
    np.testing.assert_allclose(model.predict_experts(X), each)
    expected = np.sum(model.gate_proba(X) * each, axis=1)
    np.testing.assert_allclose(model.predict(X), expected)
    single = np.concatenate([model.predict(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(single, expected[:20])
    parallel = clone(model).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(parallel.predict(X), model.predict(X))
    swapped = clone(model).set_params(experts=[("b", experts[1]), ("a", experts[0])])
    named = clone(model).set_params(experts=[("a", experts[0]), ("b", experts[1])])
    np.testing.assert_allclose(
        swapped.fit(X, y).predict(X), named.fit(X, y).predict(X), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("routing", [False, True])
def test_several_outputs_have_shares_of_their_own(steps, routing):
    X, y = steps
    noise = np.random.default_rng(1).normal(size=len(y))
    both = np.column_stack([y, X[:, 0] + noise])
    weight = np.linspace(0.5, 1.5, len(y))
    with config_context(enable_metadata_routing=routing):
        ridge = Ridge().set_fit_request(sample_weight=True) if routing else Ridge()
        trainer = TwoStage(local_correction=DecisionTreeRegressor(max_depth=3))
        model = MoERegressor([ridge], trainer=trainer, random_state=0)
        model.fit(X, both, sample_weight=weight)
    share = model.experts_[0].estimator.share
    assert share[0] > 0.5
    assert share[1] == 0.0
    assert model.predict(X).shape == both.shape


def test_who_stays_as_it_is(steps):
    """Few rows, sparse matrices, no calibration."""
    X, y = steps
    few = MoERegressor([Ridge()], trainer=with_trees(), random_state=0)
    assert corrected(few.fit(X[:199], y[:199])) == [False]
    assert corrected(few.fit(X[:200], y[:200])) == [True]
    flat = clone(few).set_params(gate="constant").fit(sparse.csr_array(X), y)
    assert corrected(flat) == [False]
    np.testing.assert_allclose(
        flat.predict(X), flat.predict(sparse.csr_array(X)), rtol=1e-6
    )
    bare = clone(few).set_params(trainer=with_trees(calibrate=False))
    assert isinstance(bare.fit(X, y).experts_[0], Ridge)


def test_auto_corrects_members_of_a_pool_only(steps):
    X, y = steps
    pool = AutoPool(include=["linear"])
    model = MoERegressor(pool, trainer="two-stage", random_state=0).fit(X, y)
    assert corrected(model) == [True]
    own = MoERegressor([Ridge()], trainer="two-stage", random_state=0).fit(X, y)
    assert corrected(own) == [False]
    off = TwoStage(local_correction=None)
    model = MoERegressor(pool, trainer=off, random_state=0).fit(X, y)
    assert corrected(model) == [False]


def test_raw_tables(steps):
    """Categories and missing values reach the model of the errors."""
    X, y = steps
    table = pd.DataFrame(X, columns=list("abc")).drop(columns="b")
    table["side"] = np.where(X[:, 1] > 0, "right", "left")
    table.loc[::7, "c"] = np.nan
    blind = DummyRegressor()
    model = MoERegressor(
        [blind],
        gate="constant",
        trainer=with_trees(),
        random_state=0,
    )
    for output in ("default", "pandas"):
        with config_context(transform_output=output):
            model.fit(table[:400], y[:400])
            predicted = model.predict(table[400:])
        assert corrected(model) == [True]
        assert np.sqrt(np.mean((predicted - y[400:]) ** 2)) < 0.6


def test_built_in_experts_on_sparse_columns(steps, corners):
    """They read dense columns in training, and are asked with sparse ones."""
    for kind, (X, y), method in (
        (MoERegressor, steps, "predict"),
        (MoEClassifier, corners, "predict_proba"),
    ):
        model = kind([LinearExpert()], trainer=with_trees(), random_state=0)
        model.fit(sparse.csr_array(X), y)
        assert corrected(model) == [True]
        answers = [getattr(model, method)(own) for own in (X, sparse.csr_array(X))]
        np.testing.assert_allclose(*answers, rtol=1e-9)


def test_one_class_among_the_predicted_rows(corners):
    X, y = corners
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    fold = np.where(y == y[0], np.arange(len(y)) % 3, -1)
    trainer = with_trees(cv=PredefinedSplit(fold))
    model = MoEClassifier([LogisticRegression()], trainer=trainer, random_state=0)
    assert corrected(model.fit(X, y)) == [False]


@pytest.mark.thorough
def test_ordered_folds_and_rounds_of_refinement(steps, corners):
    X, y = steps
    late = with_trees(cv=TimeSeriesSplit(3), refine=1)
    model = MoERegressor([Ridge(), Ridge(10.0)], trainer=late, random_state=0)
    assert np.isfinite(model.fit(X, y).predict(X)).all()
    X, y = corners
    order = np.argsort(y, kind="stable")
    sorted_out = with_trees(cv=KFold(2))
    model = MoEClassifier([LogisticRegression()], trainer=sorted_out, random_state=0)
    assert corrected(model.fit(X[order], y[order])) == [False]


@pytest.mark.parametrize("routing", [False, True])
def test_models_without_weights_are_resampled(steps, routing):
    """Weighted rows, several outputs, a pipeline that takes no weights."""
    X, y = steps
    both = np.column_stack([y, -y])
    weight = np.linspace(0.5, 1.5, len(y))
    near = make_pipeline(StandardScaler(), KNeighborsRegressor(20))
    trainer = TwoStage(local_correction=near)
    with config_context(enable_metadata_routing=routing):
        ridge = Ridge().set_fit_request(sample_weight=True) if routing else Ridge()
        model = MoERegressor([ridge], trainer=trainer, random_state=0)
        model.fit(X, both, sample_weight=weight)
    assert corrected(model) == [True]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_densities_are_those_of_corrected_experts(steps):
    X, y = steps
    trainer = with_trees(objective="likelihood")
    model = MoERegressor([Ridge()], trainer=trainer, random_state=0).fit(X, y)
    sigma = model.likelihoods_[0].sigma_
    error = (y - model.predict(X)) / sigma
    expected = -0.5 * error**2 - np.log(sigma * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(model.log_density(X, y), expected)


@pytest.mark.parametrize("wrong", ["forest", 3, True])
def test_wrong_corrections_are_named(steps, wrong):
    X, y = steps
    model = MoERegressor([Ridge()], trainer=TwoStage(local_correction=wrong))
    named = re.escape(f"local_correction={wrong!r}, but expected")
    with pytest.raises(ValueError, match=named):
        model.fit(X, y)


def test_corrections_of_the_other_task_are_named(steps, corners):
    for kind, expert, wrong, (X, y) in (
        (MoERegressor, Ridge(), LogisticRegression(), steps),
        (MoEClassifier, LogisticRegression(), Ridge(), corners),
    ):
        model = kind([expert], trainer=TwoStage(local_correction=wrong))
        with pytest.raises(ValueError, match="local_correction=.*as the experts are"):
            model.fit(X, y)


def test_names_say_how_much_of_the_answers_is_a_correction(steps, corners):
    model = MoERegressor([("line", Ridge())], trainer=with_trees(), random_state=0)
    model.fit(*steps)
    (shown,) = shown_names(model)
    # The step has a variance of 9 / 4 beside the one of the slope; Ridge has some.
    part = int(re.fullmatch(r"line \+ trees \((\d+)%\)", shown)[1])
    assert 20 < part < 75
    assert list(model.named_experts_) == ["line"]
    experts = [("line", LogisticRegression())]
    model = MoEClassifier(experts, trainer=with_trees(), random_state=0).fit(*corners)
    part = int(re.fullmatch(r"line \+ trees \((\d+)%\)", shown_names(model)[0])[1])
    # A line knows nothing of opposite corners.
    assert part > 60
    trainer = TwoStage(local_correction=DecisionTreeRegressor(max_depth=3))
    model = MoERegressor([("line", Ridge())], trainer=trainer, random_state=0)
    model.fit(*steps)
    assert shown_names(model)[0].startswith("line + DecisionTreeRegressor (")
    # Files of before know no part.
    del vars(model.experts_[0].estimator)["part"]
    again = pickle.loads(pickle.dumps(model))
    assert shown_names(again) == ["line + DecisionTreeRegressor"]
    np.testing.assert_array_equal(again.predict(steps[0]), model.predict(steps[0]))


def test_parts_of_a_variance():
    rng = np.random.default_rng(0)
    kept, added = np.linalg.qr(rng.normal(size=(50, 3)))[0].T[:2]
    kept, added = kept[:, None], added[:, None]
    weight = np.ones(50)
    center = lambda x: x - x.mean()  # noqa: E731
    own, whole = center(added), center(kept + added)
    expected = np.sum(own * whole) / np.sum(whole**2)
    assert part_of_variance(kept, added, weight) == pytest.approx(expected)
    both = part_of_variance(kept, added, weight), part_of_variance(added, kept, weight)
    assert sum(both) == pytest.approx(1.0)
    # In any unit, around any level; a weight of two is two rows.
    moved = part_of_variance(7 + 3 * kept, 3 * added - 2, weight)
    assert moved == pytest.approx(expected)
    twice = np.r_[np.arange(50), np.arange(9)]
    weight[:9] = 2.0
    assert part_of_variance(kept, added, weight) == pytest.approx(
        part_of_variance(kept[twice], added[twice], np.ones(59))
    )
    assert part_of_variance(kept, -kept, weight) == 0.0
    assert part_of_variance(kept, 0.0 * kept, weight) == 0.0
    several = part_of_variance(np.c_[kept, kept], np.c_[added, 0 * kept], weight)
    assert several == pytest.approx(part_of_variance(kept, added, weight) / 2)


@pytest.mark.parametrize(
    ("slope", "part", "shown"),
    [
        ([1.0], 0.4, "line + Ridge (40%)"),
        ([-0.5], 0.4, "line + Ridge (40%, reversed)"),
        ([0.5], None, "line + Ridge"),
        ([-0.5, 2.0], 0.001, "line + Ridge (<1%, partly reversed)"),
    ],
)
def test_corrections_in_words(slope, part, shown):
    local = LocallyCorrectedRegressor(Ridge(), None, [Ridge(), None], [0.5], part)
    assert called("line", CorrectedRegressor(local, slope, [0.0])) == shown
    bare = called("line", CorrectedRegressor(Ridge(), slope, [0.0]))
    assert ("reversed" in bare) == (min(slope) < 0)
    assert called("line", Ridge()) == "line"


def test_classifiers_that_are_silenced_say_so():
    shown = {
        temperature: called("line", CorrectedClassifier(Ridge(), temperature, 0, [0]))
        for temperature in (2.0, 1e6)
    }
    assert shown == {2.0: "line", 1e6: "line (constant)"}
