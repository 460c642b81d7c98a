"""EM and hard EM."""

import warnings

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from .. import initialization
from ..exceptions import ExpertCollapseWarning
from ..likelihoods import Categorical, Gaussian
from ._acceleration import Plain, Squarem
from ._fused_task import FusedTask, fits_fused
from ._loop import Run, run_em
from ._refit import EStep, RefitMixture

# Iterations within the top k after soft training.
SPARSE_ITERATIONS = 20
# Of n_init starts, the share that is run to the end after the short runs.
FULL_RUNS = 0.25


class EM(BaseEstimator):
    """Expectation-maximisation of the penalised likelihood.

    Each iteration computes the responsibilities of the experts for every row and
    fits experts and gate to them.  Linear experts under a softmax or constant gate
    are trained by one fused pass over the rows per iteration, with squared
    extrapolation (SQUAREM) that is only accepted when the objective does not fall.
    Any other parts are fitted anew in every iteration.

    Parameters
    ----------
    max_iter : int, default=500
        Iterations of a run of the fused EM.
    max_refits : int, default=20
        Iterations of a run with experts or gates that are fitted anew.
    tol : float, default=1e-6
        Converged when two iterations in a row gain less, in nats per row.
    accelerate : bool, default=True
        Whether the fused EM extrapolates.
    short_iter : int, default=10
        Iterations after which starts are compared.
    min_load : float, default=0.005
        An expert responsible for a smaller share of the rows (or less than a tenth
        of an equal share) is removed, with a warning.

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, 181-214.
    .. [2] Varadhan, R., Roland, C. (2008). Simple and globally convergent methods
       for accelerating the convergence of any EM algorithm. Scand. J. Stat. 35.
    .. [3] Biernacki, C., Celeux, G., Govaert, G. (2003). Choosing starting values
       for the EM algorithm. Comput. Stat. Data Anal. 41 (short runs first).

    Examples
    --------
    >>> from skmoe.trainers import EM
    >>> EM(tol=1e-8)
    EM(tol=1e-08)
    """

    hard = False

    def __init__(
        self,
        max_iter=500,
        max_refits=20,
        tol=1e-6,
        accelerate=True,
        short_iter=10,
        min_load=0.005,
    ):
        self.max_iter = max_iter
        self.max_refits = max_refits
        self.tol = tol
        self.accelerate = accelerate
        self.short_iter = short_iter
        self.min_load = min_load

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        for name in ("max_iter", "max_refits", "short_iter"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"{type(self).__name__} got {name}={value!r}, but expected an "
                    "integer >= 1."
                )
        for name, top in (("tol", np.inf), ("min_load", 1.0)):
            value = getattr(self, name)
            if not 0 <= value < top:
                raise ValueError(
                    f"{type(self).__name__} got {name}={value!r}, but expected a "
                    f"number in [0, {top})."
                )

    def fit_task(self, task):
        """Train the parts of a task; returns a ``Fit``."""
        self.check()
        driver = FusedDriver if fits_fused(task) else RefitDriver
        fit = driver(self, task).fit()
        self._warn(fit, task)
        return fit

    def _warn(self, fit, task):
        lost = sorted(set(range(task.n_experts)) - set(fit.kept))
        if lost:
            names = ", ".join(repr(task.names[k]) for k in lost)
            warnings.warn(
                f"Expert {names} lost its rows (share below min_load) and was "
                "removed; use fewer experts, a larger n_init or a smaller "
                "trainer__min_load.",
                ExpertCollapseWarning,
                stacklevel=6,
            )
        if not fit.converged:
            warnings.warn(
                f"{type(self).__name__} stopped after {fit.n_iter} iterations before "
                f"two of them gained less than tol={self.tol!r} nats per row; raise "
                "max_iter (max_refits for experts that are fitted anew) or tol.",
                ConvergenceWarning,
                stacklevel=6,
            )


class HardEM(EM):
    """Classification EM: each row belongs to the expert with the largest posterior.

    Maximises the classification likelihood; faster with costly experts, since each
    is fitted to its own rows only, and usually less accurate than :class:`EM`.

    Parameters
    ----------
    max_iter, max_refits, tol, accelerate, short_iter, min_load
        As in :class:`EM`; hard assignments are never extrapolated.

    References
    ----------
    .. [1] Celeux, G., Govaert, G. (1992). A classification EM algorithm for
       clustering and two stochastic versions. Comput. Stat. Data Anal. 14.

    Examples
    --------
    >>> from skmoe.trainers import HardEM
    >>> HardEM()
    HardEM()
    """

    hard = True


class FusedDriver:
    """Starts, long runs and the sparse finish of the fused EM."""

    def __init__(self, trainer, task):
        self.trainer, self.task = trainer, task
        self.fused = FusedTask(task, hard=trainer.hard)
        self.rng = np.random.RandomState(task.seed)
        self.iteration = 0

    def fit(self):
        """The best of the runs."""
        trainer, task = self.trainer, self.task
        problem = self.fused.problem.with_rule(n_active=_training_active(task))
        runs = []
        for theta in self._starts(problem):
            runs.append(self._long_run(problem, theta, trainer.max_iter))
            if runs[-1][0].stopped:
                break
        run, kept = max(runs, key=lambda r: self._rank(*r))
        if _sparse_finish(task, len(kept)) and not run.stopped:
            run, kept = self._finish(run, kept)
        return self._to_fit(run, kept)

    def _finish(self, run, kept):
        problem = self.fused.problem.with_rule(
            n_active=task_active(self.task, len(kept)), n_experts=len(kept)
        )
        sparse, still = self._long_run(
            problem, run.theta, SPARSE_ITERATIONS, list(kept)
        )
        # The brief refit is a fixed budget, so that it ends is not a failure.
        sparse.converged = run.converged
        return sparse, still

    def _starts(self, problem):
        if self.task.warm_start is not None:
            return [self.fused.from_fit(self.task.warm_start)]
        if self.task.n_experts == 1:
            return [problem.start(np.ones((len(problem.weight), 1)))]
        group = getattr(self.task.gate, "start", None)
        assert group is None, "gates with their own start are not fused"
        return linear_starts(self.trainer, self.task, self.fused, self.rng)

    def _long_run(self, problem, theta, max_iter, kept=None):
        """Run to convergence, removing experts that lose their rows."""
        kept = list(range(self.task.n_experts)) if kept is None else kept
        while True:
            run = run_em(
                problem,
                theta,
                self._accelerator(),
                max_iter=max_iter,
                tol=self.trainer.tol,
                on_iteration=self._reporter(kept),
            )
            load = problem.load(run.statistics)
            weakest = int(np.argmin(load))
            limit = min(self.trainer.min_load, 0.1 / len(load))
            if load[weakest] >= limit or len(load) == 1 or run.stopped:
                return run, kept
            theta = drop_expert(problem, run.theta, weakest)
            kept = kept[:weakest] + kept[weakest + 1 :]
            problem = problem.with_rule(
                n_experts=len(kept), n_active=min(problem.n_active, len(kept))
            )

    def _accelerator(self):
        extrapolate = self.trainer.accelerate and not self.trainer.hard
        return Squarem() if extrapolate else Plain()

    def _reporter(self, kept):
        def report(iteration, run):
            self.iteration += 1
            return self.task.report(
                self.iteration - 1,
                run.value + self.fused.log_jacobian,
                lambda: self._to_fit(run, kept),
            )

        return report

    def _rank(self, run, kept):
        """Sound solutions before spikes, then by objective."""
        problem = self.fused.problem.with_rule(n_experts=len(kept))
        return not is_spike(problem, run), run.value

    def _to_fit(self, run, kept):
        fit = self.fused.to_fit(run, kept)
        fit.history = {"bound": fit.lower_bounds, "load": list(run.loads)}
        return fit


def is_spike(problem, run):
    """Whether an expert interpolates too few rows, or sits on the variance floor."""
    mass = problem.load(run.statistics) * problem.total_weight
    few = np.min(mass) < problem.expert_channels + 1
    parts = problem.unpack(run.theta)
    if len(parts) < 3:
        return bool(few)
    return bool(few or np.min(parts[2]) <= np.log(problem.floor) + 1e-6)


def drop_expert(problem, theta, k):
    """Parameters without expert ``k``."""
    n = problem.n_experts
    keep = np.arange(n) != k
    parts = [p.reshape(n, -1)[keep] for p in problem.unpack(theta)]
    return np.concatenate([p.ravel() for p in parts])


def linear_starts(trainer, task, fused, rng):
    """Start parameters, best first: candidates after short runs on a sample."""
    problem = fused.problem.with_rule(n_active=task.n_experts, hard=False)
    Z, target = _start_columns(task, fused)
    rows = initialization.content_sample(Z, target, problem.weight)
    if rows is not None:
        Z, target, problem = Z[rows], target[rows], problem.on_rows(rows)
    makers = initialization.deterministic_starts(
        Z, target, problem.weight, task.n_experts
    )
    candidates = [make for _, make in makers]
    n_random = max(task.n_init - 1, 0)
    if task.start is not None:
        n_random = max(0, task.start + 1 - len(candidates))
    candidates += [
        lambda: initialization.random_start(
            Z, target, problem.weight, task.n_experts, rng
        )
    ] * n_random
    if task.start is not None:
        candidates = [candidates[task.start]]
    runs = [
        run_em(
            problem,
            problem.start(make()),
            Squarem(),
            max_iter=trainer.short_iter,
            tol=trainer.tol,
        )
        for make in candidates
    ]
    runs.sort(key=lambda run: (not is_spike(problem, run), run.value), reverse=True)
    n_full = max(1, int(np.ceil(FULL_RUNS * task.n_init)))
    return [run.theta for run in runs[:n_full]]


def _start_columns(task, fused):
    """Standardised columns to partition by, and targets to explain."""
    design = fused.gate_design
    if design.X.shape[1] == 0:
        design = fused.expert_design
    Z = (design.X - design.center) * design.inverse_scale
    if task.classes is None:
        return Z, fused.problem.target
    return Z, task.indicators()


def task_active(task, n_experts):
    """Experts that stay active per row at prediction."""
    return min(task.router.n_active(task.n_experts), n_experts)


def _training_active(task):
    """Experts that stay active per row in the main part of the training."""
    sparse = getattr(task.router, "training", None) == "sparse"
    return task_active(task, task.n_experts) if sparse else task.n_experts


def _sparse_finish(task, n_experts):
    soft = getattr(task.router, "training", None) == "soft-then-sparse"
    return soft and task_active(task, n_experts) < n_experts


class RefitDriver:
    """Starts, runs and the sparse finish when parts are fitted anew."""

    def __init__(self, trainer, task):
        self.trainer, self.task = trainer, task
        self.rng = np.random.RandomState(task.seed)
        self.iteration = 0

    def fit(self):
        """The best of the runs."""
        task = self.task
        problem = RefitMixture(
            task, n_active=_training_active(task), hard=self.trainer.hard
        )
        runs = []
        for start in self._starts(problem):
            runs.append(self._run(problem, start, self.trainer.max_refits))
            if runs[-1][0].stopped:
                break
        run, problem = max(runs, key=lambda r: r[0].value)
        if _sparse_finish(task, len(problem.kept)) and not run.stopped:
            run, problem = self._finish(run, problem)
        fit = problem.to_fit(run)
        fit.history = {"bound": fit.lower_bounds, "load": list(run.loads)}
        return fit

    def _finish(self, run, problem):
        sparse = problem.with_rule(
            n_active=task_active(self.task, len(problem.kept))
        )
        finished, problem = self._run(sparse, run.theta, SPARSE_ITERATIONS)
        finished.converged = run.converged
        return finished, problem

    def _starts(self, problem):
        """Parts fitted to starting responsibilities, or those of an earlier fit."""
        warm = self.task.warm_start
        if warm is not None:
            from ._refit import Parts

            return [Parts(warm.gate, warm.experts, warm.likelihoods)]
        return [
            problem.maximise(None, EStep(resp, 0.0))
            for resp in start_responsibilities(self.trainer, self.task, self.rng)
        ]

    def _run(self, problem, parts, max_iter):
        while True:
            run = run_em(
                problem,
                parts,
                Plain(),
                max_iter=max_iter if len(problem.kept) > 1 else 2,
                tol=self.trainer.tol,
                on_iteration=self._reporter(problem),
            )
            load = problem.load(run.statistics)
            weakest = int(np.argmin(load))
            limit = min(self.trainer.min_load, 0.1 / len(load))
            if load[weakest] >= limit or len(load) == 1 or run.stopped:
                return run, problem
            problem = problem.without(weakest)
            resp = np.delete(run.statistics.resp, weakest, axis=1)
            resp = np.maximum(resp, 1e-12)
            resp /= resp.sum(axis=1, keepdims=True)
            parts = problem.maximise(None, EStep(resp, 0.0))

    def _reporter(self, problem):
        def report(iteration, run):
            self.iteration += 1
            return self.task.report(
                self.iteration - 1, run.value, lambda: problem.to_fit(run)
            )

        return report


def start_responsibilities(trainer, task, rng):
    """Responsibilities (n, K) from a linear mixture, a gate's own start, or y alone."""
    if task.n_experts == 1:
        return [np.ones((len(task.weight), 1))]
    own = getattr(task.gate, "start", None)
    if own is not None:
        resp = own(task.gate_view, task.n_experts, task.weight)
        if resp is not None:
            return [resp]
    view = task.numeric_view()
    if view is None:
        target = task.indicators()
        values = target @ np.sqrt(np.arange(1.0, target.shape[1] + 1))
        return [
            initialization.quantile_partition(values, task.weight, task.n_experts)
        ]
    return [
        linear_responsibilities(fused, theta)
        for fused, theta in _linear_mixtures(trainer, task, view, rng)
    ]


def _linear_mixtures(trainer, task, view, rng):
    """Briefly trained mixtures of linear experts on the numeric columns."""
    from dataclasses import replace

    from ..experts import LinearExpert
    from ..gates import SoftmaxGate

    classes = task.classes is not None
    expert = LinearExpert(alpha=1.0)
    expert = expert.for_classes() if classes else expert
    linear = replace(
        task,
        gate=SoftmaxGate(alpha=1.0),
        likelihood=Categorical() if classes else Gaussian(),
        experts=[expert] * task.n_experts,
        gate_view=view,
        expert_views=[view] * task.n_experts,
    )
    fused = FusedTask(linear)
    short = trainer.short_iter
    for theta in linear_starts(trainer, linear, fused, rng):
        run = run_em(fused.problem, theta, Squarem(), max_iter=short, tol=trainer.tol)
        yield fused, run.theta


def linear_responsibilities(fused, theta):
    """Responsibilities (n, K) of a linear mixture for its training rows."""
    problem = RefitMixture(fused.task)
    run = Run(theta, *fused.problem.evaluate(theta))
    fit = fused.to_fit(run, range(fused.task.n_experts))
    from ._refit import Parts

    parts = Parts(fit.gate, fit.experts, fit.likelihoods)
    return problem.evaluate(parts)[1].resp
