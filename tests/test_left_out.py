"""An offset, trials or groups that ``fit`` had, and that a later call lacks."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.inference import standard_errors
from skmoe.inspection import RootogramDisplay


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X, offset = rng.normal(size=(120, 1)), np.log(rng.uniform(0.2, 5, 120))
    return X, rng.poisson(np.exp(X[:, 0] + offset)), offset


@pytest.fixture(scope="module")
def model(rows):
    X, y, offset = rows
    kind = MoERegressor(LinearExpert(alpha=0), 1, likelihood="poisson")
    return kind.fit(X, y, offset=offset)


@pytest.mark.parametrize(
    "method", ["score", "log_density", "responsibilities", "bic", "aic", "icl"]
)
def test_methods_that_compare_rows_with_y_warn(model, rows, method):
    X, y, offset = rows
    ask = getattr(model, method)
    with pytest.warns(UserWarning, match="fitted with offset"):
        ask(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(X, y, offset=offset)
        model.predict(X)


def test_cross_validation_that_routes_only_half_warns(model, rows):
    X, y, offset = rows
    with pytest.warns(UserWarning, match="set_score_request"):
        cross_val_score(model, X, y, cv=2, params={"offset": offset})


def test_trials():
    rng = np.random.default_rng(0)
    X, trials = rng.normal(size=(80, 1)), rng.integers(1, 9, 80)
    y = rng.binomial(trials, 0.4)
    model = MoERegressor("linear", 1, likelihood="binomial")
    model.fit(X, y, trials=trials)
    with pytest.warns(UserWarning, match="fitted with trials"):
        model.score(X, y / 1.0)


def test_groups_of_criteria():
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(80, 1)), np.arange(80) // 4
    model = MoERegressor("linear", 2, gate="constant", n_init=1)
    model.fit(X, np.sign(groups % 2 - 0.5) * X[:, 0], groups=groups)
    with pytest.warns(UserWarning, match="fitted with groups"):
        model.bic(X, X[:, 0])


def test_standard_errors_refuse(model, rows):
    X, y, offset = rows
    with pytest.raises(ValueError, match="fitted with offset"):
        standard_errors(model, X, y)
    assert standard_errors(model, X, y, offset=offset) is not None


def test_pictures_of_counts_take_them(model, rows):
    X, y, offset = rows
    own = {"offset": offset, "plot": False}
    display = RootogramDisplay.from_estimator(model, X, y, **own)
    assert display.expected.sum() == pytest.approx(120, rel=0.02)
