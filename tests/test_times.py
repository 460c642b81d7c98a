"""Which columns are read as times, in training and ever after."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.preprocessing import FunctionTransformer

from skmoe._tables.columns import column_kind, text_positions
from skmoe._tables.values import Kind, as_time, time_spelled
from skmoe.experts._encoding import numeric_encoding

DAYS = pd.date_range("2020-01-01", periods=4)
SECONDS = DAYS.to_numpy().astype("M8[s]").astype(float)
WORDS = [day.isoformat()[:10] for day in DAYS]
# The same four days, however they come; NaN stands for a gap.
SPELLED = {
    "times and strings": [DAYS[0], WORDS[1], DAYS[2].date(), DAYS[3].to_datetime64()],
    "categories": pd.Categorical(DAYS),
    "categories of strings": pd.Categorical(WORDS),
    "categories out of use": pd.Categorical(WORDS, categories=[*WORDS, "soon"]),
    "categories of periods": pd.Categorical(DAYS.to_period("D")),
    "basic": DAYS.strftime("%Y%m%dT000000"),
    "basic, zone": DAYS.strftime("%Y%m%dT010000+01"),
    "weeks": DAYS.strftime("%G-W%V-%u"),
    "basic weeks": DAYS.strftime("%GW%V%u"),
    "slashes": DAYS.strftime("%Y/%m/%d"),
    "short slashes": [f"{day.year}/{day.month}/{day.day}" for day in DAYS],
    "slashes, clock": DAYS.strftime("%Y/%m/%d %H:%M"),
    "midnight": (DAYS - pd.Timedelta(days=1)).strftime("%Y-%m-%dT24:00Z"),
    "lower case": DAYS.strftime("%Y-%m-%dt00:00z"),
    "forms": [WORDS[0], "2020/01/02", "20200103T00", "2020-W01-6"],
    "empty": [WORDS[0], "", WORDS[2], WORDS[3]],
    "words": ["NA", WORDS[1], " null", "NaT"],
    "gaps and words": [WORDS[0], None, pd.NaT, "n/a"],
}
TEXT = {
    "days or months": ["01/02/2020", "02/03/2020"],
    "digits": ["20200101", "20200102"],
    "days of years": ["2020-001", "2020-002"],
    "no such days": ["2020-01-01", "2020-02-30"],
    "no such months": ["2020/13/01", "2020/01/01"],
    "no such hours": ["2020-01-01T24:30", "2020-01-01"],
    "words": ["NA", "", "n/a", ""],
    "a word": ["2020-01-01", "soon"],
    "times and durations": [DAYS[0], DAYS[1] - DAYS[0]],
    "times and numbers": [DAYS[0], 1.5],
    "bytes": [b"2020-01-01"],
    "categories of numbers": pd.Categorical([1.5, 2.5]),
    "categories of decimals": pd.Categorical(["1.5", "2.5"]),
    "categories of words": pd.Categorical(["2020-01-01", "b"]),
    "no ascii": ["２０２０-01-01"],
    "part of a month": ["2020-01T10:00"],
    "end of all time": ["9999-12-31T24:00"],
}


def encoded(frame, later=None):
    encoder = numeric_encoding(FunctionTransformer()).fit(frame)
    assert encoder.text_ == []
    return encoder.transform(frame if later is None else later)[:, 0]


@pytest.mark.parametrize("form", SPELLED)
def test_times_whatever_their_form(form):
    frame = pd.DataFrame({"when": SPELLED[form]})
    assert column_kind(frame["when"]) == Kind.TIMES
    there = [as_time(v) == s for v, s in zip(frame["when"], SECONDS, strict=True)]
    np.testing.assert_array_equal(encoded(frame)[there], SECONDS[there])
    assert there.count(False) == {"empty": 1, "words": 3, "gaps and words": 3}.get(
        form, 0
    )
    # A column of times is read as such whatever it comes as later on.
    plain = pd.DataFrame({"when": DAYS})
    np.testing.assert_array_equal(encoded(plain, frame)[there], SECONDS[there])
    np.testing.assert_array_equal(encoded(frame, plain), SECONDS)


@pytest.mark.parametrize("form", TEXT)
def test_what_may_be_something_else_stays_text(form):
    assert text_positions(pd.DataFrame({"c": TEXT[form]})) == [0]


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, lambda t: np.array(t["c"], object)[:, None]]
)
def test_words_for_gaps_among_decimals(make):
    table = make({"c": ["1.5", "", "2.5", "NA"]})
    np.testing.assert_array_equal(encoded(table), [1.5, 2.0, 2.5, 2.0])
    assert text_positions(make({"c": ["a", "", "2.5", "NA"]})) == [0]


def test_numbers_and_decimals_are_numbers_together():
    frame = pd.DataFrame({"c": [1.5, "2.5", None, "3"]}, dtype=object)
    np.testing.assert_array_equal(encoded(frame), [1.5, 2.5, 2.5, 3.0])


@pytest.mark.parametrize(
    ("first", "later", "kind"),
    [
        (WORDS, DAYS - DAYS[0], "times"),
        ([1.5, 2.5], DAYS, "numbers"),
        (["1.5", "2.5"], WORDS, "numbers"),
        ([True, False], [DAYS[0].date()], "numbers"),
        (DAYS - DAYS[0], DAYS, "durations"),
        ([datetime.time(1), datetime.time(2)], WORDS, "times of a day"),
    ],
)
def test_columns_of_another_kind_are_refused_later_on(first, later, kind):
    first, later = pd.DataFrame({"c": first}), pd.DataFrame({"c": later})
    with pytest.raises(ValueError, match=f"'c' holds values that are no {kind}"):
        encoded(first, later)
    gaps = pd.DataFrame({"c": [np.nan, np.nan]})
    assert np.isfinite(encoded(first, gaps)).all()


def test_numbers_in_a_column_of_times_are_seconds():
    frame = pd.DataFrame({"c": WORDS})
    for later in (SECONDS, pd.Series([*SECONDS[:2], *DAYS[2:]], dtype=object)):
        np.testing.assert_array_equal(
            encoded(frame, pd.DataFrame({"c": later})), SECONDS
        )


def test_times_of_polars():
    span = pl.DataFrame({"c": [datetime.timedelta(seconds=s) for s in (1, 2)]})
    when = pl.DataFrame({"c": DAYS.to_list()})
    kinds = pl.DataFrame({"c": pl.Series(WORDS, dtype=pl.Categorical)})
    np.testing.assert_array_equal(encoded(when, kinds), SECONDS)
    np.testing.assert_array_equal(encoded(kinds, when), SECONDS)
    np.testing.assert_array_equal(encoded(span), [1.0, 2.0])
    with pytest.raises(ValueError, match="no times"):
        encoded(when, span)


def test_a_column_without_values_is_not_read_later_on():
    frame = pd.DataFrame({"c": [None, None], "x": [1.0, 2.0]}, dtype=object)
    later = pd.DataFrame({"c": ["soon", DAYS[0]], "x": [1.0, 2.0]})
    assert (encoded(frame, later) == 0.0).all()


def test_fractions_of_seconds():
    assert time_spelled("2020-01-01 00:00:00,25").microsecond == 250_000
    assert as_time("2020-01-01T00:00:00.123456789") == SECONDS[0] + 0.123456
