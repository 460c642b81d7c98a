"""The second of two stages: a gate and corrections, fitted to given predictions."""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.base import clone
from sklearn.linear_model import Ridge

from .. import mixture
from .._design import make_design
from ..experts._corrected import CorrectedClassifier, CorrectedRegressor
from ..gates._tree import TreeGate
from ..likelihoods import smoothed
from ._gradient_gate import expert_draws, gate_network
from ._task import Fit

# Penalty, in rows, on the distance of a correction from the identity.
CORRECTION_ALPHA = 1.0
# Smallest weight of an expert at the start.
SMALLEST_SHARE = 1e-3
# Smallest inverse temperature: an expert may be silenced, but not contradicted.
COLDEST = 1e-6
# Rounds in which responsibilities and dispersions are brought in line.
DISPERSION_ROUNDS = 20
# Gain in nats per row below which EM of a gate that is no network ends.
TOLERANCE = 1e-5


class Solution(NamedTuple):
    """What was found on some of the rows.

    Attributes
    ----------
    state : parameters of a network, or a fitted gate
    correction : corrections of all experts, as one vector
    bounds : list of float, objective per iteration; higher is better
    converged : bool
    likelihoods : fitted likelihoods, or None if they take no part
    """

    state: Any
    correction: np.ndarray
    bounds: list
    converged: bool
    likelihoods: Any = None


def gate_stage(task, predictions, calibrate, max_iter, objective):
    """The stage that suits the objective and the gate of a task.

    For class labels both objectives are the same, the log-loss.
    """
    by_gradient = objective == "prediction" or task.classes is not None
    is_network = hasattr(task.gate, "network")
    if by_gradient and is_network and isinstance(task.gate_view, np.ndarray):
        return NetworkStage(task, predictions, calibrate, max_iter)
    return ResponsibilityStage(task, predictions, calibrate, max_iter)


class GateStage:
    """Corrections of given predictions, and what becomes of a solution.

    Parameters
    ----------
    task : Task
        The rows that were predicted.
    predictions : (n, K, d) predictions, or (n, K, C) class probabilities
    calibrate : bool
    max_iter : int
    """

    def __init__(self, task, predictions, calibrate, max_iter):
        self.task, self.calibrate, self.max_iter = task, calibrate, max_iter
        self.weight = task.weight
        if task.classes is None:
            self.center = np.average(task.y, axis=0, weights=self.weight)
            spread = np.average((task.y - self.center) ** 2, 0, weights=self.weight)
            self.scale = np.where(spread > 0, np.sqrt(spread), 1.0)
            self.answers = (predictions - self.center) / self.scale
            self.target = (task.y - self.center) / self.scale
            identity = np.ones(predictions.shape[1:]), np.zeros(predictions.shape[1:])
            self.identity = np.stack(identity).ravel()
        else:
            # A class that a fold did not have was given probability zero.
            self.answers = np.log(smoothed(predictions))
            self.identity = np.ones(task.n_experts)

    @property
    def has_penalty(self):
        """Whether the gate has a penalty that can be chosen."""
        return self.penalised_gate() is not None

    def penalised_gate(self):
        """A copy of the gate, and of its part with a penalty, or None."""
        gate = clone(self.task.gate)
        part = gate.gate if isinstance(gate, TreeGate) else gate
        return (gate, part) if "alpha" in part.get_params() else None

    def affine(self, correction):
        """Slopes and intercepts (K, d)."""
        return correction.reshape(2, *self.answers.shape[1:])

    def corrected(self, correction, rows=slice(None)):
        """Corrected predictions of each expert, on the scale of the data."""
        answers = self.answers[rows]
        if self.task.classes is None:
            slope, intercept = self.affine(correction)
            answers = self.center + self.scale * (intercept + slope * answers)
        else:
            answers = softmax(correction[:, None] * answers, axis=2)
        return list(answers.transpose(1, 0, 2))

    def dispersions(self, predictions, log_gate):
        """Likelihoods, and log-densities (n, K), of the out-of-fold predictions."""
        task, resp = self.task, np.exp(log_gate)
        for _ in range(DISPERSION_ROUNDS):
            likelihoods = task.likelihood.fit_dispersions(
                task.y, predictions, resp * task.weight[:, None]
            )
            log_prob = mixture.log_prob(likelihoods, task.y, predictions)
            resp = mixture.responsibilities(log_gate, log_prob)
        return likelihoods, log_prob

    def posterior(self, solution):
        """Fitted gate, likelihoods, log-weights and log-densities (n, K)."""
        gate = self.gate_of(solution)
        log_gate = gate.predict_log_proba(self.task.gate_view)
        predictions = self.corrected(solution.correction)
        likelihoods, log_prob = self.dispersions(predictions, log_gate)
        return gate, likelihoods, log_gate, log_prob

    def to_fit(self, solution, alpha, fitted):
        """Fitted parts; ``fitted`` are the experts on all rows."""
        task = self.task
        gate, likelihoods, log_gate, log_prob = self.posterior(solution)
        density = mixture.log_density(log_gate, log_prob)
        resp = mixture.responsibilities(log_gate, log_prob)
        load = task.weight @ resp / task.weight.sum()
        bounds = solution.bounds
        return Fit(
            gate=gate,
            experts=self.correct(fitted, solution.correction),
            likelihoods=likelihoods,
            kept=list(range(task.n_experts)),
            log_likelihood=float(task.weight @ density),
            lower_bounds=bounds,
            load=load,
            n_iter=len(bounds),
            converged=solution.converged,
            history={"bound": bounds, "load": [load], "alpha": alpha},
        )

    def correct(self, fitted, correction):
        """The fitted experts with their corrections around them."""
        if not self.calibrate:
            return fitted
        if self.task.classes is not None:
            pairs = zip(fitted, correction, strict=True)
            return [
                CorrectedClassifier(e, 1.0 / t, self.task.classes) for e, t in pairs
            ]
        slope, intercept = self.affine(correction)
        shift = self.center + self.scale * intercept - slope * self.center
        return [
            CorrectedRegressor(*parts)
            for parts in zip(fitted, slope, shift, strict=True)
        ]


class NetworkStage(GateStage):
    """Gates that are networks: L-BFGS on the loss of the combined prediction."""

    def __init__(self, task, predictions, calibrate, max_iter):
        super().__init__(task, predictions, calibrate, max_iter)
        self.alone = task.router.n_active(task.n_experts) == 1 < task.n_experts
        self.design = make_design(task.gate_view, self.weight)
        self.X = (self.design.X - self.design.center) * self.design.inverse_scale
        n_inputs = self.X.shape[1]
        self.network = gate_network(task.gate, n_inputs, task.n_experts, task.n_experts)
        self.n_gate = self.network.n_parameters

    def start(self, stacked=None):
        """Nearly the same weights everywhere, those of linear stacking if it can be."""
        gate = self.network.start(self.task.seed, expert_draws(self.task))
        log_weights, correction = stacked or self._stacked(slice(None))
        self.network.set_log_weights(gate, log_weights)
        return np.concatenate([gate, correction])

    def _stacked(self, rows):
        """Log-weights and corrections by which the mixture is linear stacking, nearly.

        An expert with a negative weight enters with a negative slope; the others keep
        their answers, since the weights of stacking sum to about one.  Where experts
        answer alone, or as they are, all are equal.
        """
        n_experts = self.task.n_experts
        if self.task.classes is not None or self.alone or not self.calibrate:
            return np.zeros(n_experts), self.identity
        n_outputs = self.answers.shape[2]
        columns = self.answers[rows].transpose(0, 2, 1).reshape(-1, n_experts)
        weight = np.repeat(self.weight[rows], n_outputs)
        ridge = Ridge(CORRECTION_ALPHA, fit_intercept=False)
        signed = ridge.fit(columns, self.target[rows].ravel(), weight).coef_
        # A constant y leaves nothing to weigh.
        total = np.abs(signed).sum() or 1.0
        share = np.maximum(np.abs(signed) / total, SMALLEST_SHARE)
        share /= share.sum()
        slope = np.where(signed < 0, signed / share, 1.0)
        slope = np.broadcast_to(slope[:, None], (n_experts, n_outputs))
        return np.log(share), np.stack([slope, np.zeros_like(slope)]).ravel()

    def solve(self, alpha, rows=slice(None), start=None):
        """Solution on some of the rows, from an earlier one."""
        alpha = self.network.alpha if alpha is None else alpha
        ridge = np.full(self.n_gate + len(self.identity), CORRECTION_ALPHA)
        ridge[: self.n_gate] = alpha * self.network.is_weight()
        ridge /= self.weight[rows].sum()
        stacked = self._stacked(rows)
        origin = np.concatenate([np.zeros(self.n_gate), stacked[1]])

        def penalised(theta):
            value, gradient = self.loss(theta, rows)
            away = theta - origin
            if not self.calibrate:
                gradient[self.n_gate :] = 0.0
            return value + 0.5 * ridge @ away**2, gradient + ridge * away

        bounds, lowest = [], np.full(len(ridge), -np.inf)
        if self.task.classes is not None:
            lowest[self.n_gate :] = COLDEST
        result = optimize.minimize(
            penalised,
            self.start(stacked) if start is None else np.concatenate(start[:2]),
            jac=True,
            method="L-BFGS-B",
            bounds=optimize.Bounds(lb=lowest),
            callback=lambda intermediate_result: bounds.append(
                -float(intermediate_result.fun)
            ),
            options={"maxiter": self.max_iter},
        )
        return Solution(
            state=result.x[: self.n_gate],
            correction=result.x[self.n_gate :],
            bounds=bounds or [-float(result.fun)],
            converged=bool(result.success),
        )

    def gate_of(self, solution):
        """The fitted gate."""
        return self.network.fitted(solution.state, 1.0, self.design)

    def held_out(self, solution, rows):
        """Losses (m,) of rows that the solution has not seen."""
        outputs, _ = self._forward(solution.state, rows)
        share = np.ones(len(outputs))
        return self._slopes(outputs, solution.correction, rows, share)[0]

    def loss(self, theta, rows):
        """Mean loss of the combined prediction of some rows, and its gradient."""
        gate = np.ascontiguousarray(theta[: self.n_gate])
        outputs, kept = self._forward(gate, rows)
        share = self.weight[rows] / self.weight[rows].sum()
        each, push, correction = self._slopes(
            outputs, theta[self.n_gate :], rows, share
        )
        gradient = np.zeros_like(theta)
        gradient[self.n_gate :] = correction
        X = self.X[rows]
        self.network.backward(X, gate, kept, push, 1.0, gradient[: self.n_gate])
        return float(share @ each), gradient

    def _forward(self, gate, rows):
        return self.network.forward(np.ascontiguousarray(self.X[rows]), gate, 1.0)

    def _slopes(self, outputs, correction, rows, share):
        """Losses of the rows; slopes of their weighted sum."""
        kind = self._squared if self.task.classes is None else self._log_loss
        return kind(outputs, correction, rows, share)

    def _squared(self, outputs, correction, rows, share):
        """Half the squared error; slopes of the logits and of the corrections.

        Where one expert serves a row, the mean error of experts that answer alone, or
        they would come to rely on others that are not asked.
        """
        answers, (slope, intercept) = self.answers[rows], self.affine(correction)
        weights, corrected = softmax(outputs, axis=1), intercept + slope * answers
        if self.alone:
            error = corrected - self.target[rows][:, None, :]
            on_weights = 0.5 * np.sum(error**2, axis=2)
            each = np.sum(weights * on_weights, axis=1)
            push = error
        else:
            error = mixture.mean(weights, corrected) - self.target[rows]
            on_weights = np.einsum("nd,nkd->nk", error, corrected)
            each = 0.5 * np.sum(error**2, axis=1)
            push = error[:, None, :]
        mean = np.sum(weights * on_weights, axis=1, keepdims=True)
        weighted = share[:, None] * weights
        on_answers = weighted[:, :, None] * push
        slopes = np.sum(on_answers * answers, axis=0), on_answers.sum(axis=0)
        return each, weighted * (on_weights - mean), np.stack(slopes).ravel()

    def _log_loss(self, outputs, temper, rows, share):
        """Log-loss; slopes of the logits and of the inverse temperatures.

        Where one expert serves a row, the mean loss of experts that answer alone.
        """
        answers, codes = self.answers[rows], self.task.y[rows]
        log_gate = log_softmax(outputs, axis=1)
        log_proba = log_softmax(temper[:, None] * answers, axis=2)
        hit = np.arange(len(codes)), slice(None), codes
        gate = np.exp(log_gate)
        if self.alone:
            each = -np.sum(gate * log_proba[hit], axis=1)
            resp, push = gate, gate * (-log_proba[hit] - each[:, None])
        else:
            joint = log_gate + log_proba[hit]
            each = -logsumexp(joint, axis=1)
            resp = np.exp(joint + each[:, None])
            push = gate - resp
        expected = np.sum(np.exp(log_proba) * answers, axis=2)
        pull = share[:, None] * resp * (answers[hit] - expected)
        return each, share[:, None] * push, -pull.sum(axis=0)


class ResponsibilityStage(GateStage):
    """Gates that are fitted to responsibilities: EM with the experts given."""

    def solve(self, alpha, rows=slice(None), start=None):
        """Solution on some of the rows."""
        rows = np.arange(len(self.weight))[rows]
        task, weight = self.task.on_rows(rows), self.task.weight[rows]
        gate, correction, bounds, converged = None, self.identity, [], False
        log_gate = np.full((len(rows), task.n_experts), -np.log(task.n_experts))
        resp = np.exp(log_gate)
        while len(bounds) < self.max_iter and not converged:
            predictions = self.corrected(correction, rows)
            likelihoods = task.likelihood.fit_dispersions(
                task.y, predictions, resp * weight[:, None]
            )
            log_prob = mixture.log_prob(likelihoods, task.y, predictions)
            density = mixture.log_density(log_gate, log_prob)
            resp = mixture.responsibilities(log_gate, log_prob)
            bounds.append(float(weight @ density / weight.sum()))
            converged = len(bounds) > 1 and bounds[-1] - bounds[-2] < TOLERANCE
            if self.calibrate:
                correction = self._correction(resp, rows, correction)
            gate = self._gate(gate, alpha, task, resp)
            log_gate = gate.log_joint(task.gate_view)
        return Solution(gate, correction, bounds, converged, likelihoods)

    def _gate(self, gate, alpha, task, resp):
        """The gate after another fit, or step."""
        if gate is not None:
            return gate.update(task.gate_view, resp, task.weight)
        gate = clone(task.gate)
        if alpha is not None:
            gate, part = self.penalised_gate()
            part.set_params(alpha=alpha)
        return gate.fit(task.gate_view, resp, task.weight)

    def gate_of(self, solution):
        """The fitted gate."""
        return solution.state

    def held_out(self, solution, rows):
        """Negative log-densities (m,) of rows that the solution has not seen."""
        task = self.task.on_rows(rows)
        log_gate = solution.state.predict_log_proba(task.gate_view)
        predictions = self.corrected(solution.correction, rows)
        log_prob = mixture.log_prob(solution.likelihoods, task.y, predictions)
        return -mixture.log_density(log_gate, log_prob)

    def _correction(self, resp, rows, correction):
        """Corrections that fit best with given responsibilities."""
        weight = resp * self.weight[rows, None]
        if self.task.classes is not None:
            return self._temper(weight, rows, correction)
        answers, target = self.answers[rows], self.target[rows, None, :]
        mass = weight.sum(axis=0)[:, None] + CORRECTION_ALPHA
        first = np.einsum("nk,nkd->kd", weight, answers)
        second = np.einsum("nk,nkd->kd", weight, answers**2) + CORRECTION_ALPHA
        on_slope = np.einsum("nk,nkd->kd", weight, answers * target) + CORRECTION_ALPHA
        on_intercept = np.einsum("nk,njd->kd", weight, target)
        slope = (mass * on_slope - first * on_intercept) / (mass * second - first**2)
        return np.stack([slope, (on_intercept - slope * first) / mass]).ravel()

    def _temper(self, weight, rows, start):
        """Inverse temperatures of all experts; the problem is convex."""
        answers, codes = self.answers[rows], self.task.y[rows]
        hit = answers[np.arange(len(codes)), :, codes]

        def penalised(temper):
            log_sum = logsumexp(temper[:, None] * answers, axis=2)
            proba = np.exp(temper[:, None] * answers - log_sum[:, :, None])
            expected = np.sum(proba * answers, axis=2)
            away = temper - 1.0
            value = np.sum(weight * (log_sum - temper * hit))
            slope = np.sum(weight * (expected - hit), axis=0) + CORRECTION_ALPHA * away
            return value + 0.5 * CORRECTION_ALPHA * away @ away, slope

        bounds = optimize.Bounds(lb=np.full(len(start), COLDEST))
        return optimize.minimize(
            penalised, start, jac=True, method="L-BFGS-B", bounds=bounds
        ).x
