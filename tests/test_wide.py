"""Many columns, dense and sparse: solvers by products with X, and no dense copies."""

import tracemalloc

import naive
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from skmoe import HierarchicalMoEClassifier, MoEClassifier, MoERegressor
from skmoe._kernels.em import Labels
from skmoe._kernels.multinomial import mixture_curvature
from skmoe._numerics import linalg as _linalg
from skmoe._numerics.design import make_design, read_only, take_rows
from skmoe._numerics.grams import weighted_grams
from skmoe._numerics.linalg import Penalty, solve_lasso
from skmoe._numerics.multinomial import ByProducts, fit_multinomial
from skmoe._numerics.products import dense_rows, gather, linear, principal_axes
from skmoe._numerics.tree import Tree, flat
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM, HardEM
from skmoe.trainers._em.fused import LinearGaussianMixture
from skmoe.trainers._em.fused_classes import LinearCategoricalMixture
from skmoe.trainers._em.wide import (
    NewtonStep,
    WideCategoricalMixture,
    WideGaussianMixture,
)

ROWS, COLUMNS = 120, 110


def words(n_rows=ROWS, n_columns=COLUMNS, n_classes=3, seed=0):
    """Sparse counts of words, and classes and numbers that depend on them."""
    rng = np.random.RandomState(seed)
    X = sparse.random_array((n_rows, n_columns), density=0.1, rng=rng, format="csr")
    signal = X @ rng.normal(size=(n_columns, n_classes))
    y = (signal + 0.3 * rng.gumbel(size=signal.shape)).argmax(axis=1)
    return X, y, signal[:, 0] + 0.1 * rng.normal(size=n_rows)


def standardised(X, weight):
    """Columns as the naive formula has them; constant ones are zero."""
    X = X.toarray()
    center = np.average(X, axis=0, weights=weight)
    scale = np.sqrt(np.average((X - center) ** 2, axis=0, weights=weight))
    held = np.ptp(X[weight > 0], axis=0) == 0
    Z = (X - center) / np.where(held, 1.0, scale)
    return np.where(held, 0.0, Z)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "kind", [sparse.csr_array, sparse.csr_matrix, sparse.coo_array]
)
def test_products_are_those_of_standardised_columns(kind, dtype):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(9000, 7)) * (rng.random_sample((9000, 7)) < 0.3)
    X[:, 2], X[:, 3], X[:, 4] = 0.0, 0.1, 5.0 + X[:, 4]
    weight = rng.random_sample(9000) * (rng.random_sample(9000) < 0.9)
    X[weight == 0, 2] = 3.0
    X = X.astype(dtype)
    Z = standardised(sparse.csr_array(X.astype(float)), weight)
    channels = np.column_stack([Z, np.ones(len(Z))])
    coef, values = rng.normal(size=(3, 8)), rng.normal(size=(9000, 3))
    spare, dense = make_design(kind(X), weight), make_design(X, weight)
    assert (spare.inverse_scale[[2, 3]] == 0).all()
    for design in (spare, dense):
        live = [0, 1, 4, 5, 6, 7]
        own = np.where(np.isin(np.arange(8), live), coef, 0.0)
        np.testing.assert_allclose(linear(design, own), channels @ own.T, atol=1e-5)
        found = gather(design, values, n_jobs=2)
        np.testing.assert_allclose(
            found[:, live], (values.T @ channels)[:, live], rtol=1e-5, atol=1e-3
        )
        assert np.array_equal(found, gather(design, values))
    part = take_rows(spare, np.arange(5))
    np.testing.assert_allclose(
        dense_rows(part)[:, live[:-1]], Z[:5, live[:-1]], atol=1e-5
    )


def test_doubled_entries_and_far_columns():
    rows, cols, data = [0, 0, 1, 2], [0, 0, 0, 1], [1.0, 2.0, 5.0, 4.0]
    X = sparse.csr_array(sparse.coo_array((data, (rows, cols)), shape=(3, 2)))
    doubled = sparse.csr_array((data, [0, 0, 0, 1], [0, 2, 3, 4]), shape=(3, 2))
    ones = np.ones(3)
    X.sum_duplicates()
    designs = [make_design(own, ones)[1:] for own in (doubled, X)]
    for own, other in zip(*designs, strict=True):
        np.testing.assert_allclose(own, other)
    assert doubled.nnz == 4  # X of the user stays as it is
    rng = np.random.RandomState(0)
    Z = rng.normal(size=(50, 3))
    far = make_design(Z + 1e9, np.ones(50))
    near = make_design(Z, np.ones(50))
    coef = rng.normal(size=(2, 4))
    np.testing.assert_allclose(linear(far, coef), linear(near, coef), atol=1e-5)


def test_gram_matrices_of_sparse_columns():
    X, _, _ = words()
    weights, targets = np.random.RandomState(0).random_sample((2, ROWS, 2))
    designs = [make_design(own, np.ones(ROWS)) for own in (X, X.toarray())]
    found, expected = [weighted_grams(d, weights, targets) for d in designs]
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-8)


@pytest.mark.parametrize("lasso", [0.0, 2.0])
def test_multinomial_by_products_is_that_by_grams(lasso):
    X, y, _ = words(n_columns=40)
    weight = read_only(np.random.RandomState(1).random_sample(ROWS))
    targets = read_only(np.eye(3)[y] * 0.8 + 0.1)
    start = np.zeros((3, 41))
    spare, dense = (make_design(own, weight) for own in (X, X.toarray()))
    fits = [
        fit_multinomial(d, targets, weight, start, 0.5, lasso=lasso)
        for d in (spare, dense)
    ]
    assert fits[0][1]
    slopes = [coef[:, :-1] for coef, _ in fits]
    np.testing.assert_allclose(*slopes, atol=1e-4)
    model = ByProducts(spare, targets * weight[:, None])
    values = [model.evaluate(coef)[0] for coef, _ in fits]
    np.testing.assert_allclose(*values, rtol=1e-7)


@pytest.mark.parametrize("exact", [True, False])
def test_mixture_curvature(exact):
    rng = np.random.RandomState(0)
    n, K, C = 7, 3, 4
    proba = rng.dirichlet(np.ones(C), size=(n, K))
    resp, weight = rng.dirichlet(np.ones(K), size=n), rng.random_sample(n)
    codes, logits = rng.randint(C, size=n), rng.normal(size=(n, K, C))
    change, out = rng.normal(size=(n, K)), np.empty((n, K, C))
    expected = naive.mixture_curvature(
        codes, weight, resp, proba, logits, change, exact
    )
    mixture_curvature(
        codes, weight[:, None] * resp, resp, proba, logits, change, exact, out
    )
    np.testing.assert_allclose(out, expected[0])
    if exact:
        np.testing.assert_allclose(change, expected[1])


def problems(tree, classes, **changes):
    """One mixture by passes over dense columns, and by products with sparse ones."""
    X, y, z = words(n_columns=12)
    weight = read_only(np.random.RandomState(1).random_sample(ROWS) + 0.5)
    common = {
        "tree": tree,
        "gate_penalty": Penalty(0.5),
        "expert_penalty": Penalty(2.0),
        **changes,
    }
    target = Labels(read_only(y), np.zeros((0, 3)))
    kinds = LinearCategoricalMixture, WideCategoricalMixture
    if classes:
        common["n_classes"] = 3
    else:
        target, common["floor"] = read_only(z[:, None] / z.std()), 1e-6
        kinds = LinearGaussianMixture, WideGaussianMixture
    made = []
    for kind, own in zip(kinds, (X.toarray(), X), strict=True):
        design = make_design(own, weight)
        made.append(kind(design, design, target, weight, **common))
    return made


TREES = {"flat": flat(3), "tree": Tree(((None, None), None))}


@pytest.mark.parametrize("rule", [{}, {"hard": True}, {"n_active": 2}])
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
@pytest.mark.parametrize("classes", [True, False])
def test_objective_and_steps_are_those_of_the_passes(classes, tree, rule):
    narrow, wide = problems(tree, classes, **rule)
    resp = np.random.RandomState(0).dirichlet(np.ones(3), size=ROWS)
    theta = narrow.start(resp)
    (value, own), (other, statistics) = narrow.evaluate(theta), wide.evaluate(theta)
    assert value == pytest.approx(other, rel=1e-10)
    np.testing.assert_allclose(own.mass, statistics.mass)
    if not classes:
        moved = wide.maximise(theta, statistics)
        np.testing.assert_allclose(moved, narrow.maximise(theta, own), atol=1e-4)
    else:
        moved = wide.maximise(theta, statistics)
        values = [
            wide.evaluate(wide.damp(theta, moved, step))[0] for step in (1e-3, 0.1)
        ]
        assert max(values) > value


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
@pytest.mark.parametrize("shared", [True, False])
def test_slope_and_curvature_are_those_of_the_objective(tree, shared):
    wide = problems(tree, True)[1]
    if not shared:
        wide.gate = wide.gate._replace(X=wide.gate.X.copy())
    rng = np.random.RandomState(0)
    theta = wide.start(rng.dirichlet(np.ones(3), size=ROWS))
    move = wide.pack(
        *(p - p.mean(axis=0) for p in wide.unpack(rng.normal(size=theta.size)))
    )
    if tree.depth > 1:
        move[: tree.n_slots * wide.gate_channels] = 0.0
    h = 1e-5

    def at(step):
        own = theta + step * move
        value, rows = wide.evaluate(own)
        return value, NewtonStep(wide, rows).slope(*wide.unpack(own))

    step = NewtonStep(wide, wide.evaluate(theta)[1])
    slope = (at(h)[0] - at(-h)[0]) / (2 * h) * wide.total_weight
    assert step.slope(*wide.unpack(theta)) @ move == pytest.approx(slope, rel=1e-5)
    curved = (at(-h)[1] - at(h)[1]) / (2 * h)
    np.testing.assert_allclose(step.apply(move, True), curved, rtol=1e-4, atol=1e-4)


CONFIGURATIONS = {
    "classes": (MoEClassifier, {}),
    "constant gate": (MoEClassifier, {"gate": "constant"}),
    "top-1": (MoEClassifier, {"router": 1}),
    "hard": (MoEClassifier, {"trainer": HardEM()}),
    "tree": (HierarchicalMoEClassifier, {}),
    "numbers": (MoERegressor, {"trainer": EM(max_iter=5)}),
    "hard numbers": (MoERegressor, {"trainer": HardEM(max_iter=5)}),
    "rates": (MoERegressor, {"likelihood": "poisson", "trainer": EM(max_iter=5)}),
    "gaussian gate": (MoERegressor, {"gate": "gaussian", "trainer": EM(max_refits=5)}),
}


@pytest.mark.filterwarnings("ignore:Expert .* lost its rows")
@pytest.mark.filterwarnings("ignore:.*EM stopped after")
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_sparse_columns_give_the_model_of_dense_ones(name):
    kind, params = CONFIGURATIONS[name]
    X, y, z = words(n_columns=210)
    if kind is MoERegressor:
        y = np.abs(z).round() if name == "rates" else z
    own = {} if kind is HierarchicalMoEClassifier else {"n_experts": 2}
    # Evidence is asked by random probes where there are products only.
    fixed = {"experts": LinearExpert(alpha=1.0), "gate": SoftmaxGate(alpha=0.1)}
    model = kind(random_state=0, **own, **{**fixed, **params})
    spare, dense = clone(model).fit(X, y), clone(model).fit(X.toarray(), y)
    method = "predict" if kind is MoERegressor else "predict_proba"
    answers = getattr(spare, method)(X)
    tol = 1e-3 if name == "rates" else 1e-6
    scale = max(1.0, np.abs(answers).max())
    assert np.abs(answers - getattr(dense, method)(X.toarray())).max() < tol * scale
    np.testing.assert_allclose(answers, getattr(spare, method)(X.toarray()), rtol=1e-8)


def test_wide_fits_do_not_depend_on_threads_units_or_repetition():
    X, y, _ = words(n_columns=150)
    model = MoEClassifier(n_experts=2, trainer=EM(tol=1e-10), random_state=0)
    proba = clone(model).fit(X, y).predict_proba(X)
    threads = clone(model).set_params(n_jobs=2).fit(X, y)
    assert np.array_equal(threads.predict_proba(X), proba)
    units = sparse.csr_array(X * np.logspace(-3, 3, 150))
    np.testing.assert_allclose(
        clone(model).fit(units, y).predict_proba(units), proba, atol=1e-6
    )
    weight = np.random.RandomState(0).randint(0, 3, size=ROWS)
    again = np.repeat(np.arange(ROWS), weight)
    weighed = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(X[again], y[again])
    assert weighed.lower_bounds_[-1] == pytest.approx(
        repeated.lower_bounds_[-1], abs=1e-7
    )
    np.testing.assert_allclose(
        weighed.predict_proba(X), repeated.predict_proba(X), atol=1e-3
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_wide_classes_converge_in_few_steps(n_classes):
    """Hundreds of iterations before, each with systems of C p coefficients."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(150, 220))
    side = (X[:, 0] > 0).astype(int)
    slopes = rng.normal(size=(2, 10, n_classes))
    y = np.einsum("np,npc->nc", X[:, :10], slopes[side]).argmax(axis=1)
    fixed = {"experts": LinearExpert(alpha=1.0), "gate": SoftmaxGate(alpha=0.1)}
    model = MoEClassifier(n_experts=2, **fixed, random_state=0).fit(X, y)
    assert model.converged_
    assert model.n_iter_ < 50
    optimum = clone(model).set_params(trainer=EM(tol=1e-12)).fit(X, y)
    assert model.lower_bounds_[-1] > optimum.lower_bounds_[-1] - 1e-4


def test_columns_without_spread_have_no_coefficients():
    X, y, z = words(n_columns=230)
    X = sparse.csr_array(
        sparse.hstack([X[:, :-2], np.full((ROWS, 1), 0.1), 0 * X[:, :1]])
    )
    for model, target in (
        (MoEClassifier(n_experts=2), y),
        (MoERegressor(n_experts=2), z),
    ):
        model.fit(X, target)
        assert not np.any(model.gate_.coef_[:, -2:])
        for expert in model.experts_:
            assert not np.any(np.atleast_2d(expert.coef_)[:, -2:])


@pytest.mark.filterwarnings("ignore:.*EM stopped after")
@pytest.mark.filterwarnings("ignore:Expert .* lost its rows")
@pytest.mark.filterwarnings("ignore:.* are matched exactly")
def test_very_wide_sparse_columns_stay_sparse(monkeypatch):
    rng = np.random.RandomState(0)
    n, p, stored = 1500, 10_000, 30_000
    places = (
        rng.randint(n, size=stored),
        (p * rng.random_sample(stored) ** 2).astype(int),
    )
    X = sparse.csr_array((np.ones(stored), places), shape=(n, p))
    z = X[:, :200].sum(axis=1) - X[:, 200:400].sum(axis=1)

    def refused(*args, **kwargs):
        raise AssertionError("made dense")

    monkeypatch.setattr(sparse.csr_array, "toarray", refused)
    trainer = EM(max_iter=2, short_iter=1)
    kinds = (MoEClassifier, z > 0), (MoERegressor, z)
    for kind, y in kinds:
        # What is imported and compiled takes memory only once.
        kind(n_experts=2, trainer=trainer, random_state=0).fit(X, y)
    tracemalloc.start()
    try:
        for kind, y in kinds:
            model = kind(n_experts=2, trainer=trainer, random_state=0)
            model.fit(X, y)
            assert np.isfinite(model.predict(X)).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        # All later tests would be slow.
        tracemalloc.stop()
    assert peak < 0.25 * n * p * 8


def test_principal_axes_span_what_varies():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 500)) + 1e-3 * rng.normal(
        size=(80, 500)
    )
    weight = rng.randint(1, 3, size=80).astype(float)
    design = make_design(X, weight)
    points = linear(design, principal_axes(design, weight, 3))
    Z = dense_rows(design)
    assert np.sum(points**2) > 0.999 * np.sum(Z**2)
    again = np.repeat(np.arange(80), weight.astype(int))
    repeated = make_design(X[again], np.ones(len(again)))
    others = linear(repeated, principal_axes(repeated, np.ones(len(again)), 3))
    np.testing.assert_allclose(others, points[again], atol=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_linear_parts_alone_read_sparse_columns(l1_ratio):
    X, y, z = words(n_columns=30)
    model = LinearExpert(alpha=1.0, l1_ratio=l1_ratio)
    for own, target in ((model, z), (model.for_classes(), y)):
        spare, dense = clone(own).fit(X, target), clone(own).fit(X.toarray(), target)
        np.testing.assert_allclose(spare.coef_, dense.coef_, atol=1e-3)
    resp = np.eye(3)[y] * 0.8 + 0.2 / 3
    gates = [SoftmaxGate(alpha=1.0).fit(own, resp) for own in (X, X.toarray())]
    np.testing.assert_allclose(gates[0].coef_, gates[1].coef_, atol=1e-3)


# -- lasso -----------------------------------------------------------------------


@pytest.mark.parametrize("lasso", [1e-5, 1e-2, 1.0])
@pytest.mark.parametrize("rows", [3, 40])
def test_lasso_solves_degenerate_systems(rows, lasso):
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.normal(size=(rows, 60)), np.ones(rows)])
    X[:, 1] = X[:, 0] + 1e-6 * X[:, 1]
    matrix, right = X.T @ X, X.T @ rng.normal(size=rows)
    coef = solve_lasso(matrix, right[None], lasso, np.zeros((1, 61)))[0]
    slope = right - matrix @ coef
    size = 1e-6 * np.abs(right).max() * max(lasso, 1e-3)
    assert (np.abs(slope[:-1]) <= lasso + size).all()
    live = np.flatnonzero(coef[:-1])
    np.testing.assert_allclose(slope[live], lasso * np.sign(coef[live]), atol=size)
    assert abs(slope[-1]) <= size


@pytest.mark.filterwarnings("ignore:.* are matched exactly")
def test_lasso_of_more_columns_than_rows_is_quick(monkeypatch):
    """Ten thousand sweeps in each of ten thousand steps before."""
    calls, solve = [], _linalg.coordinate_descent

    def counted(*args):
        calls.append(solve(*args))
        return calls[-1]

    monkeypatch.setattr(_linalg, "coordinate_descent", counted)
    rng = np.random.RandomState(0)
    X = rng.normal(size=(40, 60))
    Y = X[:, :2] @ rng.normal(size=(2, 2)) + 0.3 * rng.normal(size=(40, 2))
    for trainer in (HardEM(), EM()):
        MoERegressor(
            LinearExpert(l1_ratio=1),
            n_experts=1,
            likelihood=Gaussian(covariance="full"),
            trainer=trainer,
        ).fit(X, Y)
    assert sum(calls) < 50_000
