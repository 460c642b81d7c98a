"""Free parameters, which AIC and BIC charge for."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._numerics.grams import Columns, column_rank
from skmoe.experts import LinearExpert
from skmoe.experts._counts import expert_parameters
from skmoe.gates import GaussianGate, SoftmaxGate

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ML = LinearExpert(alpha=0)


def dummies(n_rows=200):
    """A column, three indicators, a constant, and the column again: rank three beside
    an intercept, four without."""
    rng = np.random.default_rng(0)
    x, group = rng.normal(size=n_rows), rng.integers(0, 3, n_rows)
    X = np.column_stack([x, np.eye(3)[group], np.ones(n_rows), 2 * x])
    return X, x + group + 0.3 * rng.normal(size=n_rows)


def cube(values):
    return values**3


X, Y = dummies()
CLASSES = (Y > 1).astype(int) + (Y > 2.5)
FITTED = LinearRegression().fit(X, Y)


@pytest.mark.parametrize(
    ("expert", "count"),
    [
        (ML, 4),
        (LinearExpert(1.0), 4),
        (LinearRegression(), 4),
        (Ridge(), 4),
        (HuberRegressor(max_iter=1000), 4),
        (LinearRegression(fit_intercept=False), 4),
        # Standardised, the indicators sum to nothing, and the constant is gone.
        (make_pipeline(StandardScaler(), Ridge(fit_intercept=False)), 3),
        (make_pipeline(StandardScaler(), "passthrough", Ridge()), 4),
        (TransformedTargetRegressor(Ridge(fit_intercept=False)), 4),
        (TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=cube), 4),
        (GridSearchCV(Ridge(fit_intercept=False), {"alpha": [1.0, 2.0]}), 4),
        (RFE(LinearRegression(), n_features_to_select=2), 3),
        (Lasso(alpha=0.05), 4),
        (FrozenEstimator(FITTED), 0),
        (make_pipeline(StandardScaler(), FrozenEstimator(FITTED)), 0),
        (FrozenEstimator(make_pipeline(StandardScaler(), Ridge()).fit(X, Y)), 0),
        (DummyRegressor(strategy="constant", constant=0.0), 0),
        (DummyRegressor(), 1),
        (DummyRegressor(strategy="median"), 1),
        (DummyRegressor(strategy="quantile", quantile=0.3), 1),
    ],
)
def test_experts(expert, count):
    model = MoERegressor([expert], gate="constant").fit(X, Y)
    assert model.n_parameters_ == count + 1
    assert np.isfinite(model.bic(X, Y))


def test_lasso_counts_what_is_left():
    own = Lasso(alpha=0.05).fit(X, Y)
    assert expert_parameters(own, Columns(X)) == np.count_nonzero(own.coef_) + 1
    lasso = LinearExpert(alpha=30.0, l1_ratio=1.0).fit(X, Y)
    left = np.count_nonzero(lasso.coef_)
    assert lasso.n_parameters_ == min(left, 3) + 1


@pytest.mark.parametrize(
    ("expert", "count"),
    [
        (ML, 8),
        (LinearExpert(1.0), 8),
        (LogisticRegression(max_iter=1000), 8),
        (LogisticRegression(max_iter=1000, fit_intercept=False), 8),
        (LinearDiscriminantAnalysis(), 8),
        (DummyClassifier(), 2),
        (DummyClassifier(strategy="uniform"), 0),
        (DummyClassifier(strategy="constant", constant=1), 0),
        (FrozenEstimator(LogisticRegression().fit(X, CLASSES)), 0),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_classifiers(expert, count):
    model = MoEClassifier([expert], gate="constant").fit(X, CLASSES)
    assert model.n_parameters_ == count
    two = MoEClassifier([expert], gate="constant").fit(X, np.minimum(CLASSES, 1))
    if isinstance(expert, (LinearExpert, LogisticRegression)):
        assert two.n_parameters_ == count // 2


@pytest.mark.parametrize(
    ("gate", "count"),
    [
        (SoftmaxGate(alpha=0.1), 4),
        ("constant", 1),
        (LogisticRegression(), 4),
        (FrozenEstimator(LogisticRegression().fit(X, Y > 1)), 0),
    ],
)
def test_gates(gate, count):
    upper, lower = LinearRegression().fit(X, Y + 1), LinearRegression().fit(X, Y - 1)
    experts = [FrozenEstimator(upper), FrozenEstimator(lower)]
    model = MoERegressor(experts, gate=gate).fit(X, Y)
    assert model.gate_.n_parameters_ == count
    assert model.n_parameters_ == count + 2


@pytest.mark.parametrize(
    ("covariance", "count"),
    [("full", 1 + 2 * (3 + 6)), ("tied", 1 + 2 * 3 + 6), ("diag", 1 + 2 * (3 + 3))],
)
def test_gaussian_gates(covariance, count):
    """A share, and means and covariances in three directions."""
    gate = GaussianGate(covariance=covariance)
    resp = np.column_stack([Y > 1, Y <= 1]).astype(float)
    assert gate.fit(X, resp).n_parameters_ == count
    assert gate.update(X, resp).count(Columns(X)) == count


@pytest.mark.parametrize("family", ["poisson", "student-t", "heteroscedastic"])
def test_families(family):
    y = np.round(np.abs(Y))
    model = MoERegressor(ML, n_experts=1, gate="constant", likelihood=family).fit(X, y)
    assert model.n_parameters_ == {"poisson": 4, "student-t": 6}.get(family, 8)


@pytest.mark.parametrize("trainer", ["em", "hard-em", "gradient"])
@pytest.mark.parametrize("convert", [np.asarray, np.float32, sparse.csr_array])
def test_trainers_and_tables(trainer, convert):
    own = {"trainer": trainer, "random_state": 0}
    model = MoERegressor(ML, n_experts=2, gate=SoftmaxGate(alpha=0.1), **own)
    model.fit(convert(X), Y)
    assert model.n_parameters_ == (4 + 4 + 4) * (model.n_experts_ == 2) + 2
    foreign = MoERegressor(LinearRegression(), n_experts=1).fit(convert(X), Y)
    assert foreign.n_parameters_ == 5


def test_several_outputs_trees_members_and_shared():
    several = np.column_stack([Y, Y**2])
    experts = [
        ML,
        LinearRegression(),
        DummyRegressor(),
        LinearRegression(fit_intercept=False),
        MultiOutputRegressor(Ridge()),
    ]
    model = MoERegressor(experts, gate="constant").fit(X, several)
    assert model.n_experts_ == 5
    assert model.n_parameters_ == 4 * 8 + 2 + 4 + 10
    gate = SoftmaxGate(alpha=0.1)
    tree = HierarchicalMoERegressor(ML, branching=(2,), gate=gate).fit(X, Y)
    assert tree.n_parameters_ == 4 + 8 + 2
    both = MoERegressor(
        ML, n_experts=2, n_members=2, shared_expert=LinearRegression(), random_state=0
    ).fit(X, Y)
    whole = sum(m.n_parameters_ for m in both.members_) - 4
    assert both.n_parameters_ == pytest.approx(whole)


def test_columns_of_a_frame_are_those_of_the_last_step():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": X[:, 0], "g": rng.choice(list("abc"), len(X))})
    encode = make_column_transformer(
        (OneHotEncoder(), ["g"]), remainder="passthrough", sparse_threshold=0
    )
    expert = make_pipeline(encode, LinearRegression())
    model = MoERegressor([("a", expert)], gate="constant").fit(table, Y)
    assert model.n_parameters_ == 4 + 1


def test_zero_inflation_has_a_criterion():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    y = rng.poisson(np.exp(0.5 + 0.5 * x[:, 0])) * (rng.random(400) < 0.6)
    zero = DummyRegressor(strategy="constant", constant=0.0)
    model = MoERegressor(
        [("zero", zero), ("count", ML)], gate="constant", likelihood="poisson"
    ).fit(x, y.astype(float))
    assert model.n_parameters_ == 3
    expected = -2 * model.log_likelihood_ + 3 * np.log(400)
    assert model.bic(x, y.astype(float)) == pytest.approx(expected, rel=1e-6)


def test_what_has_no_count_is_named():
    trees = [("trees", DecisionTreeRegressor(max_depth=2)), ("line", ML)]
    model = MoERegressor(trees, random_state=0).fit(X, Y)
    assert model.n_parameters_ is None
    for criterion in (model.aic, model.bic, model.icl):
        with pytest.raises(ValueError, match="DecisionTreeRegressor 'trees' has no"):
            criterion(X, Y)
    gate = DecisionTreeClassifier(max_depth=2)
    model = MoERegressor(ML, n_experts=2, gate=gate, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"DecisionTreeClassifier.* has no count"):
        model.bic(X, Y)


def test_parts_on_their_own():
    assert LinearExpert(0).fit(X, Y).n_parameters_ == 4
    resp = np.column_stack([np.ones(len(X)), np.arange(len(X))]) / len(X)
    assert SoftmaxGate(alpha=0.1).fit(X, resp).n_parameters_ == 4
    assert LinearExpert(0).for_classes().fit(X, CLASSES).n_parameters_ == 8


@pytest.mark.parametrize("n_rows", [3, 5, 40])
def test_rank_is_that_of_numpy(n_rows):
    rng = np.random.default_rng(n_rows)
    Z = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, 6)) * 10.0 ** np.arange(6)
    Z += 7.0
    weight = np.ones(n_rows)
    centred = np.linalg.matrix_rank((Z - Z.mean(axis=0)) / Z.std(axis=0))
    assert column_rank(Z, weight) == centred
    assert column_rank(Z, weight, centred=False) == np.linalg.matrix_rank(
        Z / np.sqrt(np.mean(Z**2, axis=0))
    )
    assert column_rank(sparse.csr_array(Z), weight) == centred
    weight[1:] = 0.0
    assert column_rank(Z, weight) == 0
