"""The shared expert: always active; routed experts model what it leaves."""

import numpy as np
import pytest
from records import never_falls
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_info

from skmoe import MoEClassifier, MoERegressor
from skmoe._estimators.shared import fit_shared
from skmoe.engines import _threads, single_threaded_blas
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import GaussianGate, SoftmaxGate
from skmoe.routers import ExpertChoiceRouter, SwitchRouter
from skmoe.trainers import EM, Gradient

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
TRAINERS = {"em": EM(), "hard-em": "hard-em", "gradient": Gradient(max_epochs=20)}
SHARED = {True: LogisticRegression(), False: DecisionTreeRegressor(max_depth=3)}


def regressor(**more):
    arguments = {"n_experts": 3, "shared_expert": SHARED[False], "random_state": 0}
    return MoERegressor(**{**arguments, **more})


def classifier(**more):
    arguments = {"n_experts": 2, "shared_expert": SHARED[True], "random_state": 0}
    return MoEClassifier(**{**arguments, **more})


@pytest.mark.parametrize("trainer", TRAINERS)
def test_experts_are_trained_on_what_is_left(regression, trainer):
    X, y = regression
    fitted = clone(SHARED[False]).fit(X[:200], y[:200])
    trainer = TRAINERS[trainer]
    model = regressor(shared_expert=FrozenEstimator(fitted), trainer=trainer)
    model.fit(X, y)
    left = y - fitted.predict(X)
    plain = regressor(shared_expert=None, trainer=trainer).fit(X, left)
    np.testing.assert_allclose(
        model.predict(X), fitted.predict(X) + plain.predict(X), rtol=1e-10
    )
    np.testing.assert_allclose(model.log_density(X, y), plain.log_density(X, left))
    assert model.shared_expert_.estimator is fitted


def test_left_is_measured_out_of_fold(regression):
    """A tree that knows its rows by heart leaves them more than nothing."""
    X, y = regression
    model = regressor(shared_expert=DecisionTreeRegressor(random_state=0)).fit(X, y)
    np.testing.assert_array_equal(model.shared_expert_.predict(X), y)
    assert min(x.sigma_ for x in model.likelihoods_) > 0.05 * y.std()


@pytest.mark.parametrize("classify", [False, True])
def test_out_of_fold_rows_are_not_seen(regression, classification, classify):
    X, y = classification if classify else regression
    tree = (DecisionTreeClassifier if classify else DecisionTreeRegressor)()
    classes = np.unique(y) if classify else None
    weight = np.ones(len(y))
    weight[:7] = 0.0
    shared, offset = fit_shared(
        tree,
        X,
        y,
        weight,
        classes=classes,
        seed=0,
        n_jobs=None,
        fit_params={},
    )
    assert not offset[:7].any()
    if classify:
        np.testing.assert_allclose(np.exp(offset[7:]).sum(axis=1), 1.0)
        known = np.exp(offset[7:])[np.arange(len(y) - 7), y[7:]]
        assert known.mean() < 0.95
    else:
        assert np.abs(offset[7:, 0] - y[7:]).mean() > 0.01
    assert shared.estimator.score(X[7:], y[7:]) == 1.0


def test_experts_without_freedom_leave_the_shared_one(regression, classification):
    X, y = regression
    model = regressor(
        experts=LinearExpert(alpha=1e12), n_experts=1, shared_expert=Ridge()
    )
    found = model.fit(X, y).predict(X) - Ridge().fit(X, y).predict(X)
    assert np.ptp(found) < 1e-6 * y.std()
    X, y = classification
    model = classifier(experts=LinearExpert(alpha=1e12), n_experts=1).fit(X, y)
    # Only the intercepts are free; probabilities near zero are smoothed.
    alone = LogisticRegression().fit(X, y)
    sure = alone.predict_proba(X).min(axis=1) < 1e-2
    shift = model.predict_log_proba(X) - alone.predict_log_proba(X)
    shift = (shift - shift[:, :1])[~sure]
    assert len(shift) > 50
    assert np.ptp(shift, axis=0).max() < 1e-3


@pytest.mark.parametrize("gate", ["softmax", GaussianGate()])
def test_one_class_expert_is_logistic_regression_with_offset(classification, gate):
    """The fused EM and that of any parts, against a general optimiser."""
    X, y = classification
    shared = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)
    model = classifier(
        experts=LinearExpert(alpha=2.0),
        n_experts=1,
        gate=gate,
        shared_expert=FrozenEstimator(shared),
        trainer=EM(tol=1e-12, max_refits=100),
    ).fit(X, y)
    offset = np.log((1 - 1e-6) * shared.predict_proba(X) + 1e-6 / 3)
    Z = StandardScaler().fit_transform(X)

    def loss(theta):
        coef = theta.reshape(3, -1)
        scores = log_softmax(Z @ coef[:, :-1].T + coef[:, -1] + offset, axis=1)
        return np.sum(coef[:, :-1] ** 2) - scores[np.arange(len(y)), y].sum()

    theta = minimize(loss, np.zeros(3 * (X.shape[1] + 1)), tol=1e-10).x.reshape(3, -1)
    expected = softmax(Z @ theta[:, :-1].T + theta[:, -1] + offset, axis=1)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-4)


@pytest.mark.parametrize("trainer", ["em", "hard-em"])
@pytest.mark.parametrize("gate", ["softmax", "gaussian"])
def test_objective_never_falls(classification, trainer, gate):
    model = classifier(trainer=trainer, gate=gate).fit(*classification)
    assert len(model.lower_bounds_) > 2
    assert never_falls(model)


def test_fused_and_general_em_agree_on_classes(classification):
    """Where the fused EM has converged, that of any parts stays."""
    X, y = classification
    model = classifier(
        experts=LinearExpert(alpha=1.0),
        gate=SoftmaxGate(alpha=0.1),
        trainer=EM(tol=1e-10, accelerate=False, max_iter=2000),
    )
    fused = model.fit(X, y).lower_bounds_[-1]
    # Experts with columns of their own are outside of the fused EM.
    model.set_params(
        expert_features={"expert0": [0, 1, 2, 3], "expert1": slice(0, 4)},
        trainer=EM(max_refits=2),
        warm_start=True,
    )
    np.testing.assert_allclose(model.fit(X, y).lower_bounds_, fused, atol=1e-6)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("classify", [False, True])
def test_rows_alone_and_in_parallel(regression, classification, trainer, classify):
    X, y = classification if classify else regression
    make = classifier if classify else regressor
    model = make(trainer=TRAINERS[trainer], router=2).fit(X, y)
    answer = model.predict_proba if classify else model.predict
    alone = np.concatenate([answer(X[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, answer(X[:10]), rtol=1e-9)
    parallel = make(trainer=TRAINERS[trainer], router=2, n_jobs=2).fit(X, y)
    other = parallel.predict_proba if classify else parallel.predict
    np.testing.assert_array_equal(other(X), answer(X))


@pytest.mark.parametrize("classify", [False, True])
def test_experts_and_members_contain_the_shared_one(
    regression, classification, classify
):
    X, y = classification if classify else regression
    make = classifier if classify else regressor
    model = make(n_members=2).fit(X, y)
    experts, weights = model.predict_experts(X), model.gate_proba(X)
    mean = np.einsum("nk,nk...->n...", weights, experts)
    np.testing.assert_allclose(
        mean, model.predict_proba(X) if classify else model.predict(X)
    )
    assert all(m.shared_expert_ is not None for m in model.members_)
    density = np.exp(model.log_density(X, y))
    parts = [np.exp(m.log_density(X, y)) for m in model.members_]
    np.testing.assert_allclose(density, np.mean(parts, axis=0))


def test_criteria_count_the_shared_expert(regression):
    X, y = regression
    fixed = {"experts": LinearExpert(alpha=1.0), "gate": SoftmaxGate(alpha=0.1)}
    plain = regressor(shared_expert=None, **fixed).fit(X, y).n_parameters_
    model = regressor(shared_expert=Ridge(), **fixed).fit(X, y)
    assert model.n_parameters_ == plain + X.shape[1] + 1
    with pytest.raises(ValueError, match="'shared_expert' has no count"):
        regressor().fit(X, y).aic(X, y)


def test_a_pyramid_is_made_of_mixtures(regression, classification):
    """Few experts first, more of them on what those leave."""
    X, y = regression
    pyramid = regressor(
        n_experts=4, shared_expert=MoERegressor(n_experts=2, shared_expert=Ridge())
    ).fit(X, y)
    assert isinstance(pyramid.shared_expert_.shared_expert_, Ridge)
    assert pyramid.score(X, y) > Ridge().fit(X, y).score(X, y)
    pyramid = classifier(shared_expert=MoEClassifier(n_experts=2))
    assert pyramid.fit(*classification).score(*classification) > 0.6


def test_several_outputs(regression):
    X, y = regression
    y = np.column_stack([y, -y])
    model = regressor().fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.predict_experts(X).shape == (len(X), 3, 2)


@pytest.mark.parametrize(
    "router",
    [
        SwitchRouter(capacity_factor=0.5, overflow="shared"),
        ExpertChoiceRouter(0.5, overflow="shared"),
    ],
)
@pytest.mark.parametrize("classify", [False, True])
def test_overflow_goes_to_the_shared_expert(
    regression, classification, router, classify
):
    X, y = classification if classify else regression
    make = classifier if classify else regressor
    model = make(router=router, trainer=Gradient(max_epochs=10)).fit(X, y)
    assert min(model.history_["overflow"][-3:]) > 0
    assert np.isfinite(model.log_density(X, y)).all()


def test_columns_of_the_shared_expert(regression):
    """X as it is, unless a dict names it."""
    pd = pytest.importorskip("pandas")
    X, y = regression
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["kind"] = np.where(X[:, 0] > 0, "up", "down")
    shared = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(), ["kind"]), ("passthrough", list("abcd"))
        ),
        Ridge(),
    )
    model = regressor(
        shared_expert=shared, expert_features=["a", "b"], gate_features=["c"]
    ).fit(frame, y)
    assert model.experts_[0].n_features_in_ == 2
    assert model.shared_expert_[-1].n_features_in_ == 6
    every = {f"expert{k}": ["a", "b"] for k in range(3)}
    model.set_params(
        shared_expert=LinearExpert(), expert_features={**every, "shared_expert": ["d"]}
    ).fit(frame, y)
    assert model.shared_expert_.n_features_in_ == 1
    with pytest.raises(ValueError, match="expert_features names"):
        regressor(shared_expert=None, expert_features={"shared_expert": ["d"]}).fit(
            frame[["a", "d"]], y
        )


def test_partial_fit_keeps_the_shared_expert(regression):
    X, y = regression
    model = regressor(trainer=Gradient(), shared_expert=Ridge())
    model.partial_fit(X[:200], y[:200])
    before = model.shared_expert_
    for _ in range(20):
        model.partial_fit(X[200:], y[200:])
    assert model.shared_expert_ is before
    assert model.score(X, y) > before.score(X, y)


def test_parameters_are_tuned_by_name(regression):
    X, y = regression
    search = GridSearchCV(
        regressor(shared_expert=Ridge()), {"shared_expert__alpha": [1.0, 1e6]}, cv=2
    )
    assert search.fit(X, y).best_params_ == {"shared_expert__alpha": 1.0}
    assert "Ridge" in regressor(shared_expert=Ridge())._repr_html_()


def test_foreign_classifiers_cannot_add_to_log_probabilities(classification):
    model = classifier(experts=DecisionTreeClassifier())
    with pytest.raises(ValueError, match="use LinearExpert or MLPExpert"):
        model.fit(*classification)
    model = classifier(experts=MLPExpert((4,)), trainer=Gradient(max_epochs=5))
    assert model.fit(*classification).score(*classification) > 0.5


def test_a_regressor_cannot_be_shared_by_a_classifier(classification):
    with pytest.raises(ValueError, match="'shared_expert'"):
        classifier(shared_expert=Ridge()).fit(*classification)


def test_discrete_columns_are_not_folds_of_their_own():
    """Rows with the same columns must not all be held out with their label."""
    rng = np.random.default_rng(0)
    kind, z = rng.integers(0, 10, 1200), rng.normal(size=1200)
    logit = np.where(kind % 2, 1.4, -1.4) + 0.5 * z
    y = (rng.random(1200) < 1 / (1 + np.exp(-logit))).astype(int)
    X = np.column_stack([kind, z])
    tree = DecisionTreeClassifier(random_state=0)
    model = classifier(
        shared_expert=tree,
        expert_features={"expert0": [1], "expert1": [1], "shared_expert": [0]},
        gate_features=[1],
    ).fit(X[:800], y[:800])
    alone = tree.fit(X[:800, :1], y[:800]).predict_proba(X[800:, :1])
    better = log_loss(y[800:], model.predict_proba(X[800:])) < log_loss(y[800:], alone)
    assert better


def test_neural_experts_under_em_start_from_the_shared_one(classification):
    """With the true probabilities as offset nothing is left to learn."""
    X, y = classification
    shared = LogisticRegression().fit(X, y)
    model = classifier(
        experts=MLPExpert((4,), alpha=1e6, random_state=0),
        n_experts=1,
        shared_expert=FrozenEstimator(shared),
    ).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), shared.predict_proba(X), atol=0.01
    )


def test_scale_does_not_matter(regression):
    X, y = regression
    model = regressor(shared_expert=LinearExpert())
    ours = clone(model).fit(X, y).predict(X)
    theirs = clone(model).fit(1e-9 * X, y).predict(1e-9 * X)
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_a_rare_class_and_constant_columns():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.zeros(60, int)
    y[3] = 1
    assert classifier().fit(X, y).score(X, y) > 0.9
    same = regressor(shared_expert=Ridge(), n_experts=2).fit(
        np.ones((20, 1)), X[:20, 0]
    )
    assert np.ptp(same.predict(np.ones((5, 1)))) < 1e-12


def test_members_count_the_shared_expert_once(regression):
    X, y = regression
    model = regressor(shared_expert=Ridge(), n_members=2).fit(X, y)
    own = [m.n_parameters_ for m in model.members_]
    assert model.n_parameters_ == sum(own) - (X.shape[1] + 1)


class Watched(Ridge):
    """Checks that metadata of rows comes with its rows."""

    def fit(self, X, y, sample_weight=None, extra=None):
        assert extra is None or np.array_equal(extra, X[:, 0])
        return super().fit(X, y, sample_weight=sample_weight)


def test_metadata_of_rows_is_sliced_with_them(regression):
    X, y = regression
    weight = np.ones(len(y))
    weight[::3] = 0.0
    with config_context(enable_metadata_routing=True):
        watched = Watched().set_fit_request(extra=True, sample_weight=True)
        model = regressor(experts=watched, shared_expert=clone(watched), router=1)
        model.fit(X, y, sample_weight=weight, extra=X[:, 0])
    assert isinstance(model.shared_expert_, Watched)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_shared_expert_cannot_be_added_later(regression, method):
    X, y = regression
    model = regressor(trainer=Gradient(max_epochs=3), shared_expert=None)
    getattr(model, method)(X, y)
    model.set_params(shared_expert=Ridge(), warm_start=True)
    with pytest.raises(ValueError, match="start afresh"):
        getattr(model, method)(X, y)


def test_outputs_must_agree(regression):
    X, y = regression
    frozen = FrozenEstimator(Ridge().fit(X, y))
    with pytest.raises(ValueError, match=r"Ridge.*shape \(400,\), but expected"):
        regressor(shared_expert=frozen).fit(X, np.column_stack([y, y]))


def test_threads_of_blas_come_back(regression):
    def threads():
        return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

    before = threads()
    inner = MoERegressor(n_experts=2, trainer=Gradient(max_epochs=2), random_state=0)
    for _ in range(3):
        regressor(shared_expert=inner, n_jobs=2).fit(*regression)
    assert threads() == before


def test_limits_of_blas_nest_in_any_order():
    first, second = single_threaded_blas(), single_threaded_blas()
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    assert _threads._limit.depth == 1
    second.__exit__(None, None, None)
    assert _threads._limit.depth == 0
