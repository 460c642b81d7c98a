"""Two stages: experts first, then the gate on their out-of-fold predictions."""

import warnings

import numpy as np
from scipy import optimize
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from .. import mixture
from .._design import make_design
from ..engines import run_calls, single_threaded_blas
from ..experts._corrected import CorrectedClassifier, CorrectedRegressor
from ..experts._foreign import fit_expert
from ._folds import draw_folds, predict_fold
from ._gradient_gate import expert_draws, gate_network
from ._gradient_task import check_gate
from ._task import Fit, check_router

# Penalty, in rows, on the distance of a correction from the identity.
CORRECTION_ALPHA = 1.0
# Rounds in which responsibilities and dispersions are brought in line.
DISPERSION_ROUNDS = 20


class TwoStage(BaseEstimator):
    """Fit the experts once, then the gate on their out-of-fold predictions.

    Each expert predicts every row by a fit that has not seen it, so that one that
    memorises gets no credit.  The gate minimises the squared error of the combined
    prediction, or the log-loss, together with a correction of each expert's answer: so
    plain averaging, linear stacking and the best single expert are special cases.  The
    penalty of the gate is chosen by cross-validation.  Finally the experts are fitted
    to all rows.

    Parameters
    ----------
    cv : int or splitter, default=5
        Folds of the out-of-fold predictions.  Rows that a splitter never tests, such
        as the first ones of ``TimeSeriesSplit``, do not train the gate.
    calibrate : bool, default=True
        Whether answers are corrected: an affine function of each regressor's, a
        temperature of each classifier's.
    alphas : sequence of float or None, default=(1.0, 10.0, 100.0, 1000.0)
        Penalties of the gate to choose from, in units of rows; None takes the gate's.
    gate_cv : int, default=3
        Folds of that choice.
    max_iter : int, default=200
        Iterations of L-BFGS.

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

    #: Whether experts are fitted to rows of unequal weight where the user's are equal.
    weighs_rows = False

    def __init__(
        self,
        cv=5,
        calibrate=True,
        alphas=(1.0, 10.0, 100.0, 1000.0),
        gate_cv=3,
        max_iter=200,
    ):
        self.cv = cv
        self.calibrate = calibrate
        self.alphas = alphas
        self.gate_cv = gate_cv
        self.max_iter = max_iter

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        counts = {"gate_cv": (self.gate_cv, 2), "max_iter": (self.max_iter, 1)}
        if not hasattr(self.cv, "split"):
            counts["cv"] = (self.cv, 2)
        for name, (value, least) in counts.items():
            if not isinstance(value, (int, np.integer)) or value < least:
                also = " or a splitter" if name == "cv" else ""
                raise ValueError(
                    f"TwoStage got {name}={value!r}, but expected an integer >= "
                    f"{least}{also}."
                )
        if self.alphas is not None and not all(0 <= a < np.inf for a in self.alphas):
            raise ValueError(
                f"TwoStage got alphas={self.alphas!r}, but expected finite numbers "
                ">= 0, or None for the penalty of the gate."
            )

    def fit_task(self, task):
        """Train the parts of a task; returns a ``Fit``."""
        self.check()
        check_router(task.router, "em", self, task.has_shared)
        check_gate(task)
        if task.offset is not None:
            raise ValueError(
                "TwoStage got a shared_expert beside classifiers, which it cannot add "
                "to; give it as one of the experts."
            )
        rows, predictions = self._out_of_fold(task)
        stage = GateStage(task.on_rows(rows), predictions, self.calibrate)
        with single_threaded_blas():
            alpha = self._choose_alpha(stage, task)
            result = stage.minimise(alpha, max_iter=self.max_iter)
        calls = [_expert_arguments(task, k) for k in range(task.n_experts)]
        fitted = run_calls(fit_expert, calls, task.n_jobs)
        fit = stage.to_fit(result, alpha, fitted)
        task.report(0, fit.lower_bounds[-1], lambda: fit)
        if not fit.converged:
            warnings.warn(
                f"The gate of TwoStage stopped after max_iter={self.max_iter} "
                "iterations before it converged; raise it.",
                ConvergenceWarning,
                stacklevel=5,
            )
        return fit

    def _out_of_fold(self, task):
        """Rows that were predicted, and predictions (m, K, d) of all experts."""
        folds = draw_folds(task.labels, task.classes, self.cv, task.seed)

        def predict(k, fold):
            expert, view, labels, weight, seed, fit_params = _expert_arguments(task, k)
            return predict_fold(
                expert,
                view,
                labels,
                weight,
                fold,
                classes=task.classes,
                seed=seed,
                fit_params=fit_params,
            )

        calls = [(k, fold) for k in range(task.n_experts) for fold in folds]
        parts = run_calls(predict, calls, task.n_jobs)
        found = np.full((len(task.y), task.n_experts, parts[0].shape[1]), np.nan)
        for (k, (_, test)), part in zip(calls, parts, strict=True):
            found[test, k] = part
        rows = np.flatnonzero(np.isfinite(found).all(axis=(1, 2)))
        if len(rows) < 2:
            raise ValueError(
                f"TwoStage got cv={self.cv!r}, by which {len(rows)} of {len(found)} "
                "rows were predicted by experts that had not seen them; use more folds."
            )
        return rows, found[rows]

    def _choose_alpha(self, stage, task):
        if self.alphas is None:
            return stage.network.alpha
        n_rows = len(stage.weight)
        if task.n_experts == 1 or len(self.alphas) == 1 or n_rows < self.gate_cv:
            return self.alphas[0]
        splitter = KFold(self.gate_cv, shuffle=True, random_state=task.seed)
        losses = np.zeros(len(self.alphas))
        order = np.argsort(self.alphas)[::-1]
        for train, test in splitter.split(np.empty(n_rows)):
            theta = None
            for i in order:
                result = stage.minimise(
                    self.alphas[i], train, theta, max_iter=self.max_iter
                )
                theta = result.x
                losses[i] += stage.loss(theta, test)[0] * stage.weight[test].sum()
        return self.alphas[int(np.argmin(losses))]


class GateStage:
    """The gate and the corrections, fitted to given predictions.

    Parameters
    ----------
    task : Task
        The rows that were predicted.
    predictions : (n, K, d) predictions, or (n, K, C) class probabilities
    calibrate : bool
    """

    def __init__(self, task, predictions, calibrate):
        self.task, self.calibrate = task, calibrate
        self.alone = task.router.n_active(task.n_experts) < task.n_experts
        self.weight = task.weight / task.weight.mean()
        self.design = make_design(task.gate_view, self.weight)
        self.X = (self.design.X - self.design.center) * self.design.inverse_scale
        n, p = self.X.shape
        self.network = gate_network(task.gate, p, task.n_experts, task.n_experts)
        self.n_gate = self.network.n_parameters
        if task.classes is None:
            self.center = np.average(task.y, axis=0, weights=self.weight)
            spread = np.average((task.y - self.center) ** 2, 0, weights=self.weight)
            self.scale = np.where(spread > 0, np.sqrt(spread), 1.0)
            self.answers = (predictions - self.center) / self.scale
            self.target = (task.y - self.center) / self.scale
            identity = np.ones(predictions.shape[1:]), np.zeros(predictions.shape[1:])
            self.identity = np.stack(identity).ravel()
        else:
            self.answers = np.log(predictions)
            self.identity = np.ones(task.n_experts)

    def start(self):
        """Equal weights, nearly, and no correction."""
        gate = self.network.start(self.task.seed, expert_draws(self.task))
        return np.concatenate([gate, self.identity])

    def minimise(self, alpha, rows=slice(None), start=None, *, max_iter):
        """Result of L-BFGS on some of the rows."""
        ridge = np.concatenate(
            [
                alpha * self.network.is_weight(),
                np.full(len(self.identity), CORRECTION_ALPHA),
            ]
        )
        ridge /= self.weight[rows].sum()
        origin = np.concatenate([np.zeros(self.n_gate), self.identity])

        def penalised(theta):
            value, gradient = self.loss(theta, rows)
            away = theta - origin
            if not self.calibrate:
                gradient[self.n_gate :] = 0.0
            return value + 0.5 * ridge @ away**2, gradient + ridge * away

        start = self.start() if start is None else start
        bounds = []
        result = optimize.minimize(
            penalised,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: bounds.append(intermediate_result.fun),
            options={"maxiter": max_iter},
        )
        result.bounds = bounds or [result.fun]
        return result

    def loss(self, theta, rows):
        """Mean loss of the combined prediction of some rows, and its gradient."""
        X, gate = self.X[rows], np.ascontiguousarray(theta[: self.n_gate])
        outputs, kept = self.network.forward(np.ascontiguousarray(X), gate, 1.0)
        share = self.weight[rows] / self.weight[rows].sum()
        kind = self._squared if self.task.classes is None else self._log_loss
        value, push, correction = kind(outputs, theta[self.n_gate :], rows, share)
        gradient = np.zeros_like(theta)
        gradient[self.n_gate :] = correction
        self.network.backward(X, gate, kept, push, 1.0, gradient[: self.n_gate])
        return value, gradient

    def _squared(self, outputs, correction, rows, share):
        """Half the squared error; slopes of the logits and of the corrections.

        Where few experts serve a row, the mean error of experts that answer alone, or
        they would come to rely on others that are not asked.
        """
        answers, (slope, intercept) = self.answers[rows], self._affine(correction)
        weights, corrected = softmax(outputs, axis=1), intercept + slope * answers
        if self.alone:
            error = corrected - self.target[rows][:, None, :]
            on_weights = 0.5 * np.sum(error**2, axis=2)
            value = float(share @ np.sum(weights * on_weights, axis=1))
            push = error
        else:
            error = mixture.mean(weights, corrected) - self.target[rows]
            on_weights = np.einsum("nd,nkd->nk", error, corrected)
            value = 0.5 * float(share @ np.sum(error**2, axis=1))
            push = error[:, None, :]
        mean = np.sum(weights * on_weights, axis=1, keepdims=True)
        weighted = share[:, None] * weights
        on_answers = weighted[:, :, None] * push
        slopes = np.sum(on_answers * answers, axis=0), on_answers.sum(axis=0)
        return value, weighted * (on_weights - mean), np.stack(slopes).ravel()

    def _log_loss(self, outputs, temper, rows, share):
        """Log-loss; slopes of the logits and of the inverse temperatures."""
        answers, codes = self.answers[rows], self.task.y[rows]
        log_gate = log_softmax(outputs, axis=1)
        log_proba = log_softmax(temper[:, None] * answers, axis=2)
        hit = np.arange(len(codes)), slice(None), codes
        joint = log_gate + log_proba[hit]
        row = logsumexp(joint, axis=1)
        resp = np.exp(joint - row[:, None])
        expected = np.sum(np.exp(log_proba) * answers, axis=2)
        pull = share[:, None] * resp * (answers[hit] - expected)
        push = share[:, None] * (np.exp(log_gate) - resp)
        return -float(share @ row), push, -pull.sum(axis=0)

    def _affine(self, correction):
        """Slopes and intercepts (K, d)."""
        return correction.reshape(2, *self.answers.shape[1:])

    # -- what was found ---------------------------------------------------------

    def to_fit(self, result, alpha, fitted):
        """Fitted parts; ``fitted`` are the experts on all rows."""
        task, theta = self.task, result.x
        gate = self.network.fitted(theta[: self.n_gate], 1.0, self.design)
        predictions = self._corrected(theta[self.n_gate :])
        log_gate = gate.predict_log_proba(task.gate_view)
        likelihoods, log_prob = self._dispersions(predictions, log_gate)
        density = mixture.log_density(log_gate, log_prob)
        resp = mixture.responsibilities(log_gate, log_prob)
        load = task.weight @ resp / task.weight.sum()
        bounds = [-float(value) for value in result.bounds]
        return Fit(
            gate=gate,
            experts=self._correct(fitted, theta[self.n_gate :]),
            likelihoods=likelihoods,
            kept=list(range(task.n_experts)),
            log_likelihood=float(task.weight @ density),
            lower_bounds=bounds,
            load=load,
            n_iter=len(bounds),
            converged=bool(result.success),
            history={"bound": bounds, "load": [load], "alpha": alpha},
        )

    def _corrected(self, correction):
        """Corrected predictions of each expert, on the scale of the data."""
        if self.task.classes is None:
            slope, intercept = self._affine(correction)
            answers = self.center + self.scale * (intercept + slope * self.answers)
        else:
            answers = softmax(correction[:, None] * self.answers, axis=2)
        return list(answers.transpose(1, 0, 2))

    def _dispersions(self, predictions, log_gate):
        """Likelihoods, and log-densities (n, K), of the out-of-fold predictions."""
        task, resp = self.task, np.exp(log_gate)
        for _ in range(DISPERSION_ROUNDS):
            likelihoods = task.likelihood.fit_dispersions(
                task.y, predictions, resp * task.weight[:, None]
            )
            log_prob = mixture.log_prob(likelihoods, task.y, predictions)
            resp = mixture.responsibilities(log_gate, log_prob)
        return likelihoods, log_prob

    def _correct(self, fitted, correction):
        """The fitted experts with their corrections around them."""
        if not self.calibrate:
            return fitted
        if self.task.classes is not None:
            pairs = zip(fitted, correction, strict=True)
            return [
                CorrectedClassifier(e, 1.0 / max(t, 1e-6), self.task.classes)
                for e, t in pairs
            ]
        slope, intercept = self._affine(correction)
        shift = self.center + self.scale * intercept - slope * self.center
        return [
            CorrectedRegressor(*parts)
            for parts in zip(fitted, slope, shift, strict=True)
        ]


def _expert_arguments(task, k):
    """Arguments of ``fit_expert`` for an expert of a task."""
    return (
        task.experts[k],
        task.expert_views[k],
        task.labels,
        task.weight,
        task.expert_seeds[k] if task.expert_seeds else k,
        task.fit_params[k] if task.fit_params else None,
    )
