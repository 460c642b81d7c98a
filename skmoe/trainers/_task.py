"""What a trainer is given, and what it returns."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from .._numerics.design import stays_sparse
from .._numerics.rank import Columns
from .._sklearn import safe_indexing, taken_params
from .._stamp import Stamped
from .._warnings import heard, tell
from ..engines import run_calls
from ..experts import NoiseExpert
from ..experts._counts import expert_parameters
from ..experts._pool import of_author
from ..gates._tree import TreeGate
from ..likelihoods import Gaussian


class Trainer(Stamped):
    """Base class of trainers: what a mixture asks of one besides ``fit_task``."""

    #: Whether ``warm_start`` makes use of an earlier fit.
    continues = True

    #: Whether training starts from the responsibilities of the task, if it has any.
    starts_anywhere = False

    #: Whether experts get rows of unequal weight where the user's are equal.
    weighs_rows = True

    #: Whether penalties stand against the sum of the weights, not the number of rows.
    penalties_see_weight = True

    #: The object that splits the rows, if there is one; metadata are routed to it.
    splitter = None

    #: Whether parts that read sparse columns are given them as they are.
    keeps_sparse = False


@dataclass
class Task:
    """Data and unfitted parts of one mixture.

    Attributes
    ----------
    gate, router, likelihood : strategy objects
    names : list of str
    experts : list of unfitted estimators, length K
    gate_view : what the gate sees of X
    expert_views : list of what each expert sees; the same object where they share
    y : (n, d) float outputs, or (n,) integer class codes
    labels : y as foreign experts are given it
    classes : class labels, or None in regression
    weight : (n,) row weights
    n_init : int
    n_jobs : int or None
    seed : int
    expert_seeds : list of int, one per expert, independent of their order
    fit_params : list of dict, routed to each expert's fit
    folds : list of (training rows, test rows), or None for the trainer's own
    report : callable(iteration, bound, make_fit) -> bool, True asks to stop
    tell : callable(text), what is printed between iterations
    warm_start : Fit or None, the fit to continue from
    start : int or None, the one start to use (members of an average)
    resp : (n, K) responsibilities to start from, or None
    freeze : None, "experts", "gate" or list of names that training leaves alone
    has_shared : bool, whether the mixture has a shared expert
    offset : (n, C) log-probabilities of the shared expert that the experts add to, or
        None; in regression ``y`` is what the shared expert leaves.
    size : (n,) exposures or numbers of trials that y counts in, or None
    weight_unit : float, what a weight of one stands for in units of the user's
    pooled : bool, whether the experts are members of a pool
    named : bool, whether the experts have names that the user gave
    columns : dict, what is known of the views, by their number
    """

    gate: Any
    router: Any
    likelihood: Any
    names: list
    experts: list
    gate_view: Any
    expert_views: list
    y: np.ndarray
    labels: np.ndarray
    classes: np.ndarray | None
    weight: np.ndarray
    n_init: int = 1
    n_jobs: int | None = None
    seed: int = 0
    expert_seeds: list = field(default_factory=list)
    fit_params: list = field(default_factory=list)
    folds: list | None = None
    report: Callable = lambda iteration, bound, make_fit: False
    tell: Callable = lambda text: None
    warm_start: Any = None
    start: int | None = None
    resp: np.ndarray | None = None
    freeze: Any = None
    has_shared: bool = False
    offset: np.ndarray | None = None
    size: np.ndarray | None = None
    weight_unit: float = 1.0
    pooled: bool = False
    named: bool = False
    columns: dict = field(default_factory=dict)

    def columns_of(self, view):
        """What a part sees of X, for the count of its parameters; the same each time.

        Views are kept by what they are, and stay alive with it.
        """
        known = self.columns.get(id(view))
        if known is None or known.X is not view:
            known = self.columns[id(view)] = Columns(view, self.weight)
        return known

    @property
    def n_experts(self):
        """Number of experts asked for."""
        return len(self.experts)

    def seed_of(self, number):
        """Seed of what is fitted for one expert."""
        return self.expert_seeds[number] if self.expert_seeds else number

    def run_fits(self, function, arguments):
        """Results of calls that fit experts; a pool's keep their warnings back."""
        calls = [(function, *own) for own in arguments]
        pairs = run_calls(heard, calls, self.n_jobs)
        said = [found for _, found in pairs]
        tell(said, of_author) if self.pooled else tell(said)
        return [result for result, _ in pairs]

    @property
    def has_noise(self):
        """Whether the last expert is the noise component."""
        return isinstance(self.experts[-1], NoiseExpert)

    def without_noise(self):
        """The same task without the noise component."""
        return self.of_experts(range(self.n_experts - 1))

    def of_experts(self, kept):
        """The same task with some of the experts, by number."""
        lists = "names", "experts", "expert_views", "expert_seeds", "fit_params"
        parts = {name: getattr(self, name) for name in lists}
        parts = {k: [own[i] for i in kept] for k, own in parts.items() if own}
        gate = self.gate
        if isinstance(gate, TreeGate):
            # A root of its own is there for the last leaf, noise.
            kind = type(gate) if self.n_experts - 1 in kept else TreeGate
            gate = kind(gate.gate, gate.tree.only(kept))
        return replace(self, gate=gate, **parts)

    def going_on(self, fit):
        """The same task from where an earlier fit ended, with the experts it kept."""
        if fit is None:
            return replace(self, warm_start=None)
        own = self if len(fit.kept) == self.n_experts else self.of_experts(fit.kept)
        return replace(own, warm_start=fit)

    def numbered(self, fit):
        """A fit of this task with experts numbered as those first asked for."""
        earlier = self.warm_start
        if earlier is None:
            return fit
        return replace(fit, kept=[earlier.kept[k] for k in fit.kept])

    @property
    def shared_view(self):
        """The one view of all experts, or None if they see different columns."""
        first = self.expert_views[0]
        return first if all(v is first for v in self.expert_views) else None

    def fitted_router(self, log_gate):
        """The router with what it learns from the gate's log-weights of all rows."""
        return copy.deepcopy(self.router).fit(log_gate, X=self.gate_view)

    def on_rows(self, rows):
        """The same task on some of the rows."""
        views = {id(v): v for v in (self.gate_view, *self.expert_views)}
        parts = {key: safe_indexing(view, rows) for key, view in views.items()}
        return replace(
            self,
            gate_view=parts[id(self.gate_view)],
            expert_views=[parts[id(view)] for view in self.expert_views],
            columns={},
            y=self.y[rows],
            labels=self.labels[rows],
            fit_params=[
                taken_params(view, own, rows)
                for view, own in zip(self.expert_views, self.fit_params, strict=False)
            ],
            folds=None if self.folds is None else self._folds_on(rows),
            weight=self.weight[rows],
            resp=None if self.resp is None else self.resp[rows],
            offset=None if self.offset is None else self.offset[rows],
            size=None if self.size is None else self.size[rows],
        )

    def _folds_on(self, rows):
        """The folds in terms of some of the rows; empty ones are dropped."""
        place = np.full(len(self.y), -1)
        place[rows] = np.arange(len(rows))
        folds = [[part[part >= 0] for part in map(place.take, f)] for f in self.folds]
        return [(train, test) for train, test in folds if len(train) and len(test)]

    def numeric_views(self):
        """Float arrays (gate's, experts') to start from; None if there is none."""
        found = [v for v in (self.gate_view, *self.expert_views) if _is_numbers(v)]
        if not found:
            return None
        gate = self.gate_view if _is_numbers(self.gate_view) else found[0]
        experts = self.shared_view if _is_numbers(self.shared_view) else gate
        return gate, experts

    def indicators(self):
        """Targets (n, d): outputs, or class indicators; what a shared expert leaves."""
        if self.classes is None:
            return self.y
        indicators = np.eye(len(self.classes))[self.y]
        return indicators if self.offset is None else indicators - np.exp(self.offset)


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
    n_iter : int
    converged : bool
    history : dict of per-iteration lists
    router : the router with what it learned, or None if it learned nothing
    state : what the trainer needs to continue, or None
    before : experts and likelihoods at the maximum of the penalised objective, where
        those of the fit are without what the penalty put into them; or None
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

    @property
    def objective_parts(self):
        """Experts and likelihoods from which the objective can be climbed on."""
        return self.before or (self.experts, self.likelihoods)


def counts_of(task, fit):
    """Free parameters of the gate, experts and likelihoods of a fit of a task.

    None stands for one that has no count.
    """
    counts = [fit.gate.count(task.columns_of(task.gate_view))]
    for number, expert in zip(fit.kept, fit.experts, strict=True):
        columns = task.columns_of(task.expert_views[number])
        counts.append(expert_parameters(expert, columns))
    return counts + [own.n_parameters_ for own in fit.likelihoods]


def check_gaussian(task, trainer, allowed=Gaussian):
    """Raise ``ValueError`` for densities that only EM can fit."""
    if task.classes is None and not isinstance(task.likelihood, allowed):
        raise ValueError(
            f"{type(trainer).__name__} got likelihood={task.likelihood!r}, but its "
            "objective is that of Gaussian experts; use trainer='em'."
        )
    if task.has_noise:
        raise ValueError(
            f"{type(trainer).__name__} got a noise component, which only EM fits; use "
            "trainer='em', or noise=False."
        )


def check_ridge(parts, trainer):
    """Raise ``ValueError`` for a lasso, which only EM can fit."""
    for part in parts:
        if part.has_lasso:
            raise ValueError(
                f"{type(trainer).__name__} got {part!r}, but only EM fits a lasso; use "
                "trainer='em', or l1_ratio=0."
            )


def is_numeric(view):
    """Whether a view is an array, dense or sparse."""
    return isinstance(view, np.ndarray) or sparse.issparse(view)


def _is_numbers(view):
    """Whether a start can read a view: finite numbers, sparse only where many."""
    if not is_numeric(view) or view.dtype.kind != "f":
        return False
    if sparse.issparse(view):
        return stays_sparse(view) and bool(np.isfinite(view.data).all())
    return bool(np.isfinite(view).all())


def check_router(router, kind, trainer, has_shared=False):
    """Raise ``ValueError`` for a router whose rule the trainer cannot follow."""
    if router.overflow == "shared" and not has_shared:
        raise ValueError(
            f"{type(router).__name__} got overflow='shared', but the mixture has no "
            "shared expert; pass one as shared_expert, or use overflow='next' or "
            "'drop'."
        )
    if kind not in router.trainers:
        others = " or ".join(repr(name) for name in router.trainers)
        raise ValueError(
            f"{type(trainer).__name__} got router={router!r}, whose rule needs "
            f"trainer={others}; use that trainer, or a router such as TopKRouter."
        )
