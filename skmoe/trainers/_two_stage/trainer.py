"""Two stages: experts first, then the gate on their out-of-fold predictions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from ... import mixture
from ..._warnings import warn
from ...engines import single_threaded_blas
from ...exceptions import did_you_mean
from ...experts._base import traits
from ...likelihoods import Gaussian, HeteroscedasticGaussian
from .._folds import draw_folds, is_splitter, shares_agree
from .._task import Task, Trainer, check_supported
from .._variances import check_variances
from .earning import Grown, PoolGrowth
from .gate_stage import gate_stage, mean_and_error
from .levels import calibrated_levels
from .local_corrections import check_local, corrected_locally
from .out_of_fold import OutOfFold, fitted_to_all

# Rows stay with an expert at least by this share, so that none loses a class.
SMALLEST_SHARE = 1e-3
# Penalties in a row that have to be worse before weaker ones are not tried.
PATIENCE = 2
# Share of the loss that makes it clear.
CLEARLY = 1e-3


class TwoStage(Trainer):
    """Fit the experts once, then the gate on their out-of-fold predictions.

    Each expert predicts every row by a fit that has not seen it, so that one that
    memorises gets no credit.  A gate that is a network minimises the squared error of
    the combined prediction, or the log-loss, together with a correction of each
    expert's answer: so plain averaging, linear stacking and the best single expert are
    special cases.  Other gates, and all under ``objective="likelihood"``, are fitted to
    responsibilities by EM, and the corrections with them.  The penalty of the gate is
    chosen by cross-validation.  Finally the experts are fitted to all rows.

    Parameters
    ----------
    cv : int or splitter, default=5
        Folds of the out-of-fold predictions.  Rows that a splitter never tests, such
        as the first ones of ``TimeSeriesSplit``, do not train the gate.  ``groups`` of
        ``fit`` reach the splitter; a number of folds keeps each of them in one fold.
    calibrate : bool, default=True
        Whether answers are corrected: an affine function of each regressor's; a
        temperature of each classifier's, and an offset of each class (none if the folds
        differ much in the shares of the classes, as those of ordered rows may).  Of
        regressors also the levels of quantiles and intervals, and the standard
        deviation, by 50 rows left out or more.
    alphas : sequence of float or None, default=(1, 10, 100, 1000, 10000, inf)
        Penalties of the gate to choose from; the strongest of those within a standard
        error of the best is taken (half of one where the gate is trained for
        ``router=1``).  By ``inf`` the gate says the same of every row, so that the
        mixture is linear stacking; gates that are fitted to responsibilities do without
        it.  Two in a row that are worse than a stronger one, by more than a standard
        error, end the search.  The loss
        that they count against is in nats, or half the squared error over the variance
        of y (where one expert serves a row, over that of the best expert's errors),
        summed over rows.  None takes the gate's own.
    gate_cv : int, default=3
        Parts of that choice; each leaves out whole folds of ``cv`` (random rows, where
        a splitter has a single fold).
    max_iter : int, default=200
        Iterations of L-BFGS, or rounds of EM.
    refine : int, default=0
        Rounds of cross-fitted EM at most: experts are fitted again, to rows weighted
        by their out-of-fold responsibilities, as long as that lowers the loss of rows
        that the gate has not seen.
    objective : {"prediction", "likelihood"}, default="prediction"
        What the gate is for in regression: the squared error of the combined
        prediction, or the log-likelihood of the mixture, for densities, intervals and
        standard deviations.  Under either ``likelihood="heteroscedastic"`` fits spreads
        that depend on x to out-of-fold residuals.
    local_correction : "auto", "trees", estimator or None, default="auto"
        Before all this each expert is corrected by a model that sees what it sees (as
        numbers) and what it answers: boosted trees, or an estimator that is cloned.  A
        regressor learns the residual, which is added to the answer; a classifier learns
        the classes, and its log-probabilities have a share.  The share is the one with
        the least loss for rows that the model has not seen; without a gain of a
        standard error the expert stays as it is.  So do all with fewer than 200 rows or
        a single class, those other than built-in ones that see sparse matrices, and
        classifiers where the folds differ much in the shares of the classes.
        ``"auto"`` is trees for the members of a pool; experts that you list stay your
        own.  None leaves this out, and so does ``calibrate=False``.

    Notes
    -----
    Where the experts are a pool, weights of rows are divided by their mean, a gate that
    stops after ``max_iter`` is not warned of, members that add nothing to the others
    are left out, and a number of folds is the most there are: they end once 1800 rows,
    4000 with classes, have been predicted.

    References
    ----------
    .. [1] Wolpert, D. H. (1992). Stacked generalization. Neural Networks 5, 241-259.
    .. [2] Jacobs, R. A., Jordan, M. I., Nowlan, S. J., Hinton, G. E. (1991). Adaptive
       mixtures of local experts. Neural Computation 3, eq. 1.1.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> X, y = make_regimes(300, random_state=0)
    >>> experts = [Ridge(), KNeighborsRegressor()]
    >>> model = MoERegressor(experts, trainer="two-stage").fit(X, y)
    >>> model.gate_proba(X).shape
    (300, 2)
    """

    kind = "two-stage"
    continues, spreads = False, True
    likelihoods = Gaussian, HeteroscedasticGaussian
    fits_bare = False
    fits_groups = keeps_budgets = True
    # Experts are fitted by themselves, as they are.
    fits_lasso = ("experts",)

    def __init__(
        self,
        cv: Any = 5,
        calibrate: bool = True,
        alphas: Sequence[float] = (1.0, 10.0, 100.0, 1000.0, 10000.0, np.inf),
        gate_cv: int = 3,
        max_iter: int = 200,
        refine: int = 0,
        objective: str = "prediction",
        local_correction: Any = "auto",
    ) -> None:
        self.cv = cv
        self.calibrate = calibrate
        self.alphas = alphas
        self.gate_cv = gate_cv
        self.max_iter = max_iter
        self.refine = refine
        self.objective = objective
        self.local_correction = local_correction

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        counts = {
            "gate_cv": (self.gate_cv, 2),
            "max_iter": (self.max_iter, 1),
            "refine": (self.refine, 0),
        }
        if self.splitter is None:
            counts["cv"] = (self.cv, 2)
        for name, (value, least) in counts.items():
            if not isinstance(value, (int, np.integer)) or value < least:
                also = " or a splitter" if name == "cv" else ""
                raise ValueError(
                    f"TwoStage got {name}={value!r}, but expected an integer >= "
                    f"{least}{also}."
                )
        if self.objective not in ("prediction", "likelihood"):
            raise ValueError(
                f"TwoStage got objective={self.objective!r}, but expected 'prediction' "
                "or 'likelihood'"
                + did_you_mean(self.objective, ("prediction", "likelihood"))
            )
        alphas = np.asarray([0.0] if self.alphas is None else self.alphas)
        listed = alphas.ndim == 1 and alphas.dtype.kind in "fiu" and len(alphas)
        if not listed or not np.all(alphas >= 0):
            raise ValueError(
                f"TwoStage got alphas={self.alphas!r}, but expected numbers >= 0, or "
                "None for the penalty of the gate."
            )
        model = self.local_correction
        named = model is None or (isinstance(model, str) and model in ("auto", "trees"))
        if not named and (isinstance(model, type) or not hasattr(model, "fit")):
            raise ValueError(
                f"TwoStage got local_correction={model!r}, but expected 'auto', "
                "'trees', an estimator, or None"
                + did_you_mean(model, ("auto", "trees"))
            )

    @property
    def weighs_rows(self):
        """Whether experts get rows of unequal weight where the user's are equal."""
        return self.refine > 0

    @property
    def splitter(self):
        """The object that splits the rows, if it is one; metadata are routed to it."""
        return self.cv if is_splitter(self.cv) else None

    def fit(self, rows, recipe, start, report):
        """Train the parts of a recipe on rows; returns a ``Fit``."""
        self.check()
        begun = time.process_time()
        task = Task(rows, recipe, start, report)
        check_supported(task, self)
        _check_parts(task)
        check_variances(task)
        task, unit = relative_weights(task)
        if self._corrects_locally(task):
            check_local(self.local_correction, task)
        folds = self._folds(task)
        task.report.expect(self._n_steps(task.recipe.n_experts, len(folds)))
        grown = self._grown(OutOfFold(task, folds, None, self.cv), begun)
        task = grown.seen.task
        choice, shares, losses = self._refined(grown)
        fitted = [
            expert if local is None else local.around(expert, task.rows.classes)
            for expert, local in zip(
                fitted_to_all(task, shares), choice.local, strict=True
            )
        ]
        posterior = choice.stage.posterior(choice.solution)
        fit = choice.stage.to_fit(choice.solution, choice.alpha, fitted, posterior)
        fit.kept, fit.reasons = grown.kept, grown.reasons
        if self.calibrate and task.rows.classes is None:
            known = choice.stage, choice.solution, posterior, choice.blocks
            with single_threaded_blas():
                fit.calibration = calibrated_levels(*known)
        fit.history["validation_loss"] = losses
        fit.log_likelihood *= unit
        task.report.iteration(0, fit.lower_bounds[-1], lambda: fit)
        self._warn(fit, grown, begun)
        return fit

    def _warn(self, fit, grown, begun):
        """Warn of budgets that were not kept, and of a gate that was not finished."""
        unkept = grown.unkept(fit.experts, begun)
        if unkept is not None:
            warn(unkept, UserWarning)
        # The losses by which the penalty was chosen are those of unfinished gates too.
        if not fit.converged and grown.growth is None:
            warn(
                f"The gate of TwoStage stopped after max_iter={self.max_iter} "
                "iterations before it converged; raise it.",
                ConvergenceWarning,
            )

    def _n_steps(self, n_experts, n_folds):
        """Experts by folds and a gate for each round; then all experts, and the end."""
        return (1 + self.refine) * (n_experts * n_folds + 1) + n_experts + 1

    def _folds(self, task):
        """Training and test rows of each fold."""
        if task.rows.folds is not None:
            return task.rows.folds
        return draw_folds(
            task.rows.labels, task.rows.classes, self.cv, task.recipe.seed
        )

    def _grown(self, seen, begun):
        """The experts that are trained, and what they say of unseen rows.

        ``begun`` is the CPU time of the process when the fit began.
        """
        if seen.task.recipe.pooled:
            return PoolGrowth(seen, begun).grown()
        seen.fit(range(len(seen.folds)))
        return Grown(list(range(seen.task.recipe.n_experts)), seen)

    def _refined(self, grown):
        """The best choice, shares (n, K) of the rows of its experts, all losses."""
        seen, has_room = grown.seen, grown.has_room
        task, shares, choice = seen.task, None, self._choose(seen, has_room)
        losses = [choice.loss]
        for _ in range(self.refine):
            refined = _responsibilities(choice, task)
            again = OutOfFold(task, seen.folds, refined, self.cv)
            again.fit(range(len(seen.folds)))
            proposed = self._choose(again, has_room)
            losses.append(proposed.loss)
            if not proposed.loss < choice.loss:
                break
            choice, shares = proposed, refined
        return choice, shares, losses

    def _choose(self, seen, has_room):
        """The gate and its penalty, given what experts say of rows left out.

        Experts are corrected only where there is room for that.
        """
        task, folds, shares = seen.task, seen.folds, seen.shares
        rows, predictions, fold_of = seen.answers()
        # Experts that learned from other shares of the classes would be put right
        # twice, once here and once when they are fitted to all rows.
        agree = task.rows.classes is None or shares_agree(
            task.rows.y, task.rows.weight, folds
        )
        warn_if_alike(predictions)
        known, local = task.on_rows(rows), [None] * task.recipe.n_experts
        blocks = self._blocks(fold_of, task.recipe.seed)
        if agree and has_room and self._corrects_locally(task):
            predictions, local = corrected_locally(
                known,
                predictions,
                blocks,
                self.local_correction,
                None if shares is None else shares[rows],
            )
        stage = gate_stage(
            known,
            predictions,
            self.calibrate,
            self.max_iter,
            self.objective,
            agree,
        )
        with single_threaded_blas():
            alpha, loss = self._choose_alpha(stage, blocks)
            solution = stage.solve(alpha)
        if task.report.step is not None:
            task.report.step("gate")
        return Choice(rows, stage, solution, alpha, loss, local, blocks)

    def _corrects_locally(self, task):
        """Whether experts get corrections that depend on x."""
        model = self.local_correction
        is_auto = isinstance(model, str) and model == "auto"
        return self.calibrate and (task.recipe.pooled if is_auto else model is not None)

    def _choose_alpha(self, stage, blocks):
        """Penalty for rows left out, and the mean loss of those rows."""
        alphas = self._penalties(stage)
        single = len(alphas) == 1 or stage.task.recipe.n_experts == 1
        if single and not self.refine:
            return alphas[0], np.nan
        losses, solutions = [], [None] * len(blocks)
        for alpha in alphas:
            own = np.empty(len(stage.weight))
            for number, (train, test) in enumerate(blocks):
                solution = stage.solve(alpha, train, solutions[number])
                own[test] = stage.held_out(solution, test)
                # From weights of zero a network would not move.
                solutions[number] = solution if np.isfinite(alpha or 0.0) else None
            losses.append(own)
            if _gets_worse(losses, stage.weight):
                break
        chosen = stage.chosen(np.array(losses))
        return alphas[chosen], float(np.average(losses[chosen], weights=stage.weight))

    def _penalties(self, stage):
        """Penalties that the gate of a stage is fitted with, the strongest first."""
        if self.alphas is None or not stage.has_penalty:
            return [None]
        alphas = sorted(self.alphas, reverse=True)
        if not stage.can_be_constant:
            alphas = [alpha for alpha in alphas if np.isfinite(alpha)]
        return alphas or [None]

    def _blocks(self, fold_of, seed):
        """Rows to train with and rows to leave out, by whole folds, so that groups stay
        together."""
        numbers = np.unique(fold_of)
        if len(numbers) == 1:
            n_folds = min(self.gate_cv, len(fold_of))
            splitter = KFold(n_folds, shuffle=True, random_state=seed)
            return list(splitter.split(fold_of))
        block_of = np.searchsorted(numbers, fold_of) % self.gate_cv
        return [
            (np.flatnonzero(block_of != b), np.flatnonzero(block_of == b))
            for b in np.unique(block_of)
        ]


def _gets_worse(losses, weight):
    """Whether the last losses (n,) are clearly above the best of those before them.

    A network that a strong penalty holds at zero is a little worse than a constant.
    """
    if len(losses) <= PATIENCE:
        return False
    best = min(losses[:-PATIENCE], key=weight.dot)
    mean, error = mean_and_error(np.array(losses[-PATIENCE:]) - best, weight)
    slightly = CLEARLY * abs(np.average(best, weights=weight))
    return bool(np.all(mean > np.maximum(error, slightly)))


def relative_weights(task):
    """The task of a pool with weights of mean one, and the mean that they had.

    Penalties of its members are made for weights that count rows; those of a survey
    count people.
    """
    if not task.recipe.pooled:
        return task, 1.0
    unit = task.rows.weight.mean()
    return task.with_rows(weight=task.rows.weight / unit), unit


def warn_if_alike(predictions):
    """Warn if predictions (n, K, d) vary with the row, but not with the expert."""
    n_experts = predictions.shape[1]
    alike = n_experts > 1 and np.all(predictions == predictions[:, :1])
    if alike and np.ptp(predictions[:, 0], axis=0).any():
        warn(
            f"TwoStage got {n_experts} experts that say the same of every row, so that "
            "there is nothing to gate; give experts of different kinds, or use "
            "trainer='em' to find regimes.",
            UserWarning,
        )


class Choice(NamedTuple):
    """A gate that was fitted to out-of-fold predictions.

    Attributes
    ----------
    rows : rows that were predicted
    stage : GateStage
    solution : Solution
    alpha : float or None
    loss : float, per row left out
    local : list of LocalCorrection, or None, of each expert
    blocks : list of pairs of rows to train with and rows to leave out
    """

    rows: np.ndarray
    stage: Any
    solution: Any
    alpha: float | None
    loss: float
    local: list
    blocks: list


def _responsibilities(choice, task):
    """Shares (n, K) of the rows; weights of the gate where a row was not predicted."""
    gate, _, log_gate, log_prob = choice.stage.posterior(choice.solution)
    shares = np.exp(gate.predict_log_proba(task.rows.gate_view))
    shares[choice.rows] = mixture.responsibilities(log_gate, log_prob)
    return np.maximum(shares, SMALLEST_SHARE)


def _check_parts(task):
    """Raise ``ValueError`` for what its corrections would change, or cannot add to."""
    if task.rows.log_prior is not None:
        raise ValueError(
            "TwoStage got a shared_expert beside classifiers, which it cannot add "
            "to; give it as one of the experts."
        )
    asked = [own for own in map(traits, task.recipe.experts) if own.holds]
    if asked:
        raise ValueError(
            f"TwoStage got LinearExpert(fixed={asked[0].fixed!r}), but corrects what "
            "experts predict; use trainer='em', 'hard-em' or 'gradient', or fixed=None."
        )
