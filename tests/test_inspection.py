"""Tables and pictures of a fitted mixture."""

import matplotlib as mpl
import matplotlib.pyplot
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate
from skmoe.inspection import (
    ConvergenceDisplay,
    ExpertUsageDisplay,
    GateDisplay,
    PredictiveDensityDisplay,
    SelectionDisplay,
    expert_usage,
    explain,
    gate_importance,
)
from skmoe.model_selection import MoERegressorCV
from skmoe.routers import TopKRouter
from skmoe.trainers import EM, HardEM

mpl.use("Agg")


@pytest.fixture(scope="module")
def model(regression):
    return MoERegressor(n_experts=3).fit(*regression)


def test_expert_usage(model, regression, classification):
    X, y = regression
    usage = expert_usage(model, X, y)
    for column in ("load", "top", "responsible"):
        np.testing.assert_allclose(sum(usage[column]), 1)
    np.testing.assert_allclose(usage["responsible"], model.expert_load_, rtol=1e-6)
    assert all(e < 2 for e in usage["error"])
    assert "error" not in expert_usage(model, X)
    double = expert_usage(model, np.vstack([X, X[:50]]))
    weight = np.r_[np.full(50, 2.0), np.ones(350)]
    np.testing.assert_allclose(
        expert_usage(model, X, sample_weight=weight)["load"], double["load"]
    )
    X, y = classification
    classifier = MoEClassifier(n_experts=2).fit(X, y)
    assert all(0 <= e <= 1 for e in expert_usage(classifier, X, y)["error"])


def test_shares_in_tables_are_plain_numbers(regression):
    """One expert has all rows, and one that leads nowhere is not sure of any."""
    X, y = regression
    alone = expert_usage(MoERegressor(n_experts=1).fit(X, y), X, y)
    for column in ("load", "top", "certainty", "responsible"):
        assert alone[column] == [1.0]
    copies = [FrozenEstimator(LinearExpert().fit(X, y)) for _ in range(2)]
    never = MoERegressor(copies, gate=ConstantGate(), random_state=0)
    usage = expert_usage(never.fit(X, y), X)
    assert min(usage["certainty"]) == 0.0
    assert np.isfinite([usage[name] for name in ("load", "top", "certainty")]).all()


@pytest.mark.parametrize("kind", ["array", "pandas", "polars", "sparse"])
def test_gate_importance(regression, kind):
    X, y = regression
    columns = list("abcd")
    make = {
        "array": np.asarray,
        "pandas": lambda X: pd.DataFrame(X, columns=columns),
        "polars": lambda X: pl.DataFrame(X, schema=columns),
        "sparse": sparse.csr_array,
    }[kind]
    model = MoERegressor(n_experts=2).fit(make(X), y)
    table = gate_importance(model, make(X), random_state=0, n_repeats=2)
    assert table["importance"] == sorted(table["importance"], reverse=True)
    assert all(0 <= v <= 1 for v in table["importance"])
    names = columns if kind in ("pandas", "polars") else ["x0", "x1", "x2", "x3"]
    assert sorted(table["feature"]) == names


def test_gate_importance_of_lists_that_hold_text():
    rng = np.random.default_rng(0)
    kind, x = rng.choice(["a", "b"], 200), rng.normal(size=200)
    rows = [[a, float(b)] for a, b in zip(kind, x, strict=True)]
    encoder = make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough")
    experts = [Ridge(), DecisionTreeRegressor(max_depth=3)]
    model = MoERegressor(
        [make_pipeline(encoder, expert) for expert in experts],
        gate=make_pipeline(encoder, LogisticRegression()),
        trainer="two-stage",
        random_state=0,
    )
    model.fit(rows, np.where(kind == "a", x, -x))
    table = gate_importance(model, rows, random_state=0)
    frame = pd.DataFrame({0: kind, 1: x}).to_numpy()
    assert table == gate_importance(model, frame, random_state=0)


def test_explain_adds_up(model, regression, classification):
    X, y = regression
    parts = explain(model, X)
    np.testing.assert_allclose(parts["contribution"].sum(axis=1), model.predict(X))
    within = np.array([x.sigma_ for x in model.likelihoods_]) ** 2
    std = model.predict(X, return_std=True)[1]
    np.testing.assert_allclose(
        parts["disagreement"] ** 2 + parts["gate"] @ within, std**2
    )
    X, y = classification
    classifier = MoEClassifier(n_experts=2).fit(X, y)
    parts = explain(classifier, X)
    np.testing.assert_allclose(
        parts["contribution"].sum(axis=1), classifier.predict_proba(X)
    )


@pytest.mark.parametrize("kind", ["array", "pandas", "polars"])
def test_displays(model, regression, kind):
    import matplotlib.pyplot as plt

    X, y = regression
    display = ConvergenceDisplay.from_estimator(model)
    assert len(display.line_.get_xdata()) == model.n_iter_
    bars = ExpertUsageDisplay.from_estimator(model, X, y).bars_
    assert len(bars) == 3
    frame = {
        "array": np.asarray,
        "pandas": lambda X: pd.DataFrame(X, columns=list("abcd")),
        "polars": lambda X: pl.DataFrame(X, schema=list("abcd")),
    }[kind](X)
    feature = 0 if kind == "array" else "a"
    fitted = MoERegressor(n_experts=3).fit(frame, y)
    gate = GateDisplay.from_estimator(fitted, frame, feature, n_values=5)
    assert len(gate.lines_) == 3
    np.testing.assert_allclose(gate.proba.sum(axis=1), 1)
    density = PredictiveDensityDisplay.from_estimator(fitted, frame, feature)
    area = np.trapezoid(density.density, density.targets, axis=0)
    np.testing.assert_allclose(area, 1.0, atol=0.02)
    assert np.all(np.diff(density.quantiles, axis=0) > 0)
    plt.close("all")


def test_density_of_one_column_is_that_of_the_mixture():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(200, 1))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=200)
    model = MoERegressor(n_experts=2, noise=True, random_state=0).fit(X, y)
    display = PredictiveDensityDisplay.from_estimator(model, X, 0, n_values=7)
    columns = display.values[:, None]
    found = model.predict_quantile(columns, display.levels)
    np.testing.assert_allclose(display.quantiles.T, found, rtol=1e-8)
    for i, target in enumerate(display.targets[50:150]):
        density = model.log_density(columns, np.full(7, target))
        np.testing.assert_allclose(np.log(display.density[50 + i]), density, 1e-6)


def test_quantiles_drawn_are_those_of_the_mixture():
    """Counts, positive numbers, and spreads that differ by powers of ten."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 2, size=(400, 1))
    counts = rng.negative_binomial(2, 2 / (2 + np.exp(3 * X[:, 0]))).astype(float)
    cases = {
        "negative-binomial": counts,
        "gamma": rng.gamma(2.0, np.exp(2 * X[:, 0])),
        "heteroscedastic": np.exp(3 * X[:, 0]) * rng.normal(size=400),
    }
    for likelihood, y in cases.items():
        model = MoERegressor(n_experts=1, likelihood=likelihood).fit(X, y)
        display = PredictiveDensityDisplay.from_estimator(model, X, 0, n_values=5)
        exact = model.predict_quantile(display.values[:, None], display.levels)
        np.testing.assert_allclose(display.quantiles.T, exact, rtol=1e-9)
        if likelihood != "heteroscedastic":
            assert display.targets.min() >= 0
    # Levels that rows left out have put right are drawn so, and densities with them.
    y = X[:, 0] + rng.exponential(size=400)
    model = MoERegressor([Ridge(), Ridge(1e3)], trainer="two-stage").fit(X, y)
    display = PredictiveDensityDisplay.from_estimator(model, X, 0, n_values=5)
    exact = model.predict_quantile(display.values[:, None], display.levels)
    np.testing.assert_allclose(display.quantiles.T, exact, rtol=1e-9)
    step = display.targets[1] - display.targets[0]
    below = step * np.cumsum(display.density, axis=0)
    for level, ends in zip(display.levels, display.quantiles, strict=True):
        at = [
            np.interp(t, display.targets + step / 2, own)
            for t, own in zip(ends, below.T, strict=True)
        ]
        np.testing.assert_allclose(at, level, atol=0.02)


@pytest.mark.parametrize("kind", ["position", "integer names", "sparse", "list"])
def test_columns_of_any_table(regression, kind):
    X, y = regression
    table = {
        "position": pd.DataFrame(X, columns=list("abcd")),
        "integer names": pd.DataFrame(X),
        "sparse": sparse.csr_array(X),
        "list": X.tolist(),
    }[kind]
    model = MoERegressor(n_experts=2).fit(X, y)
    fitted = model if kind in ("sparse", "list") else clone(model).fit(table, y)
    for display in (GateDisplay, PredictiveDensityDisplay):
        wanted = display.from_estimator(model, X, 2, n_values=4, plot=False)
        found = display.from_estimator(fitted, table, 2, n_values=4, plot=False)
        np.testing.assert_allclose(found.values, wanted.values)
    np.testing.assert_allclose(found.density, wanted.density, rtol=1e-6)


def test_trials_of_a_picture(regression, classification):
    X, y = regression
    trials = np.full(len(X), 20.0)
    successes = np.random.default_rng(0).binomial(20, 0.3, len(X)).astype(float)
    model = MoERegressor(n_experts=1, likelihood="binomial")
    model.fit(X, successes, trials=trials)
    display = PredictiveDensityDisplay.from_estimator(model, X, 0, trials=20)
    assert display.targets.max() > 8
    with pytest.raises(ValueError, match="expected a regressor"):
        PredictiveDensityDisplay.from_estimator(
            MoEClassifier(n_experts=1).fit(*classification), classification[0], 0
        )


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.parametrize("options", [{}, {"branching": (2,)}, {"two": True}])
def test_density_of_counts_and_of_several_outputs(options):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(150, 2))
    y = rng.poisson(np.exp(1 + X[:, 0])).astype(float)
    if options.pop("two", False):
        model = MoERegressor(n_experts=2).fit(X, np.column_stack([y, 100 + X[:, 1]]))
        display = PredictiveDensityDisplay.from_estimator(model, X, 0, output=1)
        assert display.targets.min() > 90
        return
    kind = HierarchicalMoERegressor if options else MoERegressor
    model = kind(likelihood="poisson", random_state=0, **options).fit(X, y)
    display = PredictiveDensityDisplay.from_estimator(model, X, 1)
    assert np.all(display.targets == np.rint(display.targets))
    assert np.all(display.density.sum(axis=0) > 0.98)


@pytest.mark.parametrize("criterion", ["cv", "bic"])
def test_display_of_a_search(regression, criterion):
    X, y = regression
    grid = {"experts__alpha": [10.0, 1.0]}
    search = MoERegressorCV(
        MoERegressor(LinearExpert()), n_experts=3, param_grid=grid, criterion=criterion
    ).fit(X, y)
    display = SelectionDisplay.from_estimator(search)
    row, size = display.chosen
    assert display.scores.shape == (2, 3)
    assert display.sizes[size] == search.best_params_["n_experts"]
    assert (
        display.names[row] == f"experts__alpha={search.best_params_['experts__alpha']}"
    )
    assert (display.errors is None) == (criterion == "bic")
    best = search.best_score_ * (1 if criterion == "cv" else -1)
    assert display.scores[row, size] == pytest.approx(best)


@pytest.mark.filterwarnings("ignore:Expert", "ignore:EM stopped", "ignore:HardEM")
@pytest.mark.parametrize("trainer", [EM(min_load=0.1), HardEM(min_load=0.1)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"experts": Ridge()},
        {"noise": True},
        {"router": TopKRouter(2)},
        {"n_members": 2},
        {"gate": "constant"},
    ],
)
def test_removed_experts_are_in_the_record(options, trainer, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=200)
    # A lasso, whose share is not taken out once the record has ended.
    lasso = LinearExpert(alpha=1.0, l1_ratio=0.5)
    model = MoERegressor(lasso, n_experts=6, trainer=trainer, random_state=0, verbose=1)
    model.set_params(**options).fit(X, y)
    history, bounds = model.history_, np.array(model.lower_bounds_)
    best = max(getattr(model, "members_", [model]), key=lambda m: m.log_likelihood_)
    removed = [own["expert"] for own in history["removed"]]
    assert removed
    # A brief refit within the top k may lose experts by another objective.
    asked = {f"expert{k}" for k in range(6)} | ({"noise"} & {*best.named_experts_})
    assert asked == {*removed} | {*best.named_experts_}
    assert len(bounds) == len(history["bound"]) == model.n_iter_
    loads = np.array(history["load"])
    assert loads.shape == (model.n_iter_, len(asked))
    np.testing.assert_allclose(loads.sum(axis=1), 1.0)
    np.testing.assert_allclose(loads[-1][best._learned.kept], best.expert_load_)
    falls = np.flatnonzero(np.diff(bounds) < -1e-9) + 1
    assert {*falls} <= {*history["restart"], *history["renewed"]}
    printed = capsys.readouterr().out
    for own in history["removed"]:
        assert f"expert {own['expert']!r} is removed" in printed
        assert own["load"] < 0.1
        assert "min_load" in own["reason"]
    display = ConvergenceDisplay.from_estimator(model)
    assert len(display.line_.get_xdata()) == model.n_iter_
    assert len(display.marks_) == len(history["restart"])
    mpl.pyplot.close(display.figure_)


@pytest.mark.filterwarnings("ignore:Expert")
def test_the_record_of_trees_and_of_soft_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=200)
    tree = HierarchicalMoERegressor(
        branching=(3, 2), trainer=EM(min_load=0.1), random_state=0
    ).fit(X, y)
    assert len(tree.history_["removed"]) == 6 - tree.n_experts_
    assert np.ptp(tree.lower_bounds_) > 0
    y = np.abs(X[:, 0]) + (X[:, 0] > 1) + 0.3 * rng.normal(size=200)
    routed = MoERegressor(n_experts=4, router=1, random_state=0).fit(X, y)
    assert len(routed.history_["soft_bound"]) > 3
    assert len(routed.lower_bounds_) == routed.n_iter_ <= 20 * 4


def test_density_has_no_stripes_of_single_rows():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(150, 2))
    y = 1000.0 * X[:, 1] + 0.01 * rng.normal(size=150)
    model = MoERegressor(n_experts=1).fit(X, y)
    display = PredictiveDensityDisplay.from_estimator(model, X, 0, n_values=3)
    area = np.trapezoid(display.density, display.targets, axis=0)
    np.testing.assert_allclose(area, 1.0, atol=0.02)
    own = display.density[:, 1]
    assert own.max() < 3.0 / 1000.0
    peaks = (own[1:-1] > own[:-2]) & (own[1:-1] > own[2:])
    assert peaks.sum() < 10


def test_a_narrow_stretch_leaves_colours_to_others():
    pytest.importorskip("matplotlib").use("Agg")
    density = np.full((20, 9), 0.1)
    density[3, 4] = 50.0
    levels = np.zeros((1, 9))
    display = PredictiveDensityDisplay(
        np.arange(9.0), np.arange(20.0), density, levels, [0.5], "a"
    ).plot()
    assert display.mesh_.norm.vmax == pytest.approx(0.4)
    assert display.bar_.extend == "max"
