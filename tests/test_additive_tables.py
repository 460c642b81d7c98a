"""Additive parts on any table: odd columns, other frames, fits that go on."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.gates import AdditiveGate
from skmoe.likelihoods import HeteroscedasticGaussian
from skmoe.routers import HashRouter
from skmoe.trainers import EM

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
N_ROWS = 120
RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "a": RNG.normal(size=N_ROWS),
        "kind": RNG.choice(["u", "v", "w"], N_ROWS),
        "b": np.where(RNG.random(N_ROWS) < 0.2, np.nan, RNG.normal(size=N_ROWS)),
    }
)
Y = np.abs(X["a"].to_numpy()) + 0.1 * RNG.normal(size=N_ROWS)
CLASSES = np.where(X["a"] > 0, "up", np.where(np.arange(N_ROWS) % 2, "one", "two"))


def mixture(kind=MoERegressor, **more):
    arguments = {"gate": "additive", "trainer": EM(max_iter=10), "random_state": 0}
    return kind("additive", 2, **arguments | more)


@pytest.fixture(scope="module")
def model():
    return mixture().fit(X, Y)


# -- parts on the table that they saw -------------------------------------------------


READINGS = {
    "frame": lambda table: table,
    "polars": pl.from_pandas,
    "objects": lambda table: table.to_numpy(),
}


@pytest.mark.parametrize("reading", READINGS)
def test_parts_read_the_raw_table(model, reading):
    table = READINGS[reading](X)
    alone = [expert.predict(table) for expert in model.experts_]
    np.testing.assert_allclose(np.column_stack(alone), model.predict_experts(X))
    weights = np.exp(model.gate_.predict_log_proba(table))
    np.testing.assert_allclose(weights, model.gate_proba(X))


def test_parts_of_a_classifier_read_the_raw_table():
    fitted = mixture(MoEClassifier).fit(X, CLASSES)
    each = fitted.predict_experts(X)
    for k, expert in enumerate(fitted.experts_):
        np.testing.assert_allclose(expert.predict_proba(X), each[:, k])
    weights = np.exp(fitted.gate_.predict_log_proba(X))
    np.testing.assert_allclose(weights, fitted.gate_proba(X))


def test_parts_read_the_columns_that_they_were_given():
    fitted = mixture(gate_features=["a"], expert_features=["a", "b"]).fit(X, Y)
    first = fitted.experts_[0].predict(X[["a", "b"]])
    np.testing.assert_allclose(first, fitted.predict_experts(X)[:, 0])
    weights = np.exp(fitted.gate_.predict_log_proba(X[["a"]]))
    np.testing.assert_allclose(weights, fitted.gate_proba(X))


@pytest.mark.parametrize("columns", [["a", "b"], ["b", "kind", "a"]])
def test_other_columns_are_named(model, columns):
    for ask in (model.experts_[0].predict, model.gate_.predict_log_proba):
        with pytest.raises(ValueError, match=r"expected the 3 of their fit, \['a', 'k"):
            ask(X[columns])


def test_copies_answer_alike(model):
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
    other = mixture().fit(pl.from_pandas(X), Y)
    np.testing.assert_allclose(other.predict(pl.from_pandas(X)), model.predict(X))


# -- fits that go on ------------------------------------------------------------------


def test_a_fit_goes_on_with_other_rows_and_levels():
    more = X.assign(kind=np.tile(["w", "x", "v", "y"], 30), a=3 * X["a"])
    fitted = mixture(warm_start=True).fit(X, Y)
    for table, y in ((more, Y), (more.iloc[:40], Y[:40]), (X, Y)):
        fitted.fit(table, y)
        assert fitted.score(table, y) > 0.8


def test_what_goes_on_keeps_its_curves():
    """On other knots, levels and gaps curves have the values that they had."""
    expert = AdditiveExpert().fit(X, Y)
    turned = X.assign(kind=X["kind"].replace("u", "t")).iloc[N_ROWS // 2 :]
    other = AdditiveExpert(8).fit(turned, Y[N_ROWS // 2 :]).encoding_
    coef, _ = expert._on(other)
    at_knots = pd.DataFrame(
        {
            "a": [*other.columns_[1].knots, 0.0],
            "kind": "v",
            "b": [other.columns_[2].knots[0]] * len(other.columns_[1].knots) + [np.nan],
        }
    )
    found = other.places(at_knots).linear(coef)[:, 0]
    np.testing.assert_allclose(found[:-1], expert.predict(at_knots)[:-1], rtol=1e-9)
    gap = other.places(at_knots.assign(a=at_knots["a"].iloc[0])).linear(coef)[-1, 0]
    own = expert.predict(at_knots.assign(a=at_knots["a"].iloc[0]))[-1]
    assert gap == pytest.approx(own)


def test_a_gate_is_updated_by_a_raw_table():
    resp = np.column_stack([X["a"] > 0, X["a"] <= 0]) * 0.9 + 0.05
    gate = AdditiveGate().fit(X, resp)
    before = gate.predict_log_proba(X)
    gate.update(X, resp)
    np.testing.assert_allclose(gate.predict_log_proba(X), before, atol=0.1)


# -- odd tables -----------------------------------------------------------------------


COLUMNS = {
    "constant": 0.3,
    "one level": "z",
    "gaps only": np.nan,
    "nothing": None,
    "booleans": RNG.random(N_ROWS) < 0.5,
    "booleans with gaps": pd.array([True, None, False] * 40, dtype="boolean"),
    "integers with gaps": pd.array([1, None, 3] * 40, dtype="Int64"),
    "times": pd.date_range("2020", periods=N_ROWS),
    "times with gaps": pd.Series(pd.date_range("2020", periods=N_ROWS)).mask(Y > 1),
    "a level per row": [f"level {i}" for i in range(N_ROWS)],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_any_kind(name):
    table = X[["a"]].assign(c=COLUMNS[name])
    fitted = mixture().fit(table, Y)
    assert fitted.score(table, Y) > 0.8
    alone = mixture().fit(table[["c"]], Y)
    assert np.isfinite(alone.predict(table[["c"]])).all()
    later = table.assign(c=table["c"].iloc[0])
    assert np.isfinite(fitted.predict(later)).all()
    classes = mixture(MoEClassifier).fit(table, CLASSES)
    np.testing.assert_allclose(classes.predict_proba(table).sum(axis=1), 1.0)


def test_many_levels():
    levels = [f"level {i % 400}" for i in range(800)]
    table, y = (
        pd.DataFrame({"a": np.tile(X["a"][:80], 10), "c": levels}),
        np.arange(800),
    )
    y = np.abs(table["a"]) + 0.001 * (y % 400)
    assert mixture().fit(table, y).score(table, y) > 0.8


@pytest.mark.filterwarnings("ignore:.* are matched exactly")
@pytest.mark.parametrize("n_rows", [2, 3])
def test_few_rows(n_rows):
    fitted = mixture().fit(X.iloc[:n_rows], Y[:n_rows])
    assert np.isfinite(fitted.predict(X)).all()
    classes = mixture(MoEClassifier).fit(X.iloc[:n_rows], CLASSES[:n_rows])
    assert np.isfinite(classes.predict_proba(X)).all()


@pytest.mark.parametrize("weight", [np.arange(N_ROWS) % 3 > 0, X["kind"] != "u"])
def test_rows_without_weight_are_no_rows(weight):
    weight = np.asarray(weight, dtype=float)
    fitted = mixture().fit(X, Y, sample_weight=weight)
    fewer = mixture().fit(X[weight > 0], Y[weight > 0])
    np.testing.assert_allclose(fitted.predict(X), fewer.predict(X), rtol=1e-9)


@pytest.mark.parametrize("more", [{"router": 1}, {"trainer": "hard-em"}])
def test_classes_that_an_expert_never_sees(more):
    proba = mixture(MoEClassifier, **more).fit(X, CLASSES).predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


# -- what cannot be -------------------------------------------------------------------


def refusals():
    numbers = X[["a", "b"]].fillna(0.0)
    rows = sparse.csr_matrix(numbers.where(numbers > 1.5, 0.0).to_numpy())
    features = {"gate": "softmax", "expert_features": [0, 1]}
    return {
        "Sparse data was passed": (mixture(), rows),
        "Curves got a sparse table": (mixture(**features), rows),
        "holds infinity": (mixture(), X.assign(a=np.inf)),
        "model of the variance that reads curves": (
            mixture(likelihood=HeteroscedasticGaussian(LinearExpert())),
            X,
        ),
        "HashRouter got a gate that sees curves": (
            mixture(router=HashRouter()),
            numbers,
        ),
        "AdditiveGate.*has no network": (mixture(trainer="gradient"), X),
    }


@pytest.mark.parametrize("text", refusals())
def test_what_cannot_be_is_named(text):
    own, table = refusals()[text]
    with pytest.raises((ValueError, TypeError), match=text):
        own.fit(table, Y)
