"""Tables and pictures of mixtures within pipelines, searches and other holders."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.export import offload
from skmoe.inspection import (
    ConvergenceDisplay,
    CurveDisplay,
    ExpertUsageDisplay,
    GateDisplay,
    PosteriorDisplay,
    PredictiveDensityDisplay,
    curve_importance,
    expert_usage,
    explain,
    explain_text,
    export_text,
    gate_importance,
    measure_costs,
    plot_tree,
    regimes,
)
from skmoe.inspection._unwrap import unwrap
from skmoe.trainers import EM

mpl.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.RandomState(0)
X = pd.DataFrame(RNG.uniform(0, 24, (200, 2)), columns=["hour", "heat"])
Y = np.where(X["hour"] < 12, X["heat"], -X["heat"]) + 0.1 * RNG.normal(size=200)
SHORT = EM(max_iter=15)


def mixture(**options):
    return MoERegressor(n_experts=2, random_state=0, **options)


HOLDERS = {
    "pipeline": lambda: make_pipeline(FunctionTransformer(), mixture()),
    "alone in a pipeline": lambda: make_pipeline(mixture()),
    "search": lambda: GridSearchCV(mixture(), {"n_experts": [2]}, cv=2),
    "search in a pipeline": lambda: make_pipeline(
        FunctionTransformer(), GridSearchCV(mixture(), {"n_experts": [2]}, cv=2)
    ),
    "frozen": lambda: FrozenEstimator(mixture().fit(X, Y)),
}


@pytest.fixture(scope="module")
def model():
    return mixture().fit(X, Y)


@pytest.fixture(params=HOLDERS)
def held(request):
    return HOLDERS[request.param]().fit(X, Y)


def same(found, wanted):
    assert list(found) == list(wanted)
    for name, own in wanted.items():
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(own))


def test_tables_are_those_of_the_mixture(held, model):
    same(expert_usage(held, X, Y), expert_usage(model, X, Y))
    seed = {"random_state": 0, "n_repeats": 2}
    same(gate_importance(held, X, **seed), gate_importance(model, X, **seed))
    same(explain(held, X), explain(model, X))
    same(regimes(held, X), regimes(model, X))
    assert export_text(held) == export_text(model)
    assert list(measure_costs(held, X)) == list(model.named_experts_)


def test_pictures_are_those_of_the_mixture(held, model):
    display = ConvergenceDisplay.from_estimator(held, plot=False)
    np.testing.assert_array_equal(display.lower_bounds, model.lower_bounds_)
    usage = ExpertUsageDisplay.from_estimator(held, X, Y, plot=False).usage
    same(usage, expert_usage(model, X, Y))
    for kind in (GateDisplay, PredictiveDensityDisplay):
        found, wanted = (
            kind.from_estimator(own, X, "hour", n_values=4, plot=False)
            for own in (held, model)
        )
        same(vars(found), vars(wanted))
    found, wanted = (
        PosteriorDisplay.from_estimator(own, X, Y, plot=False) for own in (held, model)
    )
    same(vars(found), vars(wanted))
    assert len(plot_tree(held)) == 3
    mpl.pyplot.close("all")


def test_columns_of_a_pipeline_are_those_of_its_user():
    """It scales to an array; tables and pictures have names and units of the data."""
    own = make_pipeline(StandardScaler(), mixture()).fit(X, Y)
    table = gate_importance(own, X, random_state=0)
    assert table["feature"] == ["hour", "heat"]
    inner = gate_importance(own[-1], own[:-1].transform(X), random_state=0)
    np.testing.assert_allclose(table["importance"], inner["importance"])
    assert sorted(regimes(own, X)["regime"])[0].startswith("hour above 1")
    display = GateDisplay.from_estimator(own, X, "hour", n_values=5, plot=False)
    assert display.values[-1] > 20
    at = X.assign(hour=display.values[2])
    inner = own[-1].gate_proba(own[:-1].transform(at)).mean(axis=0)
    np.testing.assert_allclose(display.proba[2], inner)
    density = PredictiveDensityDisplay.from_estimator(own, X, "heat", plot=False)
    assert density.values[-1] == X["heat"].max()
    assert "hour" in export_text(own)
    assert "x0" not in export_text(own)
    array = make_pipeline(StandardScaler(), mixture()).fit(X.to_numpy(), Y)
    assert gate_importance(array, X.to_numpy())["feature"][0] == "x0"
    assert "hour" not in export_text(array)


def test_names_of_an_array_given_to_a_pipeline_of_a_frame():
    own = make_pipeline(StandardScaler().set_output(transform="default"), mixture())
    own.fit(X, Y)
    with pytest.warns(UserWarning, match="valid feature names"):
        table = gate_importance(own, X.to_numpy(), n_repeats=1)
    assert sorted(table["feature"]) == ["heat", "hour"]


def test_curves_of_a_pipeline_have_the_names_that_it_makes():
    curves = MoERegressor("additive", 2, gate="additive", trainer=SHORT, random_state=0)
    own = make_pipeline(StandardScaler(), curves).fit(X, Y)
    assert set(curve_importance(own, X)["feature"]) == {"hour", "heat"}
    assert set(explain(own, X)["terms"]["expert0"]["term"]) == {"level", *X}
    assert "heat" in explain_text(own, X[:1])[0]
    display = CurveDisplay.from_estimator(own, X, features=["heat", 0], plot=False)
    assert [panel.feature for panel in display.panels] == ["heat", "hour"]
    gate = CurveDisplay.from_estimator(own, X, part="gate", plot=False)
    assert gate.panels[0].feature == "hour"
    # A part with columns of its own has the names of these.
    own = make_pipeline(
        StandardScaler(),
        MoERegressor("additive", 2, expert_features=[1], trainer=SHORT, random_state=0),
    ).fit(X, Y)
    assert curve_importance(own, X)["feature"] == ["heat"]


def test_steps_without_names():
    own = make_pipeline(FunctionTransformer(np.asarray), mixture()).fit(X, Y)
    assert unwrap(own).made is None
    assert set(gate_importance(own, X)["feature"]) == {"hour", "heat"}
    assert "x0" in export_text(own)


def test_mixtures_on_disk(tmp_path, model):
    own = offload(model, tmp_path / "model")
    same(expert_usage(own, X, Y), expert_usage(model, X, Y))
    same(regimes(own, X), regimes(model, X))


def test_classifiers_and_trees_in_pipelines():
    labels = np.where(Y > 0, "up", "down")
    model = MoEClassifier(n_experts=2, trainer=SHORT, random_state=0)
    own = make_pipeline(StandardScaler(), model).fit(X, labels)
    assert regimes(own, X)["answer"][0] in ("up", "down")
    assert all(0 <= error <= 1 for error in expert_usage(own, X, labels)["error"])
    with pytest.raises(ValueError, match="got MoEClassifier, but expected a regressor"):
        PredictiveDensityDisplay.from_estimator(own, X, 0)
    tree = HierarchicalMoERegressor(branching=(2,), random_state=0)
    text = export_text(make_pipeline(StandardScaler(), tree).fit(X, Y))
    assert "gate 0" in text
    assert "hour" in text


def test_what_holds_no_mixture_is_told():
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(X, Y)
    asked = [
        lambda: expert_usage(ridge, X),
        lambda: gate_importance(ridge, X),
        lambda: explain(ridge, X),
        lambda: regimes(ridge, X),
        lambda: curve_importance(ridge, X),
        lambda: explain_text(ridge, X),
        lambda: export_text(ridge),
        lambda: measure_costs(ridge, X),
        lambda: ConvergenceDisplay.from_estimator(ridge),
        lambda: GateDisplay.from_estimator(ridge, X, 0),
        lambda: PredictiveDensityDisplay.from_estimator(ridge, X, 0),
        lambda: CurveDisplay.from_estimator(ridge),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match="got Ridge, but expected a fitted"):
            ask()
    with pytest.raises(NotFittedError):
        expert_usage(make_pipeline(StandardScaler(), mixture()), X)
