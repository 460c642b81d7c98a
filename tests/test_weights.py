"""Weights of any size, and what they mean beside penalties."""

import warnings

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import GaussianGate, SoftmaxGate
from skmoe.model_selection import MoERegressorCV
from skmoe.trainers import EM, Gradient, TwoStage

FREE = LinearExpert(alpha=0)


def one_hot_rows(n=160):
    """Two regimes; the columns are those of a one-hot table beside two numbers."""
    rng = np.random.RandomState(0)
    level = rng.randint(4, size=n)
    X = np.column_stack([rng.normal(size=(n, 2)), np.eye(4)[level]])
    y = np.where(X[:, 0] > 0, 2.0 * X[:, 1], level - X[:, 1])
    return X, y + 0.1 * rng.normal(size=n)


MODELS = {
    "default": MoERegressor(n_experts=2),
    "no penalty": MoERegressor(experts=FREE, gate=SoftmaxGate(alpha=0)),
    "gaussian gate": MoERegressor(gate=GaussianGate(), n_experts=2),
    "mlp": MoERegressor(experts=MLPExpert((3,), max_iter=5), n_experts=2),
    "laplace": MoERegressor(likelihood="laplace", trainer=EM(max_iter=20), n_experts=2),
    "gradient": MoERegressor(trainer=Gradient(max_epochs=2), n_experts=2),
    "two stages": MoERegressor(experts=[LinearExpert(), FREE], trainer=TwoStage(cv=2)),
    "nested": MoERegressor(
        experts=[("in", MoERegressor(n_experts=2)), ("out", FREE)],
        trainer=EM(max_iter=5, max_refits=2),
    ),
    "tree": HierarchicalMoERegressor(branching=(2, 2)),
    "growth": HierarchicalMoERegressor(branching="grow", max_leaf_nodes=3),
    "classes": MoEClassifier(n_experts=2),
}


def answers(model, X):
    """What the model says of its training rows."""
    return getattr(model, "predict_proba", model.predict)(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_negligible_weights_are_none(name):
    model = MODELS[name].set_params(random_state=0)
    X, y = one_hot_rows()
    y = y > 1.0 if name == "classes" else y
    # A level that only rows of hardly any weight have.
    light = X[:, -1] == 1.0
    expected = answers(model.fit(X, y, np.where(light, 0.0, 1.0)), X)
    total = model.log_likelihood_
    for tiny in (1e-80, 1e-300):
        model.fit(X, y, np.where(light, tiny, 1.0))
        assert np.array_equal(answers(model, X), expected)
        assert model.log_likelihood_ == total


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [1e-300, 1e300, None])
def test_weights_of_any_size_make_a_model(name, size):
    X, y = one_hot_rows()
    y = y > 1.0 if name == "classes" else y
    model = MODELS[name].set_params(random_state=0)
    rng = np.random.RandomState(0)
    weight = 10.0 ** rng.uniform(-300, 300, len(y)) if size is None else size
    model.fit(X, y, np.broadcast_to(weight, len(y)))
    assert np.isfinite(answers(model, X)).all()
    assert np.isfinite(model.log_likelihood_)


def test_heavy_weights_switch_penalties_off():
    X, y = one_hot_rows()
    heavy = MoERegressor(n_experts=2, random_state=0).fit(
        X[:, :3], y, np.full(len(y), 1e200)
    )
    free = MoERegressor(
        n_experts=2, experts=FREE, gate=SoftmaxGate(alpha=0), random_state=0
    )
    free.fit(X[:, :3], y)
    np.testing.assert_allclose(heavy.predict(X[:, :3]), free.predict(X[:, :3]), 1e-3)
    ratio = heavy.log_likelihood_ / free.log_likelihood_
    np.testing.assert_allclose(ratio, 1e200, 1e-6)


@pytest.mark.filterwarnings("ignore")
def test_experts_that_need_more_rows_than_they_get_keep_what_they_had():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + 0.01 * rng.normal(size=60)
    y[:3] += 50.0
    experts = [FREE, MoERegressor(n_experts=4), KNeighborsRegressor(8)]
    model = MoERegressor(experts, trainer=EM(max_refits=3), random_state=0)
    assert np.isfinite(model.fit(X, y).predict(X)).all()


def test_weights_that_sum_to_one_are_told_of():
    X, y = one_hot_rows()
    share = np.full(len(y), 1.0 / len(y))
    with pytest.warns(UserWarning, match="sums to 1 for 160 rows.*smaller alpha"):
        MoERegressor(random_state=0, n_experts=2).fit(X, y, share)
    with pytest.warns(UserWarning, match="outweigh the data"):
        HierarchicalMoERegressor(random_state=0).fit(X, y, share)


@pytest.mark.parametrize(
    ("model", "mean"),
    [
        (MoERegressor(n_experts=2), 0.5),
        (MoERegressor(n_experts=2), 4.0),
        (MoERegressor(experts=FREE, gate="constant"), 1e-6),
        (MoERegressor(trainer=Gradient(max_epochs=2), n_experts=2), 1e-6),
    ],
)
def test_weights_that_serve_are_not_told_of(model, mean):
    X, y = one_hot_rows()
    model.set_params(random_state=0).fit(X[:, :2], y, np.full(len(y), mean))


@pytest.mark.parametrize("criterion", ["bic", "icl", "aic"])
def test_relative_weights_turn_no_penalty_into_a_reward(criterion):
    rng = np.random.RandomState(0)
    x = rng.uniform(-2, 2, size=(200, 1))
    y = 1 + x[:, 0] + 0.4 * rng.normal(size=200)
    model = MoERegressor(LinearExpert(alpha=0), random_state=0, n_experts=2)
    search = MoERegressorCV(model, criterion=criterion, n_experts=(1, 2))
    expected = search.fit(x, y).cv_results_["mean_test_score"]
    for total in (1.0, 0.5, 1e-80):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.fit(x, y, sample_weight=np.full(200, total / 200))
        assert search.n_experts_ == 1
        # Those of more experts have a gate, whose penalty counts in rows.
        found = search.cv_results_["mean_test_score"]
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:sample_weight sums to")
def test_growth_counts_relative_weights_as_rows():
    rng = np.random.RandomState(0)
    x = rng.uniform(-2, 2, size=(200, 1))
    y = 1 + x[:, 0] + 0.4 * rng.normal(size=200)
    tree = HierarchicalMoERegressor(
        LinearExpert(alpha=0), "grow", criterion="bic", random_state=0
    )
    for total in (200.0, 1.0):
        assert tree.fit(x, y, np.full(200, total / 200)).n_experts_ == 1
