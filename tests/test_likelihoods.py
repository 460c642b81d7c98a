"""Densities of all families: normalised, invertible, differentiable, finite."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from records import never_falls
from scipy import integrate, special, stats
from sklearn import config_context
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import (
    GammaRegressor,
    LinearRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import GroupGate, SoftmaxGate
from skmoe.likelihoods import (
    Beta,
    Binomial,
    Categorical,
    Gamma,
    Gaussian,
    HeteroscedasticGaussian,
    InverseGaussian,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Poisson,
    StudentT,
    Tweedie,
    Uniform,
    Weibull,
)
from skmoe.likelihoods._base import INVERSE_LINKS
from skmoe.likelihoods._incomplete import incomplete_beta, lower_gamma, upper_gamma
from skmoe.trainers import EM

TRIALS = np.full(1, 7.0)
# Fitted likelihood, a prediction, and the size of the row.
FITTED = {
    "gaussian": (Gaussian().with_sigma([0.7], 1), 1.3, None),
    "heteroscedastic": (
        HeteroscedasticGaussian().with_sigma(np.array([0.7]), np.ones(1)),
        1.3,
        None,
    ),
    "student-t": (StudentT().with_scale([0.7], [3.5]), 1.3, None),
    "nearly-normal": (StudentT().with_scale([0.7], [1e6]), 1.3, None),
    "laplace": (Laplace().with_scale([0.7]), 1.3, None),
    "gamma": (Gamma().with_shape([2.3]), 1.3, None),
    "gamma-exposed": (Gamma().with_shape([0.4]), 1.3, np.full(1, 2.5)),
    "weibull": (Weibull().with_shape([0.8]), 1.3, None),
    "weibull-exposed": (Weibull().with_shape([2.5]), 1.3, np.full(1, 2.5)),
    "log-normal": (LogNormal().with_sigma([0.9]), 1.3, None),
    "inverse-gaussian": (InverseGaussian().with_shape([2.3]), 1.3, np.full(1, 2.5)),
    "nearly-normal-times": (InverseGaussian().with_shape([1e5]), 1.3, None),
    "beta": (Beta().with_precision([3.0]), 0.3, None),
    "poisson": (Poisson(), 1.3, None),
    "poisson-exposed": (Poisson(), 1.3, np.full(1, 8.0)),
    "negative-binomial": (NegativeBinomial().with_theta([1.7]), 1.3, np.full(1, 3.0)),
    "nearly-poisson": (NegativeBinomial().with_theta([1e6]), 1.3, None),
    "bernoulli": (Binomial(), 0.3, None),
    "binomial": (Binomial(), 0.3, TRIALS),
    "uniform": (Uniform().with_range(np.array([[-1.0], [2.0]])), 0.0, None),
}
SMOOTH = [name for name, (own, *_) in FITTED.items() if not own.discrete]
COUNTS = [name for name, (own, *_) in FITTED.items() if own.discrete]
LINKED = [name for name in FITTED if name != "uniform"]


def of(name):
    likelihood, prediction, size = FITTED[name]
    return likelihood, np.array([[prediction]]), size


def spread(values, at, size):
    """Arguments for many y at one prediction."""
    n = len(values)
    sizes = None if size is None else np.repeat(size, n)
    return np.asarray(values, dtype=float)[:, None], np.repeat(at, n, axis=0), sizes


@pytest.mark.parametrize("name", SMOOTH)
def test_density_integrates_to_one(name):
    own, at, size = of(name)
    ends = [own.quantile(p, at, size)[0, 0] for p in (1e-13, 0.01, 0.99, 1 - 1e-13)]

    def density(t):
        return own.marginal_density(np.array([[t]]), at, size)[0, 0]

    pieces = [
        integrate.quad(density, a, b, limit=500, epsabs=1e-12)[0]
        for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
    assert sum(pieces) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_sum_to_one(name):
    own, at, size = of(name)
    y, many, sizes = spread(np.arange(400), at, size)
    if own.takes == "trials":
        y, many, sizes = spread(np.arange(1 + (1 if size is None else 7)), at, size)
    total = np.exp(own.log_prob(y, many, sizes))
    assert total.sum() == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(
        own.cdf(y, many, sizes)[:, 0], np.cumsum(total), rtol=1e-9, atol=1e-12
    )
    mean = (total * y[:, 0]).sum()
    assert mean == pytest.approx(own.mean(at, size)[0, 0], rel=1e-9)
    variance = (total * (y[:, 0] - mean) ** 2).sum()
    assert variance == pytest.approx(own.variance_of(at, size)[0, 0], rel=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("level", [1e-10, 1e-3, 0.3, 0.5, 0.9, 1 - 1e-9])
def test_quantile_inverts_cdf(name, level):
    own, at, size = of(name)
    t = own.quantile(level, at, size)
    assert own.cdf(t, at, size)[0, 0] == pytest.approx(level, rel=1e-8)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("level", [1e-6, 0.3, 0.5, 0.9, 0.999])
def test_quantile_is_the_least_count(name, level):
    own, at, size = of(name)
    t = own.quantile(level, at, size)
    assert own.cdf(t, at, size)[0, 0] >= level - 1e-12
    assert own.cdf(t - 1.0, at, size)[0, 0] < level


@pytest.mark.parametrize("name", LINKED)
def test_derivatives_match_finite_differences(name):
    own, at, size = of(name)
    link = INVERSE_LINKS[own.link]
    inverse = {
        "identity": lambda m: m,
        "log": np.log,
        "logit": lambda p: np.log(p / (1 - p)),
    }
    eta, step = inverse[own.link](at), 1e-5
    values = [1.0, 0.0] if own.discrete else [0.4, 1.3 + 1e-3, 2.9]
    values = [0.1, 0.3, 0.9] if own.support == (0.0, 1.0) else values
    y, etas, sizes = spread(values, eta, size)
    slope, curvature = own.derivatives(y, link(etas), sizes)
    up = own.log_prob(y, link(etas + step), sizes)
    down = own.log_prob(y, link(etas - step), sizes)
    np.testing.assert_allclose(
        slope[:, 0], (up - down) / (2 * step), rtol=1e-6, atol=1e-7
    )
    assert np.all(curvature > 0)


@pytest.mark.parametrize(
    "name",
    [
        "gaussian",
        "gamma",
        "poisson",
        "binomial",
        "negative-binomial",
        "weibull",
        "log-normal",
        "inverse-gaussian",
        "beta",
    ],
)
def test_curvature_is_expected_information(name):
    """The variance of the slope is the expected curvature."""
    own, at, size = of(name)
    rng = np.random.default_rng(0)
    _, many, sizes = spread(np.zeros(200_000), at, size)
    slope, curvature = own.derivatives(own.sample(many, rng, sizes), many, sizes)
    assert slope.var() == pytest.approx(curvature.mean(), rel=0.02)


@pytest.mark.parametrize("name", list(FITTED))
def test_samples_follow_the_distribution(name):
    own, at, size = of(name)
    rng = np.random.default_rng(0)
    _, many, sizes = spread(np.zeros(4000), at, size)
    draws = own.sample(many, rng, sizes)[:, 0]
    if own.discrete:
        counts = np.bincount(draws.astype(int))
        y, among, own_sizes = spread(np.arange(len(counts)), at, size)
        expected = 4000 * np.exp(own.log_prob(y, among, own_sizes))
        keep = expected > 5
        rest = [4000 - counts[keep].sum()], [4000 - expected[keep].sum()]
        observed = np.append(counts[keep], rest[0])
        wanted = np.append(expected[keep], rest[1])
        use = wanted > 1
        wanted = wanted[use] * observed[use].sum() / wanted[use].sum()
        assert stats.chisquare(observed[use], wanted).pvalue > 1e-3
        return

    def cdf(t):
        return own.cdf(*spread(t, at, size))[:, 0]

    assert stats.kstest(draws, cdf).pvalue > 1e-3


EXTREMES = {
    "gaussian": ([-1e150, 0.0, 1e150], [-1e150, 1e-300, 1e150]),
    "heteroscedastic": ([-1e150, 0.0, 1e150], [-1e150, 1e-300, 1e150]),
    "student-t": ([-1e150, 0.0, 1e150], [-1e150, 1e-300, 1e150]),
    "laplace": ([-1e300, 0.0, 1e300], [-1e300, 1e-300, 1e300]),
    "gamma": ([1e-300, 1.0, 1e200], [1e-300, 1.0, 1e200]),
    "weibull": ([1e-300, 1.0, 1e200], [1e-300, 1.0, 1e200]),
    "log-normal": ([1e-300, 1.0, 1e200], [1e-300, 1.0, 1e200]),
    "inverse-gaussian": ([1e-300, 1.0, 1e200], [1e-300, 1.0, 1e200]),
    "beta": ([1e-300, 0.5, 1.0 - 1e-16], [0.0, 1e-300, 0.5, 1.0]),
    "poisson": ([0.0, 1.0, 1e12], [0.0, 1e-300, 1e15]),
    "negative-binomial": ([0.0, 1.0, 1e12], [0.0, 1e-300, 1e15]),
    "binomial": ([0.0, 3.0, 7.0], [0.0, 0.5, 1.0]),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_inputs_stay_finite(name):
    own = FITTED[name][0]
    y, at = map(np.ravel, np.meshgrid(*EXTREMES[name]))
    y, at = y[:, None], at[:, None]
    size = np.full(len(y), 7.0) if own.takes == "trials" else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(own.log_prob(y, at, size)).all()
        assert np.all(np.isfinite(own.cdf(y, at, size)))


EXPECTED_WEIBULL = stats.weibull_min(2.0).logpdf(0.7)
# scipy.stats: t(3.5).logpdf(40), gamma(2.3, scale=1.3 / 2.3).logpdf(1e-8),
# poisson(1.3e4).logpmf(12000), nbinom(1.7, 1.7 / 5.6).logpmf(300),
# binom(7, 0.3).logpmf(7); by hand for Laplace
REFERENCES = [
    (StudentT().with_scale([1.0], [3.5]), 40.0, 0.0, None, stats.t(3.5).logpdf(40)),
    (
        Gamma().with_shape([2.3]),
        1e-8,
        1.3,
        None,
        stats.gamma(2.3, scale=1.3 / 2.3).logpdf(1e-8),
    ),
    (Weibull().with_shape([2.0]), 0.7, np.sqrt(np.pi) / 2.0, None, EXPECTED_WEIBULL),
    (
        LogNormal().with_sigma([0.9]),
        20.0,
        1.3,
        None,
        stats.lognorm(0.9, scale=1.3 * np.exp(-0.405)).logpdf(20.0),
    ),
    (
        InverseGaussian().with_shape([2.3]),
        1e-2,
        1.3,
        None,
        stats.invgauss(1.3 / 2.3, scale=2.3).logpdf(1e-2),
    ),
    (Beta().with_precision([4.0]), 0.9, 0.3, None, stats.beta(1.2, 2.8).logpdf(0.9)),
    (Poisson(), 12000.0, 1.3e4, None, stats.poisson(1.3e4).logpmf(12000)),
    (
        NegativeBinomial().with_theta([1.7]),
        300.0,
        3.9,
        None,
        stats.nbinom(1.7, 1.7 / 5.6).logpmf(300),
    ),
    (Binomial(), 7.0, 0.3, TRIALS, stats.binom(7, 0.3).logpmf(7)),
    (Laplace().with_scale([1.0]), -900.0, 0.0, None, -900 - np.log(2)),
]


@pytest.mark.parametrize(("own", "y", "at", "size", "expected"), REFERENCES)
def test_log_density_is_that_of_scipy(own, y, at, size, expected):
    found = own.log_prob(np.array([[y]]), np.array([[at]]), size)
    assert found[0] == pytest.approx(expected, rel=1e-11)


def test_negative_binomial_tends_to_poisson():
    y, at = np.array([[3.0]]), np.array([[1.3]])
    near = NegativeBinomial().with_theta([1e6]).log_prob(y, at)
    assert near == pytest.approx(Poisson().log_prob(y, at), abs=1e-5)


# -- dispersions ---------------------------------------------------------------------


def generated(name, n=400, seed=0):
    """Targets that follow a family, their predictions, and weights."""
    own, at, size = of(name)
    rng = np.random.default_rng(seed)
    _, many, sizes = spread(np.zeros(n), at, size)
    return own, own.sample(many, rng, sizes), many, sizes, rng.uniform(0.2, 2.0, n)


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("gaussian", ["sigma_"]),
        ("student-t", ["sigma_", "df_"]),
        ("laplace", ["scale_"]),
        ("gamma", ["shape_"]),
        ("negative-binomial", ["theta_"]),
        ("weibull", ["shape_"]),
        ("log-normal", ["sigma_"]),
        ("inverse-gaussian", ["shape_"]),
        ("beta", ["precision_"]),
    ],
)
def test_dispersions_maximise_the_likelihood(name, moved):
    """No small change of a fitted dispersion is better."""
    own, y, at, size, weight = generated(name)
    fitted = None
    for _ in range(200):
        previous = None if fitted is None else [fitted]
        (fitted,) = type(own)().fit_dispersions(
            y, [at], weight[:, None], size=size, previous=previous
        )
    best = weight @ fitted.log_prob(y, at, size)
    for attribute in moved:
        value = getattr(fitted, attribute)
        for factor in (0.98, 1.02):
            setattr(fitted, attribute, value * factor)
            assert weight @ fitted.log_prob(y, at, size) < best
        setattr(fitted, attribute, value)


@pytest.mark.parametrize("name", ["student-t", "laplace", "gamma", "negative-binomial"])
def test_weights_are_repetitions(name):
    own, y, at, size, _ = generated(name, n=60)
    times = np.arange(60) % 3 + 1
    (weighted,) = type(own)().fit_dispersions(
        y, [at], times[:, None].astype(float), size=size
    )
    again = np.repeat(np.arange(60), times)
    sizes = None if size is None else size[again]
    (repeated,) = type(own)().fit_dispersions(
        y[again], [at[again]], np.ones((len(again), 1)), size=sizes
    )
    for attribute in ("sigma_", "df_", "scale_", "shape_", "theta_"):
        if hasattr(weighted, attribute):
            one, two = getattr(weighted, attribute), getattr(repeated, attribute)
            assert one == pytest.approx(two, rel=1e-6)


# -- mixtures ------------------------------------------------------------------------


def counts(n=500, seed=0):
    """Two regimes of rates, with exposures."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(n, 2))
    rate = np.exp(np.where(X[:, 0] > 0, 1.0 + X[:, 1], 0.5 - X[:, 1]))
    exposure = rng.uniform(0.5, 20.0, n)
    return X, rng.poisson(rate * exposure).astype(float), exposure, rate


def targets(name, n=400, seed=0):
    rng = np.random.default_rng(seed)
    X, _, exposure, rate = counts(n, seed)
    made = {
        "heteroscedastic": np.log(rate) + 0.3 * np.exp(X[:, 1]) * rng.normal(size=n),
        "student-t": np.log(rate) + 0.3 * rng.standard_t(3, n),
        "laplace": np.log(rate) + 0.3 * rng.laplace(size=n),
        "poisson": rng.poisson(rate).astype(float),
        "negative-binomial": rng.poisson(rate * rng.gamma(2.0, 0.5, n)).astype(float),
        "gamma": rate * rng.gamma(4.0, 0.25, n),
        "binomial": (rng.uniform(size=n) < rate / (1 + rate)).astype(float),
    }
    return X, made[name]


FAMILIES = [
    "heteroscedastic",
    "student-t",
    "laplace",
    "poisson",
    "negative-binomial",
    "gamma",
    "binomial",
]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "shape",
    [
        "flat",
        pytest.param("tree", marks=pytest.mark.thorough),
        "hard",
        "top-1",
        "ridge",
    ],
)
def test_objective_never_falls(name, shape):
    X, y = targets(name)
    options = {"likelihood": name, "random_state": 0}
    if shape == "tree":
        model = HierarchicalMoERegressor(branching=(2, 2), **options)
    elif shape == "hard":
        model = MoERegressor(n_experts=2, trainer="hard-em", **options)
    elif shape == "top-1":
        model = MoERegressor(n_experts=2, router=1, **options)
    else:
        expert = LinearExpert(alpha=20.0 if shape == "ridge" else 1.0, l1_ratio=0.0)
        model = MoERegressor(expert, n_experts=2, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    if shape != "top-1":
        assert never_falls(model)
    assert np.isfinite(model.log_density(X, y)).all()
    assert np.all(np.diff(model.predict_quantile(X, [0.1, 0.5, 0.9]), axis=1) >= 0)
    one = [model.predict(X[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(one, model.predict(X[:3]), rtol=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_repetitions_in_a_mixture(name):
    X, y = targets(name, n=150)
    times = np.arange(150) % 3
    again = np.repeat(np.arange(150), times)
    model = MoERegressor(n_experts=2, likelihood=name, trainer=EM(tol=1e-10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighted = model.fit(X, y, sample_weight=times).predict(X)
        repeated = model.fit(X[again], y[again]).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_scale_of_columns_does_not_matter(name):
    X, y = targets(name, n=150)
    model = MoERegressor(n_experts=2, likelihood=name, random_state=0)
    first = model.fit(X, y).predict(X)
    np.testing.assert_allclose(
        model.fit(X * 1024.0, y).predict(X * 1024.0), first, 1e-7
    )


@pytest.mark.parametrize("name", ["heteroscedastic", "student-t", "laplace"])
def test_scale_of_the_target_scales_predictions(name):
    X, y = targets(name, n=150)
    for expert in (LinearExpert(), LinearExpert(alpha=3.0, l1_ratio=0.5)):
        model = MoERegressor(expert, n_experts=2, likelihood=name, random_state=0)
        first = model.fit(X, y).predict(X)
        again = model.fit(X, y * 1024.0).predict(X) / 1024.0
        np.testing.assert_allclose(again, first, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-150, 1e-60, 1e60, 1e150])
def test_units_of_a_gamma_target_do_not_matter(factor):
    X, y = targets("gamma", n=150)
    for more in ({}, {"noise": True}, {"gate": "gaussian", "router": 1}):
        model = MoERegressor(n_experts=2, likelihood="gamma", random_state=0, **more)
        mean, density = model.fit(X, y).predict(X), model.log_density(X, y)
        upper = model.predict_quantile(X, 0.9)
        model.fit(X, y * factor)
        np.testing.assert_allclose(model.predict(X) / factor, mean, rtol=1e-6)
        np.testing.assert_allclose(
            model.predict_quantile(X, 0.9) / factor, upper, rtol=1e-6
        )
        found = model.log_density(X, y * factor) + np.log(factor)
        np.testing.assert_allclose(found, density, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["poisson", "negative-binomial", "gamma"])
def test_units_of_exposure_do_not_matter(name):
    """Of rates as small as those per byte, or smaller."""
    X, y = targets(name, n=150)
    exposure = np.random.default_rng(1).uniform(0.5, 3.0, size=len(y))
    model = MoERegressor(n_experts=2, likelihood=name, random_state=0)
    first = model.fit(X, y, offset=np.log(exposure)).predict(X)
    density = model.log_density(X, y, offset=np.log(exposure))
    for unit in (1e-100, 1e9, 1e14, 1e100):
        offset = np.log(exposure) + np.log(unit)
        rate = model.fit(X, y, offset=offset).predict(X)
        np.testing.assert_allclose(rate * unit, first, rtol=1e-5)
        found = model.log_density(X, y, offset=offset)
        np.testing.assert_allclose(found, density, rtol=1e-5, atol=1e-5)


def test_one_expert_is_scikit_learns_poisson_and_gamma():
    for name, other in (("poisson", PoissonRegressor), ("gamma", GammaRegressor)):
        X, y = targets(name)
        ours = MoERegressor(LinearExpert(alpha=0), n_experts=1, likelihood=name)
        theirs = other(alpha=0, tol=1e-10, max_iter=10_000).fit(X, y)
        np.testing.assert_allclose(ours.fit(X, y).predict(X), theirs.predict(X), 1e-5)


def test_exposure_is_an_offset():
    X, y, exposure, rate = counts()
    model = MoERegressor(n_experts=2, likelihood="poisson", random_state=0)
    model.fit(X, y, offset=np.log(exposure))
    found = model.predict(X)
    assert np.median(np.abs(np.log(found / rate))) < 0.1
    np.testing.assert_allclose(
        model.predict(X, offset=np.log(exposure)), found * exposure, rtol=1e-10
    )
    total = model.log_density(X, y, offset=np.log(exposure)).sum()
    assert total == pytest.approx(model.log_likelihood_, rel=1e-9)
    mean, std = model.predict(X, return_std=True, offset=np.log(exposure))
    assert np.all(std >= np.sqrt(mean) - 1e-9)
    assert model.score(X, y, offset=np.log(exposure)) > 0.8
    draws = model.sample_y(X[:1], 4000, random_state=0, offset=np.log(exposure[:1]))
    assert draws.mean() == pytest.approx(mean[0], abs=4 * std[0] / np.sqrt(4000))
    for method in (model.predict_quantile, model.predict_interval, model.predict_mode):
        assert np.all(method(X, offset=np.log(exposure)) >= 0)


def test_exposure_doubled_is_twice_the_rows():
    """Twice the exposure, with the counts of both rows, has the same coefficients."""
    X, y, exposure, _ = counts(100)
    both = np.vstack([X, X])
    expert = LinearExpert(alpha=0)
    model = MoERegressor(expert, n_experts=1, likelihood="poisson")
    apart = model.fit(both, np.append(y, y)).experts_[0].coef_
    together = model.fit(X, 2 * y, offset=np.full(100, np.log(2.0))).experts_[0].coef_
    np.testing.assert_allclose(apart, together, rtol=1e-6)


def test_trials_are_rows_put_together():
    X, y = targets("binomial", n=100)
    twice = np.vstack([X, X])
    expert = LinearExpert(alpha=0)
    model = MoERegressor(expert, n_experts=1, likelihood="binomial")
    apart = model.fit(twice, np.append(y, y)).predict(X)
    model.fit(X, 2 * y, trials=np.full(100, 2))
    np.testing.assert_allclose(apart, model.predict(X), rtol=1e-6)
    np.testing.assert_allclose(
        model.predict(X, trials=np.full(100, 2)), 2 * apart, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("poisson", HistGradientBoostingRegressor(loss="poisson", max_iter=20)),
        pytest.param(
            "gamma",
            HistGradientBoostingRegressor(loss="gamma", max_iter=20),
            marks=pytest.mark.thorough,
        ),
        ("negative-binomial", PoissonRegressor()),
        ("heteroscedastic", LinearRegression()),
        pytest.param(
            "heteroscedastic",
            HistGradientBoostingRegressor(max_iter=20),
            marks=pytest.mark.thorough,
        ),
        ("student-t", LinearRegression()),
        ("laplace", HistGradientBoostingRegressor(loss="absolute_error", max_iter=20)),
        ("binomial", DecisionTreeRegressor(max_depth=3)),
    ],
)
def test_any_estimator_gives_the_location(name, expert):
    X, y = targets(name)
    model = MoERegressor(expert, n_experts=2, likelihood=name, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert np.isfinite(model.log_density(X, y)).all()
    assert model.log_likelihood_ == pytest.approx(model.log_density(X, y).sum())


def test_t_experts_forgive_outliers():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 1))
    y = np.where(X[:, 0] > 0, 3 * X[:, 0], -3 * X[:, 0]) + 0.1 * rng.normal(size=300)
    y[::15] += 30.0 * rng.standard_normal(20)
    clean = np.arange(300) % 15 != 0
    for expert in (LinearExpert(), LinearRegression()):
        model = MoERegressor(
            expert, n_experts=2, likelihood="student-t", random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = (model.fit(X, y).predict(X) - np.abs(3 * X[:, 0]))[clean]
        assert np.sqrt(np.mean(error**2)) < 0.2


def test_several_outputs():
    X, y = targets("poisson")
    both = np.column_stack([y, y[::-1]])
    model = MoERegressor(n_experts=2, likelihood="poisson", random_state=0).fit(X, both)
    assert model.predict(X).shape == both.shape
    assert model.predict_quantile(X, [0.1, 0.9]).shape == (len(X), 2, 2)
    assert model.experts_[0].coef_.shape == (2, 2)
    assert never_falls(model)


def test_members_average():
    X, y = targets("poisson")
    model = MoERegressor(n_experts=2, likelihood="poisson", n_members=2, random_state=0)
    model.fit(X, y)
    assert model.log_likelihood_ == pytest.approx(model.log_density(X, y).sum())


@pytest.mark.parametrize(
    ("likelihood", "options", "message"),
    [
        ("poisson", {"y": -1.0}, "Poisson got y with the value -1.0"),
        ("poisson", {"y": 0.5}, "Poisson got y with the value 0.5"),
        ("gamma", {"y": 0.0}, "least value of 0.0"),
        ("weibull", {"y": 0.0}, "Weibull got y with a least value of 0.0"),
        ("tweedie", {"y": -1.0}, "Tweedie got y with a least value of -1.0"),
        ("beta", {"y": 1.0}, "Beta got y with the value 1.0.*without the ends"),
        ("binomial", {"y": 2.0}, "exceeds its trials by 1.0"),
        ("poisson", {"trials": 3.0}, "got trials with Poisson"),
        ("gaussian", {"offset": 3.0}, "takes neither offset nor trials"),
        ("binomial", {"trials": 0.5}, "whole numbers"),
        ("poisson", {"offset": np.nan}, "offset is nan in row 0"),
        ("poisson", {"offset": [1.0, 2.0]}, "offset has shape"),
    ],
)
def test_bad_targets_and_sizes(likelihood, options, message):
    X = np.arange(20.0).reshape(-1, 1)
    y = np.full(20, options.pop("y", 1.0))
    sizes = {
        k: np.array(v) if np.ndim(v) else np.full(20, v) for k, v in options.items()
    }
    model = MoERegressor(n_experts=1, likelihood=likelihood)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **sizes)
    assert not hasattr(model, "gate_")


@pytest.mark.parametrize("trainer", ["gradient", "two-stage"])
def test_other_trainers_say_what_to_use(trainer):
    X, y = targets("poisson", n=60)
    with pytest.raises(ValueError, match="trainer='em'"):
        MoERegressor(likelihood="poisson", trainer=trainer).fit(X, y)
    with pytest.raises(ValueError, match="trainer='em'"):
        MoERegressor(noise=True, trainer=trainer).fit(X, y)


def test_neural_experts_have_no_log_link():
    X, y = targets("poisson", n=60)
    with pytest.raises(ValueError, match="log link"):
        MoERegressor(MLPExpert(), likelihood="poisson").fit(X, y)


@pytest.mark.parametrize(
    "own",
    [
        Gamma(floor=0),
        LogNormal(floor=1),
        Beta(floor=0),
        Tweedie(power=2.0),
        Tweedie(floor=0),
        HeteroscedasticGaussian(floor=0),
        HeteroscedasticGaussian("linear"),
        StudentT(df=-1),
        StudentT(floor=2),
        Laplace(floor=-1),
    ],
)
def test_bad_parameters(own):
    X, y = targets("gamma", n=60)
    with pytest.raises(ValueError, match=type(own).__name__):
        MoERegressor(likelihood=own).fit(X, y)


def test_noise_takes_outliers():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 1))
    y = np.abs(3 * X[:, 0]) + 0.1 * rng.normal(size=400)
    wild = np.arange(400) % 20 == 0
    y[wild] = rng.uniform(-5, 10, size=wild.sum())
    model = MoERegressor(n_experts=2, noise=True, random_state=0).fit(X, y)
    chance = model.outlier_proba(X, y)
    far = np.abs(np.abs(y) - np.abs(3 * X[:, 0])) > 1.0
    assert chance[far].min() > 0.9
    assert chance[~wild].mean() < 0.03
    assert list(model.named_experts_) == ["expert0", "expert1", "noise"]
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)
    error = model.predict(X) - np.abs(3 * X[:, 0])
    assert np.sqrt(np.mean(error**2)) < 0.1
    # Far outside the range of training, a row is noise too.
    assert model.outlier_proba(X[:1], [1e6])[0] > 0.99
    plain = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    with pytest.raises(AttributeError, match="noise=True"):
        plain.outlier_proba(X, y)


@pytest.mark.parametrize("name", ["gaussian", "student-t", "gamma", "poisson"])
@pytest.mark.parametrize("noise", [True, "constant"])
def test_densities_with_noise_integrate_to_one(name, noise):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(150, 1))
    center = np.exp(1.0 + X[:, 0])
    y = rng.gamma(30.0, size=150) * center / 30.0
    y[::7] = rng.uniform(0.0, 20.0, size=len(y[::7])) + 0.1
    y = np.floor(y) if name == "poisson" else y
    model = MoERegressor(n_experts=1, likelihood=name, noise=noise, random_state=0)
    model.fit(X, y)
    row = X[:1]
    if name == "poisson":
        t = np.arange(200.0)
        total = np.exp(model.log_density(np.repeat(row, 200, axis=0), t)).sum()
    else:
        low = 0.0 if name == "gamma" else -400.0
        edges = [low, y.min() - 1e-9, y.min(), y.max(), y.max() + 1e-9, 400.0]
        total = 0.0
        for start, stop in itertools.pairwise(np.clip(edges, low, None)):
            t = np.linspace(start, stop, 40_001)[:-1]
            t = t + 0.5 * (stop - start) / 40_000
            density = np.exp(model.log_density(np.repeat(row, len(t), axis=0), t))
            total += density.sum() * (stop - start) / 40_000
    assert total == pytest.approx(1.0, abs=2e-4)
    assert model.gate_proba(row)[0, -1] > 0.02
    # Draws, quantiles and densities are those of one distribution.
    draws = np.sort(model.sample_y(row, 4000, random_state=0)[0])
    for level in (0.3, 0.5, 0.9):
        place = model.predict_quantile(row, level)[0]
        assert np.mean(draws <= place) > level - 0.04
        assert np.mean(draws < place) < level + 0.04
    beyond = [y.max() + 200.0]
    expected = np.log(model.gate_proba(row)[0, 0]) + model.likelihoods_[0].log_prob(
        np.array([beyond]), model.experts_[0].predict(row).reshape(1, 1)
    )
    np.testing.assert_allclose(model.log_density(row, beyond), expected)
    assert model.outlier_proba(row, beyond)[0] > 0.99


def test_noise_of_several_outputs_is_a_box():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    Y = np.c_[X, -X] + 0.1 * rng.normal(size=(200, 2))
    Y[::10] = rng.uniform(-5, 5, size=(20, 2))
    model = MoERegressor(n_experts=1, noise=True, random_state=0).fit(X, Y)
    steps = np.linspace(-6.0, 6.0, 300, endpoint=False) + 0.02
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    density = np.exp(model.log_density(np.repeat(X[:1], len(grid), axis=0), grid))
    assert density.sum() * 0.04**2 == pytest.approx(1.0, abs=0.02)
    outside = np.array([[Y[:, 0].max() + 0.5, 0.0]])
    assert model.responsibilities(X[:1], outside)[0, -1] == 0
    draws = model.sample_y(X[:1], 500, random_state=0)[0]
    assert draws[0].max() <= Y[:, 0].max() + 1.0


@pytest.mark.thorough
@pytest.mark.parametrize("noise", [True, "constant"])
@pytest.mark.parametrize("branching", [(2,), (None, (None, None))])
def test_trees_take_noise_as_a_leaf_beside_all_others(noise, branching):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(600, 1))
    y = np.abs(3 * X[:, 0]) + 0.1 * rng.normal(size=600)
    far = np.arange(600) % 20 == 0
    y[far] = rng.uniform(6, 12, size=30) * np.tile([-1, 1], 15)
    options = {"branching": branching, "noise": noise, "random_state": 0}
    with warnings.catch_warnings():
        # Three leaves are more than two lines need.
        warnings.simplefilter("ignore", ExpertCollapseWarning)
        model = HierarchicalMoERegressor(**options).fit(X, y)
    assert never_falls(model)
    assert list(model.named_experts_)[-1] == "noise"
    if branching == (2,):
        assert model.outlier_proba(X, y)[far].min() > 0.9
    assert model.decision_path(X).shape[1] == model.n_experts_ + len(model.gate_.gates_)
    if model.n_experts_ == model.n_experts + 1:
        before = model.lower_bounds_[-1]
        again = model.set_params(warm_start=True).fit(X, y)
        assert again.lower_bounds_[-1] >= before - 1e-9
    with pytest.raises(ValueError, match="noise=.*grows without it"):
        HierarchicalMoERegressor(branching="grow", noise=noise).fit(X, y)


@pytest.mark.parametrize("gate", ["softmax", "gaussian", "constant"])
def test_a_constant_share_of_noise(gate):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 1))
    y = np.abs(3 * X[:, 0]) + 0.1 * rng.normal(size=400)
    y[::20] = rng.uniform(-5, 10, size=20)
    model = MoERegressor(n_experts=2, gate=gate, noise="constant", random_state=0)
    model.fit(X, y)
    share = model.gate_proba(X)[:, -1]
    np.testing.assert_allclose(share, share[0], rtol=1e-10)
    assert share[0] == pytest.approx(0.05, abs=0.02)
    assert never_falls(model)
    if gate == "softmax":
        # A gate that separates the experts cannot leave noise its share everywhere.
        gated = MoERegressor(n_experts=2, noise=True, random_state=0).fit(X, y)
        assert model.log_likelihood_ > gated.log_likelihood_ + 10


def test_noise_without_outliers_stays_and_is_empty():
    X, y = targets("student-t")
    X, y = X[:200], np.abs(X[:200, 0])
    rng = np.random.default_rng(0)
    y = y + 0.01 * rng.normal(size=200)
    model = MoERegressor(n_experts=2, noise=True, random_state=0).fit(X, y)
    assert "noise" in model.named_experts_
    assert model.expert_load_[-1] < 0.02


def test_counts_with_noise_have_quantiles_and_draws():
    X, y = targets("poisson")
    model = MoERegressor(n_experts=2, likelihood="poisson", noise=True, random_state=0)
    model.fit(X, np.minimum(y, 3.0))
    found = model.predict_quantile(X, [0.1, 0.5, 0.9])
    assert np.all(found == np.floor(found))
    draws = model.sample_y(X, 3, random_state=0)
    assert np.all(draws == np.floor(draws))


@pytest.mark.parametrize("likelihood", ["student-t", "poisson"])
def test_warm_starts_keep_their_family(likelihood):
    X, y = targets("poisson")
    model = MoERegressor(n_experts=2, warm_start=True, random_state=0).fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="start afresh"):
        model.set_params(likelihood=likelihood).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)


def test_noise_around_a_shared_expert_is_on_the_scale_of_y():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 1))
    y = 100 * X[:, 0] + rng.normal(size=300)
    model = MoERegressor(n_experts=2, noise=True, shared_expert=LinearRegression())
    model.set_params(random_state=0).fit(X, y)
    assert np.abs(model.predict_experts(X)[:, -1] - y).max() < 10
    draws = model.sample_y(X, 20, random_state=0)
    assert np.abs(draws - y[:, None]).max() < 20


def test_rows_routed_to_noise_are_predicted_by_their_gate():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 1))
    y = np.where(X[:, 0] > 0, 5.0, -5.0) + 0.1 * rng.normal(size=300)
    wild = X[:, 0] > 0.7
    y[wild] = rng.uniform(-5, 20, wild.sum())
    model = MoERegressor(n_experts=2, noise=True, router=1, random_state=0).fit(X, y)
    routed = model.gate_proba(X)[:, -1] == 1
    assert routed.any()
    np.testing.assert_allclose(model.predict(X)[routed], 5.0, atol=1.0)


def test_a_lasso_is_for_em():
    X, y = targets("student-t", n=60)
    for options in (
        {"experts": LinearExpert(l1_ratio=1.0)},
        {"gate": SoftmaxGate(l1_ratio=0.5)},
    ):
        with pytest.raises(ValueError, match="only EM fits a lasso"):
            MoERegressor(trainer="gradient", **options).fit(X, y)
    gate, experts = SoftmaxGate(l1_ratio=0.5), [Ridge(), LinearRegression()]
    model = MoERegressor(experts, gate=gate, trainer="two-stage")
    with pytest.raises(ValueError, match="only EM fits a lasso"):
        model.fit(X, y)


def test_metadata_routing_without_metadata():
    X, y = targets("student-t", n=60)
    with config_context(enable_metadata_routing=True):
        for noise in (False, True):
            model = MoERegressor(n_experts=2, noise=noise, random_state=0).fit(X, y)
            assert model.n_experts_ == 2 + noise


def test_categorical_is_the_multinomial_of_one_draw():
    own, rng = Categorical(), np.random.default_rng(0)
    proba = np.array([[0.2, 0.5, 0.3]])
    codes = np.arange(3)
    many = np.repeat(proba, 3, axis=0)
    assert np.exp(own.log_prob(codes, many)).sum() == pytest.approx(1.0, abs=1e-15)
    theirs = stats.multinomial(1, proba[0])
    np.testing.assert_allclose(own.log_prob(codes, many), theirs.logpmf(np.eye(3)))
    np.testing.assert_allclose(own.mean(proba)[0], theirs.mean())
    np.testing.assert_allclose(own.variance_of(proba)[0], np.diag(theirs.cov()))
    slope, curvature = own.derivatives(codes, many)
    for j, step in enumerate(1e-6 * np.eye(3)):
        up, down = (special.softmax(np.log(many) + s, axis=1) for s in (step, -step))
        numeric = (own.log_prob(codes, up) - own.log_prob(codes, down)) / 2e-6
        np.testing.assert_allclose(slope[:, j], numeric, atol=1e-8)
        numeric = (up - down)[:, j] / 2e-6
        np.testing.assert_allclose(curvature[:, j], numeric, atol=1e-8)
    draws = own.sample(np.repeat(proba, 4000, axis=0), rng)
    assert stats.chisquare(np.bincount(draws), 4000 * proba[0]).pvalue > 1e-3


def test_a_constant_share_of_noise_beside_known_segments():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "g": ["u", "v"] * 100})
    y = np.where(frame["g"] == "u", 1.0, -1.0) * frame["a"] + 0.1 * rng.normal(size=200)
    model = MoERegressor(n_experts=2, gate=GroupGate("g"), noise="constant")
    share = model.fit(frame, y).gate_proba(frame)
    np.testing.assert_allclose(share[:, -1], share[0, -1])
    assert not hasattr(model.gate_, "coef_")


def test_warm_starts_keep_their_noise():
    X, y = targets("student-t", n=100)
    model = MoERegressor(n_experts=2, noise=True, warm_start=True, random_state=0)
    model.fit(X, y)
    with pytest.raises(ValueError, match="another share of noise"):
        model.set_params(noise="constant").fit(X, y)


@pytest.mark.filterwarnings("ignore:.*members that memorise")
def test_what_is_for_classes_is_refused():
    X, y = targets("student-t", n=60)
    with pytest.raises(ValueError, match="MoEClassifier"):
        MoERegressor(likelihood=Categorical()).fit(X, y)
    with pytest.raises(ValueError, match="noise=.*do not fit that"):
        MoERegressor("auto", noise="constant").fit(X, y)


def test_the_mean_is_one_function():
    """``predict`` is the mean that ``return_std`` has, whatever experts predict."""
    rng = np.random.default_rng(0)
    X, far = rng.normal(size=(80, 2)), 3.0 * rng.normal(size=(40, 2))
    rate = np.exp(1.5 * X[:, 0])
    families = {
        "poisson": rng.poisson(rate).astype(float),
        "negative-binomial": rng.poisson(rate * rng.gamma(1.0, size=80)).astype(float),
        "gamma": rng.gamma(2.0, size=80) * rate,
        "binomial": (rng.uniform(size=80) < special.expit(3 * X[:, 0])).astype(float),
    }
    experts = [("line", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))]
    settings = [
        {},
        {"router": 1},
        {"n_members": 2},
        {"noise": True},
        {"noise": True, "router": 2},
        {"trainer": EM(max_iter=3)},
    ]
    below = 0
    for name, y in families.items():
        size = {"trials" if name == "binomial" else "offset": np.full(40, 2.0)}
        for more, Y in [(m, y) for m in settings] + [(settings[1], np.c_[y, y[::-1]])]:
            model = MoERegressor(experts, likelihood=name, random_state=0, **more)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(X, Y)
            below += (model.experts_[0].predict(far) < 0).sum()
            for own in ({}, size):
                mean, std = model.predict(far, return_std=True, **own)
                np.testing.assert_allclose(model.predict(far, **own), mean, rtol=1e-12)
                assert mean.min() > 0
                assert np.isfinite(std).all()
            if not any(own.is_noise for own in model.likelihoods_):
                each, weights = model.predict_experts(far), model.gate_proba(far)
                found = np.einsum("nk,nk...->n...", weights, each)
                np.testing.assert_allclose(model.predict(far), found, rtol=1e-12)
    assert below > 50


def test_noise_that_takes_all_rows_leaves_a_fit():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), rng.gamma(2.0, size=60)
    for name in ("gaussian", "student-t", "laplace", "gamma", "poisson"):
        expert = DummyRegressor(strategy="constant", constant=-1.0)
        model = MoERegressor(expert, 2, likelihood=name, noise=True, random_state=0)
        target = np.floor(y) if name == "poisson" else y
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.isfinite(model.fit(X, target).log_density(X, target)).all()


SCALES = [1e-300, 1e-12, 1e-4, 0.3, 3.0, 1e3, 9.9e4, 1.1e5, 1e10, 1e20, 1e150, 1e300]
MEANS = np.array(SCALES + [7.0, 3e10])[:, None]
LEVELS = np.array([1e-300, 1e-16, 1e-5, 0.1, 0.5, 0.9, 1 - 1e-10, 1 - 1e-16])


def of_scale(name, scale):
    """A fitted likelihood with one dispersion."""
    return {
        "gaussian": lambda: Gaussian().with_sigma([scale], 1),
        "heteroscedastic": lambda: HeteroscedasticGaussian().with_sigma(
            np.array([scale]), np.ones(1)
        ),
        "student-t": lambda: StudentT().with_scale([scale], [3.0]),
        "heavy-t": lambda: StudentT().with_scale([1.0], [scale]),
        "laplace": lambda: Laplace().with_scale([scale]),
        "gamma": lambda: Gamma().with_shape([scale]),
        "poisson": Poisson,
        "negative-binomial": lambda: NegativeBinomial().with_theta([scale]),
    }[name]()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "name",
    [
        "gaussian",
        "heteroscedastic",
        "student-t",
        "heavy-t",
        "laplace",
        "gamma",
        "poisson",
        "negative-binomial",
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_distributions_of_any_size(name, scale):
    own = of_scale(name, scale)
    found = np.hstack([own.quantile(level, MEANS) for level in LEVELS])
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) >= 0).all()
    rng = np.random.RandomState(0)
    assert all(np.isfinite(own.sample(MEANS, rng)).all() for _ in range(5))
    ends = [own.quantile(level, MEANS) for level in (0.0, 1.0)]
    assert not np.isnan(ends).any()
    assert (ends[0] <= found[:, :1]).all()
    largest = np.finfo(float).max
    # Between doubles there is nothing to find.
    up, down = np.nextafter(found, [np.inf]), np.nextafter(found, [-np.inf])
    if not own.discrete and name != "gamma":
        up, down = up + 1e-15 * np.abs(up), down - 1e-15 * np.abs(down)
    elif not own.discrete:
        up, down = up * (1 + 1e-15), down * (1 - 1e-15)
    reached = np.hstack([own.cdf(x[:, None], MEANS) for x in found.T])
    above = np.hstack([own.cdf(x[:, None], MEANS) for x in np.minimum(up, largest).T])
    below = np.hstack([own.cdf(x[:, None], MEANS) for x in down.T])
    inside = np.abs(found) < largest
    if own.discrete:
        down = np.minimum(found - 1.0, down)
        below = np.hstack([own.cdf(x[:, None], MEANS) for x in down.T])
        assert (reached >= LEVELS)[inside].all()
        assert (below < LEVELS).all()
    else:
        assert (above >= LEVELS - 1e-9)[inside].all()
        assert (below <= LEVELS + 1e-9).all()


@pytest.mark.parametrize("chance", [1e-300, 1e-20, 1e-10, 0.3, 0.5, 1 - 1e-10, 1.0])
def test_binomials_of_any_size(chance):
    trials = np.array([1.0, 7.0, 1e5, 3e5, 1e12, 1e16, 1e20, 1e300])
    own, at = Binomial(), np.full((len(trials), 1), chance)
    found = np.hstack([own.quantile(level, at, trials) for level in LEVELS])
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found >= 0).all()
    assert (found <= trials[:, None]).all()
    for level, x in zip(LEVELS, found.T, strict=True):
        before = np.minimum(x - 1.0, np.nextafter(x, -np.inf))
        assert (own.cdf(x[:, None], at, trials) >= level).all()
        assert (own.cdf(before[:, None], at, trials) < level).all()
    draws = own.sample(at, np.random.RandomState(0), trials)
    assert ((draws >= 0) & (draws <= trials[:, None])).all()


def test_counts_are_those_of_scipy():
    """Least counts, exactly, where SciPy finds them."""
    mean = np.array([[0.01], [0.7], [3.0], [25.0], [400.0], [9000.0]])
    levels = [1e-8, 1e-3, 0.05, 0.3, 0.5, 0.77, 0.95, 0.999, 1 - 1e-9]
    for level in levels:
        found = Poisson().quantile(level, mean)
        np.testing.assert_array_equal(found, stats.poisson.ppf(level, mean))
        for theta in (0.05, 0.8, 12.0, 3000.0):
            found = NegativeBinomial().with_theta([theta]).quantile(level, mean)
            expected = stats.nbinom.ppf(level, theta, theta / (theta + mean))
            np.testing.assert_array_equal(found, expected)
        for trials in (1.0, 12.0, 900.0):
            size, chance = np.full(6, trials), special.expit(np.log(mean) - 2)
            found = Binomial().quantile(level, chance, size)
            np.testing.assert_array_equal(found, stats.binom.ppf(level, trials, chance))


@pytest.mark.parametrize("a", [1.01e5, 3e6])
def test_large_incomplete_functions_go_on_from_scipys(a):
    z = np.linspace(-4.0, 4.0, 41)
    x = a + z * np.sqrt(a)
    np.testing.assert_allclose(upper_gamma(a, x), special.gammaincc(a, x), rtol=1e-9)
    np.testing.assert_allclose(lower_gamma(a, x), special.gammainc(a, x), rtol=1e-9)
    for b in (1.02e5, 2e6):
        mean = a / (a + b)
        x = mean + z * np.sqrt(mean * (1 - mean) / (a + b))
        found = incomplete_beta(a, b, x, 1 - x, x * (a + b) - a)
        np.testing.assert_allclose(found, special.betainc(a, b, x), rtol=1e-8)


def test_large_counts_have_the_density_of_a_normal():
    for own, spread in [(Poisson(), 1.0), (NegativeBinomial().with_theta([1e12]), 2.0)]:
        mean = np.array([[1e12]])
        sd = np.sqrt(spread * 1e12)
        for z in (-2.0, 0.0, 1.5):
            found = own.log_prob(np.floor(mean + z * sd), mean)[0]
            assert found == pytest.approx(stats.norm.logpdf(z) - np.log(sd), abs=1e-5)


def test_many_trials_have_the_density_of_a_normal():
    sd = np.sqrt(1e18 * 0.21)
    for z in (-2.0, 0.0, 1.5):
        y = np.floor(np.array([[3e17 + z * sd]]))
        found = Binomial().log_prob(y, np.array([[0.3]]), np.array([1e18]))[0]
        assert found == pytest.approx(stats.norm.logpdf(z) - np.log(sd), abs=1e-5)
    y = np.array([[9.9e4], [1.01e5], [1.5e5]])
    found = Binomial().log_prob(y, np.full((3, 1), 0.4), np.full(3, 3e5))
    np.testing.assert_allclose(found, stats.binom(3e5, 0.4).logpmf(y[:, 0]), rtol=1e-8)


def test_densities_of_counts_go_on_where_counts_are_large():
    """Across the count from which the saddle point takes over."""
    y = np.array([[9.9e4], [1.0e5], [1.01e5], [2e5]])
    for mean in (1e-200, 0.3, 1e5, 1.2e5, 1e9):
        at = np.full(y.shape, mean)
        expected = special.xlogy(y, mean) - mean - special.gammaln(y + 1.0)
        np.testing.assert_allclose(
            Poisson().log_prob(y, at), expected[:, 0], 1e-9, 1e-7
        )
        for theta in (1e-4, 0.7, 50.0, 3e4):
            own = NegativeBinomial().with_theta([theta])
            log_chance = (
                np.log(theta) - np.log(theta + mean),
                np.log(mean / (theta + mean)),
            )
            expected = special.gammaln(y + theta) - special.gammaln(theta)
            expected += theta * log_chance[0] + y * log_chance[1]
            expected -= special.gammaln(y + 1.0)
            np.testing.assert_allclose(own.log_prob(y, at), expected[:, 0], 1e-9, 1e-6)


@pytest.mark.parametrize(
    "family", [Poisson(), NegativeBinomial().with_theta([2.0])], ids=repr
)
def test_all_counts_are_below_infinity(family):
    mean = np.array([[1.0], [1e300]])
    assert (family.quantile(1.0, mean) == np.inf).all()
    levels = np.array([[1.0], [0.5]])
    assert np.isinf(family.quantile(levels, mean)).ravel().tolist() == [True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = np.full((2, 1), 1e308)
        assert (family.log_prob(far, mean) == -np.inf).all()
        assert (family.cdf(far, mean) == 1.0).all()
        assert (family.cdf(np.full((2, 1), np.inf), mean) == 1.0).all()


def test_the_largest_count_is_the_number_of_trials():
    found = Binomial().quantile(1.0, np.array([[0.5]]), np.array([10.0]))
    assert found == 10.0


def test_a_variance_without_bound_is_infinite_in_any_unit():
    for sigma in (1e-300, 1.0, 1e300):
        for df in (1.0, 2.0):
            found = StudentT().with_scale([sigma], [df]).variance_of(np.zeros((2, 1)))
            assert (found == np.inf).all()
    found = StudentT().with_scale([3.0], [4.0]).variance_of(np.zeros((2, 1)))
    np.testing.assert_allclose(found, 18.0)
