"""A mixture of networks in training: one batch forward and back, and all rows."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..._kernels.network import experts_backward, experts_forward, gather
from ..._kernels.routing import group_slots
from ..._numerics.multinomial import log_weights
from ..._numerics.network import NO_MASK
from ...experts._base import traits
from ...losses import GateBatch
from ...routers import Routing
from ...routers._base import learned_from, routed
from . import objectives
from .gate import Room
from .layout import ParameterLayout
from .team import Team

# Rows of the pooled variance that are added to those of an expert.
POOLED_ROWS = 5.0
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


class Step(NamedTuple):
    """What a batch cost.

    Attributes
    ----------
    value : float, the whole loss
    routing : Routing
    parts : list of floats: the loss of the task, then each auxiliary one
    touched : numbers of the segments of the parameters that it says something of
    """

    value: float
    routing: Routing
    parts: list
    touched: np.ndarray


class Watched(NamedTuple):
    """What the gate makes of some rows.

    Attributes
    ----------
    top : (n,) expert with the largest weight of each row
    load : (K,) mean weights of the gate, before any routing
    entropy : float, mean entropy of the gate's weights, in nats
    """

    top: np.ndarray
    load: np.ndarray
    entropy: float


class Spread(NamedTuple):
    """Errors of experts on rows that they serve, in standardised units.

    Attributes
    ----------
    scatter : (K, d) weighted sums of squared errors
    mass : (K, 1) weights of the rows
    is_sparse : bool, whether some row has not all experts
    """

    scatter: np.ndarray
    mass: np.ndarray
    is_sparse: bool

    def variances(self, n_variances):
        """Variances (n_variances, d); those of few rows are near that of all."""
        whole = self.scatter.sum(axis=0) / self.mass.sum()
        if n_variances == 1:
            return whole[None]
        return (self.scatter + POOLED_ROWS * whole) / (self.mass + POOLED_ROWS)


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

    @cached_property
    def team(self):
        """Who computes the experts of a batch."""
        return Team(self.task.recipe.n_jobs)

    @cached_property
    def room(self):
        """Arrays of the batches."""
        return Room()

    # -- one batch ------------------------------------------------------------

    def gradient(self, theta, rows, rng, phase, losses, gradient):
        """:class:`Step` of a batch, whose gradient is added to ``gradient``."""
        router = self.task.recipe.router
        X = _rows(self.gate_design, rows, theta.dtype)
        X = np.ascontiguousarray(router.jitter(X, rng), dtype=theta.dtype)
        gate_theta = theta[: self.gate.n_parameters]
        room = self.room
        outputs, kept = self.gate.forward(X, gate_theta, phase.temperature, room)
        logits, pull = router.perturb(outputs, rng)
        # Softmax and objective are in double precision, whatever networks are in.
        own = room.of("log weights", logits.size).reshape(logits.shape)
        own[:] = logits
        routing, reference = self._route_batch(own, rows, rng, phase.dense)
        scratch = self._forward_experts(theta, rows, routing, phase.dropout, rng)
        given = self.guide[rows] if phase.guided else None
        slope = self._slope(theta, rows, routing, scratch[-1], given)
        batch = GateBatch(outputs, logits, routing, router, self.gate.tree)
        values, extra = _auxiliary(losses, batch)
        learns = router.gated or phase.dense
        push = self._push(slope.weighted, routing, reference, extra, learns)
        self.gate.backward(
            X,
            gate_theta,
            kept,
            pull(push) if extra is NOTHING else pull(push) + extra.outputs,
            phase.temperature,
            gradient[: self.gate.n_parameters],
        )
        self._backward_experts(
            theta, scratch, slope.predictions, gradient, phase.dropout
        )
        if slope.log_variance is not None:
            self._add_variances(slope.log_variance, gradient)
        parts = [slope.value, *values]
        touched = self.touched(np.flatnonzero(np.diff(scratch[1])))
        return Step(sum(parts), routing, parts, touched)

    def _push(self, weighted, routing, reference, extra, learns):
        """Gradient of the logits (n, K), that of the auxiliary losses included."""
        if extra is not NOTHING:
            weighted = weighted + routing.weights * extra.weights
        if learns:
            out = self.room.of("push", reference.size).reshape(reference.shape)
            push = objectives.weights_to_logits(
                weighted, routing.indices, reference, out
            )
        else:
            push = np.zeros(reference.shape)
        return push if extra is NOTHING else push + extra.logits

    def _add_variances(self, slope, gradient):
        own = slope.sum(axis=0) if self.n_variances == 1 else slope.ravel()
        gradient[self.variances] += own

    def _log_gate(self, logits):
        log_gate = log_weights(logits)
        # One logit that is none makes its whole row none.
        if np.isnan(log_gate[:, 0]).any():
            raise Diverged("the gate gave no finite weights")
        return log_gate

    def _all_experts(self, log_gate):
        n_rows, n_experts = log_gate.shape
        indices = np.broadcast_to(np.arange(n_experts), log_gate.shape)
        load = np.full(n_experts, n_rows)
        return Routing(np.ascontiguousarray(indices), np.exp(log_gate), load)

    def _route_batch(self, logits, rows, rng, dense):
        """Routing of a training batch, and log-weights (n, K) that its weights are."""
        log_gate = self._log_gate(logits)
        if dense or self.task.recipe.router.is_dense:
            return self._all_experts(log_gate), log_gate
        router, X = self.task.recipe.router, self.task.rows.gate_view[rows]
        routing = routed(router, log_gate, X=X, rng=rng, training=True)
        if not router.gated:
            return routing, log_gate
        return learned_from(router, log_gate, routing)

    def _route(self, logits, rows, dense):
        """Routing of rows as they are predicted."""
        log_gate = self._log_gate(logits.copy())
        if dense or self.task.recipe.router.is_dense:
            return self._all_experts(log_gate)
        router, X = self.task.recipe.router, self.task.rows.gate_view[rows]
        if router.plain_top_k:
            log_gate = self.gate.reached(log_gate, router.n_active(self.n_experts))
        return routed(router, log_gate, X=X)

    def _forward_experts(self, theta, rows, routing, dropout=0.0, rng=None):
        indices = np.ascontiguousarray(routing.indices, dtype=np.int64)
        slots, bounds = group_slots(indices, self.n_experts)
        kept, kind = [], theta.dtype
        predictions = np.zeros((*indices.shape, self.n_outputs), dtype=kind)
        for family in self.families:
            inputs = np.empty((len(slots), family.network.sizes[0]), dtype=kind)
            work = np.empty(len(slots) * sum(family.network.sizes[1:]), dtype=kind)
            masks = _dropout_masks(family.network, len(slots), dropout, rng)
            before = _rows(family.design, rows, kind), slots, bounds
            after = theta, masks, inputs, work, predictions

            def forward(offsets, family=family, before=before, after=after):
                experts_forward(*before, offsets, *family.network.arguments, *after)

            self.team.run(forward, family.offsets, self._work(family, slots))
            kept.append((masks, inputs, work))
        return slots, bounds, kept, predictions

    def _backward_experts(self, theta, scratch, deltas, gradient, dropout):
        slots, bounds, kept, _ = scratch
        deltas = np.ascontiguousarray(deltas, dtype=theta.dtype)
        for family, (masks, inputs, work) in zip(self.families, kept, strict=True):
            after = theta, masks, 1.0 - dropout, inputs, work, deltas, gradient

            def backward(offsets, family=family, after=after):
                own = offsets, *family.network.arguments
                experts_backward(slots, bounds, *own, *after)

            self.team.run(backward, family.offsets, self._work(family, slots))

    def _work(self, family, slots):
        """Products that the experts of a family take for their rows, about."""
        return len(slots) * family.network.n_parameters

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
        outputs = self.gate_outputs(theta, rows, temperature)
        return log_weights(outputs[:, : self.n_experts])

    def gate_outputs(self, theta, rows, temperature):
        """What the gate says of rows, (n, K) logits and what the router needs."""
        own = theta[: self.gate.n_parameters]
        X = _rows(self.gate_design, rows, theta.dtype)
        return self.gate.forward(X, own, temperature)[0]

    def served(self, theta, rows, phase):
        """Weights (K,) that rows give the experts at prediction, and the top ones."""
        total, top = np.zeros(self.n_experts), np.empty(len(rows), dtype=int)
        for start in range(0, len(rows), EVALUATED_ROWS):
            part = rows[start : start + EVALUATED_ROWS]
            logits = self.log_gate(theta, part, phase.temperature)
            routing = self._route(logits, part, dense=False)
            total += routing.dense().sum(axis=0)
            best = routing.weights.argmax(axis=1)
            top[start : start + len(part)] = np.take_along_axis(
                routing.indices, best[:, None], axis=1
            )[:, 0]
        return total, top

    def watched(self, theta, rows, phase):
        """:class:`Watched` of some rows, as they would be predicted."""
        log_gate = self.log_gate(theta, rows, phase.temperature)
        routing = self._route(log_gate, rows, phase.dense)
        best = routing.weights.argmax(axis=1)
        own = np.exp(log_gate)
        informed = np.multiply(own, log_gate, out=np.zeros_like(own), where=own > 0)
        share = self.weight[rows] / self.weight[rows].sum()
        return Watched(
            routing.indices[np.arange(len(rows)), best],
            share @ own,
            -float(share @ informed.sum(axis=1)),
        )

    def _predicted(self, theta, rows, phase):
        """Blocks of rows with their routing and predictions, as outside of training."""
        for start in range(0, len(rows), EVALUATED_ROWS):
            part = rows[start : start + EVALUATED_ROWS]
            logits = self.log_gate(theta, part, phase.temperature)
            routing = self._route(logits, part, phase.dense)
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

    def residuals(self, theta, rows, phase):
        """:class:`Spread` of the experts' errors on the rows that each one serves."""
        scatter = np.zeros((self.n_experts, self.n_outputs))
        mass, is_sparse = np.zeros((self.n_experts, 1)), False
        for part, routing, predictions in self._predicted(theta, rows, phase):
            error = (self.target[part][:, None, :] - predictions) ** 2
            share = self._shares(theta, part, routing, predictions)
            share = share * self.weight[part, None]
            used = routing.indices >= 0
            np.add.at(scatter, routing.indices[used], (share[:, :, None] * error)[used])
            np.add.at(mass, routing.indices[used], share[used][:, None])
            is_sparse |= bool(used.sum() < len(part) * self.n_experts)
        return Spread(scatter, mass, is_sparse)

    def _shares(self, theta, rows, routing, predictions):
        """What of a row is left to each slot (n, k): of the posterior, or the gate."""
        if not self.likely:
            return routing.weights
        return self._slope(theta, rows, routing, predictions).resp


def _dropout_masks(network, n_slots, dropout, rng):
    """Zeros, and one over the share that is kept, for each hidden unit of each slot."""
    if dropout == 0.0:
        return NO_MASK
    size = n_slots * sum(network.sizes[1:-1])
    return (rng.random(size) >= dropout) / (1.0 - dropout)


def _rows(design, rows, dtype):
    out = np.empty((len(rows), design.X.shape[1]), dtype=dtype)
    gather(*design, rows, out)
    return out


class Extra(NamedTuple):
    """Summed slopes of the auxiliary losses; zero where there are none."""

    outputs: np.ndarray | float = 0.0
    logits: np.ndarray | float = 0.0
    weights: np.ndarray | float = 0.0


NOTHING = Extra()


def _auxiliary(losses, batch):
    """Value of each auxiliary loss, and their summed slopes."""
    values, total = [], NOTHING if not losses else Extra()
    for loss in losses:
        own, slopes = loss.value_and_slopes(batch)
        values.append(own)
        total = Extra(
            *(a if b is None else a + b for a, b in zip(total, slopes, strict=True))
        )
    return values, total
