"""Parameters of presets: the first grid search, without any object of a part."""

import warnings

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
from skmoe.experts import LinearExpert
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV
from skmoe.trainers import EM

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


LISTS = [
    (["linear", "additive"], ["linear", "additive"]),
    (["linear", "mlp", "linear"], ["linear-1", "mlp", "linear-2"]),
    ([("a", "linear"), ("b", LinearExpert(alpha=2.0))], ["a", "b"]),
    (["linear", LinearExpert(alpha=2.0)], ["linear", "linearexpert"]),
]


@pytest.mark.parametrize(("experts", "names"), LISTS)
def test_presets_stand_in_lists_under_their_names(experts, names):
    mixture = MoERegressor(experts, trainer=EM(max_iter=2, max_refits=2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = clone(mixture).fit(X, Y)
    assert [*model.named_experts_] == names
    before = mixture.get_params(deep=False)["experts"]
    assert f"{names[0]}__alpha" in mixture.get_params()
    model = clone(mixture).set_params(**{f"{names[0]}__alpha": 3.0})
    assert [name for name, _ in model.experts] == names
    assert repr(model.experts[0][1]) == "LinearExpert(alpha=3.0)"
    # Again, and beside another one.
    model.set_params(**{f"{names[0]}__alpha": 4.0, f"{names[1]}__alpha": 5.0})
    assert [own.alpha for _, own in model.experts[:2]] == [4.0, 5.0]
    assert mixture.experts == before


def test_a_preset_takes_the_place_of_another_one_under_its_name():
    model = MoERegressor(["linear", "additive"])
    model.set_params(linear="additive", linear__n_knots=4)
    assert repr(model.experts) == (
        "[('linear', AdditiveExpert(n_knots=4)), ('additive', 'additive')]"
    )
    search = GridSearchCV(
        MoERegressor(["linear", "linear"], trainer=EM(max_iter=2)),
        {"linear-1__alpha": [0.1, 1.0]},
        cv=2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = search.fit(X, Y).best_estimator_
    assert best.named_experts_["linear-1"].alpha in (0.1, 1.0)


@pytest.mark.parametrize("mixture", MIXTURES, ids=lambda own: type(own).__name__)
def test_the_shared_expert_is_a_preset_too(mixture):
    model = clone(mixture).set_params(shared_expert="linear")
    assert model.get_params()["shared_expert__alpha"] == LinearExpert().alpha
    model.set_params(shared_expert__alpha=2.0)
    assert repr(model.shared_expert) == "LinearExpert(alpha=2.0)"
    if isinstance(model, MoERegressor):
        assert clone(mixture).set_params(shared_expert="linear").fit(X, Y).score(X, Y)


@pytest.mark.parametrize("expert", ["aditive", "auto", "ridge", None, 3])
@pytest.mark.parametrize("named", [False, True])
def test_what_is_no_expert_is_refused_with_the_names_that_are(expert, named):
    model = MoERegressor([("own", expert), ("b", "mlp")] if named else [expert, "mlp"])
    with pytest.raises(ValueError, match=r"\['additive', 'linear', 'mlp'\]"):
        model.fit(X, Y)
    if expert == "aditive":
        name = "own" if named else expert
        with pytest.raises(ValueError, match=r"did you mean 'additive'\?$"):
            model.set_params(**{f"{name}__alpha": 1.0})
