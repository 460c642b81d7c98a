"""Linear experts without an intercept."""

import numpy as np
import pytest
from records import never_falls
from scipy import sparse
from sklearn.linear_model import LinearRegression, PoissonRegressor, Ridge

from skmoe import MoEClassifier, MoERegressor
from skmoe.data import RowSource
from skmoe.experts import LinearExpert
from skmoe.inference import standard_errors
from skmoe.testing import check_expert
from skmoe.trainers import EM

ML = LinearExpert(alpha=0, fit_intercept=False)
EXACT = EM(tol=1e-12)


@pytest.fixture(scope="module")
def table():
    """Columns far from zero, and two regimes through the origin."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(3, 1, 150), rng.normal(-1, 2, 150)])
    first = rng.uniform(size=150) < 0.5
    slopes = np.where(first[:, None], [1.0, 0.5], [-1.0, 1.0])
    return X, (X * slopes).sum(axis=1) + 0.1 * rng.normal(size=150)


def test_one_expert_is_scikit_learns(table):
    X, y = table
    ours = MoERegressor(ML, n_experts=1).fit(X, y)
    theirs = LinearRegression(fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(ours.experts_[0].coef_, theirs.coef_, rtol=1e-9)
    assert ours.experts_[0].intercept_ == 0.0
    assert ours.n_parameters_ == 3
    alone = LinearExpert(alpha=5.0, standardize=False, fit_intercept=False).fit(X, y)
    ridge = Ridge(alpha=5.0, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(alone.coef_, ridge.coef_, rtol=1e-9)
    assert alone.n_parameters_ == 2


def test_counts_without_an_intercept(table):
    X, _ = table
    y = np.random.default_rng(1).poisson(np.exp(X @ [0.3, 0.2])).astype(float)
    model = MoERegressor(ML, n_experts=1, likelihood="poisson", trainer=EXACT)
    other = PoissonRegressor(alpha=0, fit_intercept=False, tol=1e-12, max_iter=1000)
    found = model.fit(X, y).experts_[0].coef_
    np.testing.assert_allclose(found, other.fit(X, y).coef_, rtol=1e-6)


def test_a_constant_column_is_a_column(table):
    """Its coefficient is the intercept."""
    X, y = table
    one = np.column_stack([np.ones(len(X)), X])
    found = MoERegressor(ML, n_experts=1, trainer=EXACT).fit(one, y).experts_[0]
    other = LinearRegression().fit(X, y)
    expected = [other.intercept_, *other.coef_]
    np.testing.assert_allclose(found.coef_, expected, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0, "evidence", 1.0])
@pytest.mark.parametrize("trainer", ["em", "hard-em", EM(objective="prediction")])
def test_regimes_through_the_origin(table, alpha, trainer):
    X, y = table
    expert = LinearExpert(alpha=alpha, fit_intercept=False)
    model = MoERegressor(expert, 2, gate="constant", trainer=trainer, random_state=0)
    model.fit(X, y)
    slopes = sorted(own.coef_.tolist() for own in model.experts_)
    np.testing.assert_allclose(slopes, [[-1.0, 1.0], [1.0, 0.5]], atol=0.05)
    assert [own.intercept_ for own in model.experts_] == [0.0, 0.0]
    assert never_falls(model)
    np.testing.assert_array_equal(model.predict(np.zeros((1, 2))), [0.0])


def test_errors_of_slopes_alone(table):
    X, y = table
    model = MoERegressor(ML, n_experts=1).fit(X, y)
    found = standard_errors(model, X, y)
    assert [own.term for own in found.terms] == ["x0", "x1", "sigma"]
    rest = y - model.predict(X)
    covariance = np.linalg.inv(X.T @ X) * (rest @ rest) / len(y)
    np.testing.assert_allclose(found.error[:2], np.sqrt(np.diag(covariance)), rtol=1e-6)


def test_the_expert_keeps_its_promises():
    check_expert(LinearExpert(fit_intercept=False))


def test_where_there_is_always_an_intercept(table):
    X, y = table
    with pytest.raises(ValueError, match="in a classifier"):
        MoEClassifier(ML).fit(X, y > 0)
    with pytest.raises(ValueError, match="got a RowSource with experts="):
        MoERegressor(ML, 2).fit(RowSource.from_arrays(X, y))
    with pytest.raises(ValueError, match="sparse columns with fit_intercept=False"):
        ML.fit(sparse.csr_array(X), y)
