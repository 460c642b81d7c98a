"""What pictures show along columns of any kind, and of classes, and say of it."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.inspection import (
    BalanceDisplay,
    ClassProbabilityDisplay,
    ConvergenceDisplay,
    CurveDisplay,
    ExpertCalibrationDisplay,
    ExpertUsageDisplay,
    ExplanationDisplay,
    GateDisplay,
    PosteriorDisplay,
    PredictiveDensityDisplay,
    RootogramDisplay,
    expert_colors,
)
from skmoe.inspection._classes import binned
from skmoe.inspection._palette import PALETTE
from skmoe.losses import LoadBalancingLoss
from skmoe.routers import SwitchRouter
from skmoe.trainers import EM, Gradient

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


def counted(**more):
    """Counts of two regimes, and a mixture of them."""
    rng = np.random.RandomState(1)
    x, first = rng.normal(size=(150, 1)), rng.uniform(size=150) < 0.5
    y = rng.poisson(np.where(first, 9.0, 1.0))
    given = {"gate": "constant", "likelihood": "poisson", "trainer": SHORT, **more}
    return MoERegressor("linear", 2, random_state=0, **given).fit(x, y), x, y


def test_counts_hang_from_those_expected():
    model, x, y = counted()
    weight = np.where(y > 3, 2.0, 1.0)
    given = {"sample_weight": weight, "most": 6}
    display = RootogramDisplay.from_estimator(model, sparse.csr_array(x), y, **given)
    np.testing.assert_allclose(display.observed.sum(), weight.sum())
    np.testing.assert_allclose(display.expected.sum(), weight.sum())
    level = [weight @ np.exp(model.log_density(x, np.full(150, c))) for c in range(6)]
    np.testing.assert_allclose(display.expected[:6].sum(axis=1), level)
    for bar, came, wanted in zip(
        display.bars_, display.observed, display.expected.sum(axis=1), strict=True
    ):
        np.testing.assert_allclose(bar.get_height(), np.sqrt(came))
        np.testing.assert_allclose(bar.get_y() + bar.get_height(), np.sqrt(wanted))
    assert display.ax_.get_xticklabels()[-1].get_text() == "6+"
    assert [own.get_color() for own in display.lines_] == list(PALETTE[:2])
    assert display.ax_.get_title() == "Counts of y, hung from those expected"
    whole = RootogramDisplay.from_estimator(model, x, y, plot=False)
    assert len(whole.observed) == y.max() + 1
    assert not whole.is_open


def test_no_count_is_expected_beyond_the_trials():
    trials = np.arange(60) % 5 + 1
    y, x = trials // 2, np.linspace(0, 1, 60)[:, None]
    model = MoERegressor("linear", 1, likelihood="binomial", trainer=SHORT)
    model.fit(x, y, trials=trials)
    own = {"trials": trials, "most": 5, "plot": False}
    display = RootogramDisplay.from_estimator(model, x, y, **own)
    np.testing.assert_allclose(display.expected.sum(), 60, rtol=1e-9)
    assert display.expected[5] < 12


def test_zeros_hang_from_those_of_their_component():
    rng = np.random.RandomState(0)
    x = rng.normal(size=(120, 1))
    y = rng.poisson(np.where(rng.uniform(size=120) < 0.5, 4.0, 0.0))
    given = {"gate": "constant", "trainer": SHORT, "zero_inflation": True}
    model = MoERegressor("linear", 1, likelihood="poisson", **given).fit(x, y)
    display = RootogramDisplay.from_estimator(model, x, y)
    share = model.gate_proba(x)[:, -1].sum()
    np.testing.assert_allclose(display.expected[:2, 1], [share, 0.0])
    assert display.lines_[1].get_label() == "of zero"


def test_what_is_not_counted_has_no_rootogram(model, classes):
    for own, y in ((model, Y), (classes, LABELS)):
        with pytest.raises(ValueError, match="expected counts of one output"):
            RootogramDisplay.from_estimator(own, X, y)


def test_responsibilities_are_drawn_by_expert():
    model, x, y = counted()
    display = PosteriorDisplay.from_estimator(model, x, y, sample_weight=2 * y + 1)
    resp, weight = model.responsibilities(x, y), 2.0 * y + 1
    for k, (own, others) in enumerate(display.bars_):
        shown = resp[:, k] >= 1e-4
        mine = resp.argmax(axis=1) == k
        heights = [sum(bar.get_height() for bar in each) for each in (own, others)]
        wanted = weight[shown & mine].sum(), weight[shown & ~mine].sum()
        np.testing.assert_allclose(heights, wanted)
        assert mpl.colors.to_hex(own[0].get_facecolor()) == PALETTE[k]
        share = weight @ resp[:, k] / weight.sum()
        assert display.axes_[k].get_title() == f"expert{k} ({share:.0%})"
    assert display.figure_.get_suptitle()


def test_responsibilities_of_groups_are_counted_by_group():
    model, x, y = counted()
    codes = np.arange(150) // 3
    ax = plt.subplots()[1]
    table = sparse.csr_array(x)
    display = PosteriorDisplay.from_estimator(model, table, y, groups=codes, ax=ax)
    wanted = model.responsibilities(x, y, groups=codes)
    np.testing.assert_array_equal(display.responsibilities, wanted)
    assert display.axes_[0].get_ylabel().startswith("groups")
    assert display.figure_ is ax.figure


def test_numbers_of_a_waterfall_stay_within_its_axes(model):
    display = ExplanationDisplay.from_estimator(model, X)
    display.figure_.canvas.draw()
    room = display.ax_.get_window_extent()
    for own in display.ax_.texts:
        place = own.get_window_extent()
        assert room.x0 - 1 <= place.x0
        assert place.x1 <= room.x1 + 1


@pytest.fixture(scope="module")
def by_gradient():
    trainer = Gradient(losses=[LoadBalancingLoss(0.05)], max_epochs=20)
    X, y = make_gated_regression(200, 2, 3, random_state=0)
    router = SwitchRouter(capacity_factor=0.6)
    return MoERegressor(n_experts=3, router=router, trainer=trainer).fit(X, y)


def test_balance_is_drawn_by_epoch(by_gradient):
    display = BalanceDisplay.from_estimator(by_gradient)
    parts = ["load", "loss", "auxiliary", "overflow", "switched"]
    assert list(display.axes_) == parts
    loads = display.axes_["load"].get_lines()[0]
    assert loads.get_label() == "expert0"
    expected = np.array(by_gradient.history_["gate_load"])[:, 0]
    np.testing.assert_array_equal(loads.get_ydata(), expected)
    assert display.figure_.get_suptitle()
    assert display.axes_["switched"].get_xlabel() == "epoch"
    assert all(own.get_ylabel() for own in display.axes_.values())
    (kept,) = [
        own for own in display.axes_["loss"].get_lines() if own.get_label() == "kept"
    ]
    assert kept.get_xdata()[0] == 1 + np.argmax(by_gradient.history_["kept"])
    # Two epochs by the linear start, then within the active experts.
    (mark,) = [
        own
        for own in display.axes_["switched"].get_lines()
        if own.get_linestyle() == "--"
    ]
    assert mark.get_xdata()[0] == 2.5
    figure, ax = plt.subplots()
    assert display.plot(ax=ax).figure_ is figure
    copy = clone(by_gradient).set_params(n_members=2, trainer__losses=(), router=None)
    display = BalanceDisplay.from_estimator(copy.fit(X[["hour", "wet"]], Y))
    assert list(display.axes_) == ["load", "loss", "switched"]
    assert display.names == ["expert0", "expert1", "expert2"]


def test_balance_of_other_trainers_is_not_recorded(model):
    with pytest.raises(ValueError, match="BalanceDisplay got MoERegressor with train"):
        BalanceDisplay.from_estimator(model)
