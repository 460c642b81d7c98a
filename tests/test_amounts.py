"""Amounts, shares and levels: families beside counts and plain numbers, in mixtures."""

import warnings

import numpy as np
import pytest
from records import never_falls
from scipy import integrate, stats
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from skmoe import MoERegressor
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.likelihoods import Ordinal, Tweedie
from skmoe.likelihoods._links import INVERSE_LINKS
from skmoe.trainers import EM

EXACT = EM(tol=1e-13, max_iter=500)


def rows(n=100, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, np.exp(0.5 + X @ [0.6, -0.4]), rng


def drawn(name, n=100, seed=0):
    """Rows of one family, of a linear predictor."""
    X, mean, rng = rows(n, seed)
    made = {
        "weibull": lambda: mean * rng.weibull(1.5, n),
        "log-normal": lambda: mean * np.exp(0.8 * rng.normal(size=n)),
        "inverse-gaussian": lambda: rng.wald(mean, 3.0),
        "tweedie": lambda: tweedie_draws(mean, rng),
        "beta": lambda: np.clip(
            rng.beta(4 * mean / (1 + mean), 4 / (1 + mean)), 1e-6, 1 - 1e-6
        ),
    }
    return X, made[name]()


def tweedie_draws(mean, rng):
    return Tweedie().with_phi([1.0]).sample(mean[:, None], rng)[:, 0]


AMOUNTS = ["weibull", "log-normal", "inverse-gaussian", "tweedie", "beta"]


def negative_log_likelihood(theta, X, y, family):
    at = INVERSE_LINKS[family.link](X @ theta[1:-1] + theta[0])
    own = family.with_dispersions(np.exp(theta[-1:])[None], False)
    return -own.log_prob(y[:, None], at[:, None]).sum()


@pytest.mark.parametrize("name", AMOUNTS)
def test_one_expert_is_the_direct_optimum(name):
    X, y = drawn(name)
    expert = LinearExpert(alpha=0)
    model = MoERegressor(expert, n_experts=1, likelihood=name, trainer=EXACT).fit(X, y)
    found = minimize(
        negative_log_likelihood, np.zeros(4), (X, y, model.likelihoods_[0]), "BFGS"
    )
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-6)
    np.testing.assert_allclose(model.experts_[0].coef_, found.x[1:-1], atol=1e-4)
    assert model.n_parameters_ == 4


@pytest.mark.parametrize("name", AMOUNTS)
def test_two_regimes_of_amounts(name):
    X, y = drawn(name)
    model = MoERegressor(
        n_experts=2, likelihood=name, random_state=0, trainer=EM(max_iter=10)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert never_falls(model)
    total = model.log_density(X, y).sum()
    assert total == pytest.approx(model.log_likelihood_)
    quantiles = model.predict_quantile(X, [0.05, 0.5, 0.95])
    assert np.all(np.diff(quantiles, axis=1) >= 0)
    draws = model.sample_y(X[:2], 1000, random_state=0)
    mean, std = model.predict(X[:2], return_std=True)
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=0.15 * std.max())


@pytest.mark.parametrize("name", ["log-normal", "tweedie"])
def test_weights_are_repetitions_for_amounts(name):
    X, y = drawn(name, n=80)
    times = np.arange(80) % 3
    again = np.repeat(np.arange(80), times)
    model = MoERegressor(n_experts=2, likelihood=name, trainer=EM(max_iter=8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighted = model.fit(X, y, sample_weight=times).predict(X)
        repeated = model.fit(X[again], y[again]).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4)


def test_other_estimators_predict_the_mean_of_amounts():
    X, y = drawn("log-normal")
    trees = HistGradientBoostingRegressor(loss="gamma", max_iter=10)
    model = MoERegressor(trees, n_experts=1, likelihood="log-normal").fit(X, y)
    alone = trees.fit(X, y)
    np.testing.assert_allclose(model.predict(X), alone.predict(X))


@pytest.mark.parametrize(("power", "phi"), [(1.05, 0.02), (1.5, 1.0), (1.9, 0.01)])
def test_tweedie_is_a_poisson_sum_of_gamma_amounts(power, phi):
    """Both where few terms make the series and where it is thinned out."""
    mean, own = 1.7, Tweedie(power).with_phi([phi])
    rate = mean ** (2 - power) / (phi * (2 - power))
    shape, scale = (2 - power) / (power - 1), phi * (power - 1) * mean ** (power - 1)
    spread = np.sqrt(phi * mean**power)
    y = np.maximum(mean + spread * np.linspace(-1.5, 3.0, 7), 0.05)
    number = np.arange(1, int(rate + 15 * np.sqrt(rate) + 60))
    share, amounts = stats.poisson(rate).pmf(number), stats.gamma(number * shape)
    density = [share @ amounts.pdf(t / scale) / scale for t in y]
    below = [np.exp(-rate) + share @ amounts.cdf(t / scale) for t in y]
    at = np.full((7, 1), mean)
    found = own.log_density(y[:, None], at)[:, 0]
    np.testing.assert_allclose(found, np.log(density), atol=1e-8)
    np.testing.assert_allclose(own.cdf(y[:, None], at)[:, 0], below, atol=1e-8)
    one = at[:1]
    assert own.log_density(np.zeros((1, 1)), one)[0, 0] == pytest.approx(-rate)
    assert own.variance_of(one)[0, 0] == pytest.approx(
        rate * shape * (1 + shape) * scale**2
    )


def test_tweedie_of_many_terms_is_its_saddlepoint():
    own, at = Tweedie().with_phi([4e-6]), np.array([[1.0]])
    near = own.log_density(np.array([[0.99], [1.01]]), at.repeat(2, 0))
    own = Tweedie().with_phi([3.9e-7])
    area = integrate.quad(
        lambda t: np.exp(own.log_density(np.array([[t]]), at)[0, 0]),
        1 - 0.01,
        1 + 0.01,
        points=[1.0],
    )[0]
    assert area == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(near).all()


def levels(n=200, seed=0):
    X, _, rng = rows(n, seed)
    return X, np.digitize(X @ [1.0, -0.5] + rng.logistic(size=n), [-2, -0.5, 0.7, 2.0])


def cumulative_logit(theta, X, y):
    """Negative log-likelihood of slopes, first threshold, and logarithms of gaps."""
    cuts = theta[2] + np.append(0.0, np.cumsum(np.exp(theta[3:])))
    below = expit(cuts - (X @ theta[:2])[:, None])
    ends = np.zeros((len(y), 1))
    shares = np.diff(np.hstack([ends, below, ends + 1.0]), axis=1)
    return -np.log(shares[np.arange(len(y)), y]).sum()


def test_levels_are_the_cumulative_logit_model():
    X, y = levels()
    model = MoERegressor(
        LinearExpert(alpha=0), n_experts=1, likelihood="ordinal", trainer=EXACT
    ).fit(X, y)
    found = minimize(cumulative_logit, np.zeros(6), (X, y), "BFGS")
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-6)
    assert model.n_parameters_ == 6
    np.testing.assert_allclose(model.experts_[0].coef_, found.x[:2], atol=1e-4)
    gaps = np.diff(model.likelihoods_[0].thresholds_)
    np.testing.assert_allclose(gaps, np.exp(found.x[3:]), rtol=1e-3)


@pytest.mark.parametrize("expert", ["linear", "additive"])
def test_regimes_of_levels(expert):
    X, y = levels()
    y = np.where(X[:, 0] > 0, y, 4 - y)
    model = MoERegressor(
        expert,
        n_experts=2,
        likelihood="ordinal",
        random_state=0,
        trainer=EM(max_iter=9),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert never_falls(model)
    X = X[:5]
    logs = [model.log_density(X, np.full(5, level)) for level in range(5)]
    share = np.exp(logs).T
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    np.testing.assert_allclose(model.predict(X), share @ np.arange(5))
    median = (np.cumsum(share, axis=1) < 0.5).sum(axis=1)
    np.testing.assert_array_equal(model.predict_quantile(X, 0.5), median)
    draws = model.sample_y(X, 2000, random_state=0)
    np.testing.assert_allclose((draws == 2).mean(axis=1), share[:, 2], atol=0.05)
    assert set(model.predict_mode(X)) <= set(range(5))


def test_levels_that_no_row_has_are_nearly_impossible():
    X, y = levels()
    model = MoERegressor(n_experts=1, likelihood=Ordinal(n_levels=7)).fit(X, y)
    density = model.log_density(X, np.full(len(X), 6))
    assert np.all(density < -5)
    assert np.isfinite(density).all()


@pytest.mark.parametrize(
    ("given", "y", "message"),
    [
        ({}, 0.5, "Ordinal got y with the value 0.5, but expected levels 0, 1, 2"),
        ({"likelihood": Ordinal(n_levels=3)}, 3.0, "up to 2"),
        ({"likelihood": Ordinal(n_levels=1)}, 0.0, "n_levels=1"),
        ({"experts": MLPExpert()}, 1.0, "use LinearExpert or AdditiveExpert"),
        ({"experts": LinearRegression()}, 1.0, "use LinearExpert or AdditiveExpert"),
    ],
)
def test_levels_that_make_no_sense_are_refused(given, y, message):
    model = MoERegressor(**{"likelihood": "ordinal", **given})
    with pytest.raises(ValueError, match=message):
        model.fit(np.arange(20.0)[:, None], np.append(np.ones(19), y))
