"""The shared expert: always active; routed experts model what it leaves."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._shared import fit_shared
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import GaussianGate
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
    fitted, offset = fit_shared(
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
    assert fitted.score(X[7:], y[7:]) == 1.0


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
    bounds = np.array(model.lower_bounds_)
    assert len(bounds) > 2
    assert np.all(np.diff(bounds) >= -1e-9 * np.abs(bounds).max())


def test_fused_and_general_em_agree_on_classes(classification):
    """The same start and objective, once fused and once fitted anew."""
    X, y = classification
    fused = classifier(trainer=EM(tol=1e-9, accelerate=False)).fit(X, y)
    general = clone(fused).set_params(trainer=EM(tol=1e-9, max_refits=200), router=None)
    # Experts with their own columns are outside of the fused EM.
    general.set_params(
        expert_features={"expert0": [0, 1, 2, 3], "expert1": StandardScaler()}
    )
    general.fit(X, y)
    np.testing.assert_allclose(
        general.lower_bounds_[-1], fused.lower_bounds_[-1], atol=2e-3
    )


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
    plain = regressor(shared_expert=None).fit(X, y).n_parameters_
    model = regressor(shared_expert=Ridge()).fit(X, y)
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
