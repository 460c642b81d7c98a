"""Columns of raw tables: what they hold, whoever holds them."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.preprocessing import FunctionTransformer

from skmoe import MoERegressor
from skmoe._tables.columns import (
    column_numbers,
    column_text,
    text_columns,
    text_positions,
    without_na,
)
from skmoe._tables.values import is_gap
from skmoe.experts._encoding import numeric_encoding, ordinal_encoding

DAYS = pd.date_range("2024-01-01", periods=4, freq="D")
SECONDS = 1704067200.0 + 86400.0 * np.arange(4)
TIMES = {
    "naive": pd.Series(DAYS),
    "zone": pd.Series(DAYS.tz_localize("UTC")),
    "other zone": pd.Series(DAYS.tz_localize("UTC").tz_convert("Asia/Tokyo")),
    "dates": pd.Series([day.date() for day in DAYS]),
    "datetimes": pd.Series([day.to_pydatetime() for day in DAYS], dtype=object),
    "polars": pl.Series(DAYS.to_list()),
    "polars dates": pl.Series([day.date() for day in DAYS]),
    "array": DAYS.to_numpy(),
}


@pytest.mark.parametrize("kind", list(TIMES))
def test_times_are_seconds(kind):
    np.testing.assert_array_equal(column_numbers(TIMES[kind]), SECONDS)


@pytest.mark.parametrize("kind", ["date32[pyarrow]", "timestamp[us, UTC][pyarrow]"])
def test_arrow_times_are_seconds(kind):
    pytest.importorskip("pyarrow")
    column = pd.Series(DAYS).astype(kind)
    np.testing.assert_array_equal(column_numbers(column), SECONDS)
    assert text_positions(column.to_frame()) == []


def test_times_of_a_day_and_durations():
    clock = [datetime.time(1, 2, 3, 500_000), None]
    expected = [3723.5, np.nan]
    for column in (pl.Series(clock), pd.Series(clock, dtype=object)):
        np.testing.assert_array_equal(column_numbers(column), expected)
    spans = pd.Series(pd.to_timedelta([20, 40, None], unit="ms"))
    expected = [0.02, 0.04, np.nan]
    for column in (spans, spans.astype(object), spans.to_numpy()):
        np.testing.assert_allclose(column_numbers(column), expected)


def test_times_far_away():
    column = np.array(["0001-01-01", "9999-12-31"], dtype="M8[D]")
    expected = (column - np.datetime64("1970-01-01")) / np.timedelta64(1, "s")
    np.testing.assert_array_equal(column_numbers(column), expected)


def test_objects_that_are_numbers():
    frame = pd.DataFrame(
        {
            "number": [1, 2.5, None],
            "decimal": [Decimal("1.5"), Decimal("NaN"), None],
            "flag": [True, False, pd.NA],
            "empty": [None, None, None],
            "digits": ["1", "2", None],
            "mixed": [1, "one", None],
            "both": [1, datetime.date(2024, 1, 1), None],
            "kind": pd.Categorical([1, 2, None]),
        },
        dtype=object,
    ).astype({"kind": "category"})
    assert text_positions(frame) == [4, 5, 6, 7]
    # Their type says no more than object, so that parts that read numbers refuse them.
    assert text_columns(frame) == list(frame)
    expected = {
        "number": [1, 2.5, np.nan],
        "decimal": [1.5, np.nan, np.nan],
        "flag": [1, 0, np.nan],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(column_numbers(frame[name]), values)


def test_names_of_categories_do_not_depend_on_gaps():
    expected = ["1", "2", None]
    for column in (
        pd.Series(pd.Categorical([1, 2, None])),
        pd.Series(pd.Categorical([1.0, 2.0, np.nan])),
        pd.Series([1, 2, None], dtype=object),
        pd.Series([1.0, 2.0, np.nan]),
        pl.Series(["1", "2", None], dtype=pl.Categorical),
        np.array([1, 2.0, np.nan], dtype=object),
    ):
        assert column_text(column).tolist() == expected
    full = pd.Series(pd.Categorical([1, 2]))
    assert column_text(full).tolist() == expected[:2]
    odd = np.array([True, 1.5, np.inf, "1"], dtype=object)
    assert column_text(odd).tolist() == ["True", "1.5", "inf", "1"]


@pytest.mark.parametrize("value", [{"a": 1}, ["a"], np.array([1, 2])])
def test_containers_are_no_categories(value):
    column = np.array(["x", None], dtype=object)
    column[1] = value
    with pytest.raises(TypeError, match="must be a string or a real number"):
        column_text(column)


def test_gaps():
    gaps = [None, np.nan, pd.NA, pd.NaT, Decimal("NaN"), np.datetime64("NaT")]
    assert all(map(is_gap, gaps))
    assert not any(map(is_gap, [0, "", "nan", False, np.array([1, 2])]))


def test_na_is_nan_for_scikit_learn():
    array = np.array([[1.0, pd.NA], [None, "x"]], dtype=object)
    found = without_na(array)
    assert found[1, 1] == "x"
    assert np.isnan([found[0, 1], found[1, 0]]).all()
    assert array[0, 1] is pd.NA
    frame = pd.DataFrame({"a": [1, pd.NA], "b": [1.0, 2.0]})
    filled = without_na(frame)
    np.testing.assert_array_equal(filled.astype(float), [[1, 1], [np.nan, 2]])
    assert frame["a"][1] is pd.NA
    assert without_na(filled[["b"]]) is not frame
    for same in (np.ones((2, 2)), frame[["b"]], pl.DataFrame({"a": [1, None]})):
        assert without_na(same) is same


ISO = DAYS.strftime("%Y-%m-%d")
# Columns whose values are times or numbers, though their type may not say so.
ORDERED = {
    "period": pd.period_range("2024-01-01", periods=4, freq="D"),
    "period objects": pd.Series(list(pd.period_range("2024-01-01", periods=4))),
    "months": ["2024-01", "2024-02", "2024-03", None],
    "iso": ISO,
    "iso string": pd.Series(ISO, dtype="string"),
    "iso arrow": pd.Series(ISO, dtype="string[pyarrow]"),
    "iso zone": ISO + "T00:00:00Z",
    "iso space": ISO + " 12:30:00.5",
    "datetime64 objects": pd.Series(list(DAYS.to_numpy()), dtype=object),
    "decimals": ["1.5", "2", "1e1", None],
    "decimal numbers": [Decimal("1.5"), Decimal(2), None, Decimal(3)],
    "flags": pd.array([True, None, False, True], dtype="boolean"),
    "whole": pd.array([1, None, 2, 3], dtype="Int64"),
    "arrow": pd.array([1, None, 2, 3], dtype="int64[pyarrow]"),
    "spans": DAYS - DAYS[0],
    "zone": DAYS.tz_localize("Europe/Berlin"),
}


def encoded(values, later=None):
    frame = pd.DataFrame({"c": values})
    encoder = numeric_encoding(FunctionTransformer()).fit(frame)
    assert encoder.text_ == []
    return encoder.transform(frame if later is None else pd.DataFrame({"c": later}))


@pytest.mark.parametrize("kind", ORDERED)
def test_what_has_an_order_is_encoded_by_it(kind):
    own = encoded(ORDERED[kind])[:, 0]
    if kind in ("iso", "period", "period objects", "iso zone", "datetime64 objects"):
        np.testing.assert_array_equal(own, SECONDS)
    frame = pd.DataFrame({"c": ORDERED[kind]})
    trees = ordinal_encoding(np.nan).fit(frame)
    assert trees.text_ == []
    there = frame["c"].notna().to_numpy()
    np.testing.assert_array_equal(trees.transform(frame)[there, 0], own[there])


@pytest.mark.parametrize("kind", [pl.DataFrame, lambda t: np.array(t["c"])[:, None]])
def test_dates_as_strings_whoever_holds_them(kind):
    table = kind({"c": ISO.tolist()})
    encoder = numeric_encoding(FunctionTransformer()).fit(table)
    np.testing.assert_array_equal(encoder.transform(table)[:, 0], SECONDS)


def test_a_word_among_dates_is_a_gap_later_on():
    found = encoded([*ISO[:3], None], ["soon", "2024-13-01", None, ISO[3]])
    middle = SECONDS[1]
    expected = [[middle, 1], [middle, 1], [middle, 1], [SECONDS[3], 0]]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="'c' holds values that are no numbers"):
        encoded(["1.5", "2.5"], ["1.5", "soon"])


@pytest.mark.parametrize(
    "values",
    [[*ISO[:3], "soon"], ["2024-01", "1234-56"], ["01234", "12345"], ["1.2.3", "1.5"]],
)
def test_codes_and_words_stay_categories(values):
    assert text_positions(pd.DataFrame({"c": values})) == [0]


@pytest.mark.parametrize("dtype", [complex, object])
def test_complex_columns_are_refused_by_name(dtype):
    frame = pd.DataFrame({"a": [1.0, 2.0], "z": np.array([1j, 2.0], dtype=dtype)})
    with pytest.raises(ValueError, match="Complex data.*'z'.*real and imaginary"):
        numeric_encoding().fit(frame)
    numbers = numeric_encoding().fit(frame.assign(z=[1.0, 2.0]))
    with pytest.raises(ValueError, match="'z' holds values that are no numbers"):
        numbers.transform(frame)


def test_weights_count_as_rows_in_what_fills_gaps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    X[::5, 1] = np.nan
    weight = rng.integers(1, 4, 30)
    weighted = numeric_encoding().fit(X, sample_weight=weight.astype(float))
    repeated = numeric_encoding().fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X))


def test_names_of_encoded_columns_are_checked():
    frame = pd.DataFrame({"a": [1.0, 2.0], "k": ["u", "v"]})
    encoder = ordinal_encoding(np.nan).fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["k", "a"]
    assert encoder.get_feature_names_out(["a", "k"]).tolist() == ["k", "a"]
    with pytest.raises(ValueError, match="not equal to feature_names_in_"):
        encoder.get_feature_names_out(["q", "k"])
    encoder.fit(frame.to_numpy())
    assert encoder.get_feature_names_out().tolist() == ["x1", "x0"]
    assert encoder.get_feature_names_out(["q", "k"]).tolist() == ["k", "q"]
    with pytest.raises(ValueError, match="should have length"):
        encoder.get_feature_names_out(["q"])


def test_a_mixture_checks_the_names_of_its_columns(regression):
    X, y = regression
    frame = pd.DataFrame(X).add_prefix("c")
    model = MoERegressor(n_experts=2, random_state=0).fit(frame, y)
    assert [*model.get_feature_names_out([*frame])] == ["expert0", "expert1"]
    with pytest.raises(ValueError, match="not equal to feature_names_in_"):
        model.get_feature_names_out(["q"])
    with pytest.raises(ValueError, match="should have length"):
        model.fit(X, y).get_feature_names_out(["q"])
