"""What users would run into where parts, columns and units meet."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.distillation import distill
from skmoe.experts import AutoPool, LinearExpert
from skmoe.gates import GroupGate, MLPGate, SoftmaxGate
from skmoe.inspection import GateDisplay, expert_usage, gate_importance
from skmoe.likelihoods import Gaussian, Uniform
from skmoe.model_selection import MoERegressorCV
from skmoe.trainers import EM, Gradient, TwoStage

N_ROWS = 300


@pytest.fixture(scope="module")
def bends():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 3))
    y = np.where(X[:, 0] > 0, 2 * X[:, 1], -X[:, 2])
    return X, y + 0.1 * rng.normal(size=N_ROWS)


def towns(X):
    frame = pd.DataFrame(X, columns=list("abc"))
    return frame.assign(town=np.where(X[:, 0] > 0, "u", "v"))


@pytest.mark.parametrize(
    "parts",
    [
        {"gate": GroupGate("town")},
        {"gate_features": ["a"], "expert_features": ["a", "b"]},
    ],
)
@pytest.mark.parametrize("gap", [np.nan, np.inf])
def test_gaps_beside_text_are_refused_as_elsewhere(bends, parts, gap):
    X, y = bends
    frame = towns(X)
    with_gap = frame.copy()
    with_gap.loc[0, "a"] = gap
    model = MoERegressor(n_experts=2, random_state=0, **parts).fit(frame, y)
    for method in (model.predict, lambda rows: model.fit(rows, y)):
        with pytest.raises(ValueError, match="Input X contains"):
            method(with_gap)
    assert np.isfinite(model.predict(frame)).all()


def test_segments_are_values_whatever_their_type(bends):
    rng = np.random.default_rng(1)
    segment = rng.integers(0, 3, N_ROWS)
    frame = pd.DataFrame({"segment": segment, "x": bends[0][:, 1]})
    y = np.array([1.0, -2.0, 3.0])[segment] * frame["x"].to_numpy()
    model = MoERegressor(n_experts=3, gate=GroupGate(0), random_state=0).fit(frame, y)
    assert model.score(frame, y) > 0.99
    for same in (frame.astype(float), frame.astype({"segment": "Int64"})):
        np.testing.assert_allclose(model.gate_proba(same), model.gate_proba(frame))


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA])
def test_a_row_without_segment_gets_the_prior(bends, gap):
    X, y = bends
    frame = towns(X).astype({"town": object})
    frame.loc[:50, "town"] = gap
    model = MoERegressor(n_experts=2, gate=GroupGate("town"), random_state=0)
    model.fit(frame, y)
    assert model.gate_.groups_.tolist() == ["u", "v"]
    proba = model.gate_proba(frame)
    np.testing.assert_allclose(proba[:51], np.tile(model.gate_.prior_, (51, 1)))
    unseen = model.gate_proba(frame.assign(town="w"))
    np.testing.assert_allclose(unseen, np.tile(model.gate_.prior_, (N_ROWS, 1)))


def test_a_part_and_its_parameter_are_set_together(bends):
    X, y = bends
    grid = {"gate": [SoftmaxGate()], "gate__alpha": [0.1, 100.0]}
    search = GridSearchCV(
        MoERegressor(n_experts=2, random_state=0), grid, cv=2, error_score="raise"
    )
    assert search.fit(X, y).best_estimator_.gate.alpha == 0.1
    model = MoERegressor(gate=SoftmaxGate(alpha=0.5), n_experts=2)
    model.set_params(gate="softmax", gate__alpha=2.0)
    assert repr(model.gate) == "SoftmaxGate(alpha=2.0)"


def test_an_infinite_variance_counts_only_where_it_serves():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    left = X[:, 0] < 0
    noise = np.where(left, rng.normal(size=400), rng.standard_cauchy(400))
    y = np.where(left, 3, -3) * X[:, 1] + 0.1 * noise
    model = MoERegressor(
        n_experts=2, likelihood="student-t", router=1, random_state=0
    ).fit(X, y)
    freedom = np.array([own.df_ for own in model.likelihoods_])
    assert (freedom <= 2).sum() == 1
    std = model.predict(X, return_std=True)[1]
    served = model.gate_proba(X).argmax(axis=1)
    np.testing.assert_array_equal(np.isinf(std), freedom[served] <= 2)


@pytest.mark.parametrize("value", [0.0, 1.0, -3e8])
@pytest.mark.parametrize("family", ["student-t", "laplace"])
def test_robust_families_bear_a_constant_target(bends, family, value):
    X, _ = bends
    y = np.full(N_ROWS, value)
    model = MoERegressor(n_experts=2, likelihood=family, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-13, 1e-40, 1e40])
def test_a_gamma_mixture_does_not_depend_on_the_unit(bends, unit):
    X, y = bends
    model = MoERegressor(n_experts=2, likelihood="gamma", random_state=0)
    one = model.fit(X, np.exp(y)).predict(X)
    other = model.fit(X, unit * np.exp(y)).predict(X)
    np.testing.assert_allclose(other / unit, one, rtol=1e-4)


def test_balanced_classes_count_weights_as_rows(bends):
    X, y = bends
    labels = np.where(y > 0, "pos", "neg")
    weight = np.where(y > 0, np.arange(N_ROWS) % 4, 1)
    rows = np.repeat(np.arange(N_ROWS), weight)
    model = MoEClassifier(n_experts=2, class_weight="balanced", random_state=0)
    weighted = model.fit(X, labels, sample_weight=weight).predict_proba(X)
    repeated = model.fit(X[rows], labels[rows]).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-8)


def test_gradient_refuses_covariances_that_it_does_not_fit(bends):
    X, y = bends
    model = MoERegressor(
        likelihood=Gaussian(covariance="full"), trainer="gradient", n_experts=2
    )
    with pytest.raises(ValueError, match="covariance='diag'"):
        model.fit(X, np.column_stack([y, -y]))


@pytest.mark.parametrize(
    "parts",
    [
        {"gate": RandomForestClassifier(5, max_depth=3)},
        {"expert_features": RBFSampler(n_components=10)},
    ],
)
def test_one_seed_one_model_with_random_parts(bends, parts):
    X, y = bends
    fits = [
        MoERegressor(n_experts=2, random_state=0, **parts).fit(X, y).predict(X)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*fits)


@pytest.mark.parametrize("method", ["log_density", "bic", "responsibilities"])
def test_another_number_of_outputs_is_refused(bends, method):
    X, y = bends
    two = np.column_stack([y, X[:, 1]])
    for known, given in ((y, two), (two, y)):
        model = MoERegressor(n_experts=2, random_state=0).fit(X, known)
        with pytest.raises(ValueError, match="outputs, but was fitted with"):
            getattr(model, method)(X, given)


def test_where_no_expert_finds_y_possible_the_gate_answers(bends):
    X, y = bends
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    impossible = np.full(N_ROWS, 1e200)
    np.testing.assert_allclose(
        model.responsibilities(X, impossible), model.gate_proba(X)
    )


def test_usage_of_experts_for_rows_with_trials(bends):
    X, y = bends
    rng = np.random.default_rng(0)
    trials = rng.integers(1, 12, N_ROWS).astype(float)
    hits = rng.binomial(trials.astype(int), 1 / (1 + np.exp(-2 * y))).astype(float)
    model = MoERegressor(n_experts=2, likelihood="binomial", random_state=0)
    model.fit(X, hits, trials=trials)
    usage = expert_usage(model, X, hits, trials=trials)
    resp = model.responsibilities(X, hits, trials=trials)
    np.testing.assert_allclose(usage["responsible"], resp.mean(axis=0))
    assert np.isfinite(usage["error"]).all()


def test_noise_of_counts_is_a_distribution_over_counts():
    noise = Uniform().with_range(np.array([[2.0], [6.0], [3.0]]), discrete=True)
    counts, at = np.arange(0.0, 9.0)[:, None], np.zeros((9, 1))
    mass = noise.marginal_density(counts, at)
    np.testing.assert_allclose(mass.ravel(), [0, 0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0])
    np.testing.assert_allclose(noise.cdf(counts, at), np.cumsum(mass, axis=0))
    np.testing.assert_allclose(noise.variance_of(at, None), 2.0)
    for level, expected in ((0.1, 2), (0.2, 2), (0.21, 3), (0.5, 4), (0.99, 6)):
        assert np.all(noise.quantile(level, at) == expected)
    draws = noise.sample(np.zeros((5000, 1)), np.random.default_rng(0))
    share = np.unique(draws, return_counts=True)
    assert share[0].tolist() == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(share[1] / 5000, 0.2, atol=0.03)


@pytest.mark.parametrize(
    "features", [["a", "b"], {"linear": ["a", "b", "town"]}, {"linear": ["town", "a"]}]
)
def test_members_of_a_pool_with_columns_of_their_own(features):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(N_ROWS, 3)), columns=["a", "b", "rest"])
    frame.insert(0, "town", rng.choice(["n", "s"], N_ROWS))
    y = 3 * frame["a"].to_numpy() + 0.1 * rng.normal(size=N_ROWS)
    model = MoERegressor(
        AutoPool(include=["linear"]),
        trainer=TwoStage(local_correction=None),
        expert_features=features,
        random_state=0,
    )
    assert model.fit(frame, y).score(frame, y) > 0.99


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_a_pool_whatever_transformers_are_set_to_give(bends, output):
    if output == "polars":
        pytest.importorskip("polars")
    X, y = bends
    pool = AutoPool(include=["linear", "forest", "neighbours"])
    model = MoERegressor(pool, trainer=TwoStage(local_correction=None), random_state=0)
    expected = model.fit(X, y).predict(X[:5])
    with config_context(transform_output=output):
        np.testing.assert_allclose(model.fit(X, y).predict(X[:5]), expected)


def test_distillation_refuses_what_folds_would_spoil(bends):
    X, y = bends
    pool = AutoPool(include=["linear", "neighbours"])
    trainer = TwoStage(local_correction=None)
    teacher = MoERegressor(pool, trainer=trainer, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="pass the student"):
        distill(teacher, X, n_experts=1)
    for name in (trainer, "two-stage"):
        with pytest.raises(ValueError, match="would part them"):
            distill(teacher, X, MoERegressor(n_experts=2, trainer=name))


def test_a_pool_has_no_number_to_search(bends):
    X, y = bends
    pool = AutoPool(include=["linear", "neighbours"])
    search = MoERegressorCV(MoERegressor(pool, trainer="two-stage"), n_experts=3)
    with pytest.raises(ValueError, match="experts by name"):
        search.fit(X, y)


def test_two_stages_start_afresh(bends):
    X, y = bends
    experts = [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))]
    model = MoERegressor(experts, trainer="two-stage", random_state=0, warm_start=True)
    model.fit(X[:100], y[:100]).set_params(likelihood="heteroscedastic")
    warm = model.fit(X, y).predict(X)
    model.set_params(warm_start=False)
    np.testing.assert_array_equal(warm, model.fit(X, y).predict(X))


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainer": TwoStage(alphas=())},
        {"trainer": TwoStage(alphas=5.0)},
        {"trainer": TwoStage(alphas=["1"])},
        {"trainer": TwoStage(cv="5")},
        {"experts": AutoPool(include=3)},
        {"experts": AutoPool(include="linear")},
        {"experts": AutoPool(max_time="60")},
    ],
)
def test_wrong_types_are_named(bends, wrong):
    parts = {"experts": [Ridge(), DecisionTreeRegressor()], "trainer": "two-stage"}
    with pytest.raises(ValueError, match="(TwoStage|AutoPool) got .*, but expected"):
        MoERegressor(**{**parts, **wrong}).fit(*bends)


def test_local_corrections_of_classes_need_probabilities(bends):
    X, y = bends
    pool = AutoPool(include=["linear", "neighbours"])
    trainer = TwoStage(local_correction=LinearSVC())
    with pytest.raises(ValueError, match="no predict_proba"):
        MoEClassifier(pool, trainer=trainer).fit(X, y > 0)


def test_a_gate_is_drawn_along_times_as_it_reads_them():
    rng = np.random.default_rng(0)
    when = pd.date_range("2020-01-01", periods=N_ROWS, freq="D")
    frame = pd.DataFrame({"when": when, "x": rng.normal(size=N_ROWS)})
    early = np.arange(N_ROWS) < N_ROWS // 2
    y = np.where(early, 3 * frame["x"] ** 2, 2 * frame["x"])
    members = AutoPool(include=["linear", "neighbours"]).members(False)
    model = MoERegressor(
        [*zip(*members, strict=True)],
        trainer=TwoStage(alphas=(1.0,), local_correction=None),
        random_state=0,
    ).fit(frame, y)
    drawn = GateDisplay.from_estimator(model, frame, "when", n_values=3, plot=False)
    first = pd.Timestamp(drawn.values[0], unit="s")
    expected = model.gate_proba(frame.assign(when=first)).mean(axis=0)
    np.testing.assert_allclose(drawn.proba[0], expected, rtol=1e-6)
    assert np.ptp(drawn.proba[:, 0]) > 0.01
    assert drawn.is_time


def test_importance_of_columns_whatever_their_names(bends):
    X, y = bends
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    expected = gate_importance(model, X, random_state=0)
    numbered = pd.DataFrame(X)
    same = MoERegressor(n_experts=2, random_state=0).fit(numbered, y)
    found = gate_importance(same, numbered, random_state=0)
    # Names are those of the table that was given.
    assert [f"x{own}" for own in found["feature"]] == expected["feature"]
    assert {**found, "feature": 0} == {**expected, "feature": 0}
    assert gate_importance(model, X.tolist(), random_state=0) == expected


REFITTED = {"experts": DecisionTreeRegressor(max_depth=3), "random_state": 0}


@pytest.mark.parametrize("parts", [{}, REFITTED])
def test_warm_starts_refuse_a_gate_of_another_kind(bends, parts):
    model = MoERegressor(n_experts=2, warm_start=True, **parts).fit(*bends)
    before = model.predict(bends[0])
    for gate in ("constant", "gaussian", MLPGate()):
        with pytest.raises(ValueError, match="a gate of another kind"):
            model.set_params(gate=gate).fit(*bends)
    np.testing.assert_array_equal(model.predict(bends[0]), before)


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        ({"gate": SoftmaxGate(alpha=1e-3)}, {"gate": SoftmaxGate(alpha=1e6)}),
        (
            {"gate": LogisticRegression(C=1.0)},
            {"gate": LogisticRegression(C=1e-6)},
        ),
    ],
)
def test_warm_starts_take_the_penalty_of_the_gate(bends, loose, strict):
    model = MoERegressor(n_experts=2, warm_start=True, **{**REFITTED, **loose})
    model.fit(*bends).set_params(**strict).fit(*bends)
    # A gate with such a penalty is all but constant.
    assert np.ptp(model.gate_proba(bends[0]), axis=0).max() < 0.02


def test_warm_starts_take_the_experts_as_they_are_set(bends):
    model = MoERegressor(n_experts=2, warm_start=True, **REFITTED).fit(*bends)
    model.set_params(experts__max_depth=1).fit(*bends)
    assert all(expert.get_depth() == 1 for expert in model.experts_)


def test_warm_gradient_takes_the_router(bends):
    short = Gradient(max_epochs=3)
    model = MoERegressor(n_experts=3, trainer=short, warm_start=True, random_state=0)
    model.fit(*bends).set_params(router=1).fit(*bends)
    assert model.router_.k == 1
    assert np.count_nonzero(model.gate_proba(bends[0]), axis=1).max() == 1
    model.set_params(router=None).fit(*bends)
    assert np.count_nonzero(model.gate_proba(bends[0]), axis=1).max() == 3


@pytest.mark.parametrize(
    "model",
    [
        MoERegressor(n_experts=8),
        # Penalties that are chosen anew would make the bound another one.
        MoERegressor(
            LinearExpert(alpha=1.0),
            gate=SoftmaxGate(alpha=0.1),
            n_experts=8,
            n_members=2,
        ),
        MoERegressor(DecisionTreeRegressor(max_depth=2), n_experts=6, router=3),
        HierarchicalMoERegressor(branching=(2, 4)),
        HierarchicalMoERegressor(branching=(2, 3), noise="constant"),
    ],
    ids=["linear", "members", "trees", "hierarchy", "noise"],
)
@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_starts_go_on_without_lost_experts(bends, model):
    model = clone(model).set_params(
        trainer=EM(min_load=0.12), warm_start=True, random_state=0
    )
    names = [*model.fit(*bends).named_experts_]
    assert len(names) < 8 * model.n_members
    first = model.log_likelihood_
    model.fit(*bends)
    assert set(model.named_experts_) <= {*names}
    if set(model.named_experts_) == {*names}:
        assert model.log_likelihood_ >= first - 1e-2
    assert np.isfinite(model.predict(bends[0])).all()


def test_warm_start_with_the_experts_that_are_left(bends):
    X, y = bends
    model = HierarchicalMoERegressor(branching="grow", max_leaf_nodes=4).fit(X, y)
    first = model.log_likelihood_
    shape = model.gate_.tree.shape
    model.set_params(branching=shape, warm_start=True).fit(X, y)
    assert model.gate_.tree.shape == shape
    assert model.log_likelihood_ >= first - 1e-2


def test_members_of_two_stages_have_seeds_of_their_own(bends):
    experts = [Ridge(), ExtraTreesRegressor(10)]
    model = MoERegressor(experts, trainer="two-stage", n_members=2, random_state=0)
    model.fit(*bends)
    one, other = (m.named_experts_["extratreesregressor"] for m in model.members_)
    assert np.ptp(one.predict(bends[0]) - other.predict(bends[0])) > 0
    again = clone(model).fit(*bends)
    np.testing.assert_array_equal(again.predict(bends[0]), model.predict(bends[0]))


def test_members_of_a_pool_need_no_weights(bends):
    pool = AutoPool(include=["linear", "neighbours"])
    weight = np.linspace(1, 2, N_ROWS)
    model = MoERegressor(pool, trainer="two-stage", random_state=0)
    model.fit(*bends, sample_weight=weight)
    reasons = {member.dropped for member in model.expert_pool_}
    assert reasons <= {None, "adds nothing to the others"}


TREES = HistGradientBoostingRegressor(max_iter=5)
FILLED = make_column_transformer((SimpleImputer(), ["a", "c"]))


@pytest.mark.parametrize(
    "parts",
    [
        {"experts": TREES, "gate_features": ["a", "b"]},
        {"experts": TREES, "gate_features": FILLED},
        {"gate_features": ["a"], "expert_features": ["a", "b"]},
        {"gate_features": ["a"], "expert_features": FILLED},
        {"experts": make_pipeline(FILLED, Ridge()), "gate_features": ["a"]},
        {
            "experts": GridSearchCV(make_pipeline(FILLED, Ridge()), {}, cv=2),
            "gate_features": ["a"],
        },
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("with_text", [False, True])
def test_gaps_where_no_part_meets_them(bends, parts, with_text):
    frame = pd.DataFrame(bends[0].copy(), columns=list("abc"))
    frame.loc[:20, "c"] = np.nan
    frame = frame.assign(town="u") if with_text and "experts" not in parts else frame
    model = MoERegressor(
        n_experts=2, trainer=EM(max_iter=2, max_refits=1), random_state=0, **parts
    ).fit(frame, bends[1])
    assert np.isfinite(model.predict(frame)).all()
    spoilt = frame.assign(a=np.nan)
    if parts["gate_features"] is not FILLED:
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.predict(spoilt)


def test_text_for_a_part_that_reads_numbers_is_named(bends):
    frame = towns(bends[0])
    for parts in (
        {"gate_features": ["a", "town"], "expert_features": ["a"]},
        {"gate_features": ["a"], "expert_features": ["town"]},
    ):
        with pytest.raises(ValueError, match=r"text columns \['town'\]; encode them"):
            MoERegressor(n_experts=2, **parts).fit(frame, bends[1])


def test_what_was_fitted_on_dense_columns_reads_sparse_ones():
    rng = np.random.default_rng(0)
    X = sparse.random_array((60, 3), density=0.3, rng=rng).tocsr()
    dense = X.toarray()
    model = MoERegressor(n_experts=1, expert_features="piecewise-linear")
    expected = model.fit(dense, dense.sum(axis=1)).predict(dense)
    for kind in (X, X.tocsc(), X.tocoo(), sparse.csr_matrix(X)):
        np.testing.assert_allclose(model.predict(kind), expected, atol=1e-12)
    X.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.predict(X)


FEW = np.random.default_rng(5).normal(size=(30, 8))
FEW_Y = FEW[:, 0] + np.random.default_rng(6).normal(size=30)


def matched(model, n_rows, y=FEW_Y, weight=None):
    """Whether a fit tells of rows that any columns would match."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(FEW[:n_rows], y[:n_rows], sample_weight=weight)
    return any("matched exactly, as any other y" in str(own.message) for own in found)


def test_rows_no_more_than_columns_that_are_matched_are_told_of():
    pair = np.column_stack([FEW_Y, -2.0 * FEW_Y + FEW[:, 3]])
    assert matched(MoERegressor(LinearExpert(alpha=0.0), n_experts=1), 3)
    assert matched(MoERegressor(LinearExpert(alpha=1e-9)), 6)
    assert matched(MoERegressor(LinearExpert(alpha=1e-9), n_experts=1), 5, pair)
    only = np.r_[np.ones(5), np.zeros(25)]
    assert matched(MoERegressor(LinearExpert(alpha=1e-9), n_experts=1), 30, weight=only)
    # A penalty, or more rows, leave something to learn; a constant is no surprise.
    assert not matched(MoERegressor(LinearExpert(alpha=1.0), n_experts=1), 6)
    assert not matched(MoERegressor(LinearExpert(alpha=0.0), n_experts=1), 12)
    assert not matched(MoERegressor(n_experts=1), 6, np.ones(30))
    assert not matched(MoEClassifier(n_experts=1), 6, (FEW_Y > 0).astype(int))
