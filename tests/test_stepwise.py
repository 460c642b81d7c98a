"""Stepwise EM: ``partial_fit`` adds batches to sums over rows."""

import copy
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.routers import HashRouter
from skmoe.trainers import EM

K, N, SIZE = 3, 3000, 500


def rows(n=N, seed=0, flip=1.0):
    """Three lines behind a softmax of two columns; a change point flips them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    slopes = flip * np.array([[3.0, 0.0], [-2.0, 1.0], [0.0, -3.0]])
    logits = X @ np.array([[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]]).T
    own = (logits + rng.gumbel(size=(n, K))).argmax(axis=1)
    y = np.einsum("ij,ij->i", X, slopes[own]) + own - 1.0
    return X, y + 0.3 * rng.normal(size=n)


X, Y = rows()
LABELS = np.digitize(Y, [-1.0, 1.0])
HELD_OUT = rows(seed=1)
SOFT = SoftmaxGate(alpha=0.1)
MODELS = {
    "regressor": MoERegressor(LinearExpert(), K, random_state=0),
    "two outputs": MoERegressor(LinearExpert(), K, random_state=0),
    "no penalty": MoERegressor(LinearExpert(alpha=0), K, gate=SOFT, random_state=0),
    "lasso": MoERegressor(
        LinearExpert(alpha=1.0, l1_ratio=0.5),
        K,
        gate=SoftmaxGate(alpha=0.1, l1_ratio=0.5),
        random_state=0,
    ),
    "one variance": MoERegressor(
        LinearExpert(), K, likelihood=Gaussian(variance="shared"), random_state=0
    ),
    "constant gate": MoERegressor(LinearExpert(), K, gate="constant", random_state=0),
    "other columns": MoERegressor(LinearExpert(), K, gate_features=[0], random_state=0),
    "sparse": MoERegressor(LinearExpert(), K, router=2, random_state=0),
    "shared": MoERegressor(LinearExpert(), K, shared_expert=Ridge(), random_state=0),
    "hard": MoERegressor(LinearExpert(), K, trainer="hard-em", random_state=0),
    "tree": HierarchicalMoERegressor(branching=(2, 2), random_state=0),
    "classifier": MoEClassifier(LinearExpert(), K, random_state=0),
    "tree of classes": HierarchicalMoEClassifier(
        branching=(2, 2), n_init=2, random_state=0
    ),
}
# The last digits of fits are not what is looked at.
for name in set(MODELS) - {"hard"}:
    MODELS[name].set_params(trainer=EM(tol=1e-5))

# A shared expert is fitted to folds of all rows anew, and top-k after soft training.
PLAIN = [name for name in MODELS if name not in ("shared", "hard", "sparse")]


def target(name, A=X, b=Y):
    if name == "two outputs":
        return np.column_stack([b, A[:, 0] - b])
    return np.digitize(b, [-1.0, 1.0]) if "class" in name else b


def batches(*arrays, size=SIZE):
    return [[own[i : i + size] for own in arrays] for i in range(0, N, size)]


def streamed(model, parts):
    for number, (A, b, *weight) in enumerate(parts):
        first = number == 0 and hasattr(model, "class_weight")
        own = {"classes": [0, 1, 2]} if first else {}
        model.partial_fit(
            A, b, **own | dict(zip(["sample_weight"], weight, strict=False))
        )
    return model


def stepping(model, **parameters):
    """The model whose trainer is an object with these parameters."""
    kind = type(clone(model).trainer) if model.trainer != "em" else EM
    return clone(model).set_params(trainer=kind(**parameters))


@pytest.mark.filterwarnings("ignore:EM stopped", "ignore:Expert")
@pytest.mark.parametrize("name", PLAIN)
def test_one_step_on_all_rows_is_an_iteration(name):
    brief = {"max_iter": 3, "accelerate": False, "step": 1.0}
    model = stepping(MODELS[name], **brief).fit(X, target(name))
    before = model.log_density(X, target(name))
    again = copy.deepcopy(model).set_params(warm_start=True, trainer__max_iter=1)
    again.fit(X, target(name))
    model.partial_fit(X, target(name))
    after = model.log_density(X, target(name))
    np.testing.assert_allclose(
        after, again.log_density(X, target(name)), rtol=0, atol=1e-10
    )
    assert np.abs(after - before).max() > 1e-6


# What is told by a tree, and by classes, takes long for both together.
@pytest.fixture(scope="module", params=[*MODELS][:-1])
def trained(request):
    """A name, the batches, and models after one, three and all of them."""
    name = request.param
    parts, models = batches(X, target(name)), [clone(MODELS[name])]
    streamed(models[0], parts[:1])
    for few in (parts[1:3], parts[3:]):
        models.append(went_on(copy.deepcopy(models[-1]), few))
    return name, parts, models


def went_on(model, parts):
    """The model after further batches."""
    for A, b in parts:
        model.partial_fit(A, b)
    return model


@pytest.mark.filterwarnings("ignore:Expert")
def test_a_pass_comes_near_the_optimum(trained):
    name, parts, (start, _, model) = trained
    A, b = HELD_OUT[0], target(name, *HELD_OUT)
    full = clone(MODELS[name]).fit(X, target(name))
    densities = [own.log_density(A, b).mean() for own in (start, model, full)]
    assert densities[1] > densities[0]
    assert densities[2] - densities[1] < (0.06 if "class" in name else 0.015)
    assert model.n_iter_ == len(model.lower_bounds_) + 1 == N // SIZE
    np.testing.assert_allclose(model.expert_load_.sum(), 1.0)


def test_pickled_in_the_middle(trained):
    _, parts, (_, half, model) = trained
    half = went_on(pickle.loads(pickle.dumps(half)), parts[3:])
    np.testing.assert_array_equal(half.predict(X), model.predict(X))
    assert half.history_["log_density"] == model.history_["log_density"]


def test_threads_change_nothing():
    first, second, *_ = batches(X, Y)
    one = streamed(clone(MODELS["tree"]), [first])
    two = copy.deepcopy(one).set_params(n_jobs=2)
    for model in (one, two):
        model.partial_fit(*second)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


@pytest.mark.parametrize(("name", "atol"), [("regressor", 1e-8), ("classifier", 1e-4)])
def test_a_weight_of_two_is_the_row_twice(name, atol):
    weight = np.random.default_rng(2).integers(0, 3, N).astype(float)
    parts = batches(X, target(name), weight)[:3]
    repeated = [
        [np.repeat(own, w.astype(int), axis=0) for own in (A, b)] for A, b, w in parts
    ]
    one, two = (streamed(clone(MODELS[name]), own) for own in (parts, repeated))
    np.testing.assert_allclose(
        one.log_density(X, target(name)),
        two.log_density(X, target(name)),
        rtol=0,
        atol=atol,
    )


@pytest.mark.parametrize("size", [1, SIZE])
def test_rows_of_hardly_any_weight_change_hardly_anything(size):
    # With penalties by evidence each step goes on towards the next.
    model = streamed(clone(MODELS["no penalty"]), batches(X, Y)[:5])
    before = model.predict(X)
    model.partial_fit(X[:size], -Y[:size], sample_weight=np.full(size, 2.0**-60))
    np.testing.assert_allclose(model.predict(X), before, rtol=0, atol=1e-6)
    assert np.isfinite(model.log_likelihood_)


def test_a_constant_step_follows_drift():
    before, after = batches(X, Y), batches(*rows(seed=3, flip=0.5))
    constant = stepping(MODELS["regressor"], step=0.3)
    falling = clone(MODELS["regressor"])
    for model in (constant, falling):
        streamed(model, before + 3 * after)
    told = np.array(constant.history_["log_density"])
    # The batch at the change point is a surprise, those after it less and less.
    assert told.argmin() == len(before) - 1
    A, b = rows(seed=4, flip=0.5)
    reached = clone(falling).fit(A, b).log_density(A, b).mean()
    lost = [reached - own.log_density(A, b).mean() for own in (constant, falling)]
    assert lost[0] < 0.02 < 0.04 < lost[1]


def test_sums_of_all_rows_are_those_of_one_pass():
    parts = batches(X, Y)
    model = streamed(stepping(MODELS["regressor"], step_exponent=1.0), parts)
    memory = model._learned.state
    assert memory.weight == memory.seen == N
    assert memory.sums[1].sum() == pytest.approx(N)


def test_small_batches_find_their_roles_in_more_rows():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6000, 3))
    slopes, gates = rng.normal(size=(2, 5, 3))
    own = (2 * A @ gates.T + rng.gumbel(size=(6000, 5))).argmax(axis=1)
    b = 2 * np.einsum("ij,ij->i", A, slopes[own]) + own + 0.2 * rng.normal(size=6000)
    model, kept = MoERegressor(LinearExpert(), 5, random_state=0), []
    for start in range(0, 5000, 250):
        model.partial_fit(A[start : start + 250], b[start : start + 250])
        first = model._learned.state.first
        kept.append(0 if first is None else len(first))
    # 150 rows for each of five times four coefficients.
    assert kept[:11] == [*range(250, 3000, 250)]
    assert not any(kept[11:])
    full = clone(model).fit(A[:5000], b[:5000])
    held_out = [own.log_density(A[5000:], b[5000:]).mean() for own in (full, model)]
    assert held_out[1] > held_out[0] - 0.03
    constant = stepping(model, step=0.5).partial_fit(A[:100], b[:100])
    assert constant._learned.state.first is None


@pytest.mark.parametrize("freeze", ["experts", "gate", ["expert1"]])
@pytest.mark.parametrize("alpha", [5.0, "evidence"])
def test_frozen_parts_stay_bitwise_the_same(freeze, alpha):
    model = clone(MODELS["regressor"]).set_params(experts__alpha=alpha)
    streamed(model, batches(X, Y)[:2])
    before, gate = model.named_experts_, model.gate_
    sigma = [own.sigma_ for own in model.likelihoods_]
    for A, b in batches(X, Y)[2:5]:
        model.partial_fit(A, b, freeze=freeze)
    for number, (name, old) in enumerate(before.items()):
        same = freeze == "experts" or name in freeze
        new = model.named_experts_[name]
        assert np.array_equal(old.coef_, new.coef_) == same
        assert np.array_equal(sigma[number], model.likelihoods_[number].sigma_) == same
    assert np.array_equal(gate.coef_, model.gate_.coef_) == (freeze == "gate")
    with pytest.raises(ValueError, match="in the first call"):
        clone(model).partial_fit(X, Y, freeze=freeze)


def test_the_first_batch_says_how_many_experts_pay():
    model = MoERegressor(random_state=0)
    for A, b in batches(X, Y, size=1000):
        model.partial_fit(A, b)
    assert model.n_experts_ == model.history_["n_experts"]["compared"][0]["n_left"] > 1
    line = MoERegressor().partial_fit(X[:500], X[:500, 0])
    assert line.partial_fit(X[500:], X[500:, 0]).n_experts_ == 1


@pytest.mark.filterwarnings("ignore:EM stopped")
def test_fit_keeps_its_sums_for_a_step():
    model = stepping(MODELS["regressor"], step=0.3).fit(X[:2000], Y[:2000])
    before = model.log_density(*HELD_OUT).mean()
    model.partial_fit(X[2000:2050], Y[2000:2050])
    assert abs(model.log_density(*HELD_OUT).mean() - before) < 0.01
    plain = clone(MODELS["regressor"]).fit(X, Y)
    predicted = plain.predict(X)
    # What checks of scikit-learn call is there, or is not.
    assert not hasattr(plain, "partial_fit")
    with pytest.raises(AttributeError) as told:
        plain.partial_fit(X, Y)
    assert "begin with partial_fit" in str(told.value)
    assert "trainer=EM(step=...)" in str(told.value)
    with pytest.raises(ValueError, match="fitted by another trainer"):
        clone(model).partial_fit(X, Y).set_params(trainer="gradient").partial_fit(X, Y)
    np.testing.assert_array_equal(plain.predict(X), predicted)


def test_columns_and_targets_without_spread_at_first():
    A = np.column_stack([X, np.where(np.arange(N) < SIZE, 5.0, 1e3 * X[:, 0])])
    model = streamed(clone(MODELS["regressor"]), batches(A, Y + 1e-3 * A[:, 2]))
    full = clone(MODELS["regressor"]).fit(A, Y + 1e-3 * A[:, 2])
    assert np.all(model.experts_[0].coef_[2] != 0)
    late = slice(SIZE, None)
    gap = full.predict(A[late]) - model.predict(A[late])
    assert np.sqrt(np.mean(gap**2)) < 0.2
    quiet = MoERegressor(LinearExpert(), 2, random_state=0)
    quiet.partial_fit(X[:SIZE], np.full(SIZE, 7.0)).partial_fit(X, 7 + 1e-6 * X[:, 0])
    assert np.corrcoef(quiet.predict(X), X[:, 0])[0, 1] > 0.99


def test_classes_that_come_late():
    order = np.argsort(LABELS[:2000] == 2, kind="stable")
    model = streamed(clone(MODELS["classifier"]), batches(X[order], LABELS[order])[:4])
    assert model.predict_proba(X).shape == (N, 3)
    late = order[-100:]
    assert np.mean(model.predict(X[late]) == LABELS[late]) > 0.5
    with pytest.raises(ValueError, match="classes must be passed"):
        clone(model).partial_fit(X, LABELS)


class Incremental:
    """How ``dask_ml.wrappers.Incremental`` trains: block after block, by keywords."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, blocks, **kwargs):
        model = clone(self.estimator)
        for A, b in blocks:
            model = copy.deepcopy(model).partial_fit(A, b, **kwargs)
        return model


@pytest.mark.parametrize("name", ["regressor", "classifier"])
def test_wrappers_give_classes_each_time(name):
    parts = batches(X, target(name))[:2]
    model = streamed(clone(MODELS[name]), parts)
    own = {"classes": [0, 1, 2]} if "class" in name else {}
    found = Incremental(MODELS[name]).fit(parts, **own)
    np.testing.assert_array_equal(found.predict(X), model.predict(X))


def test_too_few_rows_are_told():
    model = clone(MODELS["regressor"])
    with pytest.raises(ValueError, match="3 experts need at least 3 rows"):
        model.partial_fit(X[:2], Y[:2])
    with pytest.warns(UserWarning, match="sums of 15 rows.*expected at least 18"):
        model.partial_fit(X[:15], Y[:15])
    forgetful = stepping(model, step=1.0).partial_fit(X, Y)
    with pytest.warns(UserWarning, match="sums of 10 rows"):
        forgetful.partial_fit(X[:10], Y[:10])


REFUSED = {
    "variance": MoERegressor(n_experts=2, likelihood="heteroscedastic"),
    "one variance": MoERegressor("additive", 2, likelihood=Gaussian(variance="shared")),
    "ridge": MoERegressor(LinearExpert(alpha=1.0), 2, likelihood="student-t"),
    "lasso": MoERegressor(LinearExpert(l1_ratio=0.5, alpha=1.0), 2, gate="additive"),
    "lasso of a gate": MoERegressor("additive", 2, gate=SoftmaxGate(1.0, l1_ratio=0.5)),
    "noise": MoERegressor(n_experts=2, noise=True),
    "other library": MoERegressor(Ridge(), 2),
    "network as gate": MoERegressor("additive", n_experts=2, gate="mlp"),
    "tree of networks": HierarchicalMoERegressor("additive", (2, 2), gate="mlp"),
    "capacity": MoERegressor("additive", 2, router=HashRouter()),
    "prediction": MoERegressor(n_experts=2, trainer=EM(objective="prediction")),
    "members": MoERegressor(n_experts=2, n_members=2),
    "growing": HierarchicalMoERegressor(branching="grow"),
    "two stages": MoERegressor(n_experts=2, trainer="two-stage"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keeps_no_sums_is_refused_by_name(name):
    assert not hasattr(REFUSED[name], "partial_fit")
    with pytest.raises(AttributeError) as found:
        REFUSED[name].partial_fit(X, Y)
    assert "has no partial_fit with" in str(found.value)


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        ({"step": 0.0}, "step=0.0"),
        ({"step": 1.5}, "step=1.5"),
        ({"step_exponent": 0.5}, "step_exponent=0.5"),
        ({"step_exponent": 2}, "step_exponent=2"),
    ],
)
def test_steps_out_of_range(parameters, what):
    with pytest.raises(ValueError, match=f"EM got {what}, but expected"):
        MoERegressor(trainer=EM(**parameters)).partial_fit(X, Y)


def test_failed_calls_leave_the_model():
    model = streamed(clone(MODELS["regressor"]), batches(X, Y)[:2])
    before, memory = model.predict(X), pickle.dumps(model._learned.state)
    bad = Y.copy()
    bad[5] = np.nan
    calls = [
        (X[:, :1], Y, {}, "features"),
        (X, bad, {}, "NaN"),
        (X, np.column_stack([Y, Y]), {}, "n_outputs"),
        (X, Y, {"freeze": "gates"}, "freeze='gates'"),
        (X, Y, {"sample_weight": -np.ones(N)}, "sample_weight"),
    ]
    for A, b, more, match in calls:
        with pytest.raises(ValueError, match=match):
            model.partial_fit(A, b, **more)
    apart = clone(MODELS["sparse"])
    lasso = LinearExpert(alpha=0.1, l1_ratio=0.5)
    columns = {"expert0": [0], "expert1": [1]}
    apart.set_params(experts=lasso, expert_features=columns)
    with pytest.raises(ValueError, match="its parts do not share"):
        apart.partial_fit(X, Y)
    assert not hasattr(apart, "gate_")
    np.testing.assert_array_equal(model.predict(X), before)
    assert pickle.dumps(model._learned.state) == memory


def test_the_example_of_a_stream_runs(tmp_path, monkeypatch, capsys):
    example = Path(__file__).parent.parent / "examples" / "stream.py"
    if not example.exists():
        pytest.skip("not a source tree")
    picture = tmp_path / "stream.png"
    monkeypatch.setattr(sys, "argv", [str(example), "--picture", str(picture)])
    runpy.run_path(str(example), run_name="__main__")
    assert "constant step: 0.68 nats per row before" in capsys.readouterr().out
    assert picture.exists()
