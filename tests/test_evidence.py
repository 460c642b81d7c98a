"""What evidence says of curves: bands hold the truth, penalties suit the data."""

import naive
import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import make_smoothing_spline
from sklearn.model_selection import KFold

from skmoe import MoERegressor
from skmoe._numerics.additive import LeastSquares, weighed
from skmoe.experts import AdditiveExpert

BAND = 1.96


def held(name, curve, X, sign=1.0):
    """Whether the band at each knot holds the truth around its mean over rows."""
    at = curve.knots if curve.levels is None else np.array(curve.levels)
    truth = sign * (TRUTH[name](at) - TRUTH[name](X[name].to_numpy()).mean())
    return np.abs(curve.values - truth) < BAND * curve.standard_errors


def table(n, rng):
    hour, side = rng.randint(0, 24, n), rng.choice(["left", "right"], n)
    wave = rng.uniform(-1, 1, n)
    return pd.DataFrame({"hour": hour, "wave": wave, "side": side})


TRUTH = {
    "hour": lambda x: np.cos(x * np.pi / 12),
    "wave": lambda x: np.sin(3 * x),
    "side": lambda x: np.where(x == "left", 0.5, -0.5),
}


def total(X):
    return sum(own(X[name].to_numpy()) for name, own in TRUTH.items())


@pytest.mark.parametrize(("n", "noise"), [(500, 0.3), (500, 1.0), (2000, 1.0)])
def test_bands_of_an_expert_hold_the_truth(n, noise):
    inside = []
    for seed in range(12):
        rng = np.random.RandomState(seed)
        X = table(n, rng)
        expert = AdditiveExpert(16).fit(X, total(X) + noise * rng.normal(size=n))
        inside += [held(curve.name, curve, X) for curve in expert.curves_]
    assert 0.92 < np.mean(np.concatenate(inside)) < 0.99


def test_bands_of_experts_hold_the_truth_in_their_regimes():
    inside = []
    for seed in range(3):
        rng = np.random.RandomState(seed)
        X = table(600, rng)
        left = (X["side"] == "left").to_numpy()
        y = np.where(left, 20 + total(X), -20 - total(X)) + 0.5 * rng.normal(size=600)
        model = MoERegressor(
            AdditiveExpert(12),
            2,
            gate="additive",
            gate_features=["side"],
            expert_features=["hour", "wave"],
            n_init=3,
            random_state=seed,
        ).fit(X, y)
        answers = model.predict_experts(X).mean(axis=0)
        for expert, sign in zip(model.experts_, np.sign(answers), strict=True):
            own = X[left if sign > 0 else ~left]
            pairs = zip(["hour", "wave"], expert.curves_, strict=True)
            inside += [held(*pair, own, sign) for pair in pairs]
    assert 0.92 < np.mean(np.concatenate(inside)) < 0.99


def test_variances_are_those_of_curves_around_their_mean_over_rows():
    """Beside the formula on dense columns, with rows unevenly spread."""
    rng = np.random.RandomState(0)
    x = rng.choice(6, 300, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02]).astype(float)
    X, y = x[:, None], np.sin(x) + 0.3 * rng.normal(size=300)
    expert = AdditiveExpert(6, alpha=2.0).fit(X, y)
    bins = expert.curves.fit(X).bins(X)
    Z, basis = naive.hats(bins), bins.basis
    gram = naive.penalised_system(Z, basis, np.ones(len(x)), expert.alpha_[0])
    share = np.bincount(x.astype(int)) / len(x)
    around = np.eye(6) - share
    cov = around @ np.linalg.inv(gram)[:6, :6] @ around.T
    unit = np.mean((y - expert.predict(X)) ** 2)
    least = LeastSquares(bins, y[:, None], np.ones(len(x)), [unit])
    mass = np.append(np.bincount(x.astype(int)), len(x)).astype(float)
    found = weighed(least, expert._coef, expert.alpha_, mass)[0].variances[0, :6]
    np.testing.assert_allclose(found, unit * np.diag(cov), rtol=1e-4)


def test_gaps_are_as_sure_as_their_rows_are_many():
    rng = np.random.RandomState(0)
    errors = []
    for share in (0.4, 0.04):
        x = np.where(rng.rand(1500) < share, np.nan, rng.uniform(-1, 1, 1500))
        y = np.where(np.isnan(x), 2.0, np.sin(3 * x)) + 0.3 * rng.normal(size=1500)
        (curve,) = AdditiveExpert().fit(x[:, None], y).curves_
        expected = 0.3 * np.sqrt((1 - share) / (1500 * share))
        assert curve.gap_error == pytest.approx(expected, rel=0.25)
        errors.append(curve.gap_error)
    assert errors[1] > 3 * errors[0]


def test_penalties_are_near_the_best_ones():
    """Of curves that wander as the penalty has it, and half a dozen seeds of each."""
    ratios = []
    for seed in range(8):
        rng = np.random.RandomState(seed)
        X = rng.randint(0, 24, (600, 1))
        truth = np.cumsum(0.3 * rng.normal(size=24))[X[:, 0]]
        y = truth + rng.normal(size=600)
        grid = 2.0 ** np.arange(-3, 10)
        errors = [
            np.mean((AdditiveExpert(alpha=own).fit(X, y).predict(X) - truth) ** 2)
            for own in grid
        ]
        chosen = AdditiveExpert().fit(X, y).alpha_[0, 0]
        ratios.append(chosen / grid[int(np.argmin(errors))])
    assert 1 / 3 < np.median(ratios) < 3


def test_one_curve_is_about_as_good_as_a_smoothing_spline():
    rng = np.random.RandomState(0)
    x = rng.uniform(0, 60, 400)
    truth = 80 * np.exp(-(((x - 35) / 6) ** 2)) - 110 * np.exp(-(((x - 21) / 5) ** 2))
    y, squares = truth + 20 * rng.normal(size=400), []
    for train, test in KFold(5, shuffle=True, random_state=0).split(x):
        order = train[np.argsort(x[train])]
        rival = make_smoothing_spline(x[order], y[order])
        expert = AdditiveExpert().fit(x[train, None], y[train])
        inside = np.clip(x[test], x[train].min(), x[train].max())
        answers = expert.predict(x[test, None]), rival(inside)
        squares.append([np.mean((own - y[test]) ** 2) for own in answers])
    own, other = np.sqrt(np.mean(squares, axis=0))
    assert own < 1.03 * other
