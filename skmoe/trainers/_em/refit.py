"""EM of any parts: every M-step fits them anew with responsibilities as weights."""

import copy
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp

from ..._sklearn import safe_indexing
from ..._warnings import unheard
from ...engines import run_calls
from ...experts._base import FOREIGN, is_frozen, traits
from ...mixture import at_views, e_step, log_prob
from ...routers._base import routed
from .._variances import at_rest, fit_variances, renewed_variances
from .experts import FALLBACK_SHARE, ExpertFits
from .fused import ROWS_IF_NARROW, ROWS_PER_CHANNEL
from .together import fit_together

# Below this share of its best row an expert's responsibility changes no estimate,
# and leaving the row out makes the fit cheaper.
NEGLIGIBLE = 1e-10
# Fits from scratch whose residuals decide what a row counts in the next.
FIRST_ROUNDS = 5


class Parts(NamedTuple):
    """Fitted parts: what a parameter vector is to the fused EM."""

    gate: Any
    experts: list
    likelihoods: list

    def at_rest(self):
        """The parts without what those by steps keep for the next one."""
        experts = [e.at_rest() if traits(e).steps else e for e in self.experts]
        likelihoods = [at_rest(own) for own in self.likelihoods]
        return Parts(self.gate.at_rest(), experts, likelihoods)

    def without(self, k):
        """The parts without the expert in position ``k``, of the same gate."""
        experts, likelihoods = self.experts, self.likelihoods
        return self._replace(
            experts=experts[:k] + experts[k + 1 :],
            likelihoods=likelihoods[:k] + likelihoods[k + 1 :],
        )


class EStep(NamedTuple):
    """Responsibilities (n, K) and log-likelihood at some parts.

    ``row_weights`` are what each row counts for an expert that minimises squares:
    arrays (n,), or None for one.
    """

    resp: np.ndarray
    log_likelihood: float
    row_weights: list | None = None


class RefitMixture:
    """Arbitrary gate and experts, seen by the loop as one problem.

    Parameters
    ----------
    task : Task
    n_active : int
        Experts that stay active per row in the E-step.
    hard : bool
        One-hot responsibilities.
    """

    #: A problem on fewer rows that says where steps lead: here there is none.
    sample = None

    def __init__(self, task, *, n_active=None, hard=False):
        self.task, self.hard, self.settles = task, hard, False
        self.n_active = task.recipe.n_experts if n_active is None else n_active
        self.total_weight = task.rows.weight.sum()
        self.kept = list(range(task.recipe.n_experts))
        self.fits, self._constant, self._last = ExpertFits(task), {}, {}

    def with_rule(self, **changes):
        """The same problem with another ``n_active`` or ``hard``."""
        other = copy.copy(self)
        other.__dict__.update(changes)
        return other

    def without(self, k):
        """The same problem without the expert in position ``k``."""
        kept = self.kept[:k] + self.kept[k + 1 :]
        task = self.task
        left, _ = task.recipe.gate.tree_for(len(self.kept)).without(k)
        task = task.with_recipe(gate=task.recipe.gate.on(left))
        n_active = min(self.n_active, len(kept))
        return self.with_rule(kept=kept, n_active=n_active, task=task)

    @property
    def biased(self):
        """Whether a ridge has a share in coefficients and dispersions."""
        return any(self.fits.is_biased(number) for number in self.kept)

    def stays(self):
        """Which components may lose all their rows: those without an expert."""
        experts = self.task.recipe.experts
        return np.array([traits(experts[k]).is_bare for k in self.kept])

    def alternates(self):
        """Whether one M-step from known responsibilities is not the optimum."""
        variance = self.task.recipe.likelihood.models_variance
        return len(self.kept) > 1 or variance or self.renews

    @property
    def costly(self):
        """Whether an iteration costs fits of estimators of other libraries."""
        experts = [self.task.recipe.experts[k] for k in self.kept]
        return not all(is_frozen(e) or traits(e) is not FOREIGN for e in experts)

    @property
    def penalty_rest(self):
        """Move of the logarithms of penalties after which they stay: more of curves,
        where the rest of the way costs more than it would gain."""
        experts = [traits(self.task.recipe.experts[k]) for k in self.kept]
        curved = self.task.recipe.gate.steps or any(own.steps for own in experts)
        return 0.2 if curved else 0.05

    @property
    def renews(self):
        """Whether penalties are chosen anew while it runs."""
        experts = self.task.recipe.experts
        own = any(traits(experts[k]).renews for k in self.kept)
        own = own or traits(self.task.recipe.likelihood.model).renews_squares
        return own or self.task.recipe.gate.renews

    def renewed(self, parts, statistics):
        """The problem, parts with the penalties that their evidence asks for, and how
        far the logarithms of the penalties moved."""
        rows, resp = self.task.rows, statistics.resp
        weights, designs = resp * rows.weight[:, None], self.fits.designs
        likelihoods, moves = renewed_variances(
            self.task, parts.likelihoods, weights, designs, self.kept
        )
        calls = [
            (number, resp[:, k], parts.experts[k], likelihoods[k])
            for k, number in enumerate(self.kept)
        ]
        found = self.task.recipe.run_fits(self.fits.renewed, calls)
        experts, own = map(list, zip(*found, strict=True))
        moves, gate = [*moves, *own], parts.gate
        if gate.renews and len(self.kept) > 1:
            gate, moved = gate.renewed(*self._for_gate(resp))
            moves.append(moved)
        return self, Parts(gate, experts, likelihoods), max(moves)

    # -- E-step ---------------------------------------------------------------

    def predictions(self, parts, needed=None):
        """Predictions (n, d), or class probabilities, of each expert.

        Where ``needed`` (n, K) is given, an expert is asked for its rows only; other
        rows are zeros, or equal probabilities.
        """
        rows = [None] * len(self.kept)
        if needed is not None:
            rows = [np.flatnonzero(own) for own in needed.T]
        calls = list(zip(parts.experts, self.kept, rows, strict=True))
        return list(run_calls(self._predict, calls, self.task.recipe.n_jobs))

    def _predict(self, expert, number, rows=None):
        if number in self._constant:
            return self._constant[number]
        task = self.task
        view, offset = task.rows.expert_views[number], task.rows.log_prior
        if is_frozen(expert):
            prediction = task.rows.answer_of(expert, view, offset)
            self._constant[number] = prediction
            return prediction
        if rows is None or len(rows) == len(task.rows.weight):
            # Dispersions and the next E-step ask for the same.
            known, answer = self._last.get(number, (None, None))
            if known is not expert:
                answer = task.rows.answer_of(expert, view, offset)
                self._last[number] = expert, answer
            return answer
        # Other rows have weight zero; what stands there must only be a prediction.
        if task.rows.classes is None:
            out = np.zeros(task.rows.y.shape)
        else:
            out = np.full(
                (len(task.rows.y), len(task.rows.classes)), 1.0 / len(task.rows.classes)
            )
        if len(rows):
            own = None if offset is None else offset[rows]
            view = safe_indexing(view, rows)
            out[rows] = task.rows.answer_of(expert, view, own)
        return out

    def evaluate(self, parts):
        """Penalised log-likelihood per unit of weight, and responsibilities."""
        y, size, subjects = (
            self.task.rows.y,
            self.task.rows.size,
            self.task.rows.subjects,
        )
        log_gate, likelihoods = self._log_gate(parts.gate), self.at_rows(parts)
        needed = subjects.spread(np.isfinite(log_gate))
        predictions = self.predictions(parts, needed=needed)
        densities = subjects.evidence(log_prob(likelihoods, y, predictions, size))
        each, own = e_step(log_gate, densities, hard=self.hard)
        total, resp = float(subjects.weight @ each), subjects.spread(own)
        value = (total - self._penalty(parts)) / self.total_weight
        pairs = zip(likelihoods, predictions, strict=True)
        return value, EStep(resp, total, [own.row_weight(y, at) for own, at in pairs])

    def revalued(self, parts, statistics):
        """What ``evaluate`` gives where the penalties have changed."""
        return self.evaluate(parts)

    def at_rows(self, parts):
        """Likelihoods of the training rows."""
        views = [self.task.rows.expert_views[k] for k in self.kept]
        return at_views(parts.likelihoods, views)

    def _for_gate(self, resp):
        """What a gate is fitted to: each subject once."""
        rows = self.task.rows
        return rows.gate_rows, rows.subjects.mean(resp), rows.subjects.weight

    def _log_gate(self, gate):
        rows, recipe = self.task.rows, self.task.recipe
        return log_weights(gate, rows.gate_rows, recipe.router, self.n_active)

    def _penalty(self, parts):
        total = parts.gate.penalty()
        for expert, likelihood in zip(parts.experts, parts.likelihoods, strict=True):
            total += likelihood.penalty()
            if self.task.rows.classes is not None:
                total += traits(expert).penalty()
            else:
                variance = likelihood.penalty_variance(self.task.rows.y.shape[1])
                total += traits(expert).penalty(variance, self.fits.units)
        return total

    def _priors(self, experts, parts):
        """What linear experts add to the sums of squared residuals."""
        if self.task.rows.classes is not None:
            return None
        d, priors = self.task.rows.y.shape[1], []
        for k, expert in enumerate(experts):
            known = np.zeros(d)
            if parts:
                known = parts.likelihoods[k].penalty_variance(d)
            priors.append(traits(expert).noise_scatter(known))
        return priors

    def responsibilities(self, run):
        """Responsibilities (n, K) of all rows at the end of a run."""
        return run.statistics.resp

    def load(self, statistics):
        """Share of the rows that each expert is responsible for."""
        return self.task.rows.weight @ statistics.resp / self.total_weight

    def log_likelihood(self, statistics):
        """Weighted log-likelihood of the training rows."""
        return statistics.log_likelihood

    def is_spike(self, parts, statistics):
        """Whether an expert owes its likelihood to hardly any rows."""
        task, weight = self.task, self.task.rows.weight
        if task.recipe.likelihood.takes == "trials" and task.rows.size is not None:
            # A row is as much evidence as it has trials.
            weight = weight * task.rows.size
        rows = weight @ statistics.resp
        each = zip(rows, parts.experts, parts.likelihoods, strict=True)
        return any(
            mass
            < (ROWS_IF_NARROW if own.floored_ else ROWS_PER_CHANNEL)
            * max(traits(expert).n_channels, own.floored_)
            for mass, expert, own in each
        )

    # -- M-step ---------------------------------------------------------------

    def maximise(self, parts, statistics):
        """Fit experts in parallel and their dispersions, then the gate."""
        resp = statistics.resp
        if self.settles:
            return self.refit(parts, resp, statistics.row_weights)._replace(
                gate=parts.gate
            )
        gate = parts.gate if parts else self.task.recipe.gate
        # One of curves sets what it learns, and changes nothing of what it had.
        gate = copy.copy(gate) if gate.steps else copy.deepcopy(gate)
        step = gate.update if parts or gate.steps else gate.fit
        step(*self._for_gate(resp))
        return self.refit(parts, resp, statistics.row_weights)._replace(gate=gate)

    def refit(self, parts, resp, row_weights=None):
        """Experts and dispersions fitted to responsibilities, without a gate.

        What rows count for experts is found in a few rounds where it is not known.
        """
        fitted = self._refit(parts, resp, row_weights)
        if parts is None:
            for _ in range(FIRST_ROUNDS):
                likelihoods = self.at_rows(fitted)
                own = zip(likelihoods, self.predictions(fitted), strict=True)
                weights = [x.row_weight(self.task.rows.y, at) for x, at in own]
                if all(weight is None for weight in weights):
                    break
                fitted = self._refit(fitted, resp, weights)
        return fitted

    def _refit(self, parts, resp, row_weights):
        if parts is None:
            # Without rows there is nothing to keep: the expert sees all a little.
            served = (resp * self.task.rows.weight[:, None] > 0).any(axis=0)
            resp = np.where(served, resp, FALLBACK_SHARE)
        experts = self._fit_experts(resp, parts, row_weights)
        return Parts(None, experts, self.dispersions_of(experts, resp, parts))

    def dispersions_of(self, experts, resp, parts):
        """Likelihoods fitted around experts; ``parts`` are those before, or None."""
        return self._fit_dispersions(
            self.predictions(Parts(None, experts, []), needed=resp > 0),
            resp * self.task.rows.weight[:, None],
            self._priors(experts, parts),
            parts.likelihoods if parts else [None] * len(experts),
        )

    def _fit_dispersions(self, predictions, weights, priors, previous):
        """Fitted likelihoods of all components, one without an expert included."""
        task = self.task
        own = np.flatnonzero(~self.stays())
        known = [previous[k] for k in own]
        families = task.recipe.likelihood.of_experts([self.kept[k] for k in own])
        fitted = families.fit_dispersions(
            task.rows.y,
            [predictions[k] for k in own],
            weights[:, own],
            priors=None if priors is None else [priors[k] for k in own],
            size=task.rows.size,
            previous=None if None in known else known,
        )
        fitted = fit_variances(
            task,
            fitted,
            [predictions[k] for k in own],
            weights[:, own],
            self.fits.designs,
            numbers=[self.kept[k] for k in own],
            priors=None if priors is None else [priors[k] for k in own],
            before=known,
        )
        by_place = dict(zip(own, fitted, strict=True))
        bare = None
        if task.recipe.has_bare:
            discrete = task.recipe.likelihood.discrete
            bare = task.recipe.experts[-1].density(task.rows.y, discrete)
        return [by_place.get(k, bare) for k in range(len(self.kept))]

    def _fit_experts(self, resp, parts, row_weights):
        task, shares = self.task, _counting(resp)
        if task.recipe.common:
            return fit_together(self, shares, parts)
        calls = [
            (
                number,
                shares[:, k],
                parts.experts[k] if parts else None,
                parts.likelihoods[k] if parts else None,
                row_weights[k] if row_weights else None,
            )
            for k, number in enumerate(self.kept)
        ]
        if not self.settles:
            return task.recipe.run_fits(self.fits.fit, calls)
        calls = [(*call, len(self.kept) > 1) for call in calls]
        return task.recipe.run_fits(self.fits.settled, calls)

    def group_log_likelihood(self, number, resp):
        """Weighted log-likelihood (K,) of one expert fitted to each group of rows.

        Of a pool, whose members are costly, it is of one fit to all rows.
        """
        task = self.task
        totals, whole = [], None
        if task.recipe.pooled:
            with unheard():
                whole = self.fits.fit(number, np.ones(len(resp)), None)
        for share in _counting(resp).T:
            rows = share * task.rows.weight > 0
            if not rows.any():
                totals.append(0.0)
                continue
            fitted = whole
            if fitted is None:
                # What a trial warns of, the fits that count warn of again.
                with unheard():
                    fitted = self.fits.fit(number, share, None)
            prediction = self._predict(fitted, number)
            weight = share * task.rows.weight
            family = task.recipe.likelihood.of_expert(number)
            (likelihood,) = family.fit_dispersions(
                task.rows.y, [prediction], weight[:, None], size=task.rows.size
            )
            density = likelihood.log_prob(task.rows.y, prediction, task.rows.size)
            totals.append(float(weight[rows] @ density[rows]))
        return totals

    def damp(self, parts, mapped, step):
        """There is nothing between two fits: a move is taken whole or not at all."""
        return mapped


def log_weights(gate, view, router, n_active):
    """Log-weights (n, K) of experts in training, of which ``n_active`` are active.

    They are those of the gate, joint with the density of x where it has one, as long
    as all are; what a router leaves of them sums to one.
    """
    log_gate = gate.log_joint(view)
    if n_active == log_gate.shape[1] and not router.masks_training:
        return log_gate
    # Routers compare weights given x; joint densities may be beyond any weight.
    log_gate = log_softmax(log_gate, axis=1)
    routing = _training_route(gate, view, router, log_gate)
    active = routing.dense(np.ones(routing.weights.shape)) > 0
    own = log_gate if router.gated else 0.0
    left = np.where(active, own, -np.inf)
    # Rows that no expert took keep the whole gate.
    missed = (routing.indices < 0).all(axis=1)
    left[missed] = log_gate[missed]
    return left - logsumexp(left, axis=1, keepdims=True)


def _training_route(gate, view, router, log_gate):
    if gate.follows_paths and router.plain_top_k and not router.masks_training:
        # The paths that prediction will follow.
        return gate.route(view, router)
    return routed(router, log_gate, X=view, training=True)


def _counting(resp):
    """Responsibilities (n, K) without those that change no estimate."""
    return np.where(resp < NEGLIGIBLE * resp.max(axis=0), 0.0, resp)
