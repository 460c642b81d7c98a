"""What a fitted mixture answers about rows: routes, densities, means."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import mixture
from .._numerics.calibration import Calibration
from .._sklearn import safe_indexing
from .._tables.table import row_weights
from .._warnings import warn
from ..engines import run_calls
from ..experts._answers import predict_expert
from ..experts._base import traits
from ..routers._base import routed_by, weights_at
from ..trainers._rows import subjects_of
from . import routed as routed_linear
from .shared import SharedExpert
from .subjects import read_groups
from .views import Views

# What rows count as without what ``fit`` had of them, and the remedy.
LEFT_OUT = {
    "offset": "as of exposure one; pass offset, the logarithm of each row's exposure",
    "trials": "as one trial; pass trials, their number in each row",
}
# Rows about which experts are asked at once, in whatever context joblib has.
FEW_ROWS = 8
# How far gate weights of the rows of a group may be apart.
SAME_GATE = 1e-6


class Seen(NamedTuple):
    """Rows as the parts of a mixture see them.

    Attributes
    ----------
    gate : what the gate sees
    experts : list of what each expert sees
    offset : (n, d) or (n, C) contribution of the shared expert, or None
    size : (n,) exposures or trials, or None for one
    """

    gate: object
    experts: list
    offset: np.ndarray | None = None
    size: np.ndarray | None = None


class FittedMixture(NamedTuple):
    """The fitted parts of a mixture.

    Attributes
    ----------
    gate, router : fitted parts
    experts, likelihoods : lists of K fitted parts
    views : Views
    shared : SharedExpert or None
    target : ValueTarget or ClassTarget
    n_jobs : int or None
    calibration : Calibration or None, of the levels of its distribution
    """

    gate: object
    router: object
    experts: list
    likelihoods: list
    views: Views
    shared: SharedExpert | None
    target: object
    n_jobs: int | None
    calibration: Calibration | None = None

    @property
    def n_experts(self):
        """Number of experts."""
        return len(self.experts)

    def see(self, table):
        """What gate and experts see of a table."""
        return Seen(self.views.gate_view(table), self.views.expert_views(table))

    def offset(self, table):
        """Contribution of the shared expert to the rows of a table, or None."""
        if self.shared is None:
            return None
        return self.shared.contribution(self.views.shared_view(table))

    @property
    def has_noise(self):
        """Whether a component is noise."""
        return any(own.is_noise for own in self.likelihoods)

    def is_noise(self):
        """Which experts are noise, (K,)."""
        return np.array([own.is_noise for own in self.likelihoods])

    def is_bare(self):
        """Which components have no expert, noise or zeros, (K,)."""
        return np.array([own.is_bare for own in self.likelihoods])

    def route(self, gate_view):
        """Active experts of each row, and their weights."""
        return routed_by(gate_view, self.gate, self.router, self.n_experts)

    def weights(self, gate_view):
        """Weights (n, K) of all experts, zero for those that do not serve a row."""
        return weights_at(gate_view, self.gate, self.router, self.n_experts)

    def each(self, seen):
        """Prediction (n, d) of every expert, the shared one's part included."""
        asked = self.target.classes, self.target.n_outputs
        calls = [
            (expert, view, *asked, seen.offset)
            for expert, view in zip(self.experts, seen.experts, strict=True)
        ]
        few = seen.gate.shape[0] <= FEW_ROWS
        return ask(predict_expert, calls, self.experts, self.n_jobs, few)

    def predictions(self, seen):
        """Predictions (n, K, d) of all experts."""
        return np.stack(self.each(seen), axis=1)

    def log_parts(self, seen, y):
        """Log gate weights after routing, and expert log-densities, both (n, K)."""
        with np.errstate(divide="ignore"):
            log_gate = np.log(self.weights(seen.gate))
        own, predictions = self._likelihoods_at(seen), self.each(seen)
        return log_gate, mixture.log_prob(own, y, predictions, seen.size)

    def components(self, seen):
        """Weights, predictions and likelihoods of the experts, with the rows' sizes."""
        predictions = self.predictions(seen)
        weights = self.weights(seen.gate)
        own = self._likelihoods_at(seen)
        return mixture.Components(weights, predictions, own, seen.size)

    def level(self, level):
        """What its distribution is asked for, so that a level comes true."""
        return level if self.calibration is None else self.calibration.levels(level)

    def cdf(self, t, components):
        """P(Y <= t) of each output by itself, (n, d)."""
        reached = mixture.cdf(t, components)
        if self.calibration is None:
            return reached
        return self.calibration.probabilities(reached)

    def calibrated(self, drawn, components):
        """Draws (n, d) from components, moved to where their levels come true."""
        if self.calibration is None:
            return drawn
        level = self.calibration.levels_of(mixture.cdf(drawn, components))
        return mixture.quantile(level, components)

    def std(self, components):
        """Standard deviations (n, d) of components, about their common mean."""
        weights, means = components.weights, components.means()
        std = np.sqrt(mixture.variance(weights, means, components.variances()))
        return std if self.calibration is None else std * self.calibration.scale

    def _likelihoods_at(self, seen):
        return mixture.at_views(self.likelihoods, seen.experts)

    def explained(self, seen):
        """Components without noise; rows that were routed to it go by their gate."""
        components = self.components(seen)
        if not self.has_noise:
            return components
        noise = self.is_noise()
        weights = components.weights[:, ~noise]
        lost = np.flatnonzero(~(weights.sum(axis=1) > 0))
        if len(lost):
            gate = np.exp(self.gate.predict_log_proba(seen.gate))
            weights[lost] = np.maximum(gate[lost][:, ~noise], np.finfo(float).tiny)
        weights = weights / weights.sum(axis=1, keepdims=True)
        own = [components.likelihoods[k] for k in np.flatnonzero(~noise)]
        predictions = components.predictions[:, ~noise]
        return mixture.Components(weights, predictions, own, components.size)

    def mean(self, seen):
        """Mean (n, d): only the experts that a row was routed to are asked."""
        mean = routed_linear.predict(self, seen)
        if mean is not None:
            return mean if seen.offset is None else mean + seen.offset
        if self.router.is_dense:
            weights = self.weights(seen.gate)
        else:
            routing = self.route(seen.gate)
            if routing.load.sum() < len(routing.indices) * self.n_experts:
                return self._routed_mean(routing, seen)
            weights = routing.dense()
        pairs = zip(self.likelihoods, self.each(seen), strict=True)
        means = [own.mean(at, seen.size) for own, at in pairs]
        return mixture.mean(weights, np.stack(means, axis=1))

    def _routed_mean(self, routing, seen):
        offset, size = seen.offset, seen.size
        groups = list(mixture.dispatch(routing.indices, self.n_experts))

        def predict(k, rows, slots):
            own = None if offset is None else offset[rows]
            view = safe_indexing(seen.experts[k], rows)
            asked = self.target.classes, self.target.n_outputs
            part = predict_expert(self.experts[k], view, *asked, own)
            part = self.likelihoods[k].mean(part, None if size is None else size[rows])
            return routing.weights[rows, slots][:, None] * part

        asked = [self.experts[k] for k, _, _ in groups]
        few = len(routing.indices) <= FEW_ROWS
        parts = ask(predict, groups, asked, self.n_jobs, few)
        out = np.zeros((len(routing.indices), parts[0].shape[1]))
        for (_, rows, _), part in zip(groups, parts, strict=True):
            out[rows] += part
        return out


def ask(function, calls, experts, n_jobs, few=False):
    """Answers to calls, one per expert, in their order.

    Experts that are at hand come first: to fetch the others may send them away.
    """
    waits = [traits(expert).waits for expert in experts]
    if not any(waits):
        return run_calls(function, calls, n_jobs, few=few)
    order = np.argsort(waits, kind="stable")
    found = run_calls(function, [calls[i] for i in order], n_jobs)
    return [found[i] for i in np.argsort(order)]


def fitted_mixture(model):
    """The parts of a fitted estimator."""
    if model._learned is None:
        check_is_fitted(model)
    learned = model._learned
    return FittedMixture(
        model.gate_,
        model.router_,
        model.experts_,
        model.likelihoods_,
        learned.views,
        learned.shared,
        learned.target,
        model.n_jobs,
        learned.calibration,
    )


def read(model, X):
    """The parts of a fitted estimator, and rows as a validated table."""
    own = fitted_mixture(model)
    return own, own.views.read(model, X)


def see(model, X, **sizes):
    """The parts of a fitted estimator, and what they see of rows.

    ``sizes`` are ``offset`` or ``trials`` of a regressor.
    """
    own, table = read(model, X)
    owner, likelihood = type(model).__name__, own.likelihoods[0]
    size = own.target.size(likelihood, owner, table.n_rows, **sizes)
    return own, own.see(table)._replace(offset=own.offset(table), size=size)


def route(model, X):
    """Active experts of rows, and their weights."""
    own, table = read(model, X)
    return own.route(own.see(table).gate)


def log_parts(model, X, y, *, groups=None, **sizes):
    """Log gate weights after routing, and expert log-densities, both (n, K).

    With ``groups`` they are (n_groups, K), of groups in order of first appearance.
    """
    tell_left_out(model, sizes)
    own, seen = see(model, X, **sizes)
    y = own.target.encode(own.target.check(y, seen.gate, model))
    parts = own.log_parts(seen, y)
    return of_subjects(*parts, given_subjects(model, parts[0], groups))


def left_out(model, sizes):
    """Names of what ``fit`` had beside X and y, and these ``sizes`` lack."""
    return [name for name in model._learned.beside if sizes.get(name) is None]


def tell_left_out(model, sizes):
    """Warn where rows come with y, but without an offset or trials that ``fit`` had."""
    for name in left_out(model, sizes):
        warn(
            f"{type(model).__name__} was fitted with {name}, but got none to "
            f"compare rows with y, so that each counts {LEFT_OUT[name]} (under "
            f"cross-validation by metadata routing: set_fit_request({name}=True) "
            f"and set_score_request({name}=True))."
        )


def given_subjects(model, rows, groups, sample_weight=None):
    """Which of some ``rows`` belong together, as the user says."""
    known = read_groups(groups, len(rows), type(model).__name__)
    codes = None if known is None else known.codes
    return subjects_of(codes, row_weights(rows, sample_weight))


def of_subjects(log_gate, log_prob, subjects):
    """Log-weights and log-densities (S, K) of subjects, from those (n, K) of rows.

    Raises ``ValueError`` where rows of a subject have different weights of the gate.
    """
    if len(subjects) == len(log_gate):
        return log_gate, log_prob
    gate = subjects.of(log_gate)
    differs = np.abs(np.exp(subjects.spread(gate)) - np.exp(log_gate)) > SAME_GATE
    if differs.any():
        row = int(np.argmax(differs.any(axis=1)))
        raise ValueError(
            f"groups have rows, such as row {row}, of which the gate says something "
            "else than of the first row of their group; expected what the gate reads "
            "to be constant within groups."
        )
    return gate, subjects.evidence(log_prob)
