"""Reading X once: for parts that want numbers, and for parts that want the table."""

from functools import partial

import numpy as np
from scipy import sparse
from sklearn.utils.validation import assert_all_finite, validate_data

from .._sklearn import check_sample_weight
from ..data import RowSource
from .columns import (
    ContainerError,
    column_numbers,
    no_number,
    unreadable_columns,
    without_na,
)
from .features import as_numbers, view
from .frames import (
    as_columns,
    as_table,
    column_labels,
    column_names,
    dtype_of,
    dtypes_of,
    from_arrow,
    is_frame,
    kind_of,
    refuse_flat,
    refuse_name,
    refuse_unread,
    without_sparse,
)
from .names import (
    advised,
    as_in_training,
    check_cells,
    check_names,
    checking_quietly,
    names_differ,
    refuse_columns,
)
from .values import is_gap, is_single

# What scikit-learn does not say of weights that it refuses.
WEIGHTS = "give a number >= 0 for each row of X, such as how often it is to count"


def row_weights(X, sample_weight):
    """Weights (n,) of the rows of X, ones for None.

    Raises ``ValueError`` unless there is one per row, finite, none of them negative and
    some positive, of a size that sums leave within the range of numbers: what ``fit``
    takes, and whatever else takes weights.
    """
    refuse_name("sample_weight", sample_weight, "a number >= 0")
    try:
        weight = check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError(
                "Negative values in data passed to `sample_weight`, the least of them "
                f"{weight.min():.3g}."
            )
        # scikit-learn refuses them from 1.9 on.
        if not weight.any():
            raise ValueError(
                "Sample weights must contain at least one non-zero number."
            )
    except OverflowError:
        # Integers of any length.
        weight = np.array([np.inf])
    except (TypeError, ValueError) as error:
        if "could not convert" not in str(error) and isinstance(error, ValueError):
            raise advised(error, WEIGHTS) from error
        raise ValueError(
            f"sample_weight holds no numbers ({error}), but expected one for each row."
        ) from error
    return weights_in_range(weight)


def relative_weights(X, sample_weight):
    """The same in units of the largest, for what depends on ratios only."""
    weight = row_weights(X, sample_weight)
    return weight / weight.max()


def weights_in_range(weight, name="sample_weight"):
    """The weights (n,) of rows, unless their sum leaves the range of sums.

    Likelihoods and criteria are sums of weights times hundreds of nats, in units of
    the weights; weights near the smallest numbers have lost their digits.
    """
    with np.errstate(over="ignore"):
        total = float(weight.sum())
    if not SMALLEST_TOTAL <= total <= LARGEST_TOTAL:
        raise ValueError(
            f"{name} sums to {total:.3g}, but expected a sum from {SMALLEST_TOTAL:g} "
            f"to {LARGEST_TOTAL:g}, within which likelihoods are numbers; divide the "
            "weights by the largest of them."
        )
    return weight


# Sums of weights whose products with log-likelihoods are numbers, with all digits.
SMALLEST_TOTAL, LARGEST_TOTAL = 1e-300, 1e303

# What errors say that are due to text, times or complex values, not numbers.
NO_NUMBER = (
    "could not convert string to float",
    "must be a string or a real number",
    "could not be promoted by",
    "Complex data not supported",
    "unsupported operand type",
    "did not contain a loop with signature",
    "setting an array element with a sequence",
)

# Largest values whose squares can still be summed; their inverses are the smallest.
LARGEST = 1e152


def check_units(values, names, *, small=False):
    """Raise ``ValueError`` for columns (n, p) in units that leave the range of squares.

    Parameters
    ----------
    values : ndarray or sparse matrix
        NaN is passed over.
    names : list of str, or None for x0, x1, ...
    small : bool, default=False
        Whether all values of a column may be too small, too.
    """
    if values.dtype != np.float64 or not all(values.shape):
        return
    if sparse.issparse(values):
        # Only the zero that is not stored could be larger.
        largest = abs(values).max(axis=0).toarray().ravel()
    else:
        top, bottom = np.fmax.reduce(values), np.fmin.reduce(values)
        largest = np.fmax(np.abs(top), np.abs(bottom))
    wrong = largest > LARGEST
    if small:
        wrong |= (largest > 0) & (largest < 1.0 / LARGEST)
    if wrong.any():
        j = int(np.argmax(wrong))
        name = f"x{j}" if names is None else names[j]
        raise ValueError(
            f"{name} has a largest absolute value of {largest[j]:.3g}, whose square "
            f"leaves the range of numbers, but expected {1.0 / LARGEST:.0e} to "
            f"{LARGEST:.0e}; give it in another unit."
        )


class Table:
    """X as validated: for parts that want the table, and for those that want numbers.

    Attributes
    ----------
    raw : what the user gave, a frame where it was one; foreign parts read it
    numbers : float array, or None if some columns are not numbers
    has_gaps : whether X may hold NaN, so that views are still to be checked
    """

    def __init__(self, raw, numbers, has_gaps=True):
        self.raw, self.numbers, self.has_gaps = raw, numbers, has_gaps
        self._views = {}

    @property
    def n_rows(self):
        """Number of rows."""
        return self.raw.shape[0]

    def gaps(self):
        """Where numbers are missing (n, p), or None if nowhere.

        Sparse columns hold zeros for what they do not hold, and no gaps.
        """
        if not self.has_gaps or sparse.issparse(self.numbers):
            return None
        missing = np.isnan(self.numbers)
        return missing if missing.any() else None

    def view(self, transformer):
        """The transformed columns, computed once per transformer."""
        key = id(transformer)
        if key not in self._views:
            self._views[key] = view(transformer, self.raw)
        return self._views[key]

    def without(self, columns):
        """The other columns as numbers, made once."""
        key = ("without", tuple(columns))
        if key not in self._views:
            self._views[key] = without_columns(self.raw, columns)
        return self._views[key]

    def finite(self, X, transformer, part):
        """Numbers, after a check where the table could not be checked as a whole.

        ``transformer`` is what made them of the table, if anything did, and ``part``
        who reads them, with the parameter that says which.
        """
        if dtype_of(X).kind not in "fiub":
            _refuse_view(X, transformer, *part)
            X = self._floats(X)
        if self.has_gaps and X.dtype.kind == "f":
            assert_all_finite(X, input_name="X")
            check_units(X, None)
        return X

    def _floats(self, X):
        """Columns of numbers, of any type, as a float array, made once."""
        key = ("floats", id(X))
        if key not in self._views:
            columns = [column_numbers(column) for column in as_columns(X)]
            self._views[key] = np.column_stack(columns)
        return self._views[key]

    def made_of(self, X, make):
        """What a method makes of a view, made once."""
        key = ("made", id(X), make.__qualname__, id(make.__self__))
        if key not in self._views:
            # With what the numbers stand for, which so are not given away.
            self._views[key] = make(X), X, make
        return self._views[key][0]

    def without_spread(self, X, flat):
        """A view with the values of its ``FlatColumns``, made once."""
        key = ("flat", id(X), id(flat))
        if key not in self._views:
            # With what the numbers stand for, which so are not given away.
            self._views[key] = flat.of(X), X, flat
        return self._views[key][0]

    def dense(self, X):
        """A sparse matrix as an array, made once; anything else as it is."""
        if not sparse.issparse(X):
            return X
        key = ("dense", id(X))
        if key not in self._views:
            self._views[key] = X.toarray()
        return self._views[key]


def _refuse_view(X, transformer, who, parameter):
    """Raise ``ValueError`` for columns of a view that hold no numbers."""
    text = unreadable_columns(X)
    if not text:
        return
    known = column_names(X)
    if hasattr(transformer, "get_feature_names_out"):
        known = transformer.get_feature_names_out()
    names = [str(known[column_labels(X).index(own)]) for own in text]
    _, value = no_number(X) or (None, None)
    raise ValueError(
        f"{who} got {value!r} in the text columns {names}; encode them, as in "
        f"{parameter}=make_column_transformer((OneHotEncoder(), {names}), "
        "remainder='passthrough'), or leave them out."
    )


def refuse_text(X, why, error=None, skipped=()):
    """Raise ``ValueError`` for a value of X that is no number, if there is one.

    Parameters
    ----------
    X : table that was to be read as numbers
    why : str
        Why there should be numbers, for the message.
    error : Exception, default=None
        What came of it.
    skipped : list, default=()
        Columns that nobody reads as numbers.
    """
    if error is not None and not any(sign in str(error) for sign in NO_NUMBER):
        return
    X = as_table(X)
    found = no_number(X, str(error), skipped) if len(np.shape(X)) == 2 else None
    if found is None:
        return
    name, value = found
    if not is_single(value):
        raise ContainerError(
            f"Column {name!r} of X holds {value!r}, but each argument must be a string "
            "or a real number; give its parts columns of their own."
        ) from error
    what = f"Column {name!r} of X: could not convert {value!r} to a number, but {why}"
    if isinstance(value, (complex, np.complexfloating)):
        raise ValueError(
            f"Complex data not supported: {what} give its real and imaginary parts "
            "as two columns."
        ) from error
    remedy = "numbers in its place, such as days since a date"
    if isinstance(value, (str, bytes)):
        remedy = (
            "an encoder in a pipeline, such as make_column_transformer("
            f"(OneHotEncoder(), [{name!r}]), remainder='passthrough')"
        )
    raise ValueError(
        f'{what} use experts="additive", gate="additive", or experts="auto", '
        f'trainer="two-stage" in a flat mixture, or {remedy}.'
    ) from error


def without_mask(values):
    """A masked array as an array, with NaN in place of what is masked."""
    if not np.ma.getmaskarray(values).any():
        return values.data
    return values.astype(np.result_type(values.dtype, np.float32)).filled(np.nan)


def opened_target(y):
    """The target of a regression as an array or series, with NaN for what is masked."""
    refuse_name("y", y, "a number")
    y = from_arrow(y)
    return without_mask(y) if isinstance(y, np.ma.MaskedArray) else y


def holds_times(X):
    """Whether a column, by its type, holds times, which pass for nanoseconds."""
    return any(kind_of(dtype) in "mM" for dtype in dtypes_of(X))


def _check_rows(X, estimator):
    """Raise ``ValueError`` for a table without rows, as scikit-learn does."""
    if X.shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is "
            f"required by {type(estimator).__name__}."
        )


def _refuse_gaps(X, why, error):
    """Name the column of a gap or of infinity that scikit-learn refuses."""
    said = str(error).partition("\n")[0].rstrip(".")
    if not said.startswith("Input X contains"):
        return
    name = not_finite(as_table(X))
    if name is None:
        return
    remedy = "leave such rows out"
    if "NaN" in said:
        remedy = (
            f"{why} fill the gaps, such as with a SimpleImputer in a pipeline, or use "
            'experts="additive", gate="additive", or experts="auto", '
            'trainer="two-stage" in a flat mixture'
        )
    raise ValueError(f"{said}: look in column {name!r}; {remedy}.") from error


def not_finite(X):
    """Name (position) of the first column with a gap or infinity, or None."""
    if sparse.issparse(X) or len(np.shape(X)) != 2:
        return None
    for name, column in zip(column_labels(X), as_columns(X), strict=True):
        if any(is_gap(value) or value in (np.inf, -np.inf) for value in column):
            return name
    return None


def has_text(X):
    """Whether columns of X are no numbers."""
    return bool(unreadable_columns(as_table(X)))


def opened(X, estimator):
    """The table behind X: an arrow table as a data frame, masked values as gaps.

    Raises ``ValueError`` for what is no table of single values with a name each.
    """
    if isinstance(X, RowSource):
        raise ValueError(
            f"{type(estimator).__name__} got a RowSource where rows are read at once; "
            "give it to fit, predict or log_density, or loop over source.batches()."
        )
    refuse_unread(X, type(estimator).__name__)
    refuse_flat(X, type(estimator).__name__)
    if isinstance(X, np.ma.MaskedArray):
        return without_mask(X)
    X = from_arrow(X)
    if is_frame(X):
        check_names(X, type(estimator).__name__)
        check_cells(X)
    # scikit-learn would read such columns as numbers too, and warn each time.
    return without_sparse(X)


def read_table(estimator, X, *, reset, text, allow_nan, sparse, why):
    """Validate X, set or check names and counts of columns on ``estimator``.

    Parameters
    ----------
    text : bool
        Whether X is a table whose columns need not be numbers.
    allow_nan, sparse : bool
        Whether NaN and sparse matrices pass.
    why : callable
        Says why there should be numbers, where text does not pass.
    """
    if text:
        # What was text in training is text in a batch that happens to have none.
        X = as_table(X)
        _check_rows(X, estimator)
        asked = not reset and names_differ(estimator, X)
        check = partial(validate_data, reset=reset, skip_check_array=True)
        check = checking_quietly(check) if asked else check
        try:
            check(estimator, X)
        except ValueError as error:
            refuse_columns(error)
            raise
        return Table(as_in_training(estimator, X) if asked else X, None)
    X = without_na(X) if allow_nan else X
    if holds_times(X):
        refuse_text(X, why())
    asked = not reset and names_differ(estimator, X)
    check = partial(
        validate_data,
        reset=reset,
        accept_sparse="csr" if sparse else False,
        dtype=(np.float64, np.float32),
        order="C",
        ensure_all_finite="allow-nan" if allow_nan else True,
    )
    try:
        numbers = (checking_quietly(check) if asked else check)(estimator, X)
    except (TypeError, ValueError) as error:
        refuse_text(X, why(), error)
        _refuse_gaps(X, why(), error)
        refuse_columns(error)
        raise
    check_units(numbers, column_names(X) if is_frame(X) else None)
    if asked:
        return Table(as_in_training(estimator, X, numbers), numbers, allow_nan)
    return Table(X if is_frame(X) else numbers, numbers, allow_nan)


def without_columns(X, columns):
    """The other columns of X as numbers."""
    kept = [name for name in column_labels(X) if name not in columns]
    return as_numbers(X[kept] if is_frame(X) else X[:, kept])
