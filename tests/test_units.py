"""The same model in any unit of y and of the columns, or a clear refusal."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import GaussianGate, MLPGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM, Gradient, HardEM, TwoStage

pytestmark = pytest.mark.filterwarnings("ignore")
# Powers of two, so that nothing is rounded: about 1e150 and 1e-150.
UNITS = [2.0**498, 2.0**-498]


def rows(n=200):
    """Two regimes in x0."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, 3))
    y = np.where(X[:, 0] > 0, 2.0 * X[:, 1], 1.0 - X[:, 1])
    return X, y + 0.1 * rng.normal(size=n)


FEW = EM(max_iter=6, max_refits=3)
MODELS = {
    "default": MoERegressor(),
    "lasso": MoERegressor(
        experts=LinearExpert(alpha=1.0, l1_ratio=0.5), trainer=FEW, n_experts=2
    ),
    "hard": MoERegressor(trainer=HardEM(), n_experts=2),
    "gaussian gate": MoERegressor(gate=GaussianGate(), trainer=FEW, n_experts=2),
    "mlp": MoERegressor(experts=MLPExpert((3,), max_iter=5), trainer=FEW, n_experts=2),
    # Squares of coefficients lose digits in the smallest unit, and penalties by
    # evidence, which may be small, more of them.
    "laplace": MoERegressor(
        LinearExpert(alpha=1.0), likelihood="laplace", trainer=FEW, n_experts=2
    ),
    "student": MoERegressor(
        LinearExpert(alpha=1.0), likelihood="student-t", trainer=FEW, n_experts=2
    ),
    "full": MoERegressor(
        likelihood=Gaussian(covariance="full"), trainer=FEW, n_experts=2
    ),
    "spread of x": MoERegressor(
        LinearExpert(alpha=1.0), likelihood="heteroscedastic", trainer=FEW, n_experts=2
    ),
    "gradient": MoERegressor(
        gate=MLPGate((3,)), trainer=Gradient(max_epochs=2), n_experts=2
    ),
    "two stages": MoERegressor(
        experts=[LinearExpert(), LinearExpert(alpha=0)], trainer=TwoStage(cv=2)
    ),
    "shared": MoERegressor(shared_expert=LinearExpert(), n_experts=2),
    "noise": MoERegressor(noise=True, trainer=FEW, n_experts=2),
    "tree": HierarchicalMoERegressor(branching=(2, 2)),
    "grown": HierarchicalMoERegressor(branching="grow"),
}


# What others of the kind show, and take long.
REPEATED = {"student", "grown"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.thorough) if name in REPEATED else name
        for name in MODELS
    ],
)
def test_units_change_nothing_but_units(name):
    model = MODELS[name].set_params(random_state=0)
    X, y = rows()
    expected = model.fit(X, y).predict(X)
    # Where a median is is flat: EM stops a little elsewhere after any rounding.
    near = {"atol": 2e-3 if name == "laplace" else 1e-4}
    total, spread = model.log_likelihood_, model.predict(X, return_std=True)[1]
    for unit in UNITS:
        found, std = model.fit(X, y * unit).predict(X, return_std=True)
        np.testing.assert_allclose(found / unit, expected, **near)
        np.testing.assert_allclose(std / unit, spread, rtol=near["atol"])
        shifted = model.log_likelihood_ + len(y) * np.log(unit)
        np.testing.assert_allclose(shifted, total, rtol=0.01 * near["atol"])
        median = model.predict_quantile(X[:5], [0.5]) / unit
        assert np.isfinite(median).all()
        for units in (unit, np.array([1.0, unit, 1.0 / unit])):
            found = model.fit(X * units, y).predict(X * units)
            np.testing.assert_allclose(found, expected, **near)


def test_units_of_columns_change_no_class():
    X, y = rows()
    model = MoEClassifier(random_state=0, n_experts=2)
    expected = model.fit(X, y > 0).predict_proba(X)
    for unit in UNITS:
        found = model.fit(X * unit, y > 0).predict_proba(X * unit)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_tiny_columns_are_columns():
    X, y = rows()
    model = MoERegressor(random_state=0, n_experts=2)
    expected = model.fit(X, y).predict(X)
    found = model.fit(X * 2.0**-700, y).predict(X * 2.0**-700)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("unit", [1e154, 1e-200, 1e-300])
def test_targets_beyond_all_squares_are_refused(unit):
    X, y = rows()
    with pytest.raises(ValueError, match="y has a largest absolute value.*unit"):
        MoERegressor(n_experts=2).fit(X, y * unit)


@pytest.mark.parametrize("unit", [1e154, 1e160])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, pd.DataFrame])
@pytest.mark.parametrize(
    "model", [MoERegressor(n_experts=2), MoEClassifier(n_experts=2)]
)
def test_columns_beyond_all_squares_are_refused(model, kind, unit):
    X, y = rows()
    X = np.where(np.arange(3) == 1, X * unit, X)
    with pytest.raises(ValueError, match="1 has a largest absolute value.*unit"):
        model.fit(kind(X), y > 0)


def test_one_wild_cell_is_refused():
    X, y = rows()
    model = MoERegressor(random_state=0, n_experts=2).fit(X, y)
    X[3, 2] = -1e155
    for call in (model.predict, lambda X: model.fit(X, y)):
        with pytest.raises(ValueError, match="x2 has a largest absolute value"):
            call(X)
    assert np.isfinite(model.predict(np.full((2, 3), 1e-300))).all()
