"""A fit is finite, or refused: parts without rows, extreme log-weights, odd experts."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from skmoe import HierarchicalMoEClassifier, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, ConstantGate, GaussianGate, GroupGate
from skmoe.gates._base import BaseGate
from skmoe.likelihoods import Categorical
from skmoe.routers import (
    BalancedRouter,
    BudgetRouter,
    ExpertChoiceRouter,
    HashRouter,
    TopKRouter,
)
from skmoe.trainers import EM, Gradient, HardEM, TwoStage

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
    "ignore::skmoe.exceptions.NoSampleWeightWarning",
)
TRAINERS = {
    "em": EM(max_iter=10, max_refits=3),
    "hard-em": HardEM(max_iter=10, max_refits=3),
    "gradient": Gradient(max_epochs=3),
    "two-stage": TwoStage(cv=2, gate_cv=2, max_iter=10),
}
ROUTERS = {
    "dense": None,
    "top-1": TopKRouter(1, training="sparse"),
    "balanced": BalancedRouter(),
    "choice": ExpertChoiceRouter(),
    "budget": BudgetRouter(),
    "hash": HashRouter(2),
}


def rows(n_rows=60, seed=0):
    """Two regimes with noise; a column of zeros and one of groups come last."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4))
    y = np.where(X[:, 0] > 0, X[:, 1], -X[:, 1]) + 0.1 * rng.normal(size=n_rows)
    X[:, 2], X[:, 3] = 0.0, rng.integers(0, 3, n_rows)
    return X, y


def check_finite(model, X):
    """Require numbers of all that the model says of rows."""
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.log_likelihood_)
    assert np.isfinite(model.lower_bounds_).all()


@pytest.mark.parametrize("gate", ["wide", "group", "constant column"])
@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("trainer", ["em", "hard-em", "two-stage"])
def test_gates_under_routers_are_finite(trainer, router, gate):
    """Joint log-weights of a Gaussian gate may be far below those of any double."""
    X, y = rows()
    weight = np.where(np.arange(len(y)) % 3 == 0, 0.0, 1.0)
    gates = {
        "wide": GaussianGate(alpha=1e-6),
        "group": GroupGate(3),
        "constant column": ConstantGate(),
    }
    if gate == "wide":
        X = np.hstack([X, np.random.default_rng(1).normal(size=(len(X), 60))])
    model = MoERegressor(
        [LinearExpert(), LinearExpert(alpha=5.0), LinearExpert(alpha=50.0)],
        gate=gates[gate],
        gate_features=[2] if gate == "constant column" else None,
        expert_features=[0, 1],
        router=ROUTERS[router],
        trainer=TRAINERS[trainer],
        random_state=0,
    )
    if (trainer, router) == ("two-stage", "balanced"):
        # Two stages dispatch no row, so that there is nothing to balance.
        with pytest.raises(ValueError, match=r"TwoStage got router=BalancedRouter\(\)"):
            model.fit(X, y, sample_weight=weight)
        return
    check_finite(model.fit(X, y, sample_weight=weight), X)


@pytest.mark.parametrize("router", ["dense", "top-1", "balanced", "hash"])
def test_constant_gate_column_by_gradient(router):
    X, y = rows()
    model = MoERegressor(
        n_experts=3,
        gate_features=[2],
        router=ROUTERS[router],
        trainer=TRAINERS["gradient"],
        random_state=0,
    ).fit(X, y)
    check_finite(model, X)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("covariance", ["full", "diag", "tied"])
def test_gaussian_gate_without_spread_or_rows(covariance, alpha):
    """Collinear and constant columns; experts with no row, one row, a hint of one."""
    X, _ = rows()
    X = np.column_stack([X, X[:, 0] * 1e8])
    resp = np.zeros((len(X), 5))
    resp[:, 0], resp[1, 1], resp[2, 2] = 1.0, 1.0, 1e-300
    resp[30:, 4] = 0.5
    gate = GaussianGate(covariance, alpha=alpha).fit(X, resp)
    log_proba = gate.predict_log_proba(X)
    assert np.isfinite(log_proba).all()
    assert np.isfinite(gate.penalty())
    np.testing.assert_allclose(np.exp(log_proba).sum(axis=1), 1.0)
    empty = GaussianGate(covariance, alpha=alpha).fit(X, np.zeros((len(X), 2)))
    np.testing.assert_allclose(np.exp(empty.predict_log_proba(X)), 0.5)


def test_balanced_assignment_of_impossible_experts():
    log_gate = np.full((6, 3), -np.inf)
    log_gate[:, 0] = 0.0
    routing = BalancedRouter().route(log_gate, training=True)
    np.testing.assert_array_equal(routing.load, 2)
    assert np.isfinite(routing.weights).all()


def test_joint_and_conditional_weights_train_alike():
    """Balanced shares compare weights given x: a density of x must change nothing."""
    X, y = rows()
    model = MoERegressor(
        n_experts=3, gate=GaussianGate("tied"), router=ExpertChoiceRouter(1.0)
    ).fit(X[:, :2], y)
    shifted = clone(model).fit(X[:, :2] * [1e-6, 1e6] + [0.0, 10.0], y)
    np.testing.assert_allclose(shifted.expert_load_, model.expert_load_, atol=1e-6)


def test_rows_of_a_classifier_in_single_precision_sum_to_one():
    X, _ = rows()
    X = X.astype(np.float32)
    resp = np.random.default_rng(0).dirichlet(np.ones(3), size=len(X))
    gate = ClassifierGate(LogisticRegression()).fit(X, resp)
    total = np.exp(gate.predict_log_proba(X)).sum(axis=1)
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_groups_in_a_sparse_column(kind):
    X, y = rows()
    model = MoEClassifier(gate=GroupGate(3), n_experts=2, random_state=0)
    dense = clone(model).fit(X, y > 0).gate_proba(X)
    np.testing.assert_allclose(model.fit(kind(X), y > 0).gate_proba(kind(X)), dense)


@pytest.mark.filterwarnings("ignore:sample_weight sums")
def test_probabilities_that_underflow_are_not_impossible():
    log_prob = Categorical().log_prob(np.array([0]), np.array([[0.0, 1.0]]))
    assert np.isfinite(log_prob).all()
    X, y = rows()
    weight = np.full(len(y), 1e-12)
    weight[0] = 1.0
    model = MoEClassifier(LinearExpert(alpha=0), n_experts=2, n_members=2)
    model.fit(X, y > 0, sample_weight=weight)
    assert np.isfinite(model.log_likelihood_)


class Undecided(RegressorMixin, ClassifierMixin, BaseEstimator):
    """Answers NaN."""

    def fit(self, X, y, sample_weight=None):
        self.classes_, self.width_ = np.unique(y), np.shape(y)[1:]
        return self

    def predict(self, X):
        return np.full((len(X), *self.width_), np.nan)

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), np.nan)


class NoWeights(BaseGate):
    """Ends with shares that are no numbers, though its answers are."""

    def fit(self, X, resp, sample_weight=None):
        self.shares_ = np.full(resp.shape[1], np.nan)
        return self

    def predict_log_proba(self, X):
        return np.full((len(X), len(self.shares_)), -np.log(len(self.shares_)))


@pytest.mark.parametrize("kind", [MoERegressor, MoEClassifier])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_is_not_finite_is_refused(trainer, kind):
    """The earlier model stays, whatever the trainer."""
    X, y = rows()
    y = y if kind is MoERegressor else (y > 0).astype(int)
    model = kind(n_experts=2, random_state=0).fit(X, y)
    before = model.predict(X)
    own = [("line", LinearExpert()), ("odd", Undecided())]
    model.set_params(experts=own, trainer=TRAINERS[trainer])
    with pytest.raises(ValueError, match="finite|NaN|diverged"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("n_experts", [1, 3])
@pytest.mark.parametrize("trainer", ["em", "hard-em"])
def test_an_expert_whose_load_is_no_number_is_not_removed(trainer, n_experts):
    X, y = rows()
    model = MoEClassifier(Undecided(), n_experts, trainer=TRAINERS[trainer])
    with pytest.raises(ValueError, match="Undecided.* answers .*NaN"):
        model.fit(X, y > 0)


def test_a_gate_that_is_not_finite_is_named():
    X, y = rows()
    model = MoERegressor(n_experts=3, gate=NoWeights(), trainer=TRAINERS["em"])
    with pytest.raises(ValueError, match="shares_ of the gate is not finite"):
        model.fit(X, y)


def test_errors_of_other_libraries_name_the_part():
    X, y = rows()
    crowd = MoERegressor(KNeighborsRegressor(61), n_experts=3, trainer="hard-em")
    with pytest.raises(ValueError, match=r"KNeighborsRegressor.* could not predict"):
        crowd.fit(X, y)
    two = np.column_stack([y, y])
    zero = DummyRegressor(strategy="constant", constant=0.0)
    with pytest.raises(ValueError, match="DummyRegressor.* could not be fitted"):
        MoERegressor([zero, Ridge()]).fit(X, two)
    lone = MoEClassifier(LogisticRegression(), n_experts=2)
    with pytest.raises(ValueError, match="LogisticRegression.* could not be fitted"):
        lone.fit(X, np.zeros(len(y)))


def test_leaves_of_one_class_are_not_split():
    """Logistic regression refuses rows of one class, which have nothing to tell."""
    X, _ = rows(40)
    y = np.zeros(len(X), dtype=int)
    y[:3] = 1
    model = HierarchicalMoEClassifier(
        LogisticRegression(), branching="grow", max_leaf_nodes=2, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


@pytest.mark.parametrize("likelihood", ["gamma", "student-t", "poisson", "binomial"])
def test_experts_that_start_without_rows(likelihood):
    """A hash may give an expert no row at all."""
    rng = np.random.default_rng(0)
    X = np.full((40, 2), 0.3)
    y = rng.gamma(2.0, size=40) if likelihood == "gamma" else rng.integers(0, 2, 40)
    model = MoERegressor(
        n_experts=4, router=HashRouter(2), likelihood=likelihood, random_state=0
    ).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
