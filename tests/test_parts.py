"""Gates, routers, experts and starts on their own."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skmoe import MoERegressor, mixture
from skmoe._estimators.members import MembersGate
from skmoe._numerics.linalg import (
    curvature_columns,
    n_pairs,
    newton_direction,
    solve_symmetric,
)
from skmoe._numerics.tree import flat
from skmoe._tables.features import PiecewiseLinear
from skmoe.experts import LinearExpert
from skmoe.experts._foreign import fit_expert
from skmoe.gates import (
    AdditiveGate,
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    GroupGate,
    MLPGate,
    SoftmaxGate,
)
from skmoe.gates._tree import TreeGate
from skmoe.likelihoods import Gaussian
from skmoe.routers import DenseRouter, TopKRouter
from skmoe.testing import check_gate, check_router
from skmoe.trainers import _partitions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)) * [1.0, 5.0, 0.1] + [0.0, 9.0, 1.0]
CODES = (X[:, 0] + RNG.normal(size=200) > 0).astype(int) + (X[:, 1] > 12)


@pytest.mark.parametrize(
    "gate",
    [
        SoftmaxGate(),
        SoftmaxGate(alpha=0),
        GaussianGate(),
        GaussianGate("diag"),
        GaussianGate("tied"),
        ConstantGate(),
        ClassifierGate(LogisticRegression(tol=1e-8)),
    ],
)
def test_gates_keep_the_protocol(gate):
    check_gate(gate)


@pytest.mark.parametrize(
    "gate",
    [
        SoftmaxGate(),
        MLPGate((4,)),
        AdditiveGate(),
        ClassifierGate(LogisticRegression()),
        TreeGate(SoftmaxGate(), flat(2)),
        MembersGate([SoftmaxGate(), MLPGate((4,))]),
    ],
)
def test_a_gate_knows_whether_it_is_constant(gate):
    members = gate.gates if isinstance(gate, MembersGate) else [gate]
    share = 0.2 + 0.6 * (X[:, :1] > 0)
    for given, expected in ((np.full((200, 1), 0.3), True), (share, False)):
        for own in members:
            own.fit(X, np.hstack([given, 1.0 - given]))
        assert gate.is_constant(X) is expected
    assert ConstantGate().fit(X, np.full((200, 2), 0.5)).is_constant()
    assert ConstantGate().fit(X, np.full((200, 2), 0.5)).is_constant(X)


def test_group_gate_keeps_the_protocol():
    check_gate(GroupGate(0, alpha=1.0), X=RNG.integers(0, 3, size=(40, 1)))


@pytest.mark.parametrize(
    "router", [DenseRouter(), TopKRouter(1), TopKRouter(2), TopKRouter(5)]
)
def test_routers_keep_the_protocol(router):
    check_router(router)


@pytest.mark.parametrize("alpha", [0.5, 10.0])
def test_softmax_gate_is_logistic_regression(alpha):
    """With one-hot targets it is scikit-learn's, on standardised columns."""
    Z = StandardScaler().fit_transform(X)
    reference = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=10_000)
    reference.fit(Z, CODES)
    gate = SoftmaxGate(alpha=alpha, tol=0.0).fit(X, np.eye(3)[CODES])
    np.testing.assert_allclose(
        np.exp(gate.predict_log_proba(X)), reference.predict_proba(Z), atol=1e-5
    )
    np.testing.assert_allclose(gate.coef_.sum(axis=0), 0, atol=1e-12)


def test_softmax_gate_on_two_classes_does_not_oscillate():
    """A full block-diagonal step overshoots twofold here (Chen, Xu & Chi 1999)."""
    resp = np.column_stack([CODES == 0, CODES != 0]) * 0.8 + 0.1
    gate = SoftmaxGate(alpha=0, max_iter=12, tol=1e-12).fit(X, resp)
    assert gate.converged_


def test_tied_gaussian_gate_has_linear_boundaries():
    resp = RNG.dirichlet(np.ones(2), size=200)
    gate = GaussianGate("tied", alpha=0).fit(X, resp)
    logit = np.diff(gate.predict_log_proba(X), axis=1)[:, 0]
    design = np.column_stack([X, np.ones(200)])
    fitted = design @ np.linalg.lstsq(design, logit, rcond=None)[0]
    np.testing.assert_allclose(fitted, logit, atol=1e-8)


def test_gaussian_gate_is_scale_free_and_scores_rows():
    resp = RNG.dirichlet(np.ones(2), size=200)
    gate = GaussianGate().fit(X, resp)
    scaled = GaussianGate().fit(X * 1e4, resp)
    np.testing.assert_allclose(
        scaled.predict_log_proba(X * 1e4), gate.predict_log_proba(X), rtol=1e-8
    )
    far = gate.log_marginal(X + 100)
    assert far.max() < gate.log_marginal(X).min()


@pytest.mark.parametrize("outputs", [1, 3])
def test_linear_expert_is_ridge_on_standardised_columns(outputs):
    y = (X @ RNG.normal(size=(3, outputs)) + 1e3).squeeze()
    weight = RNG.random(200)
    ours = LinearExpert(alpha=2.0).fit(X, y, weight)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=2.0))
    theirs.fit(X, y, standardscaler__sample_weight=weight, ridge__sample_weight=weight)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)


@pytest.mark.parametrize("codes", [CODES, np.minimum(CODES, 1)])
def test_linear_classifier_expert_is_logistic_regression(codes):
    Z = StandardScaler().fit_transform(X)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(Z, codes)
    ours = LinearExpert(alpha=2.0).for_classes().fit(X, codes)
    np.testing.assert_allclose(
        ours.predict_proba(X), theirs.predict_proba(Z), atol=1e-4
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(Z))


def test_statistics_of_blocks_add_up():
    from skmoe._numerics.design import make_design, take_rows

    expert, y, ones = LinearExpert(alpha=1.0), X[:, 0] ** 2, np.ones(200)
    design = make_design(X, ones)
    whole = expert.accumulate(design, y, ones)
    parts = [
        expert.accumulate(take_rows(design, rows), y[rows], ones[rows])
        for rows in (slice(0, 70), slice(70, 200))
    ]
    for total, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(first + second, total, rtol=1e-10, atol=1e-9)
    expert.solve(whole, design)
    np.testing.assert_allclose(expert.coef_, LinearExpert(alpha=1.0).fit(X, y).coef_)


def test_singular_systems_get_the_minimum_norm_solution():
    A = np.array([[[2.0, 2.0], [2.0, 2.0]]])
    np.testing.assert_allclose(
        solve_symmetric(A, np.array([[[4.0], [4.0]]]))[0, :, 0], [1.0, 1.0]
    )


@pytest.mark.parametrize("lasso", [0.0, 0.3])
@pytest.mark.parametrize("n_classes", [2, 4, 80])
def test_newton_directions_of_several_experts_are_those_of_each(n_classes, lasso):
    """80 classes of 3 channels are beyond the joint Hessian."""
    m, q = 3, 3
    coef, gradient = RNG.normal(size=(2, m, n_classes, q))
    columns = curvature_columns(n_classes, q)
    factors = RNG.normal(size=(m * columns, q, q))
    blocks = factors @ factors.swapaxes(1, 2)
    grams = blocks[:, *np.tril_indices(q)].T
    assert grams.shape == (n_pairs(q), m * columns)
    # As of any multinomial log-likelihood, slopes of the classes sum to zero.
    gradient -= gradient.mean(axis=1, keepdims=True)
    together = newton_direction(gradient, grams, coef, 0.5, lasso)
    for k in range(m):
        own = grams[:, k * columns : (k + 1) * columns]
        alone = newton_direction(gradient[k], own, coef[k], 0.5, lasso)
        np.testing.assert_allclose(together[k], alone, rtol=1e-9, atol=1e-12)


def test_newton_direction_solves_the_joint_system():
    """Finite differences of the penalised slope along the direction cancel it."""
    n, n_classes, q, alpha = 60, 3, 3, 0.7
    Z = np.column_stack([RNG.normal(size=(n, q - 1)), np.ones(n)])
    labels = np.eye(n_classes)[RNG.integers(n_classes, size=n)]
    coef = 0.1 * RNG.normal(size=(n_classes, q))
    coef -= coef.mean(axis=0)
    penalty = np.array([alpha, alpha, 0.0])

    def proba(coef):
        logits = np.exp(Z @ coef.T)
        return logits / logits.sum(axis=1, keepdims=True)

    def slope(coef):
        return (labels - proba(coef)).T @ Z - penalty * coef

    p = proba(coef)
    pairs = zip(*np.triu_indices(n_classes, 1), strict=True)
    blocks = np.stack([(Z.T * (p[:, k] * p[:, j])) @ Z for k, j in pairs])
    grams = blocks[:, *np.tril_indices(q)].T
    move = newton_direction(slope(coef) + penalty * coef, grams, coef, alpha)
    change = (slope(coef + 1e-5 * move) - slope(coef - 1e-5 * move)) / 2e-5
    np.testing.assert_allclose(change, -slope(coef), rtol=1e-6, atol=1e-6)


def test_classifier_gate_with_one_label():
    resp = np.tile([0.0, 1.0], (20, 1))
    gate = ClassifierGate(DecisionTreeClassifier()).fit(X[:20], resp)
    assert np.exp(gate.predict_log_proba(X[:5]))[:, 1].min() > 0.99


@pytest.mark.parametrize("covariance", ["diag", "spherical", "full"])
@pytest.mark.parametrize("variance", ["expert", "shared"])
def test_gaussian_log_prob_against_scipy(covariance, variance):
    from scipy.stats import multivariate_normal

    y = RNG.normal(size=(50, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]])
    weights = RNG.random((50, 2))
    predictions = [np.zeros((50, 2)), np.ones((50, 2))]
    fitted = Gaussian(variance, covariance).fit_dispersions(y, predictions, weights)
    for likelihood, prediction in zip(fitted, predictions, strict=True):
        matrix = getattr(
            likelihood, "covariance_", np.diag(np.square(likelihood.sigma_))
        )
        expected = multivariate_normal(cov=matrix).logpdf(y - prediction)
        np.testing.assert_allclose(likelihood.log_prob(y, prediction), expected)


def test_ambiguity_decomposition():
    """Error of the mixture = weighted error less disagreement (Krogh & Vedelsby)."""
    g, f = RNG.dirichlet(np.ones(4), size=30), RNG.normal(size=(30, 4, 1))
    y = RNG.normal(size=(30, 1))
    center = mixture.mean(g, f)
    spread = mixture.variance(g, f, np.zeros((4, 1)))
    error = np.einsum("nk,nkd->nd", g, (f - y[:, None]) ** 2)
    np.testing.assert_allclose((center - y) ** 2, error - spread, atol=1e-12)


def test_ramps_are_the_piecewise_linear_encoding():
    x = RNG.normal(size=(300, 2))
    encoder = PiecewiseLinear().fit(x)
    knots = np.quantile(x, np.linspace(0, 1, 9), axis=0)
    low, high = knots[:-1], knots[1:]
    expected = np.clip((x[:, None] - low) / (high - low), 0, 1)
    found = encoder.transform(x).reshape(300, 2, 8)
    np.testing.assert_allclose(found.transpose(0, 2, 1), expected, atol=1e-9)
    beyond = encoder.transform(np.array([[x[:, 0].max() + 1.0, x[0, 1]]]))[0]
    slope = 1 / (high[-1, 0] - low[-1, 0])
    np.testing.assert_allclose(beyond[:8], [1.0] * 7 + [1.0 + slope])


def test_ramps_are_the_same_in_any_unit():
    x = np.random.default_rng(0).normal(size=(100, 2)) + 3.0
    expected = PiecewiseLinear().fit(x).transform(x)
    for unit in (2.0**-500, 2.0**500, 1e-150, 1e150, 1e-310):
        found = PiecewiseLinear().fit(x * unit).transform(x * unit)
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("unit", [0.1, 1e-300, 1e150, 0.0])
def test_a_column_without_spread_has_no_ramps(unit):
    rng = np.random.default_rng(0)
    x = unit * (1.0 + 1e-16 * rng.normal(size=(100, 1)))
    weight = np.ones(100)
    x[:9], weight[:9] = x[:9] + unit, 1e-300
    encoder = PiecewiseLinear().fit(x, sample_weight=weight)
    for value in (unit, -unit, 1.0, -1e6):
        assert not encoder.transform(np.array([[value]])).any()


def test_rounding_makes_no_ramp_steep():
    rng = np.random.default_rng(0)
    cluster = 0.1 * (1.0 + 1e-16 * rng.normal(size=150))
    x = np.append(cluster, rng.uniform(1.0, 2.0, size=50))[:, None]
    found = PiecewiseLinear().fit(x).transform(np.array([[-1.0], [0.1], [3.0]]))
    assert np.abs(found).max() < 20.0
    whole = PiecewiseLinear().fit(np.round(x, 12))
    np.testing.assert_allclose(found, whole.transform([[-1.0], [0.1], [3.0]]))


def test_ramps_of_sparse_columns_are_those_of_dense_ones():
    x = sparse.random_array((60, 3), density=0.3, rng=np.random.default_rng(0))
    expected = PiecewiseLinear().fit(x.toarray()).transform(x.toarray())
    for rows in (x.tocsr(), x.tocsc(), sparse.csr_matrix(x)):
        found = PiecewiseLinear().fit(rows).transform(rows)
        assert np.array_equal(found, expected)
    y = x.toarray().sum(axis=1)
    model = MoERegressor(LinearExpert(), n_experts=1, random_state=0)
    model.set_params(expert_features="piecewise-linear")
    found = model.fit(x.tocsr(), y).predict(x.tocsr())
    np.testing.assert_allclose(found, clone(model).fit(x.toarray(), y).predict(x))


STARTS = {
    "tree": lambda Z, y, w: _partitions.tree_partition(Z, y, w, 3),
    "kmeans": lambda Z, y, w: _partitions.kmeans_partition(Z, w, 3),
    "quantile": lambda Z, y, w: _partitions.quantile_partition(y[:, 0], w, 3),
    "directions": lambda Z, y, w: _partitions.random_start(
        Z, y, w, 3, np.random.RandomState(0)
    ),
    "experts": lambda Z, y, w: _partitions.random_start(
        Z, y, w, 3, np.random.RandomState(1)
    ),
}


@pytest.mark.parametrize("start", STARTS)
def test_starts_are_weight_equivariant(start):
    Z, y = X[:60], X[:60, :1] ** 2 + RNG.normal(size=(60, 1))
    weight = RNG.integers(1, 4, size=60)
    weighted = STARTS[start](Z, y, weight.astype(float))
    rows = np.repeat(np.arange(60), weight)
    repeated = STARTS[start](Z[rows], y[rows], np.ones(len(rows)))
    np.testing.assert_allclose(repeated, weighted[rows], atol=1e-9)
    np.testing.assert_allclose(weighted.sum(axis=1), 1)


def test_content_sample_keeps_copies_together():
    Z, y = RNG.normal(size=(60_000, 2)), RNG.normal(size=(60_000, 1))

    def sample(Z, y, weight):
        return _partitions.content_sample(lambda rows: Z[rows], y, weight)

    rows = sample(Z, y, np.ones(60_000))
    assert 15_000 < len(rows) < 25_000
    both = sample(np.vstack([Z, Z]), np.vstack([y, y]), np.full(120_000, 0.5))
    np.testing.assert_array_equal(both, np.r_[rows, rows + 60_000])
    assert sample(Z[:100], y[:100], np.ones(100)) is None


def test_weights_of_one_are_passed_only_where_they_must_be():
    seen = []

    class Insists(Ridge):
        def fit(self, X, y, sample_weight):
            seen.append(sample_weight)
            return super().fit(X, y, sample_weight)

    class Spies(Ridge):
        def fit(self, X, y, sample_weight=None):
            seen.append(sample_weight)
            return super().fit(X, y, sample_weight)

    X, y = np.eye(4), np.arange(4.0)
    fit_expert(Insists(), X, y, np.ones(4), 0)
    fit_expert(Spies(), X, y, np.array([1.0, 1.0, 1.0, 0.0]), 0)
    fit_expert(Spies(), X, y, np.array([1.0, 2.0, 1.0, 1.0]), 0)
    assert seen[0] is not None
    assert seen[1] is None
    np.testing.assert_array_equal(seen[2], [1.0, 2.0, 1.0, 1.0])
