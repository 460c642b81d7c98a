"""The one loop of all EM variants."""

import math
from dataclasses import dataclass, field

SMALLEST_STEP = 1e-4
SETTLING_STEPS = 20


@dataclass
class Run:
    """State of a run, and its record.

    Attributes
    ----------
    theta : parameters
    value : penalised objective per unit of weight
    statistics : of the E-step at ``theta``
    bounds : objective per iteration
    loads : expert shares per iteration
    kept : numbers of the experts that are left, per iteration
    restarts : iterations at which the run went on with an expert less
    removed : list of dict, one for each expert that was removed
    soft_bounds : objective of soft training before this run
    rejected : int, moves that would have lowered the objective
    converged : bool
    stopped : bool, a callback asked to stop
    """

    theta: object
    value: float
    statistics: object
    bounds: list = field(default_factory=list)
    loads: list = field(default_factory=list)
    kept: list = field(default_factory=list)
    restarts: list = field(default_factory=list)
    removed: list = field(default_factory=list)
    soft_bounds: list = field(default_factory=list)
    rejected: int = 0
    converged: bool = False
    stopped: bool = False

    def follow(self, earlier):
        """Take over the record of a run that this one goes on from."""
        for name in ("bounds", "loads", "kept", "restarts", "removed"):
            setattr(self, name, vars(earlier)[name])
        self.rejected = earlier.rejected
        self.restarts.append(len(self.bounds))


def run_em(
    problem, theta, accelerator, *, max_iter, tol, on_iteration=None, earlier=None
):
    """Iterate E- and M-steps until the objective stops rising.

    Parameters
    ----------
    problem : object with ``evaluate``, ``maximise``, ``damp`` and ``load``
    theta : start
    accelerator : object with ``propose`` and ``reset``
    max_iter : int
    tol : float
        Converged when two iterations in a row gain less, in nats per unit of weight.
    on_iteration : callable(iteration, run) -> bool
        True stops the run.
    earlier : Run, default=None
        Whose record is gone on with.

    Returns
    -------
    Run
    """
    value, statistics = problem.evaluate(theta)
    run = Run(theta, value, statistics)
    if earlier is not None:
        run.follow(earlier)
    accelerator.reset()
    quiet = 0
    for iteration in range(max_iter):
        gain = _advance(problem, run, accelerator)
        run.bounds.append(run.value)
        run.loads.append(problem.load(run.statistics))
        run.kept.append(problem.kept)
        if on_iteration is not None and on_iteration(iteration, run):
            run.stopped = True
            break
        quiet = quiet + 1 if gain < tol else 0
        if quiet == 2 or gain == 0.0:
            run.converged = True
            break
    return run


def settle(problem, run, tol):
    """Take what a penalty of the experts put into coefficients and spreads out of them.

    No objective is climbed, so the record stays, and so does the gate: each step is an
    M-step of the rest without that share, until the likelihood comes to rest.
    """
    if not problem.biased or run.stopped:
        return
    problem = problem.with_rule(settles=True)
    level = problem.log_likelihood(run.statistics) / problem.total_weight
    for _ in range(SETTLING_STEPS):
        theta = problem.maximise(run.theta, run.statistics)
        value, statistics = problem.evaluate(theta)
        if not math.isfinite(value):
            break
        run.theta, run.statistics, before = theta, statistics, level
        level = problem.log_likelihood(statistics) / problem.total_weight
        if abs(level - before) <= tol:
            break


def _advance(problem, run, accelerator):
    """One accepted move; returns the gain, zero if nothing improves."""
    slack = 1e-12 * max(1.0, abs(run.value))
    mapped = problem.maximise(run.theta, run.statistics)
    for theta in _candidates(problem, run, mapped, accelerator):
        value, statistics = problem.evaluate(theta)
        if value >= run.value - slack:
            gain = max(value - run.value, 0.0)
            run.theta, run.statistics = theta, statistics
            run.value = max(value, run.value)
            return gain
        run.rejected += 1
        accelerator.reset()
    return 0.0


def _candidates(problem, run, mapped, accelerator):
    """The extrapolated move, the plain one, then shorter ones."""
    proposed = accelerator.propose(run.theta, mapped)
    if proposed is not mapped:
        yield proposed
    yield mapped
    step = 0.5
    while step > SMALLEST_STEP:
        shorter = problem.damp(run.theta, mapped, step)
        if shorter is mapped:
            return
        yield shorter
        step /= 2
