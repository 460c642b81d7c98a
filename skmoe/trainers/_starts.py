"""Where EM starts: short runs of cheap candidates, compared on a sample."""

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from .. import initialization
from ..experts import LinearExpert
from ..gates import SoftmaxGate
from ..likelihoods import Categorical, Gaussian
from ._acceleration import Plain, Squarem
from ._fused_task import FusedTask
from ._loop import Run, run_em
from ._refit import Parts, RefitMixture

# Of n_init starts, the share that is run to the end after the short runs.
FULL_RUNS = 0.25
# Penalty of the linear mixture from which other parts start.
START_ALPHA = 1.0


def n_full_runs(n_init):
    """Starts that are run to the end."""
    return max(1, int(np.ceil(FULL_RUNS * n_init)))


def is_spike(problem, run):
    """Whether an expert has too few rows per coefficient, or the least variance."""
    mass = problem.load(run.statistics) * problem.total_weight
    few = np.min(mass) < 2 * problem.expert_channels
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


def in_canonical_order(problem, theta):
    """The same mixture with experts ordered by their prediction at the mean row.

    Partitions number their groups by chance, such as the sign of an eigenvector.
    """
    n = problem.n_experts
    parts = problem.unpack(theta)
    center = parts[1].reshape(n, -1, problem.expert_channels)[:, 0, -1]
    order = np.argsort(center, kind="stable")
    return np.concatenate([p.reshape(n, -1)[order].ravel() for p in parts])


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
            Squarem() if problem.extrapolates else Plain(),
            max_iter=trainer.short_iter,
            tol=trainer.tol,
        )
        for make in candidates
    ]
    runs.sort(key=lambda run: (not is_spike(problem, run), run.value), reverse=True)
    return [in_canonical_order(problem, run.theta) for run in runs]


def _start_columns(task, fused):
    """Standardised columns to partition by, and targets to explain."""
    design = fused.gate_design
    if design.X.shape[1] == 0:
        design = fused.expert_design
    Z = (design.X - design.center) * design.inverse_scale
    if task.classes is None:
        return Z, fused.problem.target
    return Z, task.indicators()


def start_responsibilities(trainer, task, rng):
    """Responsibilities (n, K) from a linear mixture, a gate's own start, or y alone."""
    if task.n_experts == 1:
        return [np.ones((len(task.weight), 1))]
    own = getattr(task.gate, "start", None)
    if own is not None:
        resp = own(task.gate_view, task.n_experts, task.weight)
        if resp is not None:
            return [resp]
    views = task.numeric_views()
    if views is None:
        target = task.indicators()
        values = target @ np.sqrt(np.arange(1.0, target.shape[1] + 1))
        return [initialization.quantile_partition(values, task.weight, task.n_experts)]
    found = [
        linear_responsibilities(fused, theta)
        for fused, theta in _linear_mixtures(trainer, task, views, rng)
    ]
    return found[: task.n_init]


def matched(problem, resp):
    """Columns of ``resp`` (n, K) in the order of the experts that explain them best.

    Each kind of expert is fitted to each starting group, and groups are assigned so
    that the total log-likelihood is largest; experts of one kind are interchangeable.
    """
    task = problem.task
    kinds = [_kind(expert) for expert in task.experts]
    if len(set(kinds)) == 1:
        return resp
    fits = {
        kind: problem.group_log_likelihood(kinds.index(kind), resp) for kind in kinds
    }
    # An empty group has no likelihood: it says nothing about who should have it.
    gain = np.clip(np.nan_to_num([fits[kind] for kind in kinds]), -1e12, 1e12)
    return resp[:, linear_sum_assignment(-gain)[1]]


def _kind(expert):
    """Name of an expert's class and parameters, its seed apart."""
    params = expert.get_params(deep=True) if hasattr(expert, "get_params") else {}
    known = {k: v for k, v in params.items() if not k.endswith("random_state")}
    return f"{type(expert).__name__}{sorted(known.items(), key=str)}"


def _linear_mixtures(trainer, task, views, rng):
    """Briefly trained mixtures of linear experts on the numeric columns."""
    classes = task.classes is not None
    expert = LinearExpert(alpha=START_ALPHA)
    expert = expert.for_classes() if classes else expert
    linear = replace(
        task,
        gate=SoftmaxGate(alpha=START_ALPHA),
        likelihood=Categorical() if classes else Gaussian(),
        experts=[expert] * task.n_experts,
        gate_view=views[0],
        expert_views=[views[1]] * task.n_experts,
    )
    fused = FusedTask(linear)
    short = trainer.short_iter
    for theta in linear_starts(trainer, linear, fused, rng):
        run = run_em(fused.problem, theta, Plain(), max_iter=short, tol=trainer.tol)
        yield fused, run.theta


def linear_responsibilities(fused, theta):
    """Responsibilities (n, K) of a linear mixture for its training rows."""
    problem = RefitMixture(fused.task)
    run = Run(theta, *fused.problem.evaluate(theta))
    fit = fused.to_fit(run, range(fused.task.n_experts))
    parts = Parts(fit.gate, fit.experts, fit.likelihoods)
    return problem.evaluate(parts)[1].resp
