"""A family for each expert: one density per regime."""

import warnings

import numpy as np
import pytest
from records import never_falls
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, gamma
from sklearn.ensemble import HistGradientBoostingRegressor

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate
from skmoe.likelihoods import Gaussian, LogNormal, Weibull
from skmoe.trainers import EM

ML = LinearExpert(alpha=0)
BOTH = ["weibull", "log-normal"]


@pytest.fixture(scope="module")
def regimes():
    """Times that hardly vary, and others three times as long with a long tail."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    mean, first = np.exp(0.5 + 0.6 * X[:, 0]), rng.uniform(size=300) < 0.5
    slow = 8 * mean * np.exp(0.9 * rng.normal(size=300))
    return X, np.where(first, mean * rng.weibull(6, 300), slow)


def negative_log_likelihood(theta, X, y):
    scale = np.exp(theta[1] + theta[2] * X[:, 0])
    shape, other = np.exp(theta[3]), np.exp(theta[4] + theta[5] * X[:, 0])
    first = stats.weibull_min(shape, scale=scale / gamma(1 + 1 / shape)).pdf(y)
    second = stats.lognorm(np.exp(theta[6]), scale=other).pdf(y)
    share = expit(theta[0])
    return -np.log(share * first + (1 - share) * second).sum()


def test_two_families_are_the_direct_optimum(regimes):
    X, y = regimes
    exact = EM(tol=1e-11, max_iter=2000, max_refits=500)
    model = MoERegressor(
        ML, gate=ConstantGate(), likelihood=BOTH, trainer=exact, random_state=0
    ).fit(X, y)
    assert [type(own) for own in model.likelihoods_] == [Weibull, LogNormal]
    start = np.array([0.0, 0.5, 0.6, 1.8, 2.2, 0.6, 0.0])
    found = minimize(negative_log_likelihood, start, (X, y), "BFGS")
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-4)
    assert model.n_parameters_ == 7
    alone = [
        MoERegressor(ML, 2, gate=ConstantGate(), likelihood=own, random_state=0)
        for own in BOTH
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others = [own.fit(X, y).log_likelihood_ for own in alone]
    assert model.log_likelihood_ > max(others) + 1.0


@pytest.mark.parametrize("kind", ["names", "trees", "tree", "zeros", "members"])
def test_predictions_of_two_families(regimes, kind):
    X, y = regimes
    X, y = X[:120], y[:120]
    boosted = HistGradientBoostingRegressor(loss="gamma", max_iter=3)
    given = {"likelihood": BOTH, "random_state": 0, "trainer": EM(max_iter=5)}
    model = {
        "names": lambda: MoERegressor(
            [("a", ML), ("b", ML)],
            **{**given, "likelihood": {"b": "weibull", "a": "log-normal"}},
        ),
        "trees": lambda: MoERegressor([boosted, boosted], **given),
        "tree": lambda: HierarchicalMoERegressor(branching=(2,), **given),
        "zeros": lambda: MoERegressor(zero_inflation=True, **given),
        "members": lambda: MoERegressor(n_members=2, **given),
    }[kind]()
    if kind == "zeros":
        y = np.where(np.arange(120) % 3 == 0, 0.0, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    first, second = model.likelihoods_[:2]
    assert type(first) is (LogNormal if kind == "names" else Weibull)
    assert type(second) is (Weibull if kind == "names" else LogNormal)
    assert never_falls(model)
    assert model.log_density(X, y).sum() == pytest.approx(model.log_likelihood_)
    X, draws = X[:5], model.sample_y(X[:5], 2000, random_state=0)
    below = draws <= model.predict_quantile(X, 0.7)[:, None]
    np.testing.assert_allclose(below.mean(axis=1), 0.7, atol=0.05)


def test_alike_estimators_start_with_the_family_that_suits_them(regimes):
    """Whichever is listed first."""
    X, y = regimes
    given = {"gate": ConstantGate(), "random_state": 0, "trainer": EM(max_iter=20)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = MoERegressor(ML, likelihood=BOTH, **given).fit(X, y)
        two = MoERegressor(ML, likelihood=BOTH[::-1], **given).fit(X, y)
    np.testing.assert_allclose(one.predict(X), two.predict(X), rtol=1e-5)


def test_a_shared_variance_is_that_of_the_experts_that_have_it(regimes):
    X, y = regimes
    pair = Gaussian("shared")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MoERegressor(
            likelihood=[pair, pair, "laplace"], random_state=0, trainer=EM(max_iter=3)
        ).fit(X, np.log(y))
    first, second, _ = model.likelihoods_
    assert first.sigma_ == second.sigma_
    assert first.n_parameters_ == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"likelihood": ["gaussian", "gamma"]}, "whose link differ"),
        ({"likelihood": ["poisson", "gamma"]}, "whose counts differ"),
        ({"likelihood": BOTH, "n_experts": 3}, "got 2 likelihoods for 3 experts"),
        ({"likelihood": {"x": "gamma"}}, r"likelihoods for \['x'\]"),
        ({"likelihood": ["heteroscedastic", "gaussian"]}, "for all of them"),
        ({"likelihood": ["tweedie", "gamma"]}, "Gamma got y with a least value of 0"),
        ({"likelihood": ["gamma", "nothing"]}, "likelihood='nothing'"),
        ({"likelihood": ["gaussian"] * 2, "trainer": "gradient"}, "trainer='em'"),
    ],
)
def test_families_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MoERegressor(**given).fit(np.arange(20.0)[:, None], np.arange(20.0))
