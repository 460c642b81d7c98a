"""Joint training of gate and experts by mini-batches."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from ..._warnings import warn
from ...exceptions import ExpertCollapseWarning
from ...likelihoods import Gaussian
from ...losses import BaseLoss
from .._task import Task, Trainer, check_supported
from .refit import AlternatingRun
from .removal import without_idle
from .revival import idle_names
from .run import GradientRun, State, generator
from .task import GradientTask, Phase, check_gate, is_differentiable
from .validation import (
    EXPECTED,
    Split,
    are_rows,
    is_share,
    makes_sense,
    split_rows,
    splitter_of,
)

# Factor of the learning rates after a share of the steps that follow the warm-up.
SCHEDULES = {
    "constant": lambda rest: 1.0,
    "cosine": lambda rest: 0.5 * (1.0 + np.cos(np.pi * rest)),
    "linear": lambda rest: 1.0 - rest,
    # What falls is known only as training goes on.
    "plateau": lambda rest: 1.0,
}
CHOICES = {
    "objective": ("likelihood", "prediction"),
    "start": ("linear", "random"),
    "schedule": tuple(SCHEDULES),
}


def _counts(value):
    return isinstance(value, numbers.Integral) and value >= 1


def _are_rates(value):
    if isinstance(value, dict):
        named = value.keys() == {"gate", "experts"}
        return named and all(0 < own < np.inf for own in value.values())
    return 0 < value < np.inf


def _is_interval(value):
    return value is None or _counts(value)


def _is_share(value):
    return 0 <= value < 1


def _holds(fits, value):
    """Whether a parameter is as it should be; what is of another kind is not."""
    try:
        return bool(fits(value))
    except (TypeError, ValueError):
        return False


def _is_temperature(value):
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    return len(pair) == 2 and all(t > 0 for t in pair)


RANGES = {
    "batch_size": (_counts, "an integer >= 1"),
    "max_epochs": (_counts, "an integer >= 1"),
    "n_iter_no_change": (_counts, "an integer >= 1"),
    "max_refits": (_counts, "an integer >= 1"),
    "revive": (
        lambda value: value is None or _counts(value),
        "None or an integer >= 1",
    ),
    "min_load": (
        lambda value: value is None or 0 < value < 1,
        "None or a number in (0, 1)",
    ),
    "expert_dropout": (_is_share, "a number in [0, 1)"),
    "validation_fraction": (_is_share, "a number in [0, 1)"),
    "validation": (makes_sense, EXPECTED),
    "warmup": (_is_share, "a number in [0, 1)"),
    "learning_rate": (
        _are_rates,
        'a number > 0, or a dict of two such as {"gate": 0.003, "experts": 0.01}',
    ),
    "clip_norm": (lambda value: value is None or value > 0, "None or a number > 0"),
    "weight_decay": (lambda value: value >= 0, "a number >= 0"),
    "temperature": (_is_temperature, "a number > 0 or a pair of them"),
}
# Characters of a value that messages show.
LONGEST_SHOWN = 120
# Share of the epochs that follow the responsibilities of the linear start.
GUIDED_SHARE = 0.1


class Gradient(Trainer):
    """Adam on the mixture's log-likelihood, gate and experts together.

    For gates and experts that are networks (:class:`~skmoe.gates.SoftmaxGate`,
    :class:`~skmoe.gates.MLPGate`, :class:`~skmoe.experts.LinearExpert`,
    :class:`~skmoe.experts.MLPExpert`), under any router: a batch computes only the
    experts that its rows were routed to.  Experts that are no networks are fitted anew
    ``max_refits`` times, to rows weighted by their responsibilities, and the gate is
    trained by gradient in between.  ``n_jobs`` threads of the mixture share the experts
    of large batches; the answer does not depend on how many there are.

    Parameters
    ----------
    objective : {"likelihood", "prediction"}, default="likelihood"
        Log-likelihood of the mixture, or the squared error (cross-entropy) of the
        combined prediction.
    losses : list of losses, default=()
        Auxiliary losses of :mod:`skmoe.losses`, added to the objective.
    start : {"linear", "random"}, default="linear"
        In the first tenth of the epochs the responsibilities are those of a mixture of
        linear experts, briefly trained by EM; or gate and experts start from random
        weights and find their roles alone.
    learning_rate : float or dict, default=0.01
        Or those of ``{"gate": ..., "experts": ...}``, where they differ.
    batch_size : int, default=128
    max_epochs : int, default=200
    schedule : {"cosine", "constant", "linear", "plateau"}, default="cosine"
        Learning rate over the epochs, after the warm-up: down to zero along a cosine or
        a line, as it is, or halved whenever the loss that training stops by has not
        fallen for a third of ``n_iter_no_change`` epochs.
    warmup : float, default=0.05
        Share of the steps in which the learning rate rises from zero.
    weight_decay : float, default=0.0
        Decoupled decay of weights (AdamW), beside the ``alpha`` of the parts.
    clip_norm : float or None, default=1.0
        Largest norm of a gradient.
    temperature : float or (float, float), default=1.0
        Divides the gate's logits; a pair is annealed from the first to the second.
    expert_dropout : float, default=0.0
        Share of the hidden units of the experts that a batch leaves out.
    early_stopping : bool, default=True
        Keep the epoch with the least loss on held-out rows, and stop when it does not
        fall any more.  Training with all experts stops so too, and that within the
        active ones, where a router has both, begins from its best epoch.
    validation_fraction : float, default=0.1
        Share of the rows that is held out: of each class, and of whole groups where
        ``fit`` is given ``groups``.
    n_iter_no_change : int, default=15
        Epochs without a lower loss before training, or a stage of it, stops.
    max_refits : int, default=5
        Times that experts which are no networks are fitted; the gate is trained for up
        to ``max_epochs`` after each.
    validation : default=None
        What is held out in place of rows that are drawn: a share of them; a splitter of
        scikit-learn, whose last test rows it is, so that ``TimeSeriesSplit()`` holds
        out the latest; a mask (n_samples,) or an array of row numbers; or rows of their
        own, as a tuple (X, y) or (X, y, sample_weight), from which nothing is learned.
    revive : int or None, default=None
        Every so many epochs an expert that serves next to no row is started anew as a
        copy of the busiest one, and the gate parts the rows of that between the two.
        Without, experts that serve no row in the end are told by a warning.
    min_load : float or None, default=None
        An expert that is responsible for a smaller share of the rows in the end (or
        less than a tenth of an equal share) is removed, with a warning;
        ``history_["removed"]`` says who, and the loads there are those of the others.
        ``warm_start`` and ``partial_fit`` go on without it.  For routers that ask the
        gate, outside of trees, and in place of ``revive``.

    References
    ----------
    .. [1] Jacobs, R. A., Jordan, M. I., Nowlan, S. J., Hinton, G. E. (1991). Adaptive
       mixtures of local experts. Neural Computation 3, eq. 1.3.
    .. [2] Loshchilov, I., Hutter, F. (2019). Decoupled weight decay regularization.
       ICLR.
    .. [3] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers. JMLR 23,
       section 2.4 (expert dropout).
    .. [4] Dhariwal, P. et al. (2020). Jukebox: a generative model for music.
       arXiv:2005.00341, section 3.1 (codes that nobody uses are restarted).

    Examples
    --------
    >>> from skmoe.trainers import Gradient
    >>> Gradient(max_epochs=20)
    Gradient(max_epochs=20)
    """

    kind = "gradient"
    # Of trainers that were saved before there was one.
    min_load = None
    starts_anywhere = takes_batches = tunes = True
    limit = "max_epochs"
    likelihoods = Gaussian
    fits_bare = False
    fits_groups, split_by = True, "validation"
    fits_lasso = ()
    # A batch is rows, weighted relative to their mean.
    penalties_see_weight = False

    def __init__(
        self,
        objective: str = "likelihood",
        losses: Sequence[Any] = (),
        start: Any = "linear",
        learning_rate: Any = 0.01,
        batch_size: int = 128,
        max_epochs: int = 200,
        schedule: str = "cosine",
        warmup: float = 0.05,
        weight_decay: float = 0.0,
        clip_norm: float | None = 1.0,
        temperature: float = 1.0,
        expert_dropout: float = 0.0,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 15,
        max_refits: int = 5,
        validation: Any = None,
        revive: int | None = None,
        min_load: float | None = None,
    ) -> None:
        self.objective = objective
        self.losses = losses
        self.start = start
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.temperature = temperature
        self.expert_dropout = expert_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_refits = max_refits
        self.validation = validation
        self.revive = revive
        self.min_load = min_load

    @property
    def splitter(self):
        """What chooses the rows that are held out, if anything but chance does."""
        return splitter_of(self.validation)

    @property
    def judges(self):
        """Rows of their own that are held out, or None."""
        return self.validation if are_rows(self.validation) else None

    @property
    def held_share(self):
        """Share of the rows that is held out where these are drawn."""
        if not self.early_stopping:
            return 0.0
        own = self.validation
        return own if is_share(own) else self.validation_fraction

    @property
    def cv(self):
        """Folds of whole groups, of which one is held out; None for none."""
        share = self.held_share
        return max(2, round(1.0 / share)) if share and self.judges is None else None

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        for name, allowed in CHOICES.items():
            if not _holds(allowed.__contains__, vars(self)[name]):
                self._refuse(name, f"one of {allowed}")
        for name, (fits, expected) in RANGES.items():
            if not _holds(fits, vars(self)[name]):
                self._refuse(name, expected)
        if self.validation is not None and not self.early_stopping:
            self._refuse("early_stopping", "True with validation, which is for it")
        if self.revive is not None and self.min_load is not None:
            self._refuse(
                "min_load", "None with revive, which brings back whom it removes"
            )
        self._check_losses()

    def _check_losses(self):
        losses = self.losses
        listed = isinstance(losses, (list, tuple))
        if not listed or not all(isinstance(loss, BaseLoss) for loss in losses):
            self._refuse(
                "losses",
                "a list of losses of skmoe.losses, such as [LoadBalancingLoss()]",
            )
        for loss in losses:
            loss.check()

    def _check_effect(self, recipe):
        """Raise ``ValueError`` for losses that can never act, and warn of those that
        do not among so many experts."""
        for loss in self.losses:
            found = loss.no_effect(recipe.gate, recipe.router, recipe.n_experts)
            if found is None:
                continue
            said = f"with {found.why}; {found.remedy}."
            if not found.by_size:
                raise ValueError(f"Gradient got {type(loss).__name__} {said}")
            warn(
                f"Gradient got {type(loss).__name__}, which has no effect {said}",
                UserWarning,
            )

    def _refuse(self, name, expected):
        shown = repr(vars(self)[name])
        shown = shown if len(shown) < LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
        raise ValueError(f"Gradient got {name}={shown}, but expected {expected}.")

    def _temperatures(self):
        pair = self.temperature
        return tuple(pair) if isinstance(pair, (tuple, list)) else (pair, pair)

    def fit(self, rows, recipe, start, report):
        """Train the parts of a recipe on rows; returns a ``Fit``."""
        task, state = self._checked(Task(rows, recipe, start, report))
        # The same rows are held out by a run that goes on.
        rng = generator(task, None)
        task, split = split_rows(self, task, rng)
        rng = rng if state is None else generator(task, state)
        if not is_differentiable(task):
            return self._told(AlternatingRun(self, task, split).fit(), task)
        problem = GradientTask(task, self.objective, state, split.n_own)
        # One expert has no role to find; guided epochs would only not stop early.
        guided = self.start == "linear" and state is None and task.recipe.n_experts > 1
        goes_on = state is not None
        run = GradientRun(self, problem, split, rng, state, guided or None, goes_on)
        run.earlier = start.warm.history if goes_on else None
        with run.told():
            run.train()
            return self._told(without_idle(self, run, run.to_fit()), task)

    def _told(self, fit, task):
        """The fit, after a warning of experts that serve nobody."""
        names = [task.recipe.names[k] for k in fit.kept]
        idle = idle_names(names, fit.load, len(task.rows))
        # Who keeps parts as they are knows that new rows may not ask for all of them.
        if idle and not task.recipe.pooled and task.start.freeze is None:
            remedies = [] if self.revive or self._never_revives(task) else ["revive=10"]
            if not (self.revive or self.min_load or self._has_places(task)):
                remedies.append("min_load=0.005")
            if task.recipe.router.gated and not self.losses:
                remedies.append("losses=[LoadBalancingLoss()]")
            remedies.append("fewer experts")
            named = ", ".join(map(repr, idle))
            warn(
                f"Gradient left expert {named} without a row to serve; use "
                f"{' or '.join(remedies)}.",
                ExpertCollapseWarning,
            )
        return fit

    def _never_revives(self, task):
        """Why experts are not started anew, and the remedy; None if they may be."""
        if not is_differentiable(task):
            return "experts that are no networks, which are fitted anew anyway"
        return self._has_places(task)

    def _has_places(self, task):
        """Why experts have places that no other can take, or None if they have not."""
        if task.recipe.gate.follows_paths:
            return "a tree of gates, where experts have places; use a flat mixture"
        if not task.recipe.router.gated:
            return f"router={task.recipe.router!r}, which asks no gate"
        return None

    def fit_batch(self, rows, recipe, start, report):
        """One pass over further rows, from where the last one ended."""
        task, state = self._checked(Task(rows, recipe, start, report))
        if not is_differentiable(task):
            raise ValueError(
                f"partial_fit got experts {task.recipe.experts!r}, which are no "
                "networks; use LinearExpert(fixed=None) or MLPExpert on numeric "
                "columns, or fit."
            )
        problem = GradientTask(task, self.objective, state)
        whole = Split(np.arange(len(task.rows)), None, len(task.rows))
        rng, goes_on = generator(task, state), state is not None
        run = GradientRun(self, problem, whole, rng, state, goes_on=goes_on)
        with run.told():
            run.train_once()
            return run.to_fit()

    def _checked(self, task):
        """The task with a router of its own, and the state to go on from."""
        self.check()
        check_supported(task, self)
        covariance, y = task.recipe.likelihood.covariance, task.rows.y
        if covariance != "diag" and y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(
                f"Gradient got likelihood={task.recipe.likelihood!r}, but it fits a "
                "variance of each output by itself; use covariance='diag', or "
                "trainer='em'."
            )
        check_gate(task)
        self._check_effect(task.recipe)
        for name, asked in (
            ("revive", self._never_revives),
            ("min_load", self._has_places),
        ):
            value = vars(self)[name]
            never = None if value is None else asked(task)
            if never:
                raise ValueError(
                    f"Gradient got {name}={value!r} with {never}; leave {name} out."
                )
        state = _state_of(task.start.warm)
        router = clone(task.recipe.router)
        if state is not None and repr(router) == repr(state.router):
            # What it learned, such as biases, counts on.
            router = copy.deepcopy(state.router)
        return task.with_recipe(router=router), state

    def phase(self, epoch, router, guided=False):
        """Temperature, and whether all experts are active, in an epoch."""
        first, last = self._temperatures()
        share = epoch / max(self.max_epochs - 1, 1)
        guided = guided and epoch < GUIDED_SHARE * self.max_epochs
        return Phase(
            temperature=first * (last / first) ** share,
            dense=guided or epoch < router.soft_share * self.max_epochs,
            guided=guided,
            dropout=self.expert_dropout,
        )

    def rates(self, n_segments):
        """Learning rates (n_segments,) of the gate, and of all other parameters."""
        given = self.learning_rate
        if not isinstance(given, dict):
            return np.full(n_segments, float(given))
        rates = np.full(n_segments, float(given["experts"]))
        rates[0] = given["gate"]
        return rates

    def rate(self, share):
        """Factor of the learning rates after a share of the steps."""
        if share < self.warmup:
            return share / self.warmup
        rest = (share - self.warmup) / (1.0 - self.warmup)
        return SCHEDULES[self.schedule](rest)


def _state_of(fit):
    """State of an earlier fit, or None without one."""
    if fit is not None and not isinstance(fit.state, State):
        raise ValueError(
            "The mixture was fitted by another trainer, from which Gradient cannot go "
            "on; clone the estimator to start afresh."
        )
    return None if fit is None else fit.state
