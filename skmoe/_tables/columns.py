"""Columns of tables as they come: which hold numbers, and what they hold."""

import numbers

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
from .values import (
    Kind,
    as_float,
    as_time,
    has_na,
    is_gap,
    is_missing,
    is_number,
    kind_of_value,
    seconds,
)

# Kinds of typed columns of NumPy and pandas.
TYPED = {"f": Kind.NUMBERS, "M": Kind.TIMES, "m": Kind.SPANS}
# Those of polars that are temporal, but no dates.
TEMPORAL = {"Duration": Kind.SPANS, "Time": Kind.CLOCKS}


def column_kind(column):
    """Kind of the values of a column, or None where there is none.

    It is the one place where is said what a column holds: what is of one kind,
    whatever the type of a single value, is of that kind; strings are what they spell,
    and among them a word such as "NA" is a gap.  All else is text.
    """
    kind = typed_kind(column)
    if kind is not None:
        return kind
    if isinstance(column, np.ndarray) and _are_floats(column):
        return Kind.NUMBERS
    values, found = _distinct(column), None
    for value in values:
        if is_missing(value):
            continue
        own = kind_of_value(value)
        if own == Kind.TEXT or found not in (None, own):
            return Kind.TEXT
        found = own
    if found is None:
        # Words for what is missing are all that is said there.
        return None if all(map(is_gap, values)) else Kind.TEXT
    if found == Kind.NUMBERS and not isinstance(column, np.ndarray):
        return Kind.TEXT if _is_category(column) or _are_codes(values) else found
    return found


def typed_kind(column):
    """Kind of a column that its type tells, or None."""
    kind, dtype = _kind(column), dtype_of(column)
    if kind == "M" and is_polars_type(dtype):
        return TEMPORAL.get(str(dtype).partition("(")[0], Kind.TIMES)
    return TYPED.get(kind)


def _are_floats(values):
    if values.dtype.kind not in "OUS":
        return False
    try:
        np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        return False
    return True


def _distinct(column):
    """Values of a column; of one of categories those that occur."""
    if not _is_category(column):
        return column
    codes = np.unique(np.asarray(column.cat.codes))
    return list(column.cat.categories[codes[codes >= 0]])


def _are_codes(values):
    """Whether all values are strings of digits alone, which may well be codes."""
    return all(
        is_missing(value)
        or (isinstance(value, (str, bytes)) and value.strip().isdigit())
        for value in values
    )


def text_positions(X):
    """Positions of columns that are neither numbers nor times."""
    columns = enumerate(as_columns(X))
    return [j for j, column in columns if column_kind(column) == Kind.TEXT]


def other_value(column, kind):
    """The first value of a column that is not of a kind, or None.

    Numbers may stand for seconds, where times are told by them.
    """
    if typed_kind(column) in (kind, Kind.NUMBERS):
        return None
    if kind == Kind.NUMBERS and isinstance(column, np.ndarray) and _are_floats(column):
        return None
    values = (value for value in column if not is_missing(value))
    allowed = (kind, Kind.NUMBERS)
    return next((own for own in values if kind_of_value(own) not in allowed), None)


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
        return all(is_gap(value) or is_number(value) for value in values)
    return True


def _kind(column):
    """Kind of a column's type as NumPy has it; "O" for what only others have."""
    return kind_of(dtype_of(column))


class ContainerError(TypeError, ValueError):
    """A cell holds a container: for scikit-learn that is of the wrong type."""


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
            if is_gap(value) or (kind not in "mMc" and is_number(value)):
                continue
            value = value.item() if isinstance(value, np.str_) else value
            if not quoted or repr(value) in said:
                return name, value
        if kind in "mM" and not quoted and len(column):
            # Times that are all missing are times.
            return name, next(iter(column))
    return None


def is_complex(column):
    """Whether a column holds complex numbers."""
    kind = _kind(column)
    return kind == "c" or (kind == "O" and any(isinstance(v, complex) for v in column))


def _is_category(column):
    # Of polars such a type has another name, and its values are text.
    return str(dtype_of(column)) == "category"


def is_number_column(column):
    """Whether the type of a column is that of integers or floats."""
    return _kind(column) == "f" and not str(dtype_of(column)).lower().startswith("bool")


def without_na(X):
    """X with NaN for the gaps in cells that hold objects, which scikit-learn reads."""
    if isinstance(X, np.ndarray) and X.dtype == object:
        gaps = np.frompyfunc(is_gap, 1, 1)(X).astype(bool)
        return np.where(gaps, np.nan, X)
    if not is_frame(X) or is_polars(X):
        return X
    objects = [name for name, dtype in X.dtypes.items() if dtype == np.dtype(object)]
    return with_columns(X, {name: without_na(X[name].to_numpy()) for name in objects})


def with_columns(X, found):
    """A pandas frame with other columns in place of some, by name."""
    if not found:
        return X
    X = X.copy()
    for name, values in found.items():
        X[name] = values
    return X


def passable(X):
    """X with NaN for the gaps in columns of pandas' types that have a word of their
    own for them: scikit-learn does not pass these through."""
    if not is_frame(X) or is_polars(X):
        return X
    found = {}
    for name, dtype in X.dtypes.items():
        if isinstance(dtype, np.dtype) or not (has_na(dtype) and X[name].hasnans):
            continue
        if kind_of(dtype) == "f":
            found[name] = X[name].to_numpy(dtype=float, na_value=np.nan)
        else:
            found[name] = without_na(X[name].to_numpy(dtype=object))
    return with_columns(X, found)


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
        return seconds(values)
    if values.dtype.kind in "OU":
        return np.array([as_float(value) for value in values], dtype=float)
    return values.astype(float)


def column_times(column):
    """A column of times as seconds; NaN for gaps, and for other words."""
    if typed_kind(column) == Kind.TIMES:
        return column_numbers(column)
    return np.array([as_time(value) for value in column], dtype=float)


def column_text(column):
    """A column of categories as strings, None for gaps."""
    if _is_category(column):
        known, codes = factorized(column)
        return known[codes]
    names = [None if is_gap(value) else _name(value) for value in column]
    return np.array(names, dtype=object)


def factorized(column):
    """Different strings (m,) of a column of categories, None for gaps, and the place
    (n,) of each value among them."""
    if _is_category(column):
        names = [*map(_name, column.cat.categories), None]
        # The code of a gap is -1.
        return np.array(names, dtype=object), np.asarray(column.cat.codes)
    known = {}
    codes = [known.setdefault(own, len(known)) for own in column_text(column)]
    return np.array([*known], dtype=object), np.array(codes, dtype=np.intp)


def declared_levels(column):
    """Names of the categories that the type of a column declares, in order; or None."""
    if _is_category(column):
        return [*map(_name, column.cat.categories)]
    dtype = dtype_of(column)
    if is_polars_type(dtype) and str(dtype).startswith("Enum"):
        return [*dtype.categories]
    return None


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
    counts = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if counts and float(value).is_integer():
        return str(int(value))
    return str(value)
