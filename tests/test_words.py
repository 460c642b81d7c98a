"""Words where there should be values, words that are nearly known, and missing methods.

Each kind is tried wherever it may stand.
"""

import datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe._estimators.shown import experts_in_words
from skmoe._sklearn import words_of
from skmoe.experts import AdditiveExpert, LinearExpert, MLPExpert, TreesOnTables
from skmoe.gates import AdditiveGate, GaussianGate, SoftmaxGate
from skmoe.inference import standard_errors, summary
from skmoe.inspection import expert_usage, report
from skmoe.likelihoods import Gaussian
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV, merge_experts
from skmoe.routers import GShardRouter, SwitchRouter, TopKRouter, TopPRouter
from skmoe.trainers import EM, Gradient, TwoStage

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(60, 2)), columns=["id", "age"])
Y = RNG.poisson(np.exp(0.5 * X["age"])).astype(float)
LABELS = (Y > 1).astype(int)
pytestmark = pytest.mark.filterwarnings("ignore")


def counts(**options):
    return MoERegressor(n_experts=1, likelihood="poisson", **options)


@pytest.fixture(scope="module")
def fitted():
    return counts().fit(X, Y)


# What is called with one value per row, and by which name it takes them.
PER_ROW = {
    "fit": (
        lambda model, **own: model.fit(X, Y, **own),
        ["offset", "sample_weight", "groups", "start"],
    ),
    "partial_fit": (
        lambda model, **own: counts().partial_fit(X, Y, **own),
        ["offset", "sample_weight"],
    ),
    "predict": (lambda model, **own: model.predict(X, **own), ["offset"]),
    "score": (
        lambda model, **own: model.score(X, Y, **own),
        ["offset", "sample_weight"],
    ),
    "log_density": (
        lambda model, **own: model.log_density(X, Y, **own),
        ["offset", "groups"],
    ),
    "bic": (
        lambda model, **own: model.bic(X, Y, **own),
        ["offset", "sample_weight", "groups"],
    ),
    "expert_usage": (
        lambda model, **own: expert_usage(model, X, **own),
        ["sample_weight"],
    ),
}
CALLS = [(call, name) for call, (_, names) in PER_ROW.items() for name in names]


@pytest.mark.parametrize(("call", "name"), CALLS)
def test_the_name_of_a_column_is_no_value_of_each_row(fitted, call, name):
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match=rf"give its values: {name}=X\['id'\]\.$"):
        PER_ROW[call][0](fitted, **{name: "id"})
    assert vars(fitted) == before


@pytest.mark.parametrize("model", [counts(), MoEClassifier(n_experts=1)])
def test_a_name_is_neither_table_nor_target(model):
    with pytest.raises(ValueError, match=r"give its values: y=X\['id'\]"):
        model.fit(X, "id")
    with pytest.raises(ValueError, match=r"X='rows\.csv'.*read_csv"):
        model.fit("rows.csv", Y)


def with_first(value):
    return np.r_[value, np.zeros(len(Y) - 1)]


SIZES = [
    ("offset", with_first(-np.inf), "-inf for an exposure of 0; leave such rows out"),
    ("offset", with_first(np.nan), "offset is nan in row 0.*the exposure"),
    ("offset", 0.0, r"shape \(\).*logarithm of the exposure"),
    ("offset", np.zeros(3), r"shape \(3,\).*logarithm of the exposure"),
    ("offset", ["a"] * len(Y), r"'a'\), but expected the logarithm"),
    ("offset", pd.Series([None, *Y[1:]], dtype="Float64"), "offset is nan in row 0"),
    ("trials", with_first(np.inf), "trials is inf in row 0.*number of trials"),
    ("trials", np.ones((len(Y), 2)), r"60, 2\), but expected \(60,\), the number"),
]


@pytest.mark.parametrize(("name", "value", "match"), SIZES)
def test_sizes_of_rows_say_what_they_are(name, value, match):
    family = "poisson" if name == "offset" else "binomial"
    model = MoERegressor(n_experts=1, likelihood=family)
    with pytest.raises(ValueError, match=match):
        model.fit(X, LABELS, **{name: value})


FLAT = [X.iloc[0], X["id"], X.to_numpy()[0], [1.0, 2.0], ("a", 2.0)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("own", FLAT, ids=lambda own: type(own).__name__)
def test_one_row_or_column_is_no_table(fitted, own):
    for call in (fitted.predict, fitted.gate_proba, lambda A: fitted.fit(A, X)):
        with pytest.raises(ValueError, match=r"X\.iloc\[\[0\]\].*in fit X before y"):
            call(own)


TIMES = [
    (pd.to_timedelta(Y, unit="s"), "seconds as numbers"),
    (Y.astype("m8[s]"), "seconds as numbers"),
    ([datetime.timedelta(days=1)] * len(Y), "seconds as numbers"),
    (pd.to_datetime(Y, unit="s"), "days since a date"),
    ([datetime.time(1)] * len(Y), "seconds since midnight"),
    (["low"] * len(Y), "MoEClassifier for classes"),
]


@pytest.mark.parametrize(("y", "remedy"), TIMES)
def test_a_target_of_times_is_no_target_of_classes(y, remedy):
    with pytest.raises(ValueError, match=rf"in y to a number; .*{remedy}"):
        MoERegressor().fit(X, y)


def mistyped(word):
    return word[:1] + word[2:]


WORDS = [
    (kind, name, word)
    for kind in (
        MoERegressor,
        MoEClassifier,
        HierarchicalMoERegressor,
        HierarchicalMoEClassifier,
        MoERegressorCV,
        MoEClassifierCV,
    )
    for name, constraints in kind._parameter_constraints.items()
    for word in words_of(constraints)
    # Of three letters or fewer none but one is left of two.
    if len(word) > 3
]


@pytest.mark.parametrize(("kind", "name", "word"), WORDS)
def test_a_word_of_a_parameter_that_is_mistyped(kind, name, word):
    model = kind().set_params(**{name: mistyped(word)})
    with pytest.raises(ValueError, match=rf"{name}.*did you mean '{word}'\?"):
        model.fit(X, Y if "Regressor" in kind.__name__ else LABELS)


PARTS = [
    ({"gate": "sofmax"}, "softmax"),
    ({"gate": GaussianGate(covariance="diagg")}, "diag"),
    ({"gate": SoftmaxGate(alpha="evidnce")}, "evidence"),
    ({"gate": AdditiveGate(ends="hel")}, "held"),
    ({"trainer": "EM"}, "em"),
    ({"trainer": EM(objective="predictoin")}, "prediction"),
    ({"trainer": TwoStage(objective="likelyhood")}, "likelihood"),
    ({"trainer": TwoStage(local_correction="tree")}, "trees"),
    ({"likelihood": "poison"}, "poisson"),
    ({"likelihood": Gaussian(variance="shard")}, "shared"),
    ({"experts": LinearExpert(alpha="evidnce")}, "evidence"),
    ({"experts": AdditiveExpert(alpha="evidnce")}, "evidence"),
    ({"experts": MLPExpert(activation="relus"), "trainer": Gradient()}, "relu"),
    ({"router": TopKRouter(1, training="spares")}, "sparse"),
    ({"router": TopPRouter(training="spares")}, "sparse"),
    ({"router": SwitchRouter(overflow="drp")}, "drop"),
    ({"router": GShardRouter(overflow="nxt")}, "next"),
    ({"gate_features": "piecewise_linear"}, "piecewise-linear"),
    ({"expert_features": "piecewise_linear"}, "piecewise-linear"),
]


@pytest.mark.parametrize(("parts", "word"), PARTS, ids=lambda own: repr(own)[:40])
def test_a_word_of_a_part_that_is_mistyped(parts, word):
    with pytest.raises(ValueError, match=rf"did you mean '{word}'\?$"):
        MoERegressor(**{"n_experts": 2, **parts}).fit(X, Y)


def test_words_of_functions(fitted):
    calls = [
        lambda: standard_errors(fitted, X, Y, kind="sandwhich"),
        lambda: merge_experts(fitted, X, Y, criterion="bicc"),
        lambda: counts().partial_fit(X, Y, freeze="expert"),
        lambda: fitted.bic(X, Y, count="group"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="did you mean"):
            call()


def test_words_stand_in_order():
    """Sets of strings have another order in each process."""
    with pytest.raises(ValueError, match="{'additive', 'auto', 'linear', 'mlp'}"):
        MoERegressor("ridge").fit(X, Y)


# What has no ``partial_fit``, whether it is fitted first, and the word that says why.
WITHOUT = [
    (MoERegressor(n_experts=1), True, r"begin with partial_fit.*EM\(step="),
    (MoEClassifier(n_experts=1), True, "begin with partial_fit"),
    (
        MoERegressor(trainer="two-stage"),
        False,
        "'em' or trainer='gradient'",
    ),
    (MoERegressor(Ridge()), False, "use LinearExpert"),
    (MoERegressor(n_members=2), False, "n_members=2"),
    (HierarchicalMoERegressor(branching="grow"), False, "grow"),
]


@pytest.mark.parametrize(("model", "first", "why"), WITHOUT)
def test_a_method_that_is_missing_says_why(model, first, why):
    model = clone(model).fit(X, LABELS) if first else model
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match=rf"has no partial_fit with.*{why}"):
        model.partial_fit(X, LABELS)
    assert "batch" in type(model).partial_fit.__doc__


def test_trees_of_a_regressor_have_no_probabilities():
    assert TreesOnTables(LogisticRegression()).predict_proba
    with pytest.raises(AttributeError, match="use a classifier"):
        TreesOnTables(Ridge()).predict_proba(X)


COUNTED = [
    ({"n_experts": 1}, "1 expert"),
    ({"n_experts": 2}, "2 experts"),
    ({"n_experts": 1, "zero_inflation": True}, "1 expert and zeros"),
    ({"n_experts": 1, "noise": True, "n_members": 2}, "2 experts and noise"),
]


@pytest.mark.parametrize(("options", "said"), COUNTED)
def test_experts_are_counted_in_words(options, said):
    model = MoERegressor(likelihood="poisson", **options).fit(X, Y)
    assert experts_in_words(model) == said


def test_titles_count_experts_in_words(fitted):
    title = str(summary(fitted, X, Y, penalized=True)).partition("\n")[0]
    assert title.startswith("MoERegressor: 1 expert, 60 rows,")
    html = report(fitted, X[:9], Y[:9])._repr_html_()
    assert "MoERegressor of 1 expert&lt;" in html


def test_a_part_is_named_within_its_sentence():
    model = MoERegressor("additive", n_experts=1).fit(X, Y)
    with pytest.raises(ValueError, match="has the AdditiveExpert 'expert0', but"):
        summary(model, X, Y)
