"""Batches of columns as training reads them: numbers, or tables with text and gaps."""

import copy

import numpy as np
from sklearn.utils import check_array, murmurhash3_32

from .._tables.columns import (
    column_numbers,
    factorized,
    text_columns,
    unreadable_columns,
)
from .._tables.frames import (
    as_columns,
    as_table,
    column_labels,
    column_names,
    dtype_of,
    kind_of,
    of_kind,
)
from .._tables.names import text_names
from .._tables.table import check_units
from ..data._parquet import data_frames

# What reads text and gaps.
REMEDY = (
    "use experts='additive' with gate='additive' or 'constant', which read text and "
    "gaps,"
)


def batches_for(reading, names=None):
    """What reads batches for the parts of a mixture; ``names`` as of a source."""
    chooses = reading.asked.chooses_columns
    if reading.gate.numeric or reading.numbers_reader is not None or chooses:
        return NumberBatches(names, f"{reading.why_numbers()} {REMEDY}")
    return TableBatches(names)


class Batches:
    """Validated batches, each with as many columns as the first.

    Parameters
    ----------
    given_names : list of str or None
        Names of columns that the batches need not have themselves.
    why : str
        Why there should be numbers, and what else to do, for messages.

    Attributes
    ----------
    names : list of str or None
    n_columns : int
    dtype : of the numbers, of all batches together
    text : list of int, positions of columns of text; None where there are none
    """

    text = None

    def __init__(self, given_names, why=""):
        self.given_names, self.why = given_names, why
        self.names, self.n_columns, self.dtype = None, None, None

    def read(self, X):
        """Numbers (n, p) and words (n, m) of a batch; numbers tell rows apart."""
        raise NotImplementedError

    def measured(self, numbers):
        """The columns whose means and scales training asks for."""
        return numbers

    def table(self, numbers, words, chooses=False):
        """Rows of a sample as a table, a frame where columns may be chosen by name."""
        if not chooses or self.names is None:
            return numbers
        return data_frames()(numbers, columns=self.names)

    def coding(self, views):
        """A callable from a batch to the columns (n, p) that a pass is given."""
        return self.as_floats

    def as_floats(self, X):
        """A batch of numbers as an array."""
        return np.ascontiguousarray(X, dtype=self.dtype)

    def joined(self, later):
        """The same after batches that others like it have read."""
        other = copy.copy(self)
        other.dtype = np.result_type(self.dtype, later.dtype)
        return other

    def _same(self, names, n_columns, dtype):
        """Raise ``ValueError`` for other columns than those of the first batch."""
        if self.n_columns is None:
            self.names, self.n_columns, self.dtype = names, n_columns, dtype
        if n_columns != self.n_columns or names != self.names:
            raise ValueError(
                f"A batch has {n_columns} columns ({names}), but the first one has "
                f"{self.n_columns} ({self.names}); give the same columns each time."
            )
        self.dtype = np.result_type(self.dtype, dtype)


class NumberBatches(Batches):
    """Batches for parts that read numbers only."""

    def read(self, X):
        names = self.given_names or text_names(X)
        try:
            numbers = check_array(
                X,
                dtype=(np.float64, np.float32),
                order="C",
                ensure_all_finite=False,
                input_name="X",
            )
        except (TypeError, ValueError) as error:
            self._refuse_text(X, error)
            raise
        self._check_finite(numbers, names)
        check_units(numbers, names)
        self._same(names, numbers.shape[1], numbers.dtype)
        return numbers, np.empty((len(numbers), 0), dtype=object)

    def _refuse_text(self, X, error):
        X = as_table(X)
        text = unreadable_columns(X)
        if text:
            name = column_names(X)[column_labels(X).index(text[0])]
            raise ValueError(
                f"Column {name!r} of the source holds no numbers, but {self.why} leave "
                "the column out, or encode it as numbers."
            ) from error

    def _check_finite(self, numbers, names):
        finite = np.isfinite(numbers).all(axis=0)
        if not finite.all():
            raise ValueError(
                f"The source holds NaN or infinity in column "
                f"{_name_of(names, int(np.argmin(finite)))!r}, but {self.why} leave "
                "such rows out, or fill them."
            )


class TableBatches(Batches):
    """Batches for parts that read tables: text is levels, and NaN is a gap.

    A column is text by its type in the first batch.
    """

    def __init__(self, given_names):
        super().__init__(given_names)
        self._first = None

    def read(self, X):
        X = self._opened(X)
        numbers = np.empty(X.shape)
        words = np.empty((len(X), len(self.text)), dtype=object)
        for j, column in enumerate(as_columns(X)):
            if j not in self.text:
                numbers[:, j] = self._floats(column, j)
                continue
            known, codes = factorized(column)
            words[:, self.text.index(j)] = known[codes]
            numbers[:, j] = np.array([*map(word_number, known)])[codes]
        check_units(numbers, self.names)
        return numbers, words

    def _opened(self, X):
        X = as_table(X)
        if len(X.shape) != 2:
            raise ValueError(
                f"A batch of X has the shape {X.shape}, but expected rows and columns; "
                "give two dimensions."
            )
        self._same(self.given_names or text_names(X), X.shape[1], np.dtype(float))
        if self.text is None:
            labels = column_labels(X)
            self._refuse_times(X, labels)
            self.text = [labels.index(own) for own in text_columns(X)]
            self._first = X[:1]
        return X

    def _refuse_times(self, X, labels):
        for name, own in zip(labels, as_columns(X), strict=True):
            if kind_of(dtype_of(own)) in "mM":
                raise ValueError(
                    f"Column {name!r} of the source holds times, but expected numbers "
                    "or text; give seconds, or days since a date."
                )

    def _floats(self, column, place):
        name = _name_of(self.names, place)
        try:
            values = column_numbers(column)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Column {name!r} of the source held numbers in its first batch, and "
                f"no longer does ({error}); give the same type each time."
            ) from error
        if np.isinf(values).any():
            raise ValueError(
                f"The source holds infinity in column {name!r}, but expected numbers "
                "or gaps; replace it by NaN."
            )
        return values

    def measured(self, numbers):
        # Curves know where their knots are, and constants need no columns.
        return numbers[:, :0]

    def table(self, numbers, words, chooses=False):
        columns = [*numbers.T]
        for j, own in zip(self.text, words.T, strict=True):
            columns[j] = own
        return of_kind(self._first, columns)

    def coding(self, views):
        seen = [views.gate, *views.experts]
        encoder = next(own.curves for own in seen if own.curves is not None).encoder_
        order = [*encoder.text_]
        order += [j for j in range(self.n_columns) if j not in encoder.text_]
        empty = [kind is None for kind in encoder.kinds_]

        def coded(X):
            """Numbers, and codes of the levels that the encoder knows, text first."""
            X = self._opened(X)
            values, found = np.empty(X.shape, order="F"), self._factors(X)
            levels = encoder.transform(self._levels(found))
            for k, j in enumerate(order):
                if j in found:
                    values[:, k] = levels[found[j][1], k]
                else:
                    own = 0.0 if empty[j] else column_numbers(as_columns(X)[j])
                    values[:, k] = own
            return values

        return coded

    def _factors(self, X):
        """Different words and their numbers (n,), by position of the column."""
        columns = as_columns(X)
        return {j: factorized(columns[j]) for j in self.text}

    def _levels(self, found):
        """A table of the different words, as long as the longest of its columns."""
        n_rows = max([1, *(len(known) for known, _ in found.values())])
        columns = [np.zeros(n_rows)] * self.n_columns
        for j, (known, _) in found.items():
            columns[j] = np.full(n_rows, None, dtype=object)
            columns[j][: len(known)] = known
        return of_kind(self._first, columns)


def word_number(word):
    """A number for a word, whichever others there are; NaN for none."""
    return np.nan if word is None else float(murmurhash3_32(word, positive=True))


def _name_of(names, place):
    return f"x{place}" if names is None else names[place]
