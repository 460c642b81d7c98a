"""What pictures show along columns of any kind, and of classes, and say of it."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from skmoe import MoEClassifier, MoERegressor
from skmoe.inspection import (
    ClassProbabilityDisplay,
    ConvergenceDisplay,
    CurveDisplay,
    ExpertCalibrationDisplay,
    ExpertUsageDisplay,
    ExplanationDisplay,
    GateDisplay,
    PredictiveDensityDisplay,
    expert_colors,
)
from skmoe.inspection._classes import binned
from skmoe.inspection._palette import PALETTE
from skmoe.trainers import EM

mpl.use("Agg")
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning"),
]
SHORT = EM(max_iter=8)
RNG = np.random.RandomState(0)
N = 160
DAYS = pd.to_timedelta(RNG.randint(0, 99, N), "D")
X = pd.DataFrame(
    {
        "hour": RNG.uniform(0, 24, N),
        "day": pd.Categorical(RNG.choice(["work", "rest"], N)),
        "wet": RNG.randint(0, 2, N),
        "when": pd.Timestamp("2024-01-01")
        + pd.to_timedelta(RNG.randint(0, 99, N), "D"),
    }
)
X.loc[::8, "day"] = np.nan
LEADS = (X["day"] == "work").to_numpy()
Y = pd.Series(
    np.where(LEADS, 40 - X["hour"], X["hour"] + X["wet"]) + RNG.normal(size=N),
    name="rides per hour",
)
LABELS = pd.Series(
    np.where(Y > 30, "many", np.where(Y > 15, "some", "few")), name="use"
)
OF_COLUMN = [GateDisplay, PredictiveDensityDisplay, ClassProbabilityDisplay]


@pytest.fixture(scope="module")
def model():
    parts = {"gate": "additive", "trainer": SHORT, "random_state": 0}
    return MoERegressor("additive", 2, **parts).fit(X, Y)


@pytest.fixture(scope="module")
def classes():
    parts = {"gate": "additive", "trainer": SHORT, "random_state": 0}
    return MoEClassifier("additive", 2, **parts).fit(X, LABELS)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def of(kind, model, classes):
    return classes if kind is ClassProbabilityDisplay else model


@pytest.mark.parametrize("kind", OF_COLUMN)
def test_wrong_columns_are_told(kind, model, classes):
    own = of(kind, model, classes)
    said = r"got the column 'hours', but expected one of .* did you mean 'hour'"
    with pytest.raises(ValueError, match=said):
        kind.from_estimator(own, X, "hours")
    with pytest.raises(ValueError, match=r"got the column 4, but .* from 0 to 3"):
        kind.from_estimator(own, X, 4)
    empty = X.assign(hour=np.nan)
    with pytest.raises(ValueError, match="column 'hour', which is empty"):
        kind.from_estimator(own, empty, "hour")


@pytest.mark.parametrize("kind", OF_COLUMN)
def test_levels_are_drawn_one_by_one(kind, model, classes):
    own = of(kind, model, classes)
    display = kind.from_estimator(own, X, "wet")
    assert display.categories == ["0", "1"]
    display = kind.from_estimator(own, X, "day")
    assert display.categories[-1] == "missing"
    assert set(display.categories) == {"work", "rest", "missing"}
    ticks = [own.get_text() for own in display.ax_.get_xticklabels()]
    assert ticks == display.categories
    display = kind.from_estimator(own, X, "hour", n_values=5)
    assert display.categories is None
    assert len(display.values) == 5
    assert kind.from_estimator(own, X, "when", n_values=3, plot=False).is_time
    for row in (display.ax_, display.ax_.figure.axes[0]):
        assert row.get_title()
        assert row.get_xlabel() == "hour"
        assert row.get_ylabel()


def test_bars_are_means_with_the_level(model, classes):
    display = GateDisplay.from_estimator(model, X, "day")
    work = display.categories.index("work")
    days = pd.Categorical(["work"] * N, categories=X["day"].cat.categories)
    wanted = model.gate_proba(X.assign(day=days)).mean(axis=0)
    np.testing.assert_allclose(display.proba[work], wanted)
    heights = [own[work].get_height() for own in display.lines_]
    np.testing.assert_allclose(heights, wanted)
    np.testing.assert_allclose(display.lines_[1][work].get_y(), wanted[0])
    display = ClassProbabilityDisplay.from_estimator(
        classes, X, "wet", expert="expert1", plot=False
    )
    wanted = classes.predict_experts(X.assign(wet=1))[:, 1].mean(axis=0)
    np.testing.assert_allclose(display.proba[1], wanted)
    frame = pl.from_pandas(X)
    same = GateDisplay.from_estimator(
        MoERegressor(n_experts=1, experts="additive").fit(frame, Y), frame, "day"
    )
    assert set(same.categories) == {"work", "rest", "missing"}


def test_curves_of_few_numbers_are_points(model):
    display = CurveDisplay.from_estimator(model, X, features=["wet", "hour"])
    wet = next(iter(display.panels[0].curves.values()))
    assert wet.levels == ["0", "1"]
    assert next(iter(display.panels[1].curves.values())).levels is None
    ticks = [own.get_text() for own in display.axes_[0].get_xticklabels()]
    assert ticks == ["0", "1"]


def test_the_target_has_its_name(model, classes):
    density = PredictiveDensityDisplay.from_estimator(model, X, "hour")
    assert density.ax_.get_ylabel() == "rides per hour"
    assert density.bar_.ax.get_ylabel() == "density per unit of rides per hour"
    said = [own.get_text() for own in density.ax_.texts]
    assert said == ["5 %", "50 %", "95 %"]
    curves = CurveDisplay.from_estimator(model, X, plot=False)
    assert curves.ylabel == "adds to rides per hour"
    row = ExplanationDisplay.from_estimator(model, X, plot=False)
    assert row.xlabel == "rides per hour"
    probability = ClassProbabilityDisplay.from_estimator(classes, X, "hour", plot=False)
    assert probability.title == "Classes of use along hour"
    both = pd.DataFrame({"a": Y, "b": -Y})
    two = MoERegressor(n_experts=1).fit(X[["hour"]], both)
    density = PredictiveDensityDisplay.from_estimator(
        two, X[["hour"]], 0, output=1, plot=False
    )
    assert density.target == "b"
    with pytest.raises(ValueError, match=r"output=2, but expected one of \[0, 1\]"):
        PredictiveDensityDisplay.from_estimator(two, X[["hour"]], 0, output=2)
    bare = MoERegressor(n_experts=1).fit(X[["hour"]], Y.to_numpy())
    assert (
        PredictiveDensityDisplay.from_estimator(bare, X[["hour"]], 0, plot=False).target
        == "y"
    )


def test_an_expert_has_one_colour_in_all_pictures(model):
    colours = expert_colors(model)
    assert list(colours.values()) == list(PALETTE[:2])
    gate = GateDisplay.from_estimator(model, X, "hour", n_values=3)
    assert {own.get_label(): own.get_color() for own in gate.lines_} == colours
    usage = ExpertUsageDisplay.from_estimator(model, X, Y)
    for bars in usage.bars_:
        found = [mpl.colors.to_hex(bar.get_facecolor()) for bar in bars]
        assert found == list(colours.values())
    assert usage.ax_.get_title()
    labels = {"expert1": "last first"}
    curves = CurveDisplay.from_estimator(model, X, labels=labels)
    (legend,) = curves.figure_.legends
    shown = {
        text.get_text(): line.get_color()
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    own = next(colour for text, colour in shown.items() if text.startswith("last"))
    assert own == colours["expert1"]
    assert ConvergenceDisplay.from_estimator(model).ax_.get_title()


def test_bins_of_what_was_said():
    said = np.array([0.05, 0.08, 0.91, 1.0])
    own = binned(said, np.array([0, 1, 1, 1]), np.ones(4))
    np.testing.assert_allclose(own["said"], [0.065, 0.955])
    np.testing.assert_allclose(own["came"], [0.5, 1.0])
    assert own["error"] == pytest.approx(0.5 * (0.435 + 0.045))


def test_calibration_by_expert(model, classes):
    display = ExpertCalibrationDisplay.from_estimator(classes, X, LABELS)
    proba, leader = classes.predict_proba(X), classes.gate_proba(X).argmax(axis=1)
    right = classes.predict(X) == LABELS
    for name, rows in {"all rows": leader >= 0, "expert1": leader == 1}.items():
        own = display.curves[name]
        assert own["mass"] @ own["came"] == pytest.approx(right[rows].sum())
        total = proba.max(axis=1)[rows].sum()
        assert own["mass"] @ own["said"] == pytest.approx(total)
    assert len(display.lines_) == len(display.curves)
    assert display.ax_.get_title()
    display = ExpertCalibrationDisplay.from_estimator(
        classes, X, LABELS, output="few", plot=False
    )
    assert display.label == "use = few"
    weight = np.repeat([2.0, 0.0], [N // 2, N - N // 2])
    half = ExpertCalibrationDisplay.from_estimator(
        classes, X, LABELS, sample_weight=weight, plot=False
    )
    first = ExpertCalibrationDisplay.from_estimator(
        classes, X[: N // 2], LABELS[: N // 2], plot=False
    )
    assert half.curves["all rows"]["error"] == pytest.approx(
        first.curves["all rows"]["error"]
    )
    with pytest.raises(ValueError, match="output='none', but expected one of"):
        ExpertCalibrationDisplay.from_estimator(classes, X, LABELS, output="none")
    with pytest.raises(ValueError, match="got MoERegressor, but expected a classifier"):
        ExpertCalibrationDisplay.from_estimator(model, X, Y)
    with pytest.raises(ValueError, match="expert='me', but expected one of"):
        ClassProbabilityDisplay.from_estimator(classes, X, 0, expert="me")
