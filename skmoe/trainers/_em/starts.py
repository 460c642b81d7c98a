"""Where EM starts: short runs of cheap candidates, compared on a sample."""

from functools import partial

import numpy as np
from scipy.special import softmax

from ..._numerics.design import make_design, n_varying, take_rows
from ..._numerics.products import dense_rows, linear, principal_axes
from ...experts import LinearExpert
from ...experts._base import traits
from ...gates import SoftmaxGate
from ...likelihoods import Categorical, Gaussian
from ...routers import DenseRouter
from .. import _partitions
from .bare import possible_start, with_bare
from .experts import ExpertFits
from .fused_task import FusedTask, hold_others, is_wide
from .loop import accelerator, rank, run_em
from .matching import Matcher
from .refit import RefitMixture

# Of n_init starts, the share that is run to the end after the short runs.
FULL_RUNS = 0.25
# Of n_init starts, the share that is fresh where the best is then perturbed, and how
# many perturbations there are for each.
FRESH, HOPS = 0.5, 1.3
# Classes have many more local maxima.
CLASS_HOPS = 4.0
# Runs that are gone on with before the search.
SEARCHED = 3
# Tolerance of runs whose results are only compared, and of their first stretch.
LOOSE_TOL, FIRST_TOL = 1e-5, 1e-3
# A first stretch that ends further below the best, in nats per unit of weight, is given
# up: what becomes the best was nearer by then on all known answers.
BEHIND = 0.02
# Starts are made on this many rows per expert and column, at least on so many; the
# best of them are compared again on so many times the rows, after a few iterations.
ROWS_TO_START, LEAST_SAMPLE = 40, 2000
GROWTH, AGAIN_ITER = 4, 4
# What one additive expert leaves, beside columns, in the scores of a soft start, and
# beyond how many standard deviations of it a row counts no more.
REST_SHARE, MOST_SPREADS = 0.5, 2.0
# Penalty of the linear mixture from which other parts start.
START_ALPHA = 1.0
# Variance floor of the linear mixture from which experts of counts start: without,
# each takes the rows of one count, which is no regression to improve.
COUNT_FLOOR = 0.3
# What a node of a tree starts with of the rows that belong to others.
LEAST_SHARE = 1e-6
# A node learns to split from the rows that belong to it by more than this.
SERVED = 1e-3
ROWS_TO_SPLIT = 20
# Starts partition rows by their columns, or by as many axes if there are more columns.
START_COLUMNS, START_AXES = 400, 50


def n_full_runs(n_init):
    """Starts that are run to the end."""
    return max(1, int(np.ceil(FULL_RUNS * n_init)))


def in_canonical_order(problem, theta):
    """The same mixture with experts ordered by their prediction at the mean row.

    Partitions number their groups by chance, such as the sign of an eigenvector.
    """
    n = problem.n_experts
    parts = problem.unpack(theta)
    center = parts[1].reshape(n, -1, problem.expert_channels)[:, 0, -1]
    order = np.argsort(center, kind="stable")
    return np.concatenate([p.reshape(n, -1)[order].ravel() for p in parts])


def fresh_and_hops(task, hops):
    """The task with those of its starts that are fresh, and how many hops follow."""
    n_hops = int(hops * (task.start.n_init - 1))
    return task.with_start(n_init=int(np.ceil(FRESH * task.start.n_init))), n_hops


def linear_starts(trainer, task, problem, rng, *, search=False):
    """Start parameters, best first: candidates after short runs on a sample.

    With ``search`` some of ``n_init`` are perturbations of the best.
    """
    whole = problem.with_rule(n_active=task.recipe.n_experts, hard=False)
    columns, target = _start_columns(task, whole)
    samples = _partitions.content_samples(
        columns, target, whole.weight, sample_sizes(whole), task.rows.subjects
    )
    rows, problem, n_hops = samples[0], whole, 0
    if rows is not None:
        problem, task, target = whole.on_rows(rows), task.on_rows(rows), target[rows]
    points = columns(slice(None) if rows is None else rows), target, problem.weight
    if search:
        hops = HOPS if task.rows.classes is None else CLASS_HOPS
        task, n_hops = fresh_and_hops(task, hops)
    if problem.tree.depth > 1:
        makers = [partial(np.asarray, resp) for resp in tree_starts(trainer, task, rng)]
    else:
        makers = _candidates(task, *points, rng)
    differ = hold_others(task)
    starts = [problem.start(resp) for resp in _dealt(task, makers, differ)]
    runs = _short_runs(trainer, problem, starts, halved=rows is not None)
    if n_hops:
        runs = _searched(trainer, problem, runs, n_hops, points, rng)
    n_full = n_full_runs(task.start.n_init)
    if rows is not None:
        more = whole if samples[1] is None else whole.on_rows(samples[1])
        again = [run.theta for run in runs[: n_full + 1]]
        runs = _runs(trainer, more, again, AGAIN_ITER, trainer.tol)
    thetas = [run.theta for run in runs[:n_full]]
    if problem.tree.depth > 1 or differ:
        return thetas
    return [in_canonical_order(problem, theta) for theta in thetas]


def _dealt(task, makers, differ):
    """Starting responsibilities; where experts ``differ``, matched to them, and moved
    on by some places."""
    if not differ:
        return [make() for make in makers]
    match = Matcher(RefitMixture(task), by_gate=False)
    found, turns = [match(make()) for make in makers], range(task.recipe.n_experts)
    return [np.roll(resp, turn, axis=1) for resp in found for turn in turns]


def _short_runs(trainer, problem, starts, *, halved):
    """Runs of a few iterations, best first; half way the worse ones are given up."""
    n_iter = trainer.short_iter
    if halved:
        n_iter = max(1, n_iter // 2)
        runs = _runs(trainer, problem, starts, n_iter, trainer.tol)
        starts = [run.theta for run in runs[: len(runs) // 2 + 1]]
    return _runs(trainer, problem, starts, n_iter, trainer.tol)


def _searched(trainer, problem, runs, n_hops, points, rng):
    """The best of runs from perturbed solutions, and the best before."""

    def go_on(theta, tol):
        return _run(trainer, problem, theta, trainer.max_iter, max(tol, trainer.tol))

    loose = max(LOOSE_TOL, trainer.tol)
    ahead = [run.theta for run in runs[:SEARCHED]]
    runs = _runs(trainer, problem, ahead, trainer.max_iter, loose)
    return hop(problem, runs, problem.start, go_on, n_hops, points, rng)


def hop(problem, runs, start, go_on, n_hops, points, rng):
    """Runs from perturbed copies of the best so far: the best, and the first of before.

    The second one is there in case the first turns out to be a spike at the end.

    Rows are first dealt out anew from each of the runs, from which one step leads to
    the same place nearly always.

    Parameters
    ----------
    problem : LinearMixture or RefitMixture
    runs : list of Run, best first
    start : callable(responsibilities) -> theta
    go_on : callable(theta, tol) -> Run
    n_hops : int
    points : tuple of arrays (n, p), (n, d) and (n,)
        Standardised columns and targets, by which rows are told apart, and weights.
    rng : RandomState
    """
    best = runs[0]
    for run in runs:
        resp = _partitions.drawn(problem.responsibilities(run), *points, rng)
        best = _better(problem, best, start(resp), go_on)
    source, resp = None, None
    for number in range(n_hops - len(runs)):
        if best is not source:
            source, resp = best, problem.responsibilities(best)
        move = _partitions.MOVES[number % len(_partitions.MOVES)]
        theta = start(move(resp, *points, rng))
        best = _better(problem, best, theta, go_on)
    return [best] if best is runs[0] else [best, runs[0]]


def _better(problem, best, theta, go_on):
    """The better one of a run and the run from other parameters."""
    run = go_on(theta, FIRST_TOL)
    if run.value < best.value - BEHIND:
        return best
    run = go_on(run.theta, LOOSE_TOL)
    return max(best, run, key=lambda own: rank(problem, own))


def sample_sizes(problem):
    """Rows of the samples on which starts are made, and the best compared again."""
    channels = max(n_varying(problem.gate), n_varying(problem.expert))
    small = ROWS_TO_START * problem.n_experts * channels
    small = int(np.clip(small, LEAST_SAMPLE, _partitions.SAMPLE_ROWS))
    return small, min(GROWTH * small, _partitions.SAMPLE_ROWS)


def _runs(trainer, problem, thetas, max_iter, tol):
    """Runs from some parameters, best first."""
    runs = [_run(trainer, problem, theta, max_iter, tol) for theta in thetas]
    return sorted(runs, key=lambda run: rank(problem, run), reverse=True)


def _run(trainer, problem, theta, max_iter, tol):
    own = accelerator(trainer, problem)
    return run_em(problem, theta, own, max_iter=max_iter, tol=tol)


def _candidates(task, Z, target, weight, rng):
    """Callables that make starting responsibilities."""

    def random():
        return _partitions.random_start(Z, target, weight, task.recipe.n_experts, rng)

    n, subjects = task.recipe.n_experts, task.rows.subjects
    found = _partitions.deterministic_starts(Z, target, weight, n)
    if task.rows.are_grouped:
        # What tells subjects apart may tell nothing of single rows.
        found = [*_partitions.subject_starts(Z, target, weight, n, subjects), *found]
    makers = [make for _, make in found]
    if task.start.only is None:
        return makers + [random] * (task.start.n_init - 1)
    return [makers[task.start.only] if task.start.only < len(makers) else random]


def _start_columns(task, problem):
    """Standardised columns to partition by, for given rows; targets to explain."""
    # A gate of subjects does not see what differs between their rows.
    by_gate = problem.gate.inverse_scale.any() and not task.rows.are_grouped
    design = problem.gate if by_gate else problem.expert
    values = task.rows.classes is None
    target = problem.target - problem.known if values else task.rows.indicators()
    return start_columns(design, problem.weight), target


def start_columns(design, weight):
    """Callable that maps rows to what they are partitioned by: standardised columns
    with some spread, or, of many, the combinations that vary most."""
    axes, spread = None, design.inverse_scale > 0
    if np.count_nonzero(spread) > START_COLUMNS:
        axes = principal_axes(design, weight, min(START_AXES, len(weight)))

    def columns(rows):
        part = take_rows(design, rows)
        if axes is not None:
            return linear(part, axes)
        Z = dense_rows(part)
        return Z if spread.all() else np.ascontiguousarray(Z[:, spread])

    return columns


def start_points(task):
    """Standardised columns and targets of all rows, by which starts tell them apart."""
    fused = FusedTask(_linear_task(task, task.rows.numeric_views()))
    columns, target = _start_columns(fused.task, fused.problem)
    return columns(slice(None)), target, task.rows.weight


def start_responsibilities(trainer, task, rng):
    """Responsibilities (n, K) from a linear mixture, a gate's own start, or y alone.

    Those of the task come first, if it has any.
    """
    if task.start.resp is not None:
        return [possible_start(task) if task.recipe.has_bare else task.start.resp]
    if task.recipe.n_experts == 1:
        return [np.ones((len(task.rows.weight), 1))]
    if task.recipe.has_bare:
        return bare_starts(trainer, task, rng)
    if task.recipe.gate.follows_paths:
        return tree_starts(trainer, task, rng)
    if all(traits(expert).soft_start for expert in task.recipe.experts):
        return soft_starts(task, rng)
    own = task.recipe.gate.start_responsibilities(
        task.rows.gate_view, task.recipe.n_experts, task.rows.weight
    )
    if own is not None:
        return [own]
    views = task.rows.numeric_views()
    if views is None:
        target = task.rows.indicators()
        values = target @ np.sqrt(np.arange(1.0, target.shape[1] + 1))
        return [
            _partitions.quantile_partition(
                values, task.rows.weight, task.recipe.n_experts
            )
        ]
    fused = FusedTask(_linear_task(task, views))
    found = _linear_responsibilities(trainer, fused, rng)
    columns, target = _start_columns(fused.task, fused.problem)
    Z = columns(slice(None))
    # Optima of other likelihoods may lie far from those of linear mixtures.
    n, n_more = task.recipe.n_experts, task.start.n_init - len(found)
    found += [
        _partitions.random_start(Z, target, task.rows.weight, n, rng)
        if number % 2
        else _partitions.scattered_start(Z, target, n, rng)
        for number in range(n_more)
    ]
    return found


def soft_starts(task, rng):
    """Responsibilities (n, K) near equal shares, which differ along random directions.

    Curves can follow any grouping of few rows, and would: from here all experts begin
    near the one that fits all rows, and part only where the rows ask for it.  They do
    so along the columns, and along what one expert leaves: regimes may differ by their
    answers alone, where the gate's columns are not the experts'.
    """
    view, n_experts = task.rows.expert_views[0], task.recipe.n_experts
    n_starts = task.start.n_init if task.start.only is None else task.start.only + 1
    rest, made = REST_SHARE * _unexplained(task), []
    for _ in range(n_starts):
        scores = view.linear(view.random_slopes(task.rows.weight, n_experts, rng))
        scores += rest @ rng.normal(size=(rest.shape[1], n_experts))
        made.append(softmax(scores, axis=1))
    return made[slice(task.start.only, None)]


def _unexplained(task):
    """What one expert leaves of the target, (n, m), of unit variance, tails cut off."""
    rows = task.rows
    expert = ExpertFits(task).fit(0, np.ones(len(rows.weight)), None)
    prediction = rows.answer_of(expert, rows.expert_views[0], rows.log_prior)
    if rows.classes is not None:
        rest = rows.indicators() - prediction
    else:
        size = 1.0 if rows.size is None else rows.size.reshape(len(rows.y), -1)
        rest = rows.y - size * prediction
    rest = rest - np.average(rest, axis=0, weights=rows.weight)
    spread = np.sqrt(np.average(rest**2, axis=0, weights=rows.weight))
    rest = np.divide(rest, spread, out=np.zeros(rest.shape), where=spread > 0)
    return np.clip(rest, -MOST_SPREADS, MOST_SPREADS) / np.sqrt(rest.shape[1])


def bare_starts(trainer, task, rng):
    """Responsibilities (n, K + 1) where the last component has no expert."""
    bare, discrete = task.recipe.experts[-1], task.recipe.likelihood.discrete
    certain = bare.certain(task.rows.y, discrete)
    rows = np.flatnonzero(~certain)
    explained = task.without_bare()
    if certain.any():
        explained = explained.on_rows(rows)
    density = bare.density(task.rows.y, discrete)
    made = []
    for resp in start_responsibilities(trainer, explained, rng):
        whole = np.zeros((len(certain), task.recipe.n_experts))
        whole[rows] = with_bare(explained, resp, density, bare.start_share)
        whole[certain, -1] = 1.0
        made.append(whole)
    return made


def tree_starts(trainer, task, rng):
    """Responsibilities (n, K) of leaves: split from the root down, or flat ones."""
    views = task.rows.numeric_views()
    flat_task = task.with_recipe(gate=task.recipe.gate.gate)
    if task.recipe.gate.tree.depth == 1:
        return start_responsibilities(trainer, flat_task, rng)
    starts = [split_down(trainer, task, rng)]
    if views is None:
        return starts
    flat = start_responsibilities(trainer, flat_task, rng)
    Z = start_columns(make_design(views[0], task.rows.weight), task.rows.weight)(
        slice(None)
    )
    for resp in flat:
        weights = resp * task.rows.weight[:, None]
        mass = np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
        centers = (weights.T @ Z) / mass[:, None]
        starts.append(resp[:, task.recipe.gate.tree.arranged(centers)])
    return starts


def split_down(trainer, task, rng):
    """Responsibilities (n, K) of leaves: from the root down, each node splits its rows.

    So leaves that behave alike come to be siblings.
    """
    tree = task.recipe.gate.tree
    mass = np.empty((len(task.rows.weight), tree.n_slots))
    for slots, parent in zip(tree.slots, tree.parents, strict=True):
        own = np.ones(len(mass)) if parent < 0 else mass[:, parent]
        mass[:, slots] = own[:, None] * _split(trainer, task, own, slots, rng)
    return mass[:, tree.leaves]


def _split(trainer, task, own, slots, rng):
    """Shares (n, children) of a node whose share of the rows is ``own``."""
    width = slots.stop - slots.start
    flat = task.with_recipe(gate=task.recipe.gate.gate).of_experts(range(width))
    # Rules of routing are for the leaves.
    part = flat.with_recipe(router=DenseRouter()).with_start(n_init=1)
    part = part.with_rows(weight=task.rows.weight * np.maximum(own, LEAST_SHARE))
    rows = np.flatnonzero(own > SERVED)
    if part.rows.weight[rows].sum() < ROWS_TO_SPLIT * width:
        # Too few to learn from: any division of the target will do.
        target = task.rows.indicators()[:, 0]
        return _partitions.quantile_partition(target, part.rows.weight, width)
    shares = np.full((len(own), width), 1.0 / width)
    shares[rows] = start_responsibilities(trainer, part.on_rows(rows), rng)[0]
    return shares


def linear_match(task, resp):
    """Columns of ``resp`` (n, K) matched to experts by the columns that they see.

    For parts that cost too much to be fitted to each group.
    """
    if task.rows.shared_view is not None:
        return resp
    expert = LinearExpert(alpha=START_ALPHA)
    expert = expert if task.rows.classes is None else expert.for_classes()
    experts = [expert] * task.recipe.n_experts
    return Matcher(RefitMixture(task.with_recipe(experts=experts)))(resp)


def _linear_task(task, views):
    """The task with linear experts and softmax gate on the numeric columns."""
    classes = task.rows.classes is not None
    y = (
        task.rows.y
        if classes
        else task.recipe.likelihood.predictor(task.rows.y, task.rows.size)
    )
    counts = not classes and task.recipe.likelihood.discrete
    floor = COUNT_FLOOR if counts else Gaussian().floor
    expert = LinearExpert(alpha=START_ALPHA)
    expert = expert.for_classes() if classes else expert
    same = views[1] is task.rows.shared_view
    recipe = task.with_recipe(
        common=task.recipe.common if same else (),
        gate=SoftmaxGate(alpha=START_ALPHA),
        likelihood=Categorical() if classes else Gaussian(floor=floor),
        experts=[expert] * task.recipe.n_experts,
    )
    linear_task = recipe.with_rows(
        y=y,
        size=None,
        gate_view=views[0],
        expert_views=[views[1]] * task.recipe.n_experts,
    )
    if task.rows.are_grouped and is_wide(linear_task):
        # Of many columns there is no pass over subjects; single rows are a start, too.
        return linear_task.with_rows(groups=None)
    return linear_task


def _linear_responsibilities(trainer, fused, rng):
    """Responsibilities (n, K) of briefly trained linear mixtures, best start first."""
    return [
        fused.problem.responsibilities(
            _run(trainer, fused.problem, theta, trainer.short_iter, trainer.tol)
        )
        for theta in linear_starts(trainer, fused.task, fused.problem, rng)
    ]
