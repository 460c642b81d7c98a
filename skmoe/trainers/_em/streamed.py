"""EM of linear parts on rows that are read anew in each pass.

Starts, and first runs, happen on growing parts of the sample that the first pass has
drawn; the run after them sums the same statistics over all rows, batch by batch, and
asks the sample where its steps lead.
"""

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ..._kernels.em import Labels, Statistics
from ..._numerics.design import empty_design, read_only
from ..._numerics.grams import without_spreadless
from ..._numerics.products import column_sums
from .._streamed import seen_columns
from .drivers import FusedDriver, training_active
from .fused import LinearGaussianMixture, LinearMixture
from .fused_classes import LinearCategoricalMixture
from .fused_task import is_wide
from .loop import rank
from .sampled import SampleNewton

# Rows of a sample on which runs from all starts are made.
FIRST_ROWS = 20_000
# For each row of the sample that is asked where steps lead, so many rows are read.
ROWS_PER_SAMPLED = 20


class At(NamedTuple):
    """What of a run says where it is.

    Attributes
    ----------
    theta : ndarray, parameters
    """

    theta: np.ndarray


class StreamedSums:
    """A linear mixture of a sample, whose sums are those of all rows of a stream.

    Attributes
    ----------
    stream : Stream
    sample : the same problem on rows of the sample, with the weight of all
    chosen : pair of ndarray or None, which columns of a block gate and experts see
    passes : list of float, seconds of the passes so far
    """

    # Attributes of a problem that are about rows.
    of_rows = "gate", "expert", "target", "weight", "total_weight"

    @classmethod
    def over_all(cls, problem, fused, passes):
        """The problem of a sample for all rows, with the penalties that it has."""
        own, stream = object.__new__(cls), fused.task.rows.stream
        own.__dict__.update(problem.__dict__)
        own.stream, own.passes = stream, passes
        own.chosen = fused.task.rows.chosen[:2]
        own._know_target(fused)
        own.total_weight = stream.columns.weight
        own.sample = cls.adviser(problem, stream)
        # Blocks bring rows of their own.
        own.gate = problem.gate._replace(X=problem.gate.X[:0])
        shared = problem.expert is problem.gate
        columns = problem.expert._replace(X=problem.expert.X[:0])
        own.expert = own.gate if shared else columns
        own.target = own.weight = None
        return own

    @classmethod
    def adviser(cls, problem, stream):
        """A problem on so much of its sample that to ask it costs less than a pass."""
        n_rows = max(stream.n_rows // ROWS_PER_SAMPLED, FIRST_ROWS)
        part = cls.part_of(problem, n_rows)
        ratio = stream.columns.weight / part.total_weight
        weight = read_only(part.weight * ratio)
        return cls.weighted(part, weight, stream.columns.weight)

    @classmethod
    def first_part(cls, problem):
        """A problem on the first rows of its sample, all of them if they are few."""
        few = len(problem.weight) <= 2 * FIRST_ROWS
        return problem if few else cls.part_of(problem, FIRST_ROWS)

    @classmethod
    def with_rows_of(cls, problem, other):
        """The experts and penalties of one problem on the rows of another."""
        return problem.with_rule(**{name: vars(other)[name] for name in cls.of_rows})

    @staticmethod
    def part_of(problem, n_rows):
        """A problem on so many of its rows at most, evenly spread."""
        return problem.on_rows(spread_rows(len(problem.weight), n_rows))

    @staticmethod
    def weighted(problem, weight, total):
        """A problem with other weights of its rows."""
        return problem.with_rule(weight=weight, total_weight=total)

    def with_rule(self, **changes):
        """The same problem under other rules, which hold for its sample, too."""
        other = super().with_rule(**changes)
        if other.sample is not None:
            other.sample = other.sample.with_rule(**changes)
        return other

    def kernel(self):
        """The problem without its rows, as it may be sent to where blocks are."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.stream = other.sample = other.passes = None
        return other

    def on_block(self, X, y, weight):
        """The same problem, with the same standardisation, on a block of rows."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        gate, expert = (read_only(seen_columns(X, own)) for own in self.chosen)
        constant = self.gate_channels == 1
        part.gate = empty_design(len(X)) if constant else self.gate._replace(X=gate)
        shared = self.expert is self.gate
        part.expert = part.gate if shared else self.expert._replace(X=expert)
        part.target, part.weight = self._block_target(y), read_only(weight)
        return part

    def add_block(self, parts, statistics, *block):
        """Add what a block of rows says to a tuple of sums, in place."""
        self.on_block(*block).add_rows(parts, statistics, 0, len(block[0]))

    def add_columns(self, at, statistics, *block):
        """Add masses, and sums of columns and squares by experts, in place."""
        part = self.on_block(*block)
        weights = part.responsibilities(at) * part.weight[:, None]
        sums = column_sums(part.expert, weights)
        for total, own in zip(statistics, sums, strict=True):
            total += own

    def zero_columns(self):
        """What ``add_columns`` begins with."""
        shape = self.n_experts, self.expert_channels - 1
        return np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)

    def _accumulate(self, parts):
        kernel = self.kernel()
        sums = self._sums(partial(kernel.add_block, parts), kernel._zero_statistics)
        return self._split_grams(Statistics(*sums))

    def column_sums(self, run):
        """Masses (K,), sums and sums of squares (K, p) of the columns by experts."""
        kernel = self.kernel()
        return self._sums(
            partial(kernel.add_columns, At(run.theta)), kernel.zero_columns
        )

    def _sums(self, accumulate, make_statistics):
        return timed_sums(
            self.stream, self.passes, accumulate, make_statistics, self.n_jobs
        )


def timed_sums(stream, passes, accumulate, make_statistics, n_jobs):
    """Sums of one pass, whose seconds are noted and told."""
    begun = time.perf_counter()
    sums = stream.sums(accumulate, make_statistics, n_jobs)
    passes.append(time.perf_counter() - begun)
    stream.tell(f"pass {len(passes)} over {stream.n_rows} rows: {passes[-1]:.2f} s")
    return sums


def spread_rows(n_rows, n_wanted):
    """Numbers of so many rows at most, evenly spread."""
    n_wanted = min(n_rows, n_wanted)
    return np.arange(n_wanted) * n_rows // n_wanted


def spread_over(groups, n_rows, n_wanted):
    """The same of whole subjects, if there are numbers (n,) of them."""
    if groups is None or n_wanted >= n_rows:
        return spread_rows(n_rows, n_wanted)
    known, codes = np.unique(groups, return_inverse=True)
    few = spread_rows(len(known), max(n_wanted * len(known) // n_rows, 1))
    taken = np.zeros(len(known), dtype=bool)
    taken[few] = True
    return np.flatnonzero(taken[codes])


class StreamedGaussianMixture(StreamedSums, LinearGaussianMixture):
    """Gaussian experts on the rows of a stream.

    Attributes
    ----------
    shift, unit : (d,) what targets are standardised by
    """

    def _know_target(self, fused):
        self.shift, self.unit = fused.y_center, fused.y_scale

    def _block_target(self, y):
        return read_only((y - self.shift) / self.unit)


class StreamedCategoricalMixture(StreamedSums, LinearCategoricalMixture):
    """Multinomial logistic experts on the rows of a stream."""

    # The steps of a sample tell a drift from a distance.
    extrapolates = LinearMixture.extrapolates

    def _know_target(self, fused):
        """Labels are read as they are."""

    def _block_target(self, y):
        return Labels(read_only(y, np.int64), read_only(np.zeros((0, self.n_classes))))


class StreamedDriver(FusedDriver):
    """EM of linear parts on the rows of a stream."""

    #: Problems of values, and of classes.
    kinds = StreamedGaussianMixture, StreamedCategoricalMixture

    def __init__(self, trainer, task):
        super().__init__(trainer, task)
        if is_wide(self.task):
            n_columns = task.rows.gate_view.shape[1]
            raise ValueError(
                f"The source has {n_columns} columns, for which training takes many "
                "passes per iteration; give fewer columns, or the rows as arrays."
            )
        values = task.rows.classes is None
        self.kind = self.kinds[0] if values else self.kinds[1]
        self.passes = []

    def best(self):
        """The best of the runs from all starts, and the problem that it is one of."""
        stream = self.task.rows.stream
        if stream.whole:
            return super().best()
        problem = self._problem(training_active(self.task))
        starts = self._starts(problem)
        small = self.kind.first_part(problem)
        limit = self._most_iterations(problem)
        runs = [self._run(small, theta, limit) for theta in starts]
        run, small = max(runs, key=lambda r: rank(r[1], r[0]))
        if small.weight is not problem.weight:
            run, problem = self._going_on(run, self.kind.with_rows_of(small, problem))
        else:
            problem = small
        whole = self.kind.over_all(problem, self.fused, self.passes)
        return self._going_on(run, whole)

    def _accelerator(self, problem):
        own = super()._accelerator(problem)
        if problem.sample is None or not self.trainer.accelerate or problem.hard:
            return own
        return SampleNewton(problem.sample) if problem.extrapolates else own

    def _going_on(self, earlier, problem):
        """Run on more rows from where an earlier run has led."""
        limit = 1 if earlier.stopped else self._most_iterations(problem)
        run, problem = self._run(problem, earlier.theta, limit)
        run.removed = [*earlier.removed, *run.removed]
        return run, problem

    def _drop_flat(self, run, problem):
        if not problem.keeps_flat:
            return
        if self.task.rows.stream.whole:
            super()._drop_flat(run, problem)
            return
        gate, coef = problem.unpack(run.theta)
        own = np.split(coef, problem.n_experts)
        sums = zip(own, *problem.column_sums(run), strict=True)
        left = [without_spreadless(*each) for each in sums]
        run.theta = problem.pack(gate, np.concatenate(left))

    def _to_fit(self, run, problem):
        fit = super()._to_fit(run, problem)
        stream = self.task.rows.stream
        # The one that came before EM counts, too.
        read = {"rows": stream.n_rows, "passes": 1 + len(self.passes)}
        return replace(fit, history={**fit.history, **read})
