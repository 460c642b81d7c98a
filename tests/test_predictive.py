"""Quantiles, intervals, modes and draws of the predictive density."""

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor, mixture
from skmoe._numerics.calibration import calibration
from skmoe.likelihoods import Gamma, Gaussian, NegativeBinomial, Poisson
from skmoe.mixture import Components
from skmoe.trainers import TwoStage

MODELS = {
    "one expert": MoERegressor(n_experts=1),
    "flat": MoERegressor(n_experts=3),
    "sparse": MoERegressor(n_experts=3, router=1),
    "members": MoERegressor(n_experts=2, n_members=2),
    "shared expert": MoERegressor(n_experts=2, shared_expert=Ridge()),
    "two stages": MoERegressor(
        [("a", Ridge()), ("b", Ridge(1e4))], trainer=TwoStage(calibrate=False)
    ),
    "tree": HierarchicalMoERegressor(branching=(2, 2)),
}


def direct_cdf(model, X, i, t):
    """Distribution function of one row, written out."""
    weights, at = model.gate_proba(X[i : i + 1])[0], model.predict_experts(X[i : i + 1])
    sigmas = [x.sigma_ for x in model.likelihoods_]
    return sum(
        w * stats.norm.cdf(t, m, s)
        for w, m, s in zip(weights, at[0], sigmas, strict=True)
    )


@pytest.mark.parametrize("name", list(MODELS))
def test_quantiles_invert_the_distribution_function(name, regression):
    X, y = regression
    model = MODELS[name].set_params(random_state=0).fit(X, y)
    levels = [1e-6, 0.05, 0.5, 0.95, 1 - 1e-6]
    found = model.predict_quantile(X, levels)
    assert (np.diff(found, axis=1) > 0).all()
    for i in range(3):
        for level, own in zip(levels, found[i], strict=True):
            assert direct_cdf(model, X, i, own) == pytest.approx(level, abs=1e-12)
            root = optimize.brentq(
                lambda t, i=i, level=level: direct_cdf(model, X, i, t) - level,
                found[i].min() - 100,
                found[i].max() + 100,
            )
            assert own == pytest.approx(root, abs=1e-8)
    alone = np.concatenate(
        [model.predict_quantile(X[i : i + 1], 0.3) for i in range(4)]
    )
    np.testing.assert_allclose(alone, model.predict_quantile(X[:4], 0.3), rtol=1e-12)
    ends = model.predict_interval(X, 0.9)
    np.testing.assert_allclose(ends, model.predict_quantile(X, [0.05, 0.95]))


def skewed(n, seed):
    """Rows whose noise is skewed, and wide where the first column is large."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n, 2))
    spread = np.exp(1.5 * X[:, 0])
    return X, X[:, 1] + spread * rng.beta(1.5, 6.0, size=n)


TWO_STAGES = MoERegressor(
    [("line", Ridge()), ("near", KNeighborsRegressor(30))],
    trainer="two-stage",
    random_state=0,
)
STAGED = {
    "one spread": {},
    "spreads": {"likelihood": "heteroscedastic"},
    "sparse": {"router": 1},
    "members": {"n_members": 2},
    "densities": {"trainer": TwoStage(objective="likelihood")},
}


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.NoSampleWeightWarning")
@pytest.mark.parametrize(
    "name",
    [
        "one spread",
        "spreads",
        "sparse",
        pytest.param("members", marks=pytest.mark.thorough),
        pytest.param("densities", marks=pytest.mark.thorough),
    ],
)
def test_levels_of_two_stages_come_true(name):
    """By rows that were left out, whatever the noise; at either end by itself."""
    X, y = skewed(900, 0)
    new, there = skewed(4000, 1)
    model = clone(TWO_STAGES).set_params(**STAGED[name]).fit(X, y)
    ends = model.predict_interval(new, 0.9)
    beyond = [np.mean(there < ends[:, 0]), np.mean(there > ends[:, 1])]
    np.testing.assert_allclose(beyond, 0.05, atol=0.02)
    mean, std = model.predict(new, return_std=True)
    assert np.mean(((there - mean) / std) ** 2) == pytest.approx(1.0, abs=0.15)
    plain = clone(model).set_params(trainer=TwoStage(calibrate=False)).fit(X, y)
    as_if = plain.predict_interval(new, 0.9)
    assert np.mean(there < as_if[:, 0]) < 0.02
    # Draws are from the distribution whose quantiles these are.
    drawn = model.sample_y(new[:300], 60, random_state=0)
    below = np.mean(drawn < model.predict_quantile(new[:300], 0.2)[:, None])
    assert below == pytest.approx(0.2, abs=0.02)


def test_levels_of_several_outputs_and_of_weighted_rows():
    """Each output has its own, and rows count by their weights."""
    X, y = skewed(1200, 0)
    Y = np.column_stack([y, -y])
    model = clone(TWO_STAGES).set_params(experts=[Ridge(), Ridge(1e3)])
    both = clone(model).fit(X, Y).predict_interval(X, 0.8)
    np.testing.assert_allclose(both[:, 0], -both[:, 1, ::-1], rtol=1e-6)
    # Of one half of the rows the noise is the other way round, and counts for little.
    odd = np.arange(len(y)) % 2 == 1
    turned = np.where(odd, 2.0 * X[:, 1] - y, y)
    weight = np.where(odd, 1e-6, 1.0)
    own = clone(model).fit(X, turned, weight).predict_quantile(X, [0.05, 0.95])
    alone = clone(model).fit(X[~odd], y[~odd]).predict_quantile(X, [0.05, 0.95])
    np.testing.assert_allclose(own, alone, atol=0.1)


def test_levels_by_ranks():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5000, 1))
    found = calibration(stats.norm.cdf(2.0 * z), np.ones(5000), 4.0 * z**2)
    assert found.levels(0.9)[0] == pytest.approx(stats.norm.cdf(2.0 * 1.2816), abs=0.01)
    assert found.scale[0] == pytest.approx(2.0, rel=0.05)
    levels = np.array([[1e-4], [0.01], [0.5], [0.97], [1 - 1e-4]])
    back = found.probabilities(found.levels_of(levels))
    np.testing.assert_allclose(back, levels, rtol=1e-6)
    # The row to come is as likely below the least of 19 as between any two.
    ranks = np.arange(-9.0, 10.0)[:, None] / 2
    few = calibration(stats.norm.cdf(ranks), np.ones(19), ranks**2)
    assert stats.norm.ppf(few.levels(0.05)[0]) == pytest.approx(-4.5, abs=0.1)
    assert stats.norm.ppf(few.levels(0.5)[0]) == pytest.approx(0.0, abs=1e-9)
    # A row of weight two counts as two.
    own = calibration(stats.norm.cdf(z), np.repeat([1.0, 2.0], 2500), z**2)
    twice = np.vstack([z, z[2500:]])
    again = calibration(stats.norm.cdf(twice), np.ones(7500), twice**2)
    np.testing.assert_allclose(own.scores[:, 8:-8], again.scores[:, 8:-8], atol=0.01)


def test_shapes(regression):
    X, y = regression
    model = MoERegressor(n_experts=2).fit(X, y)
    assert model.predict_quantile(X).shape == (len(X),)
    assert model.predict_quantile(X, [0.5]).shape == (len(X), 1)
    assert model.sample_y(X, 3, random_state=0).shape == (len(X), 3)
    assert model.predict_mode(X).shape == (len(X),)
    both = MoERegressor(n_experts=2).fit(X, np.column_stack([y, -y]))
    assert both.predict_quantile(X).shape == (len(X), 2)
    assert both.predict_quantile(X, [0.1, 0.5, 0.9]).shape == (len(X), 2, 3)
    assert both.predict_interval(X).shape == (len(X), 2, 2)
    assert both.sample_y(X, 3, random_state=0).shape == (len(X), 2, 3)
    assert both.predict_mode(X).shape == (len(X), 2)
    column = both.predict_quantile(X, 0.25)
    upper = both.predict_quantile(X, 0.75)
    # The second output is the first one turned round.
    np.testing.assert_allclose(column[:, 0], -upper[:, 1], rtol=1e-4, atol=1e-3)
    assert not hasattr(MoEClassifier(), "predict_quantile")


def components(likelihood, sigmas):
    return [likelihood.with_sigma(np.atleast_1d(s), len(sigmas)) for s in sigmas]


@pytest.mark.parametrize(
    ("weights", "means", "sigmas"),
    [
        ([0.5, 0.5], [-1e6, 1e6], [1e-3, 1e-3]),
        ([1 - 1e-12, 1e-12], [0.0, 1e9], [1.0, 1.0]),
        ([0.3, 0.7], [0.0, 0.0], [1e-8, 1e8]),
        ([0.2, 0.8], [1e300, -1e300], [1.0, 1.0]),
        ([1.0, 0.0], [2.0, np.inf], [1.0, 1.0]),
        ([0.25, 0.75], [5.0, 5.0], [2.0, 2.0]),
    ],
)
@pytest.mark.parametrize("level", [1e-9, 0.1, 0.25, 0.6, 1 - 1e-9])
def test_ugly_mixtures(weights, means, sigmas, level):
    parts = components(Gaussian(), sigmas)
    weights = np.array([weights])
    at = np.array(means)[None, :, None]
    found = mixture.quantile(level, Components(weights, at, parts))
    assert np.isfinite(found).all()
    serves = weights[0] > 0
    kept = [p for p, s in zip(parts, serves, strict=True) if s]

    def reached(t):
        served = Components(weights[:, serves], at[:, serves], kept)
        return mixture.cdf(t, served)[0, 0]

    # Where the distribution function jumps within rounding, it passes the level.
    step = 16 * np.spacing(np.abs(found))
    assert reached(found - step) <= level + 1e-9
    assert reached(found + step) >= level - 1e-9


def test_intervals_cover_what_they_say():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(4000, 1))
    up = rng.random(4000) < 0.5
    y = np.where(up, 2 + X[:, 0], -2 - X[:, 0]) + 0.3 * rng.normal(size=4000)
    model = MoERegressor(n_experts=2, random_state=0).fit(X[:2000], y[:2000])
    for coverage in (0.5, 0.8, 0.95):
        low, high = model.predict_interval(X[2000:], coverage).T
        inside = np.mean((y[2000:] >= low) & (y[2000:] <= high))
        assert inside == pytest.approx(coverage, abs=0.03)
    # The mean lies between the branches, the mode on one of them.
    assert np.abs(model.predict(X)).mean() < 0.5
    assert np.abs(model.predict_mode(X)).min() > 0.9


def test_draws_follow_the_density(regression):
    X, y = regression
    model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    draws = model.sample_y(X[:1], 4000, random_state=1)[0]
    result = stats.kstest(draws, lambda t: direct_cdf(model, X, 0, t))
    assert result.pvalue > 0.01
    np.testing.assert_array_equal(
        model.sample_y(X, 2, random_state=5), model.sample_y(X, 2, random_state=5)
    )


def test_draws_of_several_outputs_are_correlated(regression):
    X, y = regression
    noise = np.random.default_rng(0).normal(size=len(y))
    both = np.column_stack([y + noise, y - 2 * noise])
    model = MoERegressor(
        n_experts=1, likelihood=Gaussian(covariance="full"), random_state=0
    ).fit(X, both)
    draws = model.sample_y(X[:1], 20_000, random_state=0)[0]
    expected = model.likelihoods_[0].covariance_
    np.testing.assert_allclose(np.cov(draws), expected, rtol=0.06)


def test_what_makes_no_sense_is_refused(regression):
    X, y = regression
    model = MoERegressor(n_experts=2).fit(X, y)
    for q in (0.0, 1.0, [0.5, 1.5], np.nan, [[0.5]]):
        with pytest.raises(ValueError, match="predict_quantile got q="):
            model.predict_quantile(X, q)
    for coverage in (0, 1.0, "wide", [0.5]):
        with pytest.raises(ValueError, match="coverage="):
            model.predict_interval(X, coverage)
    with pytest.raises(ValueError, match="n_samples=0"):
        model.sample_y(X, 0)


def mixed(likelihoods, means, weights):
    """The components of one row."""
    at = np.array(means, dtype=float)[None, :, None]
    return mixture.Components(np.array([weights]), at, likelihoods)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("level", [1e-300, 1e-12, 0.3, 0.5, 0.6, 0.99, 1 - 1e-16])
@pytest.mark.parametrize("means", [(1.0, 1e300), (1e-300, 1e20), (3e10, 1e16)])
def test_quantiles_of_mixtures_of_any_size(means, level):
    families = [
        [Gaussian().with_sigma([s], 1) for s in (1e-300, 1e290)],
        [Gaussian().with_sigma([s], 1) for s in (1.0, 1e-3)],
        [Gamma().with_shape([s]) for s in (1e-4, 1e6)],
        [NegativeBinomial().with_theta([s]) for s in (1e-4, 1e6)],
        [Poisson(), Poisson()],
    ]
    for likelihoods in families:
        rows = mixed(likelihoods, means, (0.5, 0.5))
        found = mixture.quantile(level, rows)
        assert np.isfinite(found).all()
        above = np.nextafter(found, np.inf) * (1.0 + np.sign(found) * 1e-15)
        assert mixture.cdf(above, rows)[0, 0] >= level * (1.0 - 1e-9) - 1e-15
        if rows.discrete:
            before = np.minimum(found - 1.0, np.nextafter(found, -np.inf))
            assert mixture.cdf(before, rows)[0, 0] < level


@pytest.mark.parametrize("criterion", ["aic", "bic", "icl"])
def test_criteria_ask_for_a_fit(criterion):
    with pytest.raises(NotFittedError):
        getattr(MoERegressor(), criterion)(np.ones((3, 1)), np.ones(3))
