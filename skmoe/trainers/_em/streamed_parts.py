"""EM of parts that gain from sums, on rows that are read anew in each pass.

Parts are found on the first rows of a sample; the loop sees to it that the objective
never falls.
"""

from dataclasses import replace

from ...engines import single_threaded_blas
from ...experts._base import traits
from ...routers import DenseRouter
from .._streamed import HeldRows
from .drivers import Driver, RefitDriver, training_active
from .loop import Plain
from .refit import Parts
from .sampled import SampleNewton
from .streamed import FIRST_ROWS, ROWS_PER_SAMPLED, spread_over
from .summed_parts import needs_all_rows, problem_of, wide_views


def check_penalties(task):
    """Raise ``ValueError`` for penalties, and columns, that no step of sums serves."""
    recipe = task.recipe
    for expert in map(traits, recipe.experts):
        if needs_all_rows(expert, recipe.likelihood):
            raise ValueError(
                f"A RowSource came with {expert!r} under {recipe.gate!r} and "
                f"{recipe.likelihood!r}, whose penalty takes all rows at once; use "
                "alpha='evidence' or alpha=0, or give the rows as arrays."
            )
    if recipe.gate.has_lasso:
        raise ValueError(
            f"A RowSource came with {recipe.gate!r}, whose lasso is for linear experts "
            "of Gaussian values, or classes; use l1_ratio=0."
        )
    for view in wide_views(task):
        raise ValueError(
            f"The source has {view.shape[1]} columns, for which training takes many "
            "passes per iteration; give fewer columns, or the rows as arrays."
        )


def softly(task):
    """The task without the refit within the active experts that comes in the end."""
    soft = task.recipe.router.soft_then_sparse
    return task.with_recipe(router=DenseRouter()) if soft else task


class PartsDriver(Driver):
    """EM of parts that gain from sums, on the rows of a stream.

    The parts are fitted to the first rows of the sample by the EM of any parts, then
    brought on over all of the sample, and over all rows.
    """

    def __init__(self, trainer, task):
        super().__init__(trainer, task)
        self.passes = []
        check_penalties(task)

    def fit(self):
        with single_threaded_blas():
            if self.task.rows.stream.whole:
                return self._counted(self._fit_in_memory(self.task))
            return self._counted(super().fit())

    def _fit_in_memory(self, task):
        own = task.of_rows(task.rows.in_memory())
        return RefitDriver(self.trainer, own).fit()

    def _counted(self, fit):
        # The pass that came before EM counts, too.
        read = {"rows": self.task.rows.stream.n_rows, "passes": 1 + len(self.passes)}
        return replace(fit, history={**fit.history, **read})

    def best(self):
        """The run over all rows, and its problem."""
        rows = self.task.rows
        few = spread_over(rows.groups, len(rows), FIRST_ROWS)
        first = self.task.on_rows(few)
        fit = self._fit_in_memory(softly(first))
        problem = self._problem_of(fit, first.rows.weight.sum())
        parts = Parts(fit.gate, *fit.objective_parts)
        theta, total = problem.pack(parts), problem.total_weight
        besides = rows.size, rows.groups
        held = HeldRows.of(rows.X, rows.y, rows.weight, total, *besides)
        small = held.on_rows(few)
        earlier = None
        if len(held) > len(small):
            sampled = problem.over(held, problem.over(small))
            earlier, problem = self._run(sampled, theta, self.trainer.max_iter)
            theta = earlier.theta
        n_rows = max(rows.stream.n_rows // ROWS_PER_SAMPLED, FIRST_ROWS)
        asked = spread_over(rows.groups, len(held), n_rows)
        adviser = problem.over(held.on_rows(asked))
        whole = problem.over(rows.stream, adviser, self.passes)
        run, problem = self._run(whole, theta, self.trainer.max_iter)
        before = fit.history["removed"] + ([] if earlier is None else earlier.removed)
        run.removed = [*before, *run.removed]
        return run, problem

    def _problem_of(self, fit, mass):
        """The problem of what was fitted to rows of the sample with a ``mass``."""
        rows = self.task.rows
        share = rows.weight * (mass / rows.weight.sum())
        problem = problem_of(self.task, fit, share, rows.stream.columns.weight)
        n_active = min(training_active(self.task), len(fit.kept))
        return problem.with_rule(hard=self.trainer.hard, n_active=n_active)

    def _parts(self, theta, problem):
        return problem.parts(theta).at_rest()

    def _without(self, problem, run, k):
        return problem.drop(run.theta, k)

    def _accelerator(self, problem):
        # Where routes change the objective jumps, and leads nowhere far.
        soft = not problem.hard and problem.n_active == problem.n_experts
        fast = self.trainer.accelerate and soft
        return SampleNewton(problem.sample) if fast else Plain()
