"""Tables and pictures of a fitted mixture."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skmoe import MoEClassifier, MoERegressor
from skmoe.inspection import (
    ConvergenceDisplay,
    ExpertUsageDisplay,
    GateDisplay,
    expert_usage,
    explain,
    gate_importance,
)

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
    plt.close("all")
