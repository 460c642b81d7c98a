"""Raw tables as numbers, for experts and gates that read nothing else."""

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.validation import has_fit_parameter, validate_data

from .._sklearn import check_names_in
from .._stamp import Stamped
from .._tables.columns import (
    column_kind,
    column_numbers,
    column_text,
    column_times,
    is_complex,
    other_value,
    text_positions,
    typed_kind,
)
from .._tables.frames import as_columns, column_names
from .._tables.plain import plain_numbers
from .._tables.values import Kind

# Categories of a column that are told apart; rarer ones are taken together.
MOST_CATEGORIES = 32
# HistGradientBoosting takes 255 categories; one is for those taken together.
MOST_TREE_CATEGORIES = 254


class TableEncoder(TransformerMixin, Stamped):
    """Raw columns as numbers: what is text in training stays text.

    Whatever frame or array holds them, numeric columns (times in seconds) become floats
    with NaN for gaps, all others strings with None for gaps.  Columns are told apart by
    position, so that names may be of any kind.

    Parameters
    ----------
    categories : transformer
        Of the text columns.
    numbers : transformer, default=None
        Of the numeric columns; None passes them on.
    text : list of int, default=None
        Positions of the text columns; None finds them in ``fit``, where some rows of a
        column may look like numbers though others do not.

    Attributes
    ----------
    text_ : list of int
        Positions of the text columns, which come first in the result.
    kinds_ : list of Kind
        Of each column; None for one without a single value, which is not read.  Later
        on, words in a column of times are gaps and numbers there seconds, and values of
        another kind are refused.
    """

    def __init__(self, categories, numbers=None, text=None):
        self.categories = categories
        self.numbers = numbers
        self.text = text

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags

    def fit(self, X, y=None, sample_weight=None):
        """Fit the transformers of either kind of columns; returns self."""
        validate_data(self, X, skip_check_array=True)
        self.names_ = np.asarray(column_names(X), dtype=object)
        self.text_ = text_positions(X) if self.text is None else self.text
        refuse_complex(X)
        self.kinds_ = [
            self._settled(j, column_kind(own)) for j, own in enumerate(as_columns(X))
        ]
        text, numbers = self._parts(X)
        # Columns without a single value say nothing, and some trees refuse them.
        empty = np.isnan(numbers).all(axis=0)
        numbers[:, empty] = 0.0
        places = [j for j in range(len(self.kinds_)) if j not in self.text_]
        for k in np.flatnonzero(empty):
            self.kinds_[places[k]] = None
        others = self.numbers is not None and numbers.shape[1] > 0
        self.categories_ = _fitted(self.categories, text) if self.text_ else None
        self.numbers_ = _fitted(self.numbers, numbers) if others else None
        if others and sample_weight is not None and np.ptp(sample_weight) > 0:
            _weigh(self.numbers_, numbers, sample_weight)
        return self

    def _settled(self, j, found):
        # Of columns that are no text by all rows, some rows may look like codes.
        if j in self.text_:
            return Kind.TEXT
        return Kind.NUMBERS if found in (None, Kind.TEXT) else found

    def _parts(self, X):
        """Text columns and numeric ones, as two arrays."""
        plain = plain_numbers(X) if {*self.kinds_} == {Kind.NUMBERS} else None
        if plain is not None and not np.isinf(plain).any():
            return np.empty((len(X), 0)), np.array(plain, dtype=float, order="F")
        text, n_text = [], self.kinds_.count(Kind.TEXT)
        # A column of Fortran's order is one piece, for who goes on column by column.
        numbers, k = np.empty((len(X), len(self.kinds_) - n_text), order="F"), 0
        for j, column in enumerate(as_columns(X)):
            kind = self.kinds_[j]
            if kind == Kind.TEXT:
                text.append(column_text(column))
                continue
            own = 0.0 if kind is None else finite_numbers(column, kind, self.names_[j])
            numbers[:, k], k = own, k + 1
        return np.column_stack(text) if text else np.empty((len(X), 0)), numbers

    def transform(self, X):
        """Encoded columns (n, m), text first."""
        text, numbers = self._parts(X)
        if self.numbers_ is not None:
            numbers = self.numbers_.transform(numbers)
        if self.categories_ is None:
            return numbers
        return np.hstack([self.categories_.transform(text), numbers])

    def get_feature_names_out(self, input_features=None):
        """Names of the encoded columns."""
        known = check_names_in(self, input_features, generate_names=False)
        known = self.names_ if known is None else known
        is_text = np.isin(np.arange(len(known)), self.text_)
        text, names = known[is_text], known[~is_text]
        if self.numbers_ is not None:
            names = self.numbers_.get_feature_names_out(names)
        if self.categories_ is None:
            return names
        return np.concatenate([self.categories_.get_feature_names_out(text), names])


def refuse_complex(X):
    """Raise ``ValueError`` for a column of complex numbers."""
    for name, column in zip(column_names(X), as_columns(X), strict=True):
        if is_complex(column):
            raise ValueError(
                f"Complex data not supported: column {name!r} holds complex numbers; "
                "give their real and imaginary parts as two columns."
            )


def finite_numbers(column, kind, name):
    """A column of numbers or times as floats, NaN for gaps.

    Raises
    ------
    ValueError
        For values that are not of the kind of those in training, and infinity.
    """
    if kind == Kind.TIMES and typed_kind(column) is None:
        return column_times(column)
    other = other_value(column, kind)
    if other is not None:
        raise ValueError(
            f"Column {name!r} holds values that are no {kind} ({other!r}), but "
            "those in training were; leave them empty, or fit again with this column "
            "as it is."
        )
    values = column_numbers(column)
    if np.isinf(values).any():
        raise ValueError(
            f"Column {name!r} holds infinity, but finite numbers or gaps were "
            "expected; replace it by NaN."
        )
    return values


def _fitted(transformer, columns):
    return _as_arrays(clone(transformer)).fit(columns)


def _weigh(filled, numbers, weight):
    """Medians and scales of a fitted pipeline, as of rows that are repeated."""
    imputer, scaler = filled[0], filled[-1]
    columns = ((column, ~np.isnan(column)) for column in numbers.T)
    imputer.statistics_ = np.array(
        [weighted_median(column[there], weight[there]) for column, there in columns]
    )
    if has_fit_parameter(scaler, "sample_weight"):
        # The variance of a constant may be rounded below zero; its scale is one.
        with np.errstate(invalid="ignore"):
            scaler.fit(imputer.transform(numbers), sample_weight=weight)


def weighted_median(values, weight):
    """Median of values that count by their weights; of none, zero."""
    if not len(values):
        return 0.0
    order = np.argsort(values, kind="stable")
    values, total = values[order], np.cumsum(weight[order])
    half = total[-1] / 2
    # Between two values, if half of the weight lies on either side.
    sides = np.searchsorted(total, half, "left"), np.searchsorted(total, half, "right")
    return float(values[np.minimum(sides, len(values) - 1)].mean())


def numeric_encoding(scaler=None):
    """Raw columns as numbers: medians for gaps, which are marked; one-hot categories.

    Parameters
    ----------
    scaler : transformer, default=None
        Of the numeric columns; None standardises.
    """
    scaler = StandardScaler() if scaler is None else scaler
    imputer = SimpleImputer(
        strategy="median", add_indicator=True, keep_empty_features=True
    )
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=MOST_CATEGORIES,
        sparse_output=False,
    )
    return _as_arrays(TableEncoder(one_hot, make_pipeline(imputer, scaler)))


def ordinal_encoding(unknown, most=MOST_TREE_CATEGORIES):
    """Raw columns with categories first, as at most so many numbers, for trees."""
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=unknown,
        encoded_missing_value=unknown,
        max_categories=most,
    )
    return _as_arrays(TableEncoder(ordinal))


def _as_arrays(transformer):
    """The transformer, which returns arrays whatever scikit-learn is set to return."""
    return transformer.set_output(transform="default")
