"""EM of linear parts on rows that are read anew in each pass.

Starts, and a first run, happen on the sample that the first pass has drawn; the runs
after it sum the same statistics over all rows, batch by batch.
"""

import time
from dataclasses import replace

import numpy as np

from ..._kernels.em import Labels, Statistics
from ..._numerics.design import empty_design, read_only
from ..._numerics.grams import without_spreadless
from ..._numerics.products import column_sums
from .drivers import FusedDriver
from .fused import LinearGaussianMixture
from .fused_classes import LinearCategoricalMixture
from .loop import rank


class StreamedSums:
    """A linear mixture of a sample, whose sums are those of all rows of a stream.

    Attributes
    ----------
    rows : StreamedRows
    fused : FusedTask, how targets are standardised
    passes : list of float, seconds of the passes so far
    """

    @classmethod
    def over_all(cls, problem, fused, passes):
        """The problem of a sample for all rows, with the penalties that it has."""
        own = object.__new__(cls)
        own.__dict__.update(problem.__dict__)
        own.fused, own.rows, own.passes = fused, fused.task.rows, passes
        own.total_weight = own.rows.stream.columns.weight
        return own

    def on_block(self, X, y, weight):
        """The same problem, with the same standardisation, on a block of rows."""
        X, part = read_only(X), object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        constant = self.gate_channels == 1
        part.gate = empty_design(len(X)) if constant else self.gate._replace(X=X)
        shared = self.expert is self.gate
        part.expert = part.gate if shared else self.expert._replace(X=X)
        part.target, part.weight = self._block_target(y), read_only(weight)
        return part

    def _accumulate(self, parts):
        def accumulate(statistics, *block):
            self.on_block(*block).add_rows(parts, statistics, 0, len(block[0]))

        sums = self._sums(accumulate, self._zero_statistics)
        return self._split_grams(Statistics(*sums))

    def _sums(self, accumulate, make_statistics):
        stream, begun = self.rows.stream, time.perf_counter()
        sums = stream.sums(accumulate, make_statistics, self.n_jobs)
        self.passes.append(time.perf_counter() - begun)
        stream.tell(
            f"pass {len(self.passes)} over {stream.n_rows} rows: "
            f"{self.passes[-1]:.2f} s"
        )
        return sums

    def column_sums(self, run):
        """Masses (K,), sums and sums of squares (K, p) of the columns by experts."""
        shape = self.n_experts, self.expert_channels - 1

        def accumulate(statistics, *block):
            part = self.on_block(*block)
            weights = part.responsibilities(run) * part.weight[:, None]
            for total, own in zip(
                statistics, column_sums(part.expert, weights), strict=True
            ):
                total += own

        def zeros():
            return np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)

        return self._sums(accumulate, zeros)


class StreamedGaussianMixture(StreamedSums, LinearGaussianMixture):
    """Gaussian experts on the rows of a stream."""

    def _block_target(self, y):
        return read_only((y - self.fused.y_center) / self.fused.y_scale)


class StreamedCategoricalMixture(StreamedSums, LinearCategoricalMixture):
    """Multinomial logistic experts on the rows of a stream."""

    def _block_target(self, y):
        return Labels(read_only(y, np.int64), read_only(np.zeros((0, self.n_classes))))


class StreamedDriver(FusedDriver):
    """EM of linear parts on the rows of a stream."""

    def __init__(self, trainer, task):
        super().__init__(trainer, task)
        if self.fused.is_wide():
            n_columns = task.rows.gate_view.shape[1]
            raise ValueError(
                f"The source has {n_columns} columns, for which training takes many "
                "passes per iteration; give fewer columns, or the rows as arrays."
            )
        values = task.rows.classes is None
        self.kind = StreamedGaussianMixture if values else StreamedCategoricalMixture
        self.passes = []

    def best(self):
        """The best of the runs from all starts, and the problem that it is one of."""
        problem = self._problem(self.task.recipe.n_experts)
        starts = [(problem, theta) for theta in self._starts(problem)]
        if self.task.rows.stream.whole:
            runs = [self._over_all(*own) for own in starts]
            return max(runs, key=lambda r: rank(r[1], r[0]))
        limit = self._most_iterations(problem)
        runs = [self._run(*own, limit) for own in starts]
        sampled, problem = max(runs, key=lambda r: rank(r[1], r[0]))
        if sampled.stopped:
            return self._over_all(problem, sampled.theta, limit=1)
        run, problem = self._over_all(problem, sampled.theta)
        run.removed = [*sampled.removed, *run.removed]
        return run, problem

    def _over_all(self, problem, theta, limit=None):
        """Run over all rows, from where a sample has led."""
        whole = self.kind.over_all(problem, self.fused, self.passes)
        return self._run(whole, theta, limit or self._most_iterations(whole))

    def _drop_flat(self, run, problem):
        if not problem.keeps_flat:
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
