"""Training by gradient: networks, the trainer under every router, what it must keep."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeClassifier
from test_routers import NAMES, ROUTERS

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._numerics.network import Network
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import ConstantGate, MLPGate, SigmoidGate, SoftmaxGate
from skmoe.likelihoods import Categorical, Gaussian
from skmoe.losses import (
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    MutualInformationLoss,
    RouterZLoss,
)
from skmoe.routers import (
    BiasBalancedRouter,
    HashRouter,
    NoisyTopKRouter,
    SwitchRouter,
    TopKRouter,
)
from skmoe.trainers import EM, Gradient, Recipe, Rows
from skmoe.trainers._em.refit import Parts
from skmoe.trainers._gradient.layout import settled
from skmoe.trainers._gradient.refit import GatingTask
from skmoe.trainers._gradient.scales import weighted_medians
from skmoe.trainers._gradient.task import GradientTask, Phase
from skmoe.trainers._task import Task

SHORT = Gradient(max_epochs=8)


def gradient_task(X, y, *, router, expert=None, gate=None, classes=None):
    periodic = {"n_frequencies": 2, "frequency_scale": 0.2}
    expert = MLPExpert((5,), "tanh", **periodic) if expert is None else expert
    gate = MLPGate((4,), "tanh", **periodic) if gate is None else gate
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    rows = Rows(X, [X] * 3, y, y, classes, weight)
    return Task(rows, Recipe(gate, router, Gaussian(), [expert] * 3, ["a", "b", "c"]))


@pytest.mark.parametrize("router", [None, TopKRouter(2), SwitchRouter(jitter_noise=0)])
@pytest.mark.parametrize("kind", ["likelihood", "prediction", "classes", "sigmoid"])
def test_gradient_of_a_batch(router, kind):
    """The whole chain by finite differences: gate, routing, experts, variances."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    classes = np.arange(3) if kind == "classes" else None
    y = rng.integers(0, 3, 30) if kind == "classes" else rng.normal(size=(30, 2))
    dense = router is None
    task = gradient_task(
        X,
        y,
        router=TopKRouter(2) if dense else router,
        classes=classes,
        gate=SigmoidGate((4,), "tanh") if kind == "sigmoid" else None,
    )
    problem = GradientTask(task, "prediction" if kind == "prediction" else "likelihood")
    theta = problem.start() + 0.1 * rng.normal(size=problem.n_parameters)
    rows, phase = np.arange(20), Phase(1.3, dense)

    def loss(at):
        return problem.gradient(at, rows, rng, phase, [RouterZLoss()], unused)[0]

    unused = np.zeros_like(theta)
    gradient = np.zeros_like(theta)
    problem.gradient(theta, rows, rng, phase, [RouterZLoss()], gradient)
    step = 1e-6
    found = np.empty_like(theta)
    for i in range(theta.size):
        move = np.zeros_like(theta)
        move[i] = step
        found[i] = (loss(theta + move) - loss(theta - move)) / (2 * step)
    if isinstance(router, SwitchRouter):
        # The gate of one expert per row learns from the comparison with the fallback.
        found, gradient = (a[problem.gate.n_parameters :] for a in (found, gradient))
    np.testing.assert_allclose(gradient, found, rtol=1e-4, atol=1e-7)


def test_gradient_under_dropout():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))
    problem = GradientTask(gradient_task(X, y, router=TopKRouter(2)), "likelihood")
    theta = problem.start() + 0.1 * rng.normal(size=problem.n_parameters)
    rows, phase = np.arange(20), Phase(1.0, dense=False, dropout=0.3)

    def loss(at, gradient):
        # The same seed draws the same masks.
        draws = np.random.default_rng(5)
        return problem.gradient(at, rows, draws, phase, [], gradient)[0]

    gradient, unused = np.zeros_like(theta), np.zeros_like(theta)
    loss(theta, gradient)
    moves = 1e-6 * np.eye(len(theta))
    found = [(loss(theta + m, unused) - loss(theta - m, unused)) / 2e-6 for m in moves]
    np.testing.assert_allclose(gradient, found, rtol=1e-4, atol=1e-7)


def test_dropout_is_for_training_only(regression):
    X, y = regression
    trainer = Gradient(expert_dropout=0.5, max_epochs=30)
    model = MoERegressor(MLPExpert((32,)), trainer=trainer, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), model.predict(X))
    assert model.score(X, y) > 0.3


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_network_is_its_formula(activation):
    network = Network((3, 4, 2), activation)
    theta = network.start(np.random.default_rng(0))
    X = np.random.default_rng(1).normal(size=(6, 3))
    (w1, b1), (w2, b2) = network.layers(theta)
    b1[:], b2[:] = 0.3, -0.2
    hidden = X @ w1 + b1
    hidden = np.tanh(hidden) if activation == "tanh" else np.maximum(hidden, 0)
    np.testing.assert_allclose(network.outputs(theta, X), hidden @ w2 + b2)
    assert network.is_weight().sum() == 20
    assert network.n_parameters == 26


@pytest.mark.parametrize("name", NAMES)
def test_every_router_learns_regimes(name):
    X, y = make_gated_regression(1500, 3, 3, noise=0.3, random_state=1)
    model = MoERegressor(
        n_experts=3,
        router=ROUTERS[name],
        trainer=Gradient(max_epochs=60),
        random_state=0,
    ).fit(X[:1000], y[:1000])
    linear = Ridge().fit(X[:1000], y[:1000])
    if "hash" not in name:
        # A random hash cannot know the regimes: it only averages linear models.
        assert model.score(X[1000:], y[1000:]) > linear.score(X[1000:], y[1000:])
    proba = model.gate_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, model.predict(X[:10]), rtol=1e-9)
    np.testing.assert_allclose(model.expert_load_.sum(), 1)
    assert {len(values) for values in model.history_.values()} == {model.n_iter_}


def test_gradient_reaches_the_optimum_of_em(regression):
    X, y = regression
    # Without a penalty, whose share EM takes out of what it reports.
    free = LinearExpert(alpha=0)
    exact = MoERegressor(free, n_experts=3, trainer=EM(tol=1e-9, max_iter=5000))
    exact.fit(X, y)
    trainer = Gradient(
        max_epochs=600,
        early_stopping=False,
        learning_rate=0.03,
        batch_size=400,
        clip_norm=None,
    )
    model = MoERegressor(free, n_experts=3, trainer=trainer, random_state=0).fit(X, y)
    ours, best = model.log_density(X, y).mean(), exact.log_density(X, y).mean()
    assert abs(ours - best) < 0.02


def test_top_k_of_all_experts_is_dense(regression):
    X, y = regression
    models = [
        MoERegressor(n_experts=3, router=router, trainer=SHORT, random_state=0)
        for router in (None, 3, TopKRouter(3, training="sparse"))
    ]
    first, *others = [model.fit(X, y).predict(X) for model in models]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-8)


@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((8,))])
def test_same_seed_same_answer_for_any_n_jobs(regression, expert):
    X, y = regression
    model = MoERegressor(expert, n_experts=2, trainer=SHORT, random_state=3)
    first = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), first)
    parallel = clone(model).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(parallel.predict(X), first)


@pytest.mark.parametrize("router", [None, TopKRouter(2, training="sparse")])
def test_order_of_experts_does_not_matter(regression, router):
    X, y = regression
    experts = [("line", LinearExpert()), ("net", MLPExpert((6,))), ("b", MLPExpert())]
    model = MoERegressor(experts, router=router, trainer=SHORT, random_state=0)
    turned = clone(model).set_params(experts=experts[::-1])
    expected = model.fit(X, y).gate_proba(X)
    found = turned.fit(X, y).gate_proba(X)[:, ::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(turned.predict(X), model.predict(X), rtol=1e-6)


def test_scale_does_not_matter(regression):
    X, y = regression
    model = MoERegressor(MLPExpert((8,)), trainer=SHORT, random_state=0).fit(X, y)
    scaled = clone(model).fit(X * 1024.0, y / 64)
    np.testing.assert_allclose(scaled.predict(X * 1024.0), model.predict(X) / 64, 1e-8)
    np.testing.assert_allclose(
        scaled.log_density(X * 1024.0, y / 64), model.log_density(X, y) + np.log(64)
    )


def test_log_likelihood_is_that_of_the_fitted_mixture(regression):
    X, y = regression
    for objective in ("likelihood", "prediction"):
        model = MoERegressor(
            MLPExpert((8,)),
            trainer=Gradient(objective, max_epochs=5),
            likelihood=Gaussian(variance="shared"),
            router=2,
            random_state=0,
        ).fit(X, y)
        np.testing.assert_allclose(
            model.log_likelihood_, model.log_density(X, y).sum(), rtol=1e-9
        )
        assert len({x.sigma_ for x in model.likelihoods_}) == 1


@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((8,))])
def test_classes(classification, expert):
    X, y = classification
    labels = np.array(["a", "b", "c"])[y]
    model = MoEClassifier(
        expert, n_experts=2, trainer=Gradient(max_epochs=60), random_state=0
    ).fit(X, labels)
    assert model.score(X, labels) > 0.7
    assert model.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    np.testing.assert_allclose(
        model.log_likelihood_, model.log_density(X, labels).sum(), rtol=1e-4
    )


def test_experts_of_different_kinds_and_columns(regression):
    X, y = regression
    model = MoERegressor(
        [("line", LinearExpert()), ("net", MLPExpert((6,))), ("wide", MLPExpert())],
        gate=MLPGate((8,)),
        trainer=SHORT,
        expert_features={"line": [0], "net": "piecewise-linear"},
        random_state=0,
    ).fit(X, y)
    assert model.named_experts_["line"].coef_.shape == (1,)
    assert model.named_experts_["net"].coefs_[0].shape == (32, 6)
    assert model.predict(X).shape == (400,)


def test_several_outputs(regression):
    X, y = regression
    Y = np.column_stack([y, -2 * y + 1])
    model = MoERegressor(n_experts=3, trainer="gradient", random_state=0).fit(X, Y)
    assert model.score(X, Y) > 0.5
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == Y.shape


LOSSES = [ImportanceLoss(), LoadLoss(), LoadBalancingLoss(), MutualInformationLoss()]


@pytest.mark.filterwarnings("ignore:Gradient left expert")
def test_losses_even_out_the_load(regression):
    """A gate that starts collapsed stays so without a loss, and spreads with one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=1000)
    common = {"start": "random", "max_epochs": 40, "early_stopping": False}

    def ratio(losses):
        model = MoERegressor(
            n_experts=4,
            router=NoisyTopKRouter(1),
            trainer=Gradient(losses=losses, **common),
            random_state=0,
        ).fit(X, y)
        load = np.mean(model.history_["load"][-5:], axis=0)
        return load.max() / load.mean()

    balanced = ratio([ImportanceLoss(1.0), LoadLoss(1.0)])
    assert balanced < 1.1
    assert balanced < ratio([])


def test_z_loss_bounds_the_logits(regression):
    X, y = regression
    sizes = []
    for weight in (0.0, 0.1, 1.0):
        trainer = Gradient(
            losses=[RouterZLoss(weight)], max_epochs=40, early_stopping=False
        )
        gate = SoftmaxGate(alpha=0)
        model = MoERegressor(n_experts=3, gate=gate, trainer=trainer, random_state=0)
        sizes.append(np.abs(model.fit(X, y).gate_.predict_log_proba(X)).max())
    assert sizes[0] > sizes[1] > sizes[2]


def test_temperature_is_part_of_the_gate(regression):
    X, y = regression
    trainer = Gradient(max_epochs=10, temperature=(2.0, 0.5))
    model = MoERegressor(n_experts=3, trainer=trainer, random_state=0).fit(X, y)
    np.testing.assert_allclose(
        model.log_likelihood_, model.log_density(X, y).sum(), rtol=1e-9
    )


def test_neural_parts_under_em(regression):
    X, y = regression
    model = MoERegressor(
        MLPExpert((6,), max_iter=30),
        n_experts=2,
        gate=MLPGate((6,)),
        trainer=EM(max_refits=3),
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert model.score(X, y) > 0.5


def batches_of(X, y, size=100):
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size)]


@pytest.mark.filterwarnings("ignore:EM stopped")
@pytest.mark.parametrize("trainer", [EM(max_refits=5), Gradient(max_epochs=60)])
def test_periodic_embeddings_are_trained(trainer):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(900, 2))
    y = np.sin(9 * X[:, 0]) + X[:, 1]
    expert = MLPExpert((16,), alpha=0.1, n_frequencies=4, frequency_scale=0.5)
    model = MoERegressor(expert, n_experts=2, trainer=trainer, random_state=0)
    model.fit(X[:600], y[:600])
    assert model.score(X[600:], y[600:]) > 0.98
    assert model.experts_[0].frequencies_.shape == (2, 4)
    plain = model.set_params(experts__n_frequencies=0).fit(X[:600], y[:600])
    assert plain.score(X[600:], y[600:]) < 0.95
    assert plain.experts_[0].frequencies_ is None


def test_partial_fit_learns_from_a_stream(regression):
    X, y = regression
    model = MoERegressor(n_experts=3, trainer="gradient", random_state=0)
    scores = []
    for _ in range(60):
        for part in batches_of(X, y):
            model.partial_fit(*part)
        scores.append(model.score(X, y))
    assert scores[-1] > max(0.5, scores[0])
    assert model.n_iter_ == 240
    again = clone(model)
    for part in batches_of(X, y):
        again.partial_fit(*part)
    first = clone(model)
    for part in batches_of(X, y):
        first.partial_fit(*part)
    np.testing.assert_array_equal(again.predict(X), first.predict(X))


def test_partial_fit_of_classes(classification):
    X, y = classification
    model = MoEClassifier(n_experts=2, trainer="gradient", random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        model.partial_fit(X, y)
    assert not hasattr(model, "gate_")
    some = y < 2
    model.partial_fit(X[some], y[some], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (400, 3)
    for _ in range(100):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.6
    with pytest.raises(ValueError, match="not seen"):
        model.partial_fit(X, y + 1)


def parameters(model):
    experts = {n: (e.coef_, e.intercept_) for n, e in model.named_experts_.items()}
    gate = model.gate_.coef_, model.gate_.intercept_
    return experts, gate, [x.sigma_ for x in model.likelihoods_]


@pytest.mark.parametrize("freeze", ["experts", "gate", ["expert1"]])
def test_frozen_parts_stay_bitwise_the_same(regression, freeze):
    X, y = regression
    model = MoERegressor(n_experts=3, trainer="gradient", random_state=0)
    model.partial_fit(X, y)
    experts, gate, sigma = parameters(model)
    for _ in range(3):
        model.partial_fit(X, -y, freeze=freeze)
    experts_now, gate_now, sigma_now = parameters(model)
    for k, name in enumerate(experts):
        same = freeze == "experts" or name in freeze
        assert np.array_equal(experts[name][0], experts_now[name][0]) == same
        assert (sigma[k] == sigma_now[k]) == same
    assert np.array_equal(gate[0], gate_now[0]) == (freeze == "gate")


def test_partial_fit_refuses_what_makes_no_sense(regression):
    X, y = regression
    assert not hasattr(MoERegressor(trainer="two-stage"), "partial_fit")
    model = MoERegressor(n_experts=2, trainer="gradient", random_state=0)
    model.partial_fit(X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="freeze='gates'"):
        model.partial_fit(X, y, freeze="gates")
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :2], y)
    with pytest.raises(ValueError, match="clone the estimator"):
        model.set_params(n_experts=3).partial_fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match="n_members=2"):
        MoERegressor(trainer="gradient", n_members=2).partial_fit(X, y)


@pytest.mark.parametrize("batch_size", [32, 400])
@pytest.mark.parametrize("max_epochs", [1, 20])
@pytest.mark.parametrize("router", [None, 1])
def test_divergence_is_an_error_that_leaves_the_model(
    regression, router, max_epochs, batch_size
):
    X, y = regression
    model = MoERegressor(
        MLPExpert((8,)), trainer=SHORT, router=router, n_experts=3, random_state=0
    ).fit(X, y)
    before = model.predict(X)
    wild = Gradient(
        learning_rate=1e200,
        clip_norm=None,
        warmup=0.0,
        max_epochs=max_epochs,
        batch_size=batch_size,
    )
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="learning_rate"):
        model.set_params(trainer=wild).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.filterwarnings("ignore:Gradient left expert")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_rows", [3, 5])
def test_fewer_rows_than_a_batch(name, n_rows):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 2)), rng.normal(size=n_rows)
    X[:, 1] = 7.0
    model = MoERegressor(
        n_experts=3, router=ROUTERS[name], trainer=SHORT, random_state=0
    )
    assert np.isfinite(model.fit(X, y).predict(X)).all()
    assert np.isfinite(model.fit(X, np.full(n_rows, 5.0)).predict(X)).all()


def test_warm_start_goes_on(regression):
    X, y = regression
    model = MoERegressor(n_experts=3, trainer=SHORT, random_state=0, warm_start=True)
    first = model.fit(X, y).lower_bounds_[-1]
    model.fit(X, y)
    assert model.lower_bounds_[0] > first - 0.05
    assert model.n_iter_ == 16
    other = MoERegressor(n_experts=3, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="another trainer"):
        other.set_params(trainer="gradient").fit(X, y)


def test_members_do_not_share_router_state(regression):
    X, y = regression
    router = BiasBalancedRouter(1, update_rate=0.01)
    model = MoERegressor(
        n_experts=3, n_members=2, router=router, trainer=SHORT, random_state=0
    ).fit(X, y)
    first, second = (m.router_.bias_ for m in model.members_)
    assert not np.array_equal(first, second)
    assert np.abs(second).max() <= 8 * 4 * 0.01 + 1e-12
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1)


def test_what_gradient_cannot_train_is_refused(regression):
    X, y = regression
    with pytest.raises(ValueError, match="no networks"):
        MoERegressor(Ridge(), trainer="gradient").partial_fit(X, y)
    with pytest.raises(ValueError, match="ConstantGate"):
        MoERegressor(gate=ConstantGate(), trainer="gradient").fit(X, y)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("objective", "guess"),
        ("start", "cold"),
        ("schedule", "step"),
        ("learning_rate", 0.0),
        ("batch_size", 0),
        ("max_epochs", 1.5),
        ("temperature", (1.0, 0.0)),
        ("validation_fraction", 1.0),
        ("expert_dropout", 1.0),
        ("weight_decay", -1.0),
        ("clip_norm", 0.0),
        ("losses", [RouterZLoss(-1.0)]),
    ],
)
def test_bad_parameters_are_refused(regression, name, value):
    trainer = Gradient(**{name: value})
    with pytest.raises(ValueError, match=r"got \w+="):
        MoERegressor(trainer=trainer).fit(*regression)


@pytest.mark.parametrize("part", [MLPExpert, MLPGate])
@pytest.mark.parametrize(
    "bad", [{"hidden_layer_sizes": (0,)}, {"activation": "step"}, {"alpha": -1}]
)
def test_bad_networks_are_refused(part, bad):
    with pytest.raises(ValueError, match=part.__name__):
        part(**bad).check()


def gating_task(X, y, classes):
    """Three given experts of different precision."""
    rng = np.random.default_rng(1)
    task = gradient_task(X, y, router=TopKRouter(2), classes=classes)
    if classes is None:
        predictions = [y + rng.normal(size=y.shape) for _ in range(3)]
        likelihoods = Gaussian().fit_dispersions(
            y, predictions, np.full((len(y), 3), 1 / 3)
        )
    else:
        predictions = list(np.log(rng.dirichlet(np.ones(3), size=(3, len(y)))))
        likelihoods = [Categorical() for _ in range(3)]
    parts = Parts(None, [None] * 3, likelihoods)
    return task, parts, predictions


@pytest.mark.parametrize("objective", ["likelihood", "prediction", "classes"])
def test_gradient_of_a_gate_over_given_experts(objective):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3))
    classify = objective == "classes"
    y = rng.integers(0, 3, 30) if classify else rng.normal(size=(30, 2))
    classes = np.arange(3) if classify else None
    task, parts, predictions = gating_task(X, y, classes)
    kind = "likelihood" if classify else objective
    problem = GatingTask(task, kind, parts, predictions)
    theta = 0.5 * rng.normal(size=problem.n_parameters)
    phase, rows = Phase(1.0, True), np.arange(30)

    def value(at):
        scratch = np.zeros_like(at)
        return problem.gradient(at, rows, None, phase, [], scratch)[0]

    found = np.zeros_like(theta)
    problem.gradient(theta, rows, None, phase, [], found)
    steps = 1e-6 * np.eye(len(theta))
    numeric = [(value(theta + s) - value(theta - s)) / 2e-6 for s in steps]
    np.testing.assert_allclose(found, numeric, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_gate_by_gradient_between_refits(name):
    """Experts that are no networks, under every router."""
    X, y = make_gated_regression(900, 3, 3, random_state=0)
    model = MoERegressor(
        Ridge(alpha=1e-3),
        n_experts=3,
        router=clone(ROUTERS[name]),
        trainer=Gradient(max_epochs=60),
        random_state=0,
    ).fit(X[:600], y[:600])
    assert isinstance(model.experts_[0], Ridge)
    assert len(model.lower_bounds_) == len(model.history_["load"]) == model.n_iter_
    if "hash" not in name:
        alone = Ridge().fit(X[:600], y[:600]).score(X[600:], y[600:])
        assert model.score(X[600:], y[600:]) > alone + 0.1
    gate = model.gate_proba(X)
    np.testing.assert_allclose(gate.sum(axis=1), 1.0)


def test_frozen_experts_are_only_gated(regression):
    X, y = regression
    experts = [
        (f"half{side}", FrozenEstimator(Ridge().fit(X[rows], y[rows])))
        for side, rows in enumerate([X[:, 0] < 0, X[:, 0] >= 0])
    ]
    model = MoERegressor(experts, trainer=Gradient(max_epochs=40), random_state=0)
    model.fit(X, y)
    assert [e.estimator for e in model.experts_] == [e.estimator for _, e in experts]
    best = max(e.score(X, y) for _, e in experts)
    assert model.score(X, y) > best


def test_classifiers_between_refits(classification):
    X, y = classification
    model = MoEClassifier(
        DecisionTreeClassifier(max_depth=3, random_state=0),
        n_experts=2,
        trainer=Gradient(max_epochs=40, max_refits=3),
        random_state=0,
    ).fit(X, y)
    assert model.score(X, y) > 0.7
    again = clone(model).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_networks_cannot_go_on_from_other_experts(regression):
    X, y = regression
    model = MoERegressor(Ridge(), trainer=SHORT, warm_start=True, random_state=0)
    model.fit(X, y).set_params(experts=LinearExpert())
    with pytest.raises(ValueError, match="start afresh"):
        model.fit(X, y)


def test_warm_start_between_refits(regression):
    X, y = regression
    model = MoERegressor(
        Ridge(), n_experts=3, trainer=SHORT, warm_start=True, random_state=0
    )
    first = model.fit(X, y).log_likelihood_
    assert model.fit(X, y).log_likelihood_ > first - 1.0


def batches_of_one_scale():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    return X, 1000 * (np.abs(X[:, 0]) + X[:, 1]) + 5e4


@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((8,))])
@pytest.mark.parametrize("first", ["constant", "one row", "column"])
def test_the_first_batch_with_spread_fixes_the_scale(expert, first):
    X, y = batches_of_one_scale()
    start = {
        "constant": (X[:20], np.full(20, 5e4)),
        "one row": (X[:1], y[:1]),
        "column": (np.column_stack([X[:20, 0], np.zeros(20), X[:20, 2]]), y[:20]),
    }[first]
    scores = []
    for batch in (None, start):
        model = MoERegressor(expert, n_experts=2, trainer="gradient", random_state=0)
        if batch is not None:
            model.partial_fit(*batch)
        for _ in range(50):
            model.partial_fit(X, y)
        scores.append(model.score(X, y))
        assert min(own.sigma_ for own in model.likelihoods_) > 0
    assert scores[1] > scores[0] - 0.15
    assert np.isfinite(model.log_density(X, y)).all()


def test_only_outputs_without_a_scale_start_again():
    X, y = batches_of_one_scale()
    Y = np.column_stack([y, X[:, 0]])
    model = MoERegressor(n_experts=2, trainer="gradient", random_state=0)
    model.partial_fit(X, np.column_stack([np.ones(200), X[:, 0]]))
    before = model.predict(X)[:, 1]
    model.set_params(trainer=Gradient(learning_rate=1e-12)).partial_fit(X, Y)
    np.testing.assert_allclose(model.predict(X)[:, 1], before, atol=1e-6)
    assert abs(model.predict(X)[:, 0].mean() - 5e4) < 3e3


def test_settled_scales():
    center, scale = settled(
        (np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 0.0, 0.0, 0.0])),
        (np.array([5.0, 5.0, 5.0, 1.0]), np.array([3.0, 3.0, 0.0, 0.0])),
    )
    np.testing.assert_array_equal(center, [1.0, 5.0, 3.0, 1.0])
    np.testing.assert_array_equal(scale, [2.0, 3.0, 2.0, 0.0])


def odd_batches():
    """First batches in another unit than all others, which are all alike."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 2))
    y = np.where(X[:, 0] > 0, 2 * X[:, 0], -X[:, 0]) + 0.1 * rng.normal(size=160)
    few, own = X[:9], y[:9]
    wild = own.copy()
    wild[4] = 1e6
    column = np.column_stack([few[:, 0] * 1e-3 + 5, few[:, 1]])
    firsts = {
        "tiny columns": (few * 1e-9, own),
        "huge columns": (few * 1e9, own),
        "one column": (column, own),
        "shifted columns": (few + 1e6, own),
        "tiny target": (few, own * 1e-3),
        "huge target": (few, own * 1e6),
        "shifted target": (few, own + 1e6),
        "wild target": (few, wild),
    }
    return X, y, firsts


@pytest.mark.parametrize("first", odd_batches()[2])
@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((8,))])
def test_scales_follow_the_batches(expert, first):
    X, y, firsts = odd_batches()
    model = MoERegressor(expert, n_experts=2, trainer="gradient", random_state=0)
    model.partial_fit(*firsts[first])
    for _ in range(60):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.85
    assert model.log_density(X, y).mean() > -1.5


def test_a_wild_batch_is_forgotten():
    X, y, firsts = odd_batches()
    model = MoERegressor(n_experts=2, trainer="gradient", random_state=0)
    for _ in range(40):
        model.partial_fit(X, y)
    before = model.predict(X)
    model.partial_fit(*firsts["wild target"])
    np.testing.assert_allclose(model.predict(X), before, atol=0.2)


def test_ordinary_batches_do_not_change_the_scales():
    X, y, _ = odd_batches()
    model = MoERegressor(n_experts=2, trainer="gradient", random_state=0)
    first = None
    for part in batches_of(X, y, 20):
        scales = model.partial_fit(*part)._learned.state.scales
        first = scales if first is None else first
        np.testing.assert_array_equal(scales.spread, first.spread)


@pytest.mark.parametrize("kind", ["flat", "tree"])
@pytest.mark.parametrize("expert", [LinearExpert(), MLPExpert((8,), n_frequencies=2)])
def test_new_scales_keep_the_function(kind, expert):
    X, y, _ = odd_batches()
    kinds = {"flat": MoERegressor, "tree": HierarchicalMoERegressor}
    size = {"n_experts": 2} if kind == "flat" else {"branching": (2, 2)}
    model = kinds[kind](expert, trainer="gradient", random_state=0, **size)
    for _ in range(20):
        model.partial_fit(X, y)
    before, density = model.predict(X), model.log_density(X, y)
    # Three times the spread is another scale, but not another world.
    still = Gradient(learning_rate=1e-12, batch_size=1000)
    wide = np.vstack([3.0 * X + 1.0] * 25), np.tile(3.0 * y - 1.0, 25)
    model.set_params(trainer=still).partial_fit(*wide)
    np.testing.assert_allclose(model.predict(X), before, atol=1e-6)
    np.testing.assert_allclose(model.log_density(X, y), density, atol=1e-5)
    frozen = model.partial_fit(X[:30] * 1e-4, y[:30], freeze="gate").predict(X)
    np.testing.assert_allclose(frozen, before, atol=1e-6)


def test_weighted_medians():
    values = np.array([[3.0, 0.0], [1.0, 2.0], [2.0, 2.0]])
    weight = np.array([[1.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    np.testing.assert_array_equal(weighted_medians(values, weight), [2.0, 0.0])
    pair = np.array([[1.0], [2.0]])
    for lower, expected in ((False, 2.0), (True, 1.0)):
        found = weighted_medians(pair, np.ones((2, 1)), lower)
        np.testing.assert_array_equal(found, [expected])


def test_batches_of_classes():
    X, y = batches_of_one_scale()
    y = (y > np.median(y)).astype(int)
    model = MoEClassifier(n_experts=2, trainer="gradient", random_state=0)
    model.partial_fit(X[:20], np.zeros(20, dtype=int), classes=[0, 1])
    for _ in range(30):
        model.partial_fit(X, y, classes=[1, 0])
    assert model.score(X, y) > 0.8
    for classes, message in (([0, 1, 2], "first call said"), ([], "list"), (3, "list")):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X, y, classes=classes)
    with pytest.raises(ValueError, match=r"labels \[2\]"):
        model.partial_fit(X, y + 1)


@pytest.mark.parametrize(
    "freeze", ["expert0", ["nope"], 5, [5], True, {"gate"}, [["a"]]]
)
def test_what_to_freeze_is_checked(freeze):
    X, y = batches_of_one_scale()
    model = MoERegressor(n_experts=2, trainer="gradient", random_state=0)
    before = model.partial_fit(X, y).predict(X)
    with pytest.raises(ValueError, match="partial_fit got freeze"):
        model.partial_fit(X, y, freeze=freeze)
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match="n_outputs=2, but was fitted"):
        model.partial_fit(X, np.column_stack([y, y]))
    model.partial_fit(X, y, freeze=["expert0"])


# -- stages --------------------------------------------------------------------


@pytest.fixture(scope="module")
def regimes():
    X, y = make_gated_regression(400, 2, 3, noise=0.3, random_state=1)
    return X, y


def test_soft_epochs_stop_early_too(regimes):
    """The stage within the active experts follows, from the best epoch before it."""
    X, y = regimes
    trainer = Gradient(n_iter_no_change=2, learning_rate=0.3, schedule="constant")
    model = MoERegressor(n_experts=3, router=1, trainer=trainer, random_state=0)
    model.fit(X, y)
    assert model.n_iter_ < 0.7 * trainer.max_epochs
    assert model.converged_
    loads = np.array(model.history_["load"])
    assert np.ptp(loads[0]) < 1e-12 < np.ptp(loads[-1])


def test_a_bias_is_that_of_the_best_epoch(regimes):
    X, y = regimes
    seen = []

    class Watched(BiasBalancedRouter):
        def observe(self, routing):
            super().observe(routing)
            seen.append(self.bias_.copy())

    model = MoERegressor(
        n_experts=3,
        router=Watched(1, update_rate=0.5),
        trainer=Gradient("likelihood", (), "random", 0.3, max_epochs=12),
        random_state=0,
    ).fit(X, y)
    best = int(np.argmin(model.history_["held_out_loss"]))
    n_batches = len(seen) // 12
    assert best < 11
    np.testing.assert_array_equal(model.router_.bias_, seen[(best + 1) * n_batches - 1])


@pytest.mark.parametrize(
    "router",
    [TopKRouter(1, training="sparse"), NoisyTopKRouter(1), BiasBalancedRouter(1)],
)
def test_the_gate_of_one_expert_per_row_learns(regimes, router):
    X, y = regimes
    task = gradient_task(X, y[:, None], router=router)
    problem = GradientTask(task, "likelihood")
    rng = np.random.default_rng(0)
    theta = problem.start() + 0.1 * rng.normal(size=problem.n_parameters)
    gradient = np.zeros_like(theta)
    problem.gradient(theta, np.arange(50), rng, Phase(1.0, False), [], gradient)
    assert np.abs(gradient[: problem.gate.n_parameters]).max() > 1e-3


@pytest.mark.filterwarnings("ignore:Gradient left expert")
@pytest.mark.parametrize("objective", ["likelihood", "prediction"])
def test_variances_are_those_of_the_rows_that_experts_serve(regimes, objective):
    """Pooled where they are few, so that no expert is sure of what it never saw."""
    X, y = regimes
    trainer = Gradient(objective, max_epochs=12, learning_rate=0.05)
    model = MoERegressor(n_experts=12, router=1, trainer=trainer, random_state=0)
    model.fit(X[:200], y[:200])
    sigma = np.array([np.ravel(own.sigma_)[0] for own in model.likelihoods_])
    error = y[:200] - model.predict(X[:200])
    assert sigma.min() > 0.2 * np.std(error)
    served = model.route(X[200:]).indices[:, 0]
    off = (y[200:] - model.predict(X[200:])) / sigma[served]
    assert 0.5 < np.sqrt(np.mean(off**2)) < 1.7


@pytest.mark.filterwarnings("ignore:Gradient left expert")
def test_an_erased_gate_breaks_ties_alike_in_training_and_prediction(regimes):
    X, y = regimes
    model = MoERegressor(
        n_experts=3,
        gate=SoftmaxGate(alpha=1e9),
        router=TopKRouter(1, training="sparse"),
        trainer=Gradient(max_epochs=6, start="random"),
        random_state=0,
    ).fit(X, y)
    np.testing.assert_allclose(model.log_density(X, y).sum(), model.log_likelihood_)


@pytest.mark.filterwarnings("ignore:Gradient left expert")
def test_history_tells_what_the_gate_does(regimes):
    X, y = regimes
    losses = [LoadBalancingLoss(0.1), RouterZLoss()]
    trainer = Gradient(losses=losses, max_epochs=10, schedule="constant")
    model = MoERegressor(n_experts=3, router=1, trainer=trainer, random_state=0)
    history = model.fit(X, y).history_
    parts = [history[type(loss).__name__] for loss in losses]
    whole = np.sum([history["task_loss"], *parts], axis=0)
    np.testing.assert_allclose(whole, -np.array(history["bound"]))
    gate = np.array(history["gate_load"])
    np.testing.assert_allclose(gate.sum(axis=1), 1)
    assert np.ptp(gate[5]) > 1e-3
    assert 0 < history["gate_entropy"][-1] < np.log(3)
    assert np.isfinite(history["held_out_loss"]).all()


@pytest.mark.parametrize("losses", [LoadLoss(), ["load"], [LoadLoss], None])
def test_what_is_no_list_of_losses_is_refused(regimes, losses):
    model = MoERegressor(n_experts=2, trainer=Gradient(losses=losses))
    with pytest.raises(ValueError, match="losses"):
        model.fit(*regimes)


def test_losses_of_a_gate_that_is_not_asked_are_refused(regimes):
    trainer = Gradient(losses=[LoadBalancingLoss()])
    model = MoERegressor(n_experts=2, router=HashRouter(), trainer=trainer)
    with pytest.raises(ValueError, match="LoadBalancingLoss with router=HashRouter"):
        model.fit(*regimes)
