"""The one loop of all EM variants: its runs, their extrapolation, and their record."""

import math
from dataclasses import dataclass, field

import numpy as np

SMALLEST_STEP = 1e-4
SETTLING_STEPS = 20
# The first iteration after which penalties are chosen anew, every how many it happens
# then, and how often at most; and where each iteration is costly.
FIRST_RENEWAL, RENEWAL_STEPS, MOST_RENEWALS, FEW_RENEWALS = 4, 3, 15, 4
# First bound of the step length, and the factor by which the bound moves.
FIRST_LIMIT = 4.0
LIMIT_FACTOR = 2.0
# Rounding errors grow with the square of the length.
LAST_LIMIT = 64.0


@dataclass
class Run:
    """State of a run, and its record.

    Attributes
    ----------
    problem : with the penalties as they are at last
    theta : parameters
    value : penalised objective per unit of weight
    statistics : of the E-step at ``theta``
    bounds : objective per iteration
    loads : expert shares per iteration
    kept : numbers of the experts that are left, per iteration
    restarts : iterations at which the run went on with an expert less
    removed : list of dict, one for each expert that was removed
    soft_bounds : objective of soft training before this run
    renewed : iterations after which penalties were chosen anew
    rejected : int, moves that would have lowered the objective
    converged : bool
    stopped : bool, a callback asked to stop
    """

    problem: object
    theta: object
    value: float
    statistics: object
    bounds: list = field(default_factory=list)
    loads: list = field(default_factory=list)
    kept: list = field(default_factory=list)
    restarts: list = field(default_factory=list)
    removed: list = field(default_factory=list)
    soft_bounds: list = field(default_factory=list)
    renewed: list = field(default_factory=list)
    rejected: int = 0
    converged: bool = False
    stopped: bool = False

    def follow(self, earlier):
        """Take over the record of a run that this one goes on from."""
        for name in ("bounds", "loads", "kept", "restarts", "removed", "renewed"):
            setattr(self, name, vars(earlier)[name])
        self.rejected = earlier.rejected
        self.restarts.append(len(self.bounds))


def rank(problem, run):
    """Sound solutions before spikes, then by objective."""
    return not problem.is_spike(run.theta, run.statistics), run.value


def run_em(
    problem,
    theta,
    accelerator,
    *,
    max_iter,
    tol,
    on_iteration=None,
    earlier=None,
    renews=False,
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
    renews : bool, default=False
        Whether penalties by evidence are chosen anew, or stay.

    Returns
    -------
    Run
    """
    value, statistics = problem.evaluate(theta)
    run = Run(problem, theta, value, statistics)
    if earlier is not None:
        run.follow(earlier)
    accelerator.reset()
    quiet, renewals = 0, Renewals(problem, renews)
    for iteration in range(max_iter):
        gain = _advance(run.problem, run, accelerator)
        run.bounds.append(run.value)
        run.loads.append(problem.load(run.statistics))
        run.kept.append(problem.kept)
        if on_iteration is not None and on_iteration(iteration, run):
            run.stopped = True
            break
        if renewals.due(iteration, gain < tol):
            renewals.take(run)
            accelerator.reset()
            quiet = 0
            continue
        quiet = quiet + 1 if gain < tol else 0
        if quiet == 2 or gain == 0.0:
            run.converged = True
            break
    return run


class Renewals:
    """When penalties are chosen anew by the evidence of the fit as it stands.

    Between two renewals the objective rises; a renewal makes it another one.  After an
    expert was removed they begin anew, as fits without a memory do.
    """

    def __init__(self, problem, wanted):
        most = FEW_RENEWALS if problem.costly else MOST_RENEWALS
        self.left = most if wanted and problem.renews else 0
        dear = problem.sample is not None
        # Where a sample says where steps lead, each leads to the optimum, nearly.
        self.first, self.steps = (1, 1) if dear else (FIRST_RENEWAL, RENEWAL_STEPS)

    def due(self, iteration, quiet):
        """Whether they are after this iteration, in which little was gained or not."""
        regular = iteration >= self.first and iteration % self.steps == 0
        return self.left > 0 and (regular or quiet)

    def take(self, run):
        """Choose the penalties of a run anew, the last time if they hardly move."""
        run.problem, run.theta, moved = run.problem.renewed(run.theta, run.statistics)
        run.value, run.statistics = run.problem.revalued(run.theta, run.statistics)
        run.renewed.append(len(run.bounds))
        self.left = self.left - 1 if moved > run.problem.penalty_rest else 0


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


# -- extrapolation; the loop guards that the objective never falls -----------------


class Plain:
    """No extrapolation: EM as it is."""

    def propose(self, theta, mapped):
        return mapped

    def reset(self):
        """Forget the history."""


class Squarem(Plain):
    """Squared extrapolation over two EM steps, scheme S3 (Varadhan & Roland 2008).

    The step length is bounded, and the bound grows while it is reached and shrinks
    when the loop rejects a proposal.  Without it two equal steps, as a separable
    gate takes them, would be extrapolated by a ratio of rounding errors.
    """

    def __init__(self):
        self._limit = FIRST_LIMIT
        self._previous = None

    def reset(self):
        self._limit = max(self._limit / LIMIT_FACTOR, FIRST_LIMIT)
        self._previous = None

    def propose(self, theta, mapped):
        if self._previous is None:
            self._previous = theta
            return mapped
        first = theta - self._previous
        second = (mapped - theta) - first
        origin, self._previous = self._previous, None
        length = self._bounded(np.linalg.norm(first), np.linalg.norm(second))
        if length <= 1.0:
            return mapped
        return origin + 2 * length * first + length**2 * second

    def _bounded(self, step, curvature):
        if step < self._limit * curvature:
            return step / curvature
        limit = self._limit
        self._limit = min(limit * LIMIT_FACTOR, LAST_LIMIT)
        return limit


def accelerator(trainer, problem):
    """How runs of a fused problem are extrapolated: hard assignments never are."""
    fast = trainer.accelerate and problem.extrapolates and not problem.hard
    return Squarem() if fast else Plain()


# -- what is told of a run: objective, loads, and who was removed on the way --------


def removal(task, problem, run, position, least):
    """Record of an expert that is removed for its small load."""
    return {
        "iteration": len(run.bounds),
        "expert": task.recipe.names[problem.kept[position]],
        "load": float(problem.load(run.statistics)[position]),
        "reason": f"responsible for less than {least:.2g} of the rows (min_load)",
    }


def told(removed):
    """One line about an expert that was removed."""
    return (
        f"after {removed['iteration']} iterations of this run expert "
        f"{removed['expert']!r} is removed, {removed['reason']}"
    )


def after_soft_training(run, soft):
    """A run within the top k, with the record of the one over all experts before it.

    Its objective is another one, so that its bounds begin anew.
    """
    n_before = len(soft.bounds)
    own = [{**r, "iteration": r["iteration"] + n_before} for r in run.removed]
    run.soft_bounds, run.removed = soft.bounds, [*soft.removed, *own]
    run.rejected += soft.rejected
    # A brief refit is a fixed budget, so that it ends is not a failure.
    run.converged = soft.converged
    return run


def run_history(run, n_experts, jacobian=0.0):
    """Records per iteration, restarts, removals, and how many moves were refused.

    Parameters
    ----------
    run : Run
    n_experts : int
        Experts asked for: loads are zero for those that are gone.
    jacobian : float
        Nats per row from the objective to that on the scale of y.
    """
    loads = []
    for load, kept in zip(run.loads, run.kept, strict=True):
        loads.append(np.zeros(n_experts))
        loads[-1][kept] = load
    history = {
        "bound": [float(bound + jacobian) for bound in run.bounds],
        "load": loads,
        "restart": list(run.restarts),
        "removed": list(run.removed),
        "renewed": list(run.renewed),
        "rejected": run.rejected,
    }
    if run.soft_bounds:
        history["soft_bound"] = [float(bound + jacobian) for bound in run.soft_bounds]
    return history
