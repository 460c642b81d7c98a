"""Single values of tables: gaps, numbers, and what says when or how long."""

import datetime
import numbers
import re
import sys
from decimal import Decimal

import numpy as np


class Kind:
    """What a value is, or all values of a column, gaps apart: words, as in pickles."""

    NUMBERS = "numbers"
    TIMES = "times"
    SPANS = "durations"
    CLOCKS = "times of a day"
    TEXT = "text"


# What values of each kind are instances of.
TYPES = {
    Kind.NUMBERS: (numbers.Real, np.bool_, Decimal),
    Kind.TIMES: (datetime.date, np.datetime64),
    Kind.SPANS: (datetime.timedelta, np.timedelta64),
    Kind.CLOCKS: (datetime.time,),
}
# Words for a value that is missing, in a column whose other values are no text.
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "none", "null"}
# Dates, perhaps with a time of day: ISO 8601, in digits alone only before a time, by
# weeks, to the month; or the year first between slashes.  Days of a year (2024-001) are
# as often numbers of invoices, and whether a day or a month comes first nobody knows.
WHEN = re.compile(
    r"(?P<date>\d{4}-\d\d(?:-\d\d)?|\d{4}/\d\d?/\d\d?"
    r"|\d{4}-W\d\d(?:-\d)?|\d{4}W\d{2,3}|\d{8}(?=T))(?:[T ](?P<clock>.+))?",
    re.ASCII,
)
# The end of a day, which is the beginning of the next.
MIDNIGHT = re.compile(r"24(?P<rest>(:?00){0,2}([.,]0+)?(Z|[-+].*)?)")
DAY = datetime.timedelta(days=1)


def is_gap(value):
    """Whether a value says that there is none: None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        # pandas.NA is neither equal to itself nor not; containers are no gaps.
        return not hasattr(value, "__len__")
    except ValueError:
        return False


def is_missing(value):
    """Whether a value is a gap or, where no text is expected, a word for one."""
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return is_gap(value)


def is_single(value):
    """Whether a value may be a category or a time, and is no container."""
    return type(value).__hash__ is not None


def is_number(value):
    """Whether a value, or what it spells, is a number."""
    try:
        float(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def periods():
    """The class of pandas' periods, of which there are none before it is imported."""
    pandas = sys.modules.get("pandas")
    return () if pandas is None else (pandas.Period,)


def has_na(dtype):
    """Whether gaps in a column of a type of pandas are its NA, which is no NaN."""
    return dtype.na_value is sys.modules["pandas"].NA


def kind_of_value(value):
    """Kind of a value that is not missing; strings are what they spell."""
    if isinstance(value, str):
        if time_spelled(value) is not None:
            return Kind.TIMES
        return Kind.NUMBERS if is_number(value) else Kind.TEXT
    if isinstance(value, (float, bytes)):
        return Kind.NUMBERS if is_number(value) else Kind.TEXT
    # NumPy's durations are registered as integers.
    for kind in (Kind.SPANS, Kind.TIMES, Kind.CLOCKS, Kind.NUMBERS):
        if isinstance(value, TYPES[kind]):
            return kind
    return Kind.TIMES if isinstance(value, periods()) else Kind.TEXT


def time_spelled(text):
    """The time that a string spells, see ``WHEN``, or None."""
    found = WHEN.fullmatch(text.strip().upper())
    if found is None:
        return None
    date, clock = found["date"], found["clock"]
    late = MIDNIGHT.fullmatch(clock or "")
    if late:
        clock = f"00{late['rest']}"
    if "/" in date:
        date = "{}-{:0>2}-{:0>2}".format(*date.split("/"))
    elif len(date) == len("2024-01") and "W" not in date and not clock:
        date = f"{date}-01"
    try:
        when = datetime.datetime.fromisoformat(f"{date}T{clock}" if clock else date)
        return when + DAY if late else when
    except (OverflowError, ValueError):
        return None


def as_float(value):
    """A value as a float: NaN for what is missing, seconds for times.

    Raises ``TypeError`` or ``ValueError`` for what is neither.
    """
    if is_missing(value):
        return np.nan
    if isinstance(value, str) and not is_number(value):
        value = time_spelled(value) or value
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return float(seconds(np.array([value]))[0])
    if isinstance(value, periods()):
        value = value.to_timestamp()
    if isinstance(value, datetime.time):
        value = datetime.datetime.combine(datetime.date(1970, 1, 1), value)
    elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return aware.timestamp()
    return float(value)


def as_time(value):
    """Seconds of a time, of a string that spells one, or as a number; else NaN."""
    if isinstance(value, str):
        value = time_spelled(value)
    allowed = (Kind.TIMES, Kind.NUMBERS)
    known = not is_gap(value) and kind_of_value(value) in allowed
    return as_float(value) if known else np.nan


def seconds(values):
    """NumPy's times or durations as floats."""
    # The whole seconds first: nanoseconds would overflow far from 1970.
    whole = values.astype(f"{values.dtype.kind}8[s]")
    return whole.astype(float) + (values - whole) / np.timedelta64(1, "s")
