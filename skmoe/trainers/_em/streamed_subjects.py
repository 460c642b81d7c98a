"""Fused EM on rows that are read anew in each pass, where those of a subject share one
expert and come together."""

from functools import partial

from ..._numerics.design import empty_design, read_only
from .._rows import Subjects, numbered_along
from .._streamed import seen_columns
from .fused_subjects import SubjectCategoricalMixture, SubjectGaussianMixture
from .streamed import (
    StreamedCategoricalMixture,
    StreamedDriver,
    StreamedGaussianMixture,
    StreamedSums,
    spread_over,
)


class StreamedSubjects(StreamedSums):
    """What replaces the sums over single rows of a stream."""

    of_rows = *StreamedSums.of_rows, "subjects", "panel"

    @classmethod
    def over_all(cls, problem, fused, passes):
        """As of rows; blocks bring subjects of their own."""
        own = super().over_all(problem, fused, passes)
        own.subjects = own.panel = None
        return own

    @staticmethod
    def part_of(problem, n_rows):
        """A problem on whole subjects with so many rows at most, evenly spread."""
        codes = problem.subjects.codes
        return problem.on_rows(spread_over(codes, len(codes), n_rows))

    @staticmethod
    def weighted(problem, weight, total):
        """A problem with other weights of its rows, and so of its subjects."""
        part = problem.with_rule(weight=weight, total_weight=total)
        part._set_subjects(Subjects(problem.subjects.codes, weight))
        return part

    def on_block(self, X, y, weight, codes):
        """The same problem on a block of whole subjects."""
        part = super().on_block(X, y, weight)
        part._set_subjects(Subjects(numbered_along(codes), weight))
        part.gate = empty_design(len(part.subjects))
        if self.gate_channels > 1:
            first = seen_columns(X[part.subjects.first], self.chosen[0])
            part.gate = self.gate._replace(X=read_only(first))
        return part

    def add_block(self, parts, statistics, *block):
        """Add what a block of subjects says to a tuple of sums, in place."""
        part = self.on_block(*block)
        part.add_rows(parts, statistics, 0, len(part.subjects))

    def _accumulate(self, parts):
        kernel = self.kernel()
        sums = self._sums(partial(kernel.add_block, parts), kernel._zero_sums)
        return self._named(sums)


class StreamedSubjectGaussians(
    StreamedSubjects, StreamedGaussianMixture, SubjectGaussianMixture
):
    """Subjects of Gaussian experts on the rows of a stream."""


class StreamedSubjectClasses(
    StreamedSubjects, StreamedCategoricalMixture, SubjectCategoricalMixture
):
    """Subjects of multinomial logistic experts on the rows of a stream."""


class SubjectDriver(StreamedDriver):
    """EM of linear parts on the rows of a stream, subject by subject."""

    kinds = StreamedSubjectGaussians, StreamedSubjectClasses
