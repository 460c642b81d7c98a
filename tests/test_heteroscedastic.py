"""Variances that depend on x: optima, all methods, and any model of them."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from records import never_falls
from scipy import optimize, sparse, stats
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.experts import AdditiveExpert, LinearExpert, MLPExpert
from skmoe.experts._encoding import numeric_encoding
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import HeteroscedasticGaussian
from skmoe.model_selection import MoERegressorCV
from skmoe.trainers import EM

LINEAR = HeteroscedasticGaussian(LinearExpert(alpha=0))
BOOSTED = HeteroscedasticGaussian(
    HistGradientBoostingRegressor(loss="poisson", max_iter=5)
)


def made(n=600, seed=0):
    """Two lines, told apart by the second column, whose spread grows with the first."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(n, 2))
    std = np.exp(-1 + 0.8 * X[:, 0])
    mean = np.where(X[:, 1] > 0, 3 * X[:, 0], 1 - 2 * X[:, 0])
    return X, mean + std * rng.normal(size=n), std


def two(likelihood="heteroscedastic", **options):
    options = {"n_experts": 2, "random_state": 0, **options}
    return MoERegressor(likelihood=likelihood, **options)


@pytest.mark.parametrize("expert", [LinearExpert(alpha=0), Ridge(alpha=1e-9)])
def test_one_expert_maximises_the_likelihood(expert):
    """The optimum that BFGS finds on the likelihood written out."""
    X, y, _ = made(400)
    X, y = X[X[:, 1] > 0], y[X[:, 1] > 0]
    A = np.column_stack([np.ones(len(X)), X])

    def loss(theta):
        log_variance = A @ theta[3:]
        square = (y - A @ theta[:3]) ** 2 * np.exp(-log_variance)
        return 0.5 * np.sum(log_variance + square + np.log(2 * np.pi))

    found = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-8})
    model = MoERegressor(
        expert, n_experts=1, likelihood=LINEAR, trainer=EM(tol=1e-12, max_iter=500)
    ).fit(X, y)
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-6)
    variance = model.likelihoods_[0].model_
    np.testing.assert_allclose(model.experts_[0].coef_, found.x[1:3], rtol=1e-3)
    np.testing.assert_allclose(variance.coef_, found.x[4:], rtol=1e-3)
    assert model.n_parameters_ == 6


def test_planted_spread_is_found():
    X, y, std = made(3000)
    model = two().fit(X, y)
    plain = two("gaussian").fit(X, y)
    found = model.predict(X, return_std=True)[1]
    assert np.median(np.abs(np.log(found / std))) < 0.1
    assert model.log_likelihood_ > plain.log_likelihood_ + 500
    assert model.bic(X, y) < plain.bic(X, y) - 500
    inside = model.predict_interval(X, 0.5)
    # Rows with little and with much spread are covered alike, each by itself.
    for part in (std < 0.3, std > 1.0):
        rows = inside[part]
        covered = np.mean((y[part] >= rows[:, 0]) & (y[part] <= rows[:, 1]))
        assert covered == pytest.approx(0.5, abs=0.05)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("likelihood", ["heteroscedastic", BOOSTED])
@pytest.mark.parametrize(
    "expert",
    [
        None,
        Ridge(),
        pytest.param(
            HistGradientBoostingRegressor(max_iter=5), marks=pytest.mark.thorough
        ),
    ],
)
def test_methods_see_the_spread_of_their_rows(likelihood, expert):
    """Each method gives for some rows what it gives for them among all others."""
    X, y, _ = made(300)
    model = two(likelihood, experts=expert, trainer=EM(max_iter=2)).fit(X, y)
    some = np.array([250, 3, 77])
    for method in ("predict_quantile", "predict_interval", "predict_mode"):
        ask = getattr(model, method)
        np.testing.assert_allclose(ask(X[some]), ask(X)[some], rtol=1e-9)
    np.testing.assert_allclose(
        model.log_density(X[some], y[some]), model.log_density(X, y)[some], rtol=1e-9
    )
    assert model.log_likelihood_ == pytest.approx(model.log_density(X, y).sum())
    levels = model.predict_quantile(X[some], [0.1, 0.9])
    draws = model.sample_y(X[some], 4000, random_state=0)
    for own, (low, high) in zip(draws, levels, strict=True):
        assert np.mean(own < low) == pytest.approx(0.1, abs=0.03)
        assert np.mean(own > high) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("alpha", [1.0, 30.0])
def test_one_variance_for_all_rows_is_the_gaussian(alpha):
    """A penalty that allows no slopes leaves the penalised optimum of the Gaussian."""
    X, y, _ = made(300)
    expert, trainer = LinearExpert(alpha=alpha), EM(tol=1e-10)
    own = {"experts": expert, "gate": SoftmaxGate(alpha=0.1), "trainer": trainer}
    plain = two("gaussian", **own).fit(X, y)
    stiff = HeteroscedasticGaussian(LinearExpert(alpha=1e9))
    model = two(stiff, **own).fit(X, y)
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_, abs=1e-3)
    np.testing.assert_allclose(
        sorted(own.reference_[0] for own in model.likelihoods_),
        sorted(own.sigma_**2 for own in plain.likelihoods_),
        rtol=1e-4,
    )


def test_density_is_the_written_formula():
    X, y, _ = made(300)
    model = two().fit(X, y)
    parts = [
        stats.norm.logpdf(y, e.predict(X), np.sqrt(own.model_.predict(X)))
        for e, own in zip(model.experts_, model.likelihoods_, strict=True)
    ]
    gate = model.gate_proba(X)
    by_hand = np.log(np.sum(gate * np.exp(np.column_stack(parts)), axis=1))
    np.testing.assert_allclose(model.log_density(X, y), by_hand, rtol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"router": 1},
        {"noise": True},
        {"n_members": 2},
        {"experts": MLPExpert(hidden_layer_sizes=(4,))},
        {"expert_features": [0]},
        {"expert_features": "piecewise-linear"},
        {"shared_expert": Ridge()},
        {"trainer": "hard-em"},
    ],
    ids=lambda own: next(iter(own)) + str(next(iter(own.values())))[:9],
)
@pytest.mark.filterwarnings("ignore:EM stopped")
def test_goes_with_all_other_parts(options):
    X, y, std = made(400)
    model = two(**options).fit(X, y)
    density = model.log_density(X, y)
    assert np.isfinite(density).all()
    found = model.predict(X, return_std=True)[1]
    assert stats.spearmanr(found, std).statistic > 0.5
    one = np.concatenate([model.log_density(X[[i]], y[[i]]) for i in range(3)])
    np.testing.assert_allclose(one, density[:3], rtol=1e-9)


def test_trees_have_it_too():
    X, y, std = made(600)
    model = HierarchicalMoERegressor(
        branching=(2, 2), likelihood="heteroscedastic", random_state=0
    ).fit(X, y)
    assert never_falls(model)
    found = model.predict(X, return_std=True)[1]
    assert np.median(np.abs(np.log(found / std))) < 0.2


def test_several_outputs_have_their_own_spreads():
    X, y, std = made(1500)
    both = np.column_stack([y, X[:, 0] + np.random.default_rng(1).normal(size=len(y))])
    found = two().fit(X, both).predict(X, return_std=True)[1]
    assert np.median(np.abs(np.log(found[:, 0] / std))) < 0.15
    assert np.median(np.abs(np.log(found[:, 1]))) < 0.15


def test_frames_and_sparse_columns_are_read_as_numbers():
    X, y, _ = made(200)
    frame = pd.DataFrame(X, columns=["a", "b"])
    for expert in (None, Ridge()):
        wanted = two(experts=expert).fit(X, y).predict_quantile(X, 0.9)
        found = two(experts=expert).fit(frame, y).predict_quantile(frame, 0.9)
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        columns = sparse.csr_array(X)
        found = two(experts=expert).fit(columns, y).predict_quantile(columns, 0.9)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_random_models_of_the_variance_are_seeded():
    X, y, _ = made(200)
    model = HistGradientBoostingRegressor(
        loss="poisson", max_iter=5, early_stopping=True, validation_fraction=0.5
    )
    first, second = (
        two(HeteroscedasticGaussian(model)).fit(X, y).log_density(X, y)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_models_without_a_count_have_no_criterion():
    X, y, _ = made(200)
    with pytest.raises(ValueError, match="HistGradientBoostingRegressor"):
        two(BOOSTED).fit(X, y).bic(X, y)


def test_search_over_sizes():
    X, y, _ = made(800)
    search = MoERegressorCV(two(), n_experts=3, criterion="bic", cv=3, rule="best").fit(
        X, y
    )
    assert search.n_experts_ == 2


def test_exact_fits_stay_finite():
    X, _, _ = made(60)
    model = two(LINEAR, experts=LinearExpert(alpha=0))
    model.fit(X, np.where(X[:, 1] > 0, X[:, 0], -X[:, 0]))
    assert np.isfinite(model.log_likelihood_)
    assert all(own.floored_ for own in model.likelihoods_)
    constant = two(n_experts=1).fit(X, np.ones(60))
    assert np.isfinite(constant.log_likelihood_)


def test_gradient_says_what_to_use():
    X, y, _ = made(60)
    with pytest.raises(ValueError, match="trainer='em'"):
        two(trainer="gradient").fit(X, y)


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_units_of_the_target_do_not_matter(scale):
    X, y, _ = made(300)
    std = two().fit(X, y).predict(X, return_std=True)[1]
    scaled = two().fit(X, scale * y).predict(X, return_std=True)[1]
    np.testing.assert_allclose(scaled / scale, std, rtol=1e-5)


@pytest.mark.parametrize("criterion", ["held-out", "bic"])
def test_growth_sees_the_spread(criterion):
    """One line with a growing spread is one leaf."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, size=(250, 1))
    y = X[:, 0] + np.exp(-0.5 + 0.6 * X[:, 0]) * rng.normal(size=250)
    model = HierarchicalMoERegressor(
        branching="grow",
        max_leaf_nodes=2,
        criterion=criterion,
        likelihood="heteroscedastic",
        random_state=0,
    ).fit(X, y)
    assert model.n_experts_ == 1


@pytest.mark.parametrize("kind", ["integers", "nullable", "mixed"])
def test_frames_of_any_numbers_beside_foreign_experts(kind):
    X, y, _ = made(200)
    frame = pd.DataFrame({"a": X[:, 0], "b": (X[:, 1] > 0).astype(int)})
    if kind == "integers":
        frame = (10 * frame).round().astype(int)
    elif kind == "nullable":
        frame = frame.astype("Float64")
    else:
        frame["b"] = frame["b"].astype(bool)
    model = two(experts=Ridge()).fit(frame, y)
    assert np.isfinite(model.log_density(frame, y)).all()


@pytest.mark.parametrize("kind", ["text", "gaps"])
def test_tables_with_text_and_gaps(kind):
    """The log-linear model reads them encoded, or any other as its expert does."""
    X, y, _ = made(200)
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    if kind == "text":
        frame["b"] = pd.Categorical(np.where(X[:, 1] > 0, "u", "v"))
    else:
        frame.loc[3, "a"] = np.nan
    expert = HistGradientBoostingRegressor(
        max_iter=5, categorical_features="from_dtype", loss="squared_error"
    )
    options = {"experts": expert, "gate": "constant"}
    own = two(**options).fit(frame, y)
    assert np.isfinite(own.log_density(frame, y)).all()
    model = HistGradientBoostingRegressor(
        max_iter=5, categorical_features="from_dtype", loss="poisson"
    )
    two(HeteroscedasticGaussian(model), **options).fit(frame, y)
    curves = two(HeteroscedasticGaussian(AdditiveExpert()), **options).fit(frame, y)
    assert np.isfinite(curves.log_density(frame, y)).all()


@pytest.mark.parametrize(
    "holds",
    [
        "objects",
        pytest.param("frame", marks=pytest.mark.thorough),
        pytest.param("polars", marks=pytest.mark.thorough),
    ],
)
def test_text_tells_spreads_apart(holds):
    rng = np.random.default_rng(0)
    town = rng.choice(["a", "b", "c"], 600)
    frame = pd.DataFrame({"x": rng.normal(size=600), "town": town})
    frame.loc[::7, "x"] = np.nan
    spread = np.where(town == "c", 2.0, 0.5) * np.where(frame["x"].isna(), 3.0, 1.0)
    y = spread * rng.normal(size=600)
    X = {
        "frame": lambda: frame,
        "objects": lambda: frame.to_numpy(dtype=object),
        "polars": lambda: pl.from_pandas(frame),
    }[holds]()
    experts = [DummyRegressor(), make_pipeline(numeric_encoding(), Ridge())]
    model = two(experts=experts, trainer="two-stage").fit(X, y)
    model = pickle.loads(pickle.dumps(model))
    _, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(np.median(std / spread), 1.0, atol=0.15)
    assert np.corrcoef(np.log(std), np.log(spread))[0, 1] > 0.95


def test_gaps_that_come_later_count_as_the_mean():
    X, y, _ = made(200)
    model = two(experts=HistGradientBoostingRegressor(max_iter=5), gate="constant")
    model.fit(X, y)
    later = X[:3].copy()
    later[:, 0] = np.nan
    filled = np.where(np.isnan(later), X.mean(axis=0), later)
    own = model.likelihoods_[0]
    np.testing.assert_allclose(own.at(later).sigma_, own.at(filled).sigma_)


@pytest.mark.parametrize("expert", [LinearExpert(), "additive"])
def test_rows_far_out_have_a_spread_of_the_training_rows(expert):
    X, y, _ = made(200)
    model = two(experts=expert, n_experts=1).fit(X, y)
    _, known = model.predict(X, return_std=True)
    _, far = model.predict([[1e3, 0.0], [-1e3, 0.0]], return_std=True)
    assert 0.999 * known.min() < far.min() < far.max() < 1.001 * known.max()


def test_warm_starts_keep_their_model_of_the_variance():
    X, y, _ = made(200)
    model = two(warm_start=True).fit(X, y)
    before = model.lower_bounds_[-1]
    assert model.fit(X, y).lower_bounds_[-1] >= before - 1e-9
    with pytest.raises(ValueError, match="start afresh"):
        model.set_params(likelihood=BOOSTED).fit(X, y)
