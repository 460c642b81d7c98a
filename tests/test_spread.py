"""Spreads estimate the noise: no share of the penalty, no bias of the ridge."""

import numpy as np
import pytest
from records import never_falls

from skmoe import MoERegressor
from skmoe._numerics.linalg import effective, solve_centred, without_bias
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate, GaussianGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM, HardEM

LEVELS = [0.5, 0.9, 0.95]


def crossing(n, noise, seed):
    """Rows of two lines that cross."""
    rng = np.random.RandomState(seed)
    x = rng.uniform(-2, 2, n)
    y = np.where(rng.uniform(size=n) < 0.5, 1.0 + x, 1.0 - x)
    return x[:, None], y + noise * rng.normal(size=n)


def covered(model, n, noise, seeds):
    """Share of fresh rows within the intervals of each of ``LEVELS``."""
    tails = [0.5 * (1.0 - level) for level in LEVELS]
    asked, shares = tails + [1.0 - tail for tail in tails], []
    for seed in range(seeds):
        model.fit(*crossing(n, noise, seed))
        X, y = crossing(250, noise, 1000 + seed)
        low, high = np.split(model.predict_quantile(X, asked), 2, axis=1)
        shares.append(np.mean((low <= y[:, None]) & (y[:, None] <= high), axis=0))
    return np.mean(shares, axis=0)


@pytest.mark.parametrize("gate", ["softmax", "constant"])
@pytest.mark.parametrize("noise", [0.05, 0.25])
@pytest.mark.parametrize("n", [300, 1000])
def test_intervals_cover_what_they_say(n, noise, gate):
    model = MoERegressor(n_experts=2, gate=gate, random_state=0)
    np.testing.assert_allclose(covered(model, n, noise, 20), LEVELS, atol=0.02)


FAMILIES = {
    "shared": {"likelihood": Gaussian(variance="shared")},
    "spherical": {"likelihood": Gaussian(covariance="spherical")},
    "full": {"likelihood": Gaussian(covariance="full")},
    "student": {"likelihood": "student-t"},
    "laplace": {"likelihood": "laplace"},
    "heteroscedastic": {"likelihood": "heteroscedastic"},
    "general EM": {"gate": GaussianGate()},
    "hard": {"trainer": HardEM()},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_dispersion_is_that_of_no_penalty(name):
    """Of every family: within a hundredth of what maximum likelihood finds."""
    X, y = crossing(300, 0.05, 0)
    parts = {"gate": "constant", "n_experts": 2, "random_state": 0, **FAMILIES[name]}
    spreads = []
    for alpha in (1.0, 0.0):
        model = MoERegressor(experts=LinearExpert(alpha=alpha), **parts).fit(X, y)
        own = [x.penalty_variance(1)[0] for x in model.likelihoods_]
        spreads.append(np.sqrt(np.sort(own)))
    np.testing.assert_allclose(*spreads, rtol=0.03)


def test_objective_of_em_is_as_it_was_and_rises():
    X, y = crossing(300, 0.25, 1)
    model = MoERegressor(n_experts=2, gate="constant", random_state=0).fit(X, y)
    assert never_falls(model)
    total = model.log_density(X, y).sum()
    np.testing.assert_allclose(model.log_likelihood_, total)
    # The likelihood of the reported spreads is higher than at the penalised maximum.
    assert total / len(y) > model.lower_bounds_[-1]


def test_maximum_likelihood_is_left_alone():
    X, y = crossing(300, 0.25, 1)
    model = MoERegressor(
        n_experts=2, gate=ConstantGate(), experts=LinearExpert(alpha=0), random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(model.log_likelihood_ / 300, model.lower_bounds_[-1])


def test_one_expert_keeps_its_ridge_and_has_the_usual_spread():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 5))
    y = 100.0 * X[:, 0] + rng.normal(size=60)
    model = MoERegressor(n_experts=1, experts=LinearExpert(alpha=1e-3)).fit(X, y)
    alone = LinearExpert(alpha=1e-3).fit(X, y)
    np.testing.assert_allclose(model.experts_[0].coef_, alone.coef_)
    rest = np.sum((y - model.predict(X)) ** 2)
    sigma = model.likelihoods_[0].sigma_
    np.testing.assert_allclose(sigma, np.sqrt(rest / (60 - 6)), rtol=1e-3)


def test_experts_with_more_columns_than_rows_keep_their_penalty():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 50))
    y = X[:, 0] + rng.normal(size=60)
    model = MoERegressor(n_experts=1).fit(X, y)
    rest = np.mean((y - model.predict(X)) ** 2)
    assert model.likelihoods_[0].sigma_ ** 2 > 1.2 * rest


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_fused_and_general_spreads_agree(n_outputs):
    X, y = crossing(300, 0.25, 2)
    Y = np.column_stack([y, X[:, 0] - y])[:, :n_outputs].squeeze()
    trainer = EM(tol=1e-12, max_iter=5000, max_refits=400)
    fused = MoERegressor(n_experts=2, gate="constant", trainer=trainer, random_state=0)
    # Covariances that the fused pass does not serve; of one output they are the same.
    likelihood = Gaussian(covariance="spherical" if n_outputs == 1 else "diag")
    general = MoERegressor(
        n_experts=2, gate="constant", trainer=trainer, random_state=0
    ).set_params(likelihood=likelihood)
    if n_outputs == 2:
        general.set_params(expert_features={"expert0": [0], "expert1": [0]})
    fused.fit(X, Y), general.fit(X, Y)
    ours, theirs = (
        sorted(np.ravel(x.sigma_)[0] for x in m.likelihoods_) for m in (fused, general)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_twicing_shrinks_only_what_rows_do_not_determine():
    X = np.column_stack([np.eye(4)[:, :2] * [30.0, 1.0], np.ones(4)])
    X[:, :2] -= X[:, :2].mean(axis=0)
    grams, right = (X.T @ X)[None], (X.T @ (X @ [1.0, 1.0, 0.0]))[None, :, None]
    coef = solve_centred(grams, right, 1.0)
    again, spent = without_bias(grams, right, 1.0, coef)
    curvature = np.linalg.eigvalsh(grams[0, :2, :2])
    left = (1.0 / (curvature + 1.0)) ** 2
    np.testing.assert_allclose(spent, 3.0 - left.sum())
    np.testing.assert_allclose(effective(grams, 1.0), spent)
    error, first = 1.0 - again[0, :2, 0], 1.0 - coef[0, :2, 0]
    assert abs(error[0]) < 0.01 * abs(first).max()
    assert abs(error[1]) < abs(first[1])


def test_warm_start_goes_on_from_the_penalised_maximum():
    X, y = crossing(300, 0.25, 1)
    model = MoERegressor(
        LinearExpert(alpha=1.0),
        n_experts=2,
        gate=SoftmaxGate(alpha=0.1),
        random_state=0,
        warm_start=True,
    ).fit(X, y)
    first = model.log_likelihood_
    assert model.fit(X, y).n_iter_ <= 3
    np.testing.assert_allclose(model.log_likelihood_, first, rtol=1e-6)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
@pytest.mark.parametrize("unit", [1.0, 1e20, 1e-100])
def test_an_expert_without_rows_has_the_spread_of_all_or_keeps_its_own(
    covariance, unit
):
    rng = np.random.RandomState(0)
    y = rng.normal(size=(50, 2)) * unit
    weights = np.column_stack([np.ones(50), np.zeros(50)])
    given = y, [np.zeros((50, 2))] * 2, weights
    likelihood = Gaussian(covariance=covariance)
    first, second = likelihood.fit_dispersions(*given, priors=[np.full(2, unit**2)] * 2)
    expected = np.sqrt(np.mean(y**2, axis=0))
    if covariance == "spherical":
        expected = np.full(2, np.sqrt(np.mean(y**2)))
    np.testing.assert_allclose(second.sigma_, expected)
    again = likelihood.fit_dispersions(*given, previous=[first, second])
    assert again[1] is second
