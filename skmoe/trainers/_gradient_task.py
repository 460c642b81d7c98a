"""A mixture of networks as one parameter vector: layout, batches, and the way back."""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .. import _objectives as objectives
from .._design import Design, make_design, read_only
from .._kernels.network import experts_backward, experts_forward, gather
from .._kernels.routing import group_slots
from .._network import NO_MASK, Network
from ..experts import LinearExpert
from ..losses import GateBatch
from ..mixture import log_weights
from ..routers import Routing
from ..routers._base import make_routing
from ._gradient_gate import expert_draws, gate_network


class Family(NamedTuple):
    """Experts of one architecture on one set of columns.

    Attributes
    ----------
    network : Network
    design : Design
    offsets : (K,) where each expert's parameters start; -1 for other experts.
    """

    network: Network
    design: object
    offsets: np.ndarray


class Scales(NamedTuple):
    """How the target is standardised; the fallback of classes."""

    center: object
    spread: object
    log_prior: np.ndarray | None


class Phase(NamedTuple):
    """What changes from epoch to epoch."""

    temperature: float
    dense: bool
    guided: bool = False
    dropout: float = 0.0


def check_gate(task):
    """Raise ``ValueError`` unless the gate is a network on dense numbers."""
    if not hasattr(task.gate, "network"):
        raise ValueError(
            f"Gradient got gate={task.gate!r}, which is no network; use SoftmaxGate "
            "or MLPGate, or trainer='em'."
        )
    if not isinstance(task.gate_view, np.ndarray):
        raise ValueError(
            "Gradient got a gate that reads other than dense numeric columns; choose "
            "them by gate_features, or use trainer='em'."
        )


def is_differentiable(task):
    """Whether the experts too are networks on dense numbers."""
    return all(
        hasattr(expert, "network") and isinstance(view, np.ndarray)
        for expert, view in zip(task.experts, task.expert_views, strict=True)
    )


def check_continues(fits):
    """Raise ``ValueError`` unless an earlier run ``fits`` the parts as they are now."""
    if not fits:
        raise ValueError(
            "The fitted mixture has other parameters than gate and experts as they are "
            "set now; clone the estimator to start afresh."
        )


class GradientTask:
    """A task in standardised units, its parameters laid out in one vector.

    Parameters
    ----------
    task : Task
    objective : {"likelihood", "prediction"}
    state : State or None
        Of an earlier run, whose standardisation is kept.
    """

    def __init__(self, task, objective, state=None):
        self.task, self.n_experts = task, task.n_experts
        self.weight = task.weight / task.weight.mean()
        self.guide = None
        self.likely = objective == "likelihood"
        self._designs = {}
        self.scales = self._measure_target() if state is None else state.scales
        if state is not None:
            check_continues(len(state.designs) == len(self._views()))
            for view, scales in zip(self._views(), state.designs, strict=True):
                self._designs[id(view)] = Design(read_only(view), *scales)
        self._standardise_target()
        self._lay_out()

    def _design(self, view):
        if id(view) not in self._designs:
            self._designs[id(view)] = make_design(view, self.weight)
        return self._designs[id(view)]

    def _views(self):
        """What the networks see: the gate's, and that of each expert."""
        return [self.task.gate_view, *self.task.expert_views]

    def designs(self):
        """Centres and inverse scales of the columns of the gate and of each expert."""
        return [self._design(view)[1:] for view in self._views()]

    def _measure_target(self):
        """Scales of the target: centre and spread, or the logarithms of the shares."""
        task = self.task
        if task.classes is not None:
            share = np.bincount(task.y, self.weight, minlength=len(task.classes))
            return Scales(0.0, 1.0, np.log((share + 1.0) / (share + 1.0).sum()))
        center = np.average(task.y, axis=0, weights=self.weight)
        spread = np.average((task.y - center) ** 2, axis=0, weights=self.weight)
        return Scales(center, np.where(spread > 0, np.sqrt(spread), 1.0), None)

    def _standardise_target(self):
        task, scales = self.task, self.scales
        self.y_center, self.y_scale = scales.center, scales.spread
        if task.classes is not None:
            self.target, self.n_outputs = task.y, len(task.classes)
            return
        self.target = (task.y - scales.center) / scales.spread
        self.n_outputs = task.y.shape[1]

    def _lay_out_gate(self):
        task = self.task
        self.gate_design = self._design(task.gate_view)
        self.gate = gate_network(
            task.gate,
            task.gate_view.shape[1],
            self.n_experts,
            task.router.gate_outputs(self.n_experts),
        )

    def _lay_out(self):
        """Gate first, then the experts, then the log-variances."""
        task = self.task
        self._lay_out_gate()
        at, families = self.gate.n_parameters, {}
        self.expert_slices = []
        for k, (expert, view) in enumerate(
            zip(task.experts, task.expert_views, strict=True)
        ):
            network = expert.network(view.shape[1], self.n_outputs)
            family = families.setdefault(
                (network, id(view)),
                Family(network, self._design(view), np.full(self.n_experts, -1)),
            )
            family.offsets[k] = at
            self.expert_slices.append(slice(at, at + network.n_parameters))
            at += network.n_parameters
        self.families = list(families.values())
        scaled = self.likely and task.classes is None
        self._scaled_penalties = [
            k
            for k, expert in enumerate(task.experts)
            if scaled and isinstance(expert, LinearExpert)
        ]
        self.variances = slice(at, at)
        if task.classes is None:
            shared = task.likelihood.variance == "shared"
            self.n_variances = 1 if shared else self.n_experts
            self.variances = slice(at, at + self.n_variances * self.n_outputs)
        self.n_parameters = self.variances.stop

    def networks(self):
        """Network of each expert."""
        found = [None] * self.n_experts
        for family in self.families:
            for k in np.flatnonzero(family.offsets >= 0):
                found[k] = family.network
        return found

    def start(self):
        """Random parameters, those of each expert by its own seed.

        So the order of the experts does not matter.
        """
        theta = np.zeros(self.n_parameters)
        draws = expert_draws(self.task)
        theta[: self.gate.n_parameters] = self.gate.start(self.task.seed, draws)
        parts = zip(self.expert_slices, self.networks(), draws, strict=True)
        for where, network, rng in parts:
            theta[where] = network.start(rng)
        return theta

    def ridge(self):
        """Penalty of each parameter, per row."""
        ridge = self.is_weight()
        ridge[: self.gate.n_parameters] *= self.gate.alpha
        for expert, where in zip(self.task.experts, self.expert_slices, strict=True):
            ridge[where] *= expert.alpha
        return ridge / len(self.weight)

    def penalty_gradient(self, theta, ridge):
        """Gradient of the ridge penalties.

        That of a linear regression expert scales with its precision, as in EM, so that
        both trainers maximise the same objective.
        """
        gradient = ridge * theta
        if not self._scaled_penalties:
            return gradient
        precision = np.exp(-self.log_variance(theta))
        spread = np.zeros_like(precision)
        for k in self._scaled_penalties:
            where = self.expert_slices[k]
            own = gradient[where].reshape(-1, self.n_outputs)
            own *= precision[k]
            spread[k] = 0.5 * np.sum(own * theta[where].reshape(own.shape), axis=0)
        own = spread.sum(axis=0) if self.n_variances == 1 else spread.ravel()
        gradient[self.variances] -= own
        return gradient

    def frozen(self):
        """Mask of the parameters that ``task.freeze`` leaves alone."""
        freeze, names = self.task.freeze, self.task.names
        mask = np.zeros(self.n_parameters, dtype=bool)
        if freeze is None:
            return mask
        kept = names if freeze == "experts" else [] if freeze == "gate" else freeze
        unknown = sorted(set(kept) - set(names))
        if isinstance(freeze, str) and freeze not in ("experts", "gate") or unknown:
            raise ValueError(
                f"partial_fit got freeze={freeze!r}, but expected None, 'experts', "
                f"'gate' or a list of names out of {names}."
            )
        mask[: self.gate.n_parameters] = freeze == "gate"
        for k, name in enumerate(names):
            mask[self.expert_slices[k]] = name in kept
            if self.variances.stop > self.variances.start and self.n_variances > 1:
                own = mask[self.variances].reshape(self.n_variances, -1)
                own[k] = name in kept
        return mask

    def is_weight(self):
        """Mask of the parameters that weight decay shrinks."""
        mask = np.zeros(self.n_parameters)
        mask[: self.gate.n_parameters] = self.gate.is_weight()
        for where, network in zip(self.expert_slices, self.networks(), strict=True):
            mask[where] = network.is_weight()
        return mask

    def log_variance(self, theta):
        """Log-variances (K, d); None for classes."""
        if self.task.classes is not None:
            return None
        own = theta[self.variances].reshape(self.n_variances, self.n_outputs)
        return np.broadcast_to(own, (self.n_experts, self.n_outputs))

    # -- one batch ------------------------------------------------------------

    def gradient(self, theta, rows, rng, phase, losses, gradient):
        """Loss of a batch and its gradient, which is added to; returns the routing."""
        router = self.task.router
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
        if dense:
            indices = np.tile(np.arange(self.n_experts), (len(rows), 1))
            return make_routing(log_gate, indices), log_gate, True
        router = self.task.router
        reached = log_gate
        if not training and router.plain_top_k:
            reached = self.gate.reached(log_gate, router.n_active(self.n_experts))
        routing = router.route(
            reached, X=self.task.gate_view[rows], rng=rng, training=training
        )
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
        if self.task.classes is not None:
            return self._class_slope(rows, common)
        log_variance = self.log_variance(theta)
        if self.likely or likely or given is not None:
            return objectives.gaussian_likelihood(*common, log_variance)
        return objectives.squared_error(*common, log_variance)

    def _class_slope(self, rows, common):
        codes, weight, indices, weights, predictions, given = common
        fallback = np.broadcast_to(self.scales.log_prior, (len(rows), self.n_outputs))
        if self.task.offset is not None:
            fallback = self.task.offset[rows]
            predictions = predictions + fallback[:, None, :]
        fallback = fallback[np.arange(len(rows)), codes]
        return objectives.categorical_likelihood(
            codes, weight, indices, weights, predictions, given, fallback
        )

    def fitted_parts(self, theta, temperature):
        """Gate and experts, on the scale of the data."""
        return fitted_gate(self, theta, temperature), fitted_experts(self, theta)

    def likelihoods(self, theta):
        """Fitted likelihood of each expert, in units of y."""
        task = self.task
        if task.classes is not None:
            return [clone(task.likelihood) for _ in task.experts]
        sigma = np.exp(0.5 * self.log_variance(theta)) * self.y_scale
        return [task.likelihood.with_sigma(s, task.n_experts) for s in sigma]

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


# Rows that are predicted at a time.
EVALUATED_ROWS = 4096


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


def fitted_gate(problem, theta, temperature):
    """The gate with its parameters, the temperature among them."""
    own = theta[: problem.gate.n_parameters]
    return problem.gate.fitted(own, temperature, problem.gate_design)


def fitted_experts(problem, theta):
    """The experts with their parameters, on the scale of the data."""
    task, experts = problem.task, []
    for expert, where, network, view in zip(
        task.experts,
        problem.expert_slices,
        problem.networks(),
        task.expert_views,
        strict=True,
    ):
        fitted = clone(expert)
        if task.classes is not None:
            fitted.classes_ = task.classes
        own = _centred(theta[where], network, expert, task.classes)
        scale = problem.y_center, problem.y_scale
        experts.append(fitted.set_network(network, own, problem._design(view), *scale))
    return experts


def _centred(theta, network, expert, classes):
    """Linear class scores less their mean over classes: the same probabilities."""
    if classes is None or not isinstance(expert, LinearExpert):
        return theta
    theta = theta.copy()
    for part in network.layers(theta)[0]:
        part -= part.mean(axis=-1, keepdims=True)
    return theta
