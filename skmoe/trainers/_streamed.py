"""Rows of a source, of which training holds a sample and reads the rest again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from .._numerics.design import Moments, make_design
from .._numerics.grams import Columns
from ..engines import recut, recut_whole, sum_blocks, unit_rows
from ..experts._answers import predict_expert
from ._rows import Rows, Subjects

# Place of the numbers of subjects in batches.
CODES = 3


@dataclass(frozen=True)
class Stream:
    """What the first pass over a source has found, and further passes.

    Attributes
    ----------
    read : callable without arguments
        Gives batches of columns, encoded targets, weights as training counts them,
        numbers of subjects where there are any, and sizes where rows bring some along,
        without rows of weight zero.
    n_rows : int, rows of positive weight
    columns : Moments of the columns; its weight is that of all rows
    outputs : Moments of the outputs, or None for classes
    span : (2, d) least and largest outputs, or None for classes
    dtype : of the columns
    whole : bool, whether the sample stands for all rows
    tell : callable of a text
    subjects : Moments of the columns over subjects, or None where there are none
    """

    read: Callable
    n_rows: int
    columns: Moments
    outputs: Moments | None
    span: np.ndarray | None
    dtype: np.dtype
    whole: bool
    tell: Callable
    subjects: Moments | None = field(default=None, kw_only=True)

    def sums(self, accumulate, make_statistics, n_jobs=None):
        """Sum of ``accumulate(statistics, X, y, weight)`` by one pass over the rows.

        Numbers of subjects, and sizes, come after the weights where there are any.
        """
        grouped = self.subjects is not None
        blocks = cut(self._counted(), self.n_rows, grouped)
        return sum_blocks(accumulate, make_statistics, blocks, n_jobs)

    def _counted(self):
        n_rows = 0
        for batch in self.read():
            n_rows += len(batch[0])
            yield batch
        if n_rows != self.n_rows:
            raise ValueError(
                f"The source gave {self.n_rows} rows of positive weight in the first "
                f"pass and {n_rows} in a later one, but expected the same rows each "
                "time; let the factory return a fresh iterator of all rows."
            )


def cut(batches, n_rows, grouped):
    """Batches of so many rows in the units of sums; subjects are not parted."""
    size = unit_rows(n_rows)
    return recut_whole(batches, size, CODES) if grouped else recut(batches, size)


@dataclass(frozen=True)
class HeldRows:
    """Rows of a sample, which stand for all rows of a stream and are summed like them.

    Attributes
    ----------
    X, y, weight : arrays of the rows
    size : (n,) exposures or trials, or None
    groups : (n,) numbers of subjects, which ascend, or None
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    size: np.ndarray | None = None
    groups: np.ndarray | None = None

    @classmethod
    def of(cls, X, y, weight, total, size=None, groups=None):
        """Rows that have a weight of ``total`` together."""
        return cls(X, y, weight * (total / weight.sum()), size, groups)

    def __len__(self):
        return len(self.weight)

    @property
    def n_rows(self):
        """Number of the rows."""
        return len(self)

    def tell(self, text):
        """Nothing is said of passes over rows in memory."""

    def on_rows(self, rows):
        """Some of the rows, with the weight of all."""
        own = self.X[rows], self.y[rows], self.weight[rows]
        more = [None if a is None else a[rows] for a in (self.size, self.groups)]
        return self.of(*own, self.weight.sum(), *more)

    def sums(self, accumulate, make_statistics, n_jobs=None):
        """Sum of ``accumulate(statistics, X, y, weight)`` over the rows."""
        rows = self.X, self.y, self.weight
        rows = *rows, *(a for a in (self.groups, self.size) if a is not None)
        blocks = cut([rows], len(self), self.groups is not None)
        return sum_blocks(accumulate, make_statistics, blocks, n_jobs)


@dataclass(frozen=True)
class StreamedRows(Rows):
    """A sample of the rows of a source; means and scales are those of all of them.

    Attributes
    ----------
    stream : Stream
    X : (n, p) columns of the sample, as batches of the stream have them: numbers, and
        codes of levels where curves read tables
    chosen : list of ndarray or None, numbers of the columns that the gate, and each of
        the experts after it, see; None for all
    """

    stream: Any = None
    X: Any = None
    chosen: Any = None
    streamed = True

    def scales_of(self, view):
        """Means and standard deviations (p,) of the columns of all rows."""
        views, columns = [self.gate_view, *self.expert_views], self.stream.columns
        if self.are_grouped and view is self.gate_rows:
            views, columns = [view], self.stream.subjects
        scales = columns.scales(self.stream.dtype)
        for own, columns in zip(views, self.chosen, strict=False):
            if own is view and columns is not None:
                return tuple(scale[columns] for scale in scales)
        return scales

    @cached_property
    def subjects(self):
        # Where the sample holds none of several rows, other rows may.
        return (
            Subjects(self.groups, self.weight) if self.are_grouped else super().subjects
        )

    @property
    def are_grouped(self):
        return self.groups is not None

    def gate_weight(self, total):
        return float(self.stream.subjects.weight) if self.are_grouped else total

    def of_experts(self, kept):
        """The same rows for some of the experts, by number."""
        gate, *experts = self.chosen
        chosen = [gate, *(experts[k] for k in kept)]
        return replace(super().of_experts(kept), chosen=chosen)

    @property
    def chosen_by_all(self):
        return self.chosen

    @property
    def output_scales(self):
        """Means and standard deviations (d,) of the outputs of all rows."""
        return self.stream.outputs.scales(self.y.dtype)

    def over_all(self, likelihood, discrete):
        """A fitted likelihood, that of noise over the range of all rows."""
        if not likelihood.is_noise:
            return likelihood
        return likelihood.with_range(self.stream.span, discrete)

    def in_memory(self):
        """The sample as rows that stand for themselves."""
        return Rows(**{**self.fields(), "columns": {}})

    def mean_answer(self, expert, number):
        """Mean over all rows of what a fitted expert predicts, by one more pass."""
        if self.stream.whole:
            return super().mean_answer(expert, number)
        answer = expert, self.chosen[1 + number], self.classes, self.n_outputs
        answer = *answer, self.told_output
        (total,) = self.stream.sums(partial(add_answers, answer), zero_total)
        return total[0] / self.stream.columns.weight

    def columns_of(self, view):
        """What a part sees of X, for the count of its parameters."""
        known = super().columns_of(view)
        if not isinstance(known, SampledColumns):
            varying = np.count_nonzero(self.scales_of(view)[1])
            known = SampledColumns(view, self.weight, varying)
            self.columns[id(view)] = known
        return known


def add_answers(answer, total, X, y, weight, *besides):
    """Add what an expert predicts of a block to the sum of its answers, in place.

    ``answer`` are the expert, the columns that it sees, classes, number of outputs, and
    which of these it is.
    """
    expert, columns, classes, n_outputs, told = answer
    seen = expert.seen(seen_columns(X, columns))
    total[0][:] += weight @ predict_expert(expert, seen, classes, n_outputs)[:, told]


def seen_columns(X, columns):
    """The columns of some numbers, or all for None."""
    return X if columns is None else np.ascontiguousarray(X[:, columns])


def zero_total():
    """One sum, of nothing."""
    return (np.zeros(1),)


class SampledColumns(Columns):
    """Columns of a sample, some of which may vary in other rows only.

    Parameters
    ----------
    X, weight : as ``Columns``
    n_varying : int
        Columns that vary in all rows.
    """

    def __init__(self, X, weight, n_varying):
        super().__init__(X, weight)
        self.n_varying = n_varying

    def _rank(self, centred):
        seen = np.count_nonzero(make_design(self.X, self.weight).inverse_scale)
        return super()._rank(centred) + self.n_varying - seen
