"""A mixture of networks in training: one batch forward and back, and all rows."""

from typing import NamedTuple

import numpy as np

from ..._kernels.network import experts_backward, experts_forward, gather
from ..._kernels.routing import group_slots
from ..._numerics.multinomial import log_weights
from ..._numerics.network import NO_MASK
from ...experts._base import traits
from ...losses import GateBatch
from ...routers import Routing
from ...routers._base import make_routing, routed
from . import objectives
from .layout import ParameterLayout

# Rows that are predicted at a time.
EVALUATED_ROWS = 4096


class Phase(NamedTuple):
    """What changes from epoch to epoch."""

    temperature: float
    dense: bool
    guided: bool = False
    dropout: float = 0.0


def check_gate(task):
    """Raise ``ValueError`` unless the gate is a network on dense numbers."""
    if not task.recipe.gate.differentiable:
        raise ValueError(
            f"Gradient got gate={task.recipe.gate!r}, which has no network; "
            "SoftmaxGate and MLPGate have one; use trainer='em'."
        )
    if not isinstance(task.rows.gate_view, np.ndarray):
        raise ValueError(
            "Gradient got a gate that reads other than dense numeric columns; choose "
            "them by gate_features, or use trainer='em'."
        )


def is_differentiable(task):
    """Whether the experts too are networks on dense numbers."""
    return all(
        traits(expert).differentiable and isinstance(view, np.ndarray)
        for expert, view in zip(
            task.recipe.experts, task.rows.expert_views, strict=True
        )
    )


class Diverged(Exception):
    """Training left the finite numbers; the message says where."""


class GradientTask(ParameterLayout):
    """Losses of batches and of all rows, and their gradients in the parameters.

    Parameters are those of :class:`ParameterLayout`.

    Attributes
    ----------
    guide : (n, K) or None
        Responsibilities that guided epochs follow.
    """

    guide = None

    # -- one batch ------------------------------------------------------------

    def gradient(self, theta, rows, rng, phase, losses, gradient):
        """Loss of a batch and its gradient, which is added to; returns the routing."""
        router = self.task.recipe.router
        X = _rows(self.gate_design, rows)
        X = np.ascontiguousarray(router.jitter(X, rng))
        gate_theta = theta[: self.gate.n_parameters]
        outputs, kept = self.gate.forward(X, gate_theta, phase.temperature)
        logits, pull = router.perturb(outputs, rng)
        routing, log_gate, normalised = self._route(logits, rows, rng, phase.dense)
        scratch = self._forward_experts(theta, rows, routing, phase.dropout, rng)
        given = self.guide[rows] if phase.guided else None
        slope = self._slope(theta, rows, routing, scratch[-1], given)
        value, extra = _auxiliary(losses, GateBatch(outputs, logits, routing, router))
        weighted = slope.weighted + routing.weights * extra.weights
        push = extra.logits
        if router.gated or phase.dense:
            push = push + objectives.weights_to_logits(
                weighted, routing, log_gate, normalised
            )
        self.gate.backward(
            X,
            gate_theta,
            kept,
            pull(push) + extra.outputs,
            phase.temperature,
            gradient[: self.gate.n_parameters],
        )
        self._backward_experts(
            theta, scratch, slope.predictions, gradient, phase.dropout
        )
        if slope.log_variance is not None:
            self._add_variances(slope.log_variance, gradient)
        return slope.value + value, routing

    def _add_variances(self, slope, gradient):
        own = slope.sum(axis=0) if self.n_variances == 1 else slope.ravel()
        gradient[self.variances] += own

    def _route(self, logits, rows, rng, dense, training=True):
        log_gate = log_weights(logits.copy())
        if np.isnan(log_gate).any():
            raise Diverged("the gate gave no finite weights")
        if dense:
            indices = np.tile(np.arange(self.n_experts), (len(rows), 1))
            return make_routing(log_gate, indices), log_gate, True
        router = self.task.recipe.router
        reached = log_gate
        if not training and router.plain_top_k:
            reached = self.gate.reached(log_gate, router.n_active(self.n_experts))
        X = self.task.rows.gate_view[rows]
        routing = routed(router, reached, X=X, rng=rng, training=training)
        return routing, log_gate, router.normalised or not training

    def _forward_experts(self, theta, rows, routing, dropout=0.0, rng=None):
        indices = np.ascontiguousarray(routing.indices, dtype=np.int64)
        slots, bounds = group_slots(indices, self.n_experts)
        predictions = np.zeros((*indices.shape, self.n_outputs))
        kept = []
        for family in self.families:
            inputs = np.empty((len(slots), family.network.sizes[0]))
            work = np.empty(len(slots) * sum(family.network.sizes[1:]))
            masks = _dropout_masks(family.network, len(slots), dropout, rng)
            experts_forward(
                _rows(family.design, rows),
                slots,
                bounds,
                family.offsets,
                *family.network.arguments,
                theta,
                masks,
                inputs,
                work,
                predictions,
            )
            kept.append((masks, inputs, work))
        return slots, bounds, kept, predictions

    def _backward_experts(self, theta, scratch, deltas, gradient, dropout):
        slots, bounds, kept, _ = scratch
        deltas = np.ascontiguousarray(deltas)
        for family, (masks, inputs, work) in zip(self.families, kept, strict=True):
            experts_backward(
                slots,
                bounds,
                family.offsets,
                *family.network.arguments,
                theta,
                masks,
                1.0 - dropout,
                inputs,
                work,
                deltas,
                gradient,
            )

    def _slope(self, theta, rows, routing, predictions, given=None, likely=False):
        common = (
            self.target[rows],
            self.weight[rows],
            routing.indices,
            routing.weights,
            predictions,
            given,
        )
        if self.task.rows.classes is not None:
            return self._class_slope(rows, common)
        log_variance = self.log_variance(theta)
        if self.likely or likely or given is not None:
            return objectives.gaussian_likelihood(*common, log_variance)
        return objectives.squared_error(*common, log_variance)

    def _class_slope(self, rows, common):
        codes, weight, indices, weights, predictions, given = common
        fallback = np.broadcast_to(self.scales.log_prior, (len(rows), self.n_outputs))
        if self.task.rows.log_prior is not None:
            fallback = self.task.rows.log_prior[rows]
            predictions = predictions + fallback[:, None, :]
        fallback = fallback[np.arange(len(rows)), codes]
        return objectives.categorical_likelihood(
            codes, weight, indices, weights, predictions, given, fallback
        )

    # -- all rows -------------------------------------------------------------

    def log_gate(self, theta, rows, temperature):
        """Log-weights (n, K) of rows without noise."""
        outputs, _ = self.gate.forward(
            _rows(self.gate_design, rows),
            theta[: self.gate.n_parameters],
            temperature,
        )
        return log_weights(outputs[:, : self.n_experts])

    def top_experts(self, theta, rows, phase):
        """Expert with the largest weight of each row, as it would be predicted."""
        log_gate = self.log_gate(theta, rows, phase.temperature)
        routing, _, _ = self._route(log_gate, rows, None, phase.dense, False)
        best = routing.weights.argmax(axis=1)
        return routing.indices[np.arange(len(rows)), best]

    def _predicted(self, theta, rows, phase):
        """Blocks of rows with their routing and predictions, as outside of training."""
        for start in range(0, len(rows), EVALUATED_ROWS):
            part = rows[start : start + EVALUATED_ROWS]
            logits = self.log_gate(theta, part, phase.temperature)
            routing, _, _ = self._route(logits, part, None, phase.dense, False)
            yield part, routing, self._forward_experts(theta, part, routing)[-1]

    def evaluate(self, theta, rows, phase, likely=False):
        """Mean loss of rows as they would be predicted, and the experts' loads.

        With ``likely`` it is the negative log-likelihood, whatever the objective.
        """
        total, load, weight = 0.0, np.zeros(self.n_experts), 0.0
        for part, routing, predictions in self._predicted(theta, rows, phase):
            slope = self._slope(theta, part, routing, predictions, likely=likely)
            total += slope.value * len(part)
            resp = Routing(routing.indices, slope.resp, routing.load).dense()
            load += self.weight[part] @ resp
            weight += self.weight[part].sum()
        return total / weight, load / weight

    def residual_variance(self, theta, rows, phase):
        """Log-variances of the experts' residuals, weighted by the gate."""
        scatter = np.zeros((self.n_experts, self.n_outputs))
        mass = np.full((self.n_experts, 1), np.finfo(float).tiny)
        for part, routing, predictions in self._predicted(theta, rows, phase):
            error = (self.target[part][:, None, :] - predictions) ** 2
            share = routing.weights * self.weight[part, None]
            used = routing.indices >= 0
            np.add.at(scatter, routing.indices[used], (share[:, :, None] * error)[used])
            np.add.at(mass, routing.indices[used], share[used][:, None])
        if self.n_variances == 1:
            scatter, mass = scatter.sum(axis=0), mass.sum()
        return np.log(np.maximum(scatter / mass, np.finfo(float).tiny)).ravel()


def _dropout_masks(network, n_slots, dropout, rng):
    """Zeros, and one over the share that is kept, for each hidden unit of each slot."""
    if dropout == 0.0:
        return NO_MASK
    size = n_slots * sum(network.sizes[1:-1])
    return (rng.random(size) >= dropout) / (1.0 - dropout)


def _rows(design, rows):
    out = np.empty((len(rows), design.X.shape[1]))
    gather(*design, rows, out)
    return out


class Extra(NamedTuple):
    """Summed slopes of the auxiliary losses; zero where there are none."""

    outputs: np.ndarray | float = 0.0
    logits: np.ndarray | float = 0.0
    weights: np.ndarray | float = 0.0


def _auxiliary(losses, batch):
    value, total = 0.0, Extra(logits=np.zeros_like(batch.logits))
    for loss in losses:
        own, slopes = loss.value_and_slopes(batch)
        value += own
        total = Extra(
            *(a if b is None else a + b for a, b in zip(total, slopes, strict=True))
        )
    return value, total
