"""Additive experts and gates of rows that are read in batches."""

import numpy as np
import pytest
from read_rows import in_batches, limit_samples
from sklearn.base import clone

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._estimators import first_pass
from skmoe._numerics.curve_sums import around_means, traces
from skmoe._numerics.tree import Tree
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.gates import AdditiveGate, SoftmaxGate
from skmoe.gates._tree import TreeGate
from skmoe.trainers import EM

N_ROWS = 1500


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    """Samples that hold two thirds of the rows, and first runs on a third."""
    limit_samples(1000, 500, monkeypatch.setattr)


@pytest.fixture(scope="module")
def table():
    """Columns of few values, all of which any sample holds, and curved regimes."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, size=(N_ROWS, 2)).astype(float)
    X += np.arange(N_ROWS)[:, None] % 2 * [1e-3, 0.0]
    first = rng.random(N_ROWS) < 1 / (1 + np.exp(4 - X[:, 0]))
    eta = np.where(first, np.sin(X[:, 1]), 0.03 * X[:, 1] ** 2 - 1)
    return X, eta, eta + 0.3 * rng.normal(size=N_ROWS)


LIKELIHOOD = EM(objective="likelihood", tol=1e-8, max_refits=100)


def answers(model, X):
    return model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "student-t", "classes"])
def test_one_expert_has_the_curves_of_arrays(table, family):
    X, eta, y = table
    kind, given = MoERegressor, {"likelihood": family}
    if family == "classes":
        kind, given, y = MoEClassifier, {}, np.digitize(y, [-0.5, 0.5])
    if family == "poisson":
        y = np.random.default_rng(1).poisson(np.exp(eta)).astype(float)
    model = kind(AdditiveExpert(alpha=2.0), 1, trainer=LIKELIHOOD, **given)
    other = clone(model).fit(in_batches(X, y))
    model.fit(X, y)
    np.testing.assert_allclose(answers(other, X), answers(model, X), atol=2e-4)
    assert other.n_parameters_ == pytest.approx(model.n_parameters_, rel=2e-3)
    curves = zip(other.experts_[0].curves_, model.experts_[0].curves_, strict=True)
    for found, expected in curves:
        np.testing.assert_allclose(found.values, expected.values, atol=1e-3)
        errors = found.standard_errors, expected.standard_errors
        np.testing.assert_allclose(*errors, rtol=0.02)


@pytest.mark.parametrize(
    ("experts", "gate"),
    [
        (AdditiveExpert(alpha=1.0), SoftmaxGate(alpha=1.0)),
        (LinearExpert(alpha=0.0), AdditiveGate(alpha=1.0)),
    ],
    ids=["expert", "gate"],
)
def test_em_of_arrays_stays_where_all_rows_have_led(table, experts, gate):
    X, _, y = table
    model = MoERegressor(experts, 2, gate=gate, trainer=LIKELIHOOD, random_state=0)
    model.fit(in_batches(X, y))
    before, value = model.predict(X), model.lower_bounds_[-1]
    model.set_params(warm_start=True).fit(X, y)
    assert model.lower_bounds_[-1] == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(model.predict(X), before, atol=1e-2)


def test_penalties_by_evidence_and_classes(table):
    X, _, y = table
    model = MoERegressor("additive", 2, gate="additive", random_state=0)
    other = clone(model).set_params(trainer=EM(objective="likelihood")).fit(X, y)
    model.fit(in_batches(X, y))
    assert model.score(X, y) == pytest.approx(other.score(X, y), abs=0.02)
    assert model.n_parameters_ == pytest.approx(other.n_parameters_, rel=0.15)
    labels = np.where(y > 0, "up", "down")
    model = MoEClassifier("additive", 2, gate="additive", random_state=0)
    other = clone(model).fit(X, labels)
    model.fit(in_batches(X, labels))
    assert model.score(X, labels) == pytest.approx(other.score(X, labels), abs=0.02)


CURVES = AdditiveExpert(n_knots=5)
TREES = {
    "curves": {"experts": CURVES, "gate": "additive", "branching": (2,)},
    "counts": {"experts": LinearExpert(), "likelihood": "poisson", "router": 1},
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.filterwarnings("ignore:Expert", "ignore:EM stopped")
def test_trees_of_all_that_gains_from_sums(table, name):
    X, _, y = table
    y = np.floor(np.abs(y)) if name != "curves" else y
    trainer = EM(objective="likelihood", tol=1e-3, max_iter=5)
    given = {"random_state": 0, "trainer": trainer, **TREES[name]}
    model = HierarchicalMoERegressor(**given).fit(in_batches(X, y))
    total = model.log_density(X, y).sum()
    assert model.log_likelihood_ == pytest.approx(total, rel=1e-9)
    other = clone(model).fit(X, y)
    assert total > other.log_likelihood_ - 0.02 * len(y)


def test_the_optimum_of_a_tree_is_a_fixed_point_of_its_sums(table):
    X, *_ = table
    rng = np.random.default_rng(0)
    resp = rng.dirichlet(np.ones(4), len(X)) * (X[:, :1] > -1)
    resp[:, 3] += X[:, 0] <= -1
    gate = TreeGate(SoftmaxGate(alpha=1.0), Tree(((None, None), None, None)))
    gate.fit(X, resp, np.ones(len(X)))
    sums = gate.sums(X, np.ones(len(X)), None, float(len(X)))
    theta = sums.vector(gate)
    np.testing.assert_allclose(
        sums.at(theta).log_joint(X), gate.log_joint(X), rtol=1e-9
    )
    own = sums.zeros()
    sums.add(own, theta, X, resp, np.ones(len(X)))
    np.testing.assert_allclose(sums.moved(theta, own), theta, atol=1e-5)
    # Without a leaf the other children of its node share its rows.
    left, short = sums.without(theta, 0)
    weights = np.exp(left.at(short).predict_log_proba(X))
    assert left.part.tree.n_leaves == 3
    both = np.exp(gate.predict_log_proba(X))
    np.testing.assert_allclose(weights[:, 0], both[:, 0] + both[:, 1], rtol=1e-6)
    alone = left
    for _ in range(2):
        alone, short = alone.without(short, 0)
    np.testing.assert_allclose(alone.at(short).predict_log_proba(X), 0.0, atol=1e-12)


def test_cuts_change_nothing(table):
    X, _, y = table
    fits = [
        MoERegressor("additive", 2, gate="additive", random_state=0, n_jobs=n_jobs)
        for n_jobs in (1, 2)
    ]
    pairs = zip(fits, (700, 333), strict=True)
    answers = [
        own.fit(in_batches(X, y, sizes=(size,))).predict(X) for own, size in pairs
    ]
    np.testing.assert_array_equal(*answers)


def test_values_beyond_the_sample_are_no_gaps(table):
    X, _, y = table
    X = X.copy()
    keys = first_pass.row_keys(np.column_stack([X, y]))
    # A row that no sample holds, with a value that no other has.
    last = np.argmax(keys)
    model = MoERegressor(AdditiveExpert(alpha=1.0), 1, random_state=0)
    before = model.fit(in_batches(X, y)).predict([[8.0, 8.0]])
    X[last, 1] = 9.0
    after = model.fit(in_batches(X, y)).predict([[8.0, 8.0]])
    assert before == pytest.approx(after, abs=0.05)


def test_effective_numbers_are_those_of_the_matrices(table):
    X, _, y = table
    expert = AdditiveExpert(n_knots=5).fit(X, y)
    basis, rng = expert.encoding_.basis_, np.random.default_rng(0)
    root = rng.normal(size=(basis.n_coef + 1, basis.n_coef + 1))
    covariance, mass = root @ root.T, np.ones(basis.n_coef + 1)
    mass[-1] = 5.0
    slots = basis.slots()[0]
    own, size = covariance[slots, slots], slots.stop - slots.start
    centring = np.eye(size) - np.tile(mass[slots] / 5.0, (size, 1))
    expected = np.diag(centring @ own @ centring.T)
    found = around_means(basis, covariance, mass)[slots]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    steps = np.diff(np.eye(size), axis=0)
    trace = np.trace(steps.T @ steps @ own)
    assert traces(basis, covariance)[0] == pytest.approx(trace, rel=1e-10)
