"""Runs of EM from start to finish, for fused problems and for any others."""

from dataclasses import replace

import numpy as np

from ..._numerics.grams import without_flat
from ...engines import single_threaded_blas
from ...experts._base import is_frozen, traits
from ...routers._base import best_first
from .._task import Report
from .fused_task import FusedTask, hold_others
from .loop import (
    MOST_RENEWALS,
    RENEWAL_STEPS,
    Plain,
    accelerator,
    after_soft_training,
    rank,
    removal,
    run_em,
    run_history,
    settle,
    told,
)
from .matching import Matcher, by_name
from .refit import EStep, Parts, RefitMixture
from .starts import (
    LOOSE_TOL,
    SEARCHED,
    fresh_and_hops,
    hop,
    linear_starts,
    n_full_runs,
    start_points,
    start_responsibilities,
)

# Iterations within the top k after soft training.
SPARSE_ITERATIONS = 20
# Perturbations per start where every M-step is a refit.
REFIT_HOPS = 1.5
# Refits after which the starts of arbitrary parts are compared.
SHORT_REFITS = 3


class Driver:
    """Starts, long runs and the sparse finish of EM, whatever the parts.

    A subclass knows the *problem*, which evaluates and maximises parameters, where to
    start on it, and which fitted parts parameters stand for.
    """

    #: Nats per row from the objective to that on the scale of y.
    log_jacobian = 0.0

    def __init__(self, trainer, task):
        self.trainer, self.task = trainer, task
        self.rng = np.random.RandomState(task.recipe.seed)
        self.iteration = 0

    def fit(self):
        """The best of the runs, as a ``Fit``."""
        run, problem = self.best()
        n_active = task_active(self.task, len(problem.kept))
        finish = self.task.recipe.router.soft_then_sparse and not run.stopped
        if finish and n_active < len(problem.kept):
            soft, sparse = run, problem.with_rule(n_active=n_active)
            run, problem = self._run(sparse, soft.theta, SPARSE_ITERATIONS)
            run = after_soft_training(run, soft)
        theta = run.theta
        settle(problem, run, self.trainer.tol)
        before = None if run.theta is theta else self._parts(theta, problem)
        self._drop_flat(run, problem)
        fit = self._to_fit(run, problem)
        if before is not None:
            fit.before = before[1:]
        return fit

    def best(self):
        """The best of the runs from all starts, and the problem that it is one of."""
        problem, runs = self._problem(training_active(self.task)), []
        for theta in self._starts(problem):
            runs.append(self._run(problem, theta, self._most_iterations(problem)))
            if runs[-1][0].stopped:
                break
        return max(runs, key=lambda r: rank(r[1], r[0]))

    def _run(self, problem, theta, max_iter):
        """Run to convergence, removing experts that lose their rows."""
        run = None
        while True:
            run = run_em(
                problem,
                theta,
                self._accelerator(problem),
                max_iter=max_iter if self._alternates(problem) else 2,
                tol=self.trainer.tol,
                on_iteration=self._report,
                earlier=run,
                renews=True,
            )
            problem = run.problem
            weakest = collapsed_expert(problem, run, self.trainer.min_load)
            if weakest is None or run.stopped:
                return run, problem
            note_removal(self.task, problem, run, weakest, self.trainer.min_load)
            theta = self._without(problem, run, weakest)
            problem = problem.without(weakest)

    def _report(self, iteration, run):
        """Tell of an iteration; true if the run is to stop."""
        self.iteration += 1
        return self.task.report.iteration(
            self.iteration - 1,
            run.value + self.log_jacobian,
            lambda: self._to_fit(run, run.problem),
        )

    def _to_fit(self, run, problem):
        total, jacobian = problem.log_likelihood(run.statistics), self.log_jacobian
        return self.task.made(
            *self._parts(run.theta, problem),
            kept=list(problem.kept),
            log_likelihood=total + jacobian * problem.total_weight,
            lower_bounds=[bound + jacobian for bound in run.bounds],
            load=problem.load(run.statistics),
            converged=run.converged,
            history=run_history(run, self.task.recipe.n_experts, jacobian),
        )

    # -- what a subclass says -----------------------------------------------------

    def _problem(self, n_active):
        """The problem of all experts, of which ``n_active`` train on each row."""
        raise NotImplementedError

    def _starts(self, problem):
        """Parameters to run from, the best first."""
        raise NotImplementedError

    def _parts(self, theta, problem):
        """Fitted gate, experts and likelihoods of parameters."""
        raise NotImplementedError

    def _without(self, problem, run, k):
        """Parameters to go on from without the expert in position ``k``."""
        raise NotImplementedError

    def _most_iterations(self, problem):
        return self.trainer.max_iter

    def _accelerator(self, problem):
        return Plain()

    def _alternates(self, problem):
        """Whether one M-step from known responsibilities is not the optimum."""
        return True

    def _drop_flat(self, run, problem):
        """Leave no coefficient on a column that became flat in an expert's rows."""


class FusedDriver(Driver):
    """EM of linear parts: parameters are a vector, rows are read once per iteration."""

    def __init__(self, trainer, task):
        super().__init__(trainer, task)
        self.fused = FusedTask(task, hard=trainer.hard)
        self.log_jacobian = self.fused.log_jacobian

    def fit(self):
        with single_threaded_blas():
            return super().fit()

    def _problem(self, n_active):
        problem = self.fused.problem.with_rule(n_active=n_active)
        warm = self.task.start.warm
        return problem if warm is None else self.fused.going_on(problem, warm)

    def _starts(self, problem):
        start = self.task.start
        if start.warm is not None:
            return [self.fused.from_fit(start.warm)]
        if problem.n_experts == 1:
            return [problem.start(np.ones((len(problem.weight), 1)))]
        if start.resp is not None:
            return [problem.start(start.resp)]
        # What is best for soft EM need not be best for other rules.
        plain = problem.n_active == problem.n_experts and not problem.hard
        search = plain and start.only is None
        return linear_starts(self.trainer, self.task, problem, self.rng, search=search)

    def _parts(self, theta, problem):
        return self.fused.parts(theta, problem)

    def _without(self, problem, run, k):
        return problem.drop(run.theta, k)

    def _accelerator(self, problem):
        return accelerator(self.trainer, problem)

    def _drop_flat(self, run, problem):
        if not problem.keeps_flat:
            return
        gate, coef = problem.unpack(run.theta)
        own = np.split(coef, problem.n_experts)
        weights = (problem.responsibilities(run) * problem.weight[:, None]).T
        pairs = zip(own, weights, strict=True)
        left = [without_flat(part, problem.expert, weight) for part, weight in pairs]
        run.theta = problem.pack(gate, np.concatenate(left))


class RefitDriver(Driver):
    """EM of any parts: parameters are the fitted parts themselves."""

    def _problem(self, n_active):
        return RefitMixture(self.task, n_active=n_active, hard=self.trainer.hard)

    def _most_iterations(self, problem):
        if has_cheap_refits(self.task.recipe.experts):
            return self.trainer.max_iter
        # Choices of penalties are no refits of the kind that are counted.
        chosen = problem.renews and not problem.costly
        return self.trainer.max_refits + chosen * MOST_RENEWALS * RENEWAL_STEPS

    def _alternates(self, problem):
        return problem.alternates()

    def _parts(self, theta, problem):
        return theta.at_rest()

    def _without(self, problem, run, k):
        left, gate = run.theta.without(k), run.theta.gate.dropped(k)
        if gate is not None and all(goes_on(e) for e in left.experts):
            return left._replace(gate=gate)
        resp = np.maximum(np.delete(run.statistics.resp, k, axis=1), 1e-12)
        resp /= resp.sum(axis=1, keepdims=True)
        return problem.without(k).maximise(None, EStep(resp, 0.0))

    def _starts(self, problem):
        """Parts fitted to starting responsibilities, or those of an earlier fit."""
        warm = self.task.start.warm
        if warm is not None:
            return [self._going_on(problem, warm)]
        task, n_hops = self.task, 0
        if self._searches(problem):
            task, n_hops = fresh_and_hops(task, REFIT_HOPS)
        responsibilities = start_responsibilities(self.trainer, task, self.rng)
        if not self._placed():
            responsibilities = [by_name(task, resp) for resp in responsibilities]
        match = Matcher(problem)

        def start(resp, turn=0):
            own = within_top(self._turned(match(resp), turn), problem.n_active)
            return problem.maximise(None, EStep(own, 0.0))

        def go_on(parts, tol, max_iter=self.trainer.max_iter):
            tol = max(tol, self.trainer.tol) if tol else 0.0
            return run_em(problem, parts, Plain(), max_iter=max_iter, tol=tol)

        turns = self._turns()
        parts = [start(resp, turn) for resp in responsibilities for turn in turns]
        simpler = self._simpler()
        if simpler is not None:
            parts.append(problem.maximise(None, EStep(simpler, 0.0)))
        if len(parts) == 1 or all(traits(e).soft_start for e in task.recipe.experts):
            return parts
        runs = [go_on(own, 0.0, SHORT_REFITS) for own in parts]
        runs.sort(key=lambda run: rank(problem, run), reverse=True)
        if n_hops:
            runs = [go_on(run.theta, LOOSE_TOL) for run in runs[:SEARCHED]]
            points = start_points(task)
            runs.sort(key=lambda run: rank(problem, run), reverse=True)
            runs = hop(problem, runs, start, go_on, n_hops, points, self.rng)
            return [run.theta for run in runs]
        return [run.theta for run in runs[: n_full_runs(task.start.n_init)]]

    def _turns(self):
        """By how many places starting groups are moved on among the experts.

        Which family, or given coefficients, suit which group shows only after a few
        iterations: the edges of first groups cut tails off.
        """
        task = self.task
        free = task.start.resp is None and not task.recipe.gate.follows_paths
        differ = (task.recipe.likelihood.differs or hold_others(task)) and free
        return range(task.recipe.n_experts - task.recipe.has_bare if differ else 1)

    def _turned(self, resp, turn):
        """Responsibilities (n, K) whose groups are moved on by some places."""
        n = resp.shape[1] - self.task.recipe.has_bare
        return np.hstack([np.roll(resp[:, :n], turn, axis=1), resp[:, n:]])

    def _simpler(self):
        """Responsibilities at the optimum of the likelihood's limit, or None."""
        task = self.task
        limit = task.recipe.likelihood.limit
        if limit is None or task.start.resp is not None:
            return None
        nested = replace(with_likelihood(task, limit()), report=Report())
        run, problem = RefitDriver(self.trainer, nested).best()
        whole = len(problem.kept) == task.recipe.n_experts
        return run.statistics.resp if whole else None

    def _searches(self, problem):
        """Whether part of the starts are perturbations of the best.

        Where a refit is costly, or starts from what an earlier one left, they are not.
        """
        task = self.task
        linear = all(traits(e).is_linear for e in task.recipe.experts)
        soft = problem.n_active == task.recipe.n_experts and not problem.hard
        numbers = task.rows.numeric_views() is not None
        plain = soft and task.start.only is None and not self._placed()
        return plain and linear and numbers

    def _placed(self):
        """Whether the columns of the starts belong to certain experts already."""
        task = self.task
        return (
            task.start.resp is not None
            or task.recipe.has_bare
            or task.recipe.gate.follows_paths
        )

    def _going_on(self, problem, fit):
        """Parts of an earlier fit, or what one M-step makes of them.

        Parts with other parameters than before are fitted whatever becomes of the
        objective, which need not know of a penalty that has grown.
        """
        task = self.task
        gate = task.recipe.gate.going_on(fit.gate)
        parts = Parts(gate, *fit.objective_parts)
        asked = [task.recipe.gate, *task.recipe.experts, task.recipe.likelihood]
        before = [fit.gate, *fit.experts, fit.likelihoods[0]]
        if [*map(repr, asked)] == [*map(repr, before)]:
            return parts
        _, statistics = problem.evaluate(parts)
        return problem.maximise(parts, statistics)


def goes_on(expert):
    """Whether an expert that is fitted to other rows goes on from what it was."""
    return traits(expert).steps or traits(expert).is_linear


def with_likelihood(task, likelihood):
    """The same task with another likelihood of the same link."""
    experts = [
        e.for_likelihood(likelihood) if traits(e).follows_likelihood else e
        for e in task.recipe.experts
    ]
    return task.with_recipe(likelihood=likelihood, experts=experts)


def within_top(resp, n_active):
    """Responsibilities of the ``n_active`` largest of each row, summing to one."""
    if n_active >= resp.shape[1]:
        return resp
    kept = np.zeros_like(resp)
    best = best_first(resp)[:, :n_active]
    np.put_along_axis(kept, best, np.take_along_axis(resp, best, axis=1), axis=1)
    return kept / kept.sum(axis=1, keepdims=True)


def has_cheap_refits(experts):
    """Whether a refit is a step: frozen experts, and those by Newton steps."""
    if all(is_frozen(expert) for expert in experts):
        return True
    own = [traits(expert) for expert in experts]
    linear = all(e.is_linear or e.is_bare for e in own)
    if all(e.steps or e.is_bare for e in own):
        return True
    return linear and any(e.follows_likelihood or e.is_bare for e in own)


def collapsed_expert(problem, run, min_load):
    """Position of the expert that lost its rows, or None; the last one always stays,
    and so does noise, or zeros, which may have nothing to take."""
    load = problem.load(run.statistics)
    limit = least_load(min_load, len(load))
    load = np.where(problem.stays(), np.inf, load)
    weakest = int(np.argmin(load))
    alone = np.count_nonzero(~problem.stays()) == 1
    # A load that is no number is no small one; such a fit is refused in the end.
    return weakest if load[weakest] < limit and not alone else None


def least_load(min_load, n_experts):
    """Share of the rows below which an expert is removed."""
    return min(min_load, 0.1 / n_experts)


def note_removal(task, problem, run, position, min_load):
    """Record, and tell of, an expert that is removed."""
    least = least_load(min_load, len(problem.kept))
    run.removed.append(removal(task, problem, run, position, least))
    task.report.tell(told(run.removed[-1]))


def task_active(task, n_experts):
    """Experts that stay active per row at prediction."""
    return min(task.recipe.router.n_active(task.recipe.n_experts), n_experts)


def training_active(task):
    """Experts that stay active per row in the main part of the training."""
    sparse = task.recipe.router.sparse_training or task.recipe.router.masks_training
    return task_active(task, task.recipe.n_experts) if sparse else task.recipe.n_experts
