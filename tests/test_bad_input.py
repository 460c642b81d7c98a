"""Bad input gets a clear error, and leaves a fitted model as it was."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from skmoe import MoEClassifier, MoERegressor
from skmoe.distillation import distill
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, GaussianGate, GroupGate, SoftmaxGate
from skmoe.inspection import expert_usage
from skmoe.likelihoods import Gaussian
from skmoe.model_selection import merge_experts
from skmoe.routers import TopKRouter
from skmoe.trainers import EM, Gradient

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.abs(X[:, 0]) + 0.1 * X[:, 1] + 0.1 * np.sin(9 * X[:, 2])
LABELS = (Y > 0.5).astype(int)


def with_value(value):
    changed = X.copy()
    changed[3, 1] = value
    return changed


BAD_DATA = [
    (X[:, 0], Y, "2D"),
    (X, Y[:-1], "inconsistent"),
    (with_value(np.nan), Y, "NaN"),
    (with_value(np.inf), Y, "infinity"),
    (X, np.where(Y > 1, np.nan, Y), "NaN"),
    (X, np.where(Y > 1, np.inf, Y), "infinity"),
    (X[:3], Y[:3], "n_samples=3"),
    (X, np.array(["a"] * 40), "could not convert"),
    (X, None, "requires y"),
    (X, Y.reshape(2, 2, 10), "dim"),
    (np.array([["a", "b"]] * 40), Y, "could not convert"),
]


@pytest.mark.parametrize(("X", "y", "message"), BAD_DATA)
def test_bad_data(X, y, message):
    with pytest.raises(ValueError, match=message):
        MoERegressor(n_experts=4).fit(X, y)


BAD_WEIGHTS = [
    (np.zeros(40), "zero"),
    (-np.ones(40), "egative"),
    (np.ones(39), "shape"),
    (np.full(40, np.nan), "NaN"),
    ((np.arange(40) < 2).astype(float), "n_samples=2"),
]


@pytest.mark.parametrize(("weight", "message"), BAD_WEIGHTS)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        MoERegressor(n_experts=4).fit(X, Y, sample_weight=weight)


BAD_PARAMETERS = [
    ({"gate": "sofmax"}, "sofmax.*softmax"),
    ({"gate": Ridge()}, "classifier"),
    ({"gate": KNeighborsClassifier()}, "sample_weight"),
    ({"gate": ClassifierGate(LinearSVC())}, "predict_proba"),
    ({"trainer": "me"}, "me.*em"),
    ({"likelihood": "poison"}, "poison.*gaussian"),
    ({"router": 5}, "between 1 and"),
    ({"router": TopKRouter(2, training="soft")}, "soft"),
    ({"router": "top"}, "router"),
    ({"n_experts": 0}, "n_experts"),
    ({"experts": []}, "at least one"),
    ({"experts": [("a", Ridge()), ("a", Ridge())]}, "same name"),
    ({"experts": [("gate", Ridge()), ("b", Ridge())]}, "gate"),
    ({"experts": [("a__b", Ridge()), ("b", Ridge())]}, "__"),
    ({"experts": LogisticRegression()}, "classifier"),
    ({"experts": [Ridge, Ridge]}, "instance"),
    ({"experts": LinearExpert(alpha=-1)}, "alpha=-1"),
    ({"gate": SoftmaxGate(alpha=-1)}, "alpha=-1"),
    ({"gate": GaussianGate(covariance="ful")}, "ful"),
    ({"gate": GaussianGate(alpha=-1)}, "alpha=-1"),
    ({"gate": GroupGate("town")}, "town"),
    ({"likelihood": Gaussian(variance="own")}, "own"),
    ({"likelihood": Gaussian(floor=2)}, "floor=2"),
    ({"trainer": EM(max_iter=0)}, "max_iter=0"),
    ({"trainer": EM(tol=-1)}, "tol=-1"),
    ({"gate_features": "splines"}, "splines"),
    ({"gate_features": 3.5}, "3.5"),
    ({"expert_features": {"nobody": [0]}}, "nobody"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS)
def test_bad_parameters(parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MoERegressor(**parameters).fit(X, Y)


def test_failed_fit_leaves_the_model_as_it_was():
    model = MoERegressor(n_experts=4, trainer=EM(min_load=0)).fit(X, Y)
    before, predicted = copy.copy(vars(model)), model.predict(X)
    for bad_X, bad_y, _ in BAD_DATA:
        with pytest.raises(ValueError, match="."):
            model.fit(bad_X, bad_y)
    with pytest.raises(ValueError, match="alpha"):
        model.set_params(gate=SoftmaxGate(alpha=-1)).fit(X[:, :2], Y)
    model.set_params(gate="softmax")
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[k] is v for k, v in before.items() if k.endswith("_"))
    np.testing.assert_array_equal(model.predict(X), predicted)


def test_unseen_labels_and_wrong_targets():
    model = MoEClassifier(n_experts=2).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"\[7\]"):
        model.log_density(X, np.full(40, 7))
    with pytest.raises(ValueError, match="continuous"):
        MoEClassifier().fit(X, Y)
    with pytest.raises(ValueError, match="requires y"):
        MoEClassifier().fit(X, None)
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :2])


def test_one_class_predicts_it():
    model = MoEClassifier(n_experts=2).fit(X, np.full(40, "only"))
    assert set(model.predict(X)) == {"only"}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((40, 1)))


WITHOUT_PARAMETERS = {
    "router__k": r"such as router=TopKRouter\(2\)",
    "shared_expert__alpha": r"such as shared_expert=LinearExpert\(\)",
    "gate_features__n_knots": "such as gate_features='piecewise-linear'",
    "n_experts__k": "set n_experts itself",
    "gate__bogus": r"'bogus' for estimator SoftmaxGate\(\)",
    "likelihood__bogus": r"'bogus' for estimator Gaussian\(\)",
    "nonsense": "nonsense",
}


@pytest.mark.parametrize("key", WITHOUT_PARAMETERS)
def test_what_has_no_such_parameter_is_named(key):
    model = MoERegressor()
    before = model.get_params()
    with pytest.raises(ValueError, match=WITHOUT_PARAMETERS[key]):
        model.set_params(**{key: 1, "experts__alpha": 3.0})
    if key != "nonsense":
        assert model.get_params() == before


def test_nested_parameters_of_lists_and_unknown_presets():
    with pytest.raises(ValueError, match="nobody"):
        MoERegressor([("a", Ridge())]).set_params(nobody__alpha=1)
    with pytest.raises(ValueError, match=r"by their names \['a'\]"):
        MoERegressor([("a", Ridge())]).set_params(experts__alpha=1)
    with pytest.raises(ValueError, match="gate='sofmax', but expected one of"):
        MoERegressor(gate="sofmax").set_params(gate__alpha=1)
    with pytest.raises(ValueError, match="no parameters of its own"):
        MoERegressor(expert_features={"a": [0]}).set_params(expert_features__n_knots=2)


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.parametrize("alpha", [0, 1.0])
def test_constant_and_collinear_columns(alpha):
    design = np.column_stack([X, X[:, 0], X[:, 0] * 3 + 1, np.full(40, 7.0)])
    model = MoERegressor(
        LinearExpert(alpha=alpha), n_experts=2, gate=SoftmaxGate(alpha=alpha)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = model.fit(design, Y).predict(design)
    assert np.all(np.isfinite(predicted))
    np.testing.assert_allclose(predicted, Y, atol=1.0)


def test_constant_target():
    model = MoERegressor(n_experts=2).fit(X, np.full(40, 3.0))
    np.testing.assert_allclose(model.predict(X), 3.0)
    assert np.isfinite(model.log_likelihood_)


def test_warm_start_with_another_size():
    model = MoERegressor(n_experts=2, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="clone"):
        model.set_params(n_experts=3).fit(X, Y)


def test_rows_far_beyond_those_of_training_have_weights():
    X = np.zeros((12, 2))
    X[0, 0] = 1e-236
    model = MoERegressor(n_experts=2, gate=GaussianGate(alpha=0)).fit(X, np.zeros(12))
    far = np.array([[1.0, 0.0], [-1e100, 0.0]])
    np.testing.assert_allclose(model.gate_proba(far).sum(axis=1), 1.0)
    assert np.isfinite(model.predict(far)).all()


UGLY = st.floats(-1e12, 1e12, allow_subnormal=False) | st.sampled_from([0.0, 1e-9])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(
    X=arrays(float, (12, 2), elements=UGLY),
    y=arrays(float, 12, elements=UGLY),
    weight=arrays(float, 12, elements=st.sampled_from([0.0, 1.0, 1e-6, 1e6])),
    gate=st.sampled_from(["softmax", "gaussian", "constant"]),
    alpha=st.sampled_from([0.0, 1.0]),
)
def test_ugly_numbers_never_break_a_fit(X, y, weight, gate, alpha):
    weight[:3] = 1.0
    # Targets that are all below any unit are refused.
    y = np.where(np.abs(y) < 1e-100, 0.0, y)
    model = MoERegressor(LinearExpert(alpha=alpha), n_experts=2, gate=gate)
    model.set_params(trainer=EM(max_iter=20, max_refits=5))
    model.fit(X, y, sample_weight=weight)
    scale = np.abs(y).max() + 1.0
    assert np.all(np.isfinite(model.predict(X) / scale))
    np.testing.assert_allclose(model.gate_proba(X).sum(axis=1), 1.0)
    assert np.isfinite(model.log_likelihood_)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=30, deadline=None)
@given(
    X=arrays(float, (12, 2), elements=UGLY),
    y=arrays(int, 12, elements=st.integers(-2, 2)),
    alpha=st.sampled_from([0.0, 1.0]),
)
def test_ugly_numbers_never_break_a_classifier(X, y, alpha):
    model = MoEClassifier(LinearExpert(alpha=alpha), n_experts=2)
    model.set_params(trainer=EM(max_iter=20)).fit(X, y)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert np.all(proba >= 0)


CONTINUED = {
    "fused": {},
    "refitted": {"experts": Ridge()},
    "gaussian gate": {"gate": "gaussian"},
    "classifier gate": {"gate": LogisticRegression()},
    "gradient": {"trainer": Gradient(max_epochs=2)},
    "members": {"n_members": 2},
    "shared": {"shared_expert": Ridge()},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONTINUED)
def test_warm_start_goes_on_with_the_same_data_only(name):
    """What cannot be gone on from is refused in words, and the model stays."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
    y = np.abs(table["a"]) + 0.1 * rng.normal(size=60)
    model = MoERegressor(n_experts=2, warm_start=True, random_state=0)
    model.set_params(**CONTINUED[name]).fit(table, y)
    before = model.predict(table)
    cases = [
        (table[["a", "b"]], y, "n_features=2, but was fitted with n_features=3"),
        (table.assign(d=1.0), y, "n_features=4, but was fitted with n_features=3"),
        (table[["c", "b", "a"]], y, r"columns \['c', 'b', 'a'\]"),
        (table.rename(columns={"c": "d"}), y, r"columns \['a', 'b', 'd'\]"),
        (table, np.column_stack([y, y]), "n_outputs=2, but was fitted"),
    ]
    for X, target, message in cases:
        with pytest.raises(ValueError, match=message):
            model.fit(X, target)
    for options in ({"expert_features": ["a"]}, {"gate_features": ["a"]}):
        changed = clone(model).fit(table, y).set_params(**options)
        with pytest.raises(ValueError, match="n_features=1 for (expert0|the gate)"):
            changed.fit(table, y)
    np.testing.assert_array_equal(model.predict(table), before)
    assert model.fit(table.to_numpy(), y.to_numpy()[:, None]).n_features_in_ == 3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options",
    [{}, {"experts": LogisticRegression()}, {"trainer": Gradient(max_epochs=2)}],
)
def test_warm_start_goes_on_with_the_same_classes_only(options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
    model = MoEClassifier(n_experts=2, warm_start=True, random_state=0, **options)
    before = model.fit(X, y).predict_proba(X)
    for other in (
        np.minimum(y, 1),
        np.minimum(y, 1) * 2,
        y + 1,
        np.array(list("abc"))[y],
    ):
        with pytest.raises(ValueError, match="but was fitted with the classes"):
            model.fit(X, other)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert list(model.fit(X, y).classes_) == [0, 1, 2]


@pytest.mark.parametrize(
    "weight",
    [-np.ones(60), np.zeros(60), np.full(60, np.nan), np.full(60, np.inf), np.ones(3)],
    ids=["negative", "zero", "nan", "inf", "short"],
)
def test_weights_are_checked_wherever_they_are_taken(weight):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + rng.normal(size=60)
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    classifier = MoEClassifier(n_experts=2, random_state=0).fit(X, y > 0)
    calls = [
        lambda: model.aic(X, y, weight),
        lambda: model.bic(X, y, weight),
        lambda: model.icl(X, y, weight),
        lambda: model.score(X, y, weight),
        lambda: classifier.score(X, y > 0, weight),
        lambda: classifier.bic(X, y > 0, weight),
        lambda: expert_usage(model, X, y, weight),
        lambda: distill(model, X, n_experts=1, sample_weight=weight),
        lambda: merge_experts(model, X, y, weight),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"[Ss]ample.weight"):
            call()
    assert classifier.score(X, y > 0, np.ones(60)) == classifier.score(X, y > 0)
    repeated = np.r_[X, X], np.r_[y, y]
    assert model.bic(X, y, np.full(60, 2.0)) == pytest.approx(model.bic(*repeated))
