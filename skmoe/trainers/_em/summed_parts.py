"""Parts that gain from sums over rows, as one problem of one vector of parameters.

One pass over rows is the E-step and the sums of one step of each part: gate, experts
and dispersions move together.
"""

import copy
from functools import partial
from typing import NamedTuple

import numpy as np

from ..._numerics.design import weighted_moments
from ..._numerics.linalg import use_products
from ...experts._answers import predict_expert
from ...experts._base import traits
from ...experts._sums import ExpertRows
from ...likelihoods._sums import DispersionSums
from ...mixture import e_step, log_prob
from .._rows import Singles, Subjects, is_numeric, numbered_along
from .._streamed import seen_columns
from .penalties import NO_ROWS
from .refit import ROWS_IF_NARROW, ROWS_PER_CHANNEL, Parts, log_weights
from .streamed import timed_sums


class PassSums(NamedTuple):
    """What a pass adds up.

    Attributes
    ----------
    total : (1,) weighted log-likelihood
    mass : (K,) weighted responsibilities
    gate : tuple of arrays
    experts, dispersions : lists of tuples of arrays, by expert
    """

    total: np.ndarray
    mass: np.ndarray
    gate: tuple
    experts: list
    dispersions: list

    def arrays(self):
        """All arrays, one after the other."""
        parts = [self.gate, *self.experts, *self.dispersions]
        return (self.total, self.mass, *(own for part in parts for own in part))


class PartsMixture:
    """Parts that gain from sums, as a problem of one vector of parameters.

    Attributes
    ----------
    gate : GateSums
    experts : list of ExpertSums
    dispersions : list of DispersionSums
    kept : numbers of the experts that are left
    router : router, which says who of them are active if not all are
    n_active : int, experts that stay active per row in the E-step
    columns : list of ndarray or None, which columns of a block gate and experts see
    stream : Stream, or HeldRows
    sample : the same problem on fewer rows, with the weight of all; or None
    passes : list of float, seconds of the passes so far
    """

    settles = biased = costly = False

    def __init__(self, gate, experts, dispersions, kept, task, total):
        self.gate, self.experts, self.dispersions = gate, experts, dispersions
        self.kept, self.hard, self.router = kept, False, task.recipe.router
        self.n_active = len(kept)
        self.classes, self.n_outputs = task.rows.classes, task.rows.n_outputs
        self.n_jobs, self.stream, self.sample = task.recipe.n_jobs, None, None
        self.passes, self.total_weight = [], total
        gate, *own = task.rows.chosen_by_all
        self.columns = [gate, *(own[k] for k in kept)]

    def with_rule(self, **changes):
        """The same problem with other attributes, which hold for its sample, too."""
        other = copy.copy(self)
        other.__dict__.update(changes)
        if other.sample is not None and "sample" not in changes:
            other.sample = other.sample.with_rule(**changes)
        return other

    def over(self, stream, sample=None, passes=None):
        """The same problem on other rows."""
        own = copy.copy(self)
        own.stream, own.sample = stream, sample
        own.passes = [] if passes is None else passes
        return own

    def kernel(self):
        """The problem without its rows, as it may be sent to where blocks are."""
        return self.over(None)

    @property
    def n_experts(self):
        """Experts that are left."""
        return len(self.kept)

    # -- parameters -----------------------------------------------------------

    def pack(self, parts):
        """Parameters of fitted parts."""
        vectors = [self.gate.vector(parts.gate)]
        others = [*self.experts, *self.dispersions]
        fitted = [*parts.experts, *parts.likelihoods]
        pairs = zip(others, fitted, strict=True)
        vectors += [own.vector(part) for own, part in pairs]
        return np.concatenate(vectors)

    def split(self, theta):
        """Parameters of the gate, of each expert, and of each of its dispersions."""
        sizes = [len(own) for own in self._vectors()]
        own = np.split(theta, np.cumsum(sizes)[:-1])
        return own[0], own[1 : 1 + self.n_experts], own[1 + self.n_experts :]

    def _vectors(self):
        """Parameters of the parts as the sample left them."""
        parts = [self.gate.part, *(own.part for own in self.experts)]
        pairs = zip([self.gate, *self.experts], parts, strict=True)
        vectors = [own.vector(part) for own, part in pairs]
        return vectors + [own.vector(own.likelihood) for own in self.dispersions]

    def parts(self, theta):
        """Fitted gate, experts and likelihoods of parameters."""
        gate, experts, dispersions = self.split(theta)
        return Parts(
            self.gate.at(gate),
            fitted_at(self.experts, experts),
            fitted_at(self.dispersions, dispersions),
        )

    def damp(self, theta, mapped, step):
        """A shorter move; where a gate's may change who serves a row, that of all
        other parts alone."""
        if self.n_active == self.n_experts:
            return theta + step * (mapped - theta)
        n_gate = len(self.split(theta)[0])
        alone = np.concatenate([theta[:n_gate], mapped[n_gate:]])
        return mapped if step < 0.5 else alone

    def without(self, k):
        """The same problem without the expert in position ``k``."""
        keep = [j for j in range(self.n_experts) if j != k]
        gate, _ = self.gate.without(self.gate.vector(self.gate.part), k)
        gate = gate.with_part(gate.at(_))
        return self.with_rule(
            gate=gate,
            n_active=min(self.n_active, len(keep)),
            columns=[self.columns[0], *(self.columns[1 + j] for j in keep)],
            experts=[self.experts[j] for j in keep],
            dispersions=[self.dispersions[j] for j in keep],
            kept=[self.kept[j] for j in keep],
        )

    def drop(self, theta, k):
        """Parameters of ``without(k)`` from those of this problem."""
        gate, experts, dispersions = self.split(theta)
        left = [self.gate.without(gate, k)[1]]
        for own in (experts, dispersions):
            left += [vector for j, vector in enumerate(own) if j != k]
        return np.concatenate(left)

    # -- E-step ---------------------------------------------------------------

    def evaluate(self, theta):
        """Penalised log-likelihood per unit of weight, and the ``PassSums``."""
        parts, kernel = self.parts(theta), self.kernel()
        vectors = self.split(theta)
        add = partial(kernel.add_block, parts, vectors)
        sums = timed_sums(self.stream, self.passes, add, kernel.zeros, self.n_jobs)
        statistics = self.named(sums)
        return self._value(parts, statistics), statistics

    def revalued(self, theta, statistics):
        """What ``evaluate`` gives where only the penalties have changed."""
        return self.value(theta, statistics), statistics

    def value(self, theta, statistics):
        """Penalised log-likelihood per unit of weight of rows with such sums."""
        return self._value(self.parts(theta), statistics)

    def _value(self, parts, statistics):
        paid = parts.gate.penalty()
        for expert, likelihood in zip(parts.experts, parts.likelihoods, strict=True):
            paid += likelihood.penalty()
            variance = 1.0
            if self.classes is None:
                variance = likelihood.penalty_variance(self.n_outputs)
            paid += traits(expert).penalty(variance)
        return float(statistics.total[0] - paid) / self.total_weight

    def zeros(self):
        """Sums of no rows, one array after the other."""
        sums = [np.zeros(1), np.zeros(self.n_experts), *self.gate.zeros()]
        for own in [*self.experts, *self.dispersions]:
            sums += own.zeros()
        return tuple(sums)

    def named(self, sums):
        """The arrays of sums by what they are of."""
        left = iter(sums)

        def taken(own):
            return tuple(next(left) for _ in own.zeros())

        return PassSums(
            next(left),
            next(left),
            taken(self.gate),
            [taken(own) for own in self.experts],
            [taken(own) for own in self.dispersions],
        )

    def add_block(self, parts, vectors, sums, X, *rows):
        """Add what a block of rows says to a tuple of sums, in place."""
        self.add_views(parts, vectors, sums, self.views_of(X), *rows)

    def views_of(self, X):
        """What gate and experts, one after the other, see of a block of rows."""
        return seen_by([self.gate, *self.experts], X, self.columns)

    def add_views(self, parts, vectors, sums, views, y, weight, size=None, own=None):
        """The same of what gate and experts see, and of the subjects of the rows."""
        subjects = Singles(weight) if own is None else own
        told, statistics = (self.classes, self.n_outputs), self.named(sums)
        gate_view, *views = views
        pairs = zip(parts.experts, views, strict=True)
        predictions = [predict_expert(own, view, *told) for own, view in pairs]
        densities = log_prob(parts.likelihoods, y, predictions, size)
        gate_view, densities = subjects.of(gate_view), subjects.evidence(densities)
        log_gate = log_weights(parts.gate, gate_view, self.router, self.n_active)
        row, each = e_step(log_gate, densities, hard=self.hard)
        resp = subjects.spread(each)
        statistics.total[0] += subjects.weight @ row
        statistics.mass[:] += weight @ resp
        gate, experts, dispersions = vectors
        self.gate.add(statistics.gate, gate, gate_view, each, subjects.weight)
        for k, likelihood in enumerate(parts.likelihoods):
            share = weight * resp[:, k]
            rows = ExpertRows(views[k], y, share, predictions[k], likelihood, size)
            self.experts[k].add(statistics.experts[k], experts[k], rows)
            self.dispersions[k].add(statistics.dispersions[k], dispersions[k], rows)

    def load(self, statistics):
        """Share of the rows that each expert is responsible for."""
        return statistics.mass / self.total_weight

    def log_likelihood(self, statistics):
        """Weighted log-likelihood of all rows."""
        return float(statistics.total[0])

    def stays(self):
        """Which components may lose all their rows: those without an expert."""
        return np.array([traits(own.part).is_bare for own in self.experts])

    def is_spike(self, theta, statistics):
        """Whether an expert owes its likelihood to hardly any rows."""
        parts = self.parts(theta)
        each = zip(statistics.mass, parts.experts, parts.likelihoods, strict=True)
        return any(
            mass
            < (ROWS_IF_NARROW if own.floored_ else ROWS_PER_CHANNEL)
            * max(traits(expert).n_channels, own.floored_)
            for mass, expert, own in each
        )

    # -- M-step ---------------------------------------------------------------

    def maximise(self, theta, statistics):
        """One step of the gate, of each expert with rows, and of its dispersions."""
        gate, experts, dispersions = self.split(theta)
        moved = [self.gate.moved(gate, statistics.gate)]
        likelihoods = fitted_at(self.dispersions, dispersions)
        alive = statistics.mass > NO_ROWS * self.total_weight
        for k, own in enumerate(self.experts):
            step = own.moved(experts[k], statistics.experts[k], likelihoods[k])
            moved.append(step if alive[k] else experts[k])
        for k, own in enumerate(self.dispersions):
            prior = self._prior(self.experts[k].at(experts[k]), likelihoods[k])
            step = own.moved(dispersions[k], statistics.dispersions[k], prior)
            moved.append(step if alive[k] else dispersions[k])
        return np.concatenate(moved)

    def _prior(self, expert, likelihood):
        """What an expert's penalty adds to the sums of squared residuals."""
        if self.classes is not None:
            return None
        return traits(expert).noise_scatter(likelihood.penalty_variance(self.n_outputs))

    def carried(self, theta, moved, statistics):
        """``PassSums`` with the slopes that they have at parameters that moved.

        Each part by itself: what the move of one does to slopes of another is left
        out, but for the scale of an expert's where its variance moved.
        """
        gate, experts, dispersions = self.split(theta)
        to_gate, to_experts, to_dispersions = self.split(moved)
        likelihoods = [
            fitted_at(self.dispersions, own) for own in (dispersions, to_dispersions)
        ]
        left = []
        for k, own in enumerate(self.experts):
            sums = own.carried(statistics.experts[k], experts[k], to_experts[k])
            if self.classes is None:
                before, now = (
                    fitted[k].penalty_variance(self.n_outputs) for fitted in likelihoods
                )
                sums = own.rescaled(sums, before / now)
            left.append(sums)
        parts = zip(
            self.dispersions,
            statistics.dispersions,
            dispersions,
            to_dispersions,
            strict=True,
        )
        return statistics._replace(
            gate=self.gate.carried(statistics.gate, gate, to_gate),
            experts=left,
            dispersions=[part.carried(*own) for part, *own in parts],
        )

    def of_total(self, theta, total):
        """The same problem for rows of another weight together, and its parameters."""
        own, *others = np.split(theta, [len(self.split(theta)[0])])
        gate, own = self.gate.of_total(own, total)
        problem = self.with_rule(total_weight=total, gate=gate)
        return problem, np.concatenate([own, *others])

    def widened(self, views, seen, weight):
        """The same problem with scales for columns that have spread in new rows only;
        ``views`` are what gate and experts see of these, after a weight ``seen``."""
        gate, *experts = (
            part.widened(view, seen, weight)
            for part, view in zip([self.gate, *self.experts], views, strict=True)
        )
        return self.with_rule(gate=gate, experts=experts)

    @property
    def penalty_rest(self):
        """Move of the logarithms of penalties after which they stay, as in memory."""
        parts = [self.gate, *self.experts]
        return 0.2 if any(own.encoding is not None for own in parts) else 0.05

    @property
    def renews(self):
        """Whether penalties are chosen anew while it runs."""
        own = any(traits(each.part).renews for each in self.experts)
        return own or self.gate.part.renews

    def renewed(self, theta, statistics):
        """The problem with the penalties that evidence asks for, its parameters, and
        how far the logarithms of the penalties moved."""
        gate, experts, dispersions = self.split(theta)
        gate, moved = self.gate.renewed(gate, statistics.gate)
        own, moves = [], [moved]
        likelihoods = fitted_at(self.dispersions, dispersions)
        for k, each in enumerate(self.experts):
            known = experts[k], statistics.experts[k], likelihoods[k]
            found, moved = each.renewed(*known)
            own.append(found)
            moves.append(moved)
        return self.with_rule(gate=gate, experts=own), theta, max(moves)


class SubjectParts(PartsMixture):
    """The same of subjects whose rows share one expert."""

    def add_block(self, parts, vectors, sums, X, y, weight, codes, size=None):
        """Add what a block of whole subjects says to a tuple of sums, in place."""
        own, views = Subjects(numbered_along(codes), weight), self.views_of(X)
        self.add_views(parts, vectors, sums, views, y, weight, size, own)


def seen_by(parts, X, columns):
    """What each of the parts reads of a block of rows; made once for equal ones."""
    made, views = {}, []
    for own, chosen in zip(parts, columns, strict=True):
        key = id(own.encoding), None if chosen is None else tuple(chosen)
        if key not in made:
            view = seen_columns(X, chosen)
            binned = own.encoding is not None
            made[key] = own.encoding.binned(view) if binned else view
        views.append(made[key])
    return views


def fitted_at(sums, vectors):
    """The fitted parts of their parameters."""
    return [own.at(vector) for own, vector in zip(sums, vectors, strict=True)]


def needs_all_rows(expert, likelihood):
    """Whether the penalty of an expert is met by no step of sums.

    That is a lasso, and a ridge that stands against a variance, which EM corrects for
    it.
    """
    return expert.has_lasso or (likelihood.scales_ridge and expert.biased_by_ridge)


def views_of(rows):
    """What gate and experts, one after the other, see."""
    return [rows.gate_view, *rows.expert_views]


def wide_views(task):
    """Views whose matrices of curvature are too large to be kept."""
    views = [own for own in views_of(task.rows) if is_numeric(own)]
    return [own for own in views if use_products(own, task.recipe.n_experts)]


def problem_of(task, fit, share, total):
    """The problem of what was fitted to rows with weights ``share`` (n,), for all rows,
    of weight ``total``; soft.

    Columns and outputs are standardised as the rows of the task say.
    """
    rows, outputs = task.rows, None
    if rows.classes is None:
        outputs = rows.output_scales or weighted_moments(rows.y, share)
    own, view = task.with_rows(weight=share).rows.subjects.weight, rows.gate_rows
    known = rows.scales_of(view), rows.gate_weight(total)
    gate = fit.gate.sums(view, own, *known)
    views = [rows.expert_views[k] for k in fit.kept]
    experts, likelihoods = fit.objective_parts
    sums = [
        own.sums(view, share, rows.scales_of(view), outputs)
        for own, view in zip(experts, views, strict=True)
    ]
    spread = np.ones(1) if outputs is None else outputs[1] ** 2
    discrete = task.recipe.likelihood.discrete
    likelihoods = [rows.over_all(each, discrete) for each in likelihoods]
    own = [DispersionSums(each, spread) for each in likelihoods]
    kind = SubjectParts if rows.are_grouped else PartsMixture
    return kind(gate, sums, own, list(fit.kept), task, total)
