"""Rows that are plain arrays take the short way, and all others the long one."""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
from kinds import KINDS, X, Y, fitted
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge

from skmoe import MoERegressor
from skmoe._estimators import views
from skmoe._tables.plain import plain_table
from skmoe._tables.table import LARGEST
from skmoe.engines import _calls
from skmoe.experts import BuiltInExpert
from skmoe.gates import BaseGate
from skmoe.routers import DenseRouter, TopKRouter

FRAME = pd.DataFrame(X).add_prefix("x")
SERVED = ("linear", "sparse", "outputs", "tree", "classes", "class tree", "noise")


def refuse(*args, **kwargs):
    raise AssertionError("the long way")


def long_way(monkeypatch):
    """Read every row with all checks."""
    monkeypatch.setattr(views, "plain_table", lambda *args: None)


@pytest.mark.parametrize("name", [*SERVED, "flat experts", "curves", "members"])
def test_both_ways_answer_to_the_bit(name, monkeypatch):
    model = fitted(name)
    rows = np.column_stack([X, np.ones(len(X))]) if name == "flat experts" else X
    methods = [own for own in ("predict", "predict_proba") if hasattr(model, own)]
    asked = [
        (getattr(model, own), rows[i : i + 1]) for own in methods for i in range(5)
    ]
    found = [method(row) for method, row in asked]
    long_way(monkeypatch)
    for own, (method, row) in zip(found, asked, strict=True):
        np.testing.assert_array_equal(method(row), own)


@pytest.mark.parametrize("name", SERVED)
def test_one_row_is_neither_read_again_nor_given_to_threads(name, monkeypatch):
    assert name in KINDS
    model, row = fitted(name), X[:1]
    model.predict(row)
    monkeypatch.setattr(views, "read_table", refuse)
    monkeypatch.setattr(_calls, "Parallel", refuse)
    monkeypatch.setattr(_calls, "effective_n_jobs", refuse)
    model.predict(row)
    if name.startswith("class"):
        model.predict_proba(row)


def test_plain_arrays_are_taken_as_they_are():
    model = fitted("linear")
    for own in (X[:1], X, X.astype(np.float32)):
        assert plain_table(model, own, False).numbers is own


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (X[:1, :3], "X has 3 features, but MoERegressor is expecting 4"),
        (X[0], "Expected 2D array, got 1D array"),
        (X[:0], "0 sample"),
        (np.where(X[:1] == X[0, 1], np.nan, X[:1]), "Input X contains NaN"),
        (np.where(X[:1] == X[0, 1], np.inf, X[:1]), "Input X contains infinity"),
        (X[:1] * 10 * LARGEST, "leaves the range of numbers"),
        (X[:1].astype(complex), "Complex data not supported"),
        (X[:1].astype(str).astype(object) + "x", "could not convert"),
    ],
)
def test_what_is_not_plain_is_refused_as_ever(rows, said, monkeypatch):
    model = fitted("linear")
    assert plain_table(model, rows, False) is None
    with pytest.raises(ValueError, match=said) as found:
        model.predict(rows)
    long_way(monkeypatch)
    with pytest.raises(ValueError, match=said) as wanted:
        model.predict(rows)
    assert str(found.value) == str(wanted.value)


def changed(table):
    """Rows that are like those of the fit, or not quite, and what is said of them."""
    single = table.assign(x1=table["x1"].astype(np.float32))
    yield "plain", table, None
    yield "single", single, None
    yield "all single", table.astype(np.float32), None
    yield "whole", table.assign(x1=3), None
    yield "nullable", table.assign(x1=table["x1"].astype("Float64")), None
    yield "order", table[["x1", "x0", "x2", "x3"]], "Feature names must be in the same"
    yield "other", table.rename(columns={"x1": "x9"}), "seen at fit time, yet now miss"
    yield "fewer", table[["x0", "x1"]], "seen at fit time, yet now miss"
    yield "gap", table.assign(x1=np.nan), "Input X contains NaN: look in column 'x1'"
    yield "text", table.assign(x1="a"), "could not convert 'a' to a number"
    yield "vast", table.assign(x1=1e200), "x1 has a largest absolute value"


@pytest.mark.parametrize("kind", [own[0] for own in changed(FRAME)])
def test_frames_are_read_as_ever(kind, monkeypatch):
    model = named_model()
    rows, said = next(own[1:] for own in changed(FRAME[:3]) if own[0] == kind)
    found = outcome(model, rows)
    assert (plain_table(model, rows, False) is not None) == (kind == "plain")
    long_way(monkeypatch)
    wanted = outcome(model, rows)
    if said is None:
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted
        assert said in found


@functools.cache
def named_model():
    """A model that knows names of columns, with experts that read frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MoERegressor([Ridge(), LinearRegression()]).fit(FRAME, Y)


def outcome(model, rows):
    """What a model predicts, or what it says instead."""
    try:
        return model.predict(rows)
    except ValueError as error:
        return str(error)


def test_names_of_columns_are_asked_for():
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        named_model().predict(X[:1])


def test_other_arrays_are_read():
    model, row = fitted("linear"), X[:3]
    wanted = model.predict(row)
    for own in (np.asfortranarray(row), row.tolist(), row.astype(">f8"), X[::1][:3]):
        np.testing.assert_allclose(model.predict(own), wanted, rtol=1e-14)
    assert plain_table(model, np.asfortranarray(row), False) is None
    assert plain_table(model, row.astype(">f8"), False) is None
    assert plain_table(model, np.ma.masked_array(row), False) is None


class Unsure(BaseGate):
    """A gate whose weights are no weights."""

    def fit(self, X, resp, sample_weight=None):
        self.size_ = resp.shape[1]
        return self

    def predict_log_proba(self, X):
        return np.full((X.shape[0], self.size_), self.level)

    level = -0.1


def test_weights_are_those_of_the_route():
    gate = fitted("linear").gate_
    for router in (DenseRouter(), TopKRouter(1)):
        wanted = gate.route(X, router).dense()
        np.testing.assert_array_equal(gate.weights(X, router), wanted)
    unsure = Unsure().fit(X, np.zeros((len(X), 2)))
    for level, said in ((-0.1, "sum to 1.81"), (np.nan, "no finite numbers")):
        unsure.level = level
        with pytest.raises(ValueError, match=said):
            unsure.weights(X, DenseRouter())


class Odd(LinearRegression):
    """A regressor whose answers are none."""

    def predict(self, X):
        return np.full(len(X), self.answer)


@pytest.mark.parametrize("answer", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("n_rows", [1, 3])
def test_answers_of_experts_are_looked_at(answer, n_rows):
    Odd.answer = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MoERegressor([Odd(), Ridge()], gate="constant").fit(X, Y)
    assert not isinstance(model.experts_[0], BuiltInExpert)
    Odd.answer = answer
    with pytest.raises(ValueError, match="answers predict with"):
        model.predict(X[:n_rows])
