"""Columns of raw tables: what they hold, whoever holds them."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skmoe._columns import (
    column_numbers,
    column_text,
    is_gap,
    text_columns,
    text_positions,
    without_na,
)

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
