"""Penalties of linear parts by evidence: what they are, and that EM stays EM."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from records import never_falls
from scipy import sparse
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.linear_model import BayesianRidge

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe._numerics.design import make_design
from skmoe._numerics.evidence import probed, ridge_of_softmax, ridge_of_values
from skmoe._numerics.grams import weighted_grams
from skmoe._numerics.linalg import curvature_columns
from skmoe._numerics.products import gather, linear
from skmoe.datasets import make_regimes
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.model_selection import MoERegressorCV


def table(n=200, p=10, noise=3.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) @ rng.normal(size=(p, p))
    return X, X @ rng.normal(size=p) * 0.3 + rng.normal(size=n) * noise + 7


def bayesian_ridge(X, y, weight=None):
    """scikit-learn's on standardised columns, with flat priors of both precisions."""
    Z = (X - np.average(X, axis=0, weights=weight)) / np.sqrt(
        np.average(
            (X - np.average(X, axis=0, weights=weight)) ** 2, axis=0, weights=weight
        )
    )
    flat = {"alpha_1": 0.0, "alpha_2": 0.0, "lambda_1": 0.0, "lambda_2": 0.0}
    model = BayesianRidge(**flat, tol=1e-12, max_iter=10_000)
    return model.fit(Z, y), Z


@pytest.mark.parametrize(("n", "p"), [(200, 10), (60, 30), (500, 2)])
def test_one_expert_is_bayesian_ridge(n, p):
    X, y = table(n, p)
    rival, Z = bayesian_ridge(X, y)
    alone = LinearExpert(alpha="evidence").fit(X, y)
    model = MoERegressor("linear", n_experts=1).fit(X, y)
    for expert in (alone, model.experts_[0]):
        assert_allclose(expert.alpha_, rival.lambda_ / rival.alpha_, rtol=1e-6)
        assert_allclose(expert.predict(X), rival.predict(Z), rtol=1e-6)
    assert_allclose(model.likelihoods_[0].sigma_, rival.alpha_**-0.5, rtol=1e-6)


def test_weights_count_as_repeated_rows():
    X, y = table(80, 4)
    times = np.random.default_rng(1).integers(0, 4, size=80)
    weighted = LinearExpert().fit(X, y, sample_weight=times.astype(float))
    repeated = LinearExpert().fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    assert_allclose(weighted.alpha_, repeated.alpha_, rtol=1e-9)
    assert_allclose(weighted.effective_, repeated.effective_, rtol=1e-9)


def test_the_ridge_maximises_the_marginal_likelihood():
    """By the density of y with the coefficients integrated out, on a fine grid."""
    X, y = table(40, 5)
    Z, t = (X - X.mean(0)) / X.std(0), y - y.mean()
    design = make_design(X, np.ones(40))
    grams, cross = weighted_grams(design, np.ones((40, 1)), t[:, None])
    found = ridge_of_values(grams[0], cross.T, np.array([t @ t]), 0.0)

    def evidence(ridge):
        covariance = np.eye(40) + Z @ Z.T / ridge
        quadratic = t @ np.linalg.solve(covariance, t)
        variance = quadratic / 40
        return multivariate_normal.logpdf(t, cov=variance * covariance)

    values = [evidence(found.ridge * f) for f in (0.8, 0.97, 1.0, 1.03, 1.25)]
    assert np.argmax(values) == 2


def naive_softmax_ridge(X, resp, coef, ridge):
    """MacKay's update by the whole Hessian of all classes, intercepts among them."""
    Z = np.column_stack([(X - X.mean(0)) / X.std(0), np.ones(len(X))])
    proba, q = softmax(Z @ coef.T, axis=1), Z.shape[1]
    n_classes = len(coef)
    hessian = np.zeros((n_classes * q, n_classes * q))
    for z, p in zip(Z, proba, strict=True):
        hessian += np.kron(np.diag(p) - np.outer(p, p), np.outer(z, z))
    free = np.tile(np.r_[np.ones(q - 1), 0.0], n_classes)
    inverse = np.linalg.pinv(hessian + np.diag(ridge * free), hermitian=True)
    slopes = free > 0
    # A shift that all classes share has the prior alone.
    n_free = (n_classes - 1) * (q - 1)
    shift = (q - 1) / ridge
    effective = n_free - ridge * (np.trace(inverse[slopes][:, slopes]) - shift)
    return effective / np.sum(coef[:, :-1] ** 2), effective


def test_a_gate_alone_stops_where_its_evidence_has_its_maximum():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    resp = softmax(X @ rng.normal(size=(3, 3)), axis=1)
    resp = np.eye(3)[[rng.choice(3, p=own) for own in resp]]
    gate = SoftmaxGate(alpha="evidence").fit(X, resp)
    coef = np.column_stack([gate.coef_ * X.std(0), gate.intercept_])
    coef[:, -1] += gate.coef_ @ X.mean(0)
    ridge, effective = naive_softmax_ridge(X, resp, coef, gate.alpha_)
    assert_allclose(gate.alpha_, ridge, rtol=1e-4)
    assert_allclose(gate.effective_, effective, rtol=1e-4)


def test_products_tell_about_what_matrices_tell():
    X, y = table(400, 20, noise=10.0)
    t, design = y - y.mean(), make_design(X, np.ones(400))
    grams, cross = weighted_grams(design, np.ones((400, 1)), t[:, None])
    exact = ridge_of_values(grams[0], cross.T, np.array([t @ t]), 0.0)
    ridge, coef = 1.0, None
    for _ in range(20):
        matrix = grams[0] + ridge * np.diag(np.r_[np.ones(20), 0.0])
        coef = np.linalg.solve(matrix, cross[0])[None]
        rest = t - linear(design, coef)[:, 0]
        paid = ridge * np.sum(coef[0, :-1] ** 2)
        variance = (rest @ rest + paid) / 400

        def apply(move):
            return gather(design, linear(design, move))

        ridge = probed(apply, 400.0, ridge, coef, variance).ridge
    assert 0.5 < ridge / exact.ridge < 2.0


ESTIMATORS = [
    MoERegressor(n_experts=3, random_state=0),
    MoERegressor(n_experts=3, gate="gaussian", random_state=0),
    MoERegressor(n_experts=2, likelihood="student-t", random_state=0),
    MoEClassifier(n_experts=2, random_state=0),
    MoEClassifier(n_experts=2, gate="gaussian", random_state=0),
    HierarchicalMoERegressor(random_state=0),
    HierarchicalMoEClassifier(random_state=0),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("model", ESTIMATORS, ids=repr)
def test_the_objective_rises_between_two_choices_of_penalties(model):
    X, y = make_regimes(n_samples=400, noise=0.5, random_state=0)
    labels = (y > np.median(y)).astype(int)
    classify = isinstance(model, (MoEClassifier, HierarchicalMoEClassifier))
    model = clone(model).fit(X, labels if classify else y)
    assert model.history_["renewed"]
    assert never_falls(model)
    gates = model.gate_.nodes()
    assert all(e.alpha_ > 0 and np.isfinite(e.alpha_) for e in model.experts_)
    assert all(np.isfinite(g.intercept_).all() for g in gates if hasattr(g, "coef_"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_noise_leaves_next_to_no_coefficient():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 30)), rng.normal(size=150)
    labels = (y > 0).astype(int)
    expert = LinearExpert().fit(X, y)
    assert expert.effective_ < 5.0
    model = MoEClassifier("linear", n_experts=3, random_state=0).fit(X, labels)
    fresh = rng.normal(size=(2000, 30))
    truth = rng.integers(0, 2, size=2000)
    proba = model.predict_proba(fresh)[np.arange(2000), truth]
    assert -np.log(proba).mean() < np.log(2.0) * 1.05


def test_parameters_are_counted_by_what_penalties_leave():
    X, y = table(60, 30)
    chosen = MoERegressor(LinearExpert(), n_experts=1).fit(X, y)
    fixed = MoERegressor(LinearExpert(alpha=1.0), n_experts=1).fit(X, y)
    expert = chosen.experts_[0]
    assert fixed.n_parameters_ == 32
    assert_allclose(chosen.n_parameters_, expert.effective_ + 2, rtol=1e-12)
    assert chosen.n_parameters_ < fixed.n_parameters_


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("columns", [30, 300])
def test_sparse_and_dense_columns_choose_about_the_same(columns):
    rng = np.random.default_rng(0)
    X = sparse.random(600, columns, 0.2, random_state=0, format="csr")
    y = X[:, :5] @ rng.normal(size=5) * 5 + rng.normal(size=600)
    given = sparse.csr_array(X)
    fits = [
        MoERegressor(LinearExpert(), n_experts=1).fit(own, y)
        for own in (given, given.toarray())
    ]
    alphas = [fit.experts_[0].alpha_ for fit in fits]
    assert 1 / 3 < alphas[0] / alphas[1] < 3.0
    assert_allclose(fits[0].predict(given), fits[1].predict(given.toarray()), atol=0.3)


def test_a_warm_start_goes_on_with_the_penalties():
    X, y = make_regimes(n_samples=400, noise=0.5, random_state=0)
    model = MoERegressor(n_experts=2, warm_start=True, random_state=0).fit(X, y)
    before = [e.alpha_ for e in model.experts_], model.gate_.alpha_
    bound = model.lower_bounds_[-1]
    model.fit(X, y)
    after = [e.alpha_ for e in model.experts_], model.gate_.alpha_
    assert_allclose(after[0], before[0], rtol=0.2)
    assert_allclose(after[1], before[1], rtol=0.2)
    assert model.lower_bounds_[0] >= bound - 1e-3


def test_a_second_fit_of_a_part_begins_anew():
    X, y = table(100, 5)
    other, z = table(100, 5, noise=50.0, seed=3)
    expert = LinearExpert().fit(X, y)
    again = LinearExpert().fit(other, z).fit(X, y)
    assert again.alpha_ == expert.alpha_


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_searches_and_members_choose_their_own():
    X, y = make_regimes(n_samples=300, noise=0.5, random_state=0)
    model = MoERegressor(n_experts=2, n_members=2, random_state=0).fit(X, y)
    assert len({e.alpha_ for e in model.experts_}) > 1
    search = MoERegressorCV(
        MoERegressor(random_state=0), n_experts=[1, 2], criterion="bic"
    )
    search.fit(X, y)
    assert search.n_experts_ == 2


@pytest.mark.parametrize("part", [LinearExpert, SoftmaxGate])
def test_what_is_no_penalty_is_refused(part):
    with pytest.raises(ValueError, match="alpha='proof', but expected 'evidence'"):
        part(alpha="proof").check()


def test_penalties_that_are_given_stay():
    X, y = make_regimes(n_samples=300, noise=0.5, random_state=0)
    gate = SoftmaxGate(alpha=0.1)
    model = MoERegressor(LinearExpert(alpha=1.0), n_experts=2, gate=gate).fit(X, y)
    assert [e.alpha_ for e in model.experts_] == [1.0, 1.0]
    assert model.gate_.alpha_ == 0.1
    assert not model.history_["renewed"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_trainers_by_gradient_take_the_fixed_penalties():
    X, y = make_regimes(n_samples=200, noise=0.5, random_state=0)
    own = {"n_experts": 2, "trainer": "gradient", "random_state": 0}
    chosen = MoERegressor(**own).fit(X, y)
    gate = SoftmaxGate(alpha=0.1)
    fixed = MoERegressor(LinearExpert(alpha=1.0), gate=gate, **own).fit(X, y)
    assert_allclose(chosen.predict(X), fixed.predict(X))


def test_a_lasso_is_not_chosen_by_evidence():
    X, y = table(100, 5)
    lasso = LinearExpert(l1_ratio=0.5).fit(X, y)
    assert lasso.alpha_ == 1.0
    assert_allclose(lasso.coef_, LinearExpert(alpha=1.0, l1_ratio=0.5).fit(X, y).coef_)


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e-305, 5e-324, 0.0])
@pytest.mark.parametrize("n_classes", [2, 4, 12])
def test_curvature_that_vanishes_chooses_nothing(n_classes, size):
    # Saturated weights leave curvatures beyond the inverse of any number.
    rng = np.random.default_rng(0)
    channels = 5
    columns = curvature_columns(n_classes, channels)
    factors = rng.normal(size=(columns, 3 * channels, channels))
    grams = np.einsum("bri,brj->bij", factors, factors) * size
    pairs = np.tril_indices(channels)
    packed = grams[:, pairs[0], pairs[1]].T
    chosen = ridge_of_softmax(packed, rng.normal(size=(n_classes, channels)), 1.0)
    assert chosen is None or np.isfinite(chosen).all()
    assert (chosen is None) == (size < 1e-290)
