"""What a trainer is given, what it gives back, and what it declares."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._stamp import Stamped
from .._warnings import heard, of_author, of_trainer, tell
from ..engines import run_calls
from ..experts._base import traits
from ..experts._counts import expert_parameters
from ._rows import Rows


@dataclass(frozen=True)
class Recipe:
    """Unfitted parts of one mixture.

    Attributes
    ----------
    gate, router, likelihood : strategy objects
    experts : list of unfitted estimators, length K
    names : list of str, of the experts
    seed : int
    expert_seeds : list of int, one per expert, independent of their order
    n_jobs : int or None
    has_shared : bool, whether the mixture has a shared expert
    pool : PoolTerms or None, what members of a pool cost, where the experts are some
    named : bool, whether the experts have names that the user gave
    common : tuple of int, columns of the experts whose coefficients all share
    """

    gate: Any
    router: Any
    likelihood: Any
    experts: list
    names: list
    seed: int = 0
    expert_seeds: list = field(default_factory=list)
    n_jobs: int | None = None
    has_shared: bool = False
    pool: Any = None
    named: bool = False
    common: tuple = ()

    @property
    def n_experts(self):
        """Number of experts asked for."""
        return len(self.experts)

    @property
    def pooled(self):
        """Whether the experts are members of a pool."""
        return self.pool is not None

    @property
    def has_bare(self):
        """Whether the last component has no expert: noise, or zeros."""
        return traits(self.experts[-1]).is_bare

    def seed_of(self, number):
        """Seed of what is fitted for one expert."""
        return self.expert_seeds[number] if self.expert_seeds else number

    def run_fits(self, function, arguments, done=None):
        """Results of calls that fit experts; a pool's keep their warnings back.

        ``done`` is told the number of each, when its result is there.
        """
        calls = [(function, *own) for own in arguments]
        pairs = run_calls(heard, calls, self.n_jobs, done)
        said = [found for _, found in pairs]
        tell(said, of_author if self.pooled else of_trainer)
        return [result for result, _ in pairs]

    def of_experts(self, kept):
        """The recipe of some of the experts, by number."""
        lists = "names", "experts", "expert_seeds"
        parts = {name: vars(self)[name] for name in lists}
        parts = {k: [own[i] for i in kept] for k, own in parts.items() if own}
        parts["router"] = self.router.of_experts(parts["names"])
        parts["likelihood"] = self.likelihood.of_experts(kept)
        return replace(self, gate=self.gate.only(kept), **parts)

    def fitted_router(self, gate, view, kept=None, weight=None):
        """The router with what it learns from the gate's log-weights of all rows.

        Parameters
        ----------
        gate : fitted gate
        view : what it sees of the rows
        kept : numbers of the experts that are left, or None for all
        weight : (n,) weights of the rows, or None for one each
        """
        names = self.names if kept is None else [self.names[k] for k in kept]
        router = copy.deepcopy(self.router).of_experts(names)
        if not router.learns:
            return router
        return router.fit_rows(gate.predict_log_proba(view), view, weight)


@dataclass(frozen=True)
class Start:
    """Where training starts.

    Attributes
    ----------
    n_init : int, starts that are tried
    only : int or None, the one start to use (members of an average)
    resp : (n, K) responsibilities, or None
    warm : Fit or None, the fit to continue from
    freeze : None, "experts", "gate" or list of names that training leaves alone
    pull : float, penalty of what parameters are off those of ``warm``, in rows
    """

    n_init: int = 1
    only: int | None = None
    resp: np.ndarray | None = None
    warm: Any = None
    freeze: Any = None
    pull: float = 0.0

    @property
    def is_bound(self):
        """Whether parts stay as they were, or near to that."""
        return self.warm is not None and (self.freeze is not None or self.pull > 0)


def _go_on(iteration, bound, make_fit):
    return False


def _mute(what):
    pass


@dataclass(frozen=True)
class Report:
    """What is told of training while it runs.

    Attributes
    ----------
    iteration : callable(iteration, bound, make_fit) -> bool, True asks to stop
    tell : callable(text), what is printed between iterations
    expect : callable(n), how many iterations and steps there will be, at most
    step : callable(what) or None, a step is done that is no iteration, such as the fit
        of an expert to a fold; None where nobody listens
    """

    iteration: Callable = _go_on
    tell: Callable = _mute
    expect: Callable = _mute
    step: Callable | None = None

    def steps(self, names: Sequence[str]) -> Any:
        """What ``run_fits`` tells of fits that are done, by their names, or None."""
        return None if self.step is None else lambda number: self.step(names[number])


@dataclass(frozen=True)
class Task:
    """What a trainer is given, in one."""

    rows: Rows
    recipe: Recipe
    start: Start = field(default_factory=Start)
    report: Report = field(default_factory=Report)

    def with_rows(self, **changes):
        """The same task with other rows, or other weights of them."""
        return replace(self, rows=replace(self.rows, **changes))

    def of_rows(self, rows):
        """The same task on other rows."""
        return replace(self, rows=rows)

    def with_recipe(self, **changes):
        """The same task with other parts."""
        return replace(self, recipe=replace(self.recipe, **changes))

    def with_start(self, **changes):
        """The same task from another start."""
        return replace(self, start=replace(self.start, **changes))

    def on_rows(self, rows):
        """The same task on some of the rows."""
        resp = self.start.resp
        part = replace(self, rows=self.rows.on_rows(rows))
        return part if resp is None else part.with_start(resp=resp[rows])

    def of_experts(self, kept):
        """The same task with some of the experts, by number."""
        rows, recipe = self.rows.of_experts(kept), self.recipe.of_experts(kept)
        return replace(self, rows=rows, recipe=recipe)

    def without_bare(self):
        """The same task without the component that has no expert."""
        return self.of_experts(range(self.recipe.n_experts - 1))

    def going_on(self, fit):
        """The same task from where an earlier fit ended, with the experts it kept."""
        if fit is None:
            return self.with_start(warm=None)
        whole = len(fit.kept) == self.recipe.n_experts
        own = self if whole else self.of_experts(fit.kept)
        return own.with_start(warm=fit)

    def numbered(self, fit):
        """A fit of this task with experts numbered as those first asked for."""
        earlier = self.start.warm
        if earlier is None:
            return fit
        return replace(fit, kept=[earlier.kept[k] for k in fit.kept])

    def made(self, gate, experts, likelihoods, **found):
        """The ``Fit`` of trained parts: all experts are kept, and the router learns
        from the gate, unless ``found`` says otherwise.

        Parameters
        ----------
        gate, experts, likelihoods : fitted parts
        **found : further fields of ``Fit``
        """
        bounds = [float(bound) for bound in found.pop("lower_bounds")]
        found.setdefault("kept", list(range(self.recipe.n_experts)))
        found.setdefault("n_iter", len(bounds))
        found.setdefault("history", {})
        if "router" not in found:
            known = self.rows.gate_rows, found["kept"], self.rows.subjects.weight
            found["router"] = self.recipe.fitted_router(gate, *known)
        found["log_likelihood"] = float(found["log_likelihood"])
        return Fit(gate, experts, likelihoods, lower_bounds=bounds, **found)


@dataclass
class Fit:
    """A fitted mixture.

    Attributes
    ----------
    gate, experts, likelihoods : fitted parts
    kept : numbers of the experts that are left of those asked for
    log_likelihood : float, weighted, over the training rows, on the scale of y
    lower_bounds : penalised objective per unit of weight, per iteration
    load : (K,) share of the rows per expert
    n_iter, converged : int and bool
    history : dict of per-iteration lists
    router : the router with what it learned
    state : what the trainer needs to continue, or None
    before : experts and likelihoods at the maximum of the penalised objective, where
        the fit is without what the penalty put into them; or None
    reasons : why members of a pool that are not kept were left out, by name
    calibration : Calibration of the levels of the mixture's distribution, or None
    """

    gate: Any
    experts: list
    likelihoods: list
    kept: list
    log_likelihood: float
    lower_bounds: list
    load: np.ndarray
    n_iter: int
    converged: bool
    history: dict
    router: Any = None
    state: Any = None
    before: Any = None
    reasons: dict = field(default_factory=dict)
    calibration: Any = None

    @property
    def objective_parts(self):
        """Experts and likelihoods from which the objective can be climbed on."""
        return self.before or (self.experts, self.likelihoods)


def counts_of(rows, fit):
    """Free parameters of the gate, experts and likelihoods of a fit.

    None stands for one that has no count.
    """
    counts = [fit.gate.count(rows.columns_of(rows.gate_view))]
    for number, expert in zip(fit.kept, fit.experts, strict=True):
        columns = rows.columns_of(rows.expert_views[number])
        counts.append(expert_parameters(expert, columns))
    # What all experts have in common counts once.
    counts.append(max(traits(expert).n_common_ for expert in fit.experts))
    return counts + [own.n_parameters_ for own in fit.likelihoods]


class Trainer(Stamped):
    """Base class of trainers.

    A trainer gives ``fit(rows, recipe, start, report)``, which returns a ``Fit``.
    """

    #: Kind by which routers name the trainers whose steps make sense under their rule.
    kind = "em"
    #: Whether ``warm_start`` makes use of an earlier fit.
    continues = True
    #: Whether its fits are independent calls on all rows, which workers may make.
    spreads = False
    #: Whether ``fit`` leaves frozen parts alone, and pulls others to an earlier fit;
    #: and the parameter that limits how long it trains, if one does.
    tunes, limit = False, None
    #: Whether training starts from given responsibilities, if there are any.
    starts_anywhere = False
    #: Whether experts get rows of unequal weight where the user's are equal.
    weighs_rows = True
    #: Whether penalties stand against the sum of the weights, not the number of rows.
    penalties_see_weight = True
    #: The object that splits the rows, if there is one; metadata are routed to it.
    splitter = None
    #: Number of the folds, or what splits the rows, of a trainer that has some.
    cv = None
    #: Name of the parameter that has what splits the rows.
    split_by = "cv"
    #: (X, y) or (X, y, sample_weight) by which it stops and from which it does not
    #: learn, if they are given.
    judges = None
    #: Whether parts that read sparse columns are given them as they are.
    keeps_sparse = False
    #: Whether training goes on with one batch of rows after another (``fit_batch``).
    takes_batches = False
    #: Whether it fits the first of those to the end, as ``fit`` does.
    fits_first_batch = False
    #: Likelihoods of values that the trainer fits; None for all.
    likelihoods = None
    #: Whether a component without an expert is fitted: noise, or zeros.
    fits_bare = True
    #: Whether routers may mask experts in training by rules of their own.
    fits_masks = True
    #: Whether rows of a group stay together: in one expert, or in one fold.
    fits_groups = False
    #: Whether it keeps the budgets of a pool.
    keeps_budgets = False
    #: Whether they share one expert, so that the gate sees each group once.
    shares_experts = False
    #: Whether experts may have coefficients in common, which are fitted together.
    fits_common = False
    #: Of "gate" and "experts", those whose penalty of absolute values is minded.
    fits_lasso = ("gate", "experts")

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def refused_batches(self, parts, n_members):
        """What it does not learn batch by batch, and the remedy; None if nothing."""
        return

    def refused_state(self, state):
        """Why ``partial_fit`` does not go on from what a fit has kept, and the remedy;
        None if it does."""
        return None

    def brief(self, recipe):
        """The trainer for fits that are only compared, no finer than that takes."""
        return self

    def fit(self, rows, recipe, start, report):
        """Train the parts of a recipe on rows; returns a ``Fit``.

        Parameters
        ----------
        rows : Rows
        recipe : Recipe
        start : Start
        report : Report
        """
        raise NotImplementedError

    def fit_batch(self, rows, recipe, start, report):
        """One pass over further rows, from where the last one ended."""
        raise ValueError(
            f"partial_fit got trainer={self!r}, which needs all rows at once; use "
            "trainer='em' or trainer='gradient'."
        )


def check_supported(task, trainer):
    """Raise ``ValueError`` for parts that the trainer declares not to fit."""
    _check_router(task.recipe, trainer)
    _check_density(task, trainer)
    check_common(task.recipe, trainer)
    gates = [] if "gate" in trainer.fits_lasso else [task.recipe.gate]
    experts = [] if "experts" in trainer.fits_lasso else task.recipe.experts
    for part in [*gates, *map(traits, experts)]:
        if part.has_lasso:
            raise ValueError(
                f"{type(trainer).__name__} got {part!r}, but only EM fits a lasso; use "
                "trainer='em', or l1_ratio=0."
            )


def check_common(recipe, trainer):
    """Raise ``ValueError`` for experts with common coefficients that the trainer does
    not fit together."""
    own = [traits(e) for e in recipe.experts if not traits(e).is_bare]
    asked = [expert for expert in own if expert.shares]
    if not asked:
        return
    common = asked[0].common
    alike = [e.shares and list(e.common) == list(common) for e in own]
    same = len({(e.standardize, e.through_origin) for e in asked}) == 1
    problems = [
        (
            not all(alike),
            f"experts of which {alike.count(True)} of {len(own)} have it",
            "give it to all",
        ),
        (
            not same,
            "experts of other columns, centred or not",
            "give all the same standardize and fit_intercept",
        ),
        (
            not trainer.fits_common,
            f"{type(trainer).__name__}, which fits experts one by one",
            "use trainer='em' or 'hard-em', in a tree of fixed branching",
        ),
        (
            recipe.likelihood.covariance == "full",
            f"likelihood={recipe.likelihood!r}, whose outputs depend on each other",
            "use covariance='diag'",
        ),
    ]
    for wrong, what, remedy in problems:
        if wrong:
            raise ValueError(
                f"The trainer got LinearExpert(common={common!r}) with {what}; "
                f"{remedy}, or common=None."
            )


def _check_density(task, trainer):
    likelihood, allowed = task.recipe.likelihood, trainer.likelihoods
    values = task.rows.classes is None and allowed is not None
    if values and not isinstance(likelihood, allowed):
        raise ValueError(
            f"{type(trainer).__name__} got likelihood={likelihood!r}, but its "
            "objective is that of Gaussian experts; use trainer='em'."
        )
    if task.recipe.has_bare and not trainer.fits_bare:
        raise ValueError(
            f"{type(trainer).__name__} got a component {task.recipe.names[-1]!r}, but "
            "only EM fits one; use trainer='em', or noise=False and "
            "zero_inflation=False."
        )


def _check_router(recipe, trainer):
    router = recipe.router
    if router.overflow == "shared" and not recipe.has_shared:
        raise ValueError(
            f"{type(router).__name__} got overflow='shared', but the mixture has no "
            "shared expert; pass one as shared_expert, or use overflow='next' or "
            "'drop'."
        )
    if router.masks_training and not trainer.fits_masks:
        raise ValueError(
            f"{type(trainer).__name__} got router={router!r}, which routes training "
            "rows in another way than those of predict, whose squared error its "
            "objective minds; use TopKRouter, or objective='likelihood'."
        )
    if trainer.kind not in router.trainers:
        others = " or ".join(repr(name) for name in router.trainers)
        raise ValueError(
            f"{type(trainer).__name__} got router={router!r}, whose rule needs "
            f"trainer={others}; use that trainer, or a router such as TopKRouter."
        )
