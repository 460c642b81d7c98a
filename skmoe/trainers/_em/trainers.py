"""EM and hard EM."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..._numerics.linalg import use_products
from ..._warnings import warn
from ...exceptions import ExpertCollapseWarning, did_you_mean
from ...experts._base import traits
from .._order import by_load
from .._task import Task, Trainer, check_supported
from .batches import check_columns, keeping, keeps_sums, refused, remembered
from .beginning import begun, gone_on
from .drivers import FusedDriver, RefitDriver, task_active
from .fused_task import fits_fused
from .gathered import GatheredDriver
from .prediction import for_prediction, pays_for_mean
from .streamed import StreamedDriver
from .streamed_parts import PartsDriver
from .streamed_subjects import SubjectDriver
from .tuned import TunedDriver

# Gains in nats per row that end a run, of other parts and of curves.
DEFAULT_TOL, CURVED_TOL = 1e-6, 1e-4
OBJECTIVES = None, "likelihood", "prediction"
# The same for fits that are only compared.
BRIEF_TOL = 1e-5


def streamed_driver(driver, task):
    """Who does for rows that are elsewhere what a driver does for rows in memory."""
    if driver is FusedDriver:
        return SubjectDriver if task.rows.are_grouped else StreamedDriver
    streams = all(traits(expert).streams for expert in task.recipe.experts)
    return PartsDriver if streams else GatheredDriver


class EM(Trainer):
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
    tol : float, default=None
        Converged when two iterations in a row gain less, in nats per row.  ``None`` is
        1e-6, and 1e-4 where curves are fitted, whose last digits take long and
        hardly change a prediction.
    accelerate : bool, default=True
        Whether the fused EM extrapolates.
    short_iter : int, default=10
        Iterations after which starts are compared.
    min_load : float, default=0.005
        An expert responsible for a smaller share of the rows (or less than a tenth
        of an equal share) is removed, with a warning.
    objective : {None, "likelihood", "prediction"}, default=None
        ``None`` is ``"prediction"`` for numbers by additive experts, whose density that
        costs nothing on average, and ``"likelihood"`` for all others, in
        ``partial_fit``, with ``groups``, and where a ``step`` is given.
        ``"prediction"`` ends a regression with a few joint steps of gate and experts
        for the squared error of the combined prediction as well as for the likelihood,
        each of which is half of their objective.  They are kept if the error of the
        training rows falls, and this objective rises, else the fit stays as it was;
        ``history_["prediction"]`` tells.  Linear and additive experts of a Gaussian
        likelihood move, with others the gate alone.  In a classifier nothing changes:
        the log-loss of its probabilities is the likelihood.
    step_exponent : float, default=0.6
        In ``partial_fit``, how fast what came before counts for less: of t batches of
        equal weight the last one has the share ``t ** -step_exponent`` in the sums.  In
        (0.5, 1]; with 1 all rows count alike.
    step : float, default=None
        In ``partial_fit``, the share of what came before that each batch drops, in
        (0, 1], in place of a falling one: a constant step follows rows that drift.  One
        forgets all.  If given, ``fit`` keeps the sums from which ``partial_fit`` goes
        on (about the square of the number of columns, for each expert).

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, 181-214.
    .. [2] Varadhan, R., Roland, C. (2008). Simple and globally convergent methods
       for accelerating the convergence of any EM algorithm. Scand. J. Stat. 35.
    .. [3] Biernacki, C., Celeux, G., Govaert, G. (2003). Choosing starting values
       for the EM algorithm. Comput. Stat. Data Anal. 41 (short runs first).
    .. [4] Cappé, O., Moulines, E. (2009). On-line expectation-maximization algorithm
       for latent data models. J. R. Stat. Soc. B 71, 593-613.

    Examples
    --------
    >>> from skmoe.trainers import EM
    >>> EM(tol=1e-8)
    EM(tol=1e-08)
    """

    hard = False
    starts_anywhere = takes_batches = fits_first_batch = tunes = True
    limit = "max_iter"
    keeps_sparse = True
    fits_groups = shares_experts = fits_common = True

    def __init__(
        self,
        max_iter: int = 500,
        max_refits: int = 20,
        tol: float | None = None,
        accelerate: bool = True,
        short_iter: int = 10,
        min_load: float = 0.005,
        objective: str | None = None,
        step_exponent: float = 0.6,
        step: Any = None,
    ) -> None:
        self.max_iter = max_iter
        self.max_refits = max_refits
        self.tol = tol
        self.accelerate = accelerate
        self.short_iter = short_iter
        self.min_load = min_load
        self.objective = objective
        self.step_exponent = step_exponent
        self.step = step

    @property
    def fits_masks(self):
        """Whether routers may mask experts in training by rules of their own."""
        return self.objective != "prediction"

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        if self.objective not in OBJECTIVES:
            raise ValueError(
                f"{type(self).__name__} got objective={self.objective!r}, but expected "
                "None, 'likelihood' or 'prediction'"
                + did_you_mean(self.objective, OBJECTIVES)
            )
        for name in ("max_iter", "max_refits", "short_iter"):
            value = vars(self)[name]
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(
                    f"{type(self).__name__} got {name}={value!r}, but expected an "
                    "integer >= 1."
                )
        for name, top in (("tol", np.inf), ("min_load", 1.0)):
            value = vars(self)[name]
            if value is None and name == "tol":
                continue
            if not 0 <= value < top:
                raise ValueError(
                    f"{type(self).__name__} got {name}={value!r}, but expected a "
                    f"number in [0, {top})."
                )
        for name, above in (("step", 0.0), ("step_exponent", 0.5)):
            value = vars(self)[name]
            if not (value is None and name == "step") and not above < value <= 1:
                raise ValueError(
                    f"{type(self).__name__} got {name}={value!r}, but expected a "
                    f"number in ({above}, 1]."
                )

    def fit(self, rows, recipe, start, report):
        """Train the parts of a recipe on rows; returns a ``Fit``."""
        self.check()
        task = Task(rows, recipe, start, report)
        check_supported(task, self)
        self._check_groups(rows)
        self._check_common(rows, recipe)
        driver = FusedDriver if fits_fused(task) else RefitDriver
        if rows.streamed:
            driver = streamed_driver(driver, task)
        trainer = self.for_recipe(recipe)
        if rows.are_grouped and self.objective is None:
            # Rows of a group have one expert, and no mean of their own.
            trainer.objective = "likelihood"
        if start.is_bound:
            driver, trainer.objective = TunedDriver, self.objective
        fit = driver(trainer, task).fit()
        if trainer.objective == "prediction" and not rows.streamed:
            n_active = task_active(task, len(fit.kept))
            fit = for_prediction(trainer, task, fit, n_active)
        fit = by_load(task, fit)
        trainer._warn(fit, task)
        if self.step is not None and keeps_sums(trainer, task):
            fit = remembered(trainer, task, fit)
        return fit

    def _check_groups(self, rows):
        """Raise ``ValueError`` for what is about single rows."""
        for name, known in (("objective", "prediction"), ("step", self.step)):
            value = vars(self)[name]
            if rows.are_grouped and value is not None and value == known:
                raise ValueError(
                    f"{type(self).__name__} got groups with {name}={value!r}, which is "
                    f"about single rows; leave out {name}, or groups."
                )

    def _check_common(self, rows, recipe):
        """Raise ``ValueError`` for what does not fit experts together."""
        if not recipe.common:
            return
        view = rows.expert_views[0]
        if self.objective == "prediction":
            raise ValueError(
                f"{type(self).__name__} got objective='prediction' for experts with "
                "common coefficients, which take no steps of their own; use "
                "objective=None, or common=None."
            )
        if use_products(view):
            raise ValueError(
                f"{type(self).__name__} got experts with common coefficients for "
                f"{view.shape[1]} columns that stay sparse, which have no matrix of "
                "products; use fewer columns, or common=None."
            )

    def refused_batches(self, parts, n_members):
        """What has no sums over rows to go on from, and the remedy; None if nothing."""
        if n_members > 1:
            return (
                f"n_members={n_members}, only with one; train the members one by "
                "one and average their predictions"
            )
        return refused(self, parts)

    def refused_state(self, state):
        if state is not None:
            return None
        return "a fit behind it that has kept no sums over its rows; " + keeping(self)

    def fit_batch(self, rows, recipe, start, report):
        """A fit to the first rows, then one step with each batch."""
        self.check()
        task, trainer = Task(rows, recipe, start, report), self.for_recipe(recipe)
        # The other objective, unless it was asked for and refused, needs all rows.
        trainer.objective = "likelihood"
        check_supported(task, self)
        check_columns(task)
        if start.warm is not None:
            return gone_on(trainer, task)
        if start.freeze is not None:
            raise ValueError(
                f"partial_fit got freeze={start.freeze!r} in the first call, before "
                "which there is nothing to keep; leave it out there."
            )
        return begun(trainer, task, trainer.fit(rows, recipe, start, report))

    def for_recipe(self, recipe):
        """The trainer with what it leaves to the parts: ``tol`` and ``objective``."""
        trainer = copy.copy(self)
        if self.tol is None:
            curved = recipe.gate.steps or any(traits(e).steps for e in recipe.experts)
            trainer.tol = CURVED_TOL if curved else DEFAULT_TOL
        if self.objective is None:
            own = self.step is None and pays_for_mean(recipe)
            trainer.objective = "prediction" if own else "likelihood"
        return trainer

    def brief(self, recipe):
        """The trainer for fits that are only compared."""
        # What else it leaves to the parts depends on the rows, too.
        tol = max(self.for_recipe(recipe).tol, BRIEF_TOL)
        return copy.copy(self).set_params(tol=tol)

    def _warn(self, fit, task):
        lost = sorted(set(range(task.recipe.n_experts)) - set(fit.kept))
        if lost:
            names = ", ".join(repr(task.recipe.names[k]) for k in lost)
            warn(
                f"Expert {names} lost its rows and was removed: n_experts_ says how "
                "many are left; use fewer experts, a larger n_init or a smaller "
                f"{type(self).__name__}(min_load=...).",
                ExpertCollapseWarning,
            )
        if not fit.converged:
            warn(
                f"{type(self).__name__} stopped after {fit.n_iter} iterations before "
                f"two of them gained less than tol={self.tol!r} nats per row; raise "
                "max_iter (max_refits for experts that are fitted anew) or tol.",
                ConvergenceWarning,
            )


class HardEM(EM):
    """Classification EM: each row belongs to the expert with the largest posterior.

    Maximises the classification likelihood; faster with costly experts, since each
    is fitted to its own rows only, and usually less accurate than :class:`EM`.

    Parameters
    ----------
    max_iter, max_refits, tol, accelerate, short_iter, min_load, objective, \
step_exponent, step
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
