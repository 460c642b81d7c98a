"""Tables with text, categories, times and gaps: who reads them, and who says what."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, StackingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.experts import AutoPool, LinearExpert, MLPExpert
from skmoe.experts._encoding import numeric_encoding
from skmoe.gates import ClassifierGate, GroupGate, MLPGate
from skmoe.inspection import GateDisplay, expert_usage, explain, gate_importance
from skmoe.routers import HashRouter
from skmoe.trainers import EM, Gradient, HardEM, TwoStage

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning"),
]

N = 80
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(size=N),
        "sex": RNG.choice(["female", "male"], N),
        "when": pd.date_range("2020", periods=N),
        "income": np.where(np.arange(N) % 9, RNG.normal(size=N), np.nan),
        "kind": pd.Categorical(RNG.choice([1, 2, 3], N)),
    }
)
Y = np.where(FRAME["sex"] == "male", 1.0, -2.0) * FRAME["age"].to_numpy()
TARGET = Y + 0.1 * RNG.normal(size=N)
LABELS = np.where(TARGET > 0, "yes", "no")


def on_columns(last):
    """A pipeline that reads the raw table."""
    one_hot = OneHotEncoder(handle_unknown="ignore")
    gaps = SimpleImputer()
    columns = make_column_transformer(
        (one_hot, ["sex", "kind"]), (gaps, ["age", "income"])
    )
    return make_pipeline(columns, last)


REGRESSORS = [on_columns(Ridge()), on_columns(Ridge(50.0))]
CLASSIFIERS = [on_columns(LogisticRegression(C=c)) for c in (0.1, 1.0)]
TRAINERS = {
    "em": EM(max_refits=2),
    "hard-em": HardEM(max_refits=2),
    "two-stage": TwoStage(cv=2),
    "gradient": Gradient(max_epochs=3),
}


def odd_rows(frame):
    """Rows with gaps, a category and a kind that training has not seen."""
    kind = pd.Categorical([9] * len(frame))
    return frame.assign(sex="unseen", age=np.nan, when=pd.NaT, kind=kind)


def assert_serves(model, X, y):
    """The fitted model answers for all rows, together and alone, and for odd ones."""
    model.fit(X, y)
    for rows in (X, odd_rows(X)):
        proba = model.gate_proba(rows)
        assert np.isfinite(proba).all()
        np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_allclose(model.gate_proba(X.iloc[:1]), model.gate_proba(X)[:1])
    assert len(model.predict(X.iloc[:1])) == 1
    assert np.isfinite(model.log_density(X, y)).all()
    assert model.transform(X).shape[1] == len(model.get_feature_names_out())


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(
    "kind",
    [
        MoERegressor,
        MoEClassifier,
        HierarchicalMoERegressor,
        HierarchicalMoEClassifier,
    ],
)
def test_default_gate_reads_what_the_experts_read(kind, trainer):
    classify = "Classifier" in kind.__name__
    shape = {"branching": (2,)} if "Hierarchical" in kind.__name__ else {}
    model = kind(
        CLASSIFIERS if classify else REGRESSORS,
        trainer=TRAINERS[trainer],
        random_state=0,
        **shape,
    )
    assert get_tags(model).input_tags.allow_nan
    assert_serves(model, FRAME, LABELS if classify else TARGET)


@pytest.mark.parametrize(
    "gate",
    [
        "gaussian",
        "constant",
        GroupGate("sex"),
        ClassifierGate(),
        DecisionTreeClassifier(max_depth=2),
        on_columns(LogisticRegression()),
    ],
)
def test_gates_of_any_kind_read_the_table(gate):
    model = MoERegressor(REGRESSORS, gate=gate, trainer=EM(max_refits=2))
    assert_serves(model, FRAME, TARGET)


@pytest.mark.parametrize(
    "parts",
    [
        {"n_members": 2},
        {"router": 1},
        {"router": HashRouter()},
        {"shared_expert": on_columns(Ridge(2.0))},
        {"gate": MLPGate((4,)), "trainer": Gradient(max_epochs=3)},
    ],
)
def test_other_parts_beside_an_encoded_gate(parts):
    model = MoERegressor(REGRESSORS, trainer=EM(max_refits=2), random_state=0)
    assert_serves(model.set_params(**parts), FRAME, TARGET)


def test_a_list_for_stacking_serves_a_mixture():
    boosted = HistGradientBoostingRegressor(
        max_iter=5, categorical_features="from_dtype"
    )
    experts = [("boosted", boosted), ("ridge", on_columns(Ridge()))]
    X = FRAME.assign(sex=FRAME["sex"].astype("category")).drop(columns="when")
    StackingRegressor(experts, cv=2).fit(X, TARGET)
    model = MoERegressor(experts, trainer=EM(max_refits=2), random_state=0)
    assert model.fit(X, TARGET).score(X, TARGET) > 0.8
    again = clone(model).fit(X, TARGET)
    np.testing.assert_array_equal(again.gate_proba(X), model.gate_proba(X))


def test_inspection_of_an_encoded_gate():
    model = MoERegressor(REGRESSORS, trainer=EM(max_refits=2)).fit(FRAME, TARGET)
    importance = gate_importance(model, FRAME, n_repeats=1, random_state=0)
    assert sorted(importance["feature"]) == sorted(FRAME)
    assert len(explain(model, FRAME)["expert"]) == N
    assert len(expert_usage(model, FRAME, TARGET)["load"]) == 2
    for feature in ("age", "when"):
        display = GateDisplay.from_estimator(model, FRAME, feature, plot=False)
        assert np.isfinite(display.proba).all()
    display = GateDisplay.from_estimator(model, FRAME, "sex", plot=False)
    assert set(display.categories) == set(FRAME["sex"].dropna())


def array_of(frame):
    return frame[["age", "sex", "income"]].to_numpy(object)


@pytest.mark.parametrize("make", [array_of, lambda f: array_of(f).tolist()])
def test_arrays_and_lists_of_text(make):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), [1]), (SimpleImputer(), [0, 2])
    )
    experts = [make_pipeline(columns, Ridge(alpha)) for alpha in (1.0, 9.0)]
    X = make(FRAME)
    model = MoERegressor(experts, trainer=EM(max_refits=2)).fit(X, TARGET)
    assert np.isfinite(model.predict(X)).all()
    display = GateDisplay.from_estimator(model, X, 0, plot=False)
    assert np.isfinite(display.proba).all()


def test_polars_frames():
    frame = pl.from_pandas(FRAME.astype({"kind": int}))
    model = MoERegressor(REGRESSORS, trainer=EM(max_refits=2)).fit(frame, TARGET)
    assert np.isfinite(model.predict(frame)).all()


def test_a_gate_over_numbers_stays_as_it_is():
    X = FRAME[["age"]].assign(other=RNG.normal(size=N))
    boosted = [HistGradientBoostingRegressor(max_iter=m) for m in (2, 3)]
    model = MoERegressor(boosted, trainer=EM(max_refits=2), random_state=0)
    numbers = model.fit(X, TARGET).gate_proba(X)
    assert model.gate_features_ is None
    assert model.gate_.coef_.shape[1] == 2
    as_objects = X.astype(object)
    found = clone(model).fit(as_objects, TARGET)
    assert found.gate_features_ is None
    np.testing.assert_array_equal(found.gate_proba(as_objects), numbers)


def test_gaps_that_come_after_training():
    """Experts that let gaps pass serve rows with gaps, whatever training held."""
    full = FRAME[["age"]].assign(other=RNG.normal(size=N))
    holes = full.copy()
    holes.loc[::7, "other"] = np.nan
    boosted = [HistGradientBoostingRegressor(max_iter=m) for m in (2, 3)]
    model = MoERegressor(boosted, trainer=EM(max_refits=2), random_state=0)
    model.fit(full, TARGET)
    middle = holes.fillna({"other": full["other"].median()})
    np.testing.assert_allclose(model.gate_proba(holes), model.gate_proba(middle))
    assert np.isfinite(model.predict(holes)).all()
    assert not get_tags(MoERegressor([Ridge()])).input_tags.allow_nan
    assert not get_tags(MoERegressor([*boosted, LinearExpert()])).input_tags.allow_nan


def test_weights_count_as_rows_for_an_encoded_gate():
    weight = np.arange(N) % 3
    model = MoERegressor(REGRESSORS, trainer=EM(max_refits=3), random_state=0)
    weighted = clone(model).fit(FRAME, TARGET, sample_weight=weight)
    rows = np.repeat(np.arange(N), weight)
    repeated = clone(model).fit(FRAME.iloc[rows], TARGET[rows])
    shares = weighted.gate_proba(FRAME), repeated.gate_proba(FRAME)
    assert abs(shares[0] - shares[1]).max() < 0.02


@pytest.mark.parametrize("kind", ["period", "iso", "zone"])
def test_a_pool_reads_times_of_any_kind(kind):
    days = pd.period_range("2020", periods=N)
    column = {
        "period": days,
        "iso": days.astype(str),
        "zone": days.to_timestamp().tz_localize("UTC"),
    }[kind]
    X, y = pd.DataFrame({"when": column}), np.linspace(0.0, 1.0, N)
    even = np.arange(N) % 2 == 0
    pool = AutoPool(include=["linear"])
    model = MoERegressor(pool, trainer=TwoStage(cv=2), random_state=0)
    assert model.fit(X[even], y[even]).score(X[~even], y[~even]) > 0.95
    display = GateDisplay.from_estimator(model, X, "when", n_values=3, plot=False)
    assert np.isfinite(display.proba).all()


def test_a_pool_refuses_complex_numbers_by_name():
    frame = FRAME[["age"]].assign(z=np.full(N, 1j))
    model = MoERegressor(AutoPool(include=["linear"]), trainer=TwoStage(cv=2))
    with pytest.raises(ValueError, match="Complex data not supported.*'z'"):
        model.fit(frame, TARGET)


# -- text where numbers are read --------------------------------------------------

MIXED = FRAME[["age", "sex"]]
TABLES = {
    "object": MIXED,
    "category": MIXED.astype({"sex": "category"}),
    "string": MIXED.astype({"sex": "string"}),
    "arrow": MIXED.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.from_pandas(MIXED),
    "array": MIXED.to_numpy(object),
    "strings": MIXED.to_numpy(object).astype(str),
    "lists": MIXED.to_numpy(object).tolist(),
}
MODELS = {
    "regressor": MoERegressor(n_experts=2),
    "classifier": MoEClassifier(n_experts=2),
    "tree": HierarchicalMoERegressor(branching="grow"),
    "noise": MoERegressor(n_experts=2, noise=True),
    "gradient": MoERegressor(MLPExpert(), trainer="gradient"),
    "foreign": MoERegressor([Ridge(), Ridge(2.0)], trainer=TwoStage(cv=2)),
    "mixed": MoERegressor([LinearExpert(), on_columns(Ridge())]),
    "segments": MoERegressor(gate=GroupGate(0)),
    "shared": MoERegressor(REGRESSORS, shared_expert=LinearExpert()),
}


@pytest.mark.parametrize("table", TABLES)
def test_text_is_refused_with_column_value_and_remedy(table):
    name = "1" if table in ("array", "strings", "lists") else "'sex'"
    with pytest.raises(ValueError, match="could not convert") as error:
        MODELS["regressor"].fit(TABLES[table], TARGET)
    said = str(error.value)
    assert f"Column {name} of X: could not convert '{FRAME['sex'][0]}'" in said
    assert "'expert0' (LinearExpert) reads numbers only" in said
    assert 'experts="auto"' in said
    assert f"OneHotEncoder(), [{name}])" in said


@pytest.mark.parametrize("model", MODELS)
def test_any_part_that_reads_numbers_refuses_text(model):
    model = MODELS[model]
    y = LABELS if isinstance(model, MoEClassifier) else TARGET
    for fit in (model.fit, make_pipeline(model).fit):
        with pytest.raises(ValueError, match="Column 'sex' of X: could not convert"):
            fit(MIXED, y)


def test_the_expert_that_reads_numbers_is_named():
    with pytest.raises(ValueError, match=r"'linearexpert' \(LinearExpert\)"):
        MODELS["mixed"].fit(MIXED, TARGET)
    with pytest.raises(ValueError, match=r"'shared_expert' \(LinearExpert\)"):
        MODELS["shared"].fit(MIXED, TARGET)


@pytest.mark.parametrize("part", ["gate_features", "expert_features"])
def test_text_in_selected_columns(part):
    parts = {"gate_features": ["age"], "expert_features": ["age"], part: ["sex"]}
    match = rf"got '(fe)?male' in the text columns .*as in {part}="
    with pytest.raises(ValueError, match=match):
        MoERegressor(n_experts=2, **parts).fit(MIXED, TARGET)
    array = MIXED.to_numpy(object)
    numbers = MoERegressor(n_experts=2, gate_features=[0], expert_features=[0])
    assert np.isfinite(numbers.fit(array, TARGET).predict(array)).all()


@pytest.mark.parametrize("part", ["gate_features", "expert_features"])
@pytest.mark.parametrize("features", ["piecewise-linear", StandardScaler()])
def test_a_transformer_that_cannot_read_is_named(part, features):
    with pytest.raises(ValueError, match=f"{part} got .*cannot read column 'sex' of X"):
        MoERegressor(on_columns(Ridge()), **{part: features}).fit(MIXED, TARGET)


@pytest.mark.parametrize("expert", [GaussianNB(), LogisticRegression()])
def test_experts_that_compute_with_text_refuse_it(expert):
    with pytest.raises(ValueError, match="could not convert"):
        MoEClassifier([expert, clone(expert)]).fit(MIXED, LABELS)


def test_text_after_training_on_numbers():
    X = FRAME[["age"]].assign(other=1.0)
    text = X.astype(object).assign(other="high")
    fitted = MoERegressor(n_experts=2).fit(X, TARGET)
    batches = MoERegressor(n_experts=2, trainer="gradient").partial_fit(X, TARGET)
    for call in (
        lambda: fitted.predict(text),
        lambda: fitted.route(text),
        lambda: fitted.log_density(text, TARGET),
        lambda: batches.partial_fit(text, TARGET),
    ):
        with pytest.raises(ValueError, match="'other'.*'high'.*numbers in training"):
            call()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2020", periods=N), "Column 'b' of X.*days since a date"),
        (pd.period_range("2020", periods=N), "Column 'b' of X.*days since a date"),
        (pd.to_timedelta(np.arange(N), "D"), "Column 'b' of X.*days since a date"),
        (np.full(N, 1j), "Complex data not supported.*'b'.*real and imaginary parts"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_times_and_complex_numbers_are_named(column, message, alone):
    frame = pd.DataFrame({"b": column})
    frame = frame if alone else frame.assign(a=1.0)
    with pytest.raises(ValueError, match=message):
        MoERegressor(n_experts=2).fit(frame, TARGET)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series])
def test_text_in_the_target_of_a_regression(kind):
    with pytest.raises(ValueError, match=r"could not convert '(yes|no)' in y.*MoEClas"):
        MoERegressor(n_experts=2).fit(FRAME[["age"]], kind(LABELS.tolist()))


DAYS = pd.date_range("2020", periods=N)
NUMBERS = MoERegressor(n_experts=2)
LIST = pa.array([[1, 2]] * N)


@pytest.mark.parametrize(
    "column",
    [
        *(pl.Series(DAYS).cast(pl.Datetime(unit)) for unit in ("ms", "us", "ns")),
        pl.Series(DAYS).cast(pl.Date),
        pl.Series(np.arange(N)).cast(pl.Duration("ms")),
        pl.Series(np.arange(N)).cast(pl.Time),
        pa.array(DAYS),
        pa.array(DAYS.date),
        pa.array(np.arange(N), type=pa.time64("us")),
        pa.array(np.arange(N), type=pa.duration("s")),
    ],
    ids=lambda column: str(getattr(column, "type", getattr(column, "dtype", ""))),
)
def test_times_are_no_numbers_whoever_holds_them(column):
    make = pa.table if isinstance(column, pa.Array) else pl.DataFrame
    frame = make({"a": FRAME["age"].to_numpy(), "b": column})
    for X in (frame, frame.select(["b"])):
        with pytest.raises(ValueError, match="Column 'b' of X: could not convert"):
            NUMBERS.fit(X, TARGET)
    numbers = pl.DataFrame({"a": FRAME["age"], "b": np.arange(N)})
    fitted = NUMBERS.fit(numbers, TARGET)
    with pytest.raises(ValueError, match="Column 'b' of X.*numbers in training"):
        fitted.predict(frame)
    with pytest.raises(ValueError, match=r"could not convert .* in y to a number"):
        NUMBERS.fit(FRAME[["age"]], column)


@pytest.mark.parametrize("kind", [pd.Series, np.asarray])
def test_a_target_of_times_in_nanoseconds(kind):
    for y in (kind(DAYS.as_unit("ns")), kind(pd.to_timedelta(np.arange(N), "ns"))):
        with pytest.raises(ValueError, match=r"could not convert .* in y to a number"):
            NUMBERS.fit(FRAME[["age"]], y)


def test_arrow_tables_are_read_as_frames():
    frame = FRAME[["age", "sex"]]
    model = MoERegressor([make_pipeline(numeric_encoding(), Ridge())] * 2)
    table = pa.Table.from_pandas(frame)
    fitted = model.fit(frame, TARGET)
    expected = fitted.predict(frame)
    np.testing.assert_array_equal(fitted.predict(table), expected)
    np.testing.assert_array_equal(model.fit(table, TARGET).predict(frame), expected)
    with pytest.raises(ValueError, match="Column 'sex' of X: could not convert"):
        NUMBERS.fit(table, TARGET)


@pytest.mark.parametrize("experts", [None, "auto"])
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pl.LazyFrame({"a": TARGET}), "LazyFrame.*collect"),
        (pd.DataFrame(np.c_[Y, TARGET], columns=["a", "a"]), "several columns.*'a'"),
        (pa.table([TARGET, TARGET], names=["a", "a"]), "several columns.*'a'"),
        (pd.DataFrame(index=range(N)), r"0 feature\(s\).*at least one column"),
        (pd.DataFrame({"a": TARGET, "b": [{}] * N}), "column 'b' of X.*{}"),
        (pd.DataFrame({"a": TARGET, "b": [[1]] * N}), r"column 'b' of X.*\[1\]"),
        (pl.DataFrame({"a": TARGET, "b": [[1]] * N}), "Column 'b' of X holds List"),
        (pl.DataFrame({"b": [{"c": 1}] * N}), "Column 'b' of X holds Struct"),
        (pl.DataFrame({"a": TARGET, "b": np.c_[Y, Y]}), "Column 'b' of X holds Array"),
        (pa.table({"a": TARGET, "b": LIST}), "column 'b' of X"),
        (np.c_[Y, TARGET] + 1j, "Complex data not supported"),
        (FRAME[:0], r"0 sample\(s\)"),
        (FRAME[["age"]][:0], r"0 sample\(s\)"),
    ],
)
def test_what_is_no_table_is_refused_at_the_door(X, message, experts):
    trainer = "em" if experts is None else "two-stage"
    model = MoERegressor(experts, n_experts=2, trainer=trainer)
    y = TARGET[: len(X)] if hasattr(X, "shape") else TARGET
    with pytest.raises(ValueError, match=f"(?i){message}") as error:
        model.fit(X, y)
    # Nobody gave this parameter.
    assert "gate_features" not in str(error.value)


def test_times_that_are_all_missing():
    X = pd.DataFrame({"a": TARGET, "b": pd.to_datetime([None] * N)})
    for frame in (X, pl.from_pandas(X)):
        with pytest.raises(
            ValueError, match="Column 'b' of X: could not convert Na?T?"
        ):
            NUMBERS.fit(frame, TARGET)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_gaps_are_named_by_their_column(kind, value):
    X = np.c_[Y, TARGET]
    fitted = NUMBERS.fit(kind(X), TARGET)
    X[3, 1] = value
    X = kind(X)
    name = repr(list(X.columns)[1]) if hasattr(X, "columns") else "1"
    for call in (NUMBERS.fit, fitted.log_density):
        with pytest.raises(ValueError, match=f"^Input X contains.*column {name};") as e:
            call(X, TARGET)
        assert ('experts="auto", trainer="two-stage"' in str(e.value)) == (
            value != value
        )


def test_masked_values_are_gaps():
    mask = np.arange(N) == 3
    X = np.ma.masked_array(np.c_[Y, TARGET], mask=np.c_[mask, mask])
    with pytest.raises(ValueError, match="Input X contains NaN: look in column 0"):
        NUMBERS.fit(X, TARGET)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        NUMBERS.fit(X.data, np.ma.masked_array(TARGET, mask=mask))
    whole = np.ma.masked_array(X.data)
    expected = NUMBERS.fit(X.data, TARGET).predict(X.data)
    np.testing.assert_array_equal(NUMBERS.fit(whole, TARGET).predict(whole), expected)


TRUTHS = TARGET > 0
LABEL_KINDS = {
    "nullable": pd.array(TRUTHS.astype(int), dtype="Int64"),
    "boolean": pd.array(TRUTHS, dtype="boolean"),
    "string": pd.array(LABELS.astype(object), dtype="string"),
    "object": LABELS.astype(object),
    "category": pd.Series(LABELS, dtype="category"),
    "float": TRUTHS.astype(float),
    "polars": pl.Series(LABELS.tolist()),
    "masked": np.ma.masked_array(LABELS),
}


@pytest.mark.parametrize("kind", LABEL_KINDS)
def test_labels_whoever_holds_them(kind):
    y = LABEL_KINDS[kind]
    fitted = MoEClassifier(n_experts=2).fit(FRAME[["age"]], y)
    expected = {"nullable": int, "boolean": bool, "float": float}.get(kind, str)
    assert all(isinstance(own, expected) for own in fitted.classes_.tolist())
    if kind == "polars":
        y = pl.Series([None, *y[1:]])
    else:
        y = y.copy()
        y[0] = np.ma.masked if kind == "masked" else None
    with pytest.raises(ValueError, match="Input y contains NaN: row 0 has no label"):
        fitted.fit(FRAME[["age"]], y)
