"""Parameters of presets: the first grid search, without any object of a part."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 2))
Y = np.abs(X[:, 0]) + 0.1 * RNG.normal(size=80)
MIXTURES = [
    MoERegressor(),
    MoEClassifier(),
    HierarchicalMoERegressor(),
    HierarchicalMoEClassifier(),
]
# Of a mixture: parameters to start with, one of a preset, and what takes its place.
OBJECTS = [
    ({}, {"gate__alpha": 2.0}, "SoftmaxGate(alpha=2.0)"),
    ({"gate": "additive"}, {"gate__n_knots": 5}, "AdditiveGate(n_knots=5)"),
    ({"gate": "mlp"}, {"gate__alpha": 2.0}, "MLPGate(alpha=2.0)"),
    ({"gate": "gaussian"}, {"gate__alpha": 2.0}, "GaussianGate(alpha=2.0)"),
    ({}, {"experts__alpha": 2.0}, "LinearExpert(alpha=2.0)"),
    ({"experts": "linear"}, {"experts__alpha": 2.0}, "LinearExpert(alpha=2.0)"),
    ({"experts": "additive"}, {"experts__alpha": 2.0}, "AdditiveExpert(alpha=2.0)"),
    ({"experts": "mlp"}, {"experts__alpha": 2.0}, "MLPExpert(alpha=2.0)"),
    ({"experts": "auto"}, {"experts__max_time": 2}, "AutoPool(max_time=2)"),
    ({}, {"trainer__tol": 0.1}, "EM(tol=0.1)"),
    ({"trainer": "hard-em"}, {"trainer__tol": 0.1}, "HardEM(tol=0.1)"),
    ({"trainer": "gradient"}, {"trainer__max_epochs": 3}, "Gradient(max_epochs=3)"),
    ({"trainer": "two-stage"}, {"trainer__cv": 3}, "TwoStage(cv=3)"),
    ({"router": 2}, {"router__k": 1}, "TopKRouter(k=1)"),
    (
        {"gate_features": "piecewise-linear"},
        {"gate_features__n_knots": 3},
        "PiecewiseLinear(n_knots=3)",
    ),
]


@pytest.mark.parametrize("mixture", MIXTURES, ids=lambda own: type(own).__name__)
@pytest.mark.parametrize(("given", "asked", "expected"), OBJECTS)
def test_an_object_takes_the_place_of_a_preset(mixture, given, asked, expected):
    model = clone(mixture).set_params(**given)
    before = model.get_params(deep=False)
    ((key, value),) = asked.items()
    name = key.split("__")[0]
    assert key in model.get_params()
    assert clone(model).get_params(deep=False) == before
    model.set_params(**asked)
    assert repr(getattr(model, name)) == expected
    after = model.get_params(deep=False)
    assert {k: v for k, v in after.items() if k != name} == {
        k: v for k, v in before.items() if k != name
    }
    assert model.get_params()[key] == value


def test_likelihoods_are_presets():
    model = MoERegressor(likelihood="student-t").set_params(likelihood__df=3.0)
    assert repr(model.likelihood) == "StudentT(df=3.0)"


def test_listed_parameters_are_those_that_serve():
    """What is listed of presets is what their objects have: nothing else is fitted."""
    model = MoERegressor(n_experts=2, router=1, random_state=0)
    named = clone(model).set_params(**model.get_params())
    np.testing.assert_array_equal(
        model.fit(X, Y).predict(X), named.fit(X, Y).predict(X)
    )


GRID = {"gate__alpha": [0.1, 10.0], "experts__alpha": [0.01, 1.0]}


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.parametrize("mixture", MIXTURES, ids=lambda own: type(own).__name__)
def test_a_first_grid_search(mixture):
    y = Y if isinstance(mixture, MoERegressor) else Y > 0.6
    search = GridSearchCV(mixture, GRID, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.gate.alpha == search.best_params_["gate__alpha"]
    assert mixture.gate == "softmax"


def test_a_grid_search_in_pipelines_and_of_nested_mixtures():
    pipe = make_pipeline(StandardScaler(), MoERegressor([("inner", MoERegressor())]))
    grid = {"moeregressor__inner__gate__alpha": [0.1, 10.0]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(X, Y)
    inner = dict(search.best_estimator_[-1].experts)["inner"]
    assert inner.gate.alpha in (0.1, 10.0)


@pytest.mark.parametrize("kind", [MoERegressorCV, MoEClassifierCV])
def test_searches_along_a_path(kind):
    y = Y if kind is MoERegressorCV else Y > 0.6
    own = kind(n_experts=[2], param_grid=GRID, criterion="bic").fit(X, y)
    assert own.best_estimator_.gate.alpha == own.best_params_["gate__alpha"]


@pytest.mark.parametrize("kind", [MoERegressorCV, MoEClassifierCV])
def test_the_default_mixture_of_a_search_is_a_preset(kind):
    search = kind()
    assert "estimator__gate__alpha" in search.get_params()
    assert clone(search).estimator is None
    search.set_params(cv=2, estimator__gate__alpha=2.0)
    assert repr(search.estimator.gate) == "SoftmaxGate(alpha=2.0)"
    assert search.cv == 2
    search.set_params(estimator__n_init=3)
    assert repr(search.estimator.gate) == "SoftmaxGate(alpha=2.0)"
    with pytest.raises(ValueError, match="bogus"):
        kind().set_params(estimator__bogus=2)
