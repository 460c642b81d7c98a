"""The parameters of a mixture of networks as one vector: what is where, and back."""

import copy
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from ..._kernels.network import add_penalty
from ..._numerics.design import (
    Design,
    as_dense,
    column_scale,
    make_design,
    weighted_moments,
)
from ..._numerics.network import Network
from ...experts._base import traits
from .gate import expert_draws, gate_network
from .scales import (
    Units,
    followed,
    is_far,
    remember,
    shift_inputs,
    shift_outputs,
    with_scales,
)


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
    """How the target is standardised; the fallback of classes.

    A spread of zero is one that is not known yet, and stands for one.
    """

    center: object
    spread: object
    log_prior: np.ndarray | None


def check_continues(fits):
    """Raise ``ValueError`` unless an earlier run ``fits`` the parts as they are now."""
    if not fits:
        raise ValueError(
            "The fitted mixture has other parameters than gate and experts as they are "
            "set now; clone the estimator to start afresh."
        )


def settled(before, now):
    """Centres and scales of an earlier batch, or of this one where that had no spread.

    Two batches without any have that of their centres, where these differ.
    """
    (center, scale), (own, spread) = before, now
    apart = 0.5 * np.abs(own - center)
    known, alone = scale > 0, spread > 0
    middle = np.where(alone, own, 0.5 * (own + center))
    return (
        np.where(known, center, np.where(alone | (apart > 0), middle, center)),
        np.where(known, scale, np.where(alone, spread, apart)),
    )


class ParameterLayout:
    """A task in standardised units, its parameters laid out in one vector.

    Gate first, then the experts, then the log-variances.

    Parameters
    ----------
    task : Task
    objective : {"likelihood", "prediction"}
    state : State or None
        Of an earlier run, whose standardisation is kept, but of columns and outputs
        that had no spread there, or one that is far from what the batches have.
    n_own : int or None
        Rows that are learned from, by which columns and outputs are standardised; those
        behind them only judge.  All if None.
    """

    def __init__(self, task, objective, state=None, n_own=None):
        self.task, self.n_experts = task, task.recipe.n_experts
        self.n_own = len(task.rows) if n_own is None else n_own
        self.weight = task.rows.weight / task.rows.weight[: self.n_own].mean()
        # Of the rows that are learned from.
        self.counted = np.where(np.arange(len(task.rows)) < self.n_own, self.weight, 0)
        self.likely = objective == "likelihood"
        self._designs = {}
        self.scales = self._measure_target()
        self.late = np.zeros(0, dtype=bool)
        self._moves, self._target_moves = [], None
        if state is not None:
            check_continues(len(state.designs) == len(self._views()))
        self.seen = self._remember(state)
        if state is not None:
            self._go_on(state)
        self._standardise_target()
        self._lay_out()

    @property
    def dtype(self):
        """What networks are trained in: single precision where all columns are."""
        views = [view.dtype for view in map(np.asarray, self._views())]
        single = all(own == np.float32 for own in views)
        return np.float32 if single else np.float64

    def _remember(self, state):
        """Centres and spreads of the last batches: of each view, and of the target."""
        weight = self.task.rows.weight.sum() * self.task.rows.weight_unit
        own = [(d.center, column_scale(d)) for d in map(self._design, self._views())]
        own += [] if self.task.rows.classes is not None else [self.scales[:2]]
        seen = None if state is None else state.seen
        seen = seen or [()] * len(own)
        pairs = zip(seen, own, strict=True)
        return [remember(before, weight, *moments) for before, moments in pairs]

    def _go_on(self, state):
        """Keep the standardisation of an earlier run, where it has one that serves."""
        for view, known, seen in zip(
            self._views(), state.designs, self.seen, strict=False
        ):
            design = self._design(view)
            before = known[0], column_scale(design._replace(inverse_scale=known[1]))
            units = self._followed(before, seen[-1][1:], seen)
            self._moves.append((Units(*before, units.moved), units))
            inverse = np.divide(
                1.0, units.scale, out=np.zeros_like(units.scale), where=units.scale > 0
            )
            self._designs[id(view)] = Design(design.X, units.center, inverse)
        before, own = state.scales, self.scales
        if self.task.rows.classes is None:
            units = self._followed(before[:2], own[:2], self.seen[-1])
            late = (before.spread == 0) & (units.scale > 0)
            self._target_moves = with_scales(before[:2], units)
            self.late = late | is_far(*self._target_moves)
            before = Scales(units.center, units.scale, None)
        self.scales = before

    def _followed(self, before, own, seen):
        """Units as they are to be in this batch; with frozen parts all keep theirs."""
        known = (before[1] > 0) & (self.task.start.freeze is None)
        return followed(*settled(before, own), seen, known)

    @property
    def has_moved(self):
        """Whether units of columns or outputs have changed in this batch."""
        moves = [*self._moves, self._target_moves]
        return any(own is not None and own[1].moved.any() for own in moves)

    def re_express(self, theta):
        """Let parameters in the units of an earlier run be the same functions here."""
        if not self.has_moved:
            return
        gate, *views = self._moves
        for network, own in self.gate.networks(theta[: self.gate.n_parameters]):
            shift_inputs(network, own, *gate)
        self._re_express_experts(theta, views)

    def _re_express_experts(self, theta, moves):
        experts = zip(self.expert_slices, self.networks(), moves, strict=True)
        for where, network, own in experts:
            shift_inputs(network, theta[where], *own)
            if self._target_moves is not None:
                shift_outputs(network, theta[where], *self._target_moves)
        if self._target_moves is not None:
            before, after = self._target_moves
            own = theta[self.variances].reshape(-1, self.n_outputs)
            own += 2.0 * np.log(before.scale / after.scale)

    def restart(self, theta):
        """Set outputs whose scale has only now come to be known back to the start."""
        fresh = self.start()
        for where, network in zip(self.expert_slices, self.networks(), strict=True):
            last, first = (network.layers(own[where])[-1] for own in (theta, fresh))
            for own, start in zip(last, first, strict=True):
                own[..., self.late] = start[..., self.late]
        theta[self.variances].reshape(-1, self.n_outputs)[:, self.late] = 0.0

    def _design(self, view):
        if id(view) not in self._designs:
            self._designs[id(view)] = make_design(as_dense(view), self.counted)
        return self._designs[id(view)]

    def _views(self):
        """What the networks see: the gate's, and that of each expert."""
        return [self.task.rows.gate_view, *self.task.rows.expert_views]

    def designs(self):
        """Centres and inverse scales of the columns of the gate and of each expert."""
        return [self._design(view)[1:] for view in self._views()]

    def _measure_target(self):
        """Scales of the target: centre and spread, or the logarithms of the shares."""
        task = self.task
        if task.rows.classes is not None:
            share = np.bincount(
                task.rows.y, self.counted, minlength=len(task.rows.classes)
            )
            return Scales(0.0, 1.0, np.log((share + 1.0) / (share + 1.0).sum()))
        return Scales(*weighted_moments(task.rows.y, self.counted), None)

    def _standardise_target(self):
        task, scales = self.task, self.scales
        self.y_center = scales.center
        self.y_scale = np.where(np.asarray(scales.spread) > 0, scales.spread, 1.0)
        if task.rows.classes is not None:
            self.target, self.n_outputs = task.rows.y, len(task.rows.classes)
            return
        self.target = (task.rows.y - self.y_center) / self.y_scale
        self.n_outputs = task.rows.y.shape[1]

    def _lay_out_gate(self):
        task = self.task
        self.gate_design = self._design(task.rows.gate_view)
        self.gate = gate_network(
            task.recipe.gate,
            task.rows.gate_view.shape[1],
            self.n_experts,
            task.recipe.router.gate_outputs(self.n_experts),
        )

    def _lay_out(self):
        """Gate first, then the experts, then the log-variances."""
        task = self.task
        self._lay_out_gate()
        at, families = self.gate.n_parameters, {}
        self.expert_slices = []
        for k, (expert, view) in enumerate(
            zip(task.recipe.experts, task.rows.expert_views, strict=True)
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
        self.variances, self.n_variances = slice(at, at), 0
        if task.rows.classes is None:
            shared = task.recipe.likelihood.variance == "shared"
            self.n_variances = 1 if shared else self.n_experts
            self.variances = slice(at, at + self.n_variances * self.n_outputs)
        self.n_parameters = self.variances.stop
        self.bounds = self.segments()
        self.scaled_by = self._scaled_by()

    def of_experts(self, kept):
        """The same problem for some of the experts, by number.

        Returns it, the numbers of its parameters among those of this one, and of its
        segments.
        """
        other, segments = copy.copy(self), self.touched(np.asarray(kept))
        task = self.task.of_experts(kept)
        other.task = task.with_recipe(router=task.recipe.router.only(kept))
        other.n_experts, n_views = len(kept), len(self._views())
        first, *views = self.seen[:n_views]
        views = [views[k] for k in kept] if views else []
        other.seen = [first, *views, *self.seen[n_views:]]
        other._lay_out()
        places = [np.arange(*self.bounds[own]) for own in segments[1:]]
        return other, np.concatenate([self.gate.places(kept), *places]), segments

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
        theta[: self.gate.n_parameters] = self.start_gate(draws)
        views = self.task.rows.expert_views
        parts = zip(self.expert_slices, self.networks(), draws, views, strict=True)
        for where, network, rng, view in parts:
            spread = self._design(view).inverse_scale > 0
            theta[where] = network.start(rng, spread=spread)
        return theta

    def start_gate(self, draws):
        """Parameters of the gate at the start."""
        spread = self.gate_design.inverse_scale > 0
        return self.gate.start(self.task.recipe.seed, draws, spread)

    def ridge(self):
        """Penalty of each parameter, per row."""
        ridge = self.is_weight()
        ridge[: self.gate.n_parameters] *= self.gate.alpha
        for expert, where in zip(
            self.task.recipe.experts, self.expert_slices, strict=True
        ):
            ridge[where] *= expert.strength
        return ridge / self.n_own

    def pull(self):
        """Penalty of each parameter's way from its start, per row; of no variance."""
        pull = np.full(self.n_parameters, self.task.start.pull / self.n_own)
        pull[self.variances] = 0.0
        return pull

    def segments(self):
        """Where (S, 2) the gate, each expert, and the variances of each are."""
        own = [slice(0, self.gate.n_parameters), *self.expert_slices]
        size = self.n_outputs
        starts = range(self.variances.start, self.variances.stop, size)
        own += [slice(start, start + size) for start in starts]
        return np.array([(part.start, part.stop) for part in own], dtype=np.int64)

    def touched(self, experts):
        """Segments that a batch says something of, which asked some of the experts."""
        first = 1 + self.n_experts
        variances = first + experts if self.n_variances > 1 else [first]
        if self.variances.stop == self.variances.start:
            variances = []
        parts = [0], 1 + experts, variances
        return np.concatenate([np.asarray(own, dtype=np.int64) for own in parts])

    def add_penalty(self, theta, ridge, touched, due, gradient):
        """Add the gradient of the ridge penalties of some segments.

        That of a linear regression expert scales with its precision, as in EM, so that
        both trainers maximise the same objective.
        """
        where = self.bounds, touched, due, self.scaled_by
        add_penalty(theta, ridge, *where, self.n_outputs, gradient)

    def _scaled_by(self):
        """First log-variance (S,) that divides the penalty of a segment, or -1."""
        found = np.full(len(self.bounds), -1, dtype=np.int64)
        if not self.likely or self.task.rows.classes is not None:
            return found
        for k, expert in enumerate(self.task.recipe.experts):
            if traits(expert).scales_ridge:
                own = k if self.n_variances > 1 else 0
                found[1 + k] = self.variances.start + own * self.n_outputs
        return found

    def frozen(self):
        """Mask of the parameters that ``task.start.freeze`` leaves alone."""
        freeze, names = self.task.start.freeze, self.task.recipe.names
        mask = np.zeros(self.n_parameters, dtype=bool)
        if freeze is None:
            return mask
        kept = names if freeze == "experts" else [] if freeze == "gate" else freeze
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

    def parameters_of(self, k):
        """Mask of the parameters of an expert, of its variance and its logit."""
        mask = np.zeros(self.n_parameters, dtype=bool)
        mask[self.expert_slices[k]] = True
        if self.variances.stop > self.variances.start and self.n_variances > 1:
            mask[self.variances].reshape(self.n_variances, -1)[k] = True
        for network, own in self.gate.networks(mask[: self.gate.n_parameters]):
            for part in network.layers(own)[-1]:
                part[..., k :: self.n_experts] = True
        return mask

    def are_alike(self, k, other):
        """Whether two experts have the same architecture and columns."""
        return any(
            family.offsets[k] >= 0 <= family.offsets[other] for family in self.families
        )

    def log_variance(self, theta):
        """Log-variances (K, d); None for classes."""
        if self.task.rows.classes is not None:
            return None
        own = theta[self.variances].reshape(self.n_variances, self.n_outputs)
        return np.broadcast_to(own, (self.n_experts, self.n_outputs))

    def fitted_parts(self, theta, temperature):
        """Gate and experts, on the scale of the data."""
        return fitted_gate(self, theta, temperature), fitted_experts(self, theta)

    def likelihoods(self, theta):
        """Fitted likelihood of each expert, in units of y."""
        task = self.task
        if task.rows.classes is not None:
            return [clone(task.recipe.likelihood) for _ in task.recipe.experts]
        sigma = np.exp(0.5 * self.log_variance(theta)) * self.y_scale
        return [
            task.recipe.likelihood.with_sigma(s, task.recipe.n_experts) for s in sigma
        ]


def fitted_gate(problem, theta, temperature):
    """The gate with its parameters, the temperature among them."""
    own = theta[: problem.gate.n_parameters]
    return problem.gate.fitted(own, temperature, problem.gate_design)


def fitted_experts(problem, theta):
    """The experts with their parameters, on the scale of the data."""
    task, experts = problem.task, []
    for expert, where, network, view in zip(
        task.recipe.experts,
        problem.expert_slices,
        problem.networks(),
        task.rows.expert_views,
        strict=True,
    ):
        fitted = clone(expert)
        if task.rows.classes is not None:
            fitted.classes_ = task.rows.classes
        own = _centred(theta[where], network, expert, task.rows.classes)
        scale = problem.y_center, problem.y_scale
        experts.append(fitted.set_network(network, own, problem._design(view), *scale))
    return experts


def _centred(theta, network, expert, classes):
    """Linear class scores less their mean over classes: the same probabilities."""
    if classes is None or not traits(expert).is_linear:
        return theta
    theta = theta.copy()
    for part in network.layers(theta)[0]:
        part -= part.mean(axis=-1, keepdims=True)
    return theta
