"""Graphs of ONNX say what mixtures say, for each kind of part; others are refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.exceptions import OnnxExportError
from skmoe.experts import AdditiveExpert, AutoPool, CompactForest, MLPExpert
from skmoe.export import offload, onnx_inputs, to_onnx
from skmoe.gates import ClassifierGate, GaussianGate, GroupGate, MLPGate
from skmoe.likelihoods import (
    Gaussian,
    HeteroscedasticGaussian,
    InverseGaussian,
    LogNormal,
    NegativeBinomial,
    StudentT,
)
from skmoe.routers import (
    BalancedRouter,
    BudgetRouter,
    ExpertChoiceRouter,
    HashRouter,
    TopPRouter,
)
from skmoe.routers._base import best_first

for package in ("onnx", "onnxruntime", "skl2onnx"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from skl2onnx import to_onnx as plain_to_onnx  # noqa: E402

from skmoe.export.onnx import (  # noqa: E402
    Graph,
    register_expert,
    register_with_skl2onnx,
)
from skmoe.export.onnx._search import count  # noqa: E402
from skmoe.export.onnx._special import normal_cdf, normal_quantile, student_cdf  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

N_ROWS = 150
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N_ROWS, 3))
SIDE = X[:, 0] > 0
Y = np.where(SIDE, 2 * X[:, 1] + 1, -X[:, 1] - 2) + 0.3 * RNG.normal(size=N_ROWS)
AMOUNT, SHARE = np.exp(Y / 2), 1 / (1 + np.exp(-Y))
COUNT, LEVEL = np.floor(AMOUNT), np.clip(np.round(Y) + 4, 0, 7)
TWO = np.column_stack([Y, X[:, 2] - Y])
LABEL = np.array(["a", "b", "c"])[np.digitize(Y, [-1.5, 1])]
SEGMENTS = np.column_stack([np.round(X[:, 0]), X[:, 1:]])
GAPS = np.column_stack([np.round(2 * X[:, 0]), X[:, 1:]])
GAPS[::13, 1] = GAPS[::17, 0] = np.nan
TABLE = pd.DataFrame(
    {
        "number": np.where(np.arange(N_ROWS) % 11, X[:, 1], np.nan),
        "text": np.where(np.arange(N_ROWS) % 7, np.where(SIDE, "u", "v"), None),
        "kind": pd.Categorical(np.where(X[:, 2] > 0, "p", "q")),
        "whole": RNG.integers(0, 5, N_ROWS),
        "truth": X[:, 2] > 0.5,
        "when": pd.date_range("2020-01-01", periods=N_ROWS),
    }
)
FULL = TABLE.assign(text=TABLE["text"].fillna("none"))[["number", "text", "whole"]]
ENCODED = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["text"]),
    (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["number"]),
    ("passthrough", ["whole"]),
)


def flat(*experts, **parameters):
    """A mixture of two experts."""
    own = {"experts": list(experts)} if experts else {}
    return MoERegressor(**{"n_experts": 2, "random_state": 0, **own, **parameters})


def classes(**parameters):
    """A mixture of two experts for classes."""
    return MoEClassifier(**{"n_experts": 2, "random_state": 0, **parameters})


def tree(**parameters):
    """A hierarchy of four experts."""
    given = {"branching": (2, 2), "random_state": 0, **parameters}
    return HierarchicalMoERegressor(**given)


SMALL = {"max_iter": 8, "random_state": 0}
BOOSTED = HistGradientBoostingRegressor(**SMALL)
FOREST = RandomForestRegressor(8, max_depth=6, random_state=0)
NET = MLPExpert((4,), max_iter=20, n_frequencies=1, random_state=0)
VALUES = "prediction", "std", "gate", "top_expert", "experts"
QUANTILE = (*VALUES, "quantile:0.9")
PROBA = "prediction", "proba", "gate", "top_expert", "experts"

# Estimator, table, target, outputs.
CASES = {
    "linear": (flat(), X, Y, QUANTILE),
    "additive": (flat(experts="additive", gate="additive"), X, Y, QUANTILE),
    "linear ends": (flat(experts=AdditiveExpert(8, ends="linear")), GAPS, Y, VALUES),
    "mlp": (flat(NET, NET, gate=MLPGate((4,), max_iter=20)), X, Y, QUANTILE),
    "gaussian gate": (flat(gate="gaussian"), X, Y, VALUES),
    "tied gate": (flat(gate=GaussianGate("tied"), router=1), X, Y, VALUES),
    "constant gate": (flat(gate="constant", n_experts=3, router=2), X, Y, QUANTILE),
    "group gate": (flat(gate=GroupGate(0)), SEGMENTS, Y, VALUES),
    "tree gate": (flat(gate=ClassifierGate(DecisionTreeClassifier())), X, Y, VALUES),
    "logistic gate": (flat(gate=LogisticRegression(), router=1), X, Y, VALUES),
    "top-1": (flat(n_experts=3, router=1), X, Y, QUANTILE),
    "top-1 curves": (flat(experts="additive", router=1), X, Y, VALUES),
    "top-2": (flat(n_experts=3, router=2), X, Y, QUANTILE),
    "top-p": (flat(n_experts=3, router=TopPRouter(0.7)), X, Y, VALUES),
    "top-p of two": (flat(n_experts=3, router=TopPRouter(0.9, 2)), X, Y, VALUES),
    "budget": (flat(n_experts=3, router=BudgetRouter()), X, Y, VALUES),
    "expert choice": (flat(n_experts=3, router=ExpertChoiceRouter()), X, Y, VALUES),
    "balanced": (flat(n_experts=3, router=BalancedRouter()), X, Y, VALUES),
    "student": (flat(likelihood=StudentT()), X, Y, QUANTILE),
    "laplace": (flat(likelihood="laplace"), X, Y, QUANTILE),
    "heteroscedastic": (flat(likelihood="heteroscedastic"), X, Y, QUANTILE),
    "variance by trees": (
        flat(likelihood=HeteroscedasticGaussian(DecisionTreeRegressor(max_depth=2))),
        X,
        Y,
        VALUES,
    ),
    "poisson": (flat(likelihood="poisson"), X, COUNT, VALUES),
    "poisson curves": (
        flat(likelihood="poisson", experts="additive", router=1),
        X,
        COUNT,
        VALUES,
    ),
    "negative binomial": (flat(likelihood=NegativeBinomial()), X, COUNT, VALUES),
    "binomial": (flat(likelihood="binomial"), X, SIDE * 1.0, VALUES),
    "gamma": (flat(likelihood="gamma"), X, AMOUNT, VALUES),
    "weibull": (flat(likelihood="weibull"), X, AMOUNT, QUANTILE),
    "log-normal": (flat(likelihood=LogNormal()), X, AMOUNT, QUANTILE),
    "inverse gaussian": (flat(likelihood=InverseGaussian()), X, AMOUNT, VALUES),
    "tweedie": (flat(likelihood="tweedie"), X, AMOUNT, VALUES),
    "beta": (flat(likelihood="beta"), X, SHARE, VALUES),
    "ordinal": (flat(likelihood="ordinal"), X, LEVEL, VALUES),
    "families": (flat(likelihood=["gaussian", "laplace"]), X, Y, QUANTILE),
    "noise": (flat(noise=True), X, Y, QUANTILE),
    "noise top-1": (flat(noise=True, router=1), X, Y, QUANTILE),
    "zeros": (
        flat(zero_inflation=True, likelihood="gamma"),
        X,
        np.where(SIDE, 0.0, AMOUNT),
        VALUES,
    ),
    "two outputs": (flat(likelihood=Gaussian(covariance="full")), X, TWO, QUANTILE),
    "two outputs, curves": (flat(experts="additive", router=1), X, TWO, VALUES),
    "members": (flat(n_members=2), X, Y, QUANTILE),
    "members top-1": (flat(n_members=2, router=1), X, Y, VALUES),
    "shared": (flat(shared_expert=Ridge(), router=1), X, Y, QUANTILE),
    "piecewise": (flat(gate_features="piecewise-linear"), X, Y, VALUES),
    "repeated knots": (
        flat(gate_features="piecewise-linear"),
        np.column_stack([np.maximum(np.round(X[:, 0]), 0), X[:, 1] > 1, X[:, 2]]),
        Y,
        VALUES,
    ),
    "columns": (flat(gate_features=[0], expert_features=[1, 2]), X, Y, VALUES),
    "hierarchy": (tree(), X, Y, QUANTILE),
    "hierarchy top-1": (tree(router=1), X, Y, VALUES),
    "hierarchy top-2": (tree(router=2, gate="gaussian"), X, Y, VALUES),
    "grown": (tree(branching="grow", max_leaf_nodes=3), X, Y, VALUES),
    "two stages": (flat(Ridge(), BOOSTED, trainer="two-stage"), X, Y, VALUES),
    "forests": (flat(FOREST, ExtraTreesRegressor(4), router=1), GAPS[:, :2], Y, VALUES),
    "forest as arrays": (
        flat(CompactForest(ExtraTreesRegressor(4, random_state=0)), FOREST),
        GAPS[:, :2],
        Y,
        VALUES,
    ),
    "categories": (
        flat(
            HistGradientBoostingRegressor(categorical_features=[0], **SMALL),
            HistGradientBoostingRegressor(loss="poisson", **SMALL),
            gate=ClassifierGate(HistGradientBoostingClassifier(**SMALL)),
            router=1,
        ),
        GAPS,
        AMOUNT,
        VALUES,
    ),
    "process": (flat(GaussianProcessRegressor(alpha=0.1), Ridge()), X, Y, VALUES),
    "neighbours": (flat(KNeighborsRegressor(3), Ridge()), X, Y, VALUES),
    "scattered": (flat(flat(), Ridge(), RidgeCV(), router=1), X, Y, VALUES),
    "nested": (flat(flat(), Ridge(), router=1), X, Y, VALUES),
    "constant column": (flat(Ridge(), FOREST), np.c_[X, np.ones(N_ROWS)], Y, VALUES),
    "table": (flat(experts="additive", gate="additive"), TABLE, Y, QUANTILE),
    "table top-1": (flat(experts="additive", router=1), TABLE, Y, VALUES),
    "segments": (flat(experts="additive", gate=GroupGate("text")), TABLE, Y, VALUES),
    "cells": (
        flat(experts="additive", gate="additive"),
        TABLE[["number", "text", "whole"]].to_numpy(dtype=object),
        Y,
        VALUES,
    ),
    "encoded": (
        flat(make_pipeline(ENCODED, Ridge()), make_pipeline(ENCODED, FOREST), router=1),
        FULL,
        Y,
        VALUES,
    ),
    "named": (
        flat(gate_features=["b"]),
        pd.DataFrame(X, columns=list("abc")),
        Y,
        VALUES,
    ),
    "pool": (
        flat(trainer="two-stage").set_params(
            experts=AutoPool(include=["linear", "boosting", "neighbours"])
        ),
        TABLE,
        Y,
        ("prediction", "gate"),
    ),
    "pool spreads": (
        flat(trainer="two-stage", likelihood="heteroscedastic").set_params(
            experts=AutoPool(include=["linear", "neighbours"])
        ),
        TABLE,
        Y,
        ("std", "quantile:0.9"),
    ),
    "calibrated": (
        flat(Ridge(), Ridge(1e3), trainer="two-stage"),
        X,
        np.column_stack([Y, np.exp(Y / np.abs(Y).max())]),
        ("std", "quantile:0.9"),
    ),
    "far": (flat(), X + 1e4, Y, VALUES),
    "classes": (classes(), X, LABEL, PROBA),
    "class curves": (
        classes(experts="additive", gate="additive", router=1),
        TABLE,
        LABEL,
        PROBA,
    ),
    "class networks": (classes(experts=NET, router=1), X, LABEL, PROBA),
    "class trees": (
        classes(
            experts=[
                RandomForestClassifier(4, max_depth=3, random_state=0),
                HistGradientBoostingClassifier(**SMALL),
                CompactForest(ExtraTreesClassifier(4, random_state=0)),
            ],
            trainer="two-stage",
        ),
        X,
        LABEL,
        PROBA,
    ),
    "class shared": (classes(shared_expert=LogisticRegression()), X, SIDE, PROBA),
    "class numbers": (classes(), X, np.digitize(Y, [0]) * 5, PROBA),
    "class hierarchy": (
        HierarchicalMoEClassifier(branching=(2, 2), random_state=0),
        X,
        LABEL,
        PROBA,
    ),
}
# Those whose parts onnxruntime computes in single precision, in part.
SINGLE = {
    "two stages",
    "forests",
    "forest as arrays",
    "categories",
    "constant column",
    "encoded",
    "pool",
    "pool spreads",
}
SINGLE |= {"class trees", "tree gate", "variance by trees"}

# Those that repeat what others show, of further families and combinations.
THOROUGH = {
    "noise top-1",
    "poisson curves",
    "two outputs, curves",
    "beta",
    "class hierarchy",
    "class trees",
    "columns",
    "families",
    "gamma",
    "grown",
    "hierarchy top-2",
    "inverse gaussian",
    "laplace",
    "members top-1",
    "negative binomial",
    "nested",
    "noise",
    "ordinal",
    "poisson",
    "pool",
    "pool spreads",
    "process",
    "segments",
    "student",
    "table",
    "tied gate",
    "tweedie",
    "two outputs",
    "weibull",
    "zeros",
}
NAMED = [
    pytest.param(name, marks=[pytest.mark.thorough] * (name in THOROUGH))
    for name in CASES
]


def session_of(graph):
    """A session on one core."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def run(graph, rows, given=None):
    """Answers of a graph by the names of its outputs."""
    session = session_of(graph)
    given = onnx_inputs(session, rows) if given is None else given
    names = [own.name for own in session.get_outputs()]
    found = session.run(names, given)
    return dict(zip(names, found, strict=True))


def answers(model, rows, name):
    """What a mixture itself says."""
    if name.startswith("quantile"):
        return model.predict_quantile(rows, float(name.partition(":")[2]))
    ask = {
        "prediction": model.predict,
        "std": lambda X: model.predict(X, return_std=True)[1],
        "proba": lambda X: model.predict_proba(X),
        "gate": model.gate_proba,
        "top_expert": lambda X: best_first(model.gate_proba(X))[:, 0],
        "experts": model.predict_experts,
    }
    return ask[name](rows)


@pytest.fixture(scope="module")
def fitted():
    """Fitted cases, each when it is first asked for."""
    known = {}

    def get(name):
        if name not in known:
            model, rows, y, _ = CASES[name]
            known[name] = clone(model).fit(rows, y)
        return known[name]

    return get


@pytest.mark.parametrize("name", NAMED)
def test_a_graph_says_what_the_mixture_says(name, fitted):
    model, (_, rows, _, outputs) = fitted(name), CASES[name]
    found = run(to_onnx(model, rows, outputs=outputs), rows)
    assert list(found) == list(outputs)
    bound = 1e-5 if name in SINGLE else 1e-9 if name == "far" else 1e-10
    for output, values in found.items():
        expected = answers(model, rows, output)
        assert values.shape == expected.shape
        if expected.dtype.kind == "f":
            bound_here = bound * max(np.std(expected), 1e-6 * np.abs(expected).max())
            assert np.abs(values - expected).max() <= bound_here, output
        else:
            np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("name", ["linear", "additive", "top-1", "hierarchy"])
def test_doubles_agree_to_rounding(name, fitted):
    model = fitted(name)
    found = run(to_onnx(model, X), X)["prediction"]
    expected = model.predict(X)
    assert np.abs(found - expected).max() <= 1e-13 * expected.std()


@pytest.mark.parametrize(
    "name", ["top-1", "forests", "hierarchy top-1", "table top-1", "scattered"]
)
def test_rows_are_answered_one_by_one(name, fitted):
    """Then most experts have no row at all."""
    model, rows = fitted(name), CASES[name][1]
    graph, expected = to_onnx(model, rows), model.predict(rows)
    for i in range(4):
        one = rows.iloc[[i]] if hasattr(rows, "iloc") else rows[[i]]
        found = run(graph, one)["prediction"]
        assert np.abs(found - expected[i]).max() <= 1e-5 * expected.std()


def test_single_numbers_are_computed_on_in_double_precision(fitted):
    """They are no worse off than in the mixture itself."""
    model, rows = fitted("far"), (X + 1e4).astype(np.float32)
    graph = to_onnx(model, rows)
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    exact = model.predict(rows.astype(float))
    own = np.abs(model.predict(rows) - exact).max()
    found = np.abs(run(graph, rows)["prediction"] - exact).max()
    assert found <= 2 * own + 1e-9 * exact.std()


def test_a_type_may_be_asked_for(fitted):
    graph = to_onnx(fitted("linear"), X, dtype=np.float32)
    found = run(graph, X)["prediction"]
    expected = fitted("linear").predict(X.astype(np.float32).astype(float))
    assert np.abs(found - expected).max() <= 1e-10


def test_gaps_and_unseen_levels_are_read(fitted):
    model, rows = fitted("table top-1"), TABLE.iloc[:4].copy()
    rows["text"] = ["new", None, "u", "v"]
    rows.loc[[2, 3], "number"] = np.nan
    found = run(to_onnx(model, TABLE), rows)["prediction"]
    assert np.abs(found - model.predict(rows)).max() <= 1e-10


def test_thresholds_of_boosted_trees_are_doubles(fitted):
    """Rows at thresholds, and next to them, fall on the same side."""
    model = fitted("two stages")
    trees = model.experts_[1].estimator
    while not hasattr(trees, "_predictors"):
        trees = trees.estimator
    nodes = np.concatenate([own.nodes for (own,) in trees._predictors])
    nodes = nodes[nodes["is_leaf"] == 0]
    rows = X[: len(nodes)].repeat(3, axis=0)[: 3 * len(nodes)]
    limits = nodes["num_threshold"][: len(rows) // 3]
    for i, (limit, j) in enumerate(zip(limits, nodes["feature_idx"], strict=False)):
        ends = np.nextafter(limit, -np.inf), limit, np.nextafter(limit, np.inf)
        rows[3 * i : 3 * i + 3, j] = ends
    found, expected = run(to_onnx(model, X), rows), model.predict(rows)
    assert np.abs(found["prediction"] - expected).max() <= 1e-5 * expected.std()


def test_a_graph_has_no_branch_and_asks_experts_for_their_rows_only(fitted):
    kinds = {
        node.op_type for node in to_onnx(fitted("forests"), GAPS[:, :2]).graph.node
    }
    assert {"NonZero", "ScatterND"} <= kinds
    assert "If" not in kinds


def test_inputs_are_those_of_the_sample(fitted):
    session = session_of(to_onnx(fitted("table top-1"), TABLE))
    given = onnx_inputs(session, TABLE[TABLE.columns[::-1]].head(1))
    assert given["text"].tolist() == [[""]]
    assert np.isnan(given["number"]).all()
    assert given["whole"].dtype == np.int64
    with pytest.raises(ValueError, match=r"without the columns \['when'\]"):
        onnx_inputs(session, TABLE.drop(columns="when"))
    with pytest.raises(TypeError, match="session of onnxruntime"):
        onnx_inputs("mixture.onnx", TABLE)


def test_pipelines_and_frames_are_taken_whole():
    model = make_pipeline(ENCODED, flat()).fit(FULL, Y)
    found = run(to_onnx(model, FULL), FULL)["prediction"]
    assert np.abs(found - model.predict(FULL)).max() <= 1e-10


def test_skl2onnx_itself_converts_pipelines(fitted):
    register_with_skl2onnx()
    settings = {"target_opset": {"": 18, "ai.onnx.ml": 3}}
    model = make_pipeline(StandardScaler(), flat(FOREST, Ridge(), router=1)).fit(X, Y)
    for rows, bound in ((X, 1e-5), (X.astype(np.float32), 1e-5)):
        graph = plain_to_onnx(model, rows[:1], **settings)
        (found,) = run(graph, rows, {"X": rows}).values()
        assert np.abs(found[:, 0] - model.predict(rows)).max() <= bound * Y.std()
    model = make_pipeline(StandardScaler(), classes()).fit(X, LABEL)
    graph = plain_to_onnx(model, X[:1], options={"zipmap": False}, **settings)
    label, proba = run(graph, X, {"X": X}).values()
    assert np.abs(proba - model.predict_proba(X)).max() <= 1e-12
    np.testing.assert_array_equal(label, model.predict(X))


class Doubled(RegressorMixin, BaseEstimator):
    """Twice the first column, which no converter knows."""

    def fit(self, X, y, sample_weight=None):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return 2.0 * X[:, 0]


class Registered(Doubled):
    """The same, for which one is registered."""


class Wrong(Doubled):
    """The same, for which a wrong one is registered."""


register_expert(
    Registered, lambda own, graph, inputs: graph.op("Mul", inputs.number(0), 2.0)
)
register_expert(
    Wrong, lambda own, graph, inputs: graph.op("Mul", inputs.number(0), 2.001)
)


def test_a_registered_part_is_converted():
    model = flat(Registered(), Ridge()).fit(X, Y)
    found = run(to_onnx(model, X), X)["prediction"]
    assert np.abs(found - model.predict(X)).max() <= 1e-10


# Mixture, arguments of to_onnx, what the error names.
REFUSED = {
    "router": (flat(router=HashRouter()), {}, "HashRouter: its hash reads the bits"),
    "quantiles of counts": (
        flat(likelihood="poisson"),
        {"outputs": ["quantile:0.9"]},
        "'quantile:0.9' with the likelihood Poisson",
    ),
    "step": (
        flat(make_pipeline(SplineTransformer(), Ridge()), Ridge()),
        {},
        "SplineTransformer",
    ),
    "expert": (flat(Doubled(), Ridge()), {}, r"expert 'doubled' \(Doubled\).*register"),
    "wrong answers": (
        flat(Wrong(), Ridge()),
        {},
        r"in row \d+ of .*off by .*expert 'wrong' \(Wrong\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exported_is_named(name):
    model, given, words = REFUSED[name]
    y = COUNT if "counts" in name else Y
    with pytest.raises(OnnxExportError, match=words):
        to_onnx(clone(model).fit(X, y), X, **given)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [("text", None, "reads text from the columns"), ("number", "a", "no numbers")],
)
def test_a_sample_of_other_columns_is_refused(column, values, words, fitted):
    sample = TABLE.head(20).assign(**{column: values})
    with pytest.raises((OnnxExportError, ValueError), match=words):
        to_onnx(fitted("table top-1"), sample)


def test_a_mixture_on_disk_is_refused(fitted, tmp_path):
    model = offload(fitted("forests"), tmp_path / "experts")
    with pytest.raises(OnnxExportError, match="on disk"):
        to_onnx(model, GAPS[:, :2])


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["mean"], "got the output 'mean', but expected some of"),
        (["proba"], "got the output 'proba'"),
        (["quantile:2"], "probability between 0 and 1"),
        (["quantile"], "got the output 'quantile'"),
        ([], "list of different names"),
    ],
)
def test_outputs_that_are_none_are_refused(outputs, words, fitted):
    with pytest.raises(ValueError, match=words):
        to_onnx(fitted("linear"), X, outputs=outputs)


def test_an_upstream_fault_shows_in_the_sample():
    """What skl2onnx makes of an estimator is compared, in single precision too."""
    from skmoe.export.onnx._foreign import foreign
    from skmoe.export.onnx._inputs import Matrix

    trees = HistGradientBoostingRegressor(loss="poisson", **SMALL).fit(X, AMOUNT)
    graph = Graph()
    inputs = Matrix.of(graph, "X", 3)
    inputs.sample = X
    with pytest.raises(OnnxExportError, match="expert 'a' .*is off by"):
        foreign(trees, graph, inputs, "expert 'a'")


def of_graph(make, *, columns):
    """Answers of a small graph of one input."""
    graph = Graph()
    tensor = make(graph)
    width = columns.shape[1]
    model = graph.model(
        [("x", np.dtype(float), width)], [("y", tensor, np.float64, (width,))]
    )
    return session_of(model).run(["y"], {"x": columns})[0]


@pytest.mark.parametrize("df", [None, 1.0, 4.5, 300.0, 1e6])
def test_distribution_functions_are_those_of_scipy(df):
    from scipy import special

    z = np.linspace(-15, 15, 301)[:, None]
    if df is None:
        found = of_graph(lambda graph: normal_cdf(graph, "x"), columns=z)
        assert np.abs(found - special.ndtr(z)).max() <= 1e-15
        p = np.append(np.linspace(1e-7, 1 - 1e-7, 300), 0.5)[:, None]
        found = of_graph(lambda graph: normal_quantile(graph, "x"), columns=p)
        np.testing.assert_allclose(found, special.ndtri(p), rtol=1e-12, atol=1e-15)
    else:
        found = of_graph(lambda graph: student_cdf(graph, "x", df), columns=z)
        assert np.abs(found - special.stdtr(df, z)).max() <= 3e-14


@pytest.mark.parametrize("size", [0, 5, 90])
@pytest.mark.parametrize("strict", [False, True])
def test_knots_are_counted_as_numpy_does(size, strict):
    rng = np.random.default_rng(size)
    knots = np.sort(rng.normal(size=(2, size)), axis=1)
    rows = rng.normal(size=(60, 2))
    rows[:size, 0] = knots[0][:60]

    def make(graph):
        return graph.op("Add", graph.double(count(graph, "x", knots, strict)), "x")

    found = of_graph(make, columns=rows) - rows
    side = "left" if strict else "right"
    pairs = zip(knots, rows.T, strict=True)
    expected = np.column_stack(
        [np.searchsorted(own, column, side) for own, column in pairs]
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
