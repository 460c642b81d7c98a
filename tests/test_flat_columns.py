"""Columns without spread in the rows that a part is fitted to count for nothing."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler
from sklearn.svm import SVR

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe._estimators.answers import fitted_mixture
from skmoe._numerics.design import make_design, weighted_moments
from skmoe._numerics.grams import flat_columns
from skmoe._numerics.linalg import solve_centred, spreadless
from skmoe._tables.table import Table
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.experts._foreign import holds_frozen
from skmoe.gates import GaussianGate, MLPGate, SoftmaxGate
from skmoe.likelihoods import Gaussian, HeteroscedasticGaussian
from skmoe.trainers import EM, Gradient, HardEM, TwoStage

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning"),
]

CONSTANTS = [0.1, -0.0184773767534787, 1 / 3, 1e5, -7.7e-9]
KINDS = ["exact", "near", "unweighted", "hardly weighted"]


def rows(constant, kind="exact", n=300):
    """Two regimes in x0, and a third column that is constant where rows count."""
    rng = np.random.RandomState(n)
    X, weight = rng.normal(size=(n, 3)), np.ones(n)
    y = np.where(X[:, 0] > 0, 2.0 * X[:, 1], -X[:, 1]) + 0.1 * rng.normal(size=n)
    X[:, 2] = constant
    if kind == "near":
        X[:, 2] *= 1.0 + 1e-15 * rng.normal(size=n)
    elif kind != "exact":
        X[::7, 2] += rng.normal(size=len(X[::7]))
        weight[::7] = 0.0 if kind == "unweighted" else 1e-300
    return X, y, weight


def assert_blind(model, X):
    """No answer of the model changes with the last column."""
    answer = getattr(model, "predict_proba", model.predict)
    for shift in (1.0, -3.0, 1e6):
        moved = X.copy()
        moved[:, 2] += shift
        assert np.array_equal(answer(moved), answer(X))
        assert np.array_equal(model.gate_proba(moved), model.gate_proba(X))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", CONSTANTS)
def test_moments_see_no_spread(constant, kind):
    for n in (40, 300, 299, 1000, 20_001):
        X, _, weight = rows(constant, kind, n)
        center, scale = weighted_moments(X, weight)
        assert scale[2] == 0.0
        assert (scale[:2] > 0.8).all()
        np.testing.assert_allclose(center[2], constant, rtol=1e-14)
        if kind == "exact":
            assert center[2] == constant
            assert weighted_moments(X.astype(np.float32), weight)[1][2] == 0.0


def test_moments_are_those_of_numpy_in_any_unit():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(500, 4)) + [0.0, 1e6, -3.0, 1e-3]
    weight = rng.uniform(size=500)
    mean = np.average(X, axis=0, weights=weight)
    spread = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
    for unit in (1.0, 2.0**-510, 2.0**500):
        for size in (1.0, 1e-300, 1e300):
            center, scale = weighted_moments(X * unit, weight * size)
            np.testing.assert_allclose(center / unit, mean, rtol=1e-13)
            np.testing.assert_allclose(scale / unit, spread, rtol=1e-9)


def test_a_rare_level_has_spread():
    X = np.zeros((100_000, 2))
    X[7, 0], X[:, 1] = 1.0, 1e6
    X[9, 1] += 1e-3
    assert (weighted_moments(X, np.ones(len(X)))[1] > 0).all()


LINEAR = LinearExpert(alpha=0)
REGRESSORS = {
    "default": MoERegressor(),
    "one expert": MoERegressor(n_experts=1, experts=LINEAR),
    "no penalty": MoERegressor(experts=LINEAR, gate=SoftmaxGate(alpha=0), n_experts=2),
    "own scale": MoERegressor(
        experts=LinearExpert(alpha=0, standardize=False),
        gate=SoftmaxGate(alpha=0, standardize=False),
        n_experts=2,
    ),
    "lasso": MoERegressor(experts=LinearExpert(l1_ratio=0.5), n_experts=2),
    "hard": MoERegressor(trainer=HardEM(), n_experts=2),
    "gaussian gate": MoERegressor(gate=GaussianGate(alpha=0.0), n_experts=2),
    "tied gate": MoERegressor(
        gate=GaussianGate(covariance="tied", alpha=0.0), n_experts=2
    ),
    "mlp gate": MoERegressor(gate=MLPGate((3,), max_iter=5), n_experts=2),
    "mlp expert": MoERegressor(experts=MLPExpert((3,), max_iter=5), n_experts=2),
    "kinds": MoERegressor(experts=[LinearExpert(), LINEAR]),
    "laplace": MoERegressor(likelihood="laplace", n_experts=2),
    "student": MoERegressor(likelihood="student-t", n_experts=2),
    "full": MoERegressor(likelihood=Gaussian(covariance="full"), n_experts=2),
    "spread of x": MoERegressor(likelihood=HeteroscedasticGaussian(), n_experts=2),
    "gradient": MoERegressor(trainer=Gradient(max_epochs=2), n_experts=2),
    "two stages": MoERegressor(
        experts=[LinearExpert(), LinearExpert(alpha=9)], trainer=TwoStage(cv=2)
    ),
    "shared": MoERegressor(shared_expert=LinearExpert(), n_experts=2),
    "top-1": MoERegressor(router=1, n_experts=2),
    "tree": HierarchicalMoERegressor(branching=(2, 2)),
    "ramps": MoERegressor(
        gate_features="piecewise-linear",
        expert_features="piecewise-linear",
        n_experts=2,
    ),
    "growth": HierarchicalMoERegressor(branching="grow"),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_are_blind_to_it(name):
    model = REGRESSORS[name].set_params(random_state=0)
    for constant, kind in [(CONSTANTS[1], "exact"), (0.1, "hardly weighted")]:
        X, y, weight = rows(constant, kind)
        model.fit(X, y, sample_weight=weight)
        assert_blind(model, X[:20])


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", CONSTANTS)
def test_mixtures_are_blind_to_any_constant(constant, kind):
    X, y, weight = rows(constant, kind, 517)
    assert_blind(MoERegressor(random_state=0, n_experts=2).fit(X, y, weight), X[:20])


@pytest.mark.parametrize("family", ["poisson", "gamma", "negative-binomial"])
def test_families_are_blind_to_it(family):
    X, y, _ = rows(CONSTANTS[1])
    y = np.exp(0.3 * y)
    y = y if family == "gamma" else np.floor(4.0 * y)
    model = MoERegressor(experts=LINEAR, likelihood=family, random_state=0, n_experts=2)
    assert_blind(model.fit(X, y), X[:20])


@pytest.mark.parametrize("trainer", ["em", "hard-em", Gradient(max_epochs=2)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_are_blind_to_it(trainer, n_classes):
    if trainer == "hard-em":
        trainer = HardEM()
    X, y, weight = rows(CONSTANTS[1], "hardly weighted")
    labels = np.digitize(y, [0.0, 1.0][: n_classes - 1])
    alpha = 0.0 if trainer == "em" else 1.0
    model = MoEClassifier(
        experts=LinearExpert(alpha=alpha), trainer=trainer, random_state=0, n_experts=2
    )
    assert_blind(model.fit(X, labels, weight), X[:20])


def test_a_tree_of_classifiers_is_blind_to_it():
    X, y, _ = rows(CONSTANTS[1])
    model = HierarchicalMoEClassifier(branching=(2, 2), random_state=0)
    assert_blind(model.fit(X, y > 0), X[:20])


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_an_indicator_that_an_expert_never_meets_is_nothing_to_it(alpha, likelihood):
    rng = np.random.RandomState(1)
    X = rng.normal(size=(400, 3))
    X[:, 0] += 4.0 * np.sign(X[:, 0])
    X[:, 2] = 0.1 * (X[:, 0] > 0)
    level = np.where(X[:, 0] > 0, 20.0 + 2.0 * X[:, 1], -20.0 - X[:, 1])
    y = level + 0.1 * rng.normal(size=400)
    model = MoERegressor(
        n_experts=2,
        experts=LinearExpert(alpha=alpha),
        likelihood=likelihood,
        trainer=HardEM(),
        random_state=0,
    ).fit(X, y)
    assert [expert.coef_[2] for expert in model.experts_] == [0.0, 0.0]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 4])
def test_a_column_that_became_flat_is_nothing_to_a_classifier(alpha, seed):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(400, 3))
    X[:, 0] += 4.0 * np.sign(X[:, 0])
    X[:, 2] = np.where(X[:, 0] > 0, 0.1, X[:, 2])
    y = np.where(X[:, 0] > 0, 2 * X[:, 1], -X[:, 1]) + rng.normal(size=400) > 0
    model = MoEClassifier(
        n_experts=2, experts=LinearExpert(alpha=alpha), trainer=HardEM(), random_state=0
    ).fit(X, y)
    served = model.responsibilities(X, y) > 0.5
    spreads = [np.ptp(X[rows, 2]) for rows in served.T]
    assert min(spreads) == 0.0
    for expert, spread in zip(model.experts_, spreads, strict=True):
        assert (expert.coef_[:, 2] == 0.0).all() == (spread == 0.0)


WARM = {
    "poisson": MoERegressor(likelihood="poisson", n_experts=2),
    "student": MoERegressor(likelihood="student-t", n_experts=2),
    "gaussian": MoERegressor(n_experts=2),
    "classes": MoEClassifier(n_experts=2),
    "counts of a network": MoERegressor(
        likelihood="poisson", gate=MLPGate((3,)), n_experts=2
    ),
}


@pytest.mark.parametrize("name", WARM)
@pytest.mark.parametrize("trainer", [EM(), HardEM()])
def test_warm_starts_leave_columns_that_became_flat(name, trainer):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 3))
    y = rng.poisson(np.exp(np.where(X[:, 0] > 0, 1, -1) * X[:, 1] + 0.3 * X[:, 2]))
    parts = {"experts": LinearExpert(alpha=0.0), "n_experts": 2, "trainer": trainer}
    model = clone(WARM[name]).set_params(**parts, random_state=0, warm_start=True)
    labels = y > 0 if name == "classes" else y
    model.fit(X, labels)
    model.fit(np.where(np.arange(3) == 2, 1.7, X), labels)
    for expert in model.experts_:
        assert (expert.coef_[..., 2] == 0.0).all()


def test_an_indicator_that_a_classifier_never_meets_is_nothing_to_it():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(400, 3))
    X[:, 0] += 4.0 * np.sign(X[:, 0])
    X[:, 2] = 0.1 * (X[:, 0] > 0)
    y = np.where(X[:, 0] > 0, 2 * X[:, 1], -X[:, 1]) + rng.normal(size=400) > 0
    model = MoEClassifier(n_experts=2, trainer=HardEM(), random_state=0).fit(X, y)
    for expert in model.experts_:
        assert (expert.coef_[:, 2] == 0.0).all()


def test_centred_solution_is_that_of_the_whole_system():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.normal(size=(60, 3)) + 2.0, np.ones(60)])
    weights, y = rng.uniform(size=(2, 60)), rng.normal(size=(60, 2))
    grams = np.stack([(X.T * w) @ X for w in weights])
    right = np.stack([(X.T * w) @ y for w in weights])
    penalty = np.diag([0.7, 0.7, 0.7, 0.0])
    expected = np.stack(
        [np.linalg.solve(g + penalty, r) for g, r in zip(grams, right, strict=True)]
    )
    np.testing.assert_allclose(solve_centred(grams, right, 0.7), expected, rtol=1e-11)


def test_flat_columns_are_found_by_the_weight_of_their_rows():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(90, 2)) + 3.0
    weights = np.ones((90, 2))
    weights[:50, 1], X[50:, 1] = 0.0, 2.3
    found = flat_columns(make_design(X, np.ones(90)), weights)
    assert found.tolist() == [[False, False], [False, True]]
    columns = np.column_stack([X, np.ones(90)])
    grams = np.stack([(columns.T * w) @ columns for w in weights.T])
    assert np.array_equal(spreadless(grams), found)


@pytest.mark.parametrize("covariance", ["full", "diag", "tied"])
@pytest.mark.parametrize("kind", ["regressor", "classifier", "tree"])
def test_a_gaussian_gate_is_blind_to_any_number_of_them(covariance, kind):
    rng = np.random.RandomState(0)
    x = rng.normal(size=(300, 1))
    y = np.where(x[:, 0] > 1, 5 - 3 * x[:, 0], x[:, 0]) + 0.3 * rng.normal(size=300)
    gate = GaussianGate(covariance)
    model = {
        "regressor": MoERegressor(n_experts=2, gate=gate, random_state=0),
        "classifier": MoEClassifier(n_experts=2, gate=gate, random_state=0),
        "tree": HierarchicalMoERegressor(
            branching=((None, None), None), gate=gate, random_state=0
        ),
    }[kind]
    y = y > 0 if kind == "classifier" else y
    alone = model.fit(x, y)
    expected, total = alone.gate_proba(x), alone.log_likelihood_
    for k in (1, 5, 20):
        X = np.hstack([x, np.full((300, k), 1e8)])
        np.testing.assert_allclose(model.fit(X, y).gate_proba(X), expected, atol=1e-4)
        np.testing.assert_allclose(model.log_likelihood_, total, rtol=1e-5)
        moved = X + np.arange(k + 1)
        np.testing.assert_array_equal(model.gate_proba(moved), model.gate_proba(X))


def test_a_gaussian_gate_reads_a_column_once_however_often_it_is_there():
    rng = np.random.RandomState(0)
    x = rng.normal(size=(400, 1))
    y = np.where(x[:, 0] > 1, 5 - 3 * x[:, 0], x[:, 0]) + 0.3 * rng.normal(size=400)
    model = MoERegressor(n_experts=2, gate=GaussianGate(alpha=0), random_state=0)
    expected = model.fit(x, y).gate_proba(x)
    for k in (1, 5, 20):
        X = np.repeat(x, k + 1, axis=1)
        # Its density weighs more beside that of y, so EM ends a little elsewhere.
        np.testing.assert_allclose(model.fit(X, y).gate_proba(X), expected, atol=0.02)


def stamped(constant=1.7e9, n=200):
    """Two regimes, and a column as large as seconds since 1970."""
    X, y, _ = rows(constant, n=n)
    return X, y


ANY = HistGradientBoostingRegressor(max_iter=5)
FOREIGN = {
    "gate": MoERegressor(experts=LINEAR, gate=LogisticRegression(), n_experts=2),
    "tree of gates": HierarchicalMoERegressor(gate=LogisticRegression()),
    "huber": MoERegressor(experts=HuberRegressor()),
    "kernel": MoERegressor(experts=SVR()),
    "trees": MoERegressor(experts=ANY, gate=GaussianGate()),
    "pipeline": MoERegressor(experts=make_pipeline(StandardScaler(), Ridge())),
    "kinds": MoERegressor(experts=[("a", Ridge()), ("b", LINEAR), ("c", ANY)]),
    "columns": MoERegressor(experts=Ridge(), expert_features=[2, 1, 0]),
    "shared": MoERegressor(shared_expert=HuberRegressor(), n_experts=2),
    "two stages": MoERegressor(
        experts=[("a", HuberRegressor()), ("b", Ridge(9.0))], trainer="two-stage"
    ),
    "variance": MoERegressor(
        likelihood=HeteroscedasticGaussian(GammaRegressor()), n_experts=2
    ),
    "classes": MoEClassifier(experts=LogisticRegression()),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", FOREIGN)
def test_estimators_of_other_libraries_are_blind_to_it(name):
    X, y = stamped()
    y = y > 0 if name == "classes" else y
    model = clone(FOREIGN[name]).set_params(random_state=0)
    plain = clone(model).fit(np.where(np.arange(3) == 2, 0.0, X), y)
    assert_blind(model.fit(X, y), X[:20])
    assert model.score(X, y) == pytest.approx(plain.score(X, y), abs=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expert", [LinearRegression(), ANY])
def test_they_are_blind_whatever_made_it_flat(expert, kind):
    X, y, weight = rows(1e15, kind)
    model = MoERegressor(experts=expert, n_experts=2, random_state=0)
    assert_blind(model.fit(X, y, weight), X[:20])


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize(
    "expert", [Ridge(), LinearRegression(), make_pipeline(MaxAbsScaler(), Ridge())]
)
def test_they_are_blind_in_sparse_columns(expert, container):
    X, y = stamped()
    X[::2, 1] = 0.0
    model = MoERegressor(experts=expert, n_experts=2, random_state=0)
    model.fit(container(X), y)
    found = model.predict(container(X))
    np.testing.assert_allclose(found, clone(model).fit(X, y).predict(X), rtol=1e-6)
    for value in (0.0, 3e9):
        moved = np.where(np.arange(3) == 2, value, X)
        assert np.array_equal(model.predict(container(moved)), found)


@pytest.mark.thorough
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
@pytest.mark.parametrize(
    "expert", [HuberRegressor(), make_pipeline(StandardScaler(), Ridge())]
)
def test_they_are_blind_in_frames(expert, dtype, library):
    frames = pytest.importorskip(library)
    X, y = stamped()

    def frame(value):
        third = np.full(len(X), value, dtype=dtype)
        return frames.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": third})

    model = MoERegressor(experts=expert, gate=LogisticRegression(), random_state=0)
    table = frame(1.7e9)
    model.fit(table, y)
    assert np.array_equal(model.predict(table), model.predict(frame(1.8e9)))
    assert model.score(table, y) > 0.7
    assert table["c"][0] == 1.7e9


def test_gaps_are_left_to_those_who_read_them():
    X, y = stamped(3.0)
    X[::2, 2], y = np.nan, y + 5.0 * (np.arange(len(y)) % 2)
    model = MoERegressor(experts=ANY, n_experts=1, random_state=0).fit(X, y)
    filled = np.where(np.isnan(X), 3.0, X)
    assert not np.array_equal(model.predict(filled), model.predict(X))


def test_a_constant_may_be_an_intercept():
    X, y = stamped(1.0)
    expert = Ridge(fit_intercept=False)
    model = MoERegressor(experts=expert, n_experts=1, random_state=0)
    model.fit(X, y + 7.0)
    assert model.predict(X).mean() == pytest.approx(np.mean(y + 7.0), abs=0.1)
    assert_blind(model, X[:20])


def logs(X):
    return np.log(X**2)


def test_transformers_are_given_the_constant_itself():
    X, y = stamped(5.0)
    pipeline = make_pipeline(FunctionTransformer(logs), Ridge())
    model = MoERegressor(experts=pipeline, n_experts=2, random_state=0).fit(X, y)
    assert_blind(model, X[:20])


def test_what_is_frozen_has_learned_from_other_rows():
    rng = np.random.RandomState(0)
    Z = rng.normal(size=(60, 3))
    frozen = FrozenEstimator(LinearRegression().fit(Z, 2.0 * Z[:, 1] + Z[:, 2]))
    X, y = stamped(3.0)
    y += 3.0
    model = MoERegressor(experts=[("old", frozen), ("new", Ridge())])
    moved = X + [0.0, 0.0, 1.0]
    model.set_params(random_state=0).fit(X, y)
    change = model.predict_experts(moved) - model.predict_experts(X)
    np.testing.assert_allclose(change[:, 0], 1.0)
    assert not change[:, 1].any()
    assert holds_frozen(make_pipeline(FrozenEstimator(StandardScaler()), Ridge()))
    assert not holds_frozen(make_pipeline(StandardScaler(), Ridge()))


def test_parts_that_see_the_same_share_one_copy():
    X, y = stamped()
    model = MoERegressor(experts=Ridge(), n_experts=3, gate=LogisticRegression())
    for constant, copied in [(X, True), (X + np.arange(len(X))[:, None], False)]:
        model.set_params(random_state=0).fit(constant, y)
        seen = fitted_mixture(model).see(Table(constant, constant))
        views = {id(view) for view in (seen.gate, *seen.experts)}
        assert len(views) == 1
        assert (id(constant) not in views) == copied
