"""EM on further rows in which parts stay as they were, or near to that."""

import copy

import numpy as np

from ..._numerics.linalg import use_products
from ...experts._base import traits
from .drivers import RefitDriver
from .refit import Parts, RefitMixture, _counting


class TunedMixture(RefitMixture):
    """A mixture of which some parts stay, and others are held near to what they were.

    Penalties stay as they were chosen, and nothing takes the bias of a ridge out.

    Parameters
    ----------
    task, n_active, hard
        As for :class:`RefitMixture`; the task starts from a fit.
    """

    biased = renews = False

    def __init__(self, task, *, n_active=None, hard=False):
        super().__init__(task, n_active=n_active, hard=hard)
        fit, freeze, names = task.start.warm, task.start.freeze, task.recipe.names
        self.anchor = Parts(fit.gate, fit.experts, fit.likelihoods)
        self.pull, self.keeps_gate = task.start.pull, freeze == "gate"
        kept = kept_names(freeze, names)
        self.keeps = [name in kept for name in names]

    def alternates(self):
        """One M-step from where it stands is no optimum."""
        return True

    def _penalty(self, parts):
        total, pull = super()._penalty(parts), 0.5 * self.pull
        if pull == 0.0:
            return total
        if not self.keeps_gate:
            total += pull * parts.gate.way_from(self.anchor.gate)
        for k in self._near():
            variance = 1.0
            if self.task.rows.classes is None:
                likelihood, width = parts.likelihoods[k], self.task.rows.y.shape[1]
                variance = likelihood.penalty_variance(width)
            way = parts.experts[k].way_from(self.anchor.experts[k])
            total += pull * np.sum(way / variance)
        return float(total)

    def _near(self):
        """Positions of the experts that are held near to what they were."""
        if self.pull == 0.0:
            return []
        bare = self.stays()
        return [k for k in range(len(self.keeps)) if not (self.keeps[k] or bare[k])]

    def _priors(self, experts, parts):
        priors, near = super()._priors(experts, parts), self._near()
        if priors is None:
            return None
        for k in near:
            way = self.pull * experts[k].way_from(self.anchor.experts[k])
            priors[k] = priors[k] + way
        return priors

    def maximise(self, parts, statistics):
        """As of any parts, for those that move."""
        resp = statistics.resp
        gate = self._fit_gate(parts.gate, resp)
        return self.refit(parts, resp, statistics.row_weights)._replace(gate=gate)

    def _fit_gate(self, gate, resp):
        if self.keeps_gate:
            return gate
        own, rows = copy.deepcopy(gate), self._for_gate(resp)
        if self.pull:
            return own.update_near(self.anchor.gate, self.pull, *rows)
        own.update(*rows)
        return own

    def _fit_experts(self, resp, parts, row_weights):
        shares, near = _counting(resp), set(self._near())
        free = [k for k, keeps in enumerate(self.keeps) if not keeps]

        def fit(k):
            given = shares[:, k], parts.experts[k], parts.likelihoods[k]
            if k in near:
                return self.fits.fit_near(k, *given, self.anchor.experts[k], self.pull)
            return self.fits.fit(k, *given, row_weights[k] if row_weights else None)

        if self.task.recipe.common:
            # Frozen all together, or not at all.
            return super()._fit_experts(resp, parts, row_weights) if free else parts[1]
        fitted = iter(self.task.recipe.run_fits(fit, [(k,) for k in free]))
        pairs = zip(self.keeps, parts.experts, strict=True)
        return [expert if keeps else next(fitted) for keeps, expert in pairs]

    def dispersions_of(self, experts, resp, parts):
        found = super().dispersions_of(experts, resp, parts)
        trios = zip(self.keeps, found, parts.likelihoods, strict=True)
        return [before if keeps else own for keeps, own, before in trios]


class TunedDriver(RefitDriver):
    """EM from an earlier fit, with frozen parts or a penalty of the way from it."""

    def __init__(self, trainer, task):
        trainer = copy.copy(trainer)
        # Who has no rows here stays as it was.
        trainer.min_load = 0.0
        super().__init__(trainer, task)
        check_tuned(trainer, task)

    def _problem(self, n_active):
        return TunedMixture(self.task, n_active=n_active, hard=self.trainer.hard)

    def _most_iterations(self, problem):
        experts = zip(problem.keeps, self.task.recipe.experts, strict=True)
        moving = [traits(expert) for keeps, expert in experts if not keeps]
        if all(own.is_linear or own.steps or own.is_bare for own in moving):
            return self.trainer.max_iter
        return self.trainer.max_refits

    def _going_on(self, problem, fit):
        gate = fit.gate
        if not problem.keeps_gate:
            gate = self.task.recipe.gate.going_on(gate)
        return problem.anchor._replace(gate=gate)


def check_tuned(trainer, task):
    """Raise ``ValueError`` for parts that cannot stay, or stay near, as is asked."""
    recipe, start, owner = task.recipe, task.start, type(trainer).__name__
    if trainer.objective == "prediction":
        raise ValueError(
            f"{owner} got objective='prediction' with freeze={start.freeze!r} and "
            f"l2_sp={start.pull:g}, but its last steps move all parts; use "
            "objective='likelihood', or leave both out."
        )
    listed = not (start.freeze is None or isinstance(start.freeze, str))
    some = listed and 0 < len(set(start.freeze)) < recipe.n_experts
    if recipe.common and (some or start.pull):
        raise ValueError(
            f"{owner} got freeze={start.freeze!r} and l2_sp={start.pull:g}, but "
            "experts with common coefficients are fitted together; use "
            "freeze='experts', or l2_sp=0."
        )
    if start.pull:
        _check_near(owner, task)


def _check_near(owner, task):
    """Raise ``ValueError`` for parts that move and have no penalty to stay near."""
    for what, part, near, view, remedy in _moving(task):
        wide = near and use_products(view)
        if near and not wide:
            continue
        why = f"{part!r} on {view.shape[1]} columns" if wide else repr(part)
        raise ValueError(
            f"{owner} got l2_sp={task.start.pull:g} with the {what}, {why}, which no "
            "penalty holds near to what it was, as it does a SoftmaxGate and a "
            f"LinearExpert on few columns; use {remedy}, or l2_sp=0."
        )


def _moving(task):
    """Of each part that does not stay: who it is, the part, whether it can be held
    near, what it sees, and what makes it stay."""
    recipe, rows, freeze = task.recipe, task.rows, task.start.freeze
    found = []
    if freeze != "gate":
        gate, remedy = recipe.gate, "freeze='gate'"
        found.append(("gate", gate, gate.stays_near, rows.gate_view, remedy))
    kept = kept_names(freeze, recipe.names)
    experts = zip(recipe.names, recipe.experts, rows.expert_views, strict=True)
    for name, expert, view in experts:
        own, remedy = traits(expert), f"freeze=[{name!r}]"
        if not (own.is_bare or name in kept):
            found.append((f"expert {name!r}", expert, own.stays_near, view, remedy))
    return found


def kept_names(freeze, names):
    """Names of the experts that stay as they were."""
    if freeze is None or freeze == "gate":
        return []
    return names if freeze == "experts" else freeze
