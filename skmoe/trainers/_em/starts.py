"""Where EM starts: short runs of cheap candidates, compared on a sample."""

from dataclasses import replace

import numpy as np
from scipy.special import expit

from ... import initialization
from ..._design import make_design
from ..._network import standardised
from ...experts import LinearExpert
from ...gates import SoftmaxGate
from ...gates._tree import TreeGate
from ...likelihoods import Categorical, Gaussian, Uniform
from ...mixture import log_density, log_prob
from ...routers import DenseRouter
from .acceleration import Plain, Squarem
from .fused_task import FusedTask
from .loop import Run, run_em
from .matching import Matcher, by_name
from .refit import Parts, RefitMixture

# Of n_init starts, the share that is run to the end after the short runs.
FULL_RUNS = 0.25
# Penalty of the linear mixture from which other parts start.
START_ALPHA = 1.0
# Variance floor of the linear mixture from which experts of counts start: without,
# each takes the rows of one count, which is no regression to improve.
COUNT_FLOOR = 0.3
# Share of the rows that a noise component starts with, were all equally likely.
NOISE_SHARE = 0.05
# What a node of a tree starts with of the rows that belong to others.
LEAST_SHARE = 1e-6
# A node learns to split from the rows that belong to it by more than this.
SERVED = 1e-3
ROWS_TO_SPLIT = 20


def n_full_runs(n_init):
    """Starts that are run to the end."""
    return max(1, int(np.ceil(FULL_RUNS * n_init)))


def rank(problem, run):
    """Sound solutions before spikes, then by objective."""
    return not problem.is_spike(run.theta, run.statistics), run.value


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
    if problem.tree.depth > 1:
        return tree_parameters(trainer, task, problem, rng)
    problem, Z, target = _sampled(task, problem)
    makers = _candidates(task, Z, target, problem.weight, rng)
    runs = [
        _run(trainer, problem, problem.start(make()), trainer.short_iter, trainer.tol)
        for make in makers
    ]
    runs.sort(key=lambda run: rank(problem, run), reverse=True)
    runs = runs[: n_full_runs(task.n_init)]
    return [in_canonical_order(problem, run.theta) for run in runs]


def tree_parameters(trainer, task, problem, rng):
    """Start parameters of a tree, best first, after short runs on a sample."""
    rows = initialization.content_sample(*_start_columns(task, problem), problem.weight)
    if rows is not None:
        task, problem = task.on_rows(rows), problem.on_rows(rows)
    runs = [
        _run(trainer, problem, problem.start(resp), trainer.short_iter, trainer.tol)
        for resp in tree_starts(trainer, task, rng)
    ]
    runs.sort(key=lambda run: rank(problem, run), reverse=True)
    return [run.theta for run in runs[: n_full_runs(task.n_init)]]


def _run(trainer, problem, theta, max_iter, tol):
    fast = trainer.accelerate and problem.extrapolates
    accelerator = Squarem() if fast else Plain()
    return run_em(problem, theta, accelerator, max_iter=max_iter, tol=tol)


def _candidates(task, Z, target, weight, rng):
    """Callables that make starting responsibilities."""

    def random():
        return initialization.random_start(Z, target, weight, task.n_experts, rng)

    makers = [
        make
        for _, make in initialization.deterministic_starts(
            Z, target, weight, task.n_experts
        )
    ]
    if task.start is None:
        return makers + [random] * (task.n_init - 1)
    return [makers[task.start] if task.start < len(makers) else random]


def _sampled(task, problem):
    """The problem on the rows that starts are compared on; their columns, targets."""
    columns, target = _start_columns(task, problem)
    rows = initialization.content_sample(columns, target, problem.weight)
    if rows is None:
        return problem, columns(slice(None)), target
    return problem.on_rows(rows), columns(rows), target[rows]


def _start_columns(task, problem):
    """Standardised columns to partition by, for given rows; targets to explain."""
    design = problem.gate if problem.gate.X.shape[1] else problem.expert
    target = problem.target if task.classes is None else task.indicators()

    def columns(rows):
        return standardised(design.X[rows], *design[1:])

    return columns, target


def start_responsibilities(trainer, task, rng):
    """Responsibilities (n, K) from a linear mixture, a gate's own start, or y alone.

    Those of the task come first, if it has any.
    """
    if task.resp is not None:
        return [task.resp]
    if task.n_experts == 1:
        return [np.ones((len(task.weight), 1))]
    if task.has_noise:
        explained = task.without_noise()
        starts = start_responsibilities(trainer, explained, rng)
        return [with_noise(explained, resp) for resp in starts]
    if isinstance(task.gate, TreeGate):
        return tree_starts(trainer, task, rng)
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
    fused = FusedTask(_linear_task(task, views))
    found = _linear_responsibilities(trainer, fused, rng)
    columns, target = _start_columns(fused.task, fused.problem)
    Z = columns(slice(None))
    # Optima of other likelihoods may lie far from those of linear mixtures.
    n, n_more = task.n_experts, task.n_init - len(found)
    found += [
        initialization.random_start(Z, target, task.weight, n, rng)
        if number % 2
        else initialization.scattered_start(Z, target, n, rng)
        for number in range(n_more)
    ]
    return found


def with_noise(task, resp):
    """Responsibilities (n, K + 1) with what a brief fit cannot explain as the last."""
    problem = RefitMixture(task)
    # The gate speaks of noise, too, so it is asked when that has its rows.
    resp = Matcher(problem, by_gate=False)(by_name(task, resp))
    parts = problem.refit(None, resp)
    predictions = problem.predictions(parts)
    densities = log_prob(problem.at_rows(parts), task.y, predictions, task.size)
    with np.errstate(divide="ignore"):
        explained = log_density(np.log(resp), densities) + np.log1p(-NOISE_SHARE)
    noise = Uniform().with_range(task.y, task.likelihood.discrete)
    unexplained = np.log(NOISE_SHARE) + noise.log_height()
    share = expit(unexplained - explained)[:, None]
    return np.hstack([resp * (1.0 - share), share])


def tree_starts(trainer, task, rng):
    """Responsibilities (n, K) of leaves: split from the root down, or flat ones."""
    views = task.numeric_views()
    flat_task = replace(task, gate=task.gate.gate)
    if task.gate.tree.depth == 1:
        return start_responsibilities(trainer, flat_task, rng)
    starts = [split_down(trainer, task, rng)]
    if views is None:
        return starts
    flat = start_responsibilities(trainer, flat_task, rng)
    Z = standardised(*make_design(views[0], task.weight))
    for resp in flat:
        weights = resp * task.weight[:, None]
        mass = np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
        centers = (weights.T @ Z) / mass[:, None]
        starts.append(resp[:, task.gate.tree.arranged(centers)])
    return starts


def split_down(trainer, task, rng):
    """Responsibilities (n, K) of leaves: from the root down, each node splits its rows.

    So leaves that behave alike come to be siblings.
    """
    tree = task.gate.tree
    mass = np.empty((len(task.weight), tree.n_slots))
    for slots, parent in zip(tree.slots, tree.parents, strict=True):
        own = np.ones(len(mass)) if parent < 0 else mass[:, parent]
        mass[:, slots] = own[:, None] * _split(trainer, task, own, slots, rng)
    return mass[:, tree.leaves]


def _split(trainer, task, own, slots, rng):
    """Shares (n, children) of a node whose share of the rows is ``own``."""
    width = slots.stop - slots.start
    part = replace(
        task,
        gate=task.gate.gate,
        # Rules of routing are for the leaves.
        router=DenseRouter(),
        names=task.names[:width],
        experts=task.experts[:width],
        expert_views=task.expert_views[:width],
        weight=task.weight * np.maximum(own, LEAST_SHARE),
        n_init=1,
    )
    rows = np.flatnonzero(own > SERVED)
    if part.weight[rows].sum() < ROWS_TO_SPLIT * width:
        # Too few to learn from: any division of the target will do.
        target = task.indicators()[:, 0]
        return initialization.quantile_partition(target, part.weight, width)
    shares = np.full((len(own), width), 1.0 / width)
    shares[rows] = start_responsibilities(trainer, part.on_rows(rows), rng)[0]
    return shares


def linear_match(task, resp):
    """Columns of ``resp`` (n, K) matched to experts by the columns that they see.

    For parts that cost too much to be fitted to each group.
    """
    if task.shared_view is not None:
        return resp
    expert = LinearExpert(alpha=START_ALPHA)
    expert = expert if task.classes is None else expert.for_classes()
    experts = [expert] * task.n_experts
    return Matcher(RefitMixture(replace(task, experts=experts)))(resp)


def _linear_task(task, views):
    """The task with linear experts and softmax gate on the numeric columns."""
    classes = task.classes is not None
    y = task.y if classes else task.likelihood.predictor(task.y, task.size)
    counts = not classes and task.likelihood.discrete
    floor = COUNT_FLOOR if counts else Gaussian().floor
    expert = LinearExpert(alpha=START_ALPHA)
    expert = expert.for_classes() if classes else expert
    return replace(
        task,
        gate=SoftmaxGate(alpha=START_ALPHA),
        likelihood=Categorical() if classes else Gaussian(floor=floor),
        y=y,
        size=None,
        experts=[expert] * task.n_experts,
        gate_view=views[0],
        expert_views=[views[1]] * task.n_experts,
    )


def _linear_responsibilities(trainer, fused, rng):
    """Responsibilities (n, K) of briefly trained linear mixtures, best start first."""
    return [
        linear_responsibilities(
            fused,
            _run(trainer, fused.problem, theta, trainer.short_iter, trainer.tol).theta,
        )
        for theta in linear_starts(trainer, fused.task, fused, rng)
    ]


def linear_responsibilities(fused, theta):
    """Responsibilities (n, K) of a linear mixture for its training rows."""
    problem = RefitMixture(fused.task)
    run = Run(theta, *fused.problem.evaluate(theta))
    fit = fused.to_fit(run, fused.problem)
    parts = Parts(fit.gate, fit.experts, fit.likelihoods)
    return problem.evaluate(parts)[1].resp
