"""What must hold for every combination of gate, router and trainer."""

import warnings

import numpy as np
import pytest
from records import never_falls
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.gates import (
    AdditiveGate,
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    SoftmaxGate,
)
from skmoe.routers import BudgetRouter, DenseRouter, TopKRouter
from skmoe.trainers import EM, HardEM

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)

GATES = {
    "softmax": SoftmaxGate(),
    "gaussian": GaussianGate(),
    "constant": ConstantGate(),
    "classifier": ClassifierGate(LogisticRegression(tol=1e-10)),
    # By evidence the objective changes with the penalties.
    "additive": AdditiveGate(8, alpha=1.0),
}
ROUTERS = {
    "dense": None,
    "top-2": TopKRouter(2),
    "top-2-sparse": TopKRouter(2, training="sparse"),
    "budget": BudgetRouter(),
}
TRAINERS = {"em": EM(max_refits=8), "hard-em": HardEM(max_refits=8)}
EXPERTS = {
    "linear": LinearExpert(),
    "ridge": Ridge(),
    # By evidence each fit ends where its penalties move little.
    "additive": AdditiveExpert(8, alpha=1.0),
    "tree": DecisionTreeRegressor(
        max_depth=3, min_weight_fraction_leaf=0.05, random_state=0
    ),
}

GRID = [(g, r, t) for g in GATES for r in ROUTERS for t in TRAINERS]

# The invariants that a combination is declared to satisfy.  A gate that is fitted by
# a foreign classifier, or an expert that is, maximises its own loss and not the
# objective of the mixture, so EM keeps the best iterate but proves nothing more.
MONOTONE = [(g, r, t) for g, r, t in GRID if g != "classifier"]


def mixture(gate, router, trainer, expert="linear", **more):
    arguments = {
        "n_experts": 3,
        "gate": clone(GATES[gate]),
        "router": None if ROUTERS[router] is None else clone(ROUTERS[router]),
        "trainer": clone(TRAINERS[trainer]),
        "random_state": 0,
        **more,
    }
    return MoERegressor(clone(EXPERTS[expert]), **arguments)


@pytest.mark.parametrize(("gate", "router", "trainer"), MONOTONE)
def test_objective_never_falls(regression, gate, router, trainer):
    model = mixture(gate, router, trainer).fit(*regression)
    assert never_falls(model)


@pytest.mark.parametrize("gate", ["softmax", "gaussian", "constant"])
def test_plain_steps_never_lower_the_objective(regression, gate):
    """Without a guard: no move of dense EM had to be refused."""
    model = mixture(gate, "dense", "em").set_params(
        trainer=EM(accelerate=False, max_iter=100, max_refits=100)
    )
    model.fit(*regression)
    # At convergence a step may be refused for a change in the last digits.
    assert model.history_["rejected"] <= 1 + model.converged_
    assert len(model.lower_bounds_) > 3


@pytest.mark.parametrize(("gate", "router", "trainer"), GRID)
def test_rows_are_predicted_one_at_a_time(regression, gate, router, trainer):
    X, y = regression
    model = mixture(gate, router, trainer).fit(X, y)
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, model.predict(X[:20]), rtol=1e-10)


@pytest.mark.parametrize(("gate", "router", "trainer"), GRID)
def test_n_jobs_changes_nothing(regression, gate, router, trainer):
    X, y = regression
    model = mixture(gate, router, trainer).fit(X, y)
    parallel = mixture(gate, router, trainer, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), parallel.predict(X))


def test_n_jobs_changes_nothing_on_many_chunks():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 3))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=20_000)
    models = [MoERegressor(n_experts=2, n_jobs=j).fit(X, y) for j in (None, 2)]
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


@pytest.mark.parametrize("expert", EXPERTS)
@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("gate", GATES)
def test_one_expert_is_the_bare_expert(regression, gate, trainer, expert):
    X, y = regression
    model = mixture(gate, "dense", trainer, expert, n_experts=1).fit(X, y)
    bare = clone(EXPERTS[expert]).fit(X, y)
    np.testing.assert_allclose(model.predict(X), bare.predict(X), rtol=1e-8)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("gate", GATES)
def test_top_k_of_all_experts_is_dense(regression, gate, trainer):
    X, y = regression
    dense = mixture(gate, "dense", trainer).fit(X, y)
    dense_router = mixture(gate, "dense", trainer).set_params(router=DenseRouter())
    dense_router.fit(X, y)
    for training in ("soft-then-sparse", "sparse"):
        router = TopKRouter(3, training=training)
        sparse = mixture(gate, "dense", trainer).set_params(router=router).fit(X, y)
        np.testing.assert_allclose(sparse.predict(X), dense.predict(X), rtol=1e-9)
    np.testing.assert_array_equal(dense_router.predict(X), dense.predict(X))


@pytest.mark.parametrize(("gate", "router", "trainer"), GRID)
def test_weights_are_repetitions(regression, gate, router, trainer):
    X, y = regression[0][:120], regression[1][:120]
    weight = np.random.default_rng(1).integers(0, 4, size=120)
    weighted = mixture(gate, router, trainer).fit(X, y, sample_weight=weight)
    repeated = mixture(gate, router, trainer)
    repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(
        weighted.predict(X), repeated.predict(X), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        weighted.log_likelihood_, repeated.log_likelihood_, rtol=1e-6
    )


@pytest.mark.parametrize(("gate", "router", "trainer"), GRID)
def test_order_of_experts_does_not_matter(regression, gate, router, trainer):
    X, y = regression
    experts = [
        ("stiff", Ridge(alpha=100.0)),
        ("loose", Ridge(alpha=0.01)),
        # Deeper ones have splits so near that the tolerance of a gate decides.
        ("tree", DecisionTreeRegressor(max_depth=2, random_state=0)),
    ]
    model = mixture(gate, router, trainer).set_params(experts=experts).fit(X, y)
    turned = mixture(gate, router, trainer)
    turned.set_params(experts=experts[::-1]).fit(X, y)
    names = list(model.named_experts_)
    order = [list(turned.named_experts_).index(name) for name in names]
    np.testing.assert_allclose(
        turned.gate_proba(X)[:, order], model.gate_proba(X), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(turned.predict(X), model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("gate", ["softmax", "gaussian", "constant"])
def test_scale_does_not_matter(regression, gate):
    X, y = regression
    model = mixture(gate, "dense", "em").fit(X, y)
    columns, shift = np.array([1e-6, 1e6, 3.0, 1.0]), np.array([0.0, 1e5, -2.0, 7.0])
    scaled = mixture(gate, "dense", "em").fit(X * columns + shift, 1000 * y)
    np.testing.assert_allclose(
        scaled.predict(X * columns + shift), 1000 * model.predict(X), rtol=1e-6
    )
    exact = mixture(gate, "dense", "em").fit(X * 1024.0, y / 64)
    np.testing.assert_allclose(exact.predict(X * 1024.0), model.predict(X) / 64, 1e-8)
    np.testing.assert_allclose(
        exact.log_density(X * 1024.0, y / 64), model.log_density(X, y) + np.log(64)
    )


class Opaque(SoftmaxGate):
    """A softmax gate that the fused EM does not know."""

    def linear_form(self, X):
        return None


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_fused_and_general_em_agree(regression, n_outputs):
    """The optimum of the fused EM is a fixed point of the general one."""
    X, y = regression
    y = np.column_stack([y, X[:, 0] * y])[:, :n_outputs].squeeze()
    trainer = EM(tol=1e-12, max_iter=5000, max_refits=5)
    expert, gate = LinearExpert(alpha=1.0), Opaque(alpha=0.1)
    flat = SoftmaxGate(alpha=0.1)
    fused = MoERegressor(expert, n_experts=2, trainer=trainer, gate=flat).fit(X, y)
    general = MoERegressor(
        expert, n_experts=2, trainer=trainer, warm_start=True, gate=gate
    )
    fitted = {k: v for k, v in vars(fused).items() if k not in fused.get_params()}
    general.__dict__.update(fitted)
    general.gate_ = clone(gate)
    general.gate_.__dict__.update(vars(fused.gate_))
    general.fit(X, y)
    np.testing.assert_allclose(
        general.lower_bounds_[0], fused.lower_bounds_[-1], rtol=1e-9
    )
    np.testing.assert_allclose(general.predict(X), fused.predict(X), rtol=1e-4)


def test_acceleration_reaches_the_same_optimum(regression):
    plain = MoERegressor(n_experts=3, trainer=EM(accelerate=False, max_iter=5000))
    fast = MoERegressor(n_experts=3, trainer=EM())
    ours = fast.fit(*regression).lower_bounds_[-1]
    assert ours >= plain.fit(*regression).lower_bounds_[-1] - 1e-4
    assert fast.n_iter_ < plain.n_iter_


def test_members_are_one_mixture(regression):
    X, y = regression
    model = MoERegressor(n_experts=2, n_members=3, random_state=0).fit(X, y)
    assert len(model.members_) == 3
    assert model.gate_proba(X).shape == (400, model.n_experts_)
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1)
    np.testing.assert_allclose(model.expert_load_.sum(), 1)
    parts = [m.predict(X) for m in model.members_]
    np.testing.assert_allclose(model.predict(X), np.mean(parts, axis=0), rtol=1e-10)
    densities = [m.log_density(X, y) for m in model.members_]
    expected = np.logaddexp.reduce(densities, axis=0) - np.log(3)
    np.testing.assert_allclose(model.log_density(X, y), expected, rtol=1e-9)
    np.testing.assert_allclose(model.log_likelihood_, expected.sum())
    assert model.bic(X, y) > model.aic(X, y)


def test_members_with_top_k(regression):
    X, y = regression
    model = MoERegressor(n_experts=3, n_members=2, router=1, random_state=0)
    model.fit(X, y)
    routing = model.route(X)
    assert routing.indices.shape == (400, 2)
    np.testing.assert_allclose(routing.weights, 0.5)
    np.testing.assert_allclose(
        model.predict(X), np.mean([m.predict(X) for m in model.members_], axis=0)
    )


def test_density_integrates_to_one(regression):
    X, y = regression
    model = MoERegressor(n_experts=3).fit(X, y)
    grid = np.linspace(y.min() - 30, y.max() + 30, 20_001)
    for row in X[:3]:
        density = np.exp(model.log_density(np.tile(row, (len(grid), 1)), grid))
        np.testing.assert_allclose(np.trapezoid(density, grid), 1.0, rtol=1e-6)
        mean, std = model.predict(row[None], return_std=True)
        np.testing.assert_allclose(np.trapezoid(grid * density, grid), mean[0])
        second = np.trapezoid((grid - mean[0]) ** 2 * density, grid)
        np.testing.assert_allclose(np.sqrt(second), std[0], rtol=1e-6)


def test_only_routed_experts_are_asked(regression):
    X, y = regression
    asked = []

    class Spy(Ridge):
        def predict(self, X):
            asked.append(len(X))
            return super().predict(X)

    model = MoERegressor(Spy(), n_experts=3, router=1).fit(X, y)
    asked.clear()
    predicted = model.predict(X)
    assert sum(asked) == len(X)
    dense = model.predict_experts(X)
    routing = model.route(X)
    expected = dense[np.arange(len(X)), routing.indices[:, 0]]
    np.testing.assert_allclose(predicted, expected, rtol=1e-10)


def test_regimes_are_recovered():
    from skmoe.datasets import make_gated_regression

    X, y, truth = make_gated_regression(
        4000, 3, 2, noise=[0.2, 0.6], random_state=3, return_truth=True
    )
    model = MoERegressor(n_experts=2).fit(X, y)
    order = np.argsort([likelihood.sigma_ for likelihood in model.likelihoods_])
    for k, found in enumerate(order):
        assert abs(model.likelihoods_[found].sigma_ - truth["noise"][k]) < 0.03
        np.testing.assert_allclose(
            model.experts_[found].coef_, truth["coef"][k], atol=0.08
        )


def test_classifier_recovers_probabilities():
    from skmoe.datasets import make_gated_classification

    X, y, truth = make_gated_classification(
        8000, 3, 2, n_classes=3, random_state=1, return_truth=True
    )
    model = MoEClassifier(n_experts=2, n_init=4, random_state=0).fit(X, y)
    assert np.abs(model.predict_proba(X) - truth["proba"]).mean() < 0.03


def test_flexible_experts_beat_one(regression):
    X, y = regression
    experts = [HistGradientBoostingRegressor(max_iter=20), Ridge()]
    model = MoERegressor(experts, random_state=0).fit(X[:300], y[:300])
    alone = Ridge().fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > alone.score(X[300:], y[300:])


def test_expert_without_weights_is_resampled_with_a_warning(regression):
    from skmoe.exceptions import NoSampleWeightWarning

    X, y = regression
    model = MoERegressor([("near", KNeighborsRegressor()), ("line", Ridge())])
    model.set_params(random_state=0)
    with pytest.warns(NoSampleWeightWarning, match="near"):
        first = model.fit(X, y).predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), first)


def test_collapsed_expert_is_removed_with_a_warning():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    y = X[:, 0] + 0.1 * rng.normal(size=300)
    model = MoERegressor(n_experts=3, trainer=EM(min_load=0.3))
    with pytest.warns(ExpertCollapseWarning, match="expert"):
        model.fit(X, y)
    assert model.n_experts_ == len(model.experts_) < 3
    assert model.predict(X).shape == (300,)


def test_unfinished_training_warns(regression):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        MoERegressor(trainer=EM(max_iter=2)).fit(*regression)
