"""Rows explained by terms: in a frame, in words, and as a picture."""

import pickle

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import estimator_html_repr

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.gates import AdditiveGate
from skmoe.inspection import (
    CurveDisplay,
    ExpertUsageDisplay,
    ExplanationDisplay,
    GateDisplay,
    expert_usage,
    explain,
    explain_text,
    export_text,
    regimes,
    report,
)
from skmoe.trainers import EM, TwoStage

mpl.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.RandomState(0)
X = pd.DataFrame(RNG.uniform(0, 24, (150, 3)), columns=["hour", "heat", "wind"])
Y = np.where(X["hour"] < 12, 5 * X["heat"], 40 - X["wind"]) + RNG.normal(size=150)
LABELS = np.array(["low", "mid", "top"])[np.digitize(Y, [30, 60])]
SHORT = EM(max_iter=8)
TREE = DecisionTreeRegressor(max_depth=3, random_state=0)


def regressor(experts=None, **options):
    return MoERegressor(experts, 2, trainer=SHORT, random_state=0, **options)


def classifier(experts=None, **options):
    return MoEClassifier(experts, 2, trainer=SHORT, random_state=0, **options)


@pytest.fixture(scope="module")
def model():
    return make_pipeline(StandardScaler(), regressor()).fit(X, Y)


@pytest.fixture(scope="module")
def classes():
    return classifier().fit(X, LABELS)


CASES = {
    "linear": lambda: regressor().fit(X, Y),
    "additive": lambda: regressor("additive", gate="additive").fit(X, Y),
    "poisson": lambda: regressor(likelihood="poisson").fit(X, np.abs(Y).round()),
    "shared expert": lambda: regressor(shared_expert=TREE).fit(X, Y),
    "two outputs": lambda: regressor().fit(X, np.c_[Y, -Y]),
    "foreign": lambda: regressor(TREE).fit(X, Y),
    "classes": lambda: classifier().fit(X, LABELS),
    "two classes": lambda: classifier().fit(X, LABELS == "low"),
    "foreign classes": lambda: classifier(
        DecisionTreeClassifier(max_depth=2, random_state=0)
    ).fit(X, LABELS),
    "search": lambda: GridSearchCV(regressor(), {"n_experts": [2]}, cv=2).fit(X, Y),
    "tree of gates": lambda: HierarchicalMoERegressor(
        branching=(2, 2), trainer=SHORT, random_state=0
    ).fit(X, Y),
    "members": lambda: regressor(n_members=2).fit(X, Y),
}
WAYS = {
    "identity": lambda total: total,
    "probability": lambda total: total,
    "log": np.exp,
    "softmax": lambda total: softmax(total, axis=1),
}


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.parametrize("case", CASES)
def test_terms_add_up_to_what_each_part_answers(case):
    own = CASES[case]()
    found = explain(own, X[:4], X, n_draws=2)
    assert list(found["terms"]) == found.names
    for k, name in enumerate(found.names):
        terms = found["terms"][name]
        assert terms["term"][:4] == ["level", *X.columns]
        total = WAYS[terms.scale](terms["value"].sum(axis=-1))
        wanted = found["prediction"][:, k]
        np.testing.assert_allclose(total, wanted, rtol=1e-6, atol=1e-9)
    gate = found["gate_terms"]
    weight = WAYS[gate.scale](gate["value"].sum(axis=-1))
    np.testing.assert_allclose(weight, found["gate"], rtol=1e-6, atol=1e-9)


def test_terms_of_any_part_are_shapley_values():
    """Of a sum of functions of one column each, they are those of the columns."""
    y = np.floor(X["heat"] / 8) * 10
    own = regressor(DecisionTreeRegressor(), gate="constant").fit(X, y)
    found = explain(own, X[:5], X[:40], n_draws=30)
    value = found["terms"][found.names[0]]["value"]
    np.testing.assert_allclose(value[:, [1, 3]], 0.0, atol=1e-9)
    assert np.ptp(value[:, 0]) < 1e-9
    np.testing.assert_allclose(value[:, 0] + value[:, 2], y[:5])
    again = explain(own, X[:5], X[:40], n_draws=30)
    assert found["terms"] == again["terms"]
    other = explain(own, X[:5], X[:40], n_draws=30, random_state=1)
    assert found["terms"] != other["terms"]


def test_lines_are_around_what_their_expert_serves(model):
    plain, around = explain(model, X), explain(model, X, X)
    expert = model[-1].experts_[0]
    terms = plain["terms"]["expert0"]["value"]
    np.testing.assert_allclose(terms[:, 1:].mean(axis=0), 0.0, atol=1e-6)
    level = expert.intercept_ + expert.coef_ @ expert.center_
    np.testing.assert_allclose(terms[:, 0], level)
    terms = around["terms"]["expert0"]["value"]
    mean = np.average(terms, axis=0, weights=around["gate"][:, 0])
    np.testing.assert_allclose(mean[1:], 0.0, atol=1e-6)
    assert set(explain(regressor(TREE).fit(X, Y), X[:2])) >= {"gate_terms", "expert"}


def test_rows_in_words_have_the_values_of_the_user(model, classes):
    text = explain_text(model, X[:1], X)[0]
    assert f"hour {X['hour'][0]:.4g}" in text
    assert "; chosen for level" in text
    said = explain_text(classes, X[:20], X)
    assert any("predicts low (" in own and "logit = level" in own for own in said)
    # Without terms of experts, words are those of the gate.
    assert "predicts" in explain_text(regressor(TREE).fit(X, Y), X[:1])[0]
    bare = regressor(TREE, gate="constant").fit(X, Y)
    with pytest.raises(ValueError, match="pass background=X_train"):
        explain_text(bare, X[:1])
    assert "level" in explain_text(bare, X[:1], X)[0]


@pytest.mark.parametrize("kind", ["array", "polars", "sparse"])
def test_any_table_is_explained(kind):
    make = {
        "array": np.asarray,
        "polars": lambda X: pl.DataFrame(X.to_dict("list")),
        "sparse": lambda X: sparse.csr_array(X.to_numpy()),
    }[kind]
    own = regressor().fit(make(X), Y)
    found = explain(own, make(X[:3]), make(X))
    names = list(X) if kind == "polars" else ["x0", "x1", "x2"]
    assert found["terms"]["expert0"]["term"] == ["level", *names]
    assert len(found.to_text()) == 3


def test_frame_has_a_line_for_each_term(model, classes):
    table = explain(model, X[:3], X).to_frame()
    assert len(table) == 3 * 2 * 4
    assert list(table) == ["row", "expert", "weight", "term", "cell", "value", "scale"]
    line = table[(table["row"] == 2) & (table["term"] == "heat")].iloc[0]
    assert line["cell"] == X["heat"][2]
    gate = explain(model, X[:3]).to_frame("gate")
    assert set(gate["scale"]) == {"softmax"}
    table = explain(classes, X[:3], X).to_frame()
    assert set(table["output"]) == {"low", "mid", "top"}
    assert len(table) == 3 * 2 * 3 * 4
    bare = explain(regressor(TREE, gate="constant").fit(X, Y), X[:3])
    table = bare.to_frame()
    assert set(table["term"]) == {"prediction"}
    np.testing.assert_allclose(table["value"], bare["prediction"].ravel())
    with pytest.raises(ValueError, match="background=X_train"):
        bare.to_frame("gate")
    with pytest.raises(ValueError, match="got part='all', but expected"):
        bare.to_frame("all")


def test_explanations_are_short_and_travel(model):
    found = explain(model, X[:3])
    assert repr(found) == "Explanation of 3 rows by 2 experts"
    again = pickle.loads(pickle.dumps(found))
    assert again.to_text() == found.to_text()


def test_picture_of_a_row(model, classes):
    found = explain(model, X, X)
    display = ExplanationDisplay.from_explanation(found, row=7)
    k = found.names.index(found["expert"][7])
    assert display.total == pytest.approx(found["prediction"][7, k])
    ends = [bar.get_x() + bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(ends, np.cumsum(display.values)[1:])
    # The largest term stands first, with the value of its column.
    size = np.abs(display.values[1:])
    assert list(size) == sorted(size, reverse=True)
    assert f"hour = {X['hour'][7]:.4g}" in display.names
    display = ExplanationDisplay.from_explanation(found, row=7, n_terms=1)
    assert display.names[-1] == "2 others"
    assert display.ax_.get_title()
    gate = ExplanationDisplay.from_estimator(model, X, part="gate", expert="expert1")
    assert "expert1" in gate.title
    assert "gate" in gate.xlabel
    display = ExplanationDisplay.from_estimator(classes, X, X, output="mid")
    assert "mid" in display.xlabel
    plt.close("all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 150}, "row=150, but expected an integer from 0 to 149"),
        ({"expert": "me"}, "expert='me', but expected one of"),
        ({"output": 1}, "output=1, but expected one of"),
        ({"part": "all"}, "part='all', but expected 'experts' or 'gate'"),
    ],
)
def test_what_cannot_be_drawn_is_told(model, options, message):
    with pytest.raises(ValueError, match=message):
        ExplanationDisplay.from_estimator(model, X, plot=False, **options)


@pytest.mark.parametrize("n_members", [1, 2])
def test_words_end_with_what_the_mixture_answers(n_members):
    model = regressor(n_members=n_members).fit(X, Y)
    answers = model.predict(X[:40])
    for said, own, answer in zip(
        explain_text(model, X[:40]),
        explain(model, X[:40])["prediction"],
        answers,
        strict=True,
    ):
        leading = float(said.split(" predicts ")[1].split(":")[0])
        assert np.abs(own - leading).min() < 0.01 * np.abs(own).max()
        last = (
            said.rpartition("; the mixture answers ")[2]
            if "answers" in said
            else leading
        )
        assert float(last) == pytest.approx(answer, rel=0.01, abs=0.01)
    assert any("the mixture answers" in own for own in explain_text(model, X[:40]))


STACKS = "the gate is constant: predictions are linear stacking"
PAIR = [("line", Ridge()), ("tree", TREE)]
STACKED = {
    "two stages": lambda: MoERegressor(
        PAIR, trainer=TwoStage(cv=2, alphas=[np.inf]), random_state=0
    ),
    "network": lambda: MoERegressor(
        PAIR, gate="mlp", trainer=TwoStage(cv=2, alphas=[np.inf]), random_state=0
    ),
    "members": lambda: MoERegressor(
        PAIR, trainer=TwoStage(cv=2, alphas=[np.inf]), n_members=2, random_state=0
    ),
    "heavy penalty": lambda: MoERegressor(
        PAIR, trainer=TwoStage(cv=2, alphas=[1e9]), random_state=0
    ),
    "by kind": lambda: regressor(gate="constant"),
}


def places(model):
    """Where people read of a gate, by place."""
    found = explain(model, X[:3], X, n_draws=2)
    picture = ExplanationDisplay.from_explanation(found, part="gate", plot=False)
    along = GateDisplay.from_estimator(model, X, "hour", n_values=3)
    tree = "" if model.n_members > 1 else export_text(model)
    said = {
        "repr": " ".join(repr(model).split()),
        "html": estimator_html_repr(model),
        "explanation": repr(found),
        "words": " ".join(found.to_text()),
        "waterfall": picture.title,
        "gate": along.ax_.get_title(),
        "report": report(model, X[:60]).html,
        "tree": tree,
    }
    plt.close("all")
    return {place: text.lower() for place, text in said.items()}


@pytest.mark.parametrize("kind", STACKED)
def test_a_constant_gate_is_told_of_wherever_people_read(kind):
    said = places(STACKED[kind]().fit(X, Y))
    if kind == "members":
        del said["tree"]
    assert [place for place, text in said.items() if STACKS not in text] == []
    assert "gate: constant, linear stacking" in said["html"]
    assert "moves the gate" not in said["report"]


def test_a_gate_that_tells_rows_apart_is_none():
    model = regressor().fit(X, Y)
    assert [place for place, text in places(model).items() if STACKS in text] == []
    alone = regressor(gate="constant").set_params(n_experts=1).fit(X, Y)
    assert STACKS not in repr(alone)
    # Given weights are not those of the gate.
    stacked = regressor(gate="constant").fit(X, Y)
    found = explain(stacked, X[:2], weights=[[1.0, 0.0], [0.0, 1.0]])
    assert STACKS not in repr(found) + str(found.to_text())


def test_pictures_and_tables_say_how_an_expert_is_corrected():
    trainer = TwoStage(cv=2, local_correction="trees")
    wide = pd.concat([X, X], ignore_index=True)
    target = np.r_[Y, Y] + 30 * (wide["wind"] > 12)
    model = MoERegressor([("line", Ridge())], trainer=trainer, random_state=0)
    model.fit(wide, target)
    assert list(model.named_experts_) == ["line"]
    found = explain(model, X[:3], X, n_draws=2)
    assert found["expert"].tolist() == ["line"] * 3
    assert list(found["terms"]) == ["line"]
    (shown,) = found.shown_names
    usage = ExpertUsageDisplay.from_estimator(model, X)
    said = {
        "words": found.to_text()[0],
        "frame": found.to_frame()["expert"][0],
        "waterfall": ExplanationDisplay.from_explanation(found, plot=False).title,
        "usage": expert_usage(model, X)["expert"][0],
        "axis": usage.ax_.get_yticklabels()[0].get_text(),
        "regimes": regimes(model, X)["expert"][0],
        "gate": GateDisplay.from_estimator(model, X, 0, plot=False).names[0],
        "tree": export_text(model),
        "report": report(model, X[:60]).html,
    }
    plt.close("all")
    assert shown.startswith("line + trees (")
    assert [place for place, text in said.items() if shown not in text] == []
    # Behind the name that stands for parameters.
    beside = shown.removeprefix("line ")
    assert f"line: {beside}, 100%" in estimator_html_repr(model)
    # The expert itself is named as the user knows it.
    assert "Ridge" in said["tree"]
    assert pickle.loads(pickle.dumps(found)).shown_names == [shown]


def test_curves_of_a_constant_gate_say_so():
    gate = AdditiveGate(alpha=1e14)
    labels = [
        CurveDisplay.from_estimator(own.fit(X, Y), part="gate", plot=False).ylabel
        for own in (regressor(gate=gate), regressor(gate="additive"))
    ]
    assert ["linear stacking" in own for own in labels] == [True, False]
