"""A component that is zero: counts with too many zeros, amounts that may be none."""

import warnings

import numpy as np
import pytest
from records import never_falls
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from test_sources_parts import in_batches

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.data import RowSource
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate, SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.inspection import expert_usage, export_text
from skmoe.trainers import EM

EXACT = EM(tol=1e-10, max_iter=1000)
ML = LinearExpert(alpha=0)


def table(kind, n=200, seed=0):
    """Rows whose first column says how many zeros there are, besides those of kind."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    mean, idle = np.exp(0.8 + X @ [0.6, -0.4]), expit(X[:, 0])
    some = {
        "poisson": lambda: rng.poisson(mean),
        "negative-binomial": lambda: rng.poisson(mean * rng.gamma(2.0, 0.5, n)),
        "beta": lambda: rng.beta(4 * mean / (1 + mean), 4 / (1 + mean)),
    }.get(kind, lambda: mean * rng.gamma(2.0, 0.5, n))()
    return X, np.where(rng.uniform(size=n) < idle, 0.0, some), idle


def negative_log_likelihood(theta, X, y):
    """Of zeros with one share, and counts of a linear predictor."""
    mean = np.exp(theta[1] + X @ theta[2:4])
    counts = stats.poisson(mean)
    if len(theta) == 5:
        counts = stats.nbinom(np.exp(theta[4]), 1 / (1 + mean * np.exp(-theta[4])))
    zero = np.where(y == 0, -np.logaddexp(0.0, -theta[0]), -np.inf)
    other = counts.logpmf(y) - np.logaddexp(0.0, theta[0])
    return -np.logaddexp(zero, other).sum()


@pytest.mark.parametrize("family", ["poisson", "negative-binomial"])
def test_counts_are_the_direct_optimum(family):
    X, y, _ = table(family)
    model = MoERegressor(
        ML,
        n_experts=1,
        gate=ConstantGate(),
        likelihood=family,
        zero_inflation=True,
        trainer=EXACT,
    ).fit(X, y)
    start = np.zeros(4 if family == "poisson" else 5)
    found = minimize(negative_log_likelihood, start, (X, y), "BFGS")
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-4)
    assert model.n_parameters_ == len(start)
    share = model.gate_proba(X)[0, -1]
    assert share == pytest.approx(expit(found.x[0]), abs=1e-4)
    assert model.log_density(X, y).sum() == pytest.approx(model.log_likelihood_)
    assert list(model.named_experts_) == ["expert0", "zero"]


def test_zeros_are_those_of_an_expert_that_says_zero():
    """What it replaces: a Poisson expert whose rate is next to nothing."""
    X, y, _ = table("poisson")
    given = {"gate": SoftmaxGate(alpha=0), "likelihood": "poisson", "trainer": EXACT}
    model = MoERegressor(ML, n_experts=1, zero_inflation=True, **given).fit(X, y)
    idle = DummyRegressor(strategy="constant", constant=0.0)
    given["trainer"] = EM(tol=1e-10, max_refits=200)
    other = MoERegressor([ML, idle], **given).fit(X, y)
    assert model.log_likelihood_ == pytest.approx(other.log_likelihood_, abs=1e-4)


@pytest.mark.parametrize(
    "family", ["gamma", "log-normal", "weibull", "inverse-gaussian", "beta"]
)
def test_amounts_and_their_zeros_are_fitted_apart(family):
    X, y, idle = table(family)
    given = {"n_experts": 1, "likelihood": family, "trainer": EXACT}
    model = MoERegressor(
        ML, gate=SoftmaxGate(alpha=0), zero_inflation=True, **given
    ).fit(X, y)
    some = y > 0
    alone = MoERegressor(ML, **given).fit(X[some], y[some])
    np.testing.assert_allclose(
        model.experts_[0].coef_, alone.experts_[0].coef_, atol=1e-5
    )
    share = model.gate_proba(X)[:, -1]
    assert np.corrcoef(share, idle)[0, 1] > 0.9
    log_share = np.log(np.where(some, 1 - share, share)).sum()
    total = log_share + alone.log_likelihood_
    assert model.log_likelihood_ == pytest.approx(total, rel=1e-6)
    np.testing.assert_array_equal(model.responsibilities(X, y)[:, -1], ~some)
    np.testing.assert_allclose(model.predict(X), (1 - share) * alone.predict(X), 1e-4)


@pytest.mark.parametrize("family", ["gamma", "poisson"])
def test_predictions_know_of_zeros(family):
    X, y, _ = table(family)
    model = MoERegressor(
        n_experts=2,
        likelihood=family,
        zero_inflation=True,
        random_state=0,
        trainer=EM(max_iter=20),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert never_falls(model)
    X = X[:20]
    nothing = np.exp(model.log_density(X, np.zeros(20)))
    levels = [0.05, 0.5, 0.95]
    zero = model.predict_quantile(X, levels) == 0
    np.testing.assert_array_equal(zero, nothing[:, None] >= levels)
    draws = model.sample_y(X, 2000, random_state=0)
    np.testing.assert_allclose((draws == 0).mean(axis=1), nothing, atol=0.05)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=0.12 * std.max())
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.25)
    np.testing.assert_allclose(mean, model.predict(X), rtol=1e-12)
    best = model.gate_proba(X).argmax(axis=1)
    assert np.all((model.predict_mode(X) == 0) == (best == 2))
    assert expert_usage(model, X)["expert"][-1] == "zero"
    assert "zero" in export_text(model)
    with pytest.raises(AttributeError, match="noise=True"):
        model.outlier_proba(X, y[:20])


@pytest.mark.parametrize("kind", ["tree", "additive", "trees", "hard"])
def test_zeros_beside_other_parts(kind):
    X, y, _ = table("gamma", n=200)
    given = {"likelihood": "gamma", "zero_inflation": True, "random_state": 0}
    model = {
        "tree": lambda: HierarchicalMoERegressor(branching=(2,), **given),
        "additive": lambda: MoERegressor("additive", n_experts=1, **given),
        "trees": lambda: MoERegressor(
            HistGradientBoostingRegressor(loss="gamma", max_iter=5),
            n_experts=1,
            **given,
        ),
        "hard": lambda: MoERegressor(n_experts=1, trainer="hard-em", **given),
    }[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    np.testing.assert_array_equal(model.responsibilities(X, y)[:, -1], y == 0)
    assert model.log_density(X, y).sum() == pytest.approx(model.log_likelihood_)


def test_zeros_of_rows_on_disk():
    X, y, _ = table("gamma", n=1000)
    weight = np.ones(len(y))
    model = MoERegressor(
        LinearExpert(alpha=1.0),
        n_experts=1,
        gate=SoftmaxGate(alpha=1.0),
        likelihood="gamma",
        zero_inflation=True,
        trainer=EM(tol=1e-10),
    )
    memory = model.fit(X, y).predict(X)
    disk = model.fit(in_batches(X, y, weight)).predict(X)
    np.testing.assert_allclose(disk, memory, rtol=1e-4)


def test_weights_are_repetitions_beside_zeros():
    X, y, _ = table("gamma", n=90)
    times = np.arange(90) % 3
    again = np.repeat(np.arange(90), times)
    model = MoERegressor(n_experts=1, likelihood="gamma", zero_inflation=True)
    weighted = model.fit(X, y, sample_weight=times).predict(X)
    repeated = model.fit(X[again], y[again]).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4)


def test_zeros_of_several_outputs_are_those_of_all():
    X, y, _ = table("poisson", n=200)
    both = np.column_stack([y, 2 * y])
    model = MoERegressor(n_experts=1, likelihood="poisson", zero_inflation=True)
    resp = model.fit(X, both).responsibilities(X, both)[:, -1]
    assert np.all(resp[y > 0] == 0)
    assert model.predict_quantile(X, [0.1, 0.9]).shape == (200, 2, 2)


@pytest.mark.parametrize(
    ("given", "y", "message"),
    [
        ({"likelihood": "gaussian"}, 1.0, "zero_inflation=True with likelihood="),
        ({"likelihood": "tweedie"}, 1.0, "zero_inflation=True with likelihood="),
        ({"noise": True}, 1.0, "with noise=True"),
        ({"router": 1}, 1.0, "with router=1"),
        ({}, 0.0, "without any number but zero"),
        ({}, -1.0, "least value of -1.0"),
        ({"zero_inflation": False}, 0.0, "zero_inflation=True, likelihood='tweedie'"),
        ({"likelihood": "poisson", "trainer": "gradient"}, 1.0, "trainer='em'"),
        ({"experts": [("zero", ML)]}, 1.0, "an expert named 'zero'"),
    ],
)
def test_zeros_that_make_no_sense_are_refused(given, y, message):
    given = {"likelihood": "gamma", "zero_inflation": True, **given}
    with pytest.raises(ValueError, match=message):
        MoERegressor(**given).fit(np.arange(20.0)[:, None], np.full(20, y))


def test_standard_errors_beside_zeros_are_those_of_the_parts():
    """Zeros among amounts are a logistic regression of its own."""
    X, y, _ = table("gamma")
    gate, given = SoftmaxGate(alpha=0), {"likelihood": "gamma", "trainer": EXACT}
    both = MoERegressor(ML, 1, gate=gate, zero_inflation=True, **given).fit(X, y)
    some = y > 0
    alone = MoERegressor(ML, 1, **given).fit(X[some], y[some])
    found, expected = (
        standard_errors(both, X, y),
        standard_errors(alone, X[some], y[some]),
    )
    n_gate = len(found.error) - len(expected.error)
    np.testing.assert_allclose(found.error[n_gate:], expected.error, rtol=1e-3)
    share, columns = both.gate_proba(X)[:, -1], np.column_stack([np.ones(len(X)), X])
    information = (columns.T * (share * (1 - share))) @ columns
    logistic = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(found.error[:n_gate], logistic, rtol=1e-3)


def test_given_starts_and_zeros():
    """What labels say of zeros among amounts is overruled, and groups of amounts are
    refused: one that is zero in some rows only is impossible."""
    X, y, _ = table("gamma", n=100)
    model = MoERegressor(
        ML, 2, likelihood="gamma", zero_inflation=True, trainer=EM(max_iter=5)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y, start=(X[:, 0] > 0).astype(int))
    np.testing.assert_array_equal(model.responsibilities(X, y)[:, -1], y == 0)
    assert np.isfinite(model.log_likelihood_)
    with pytest.raises(ValueError, match="groups with zero_inflation=True"):
        model.fit(X, y, groups=np.arange(100) // 2)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_group_of_counts_is_zero_as_a_whole(labelled):
    rng = np.random.default_rng(0)
    groups, own = np.repeat(np.arange(100), 4), rng.normal(size=100)
    X = np.column_stack([own[groups], rng.normal(size=400)])
    never = rng.random(100) < expit(own)
    y = np.where(never[groups], 0, rng.poisson(np.exp(0.5 * X[:, 1] - 0.2)))
    weight = np.repeat(1.0 + np.arange(100) % 2, 4)
    model = MoERegressor(
        ML,
        1,
        gate=SoftmaxGate(alpha=0),
        gate_features=[0],
        expert_features=[1],
        likelihood="poisson",
        zero_inflation=True,
        trainer=EXACT,
    )
    # Labels by row, of which some are impossible.
    given = {"start": (y == 0).astype(int)} if labelled else {}
    model.fit(X, y, sample_weight=weight, groups=groups, **given)
    empty = np.bincount(groups, y) == 0

    def loss(theta):
        at = theta[0] + theta[1] * own
        rows = stats.poisson.logpmf(y, np.exp(theta[2] + theta[3] * X[:, 1]))
        counts = log_expit(-at) + np.bincount(groups, rows)
        zeros = np.where(empty, log_expit(at), -np.inf)
        return -weight[::4] @ np.logaddexp(counts, zeros)

    found = minimize(loss, np.zeros(4), method="BFGS")
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-5)
    expert = model.experts_[0]
    np.testing.assert_allclose(
        [expert.intercept_, *expert.coef_], found.x[2:], atol=1e-3
    )
    resp = model.responsibilities(X, y, groups=groups)
    assert resp.shape == (100, 2)
    np.testing.assert_array_equal(resp[~empty, 1], 0.0)
    assert (resp[empty, 1] > 0.5).all()
    assert model.n_parameters_ == 4


def test_zeros_and_exposures_of_rows_on_disk():
    X, y, _ = table("gamma", n=400)
    offset = np.linspace(-0.5, 0.5, 400)
    given = {"likelihood": "gamma", "zero_inflation": True}
    model = MoERegressor(LinearExpert(alpha=1.0), 1, **given).set_params(
        gate=SoftmaxGate(alpha=1.0), trainer=EM(tol=1e-10)
    )
    memory = model.fit(X, y, offset=offset).predict(X)
    source = RowSource.from_arrays(X, y, offset=offset)
    np.testing.assert_allclose(model.fit(source).predict(X), memory, rtol=1e-4)
