"""The second of two stages: a gate and corrections, fitted to given predictions."""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import log_softmax, softmax
from sklearn.base import clone

from ... import mixture
from ..._numerics.design import as_dense, make_design
from .._gradient.gate import expert_draws, gate_network
from .._variances import Designs, fit_variances
from .corrections import corrections_for

# Rounds in which responsibilities and dispersions are brought in line.
DISPERSION_ROUNDS = 20
# Responsibilities that differ by less are the same.
SAME_SHARE = 1e-6
# Gain in nats per row and iteration that does not matter any more.
TOLERANCE = 1e-5
# Last iterations over which L-BFGS, whose steps vary much, is judged by that.
LAST_STEPS = 10


class Solution(NamedTuple):
    """What was found on some of the rows.

    Attributes
    ----------
    state : parameters of a network, or a fitted gate
    correction : corrections of all experts, as one vector
    bounds : list of float, objective per iteration; higher is better
    converged : bool
    likelihoods : fitted likelihoods, or None if they take no part
    origin : log-weights and corrections to start from, or None
    """

    state: Any
    correction: np.ndarray
    bounds: list
    converged: bool
    likelihoods: Any = None
    origin: Any = None


def gate_stage(task, predictions, calibrate, max_iter, objective, offsets=True):
    """The stage that suits the objective and the gate of a task.

    For class labels both objectives are the same, the log-loss.
    """
    by_gradient = objective == "prediction" or task.rows.classes is not None
    is_network = task.recipe.gate.differentiable
    if by_gradient and is_network and isinstance(task.rows.gate_view, np.ndarray):
        n_experts = task.recipe.n_experts
        alone = task.recipe.router.prefers_one(n_experts)
        kind = AloneStage if alone else NetworkStage
    else:
        kind = ResponsibilityStage
    return kind(task, predictions, calibrate, max_iter, offsets)


class GateStage:
    """Corrections of given predictions, and what becomes of a solution.

    Parameters
    ----------
    task : Task
        The rows that were predicted.
    predictions : (n, K, d) predictions, or (n, K, C) class probabilities
    calibrate : bool
    max_iter : int
    offsets : bool
        Whether classes get offsets.
    """

    #: Whether the gate can be made to say the same of every row, by ``alpha=inf``.
    can_be_constant = False

    def __init__(self, task, predictions, calibrate, max_iter, offsets):
        self.task, self.calibrate, self.max_iter = task, calibrate, max_iter
        self.weight = task.rows.weight
        self.corrections = corrections_for(task, predictions, offsets)

    @property
    def has_penalty(self):
        """Whether the gate has a penalty that can be chosen."""
        return self.penalised_gate() is not None

    def penalised_gate(self):
        """A copy of the gate, and of its part with a penalty, or None."""
        gate = clone(self.task.recipe.gate)
        part = gate.node_gate
        return (gate, part) if "alpha" in part.get_params() else None

    def chosen(self, losses):
        """Row of ``losses`` (m, n) of the penalty to take, the strongest first."""
        return largest_within_error(losses, self.weight)

    def corrected(self, correction, rows=slice(None)):
        """Corrected predictions of each expert, on the scale of the data."""
        return list(self.corrections.predictions(correction, rows).transpose(1, 0, 2))

    def best_correction(self, resp, rows, start):
        """Corrections that fit best with given responsibilities (m, K)."""
        if not self.calibrate:
            return start
        return self.corrections.best(resp * self.weight[rows, None], rows, start)

    def posterior(self, solution):
        """Fitted gate, likelihoods, log-weights and log-densities (n, K)."""
        gate = self.gate_of(solution)
        log_gate = gate.predict_log_proba(self.task.rows.gate_view)
        predictions = self.corrected(solution.correction)
        likelihoods, log_prob = dispersions(self.task, predictions, log_gate)
        return gate, likelihoods, log_gate, log_prob

    def to_fit(self, solution, alpha, fitted, posterior):
        """Fitted parts; ``fitted`` are the experts on all rows, ``posterior`` that of
        the solution."""
        task = self.task
        gate, likelihoods, log_gate, log_prob = posterior
        density = mixture.log_density(log_gate, log_prob)
        resp = mixture.responsibilities(log_gate, log_prob)
        load = task.rows.weight @ resp / task.rows.weight.sum()
        bounds = solution.bounds
        return task.made(
            gate,
            self.correct(fitted, solution.correction),
            likelihoods,
            log_likelihood=task.rows.weight @ density,
            lower_bounds=bounds,
            load=load,
            converged=solution.converged,
            history={"bound": bounds, "load": [load], "alpha": alpha},
        )

    def correct(self, fitted, correction):
        """The fitted experts with their corrections around them."""
        if not self.calibrate:
            return fitted
        return self.corrections.around(fitted, correction)


class NetworkStage(GateStage):
    """Gates that are networks: L-BFGS on the loss of the combined prediction."""

    can_be_constant = True

    def __init__(self, task, predictions, calibrate, max_iter, offsets):
        super().__init__(task, predictions, calibrate, max_iter, offsets)
        self.design = make_design(as_dense(task.rows.gate_view), self.weight)
        self.X = (self.design.X - self.design.center) * self.design.inverse_scale
        n_inputs = self.X.shape[1]
        self.network = gate_network(
            task.recipe.gate, n_inputs, task.recipe.n_experts, task.recipe.n_experts
        )
        self.n_gate = self.network.n_parameters
        # Of the loss, in which the penalty of the gate and tolerances count.
        self.unit = 1.0

    def start(self, origin):
        """Nearly the same weights everywhere, and corrections, as one vector."""
        draws, spread = expert_draws(self.task), self.design.inverse_scale > 0
        gate = self.network.start(self.task.recipe.seed, draws, spread)
        log_weights, correction = origin
        self.network.set_log_weights(gate, log_weights)
        return np.concatenate([gate, correction])

    def origin(self, rows):
        """Log-weights (K,) and corrections toward which those of some rows shrink."""
        if not self.calibrate:
            return np.zeros(self.task.recipe.n_experts), self.corrections.identity
        return self.corrections.stacked(self.weight, rows)

    def solve(self, alpha, rows=slice(None), start=None):
        """Solution on some of the rows, from an earlier one."""
        alpha = self.network.alpha if alpha is None else alpha
        is_weight, is_constant = self.network.is_weight(), np.isinf(alpha)
        own = (0.0 if is_constant else alpha) * self.unit * is_weight
        ridge = np.concatenate([own, self.corrections.alpha]) / self.weight[rows].sum()
        origin = self.origin(rows) if start is None else start.origin
        center = np.concatenate([np.zeros(self.n_gate), origin[1]])
        free = np.where(is_constant & (is_weight > 0), 0.0, np.inf)

        def penalised(theta):
            value, gradient = self.loss(theta, rows)
            away = theta - center
            if not self.calibrate:
                gradient[self.n_gate :] = 0.0
            value += 0.5 * ridge @ away**2
            return value / self.unit, (gradient + ridge * away) / self.unit

        bounds = []
        result = optimize.minimize(
            penalised,
            self.first(origin, start),
            jac=True,
            method="L-BFGS-B",
            bounds=optimize.Bounds(
                np.concatenate([-free, self.corrections.lowest]),
                np.concatenate([free, self.corrections.highest]),
            ),
            callback=lambda intermediate_result: bounds.append(
                -float(intermediate_result.fun)
            ),
            options={"maxiter": self.max_iter, "ftol": self.corrections.tolerance},
        )
        return Solution(
            state=result.x[: self.n_gate],
            correction=result.x[self.n_gate :],
            bounds=bounds or [-float(result.fun)],
            converged=bool(result.success) or self._has_settled(bounds),
            origin=origin,
        )

    def _has_settled(self, bounds):
        """Whether the last steps gained nothing to speak of."""
        if len(bounds) <= LAST_STEPS:
            return False
        nat = self.corrections.nat(-bounds[-1] * self.unit) / self.unit
        return bounds[-1] - bounds[-1 - LAST_STEPS] < LAST_STEPS * TOLERANCE * nat

    def first(self, origin, start):
        """Where to begin: where an earlier solution ended, or at the origin."""
        return self.start(origin) if start is None else np.concatenate(start[:2])

    def gate_of(self, solution):
        """The fitted gate."""
        return self.network.fitted(solution.state, 1.0, self.design)

    def held_out(self, solution, rows):
        """Losses (m,) of rows that the solution has not seen."""
        outputs, _ = self._forward(solution.state, rows)
        return self._slopes(outputs, solution.correction, rows)[0]

    def loss(self, theta, rows):
        """Mean loss of the combined prediction of some rows, and its gradient."""
        gate = np.ascontiguousarray(theta[: self.n_gate])
        outputs, kept = self._forward(gate, rows)
        share = self.weight[rows] / self.weight[rows].sum()
        each, on_outputs, on_corrected = self._slopes(
            outputs, theta[self.n_gate :], rows
        )
        gradient = np.zeros_like(theta)
        gradient[self.n_gate :] = self.corrections.gradient(
            share[:, None, None] * on_corrected, rows
        )
        push = share[:, None] * on_outputs
        X = self.X[rows]
        self.network.backward(X, gate, kept, push, 1.0, gradient[: self.n_gate])
        return float(share @ each), gradient

    def _forward(self, gate, rows):
        return self.network.forward(np.ascontiguousarray(self.X[rows]), gate, 1.0)

    def _slopes(self, outputs, correction, rows):
        """Losses (m,), slopes of the outputs (m, K) and of corrected answers."""
        return self.corrections.combined(log_softmax(outputs, axis=1), correction, rows)


class AloneStage(NetworkStage):
    """The same where one expert serves a row.

    The loss is the mean one of experts that answer alone, or they would come to rely on
    others that are not asked.
    """

    def __init__(self, task, predictions, calibrate, max_iter, offsets):
        super().__init__(task, predictions, calibrate, max_iter, offsets)
        _, best = self.origin(slice(None))
        losses, _ = self.corrections.alone(best, slice(None))
        least = np.min(self.weight @ losses) / self.weight.sum()
        self.unit = self.corrections.nat(least) or 1.0

    def origin(self, rows):
        """Equal weights, and each expert's own best correction."""
        resp = np.ones((len(self.weight[rows]), self.task.recipe.n_experts))
        best = self.best_correction(resp, rows, self.corrections.identity)
        return np.zeros(self.task.recipe.n_experts), best

    def first(self, origin, start):
        """Equal weights: those near one or zero, with which a strong penalty ends,
        hardly move any more."""
        return self.start(origin)

    def chosen(self, losses):
        """As elsewhere, but nearer the best: no blend makes up for a wrong expert."""
        return largest_within_error(losses, self.weight, 0.5)

    def held_out(self, solution, rows):
        """Losses (m,) of the experts that serve rows that the solution has not seen."""
        outputs, _ = self._forward(solution.state, rows)
        losses, _ = self.corrections.alone(solution.correction, rows)
        reached = self.network.reached(outputs, 1)
        return losses[np.arange(len(losses)), reached.argmax(axis=1)]

    def _slopes(self, outputs, correction, rows):
        losses, on_corrected = self.corrections.alone(correction, rows)
        weights = softmax(outputs, axis=1)
        each = np.sum(weights * losses, axis=1)
        on_outputs = weights * (losses - each[:, None])
        return each, on_outputs, weights[:, :, None] * on_corrected


class ResponsibilityStage(GateStage):
    """Gates that are fitted to responsibilities: EM with the experts given."""

    def solve(self, alpha, rows=slice(None), start=None):
        """Solution on some of the rows."""
        rows = np.arange(len(self.weight))[rows]
        task, weight = self.task.on_rows(rows), self.task.rows.weight[rows]
        gate, correction = None, self.corrections.identity
        likelihoods, designs = None, Designs(weight)
        bounds, converged = [], False
        log_gate = np.full(
            (len(rows), task.recipe.n_experts), -np.log(task.recipe.n_experts)
        )
        resp = np.exp(log_gate)
        while len(bounds) < self.max_iter and not converged:
            predictions = self.corrected(correction, rows)
            likelihoods = fit_likelihoods(task, predictions, resp, designs, likelihoods)
            at_rows = mixture.at_views(likelihoods, task.rows.expert_views)
            log_prob = mixture.log_prob(at_rows, task.rows.y, predictions)
            density = mixture.log_density(log_gate, log_prob)
            resp = mixture.responsibilities(log_gate, log_prob)
            bounds.append(float(weight @ density / weight.sum()))
            converged = len(bounds) > 1 and bounds[-1] - bounds[-2] < TOLERANCE
            precise = resp * row_weights(at_rows, task.rows.y, predictions)
            correction = self.best_correction(precise, rows, correction)
            gate = self._gate(gate, alpha, task, resp)
            log_gate = gate.log_joint(task.rows.gate_view)
        return Solution(gate, correction, bounds, converged, likelihoods)

    def _gate(self, gate, alpha, task, resp):
        """The gate after another fit, or step."""
        if gate is not None:
            return gate.update(task.rows.gate_view, resp, task.rows.weight)
        gate = clone(task.recipe.gate)
        if alpha is not None:
            gate, part = self.penalised_gate()
            part.set_params(alpha=alpha)
        return gate.fit(task.rows.gate_view, resp, task.rows.weight)

    def gate_of(self, solution):
        """The fitted gate."""
        return solution.state

    def held_out(self, solution, rows):
        """Negative log-densities (m,) of rows that the solution has not seen."""
        task = self.task.on_rows(rows)
        log_gate = solution.state.predict_log_proba(task.rows.gate_view)
        predictions = self.corrected(solution.correction, rows)
        at_rows = mixture.at_views(solution.likelihoods, task.rows.expert_views)
        log_prob = mixture.log_prob(at_rows, task.rows.y, predictions)
        return -mixture.log_density(log_gate, log_prob)


def dispersions(task, predictions, log_gate):
    """Likelihoods, and log-densities (n, K), of out-of-fold predictions."""
    resp, likelihoods = np.exp(log_gate), None
    designs, before = Designs(task.rows.weight), None
    for _ in range(DISPERSION_ROUNDS):
        if before is not None and np.abs(resp - before).max() < SAME_SHARE:
            break
        before = resp
        likelihoods = fit_likelihoods(task, predictions, resp, designs, likelihoods)
        log_prob = mixture.log_prob(
            mixture.at_views(likelihoods, task.rows.expert_views),
            task.rows.y,
            predictions,
        )
        resp = mixture.responsibilities(log_gate, log_prob)
    return likelihoods, log_prob


def fit_likelihoods(task, predictions, resp, designs, before=None):
    """Likelihoods of given predictions, fitted to responsibilities (n, K)."""
    weights = resp * task.rows.weight[:, None]
    fitted = task.recipe.likelihood.fit_dispersions(task.rows.y, predictions, weights)
    return fit_variances(
        task, fitted, predictions, weights, designs, before=before, settles=True
    )


def row_weights(likelihoods, y, predictions):
    """What rows count for the corrections of each expert, (n, K)."""
    pairs = zip(likelihoods, predictions, strict=True)
    weights = [own.row_weight(y, at) for own, at in pairs]
    return np.column_stack([np.ones(len(y)) if w is None else w for w in weights])


def largest_within_error(losses, weight, n_errors=1.0):
    """First row of ``losses`` within paired standard errors of the best one.

    ``losses`` (m, n) are those of n rows, for the strongest penalty first.
    """
    best = losses[np.argmin(losses @ weight)]
    mean, error = mean_and_error(losses - best, weight)
    return int(np.argmax(mean <= n_errors * error))


def mean_and_error(values, weight):
    """Means of ``values`` (m, n) over rows, and their standard errors, both (m,)."""
    mean = np.average(values, axis=1, weights=weight)
    # A weight of two is two rows.
    return mean, np.sqrt((values - mean[:, None]) ** 2 @ weight) / weight.sum()
