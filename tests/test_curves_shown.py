"""Curves of a mixture as pictures, tables, terms and sentences."""

from typing import NamedTuple

import matplotlib as mpl
import matplotlib.dates
import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import AdditiveExpert
from skmoe.inspection import (
    CurveDisplay,
    curve_importance,
    explain,
    explain_text,
    regimes,
)
from skmoe.inspection._panels import aside
from skmoe.trainers import EM

mpl.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = EM(max_iter=12)


def rentals(n=300, seed=0):
    rng = np.random.RandomState(seed)
    hour, heat = rng.randint(0, 24, n), rng.normal(15, 8, n)
    day = rng.choice(["work", "rest"], n)
    heat[::7] = np.nan
    leisure = 0.1 * np.nan_to_num(heat, nan=10.0)
    y = np.where(day == "work", 4 * np.exp(-((hour - 8) ** 2) / 3), leisure)
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.randint(0, 300, n), "D")
    X = pd.DataFrame({"hour": hour, "heat": heat, "day": day, "when": when})
    return X, y + 0.2 * rng.normal(size=n)


X, Y = rentals()
LABELS = np.where(Y > 2, "many", np.where(Y > 0.8, "some", "few"))


def mixture(**options):
    options = {"gate": "additive", "trainer": SHORT, "random_state": 0, **options}
    return MoERegressor("additive", 2, **options)


@pytest.fixture(scope="module")
def model():
    return mixture().fit(X, Y)


@pytest.fixture(scope="module")
def classifier():
    return MoEClassifier(
        "additive", 2, gate="additive", trainer=SHORT, random_state=0
    ).fit(X, LABELS)


@pytest.fixture(autouse=True)
def closed():
    yield
    mpl.pyplot.close("all")


# -- terms ---------------------------------------------------------------------------


def new_rows():
    """Rows with what training has not seen: a level, far values, gaps."""
    rows = X.iloc[:30].copy()
    rows.loc[rows.index[:3], "day"] = ["strike", None, "work"]
    rows.loc[rows.index[3:6], "hour"] = [-5, 99, 12]
    rows.loc[rows.index[6], "when"] = pd.NaT
    return rows


@pytest.mark.parametrize("ends", ["held", "linear"])
def test_terms_sum_to_the_prediction(ends):
    own = MoERegressor(
        AdditiveExpert(ends=ends), 2, gate="additive", trainer=SHORT, random_state=0
    ).fit(X, Y)
    parts = explain(own, new_rows())
    for k, name in enumerate(own.named_experts_):
        terms = parts["terms"][name]
        assert set(terms["term"]) == {"level", *X}
        total = terms["value"].sum(axis=-1)
        np.testing.assert_allclose(total, parts["prediction"][:, k], atol=1e-9)
    gate = softmax(parts["gate_terms"]["value"].sum(axis=-1), axis=1)
    np.testing.assert_allclose(gate, parts["gate"], atol=1e-9)


def test_terms_have_mean_zero_in_the_rows_of_their_expert():
    """The level is the answer where all curves have their mean."""
    expert = AdditiveExpert(n_knots=4).fit(X, Y)
    assert np.abs(expert.terms(X).mean(axis=0)).max() < 1e-2
    assert expert.level[0] == expert.intercept_


@pytest.mark.parametrize("likelihood", ["poisson", "binomial", "student-t"])
def test_terms_go_through_the_link(likelihood):
    y = np.clip(np.round(np.abs(Y)), 0, 1 if likelihood == "binomial" else 9)
    own = mixture(likelihood=likelihood).fit(X, y)
    parts = explain(own, new_rows())
    inverse = {"poisson": np.exp, "binomial": expit}.get(likelihood, np.asarray)
    for k, name in enumerate(own.named_experts_):
        total = inverse(parts["terms"][name]["value"].sum(axis=-1))
        np.testing.assert_allclose(total, parts["prediction"][:, k], atol=1e-9)


def test_terms_of_classes_and_of_outputs(classifier):
    parts = explain(classifier, new_rows())
    for k, name in enumerate(classifier.named_experts_):
        logits = parts["terms"][name]["value"].sum(axis=-1)
        proba = softmax(logits, axis=1)
        np.testing.assert_allclose(proba, parts["prediction"][:, k], atol=1e-9)
    both = mixture().fit(X, np.column_stack([Y, -Y]))
    parts = explain(both, new_rows())
    for k, name in enumerate(both.named_experts_):
        total = parts["terms"][name]["value"].sum(axis=-1)
        np.testing.assert_allclose(total, parts["prediction"][:, k], atol=1e-9)
    assert "|" in explain_text(both, X[:1])[0]


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
def test_terms_beside_a_shared_expert_members_trees_and_frozen_ones():
    tables = {
        "shared": mixture(shared_expert=AdditiveExpert()).fit(X, Y),
        "members": mixture(n_members=2).fit(X, Y),
        "tree": HierarchicalMoERegressor(
            "additive", branching=(2, 2), gate="additive", trainer=SHORT, random_state=0
        ).fit(X, Y),
        "frozen": MoERegressor(
            [("own", FrozenEstimator(AdditiveExpert().fit(X, Y))), ("new", "additive")],
            gate="additive",
            trainer=SHORT,
            random_state=0,
        ),
    }
    tables["frozen"].experts[1] = ("new", AdditiveExpert())
    tables["frozen"].fit(X, Y)
    for own in tables.values():
        parts, names = explain(own, new_rows()), list(own.named_experts_)
        assert list(parts["terms"]) == names
        for k, name in enumerate(names):
            total = parts["terms"][name]["value"].sum(axis=-1)
            np.testing.assert_allclose(total, parts["prediction"][:, k], atol=1e-9)
        assert len(explain_text(own, new_rows())) == 30
        assert curve_importance(own, X)["feature"]
        assert CurveDisplay.from_estimator(own, X, plot=False).panels


def test_other_mixtures_have_no_curves():
    plain = MoERegressor(n_experts=2, random_state=0).fit(X[["hour"]], Y)
    with pytest.raises(ValueError, match=r"LinearExpert.*experts='additive'"):
        curve_importance(plain, X[["hour"]])
    with pytest.raises(ValueError, match=r"LinearExpert.*experts='additive'"):
        CurveDisplay.from_estimator(plain)
    with pytest.raises(ValueError, match=r"SoftmaxGate.*gate='additive'"):
        CurveDisplay.from_estimator(plain, part="gate")


# -- sentences -----------------------------------------------------------------------


def test_sentences(model, classifier):
    row = X[X["day"] == "work"].iloc[:1].assign(hour=8, heat=np.nan)
    (said,) = explain_text(model, row)
    assert "predicts" in said
    assert "level" in said
    assert "hour 8: +" in said
    assert "chosen for level" in said
    assert "day work: +" in said
    assert "missing" not in said or "heat missing" in said
    (short,) = explain_text(model, row, n_terms=1)
    assert short.count(": ") <= said.count(": ")
    (named,) = explain_text(classifier, row)
    assert "predicts many (" in named
    assert "logit = level" in named
    assert "when 20" in " ".join(explain_text(model, X, n_terms=9))


# -- importance ----------------------------------------------------------------------


def test_importance(model):
    table = curve_importance(model, X)
    assert list(table) == ["feature", "gate", *model.named_experts_]
    assert set(table["feature"][:2]) == {"day", "hour"}
    parts = explain(model, X)
    gate = parts["gate"]
    for k, name in enumerate(model.named_experts_):
        at = parts["terms"][name]["term"].index("hour")
        values = parts["terms"][name]["value"][:, at]
        mean = np.average(values, weights=gate[:, k])
        expected = np.sqrt(np.average((values - mean) ** 2, weights=gate[:, k]))
        shown = table[name][table["feature"].index("hour")]
        assert shown == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
def test_importance_of_columns_of_their_own_and_of_names_that_clash():
    own = MoERegressor(
        [("own", AdditiveExpert()), ("feature", AdditiveExpert()), ("r", Ridge())],
        gate="additive",
        gate_features=["day"],
        expert_features={
            "own": ["hour"],
            "feature": ["heat", "day"],
            "r": ["hour"],
        },
        trainer=SHORT,
        random_state=0,
    ).fit(X, Y)
    table = curve_importance(own, X)
    assert list(table) == ["feature", "gate", "own", "expert feature"]
    assert sorted(table["feature"]) == ["day", "heat", "hour"]
    assert np.isnan(table["own"][table["feature"].index("heat")])
    said = " ".join(explain_text(own, X))
    assert "hour 1" in said
    assert "heat missing" in said
    assert "day work" in said
    display = CurveDisplay.from_estimator(own, X)
    assert list(display.labels) == ["own", "feature"]
    weight = np.arange(len(X)) % 2
    one = curve_importance(own, X, sample_weight=weight)
    half = curve_importance(own, X[1::2])
    np.testing.assert_allclose(one["own"], half["own"])


# -- pictures ------------------------------------------------------------------------


def test_display(model):
    display = CurveDisplay.from_estimator(model, features=["hour", "heat", "day"])
    assert [own.get_title() for own in display.axes_] == ["hour", "heat", "day"]
    lines = [line for line in display.axes_[0].lines if len(line.get_xdata()) > 9]
    curve = model.experts_[0].curves_[
        [c.name for c in model.experts_[0].curves_].index("hour")
    ]
    np.testing.assert_allclose(lines[0].get_ydata(), curve.values)
    band = display.axes_[0].collections[0].get_paths()[0].vertices[:, 1]
    top = curve.values + 1.96 * curve.standard_errors
    assert band.max() == pytest.approx(top.max())
    assert "gap" in [own.get_text() for own in display.axes_[1].texts]
    ticks = [own.get_text() for own in display.axes_[2].get_xticklabels()]
    assert set(ticks) == {"work", "rest"}
    labels = [own.get_text() for own in display.figure_.legends[0].get_texts()]
    assert [own.split()[0] for own in labels] == list(model.named_experts_)
    display.figure_.canvas.draw()


def test_curves_fade_where_their_expert_is_not_asked():
    own = MoERegressor("additive", 2, gate="additive", random_state=0)
    rng = np.random.RandomState(0)
    x, where = rng.uniform(-1, 1, (600, 2)).T
    y = np.where(where < 0, 3 + x, -3 - x) + 0.1 * rng.normal(size=600)
    rows = pd.DataFrame({"x": x, "where": where})
    own.fit(rows, y)
    low = int(own.predict_experts(rows[where < -0.5]).mean(axis=0).argmax())
    names = list(own.named_experts_)
    labels = {names[1]: "second", names[0]: "first"}
    display = CurveDisplay.from_estimator(
        own, rows, features=["where", "x"], labels=labels, level=True
    )
    panel = next(each for each in display.panels if each.feature == "where")
    faded = panel.faded[names[low]]
    assert faded[0] == pytest.approx(1.0, abs=0.05)
    assert faded[-1] < 0.1
    lines = panel.curves[names[low]].values
    assert lines[0] == pytest.approx(3.0, abs=0.3)
    assert [own.split()[0] for own in display.labels.values()] == ["second", "first"]
    pieces = display.axes_[display.panels.index(panel)].collections[0]
    alpha = pieces.get_colors()[:, 3]
    assert alpha.max() > 0.9
    assert alpha.min() < 0.2
    display.figure_.canvas.draw()


def test_gaps_have_errors(model):
    for expert in model.experts_:
        each = {curve.name: curve for curve in expert.curves_}
        assert each["heat"].gap_error > 0
        assert np.isnan(each["hour"].gap_error)
    display = CurveDisplay.from_estimator(model, features=["heat"])
    bars = [own for own in display.axes_[0].collections if len(own.get_paths()) == 1]
    assert len(bars) >= 2


def test_regimes_are_named_by_what_defines_them():
    rng = np.random.RandomState(0)
    hour, heat = rng.randint(0, 24, 1200), rng.normal(15, 8, 1200)
    day = rng.choice(["Mon", "Tue", "Wed", "Sat", "Sun"], 1200)
    work = ~np.isin(day, ["Sat", "Sun"]) & (hour >= 6) & (hour <= 20)
    y = np.where(work, 100.0 + 5 * heat, 2.0 * heat) + rng.normal(size=1200)
    rows = pd.DataFrame({"hour": hour, "heat": heat, "day": day})
    own = MoERegressor("additive", 2, gate="additive", n_init=3, random_state=0)
    own.fit(rows, y)
    found = pd.DataFrame(regimes(own, rows)).sort_values("answer")
    assert "hour 6–20" in found["regime"].iloc[1]
    assert "day not Sat or Sun" in found["regime"].iloc[1]
    assert "heat" not in " ".join(found["regime"])
    assert found["load"].sum() == pytest.approx(1.0)
    assert found["holds"].iloc[1] > 0.95
    assert found["pure"].iloc[1] > 0.95
    weighted = regimes(own, rows, sample_weight=work + 1e-9)
    assert max(weighted["load"]) > 0.95


def test_regimes_of_classes_gaps_and_one_expert(classifier):
    found = regimes(classifier, X)
    assert set(found["answer"]) <= set(classifier.classes_)
    rng = np.random.RandomState(0)
    rows = pd.DataFrame({"heat": np.where(rng.rand(400) < 0.4, np.nan, rng.rand(400))})
    y = np.where(rows["heat"].isna(), 9.0, -2 * rows["heat"]) + 0.1 * rng.rand(400)
    own = MoERegressor("additive", 2, gate="additive", random_state=0).fit(rows, y)
    assert "heat missing" in regimes(own, rows)["regime"]
    alone = MoERegressor("additive", 1, random_state=0).fit(rows, y)
    assert regimes(alone, rows)["regime"] == ["all rows"]


def test_display_draws_what_matters(model):
    display = CurveDisplay.from_estimator(model, part="gate")
    assert display.panels[0].feature == "day"
    everything = CurveDisplay.from_estimator(model, max_panels=2)
    assert len(everything.axes_) == 2
    assert everything.panels[0].importance >= everything.panels[1].importance
    by_place = CurveDisplay.from_estimator(model, features=[0], plot=False)
    assert by_place.panels[0].feature == "hour"
    ax = mpl.pyplot.subplots(1, 2)[1][1]
    within = CurveDisplay.from_estimator(model, ax=ax)
    assert within.figure_ is ax.figure
    assert within.ax_ is ax


def test_display_of_classes(classifier):
    display = CurveDisplay.from_estimator(classifier, X, output="few")
    assert display.ylabel == "adds to logit of few"
    assert CurveDisplay.from_estimator(classifier, plot=False).ylabel.endswith("some")
    with pytest.raises(ValueError, match="'none', but expected one of the labels"):
        CurveDisplay.from_estimator(classifier, output="none")


def test_display_of_many_levels_and_a_column_without_spread():
    rng = np.random.RandomState(1)
    town = rng.choice([f"a rather long name {k}" for k in range(20)], 300)
    table = pd.DataFrame({"town": town, "same": 1.0}).astype({"town": object})
    table.loc[::9, "town"] = None
    own = mixture(gate="constant").fit(table, np.char.str_len(town.astype(str)) + Y)
    display = CurveDisplay.from_estimator(own, features=["town", "same"])
    display.figure_.canvas.draw()
    assert "of 2" in display.axes_[0].get_xlabel()


def test_display_of_times(model):
    """Columns of times have dates on their axis."""
    display = CurveDisplay.from_estimator(model, features=["when"])
    low, high = display.axes_[0].get_xlim()
    display.figure_.canvas.draw()
    assert mpl.dates.num2date(low).year >= 2023
    assert mpl.dates.num2date(high).year == 2024
    ticks = [own.get_text() for own in display.axes_[0].get_xticklabels()]
    assert "2024" in ticks


def test_display_refuses_what_it_does_not_know(model):
    for options, said in [
        ({"part": "router"}, "part='router'"),
        ({"features": ["moon"]}, "feature 'moon'"),
        ({"features": [99]}, "feature 99"),
        ({"output": 3}, "output=3"),
    ]:
        with pytest.raises(ValueError, match=said):
            CurveDisplay.from_estimator(model, **options)
    members = mixture(n_members=2).fit(X, Y)
    with pytest.raises(ValueError, match="pass one of members_"):
        CurveDisplay.from_estimator(members, part="gate")


def test_within_pipelines_and_searches(model):
    same = FunctionTransformer(lambda table: table, feature_names_out="one-to-one")
    pipe = make_pipeline(same, mixture()).fit(X, Y)
    assert curve_importance(pipe, X) == curve_importance(model, X)
    assert explain_text(pipe, X[:3]) == explain_text(model, X[:3])
    assert CurveDisplay.from_estimator(pipe, X).panels[0].feature == "hour"
    numbers = np.column_stack([X["hour"], Y])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), mixture(gate="constant")),
        {"moeregressor__n_experts": [1]},
        cv=2,
    ).fit(numbers, Y)
    parts = explain(search, numbers)
    np.testing.assert_allclose(
        parts["contribution"].sum(axis=1), search.predict(numbers)
    )
    assert CurveDisplay.from_estimator(search, numbers).panels[0].feature == "x1"


def test_points_beyond_the_axis_are_marked_with_their_numbers(model):
    display = CurveDisplay.from_estimator(model, features=["day"], plot=False)
    panel = display.panels[0]
    name, other = panel.curves
    far = panel.curves[other]
    curves = {other: far._replace(values=np.array([-11605.0, 0.0]))} | {
        name: panel.curves[name]
    }
    faded = {name: np.ones(2), other: np.array([0.0, 1.0])}
    display.panels = [panel._replace(curves=curves, faded=faded)]
    display.plot()
    assert display.axes_[0].get_ylim()[0] > -1000
    assert "-11605" in [own.get_text() for own in display.axes_[0].texts]
    assert [own.get_text() for own in display.axes_[0].get_xticklabels()] == [
        "rest",
        "work",
    ]


def test_points_of_a_level_are_closer_than_levels():
    for n_experts in (1, 2, 4, 8):
        for n_levels in (2, 3, 12):
            place = aside(n_experts, n_levels)
            assert place.sum() == pytest.approx(0.0)
            steps = np.diff(place)
            assert np.all(steps < 1.0 - np.ptp(place))


def test_display_of_levels_and_labels(model, classifier):
    display = CurveDisplay.from_estimator(model, level=True, plot=False)
    assert display.ylabel == "y"
    of_class = CurveDisplay.from_estimator(classifier, output="few", level=True)
    assert of_class.ylabel == "logit of few"
    labels = ["cold", "warm"]
    display = CurveDisplay.from_estimator(model, labels=labels, plot=False)
    assert [own.split()[0] for own in display.labels.values()] == labels
    for wrong in (True, ["one"], "regime"):
        with pytest.raises(ValueError, match="expected a dict of labels by expert"):
            CurveDisplay.from_estimator(model, labels=wrong)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_levels_stand_in_the_order_that_their_column_declares(library):
    frames = pytest.importorskip(library)
    rng = np.random.default_rng(0)
    order = ["small", "medium", "large", "never"]
    size = rng.choice(order[:3], 90)
    typed = (
        frames.Categorical(size, order)
        if library == "pandas"
        else frames.Series(size, dtype=frames.Enum(order))
    )
    X = frames.DataFrame({"size": typed, "weight": rng.normal(size=90)})
    y = np.array([order.index(own) for own in size]) + 0.1 * rng.normal(size=90)
    model = MoERegressor("additive", 1, random_state=0).fit(X, y)
    with_rows = CurveDisplay.from_estimator(model, X, ["size"], plot=False)
    (curve,) = with_rows.panels[0].curves.values()
    assert curve.levels == order[:3]
    assert np.all(np.diff(curve.values) > 0)
    without = CurveDisplay.from_estimator(model, None, ["size"], plot=False)
    assert next(iter(without.panels[0].curves.values())).levels == sorted(order[:3])


class _Told(NamedTuple):
    text: str
    pure: float


def test_regimes_that_share_rows_and_those_that_nobody_asks_for_have_other_names():
    from skmoe.inspection._regimes import NOWHERE, _told_apart, told
    from skmoe.inspection._unwrap import unwrap

    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.uniform(20, 60, 200)})
    y = np.where(X["age"] < 40, X["age"], -2 * X["age"])
    model = MoERegressor("linear", 2, random_state=0).fit(X, y + rng.normal(size=200))
    K = model.n_experts_
    assert K > 1
    weighted = np.zeros((200, K))
    weighted[:, 0] = 1 / 200
    found = told(unwrap(model), X, weighted, [])
    assert found["regime"] == ["all rows"] + [NOWHERE] * (K - 1)
    assert np.isnan(found["answer"][1:]).all()
    texts = [("age 20–30", 0.9), ("age 20–30", 0.1), (NOWHERE, 0.0), (NOWHERE, 0.0)]
    own = [_Told(text, pure) for text, pure in texts]
    named = _told_apart(own)
    assert named == ["age 20–30", "part of age 20–30", NOWHERE, NOWHERE]
