"""From parts and rows to fits: the one place that knows what trainers are given."""

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numba.core import event
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._numerics.design import counted_weights
from .._warnings import warn
from ..experts._base import is_frozen, traits
from ..experts._foreign import seed_experts, warn_without_weight
from ..trainers._folds import check_whole, draw_folds
from ..trainers._rows import Rows
from ..trainers._task import Recipe, Report, Start, Task
from .parts import are_named
from .progress import Compiling, Lines, time_left
from .subjects import check_served

# Share of the rows below which a sum of weights is taken for a slip of units.
LIGHT = 0.1


class Given(NamedTuple):
    """Rows as they were given to ``fit``, validated.

    Attributes
    ----------
    table : Table
    target : ValueTarget or ClassTarget
    labels : y as it was given
    y : (n, d) outputs, or (n,) numbers of classes
    weight : (n,) as training counts it
    unit : float, what a weight of one stands for in units of the user's
    groups : Groups of the rows, or None
    """

    table: Any
    target: Any
    labels: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    unit: float
    groups: Any = None

    @property
    def n_groups(self):
        """Groups with rows of positive weight; None where none were given."""
        return None if self.groups is None else self.groups.count(self.weight > 0)


def given_rows(table, target, labels, weight, groups=None):
    """Rows with their target encoded, and their weights as training counts them."""
    weight, unit = counted_weights(weight)
    return Given(table, target, labels, target.encode(labels), weight, unit, groups)


def check_size(parts, n_rows, what="rows"):
    """Raise ``ValueError`` for fewer rows of positive weight than experts, or two."""
    needed = parts.least_rows or len(parts.experts)
    if n_rows < needed or n_rows < 2:
        shown = "n_samples" if what == "rows" else "n_groups"
        raise ValueError(
            f"{parts.asked.owner} got {shown}={n_rows} with positive weight, "
            f"but {needed} experts need at least {max(2, needed)} {what}; "
            f"use fewer experts or more {what}."
        )


def check_given(parts, given):
    """Raise ``ValueError`` for too few rows, or too few groups that share experts."""
    check_size(parts, int(np.count_nonzero(given.weight)))
    if given.groups is not None:
        check_served(parts)
        if parts.trainer.shares_experts:
            check_size(parts, given.n_groups, "groups")


def warn_of_weights(parts, given):
    """Warn of experts that take no weights, and of weights that are little."""
    if parts.asked.pool is None:
        warn_without_weight(weighted_parts(parts, given.weight))
        total = given.weight.sum() * given.unit
        warn_of_light_weights(parts, total, np.count_nonzero(given.weight))


def weighted_parts(parts, weight):
    """What is fitted to rows of unequal weight, by name."""
    unequal = np.ptp(weight[weight > 0]) > 0
    weighs = parts.trainer.weighs_rows or unequal
    found = parts.by_name() if weighs else {}
    model = parts.likelihood.model if parts.likelihood.models_variance else None
    # Its rows have responsibilities for weights under any trainer.
    if model is not None and (weighs or len(parts.experts) > 1):
        found["likelihood"] = model
    return found


def warn_of_light_weights(parts, total, n_rows):
    """Warn where the weights of all rows are little beside the penalties."""
    own = [traits(expert).penalty_rows for expert in parts.experts]
    against = max(parts.gate.penalty_rows, *own) * len(parts.experts)
    light = total < LIGHT * n_rows and LIGHT * total < against
    if light and parts.trainer.penalties_see_weight:
        warn(
            f"sample_weight sums to {total:.3g} for {n_rows} rows, but penalties count "
            "in rows of weight one and so outweigh the data; pass sample_weight * "
            "(len(sample_weight) / sample_weight.sum()) if only ratios matter, or a "
            "smaller alpha.",
            UserWarning,
        )


def make_task(model, parts, given, views, resp=None):
    """What trainers are given, of all rows.

    Parameters
    ----------
    model : mixture, for ``n_init``, ``n_jobs`` and ``random_state``
    parts : ResolvedParts
    given : Given
    views : (gate's, list of each expert's)
    resp : (n, K) responsibilities to start from, or None
    """
    rows = Rows(
        gate_view=views[0],
        expert_views=views[1],
        y=given.y,
        labels=given.labels,
        classes=given.target.classes,
        weight=given.weight,
        weight_unit=given.unit,
        groups=given.groups and given.groups.codes,
    )
    recipe = Recipe(
        **seeded(parts, model.random_state),
        router=parts.router,
        names=parts.names,
        n_jobs=model.n_jobs,
        has_shared=parts.shared is not None,
        pool=parts.asked.pool and parts.asked.pool.terms(),
        named=are_named(parts.asked.experts),
    )
    return Task(rows, recipe, Start(n_init=model.n_init, resp=resp))


def kept_of(parts, n_experts):
    """Numbers of the first ``n_experts`` experts, and of noise or zeros beside them."""
    most = len(parts.experts) - parts.asked.n_bare
    return [*range(min(n_experts, most)), *range(most, len(parts.experts))]


def parts_of_size(parts, n_experts):
    """The parts with so many of the experts; the router serves no more."""
    kept = kept_of(parts, n_experts)
    names = [parts.names[k] for k in kept]
    return parts._replace(
        names=names,
        experts=[parts.experts[k] for k in kept],
        gate=parts.gate.only(kept),
        likelihood=parts.likelihood.of_experts(kept),
        router=parts.router.of_experts(names).resized(len(kept)),
    )


def seeded(parts, random_state, member=0):
    """Copies of what may be random, with the seeds of one member."""
    experts = [e if is_frozen(e) else clone(e) for e in parts.experts]
    # A gate, or a model of the variance, may be as random as an expert.
    others = {"likelihood": clone(parts.likelihood), "gate": clone(parts.gate)}
    seeds = seed_experts(random_state, parts.names, experts, member)
    seed_experts(random_state, [*others], [*others.values()], member)
    return {"experts": experts, "expert_seeds": seeds, **others}


def widths_of(names, views):
    """Number of columns that each part sees, by its name."""
    gate_view, expert_views = views
    widths = {name: v.shape[1] for name, v in zip(names, expert_views, strict=True)}
    return {"the gate": gate_view.shape[1], **widths}


def with_options(task, trainer, size, split, fit_params):
    """The task with exposures or trials, folds, and arguments of the experts' fits.

    ``split`` is None, or a splitter, its arguments, and the parameter that has it.
    """
    folds, groups = None, task.rows.groups
    if split is not None:
        labels, classes = task.rows.labels, task.rows.classes
        splitter, params, name = split
        folds = draw_folds(labels, classes, splitter, 0, params, name)
        if groups is not None:
            whose = f"The trainer got {name}={splitter!r}"
            check_whole(folds, params["groups"], whose)
    if not trainer.shares_experts:
        # Each row may have its own expert.
        groups = None
    return task.with_rows(size=size, folds=folds, fit_params=fit_params, groups=groups)


def training_size(parts, given, sizes):
    """Exposures or trials of rows, for a target that the likelihood can take."""
    likelihood, owner = parts.likelihood, parts.asked.owner
    if parts.asked.classify:
        return None
    if likelihood.link != "identity" and parts.shared is not None:
        raise ValueError(
            f"{owner} got shared_expert with {likelihood!r}, but what a shared expert "
            "leaves is no target of that family; use a Gaussian, Student's t or "
            "Laplace likelihood."
        )
    size = given.target.size(likelihood, owner, len(given.y), **sizes)
    rows = given.weight > 0
    parts.support.check_target(given.y[rows], None if size is None else size[rows])
    return size


def with_shared(task, offset):
    """The task of what a shared expert leaves, which contributes ``offset``."""
    if offset is None:
        return task
    y, labels = task.rows.y, task.rows.labels
    if task.rows.classes is not None:
        return task.with_rows(log_prior=offset)
    left = y - offset
    return task.with_rows(y=left, labels=left.reshape(labels.shape))


def positive_rows(task):
    """Drop rows of weight zero: they must count for nothing anywhere.

    Those of a group are brought together, as passes over them ask for.
    """
    rows, groups = np.flatnonzero(task.rows.weight > 0), task.rows.groups
    if groups is not None:
        rows = rows[np.argsort(groups[rows], kind="stable")]
    whole = np.array_equal(rows, np.arange(len(task.rows)))
    return task if whole else task.on_rows(rows)


def train(model, parts, task, previous, reporter):
    """Fits of all members, with experts numbered as those asked for.

    Parameters
    ----------
    model : mixture, for ``n_members`` and ``random_state``
    parts : ResolvedParts
    task : Task
    previous : list of Fit to continue from, one per member, or None
    reporter : Reporter
    """
    rng = check_random_state(model.random_state)
    fits = []
    for member in range(model.n_members):
        if member:
            # Draws of trainers differ by the seed of the task already.
            own = seeded(parts, model.random_state, member)
            own["expert_seeds"] = task.recipe.expert_seeds
            task = task.with_recipe(**own)
        task = task.with_recipe(seed=int(rng.randint(np.iinfo(np.int32).max)))
        task = task.with_start(only=member if model.n_members > 1 else None)
        own = task.going_on(previous[member] if previous else None)
        own = replace(own, report=reporter.report_of(own))
        fit = parts.trainer.fit(own.rows, own.recipe, own.start, own.report)
        fits.append(own.numbered(fit))
        reporter.end_member()
    return fits


def train_batch(model, parts, task, previous, freeze):
    """Fit by one pass over the rows, from an earlier fit or None."""
    rng = check_random_state(model.random_state)
    task = task.with_recipe(seed=int(rng.randint(2**31 - 1)))
    own = task.with_start(freeze=freeze).going_on(previous)
    fit = parts.trainer.fit_batch(own.rows, own.recipe, own.start, own.report)
    return own.numbered(fit)


def told_by(model):
    """What prints a text if the user asked for it."""

    def tell(text):
        if model.verbose:
            print(f"[{type(model).__name__}] {text}")

    return tell


def has_callbacks(model):
    """Whether somebody set callbacks, for which scikit-learn has this place."""
    return bool(vars(model).get("_skl_callbacks"))


@contextmanager
def told_of_compiling(model):
    """Who waits for a fit and listens hears what the first one spends its time on."""
    if not (model.verbose or has_callbacks(model)):
        yield
        return
    listener = Compiling(type(model).__name__)
    with event.install_listener("numba:compile", listener):
        yield
    listener.end()


class Progress:
    """Steps of the training of one member, as they are told.

    Parameters
    ----------
    reporter : Reporter
    task : Task
    """

    def __init__(self, reporter, task):
        self.reporter, self.task, self.context = reporter, task, None
        self.total, self.done, self.begun = None, 0, time.perf_counter()
        self.begins, self.lines = True, None

    def report(self):
        """What a trainer is given."""
        verbose = self.reporter.model.verbose
        listens = verbose or self.reporter.has_callbacks
        if verbose:
            self.lines = Lines(self.reporter.tell, every=verbose > 1)
        step = self.step if listens else None
        return Report(self.iteration, self.reporter.tell, self.expect, step)

    def expect(self, total):
        """There will be so many steps, at most; None where nobody knows."""
        if self.begins:
            self.begins, self.total = False, total
            self.context = self.reporter.open(total)

    def iteration(self, iteration, bound, make_fit):
        """An iteration is done; true asks to stop."""
        self.expect(None)
        self._say(f"iteration {iteration}: {bound:.6f}")

        def attributes():
            return self.reporter.attributes(self.task.numbered(make_fit()))

        return self._count("iteration", reconstruction_attributes=attributes)

    def step(self, what):
        """A step is done that is no iteration."""
        self.expect(None)
        self._say(what)
        self._count("step")

    def _say(self, text):
        done = self.done + 1
        if self.total is not None and done < self.total:
            left = time_left(time.perf_counter() - self.begun, done, self.total)
            text += f" ({done} of {self.total}, at most {left} left)"
        if self.lines is not None:
            self.lines.tell(text, done, self.total)

    def _count(self, name, **made):
        self.done += 1
        beyond = self.total is not None and self.done > self.total
        if self.context is None or beyond:
            return False
        sub = self.context.subcontext(task_name=name)
        sub.call_on_fit_task_begin(**self.reporter.given)
        return sub.call_on_fit_task_end(**self.reporter.given, **made)


class Reporter:
    """Tells the user, and callbacks, how training comes on.

    Parameters
    ----------
    model : mixture
    X, y : as the user gave them
    attributes : callable
        Fitted attributes of a fit.
    """

    def __init__(self, model, X, y, attributes):
        self.model, self.attributes, self.tell = model, attributes, told_by(model)
        self.given, self.context = {"estimator": model, "X": X, "y": y}, None
        self.has_callbacks, self.n_done = has_callbacks(model), 0
        self.member, self.progress, self.begun = None, None, time.perf_counter()
        if self.has_callbacks and model.n_members > 1:
            self._begin(model.n_members)

    def _begin(self, total):
        self.context = self.model._init_callback_context(max_subtasks=total)
        self.context.call_on_fit_task_begin(**self.given)

    def open(self, total):
        """The context whose tasks are the steps of a member, or None."""
        if not self.has_callbacks:
            return None
        if self.context is None:
            self._begin(total)
            return self.context
        self.member = self.context.subcontext(task_name="member", max_subtasks=total)
        self.member.call_on_fit_task_begin(**self.given)
        return self.member

    def report_of(self, task):
        """What the trainer of a member is given."""
        self.progress = Progress(self, task)
        return self.progress.report()

    def end_member(self):
        """Tell that a member is trained."""
        if self.progress.lines is not None:
            self.progress.lines.end()
        self.n_done += 1
        total = self.model.n_members
        if self.n_done < total:
            left = time_left(time.perf_counter() - self.begun, self.n_done, total)
            self.tell(f"member {self.n_done} of {total} is trained, about {left} left")
        if self.member is not None:
            self.member.call_on_fit_task_end(
                **self.given, reconstruction_attributes=dict
            )
            self.member = None

    def end(self):
        """Tell callbacks that the fit is done."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                **self.given, reconstruction_attributes=dict
            )
