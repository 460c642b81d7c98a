"""Estimators around estimators as experts: who receives the weights."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts._foreign import fit_expert, takes_weight

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = RNG.normal(size=(80, 2)) + X[:, :1]
WEIGHT = RNG.uniform(0.1, 5.0, size=80)


def scaled(expert):
    return make_pipeline(StandardScaler(), expert)


def searched(expert):
    return GridSearchCV(expert, {}, cv=2)


BARE = {
    "target": TransformedTargetRegressor(Ridge()),
    "outputs": MultiOutputRegressor(Ridge()),
    "search": searched(Ridge()),
    "target, search": TransformedTargetRegressor(searched(Ridge())),
}
SCALED = {
    "pipeline, target": scaled(TransformedTargetRegressor(Ridge())),
    "target, pipeline": TransformedTargetRegressor(scaled(Ridge())),
    "pipeline, search": scaled(searched(Ridge())),
    "search, pipeline": searched(scaled(Ridge())),
    "outputs, pipeline": MultiOutputRegressor(scaled(Ridge())),
    "pipeline, outputs": scaled(MultiOutputRegressor(Ridge())),
    "pipeline, pipeline": scaled(scaled(Ridge())),
}


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("name", [*BARE, *SCALED])
def test_weights_reach_the_innermost_estimator_alone(name, routing):
    expert = {**BARE, **SCALED}[name]
    assert takes_weight(expert)
    Z = X if name in BARE else StandardScaler().fit_transform(X)
    expected = Ridge().fit(Z, Y, sample_weight=WEIGHT).predict(Z)
    with config_context(enable_metadata_routing=routing):
        fitted = fit_expert(expert, X, Y, WEIGHT, seed=0)
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-10)


@pytest.mark.parametrize("routing", [False, True])
def test_weights_pass_by_what_is_within_other_steps(routing):
    columns = ColumnTransformer([("all", scaled(StandardScaler()), [0, 1, 2])])
    Z = StandardScaler().fit_transform(X)
    expected = Ridge().fit(Z, Y, sample_weight=WEIGHT).predict(Z)
    with config_context(enable_metadata_routing=routing):
        fitted = fit_expert(make_pipeline(columns, Ridge()), X, Y, WEIGHT, seed=0)
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:Since FrozenEstimator:UserWarning")
@pytest.mark.parametrize("routing", [False, True])
def test_frozen_parts_stay_as_they_are(routing):
    codes = (Y[:, 0] > 0).astype(int)
    inner = LogisticRegression().fit(X, codes)
    scaler = StandardScaler().fit(X)
    with config_context(enable_metadata_routing=routing):
        calibrated = CalibratedClassifierCV(FrozenEstimator(inner), cv=2)
        fit_expert(calibrated, X, codes, WEIGHT, seed=0)
        steps = make_pipeline(FrozenEstimator(scaler), Ridge())
        fit_expert(steps, X, Y, WEIGHT, seed=0)
        for part in (inner, scaler):
            assert part.get_metadata_routing().fit.requests["sample_weight"] is None


@pytest.mark.parametrize(
    ("expert", "with_routing"),
    [
        (AdaBoostRegressor(n_estimators=3), False),
        (scaled(AdaBoostRegressor(n_estimators=3)), False),
        (OneVsRestClassifier(LogisticRegression()), True),
        (searched(OneVsRestClassifier(LogisticRegression())), True),
        (MultiOutputRegressor(TransformedTargetRegressor(Ridge())), True),
    ],
)
@pytest.mark.parametrize("routing", [False, True])
def test_who_refuses_weights_is_resampled(expert, with_routing, routing):
    codes = (Y[:, 0] > 0).astype(int)
    target = Y if isinstance(expert, MultiOutputRegressor) else codes
    with config_context(enable_metadata_routing=routing):
        boosted = "AdaBoost" in repr(expert)
        assert takes_weight(expert) == (with_routing if routing else boosted)
        fitted = fit_expert(expert, X, target, WEIGHT, seed=0)
    assert fitted.predict(X).shape == target.shape


@pytest.mark.parametrize("request_", [False, "other"])
@pytest.mark.parametrize("around", [scaled, searched, MultiOutputRegressor])
def test_who_declines_weights_is_resampled(around, request_):
    with config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=request_)
        assert not takes_weight(ridge)
        assert not takes_weight(around(ridge))
        fitted = fit_expert(around(ridge), X, Y, WEIGHT, seed=0)
    assert fitted.predict(X).shape == Y.shape
    assert takes_weight(around(ridge))


def test_who_takes_no_weights_through_another_is_resampled():
    neighbours = MultiOutputRegressor(KNeighborsRegressor())
    assert not takes_weight(neighbours)
    assert fit_expert(neighbours, X, Y, WEIGHT, seed=0).predict(X).shape == Y.shape
    # Bags draw rows by weight, whatever they hold.
    assert takes_weight(BaggingRegressor(KNeighborsRegressor()))


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.NoSampleWeightWarning")
def test_stacks_with_their_default_final_estimator():
    stack = StackingRegressor([("a", Ridge()), ("b", Ridge(10.0))])
    model = MoERegressor(stack, n_experts=2, random_state=0).fit(X, Y[:, 0])
    assert np.isfinite(model.predict(X)).all()
    codes = (Y[:, 0] > 0).astype(int)
    with pytest.raises(ValueError, match="no predict_proba"):
        MoEClassifier([stack]).fit(X, codes)
    stack = StackingClassifier([("a", LogisticRegression())])
    model = MoEClassifier([stack], trainer="two-stage", random_state=0).fit(X, codes)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
