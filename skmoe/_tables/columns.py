"""Columns of tables as they come: which hold numbers, and what they hold."""

import datetime
import numbers
import re
import sys
from decimal import Decimal

import numpy as np
from scipy import sparse

from .frames import (
    as_columns,
    column_labels,
    dtype_of,
    is_frame,
    is_polars,
    is_polars_type,
    kind_of,
)

# Values of a column of objects that is read as numbers: all of one of these kinds.
KINDS = (
    (numbers.Real, np.bool_, Decimal),
    (datetime.date,),
    (datetime.time,),
    (datetime.timedelta,),
    (np.datetime64,),
    (np.timedelta64,),
)
# How dates begin as ISO 8601 has them: year and month, perhaps a day and a time.
ISO_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}|$)")


def text_columns(X):
    """Names (positions) of columns of X whose type is not that of numbers."""
    if is_frame(X):
        named = zip(X.columns, as_columns(X), strict=True)
        return [name for name, column in named if _kind(column) != "f"]
    array = np.asarray(X)
    return text_positions(array) if array.ndim == 2 else []


def unreadable_columns(X):
    """Names (positions) of columns that hold what is no number: text, times, kinds.

    Objects and strings that all are numbers are read as such; categories are kinds,
    whatever they are called by.
    """
    if len(np.shape(X)) != 2 or sparse.issparse(X):
        return []
    named = zip(column_labels(X), as_columns(X), strict=True)
    return [name for name, column in named if not _reads_as_numbers(column)]


def _reads_as_numbers(column):
    kind = _kind(column)
    if kind == "f":
        return True
    if kind in "mMc" or _is_category(column):
        return False
    try:
        np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        values = np.asarray(column, dtype=object)
        return all(is_gap(value) or _is_number(value) for value in values)
    return True


def _kind(column):
    """Kind of a column's type as NumPy has it; "O" for what only others have."""
    return kind_of(dtype_of(column))


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


class ContainerError(TypeError, ValueError):
    """A cell holds a container: for scikit-learn that is of the wrong type."""


def is_single(value):
    """Whether a value may be a category or a time, and is no container."""
    return type(value).__hash__ is not None


def no_number(X, said="", skipped=()):
    """Name (position) of a column and a value there that is no number, or None.

    ``said`` is what an error says: where it quotes a value, the column that holds it
    is meant.  Columns in ``skipped`` are passed over.
    """
    quoted = "could not convert string to float" in said
    for name, column in zip(column_labels(X), as_columns(X), strict=True):
        kind = _kind(column)
        if kind == "f" or name in skipped:
            continue
        for value in column:
            if is_gap(value) or (kind not in "mMc" and _is_number(value)):
                continue
            value = value.item() if isinstance(value, np.str_) else value
            if not quoted or repr(value) in said:
                return name, value
        if kind in "mM" and not quoted and len(column):
            # Times that are all missing are times.
            return name, next(iter(column))
    return None


def text_positions(X):
    """Positions of columns that are neither numbers nor times."""
    holds = _frame_column_holds if is_frame(X) else _array_column_holds
    return [j for j, column in enumerate(as_columns(X)) if not holds(column)]


def _frame_column_holds(column):
    if _kind(column) in "fmM":
        return True
    # Categories may be numbers that have no order.
    return not _is_category(column) and _values_hold(column)


def _array_column_holds(column):
    if _kind(column) not in "OUS":
        return True
    try:
        np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        return _values_hold(column)
    return True


def _values_hold(column):
    """Whether all values, gaps apart, are numbers, or are times of one kind."""
    values = (value for value in column if not is_gap(value))
    first = next(values, None)
    for kind in (*KINDS, _periods()):
        if isinstance(first, kind):
            return all(isinstance(value, kind) for value in values)
    if isinstance(first, str):
        return holds_dates(column) or _holds_decimals(column)
    return first is None


def _periods():
    """The class of pandas' periods, of which there are none before it is imported."""
    pandas = sys.modules.get("pandas")
    return () if pandas is None else (pandas.Period,)


def holds_dates(column):
    """Whether all values, gaps apart, are strings of dates or times in ISO 8601."""
    if _kind(column) not in "OUS":
        return False
    values = (value for value in column if not is_gap(value))
    return all(_iso_seconds(value) is not None for value in values)


def is_complex(column):
    """Whether a column holds complex numbers."""
    kind = _kind(column)
    return kind == "c" or (kind == "O" and any(isinstance(v, complex) for v in column))


def _holds_decimals(column):
    """Whether all values are strings of numbers, one of them not a whole one.

    Strings of digits alone may well be codes, and are categories.
    """
    values = [value for value in column if not is_gap(value)]
    whole = all(isinstance(value, str) and value.strip().isdigit() for value in values)
    return not whole and all(isinstance(v, str) and _is_number(v) for v in values)


def _iso_seconds(value):
    """Seconds of a string that is a date or time, else None."""
    if not isinstance(value, str) or not ISO_DATE.match(value.strip()):
        return None
    text = value.strip()
    try:
        when = datetime.datetime.fromisoformat(f"{text}-01" if len(text) == 7 else text)
    except ValueError:
        return None
    return _number(when)


def column_times(column):
    """A column of strings of dates as seconds; NaN for gaps, and for other words."""
    found = (_iso_seconds(v) if isinstance(v, str) else _number(v) for v in column)
    return np.array([np.nan if own is None else own for own in found], dtype=float)


def _is_category(column):
    # Of polars such a type has another name, and its values are text.
    return str(dtype_of(column)) == "category"


def is_number_column(column):
    """Whether the type of a column is that of integers or floats."""
    return _kind(column) == "f" and not str(dtype_of(column)).lower().startswith("bool")


def is_gap(value):
    """Whether a value says that there is none: None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        # pandas.NA is neither equal to itself nor not; containers are no gaps.
        return not hasattr(value, "__len__")
    except ValueError:
        return False


def without_na(X):
    """X with NaN for the gaps in cells that hold objects, which scikit-learn reads."""
    if isinstance(X, np.ndarray) and X.dtype == object:
        gaps = np.frompyfunc(is_gap, 1, 1)(X).astype(bool)
        return np.where(gaps, np.nan, X)
    if not is_frame(X) or is_polars(X):
        return X
    objects = [name for name, dtype in X.dtypes.items() if dtype == np.dtype(object)]
    filled = {name: without_na(X[name].to_numpy()) for name in objects}
    if not filled:
        return X
    X = X.copy()
    for name, values in filled.items():
        X[name] = values
    return X


def column_numbers(column):
    """A column of numbers or times as floats; NaN for gaps, seconds for times."""
    if isinstance(column, np.ndarray) or _kind(column) != "f":
        values = np.asarray(column)
    elif is_polars_type(column.dtype):
        values = np.asarray(column.cast(float))
    else:
        return column.to_numpy(dtype=float, na_value=np.nan)
    if values.dtype.kind == "c":
        raise TypeError(f"{values.flat[0]!r} is complex")
    if values.dtype.kind in "mM":
        # The whole seconds first: nanoseconds would overflow far from 1970.
        whole = values.astype(f"{values.dtype.kind}8[s]")
        return whole.astype(float) + (values - whole) / np.timedelta64(1, "s")
    if values.dtype == object:
        return np.array([_number(value) for value in values], dtype=float)
    return values.astype(float)


def _number(value):
    """A value of a column of objects as a float."""
    if is_gap(value):
        return np.nan
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return column_numbers(np.array([value]))[0]
    if isinstance(value, _periods()):
        value = value.to_timestamp()
    if isinstance(value, datetime.time):
        value = datetime.datetime.combine(datetime.date(1970, 1, 1), value)
    elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return aware.timestamp()
    return float(value)


def column_text(column):
    """A column of categories as strings, None for gaps."""
    if _is_category(column):
        names = [*map(_name, column.cat.categories), None]
        # The code of a gap is -1.
        return np.array(names, dtype=object)[np.asarray(column.cat.codes)]
    names = [None if is_gap(value) else _name(value) for value in column]
    return np.array(names, dtype=object)


def _name(value):
    """A category as a string, the same whether gaps made a float of an integer.

    Raises ``TypeError`` for what is no single value, such as a list.
    """
    if isinstance(value, str):
        return str(value)
    if type(value).__hash__ is None:
        raise TypeError(
            f"A column of text holds {value!r}, but each argument must be a string or "
            "a real number; give its parts columns of their own."
        )
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if is_number and float(value).is_integer():
        return str(int(value))
    return str(value)
