"""Experts that were trained before the gate, and mixtures on further rows."""

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.datasets import make_regimes
from skmoe.exceptions import NoSampleWeightWarning
from skmoe.experts import AdditiveExpert, LinearExpert, MLPExpert
from skmoe.gates import SoftmaxGate
from skmoe.trainers import EM, Gradient
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
    model = MoERegressor(free, n_experts=1, trainer=trainer, random_state=0)
    model.fit(X, y)
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
    members = MoERegressor(n_experts=2, n_members=2).fit(X, y)
    with pytest.raises(ValueError, match="n_members=2, but expected one member"):
        fine_tune(members, X, y)
    stages = MoERegressor([Ridge(), Ridge(9.0)], trainer="two-stage").fit(X, y)
    with pytest.raises(ValueError, match="trainer='two-stage'"):
        fine_tune(stages, X, y)


# -- further rows under EM --------------------------------------------------------

TREE = DecisionTreeRegressor(max_depth=2, random_state=0)
BY_EM = {
    "linear": MoERegressor(n_experts=2),
    "hard": MoERegressor(n_experts=2, trainer="hard-em"),
    "top 1": MoERegressor(n_experts=2, router=1),
    "counts": MoERegressor(n_experts=2, likelihood="poisson"),
    "student": MoERegressor(n_experts=2, likelihood="student-t"),
    "shared": MoERegressor(n_experts=2, shared_expert=Ridge()),
    "noise": MoERegressor(n_experts=2, noise=True),
    "others": MoERegressor([Ridge(), TREE], trainer=EM(max_refits=3)),
    "gaussian gate": MoERegressor(n_experts=2, gate="gaussian"),
    "curves": MoERegressor(AdditiveExpert(4), 2, trainer=EM(max_refits=3)),
    "tree": HierarchicalMoERegressor(branching=(2, 2)),
    "classes": MoEClassifier(n_experts=2),
    "common": MoERegressor(LinearExpert(common=[0]), 2),
}
# What others stand for is for --thorough.
FIRST = ("linear", "counts", "others", "classes")


def by_em(*names):
    """Names of mixtures, of which those that repeat others are for --thorough."""
    return [
        own if own in FIRST else pytest.param(own, marks=pytest.mark.thorough)
        for own in names
    ]


ANY_END = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)


def targets(name, y):
    if name == "counts":
        return np.floor(np.exp((y - y.mean()) / y.std()))
    return np.where(y > y.mean(), "up", "down") if name == "classes" else y


def same(first, second):
    """Whether two fitted parts are, to the last bit."""
    return pickle.dumps(first) == pickle.dumps(second)


@ANY_END
@pytest.mark.parametrize("name", by_em(*BY_EM))
def test_parts_stay_to_the_last_bit_under_em(regimes, name):
    X, y, _ = regimes
    y = targets(name, y)
    model = clone(BY_EM[name]).set_params(random_state=0).fit(X[:500], y[:500])
    names = [*model.named_experts_]
    seen, new = model.predict_experts(X), (X[500:] + 0.3, y[500:])
    choices = (
        ["gate", "experts"] if name == "common" else ["gate", "experts", names[1:]]
    )
    for freeze in choices:
        tuned = fine_tune(model, *new, freeze=freeze)
        kept = {"gate": [], "experts": [*model.named_experts_]}
        kept = kept[freeze] if isinstance(freeze, str) else freeze
        assert [*tuned.named_experts_] == [*model.named_experts_]
        answers = np.moveaxis(seen, 1, 0), np.moveaxis(tuned.predict_experts(X), 1, 0)
        found = [np.array_equal(*pair) for pair in zip(*answers, strict=True)]
        assert found[: len(names)] == [own in kept for own in names]
        for k, own in enumerate(names):
            if own in kept:
                assert same(model.likelihoods_[k], tuned.likelihoods_[k])
        assert same(model.gate_, tuned.gate_) == (freeze == "gate")
        assert np.isfinite(tuned.log_likelihood_)
    np.testing.assert_array_equal(model.predict_experts(X), seen)


@ANY_END
@pytest.mark.parametrize(
    "name",
    by_em("linear", "hard", "top 1", "counts", "student", "shared", "noise", "classes"),
)
def test_the_penalty_leads_from_the_old_to_the_new(regimes, name):
    X, y, _ = regimes
    y = targets(name, y)
    model = clone(BY_EM[name]).set_params(random_state=0).fit(X[:500], y[:500])
    # A column without spread in the new rows says nothing of its coefficients.
    new = X[500:].copy(), y[500:]
    new[0][:, -1] = 0.5
    answer = "predict_proba" if name == "classes" else "predict"
    old = getattr(model, answer)(X)
    far = [
        np.abs(getattr(fine_tune(model, *new, l2_sp=own), answer)(X) - old).max()
        for own in (1e12, 1e3, 1.0)
    ]
    assert far[0] < 1e-6 * max(np.abs(old).max(), 1.0)
    assert far[0] < far[1] < far[2]
    tuned = fine_tune(model, *new, l2_sp=1e12)
    np.testing.assert_allclose(
        tuned.gate_.coef_, model.gate_.coef_, rtol=1e-6, atol=1e-8
    )
    for one, other in zip(tuned.experts_, model.experts_, strict=True):
        if hasattr(other, "coef_"):
            np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-6, atol=1e-8)


@ANY_END
def test_without_a_penalty_it_is_a_fit_from_where_the_old_one_ended(regimes):
    X, y, _ = regimes
    for model in (BY_EM["linear"], BY_EM["classes"], BY_EM["others"]):
        own = targets("classes" if model is BY_EM["classes"] else "", y)
        model = clone(model).set_params(random_state=0).fit(X[:500], own[:500])
        tuned = fine_tune(model, X[500:], own[500:])
        model.set_params(warm_start=True).fit(X[500:], own[500:])
        np.testing.assert_allclose(
            tuned.log_likelihood_, model.log_likelihood_, rtol=1e-9
        )
        np.testing.assert_allclose(tuned.gate_proba(X), model.gate_proba(X), atol=1e-7)


def test_one_expert_is_ridge_regression_towards_the_old_one():
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(400, 3)), rng.normal(size=(50, 3)) + 1.0
    y = X @ [1.0, 2.0, 0.0] + 0.1 * rng.normal(size=400)
    y_new = new @ [1.5, 1.0, 0.5] + 0.5 + 0.1 * rng.normal(size=50)
    model = MoERegressor(LinearExpert(alpha=3.0), n_experts=1).fit(X, y)
    (old,) = model.experts_
    z = (new - X.mean(axis=0)) / X.std(axis=0)
    design = np.column_stack([z, np.ones(50)])
    start = np.append(old.coef_ * X.std(axis=0), old.predict(X.mean(axis=0)[None]))
    for pull in (0.5, 20.0, 1e4):
        (own,) = fine_tune(model, new, y_new, l2_sp=pull).experts_
        normal = design.T @ design + np.diag([3.0, 3.0, 3.0, 0.0]) + pull * np.eye(4)
        coef = np.linalg.solve(normal, design.T @ y_new + pull * start)
        np.testing.assert_allclose(own.predict(new), design @ coef, rtol=1e-6)


def test_a_gate_is_held_near_by_the_penalty_that_is_told(regimes):
    """With frozen experts it is a penalised likelihood of the gate alone."""
    X, y, _ = regimes
    expert, gate = LinearExpert(alpha=1.0), SoftmaxGate(alpha=0.5)
    model = MoERegressor(expert, 2, gate=gate, random_state=0, trainer=EM(tol=1e-10))
    model.fit(X[:500], y[:500])
    new = X[500:600] + 0.5, y[500:600]
    tuned = fine_tune(model, *new, freeze="experts", l2_sp=4.0)
    scale, mean = X[:500].std(axis=0), X[:500].mean(axis=0)

    def standardised(own):
        slopes = own.coef_ * scale
        return np.column_stack([slopes, own.intercept_ + own.coef_ @ mean])

    old, z = standardised(model.gate_), (new[0] - mean) / scale
    ones = np.ones((len(z), 1))
    found = mixture_density(model, *new)

    def objective(theta):
        coef = theta.reshape(old.shape)
        logits = np.hstack([z, ones]) @ coef.T
        log_gate = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
        total = np.logaddexp.reduce(log_gate + found, axis=1).sum()
        ridge = 0.5 * 0.5 * np.sum(coef[:, :-1] ** 2)
        return ridge + 0.5 * 4.0 * np.sum((coef - old) ** 2) - total

    best = minimize(objective, old.ravel(), tol=1e-12)
    own = standardised(tuned.gate_)
    assert objective(own.ravel()) <= best.fun + 1e-5
    np.testing.assert_allclose(own, best.x.reshape(old.shape), atol=2e-3)


def mixture_density(model, X, y):
    """Log-densities (n, K) of the experts."""
    pairs = zip(model.experts_, model.likelihoods_, strict=True)
    columns = [
        likelihood.log_prob(y[:, None], expert.predict(X)[:, None])
        for expert, likelihood in pairs
    ]
    return np.column_stack(columns)


@ANY_END
@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (
            BY_EM["others"],
            {"l2_sp": 1.0},
            r"l2_sp=1 with the expert 'ridge', Ridge\(",
        ),
        (BY_EM["curves"], {"l2_sp": 1.0}, "with the expert 'expert0', .*Additive"),
        (BY_EM["gaussian gate"], {"l2_sp": 1.0}, "use freeze='gate', or l2_sp=0"),
        (BY_EM["tree"], {"l2_sp": 2.0}, "with the gate, TreeGate.*use freeze='gate'"),
        (BY_EM["common"], {"l2_sp": 1.0}, "common coefficients are fitted together"),
        (BY_EM["common"], {"freeze": ["expert0"]}, "use freeze='experts'"),
        (
            MoERegressor(LinearExpert(alpha=1.0, l1_ratio=0.5), 2),
            {"l2_sp": 1.0},
            "with the expert 'expert0'.*l1_ratio=0.5",
        ),
        (
            MoERegressor(None, 2, trainer=EM(objective="prediction")),
            {"freeze": "gate"},
            "its last steps move all parts",
        ),
    ],
)
def test_what_cannot_be_held_near_says_so(regimes, model, given, message):
    X, y, _ = regimes
    model = clone(model).set_params(random_state=0).fit(X[:300], y[:300])
    with pytest.raises(ValueError, match=message):
        fine_tune(model, X[300:400], y[300:400], **given)
    if "l2_sp" in given and "common" not in message:
        # The remedy is one: what moves then can be held near, or stays.
        frozen = fine_tune(model, X[300:400], y[300:400], freeze="experts")
        assert np.isfinite(frozen.log_likelihood_)


@ANY_END
def test_mixtures_that_have_lost_experts_are_tuned(regimes):
    X, y, _ = regimes
    given = {"n_experts": 6, "router": 1, "random_state": 0}
    model = MoERegressor(trainer=EM(min_load=0.2), **given).fit(X[:500], y[:500])
    assert model.n_experts_ < 6
    for asked in ({}, {"freeze": "gate"}, {"l2_sp": 3.0}):
        tuned = fine_tune(model, X[500:], y[500:], **asked)
        assert {*tuned.named_experts_} <= {*model.named_experts_}
        assert np.isfinite(tuned.predict(X)).all()
