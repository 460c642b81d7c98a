"""Last steps of EM for the mean of the mixture as well as for its density.

EM fits experts to their own rows, by which a wide expert counts little, however much of
the squared error of the combined prediction is its own.  Here the mean has a density
too: half of the objective is the log-likelihood of the mixture, the other half that of
one Gaussian around its mean, at the variance that is best for it.
"""

import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from ...experts._base import traits
from ...likelihoods._base import least_variance, weighted_variance
from .loop import Plain, run_em, settle
from .refit import NEGLIGIBLE, Parts, RefitMixture

# Share of the mean in the objective.
SHARE = 0.5
# Steps after EM: more of them fit the mean of the training rows, and no others.
STEPS = 10
# Nats per row by which the objective must rise for them to be kept.
LEAST_GAIN = 0.0
# Share of the variance of y that the mean leaves at least: y may be without noise.
LEAST_ERROR = 1e-12
# Share of experts that predict, below which a row is as good as noise.
LEAST_EXPLAINED = 1e-12


class Means(NamedTuple):
    """The mean of the mixture on the training rows, and the E-step.

    Attributes
    ----------
    resp : (n, K) responsibilities
    log_likelihood : float, weighted
    gate : (n, K) weights of the gate, after routing
    shares : (n, K) weights of the mean, in which noise has none
    predictions : (n, K, d)
    away : (n, K, d) means of the experts less that of the mixture
    rest : (n, d) y less the mean of the mixture
    errors : (d,) mean squares of ``rest``
    """

    resp: np.ndarray
    log_likelihood: float
    gate: np.ndarray
    shares: np.ndarray
    predictions: np.ndarray
    away: np.ndarray
    rest: np.ndarray
    errors: np.ndarray

    @property
    def log_error(self):
        """Half the sum of the logarithms of the errors: nats that the mean lacks."""
        return 0.5 * float(np.log(self.errors).sum())


class PredictionMixture(RefitMixture):
    """Arbitrary gate and experts under the objective of mean and density.

    Experts that minimise squares take steps, others stay; the gate takes steps unless
    it models the columns.
    """

    def evaluate(self, parts):
        """Penalised objective per unit of weight, and the ``Means``."""
        value, found = super().evaluate(parts)
        means = self._means(parts, found)
        density = found.log_likelihood / self.total_weight
        return value - SHARE * (density + means.log_error), means

    def _means(self, parts, found):
        rows, noise = self.task.rows, self.stays()
        log_gate = self._log_gate(parts.gate)
        predictions = self.predictions(parts, needed=np.isfinite(log_gate))
        gate = softmax(log_gate, axis=1)
        shares = np.where(noise, 0.0, gate)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), LEAST_EXPLAINED)
        pairs = zip(self.at_rows(parts), predictions, strict=True)
        own = np.stack([x.mean(at, rows.size) for x, at in pairs], axis=1)
        # The mean of noise is none, whatever stands there.
        own = np.where(shares[:, :, None] > 0, own, 0.0)
        mean = np.einsum("nk,nkd->nd", shares, own)
        rest, away = rows.y - mean, own - mean[:, None]
        errors = np.average(rest**2, axis=0, weights=rows.weight)
        spread = weighted_variance(rows.y, rows.weight)
        errors = np.maximum(errors, least_variance(LEAST_ERROR, spread, rows.y))
        return Means(
            *found[:2],
            gate,
            shares,
            np.stack(predictions, axis=1),
            away,
            rest,
            errors,
        )

    def maximise(self, parts, statistics):
        """A step of the experts, then of the gate, and dispersions by the E-step."""
        experts = self._stepped_experts(parts, statistics)
        gate = parts.gate if self.settles else self._stepped_gate(parts, statistics)
        moved = Parts(gate, experts, [])
        likelihoods = self._fit_dispersions(
            self.predictions(moved, needed=statistics.resp > 0),
            statistics.resp * self.task.rows.weight[:, None],
            self._priors(experts, parts),
            parts.likelihoods,
        )
        return moved._replace(likelihoods=likelihoods)

    def damp(self, parts, mapped, step):
        """The move of the experts alone: a gate's may change who serves a row."""
        if step < 0.5 or mapped.gate is parts.gate:
            return mapped
        return mapped._replace(gate=parts.gate)

    # -- experts ----------------------------------------------------------------

    def moves(self):
        """Which experts take steps: those that minimise squares."""
        likelihood = self.task.recipe.likelihood
        squares = likelihood.least_squares and not likelihood.models_variance
        own = [traits(self.task.recipe.experts[number]) for number in self.kept]
        return [
            squares and (e.is_linear or e.steps) and not e.follows_likelihood
            for e in own
        ]

    def _stepped_experts(self, parts, state):
        """Experts after least squares, none of which raises the error of the mean.

        Since weights sum to one, the square of what the mean leaves is at most the
        weighted sum of squares of what each expert would leave of it, by itself.
        """
        experts, moves = list(parts.experts), self.moves()
        own = [k for k, moved in enumerate(moves) if moved]
        calls = [(k, parts, state) for k in own]
        for k, found in zip(
            own, self.task.recipe.run_fits(self._stepped, calls), strict=True
        ):
            experts[k] = found
        return experts

    def _stepped(self, k, parts, state):
        number, rows = self.kept[k], self.task.rows
        expert, likelihood = parts.experts[k], parts.likelihoods[k]
        free = self.fits.is_biased(number)
        if self.settles and not free:
            return expert
        # In units of the expert's variances, by which its penalty is divided, too.
        ratio = likelihood.penalty_variance(len(state.errors)) / state.errors
        density, mean = (1.0 - SHARE) * state.resp[:, k], SHARE * state.shares[:, k]
        # One weight for all outputs: that of the one that curves most.
        share = density + mean * ratio.max()
        share[share < NEGLIGIBLE * share.max()] = 0.0
        now = state.predictions[:, k]
        slope = density[:, None] * (rows.y - now)
        slope += mean[:, None] * ratio * state.rest
        served = share[:, None] > 0
        target = now + np.divide(
            slope, share[:, None], out=np.zeros_like(slope), where=served
        )
        fits = copy.copy(self.fits)
        labels = target.reshape(rows.labels.shape)
        fits.task = self.task.with_rows(y=target, labels=labels)
        settles = True if self.settles else None
        return fits.fit(number, share, expert, likelihood, settle=settles)

    # -- gate -------------------------------------------------------------------

    def _stepped_gate(self, parts, state):
        """The gate after an update towards the slope of the objective.

        Targets are the weights and that slope, over what bounds the curvature of a row:
        by Cauchy and Schwarz that of the error is at most the variance of the experts'
        means times that of the gate's own likelihood.
        """
        gate, rows = parts.gate, self.task.rows
        if gate.generative or len(self.kept) == 1:
            return gate
        pull = np.einsum("nkd,nd->nk", state.away, state.rest / state.errors)
        squares = np.einsum("nkd,d->nk", state.away**2, 1.0 / state.errors)
        explained = np.where(self.stays(), 0.0, state.gate).sum(axis=1)
        spread = np.einsum("nk,nk->n", state.shares, squares)
        spread /= np.maximum(explained, LEAST_EXPLAINED)
        slope = (1.0 - SHARE) * (state.resp - state.gate) + SHARE * state.shares * pull
        lack = np.divide(
            -slope, state.gate, out=np.zeros_like(slope), where=state.gate > 0
        )
        # Targets must not be negative.
        mass = np.maximum((1.0 - SHARE) + SHARE * spread, lack.max(axis=1))
        targets = np.maximum(mass[:, None] * state.gate + slope, 0.0)
        own = copy.copy(gate) if gate.steps else copy.deepcopy(gate)
        own.update(rows.gate_view, targets, rows.weight)
        return own


def pays_for_mean(recipe):
    """Whether the finish pays by itself: where all experts are curves of numbers."""
    likelihood = recipe.likelihood
    squares = likelihood.least_squares and not likelihood.models_variance
    own = [traits(expert) for expert in recipe.experts]
    curves = all((e.steps and not e.follows_likelihood) or e.is_bare for e in own)
    return squares and curves and not recipe.router.masks_training and len(own) > 1


def for_prediction(trainer, task, fit, n_active):
    """The fit after last steps for its mean, or as it was where they do not pay.

    Parameters
    ----------
    trainer : EM
    task : Task
    fit : Fit
        Of the likelihood.
    n_active : int
        Experts that serve a row at prediction.

    Returns
    -------
    Fit
        ``history["prediction"]`` tells what was done.
    """
    if task.rows.classes is not None:
        return _told(fit, "the log-loss of the mixture is its likelihood")
    if len(fit.kept) == 1:
        return _told(fit, "the mean of one expert is that of its likelihood")
    problem = _problem(trainer, task, fit, n_active)
    start = Parts(fit.gate, *fit.objective_parts)
    # Penalties stay those of EM, since their evidence is about the density.
    run = run_em(problem, start, Plain(), max_iter=STEPS, tol=trainer.tol)
    settle(problem, run, trainer.tol)
    _, before = problem.evaluate(Parts(fit.gate, fit.experts, fit.likelihoods))
    after, weight = run.statistics, problem.total_weight
    gained = before.log_error - after.log_error
    paid = (before.log_likelihood - after.log_likelihood) / weight
    rise = SHARE * gained - (1.0 - SHARE) * paid
    record = {
        "n_iter": len(run.bounds),
        "before": _measures(before, weight),
        "after": _measures(after, weight),
    }
    # What is no number pays nothing.
    if not (gained > 0 and rise > LEAST_GAIN):
        return _told(fit, "the squared error fell by too little", **record)
    parts, rows = run.theta.at_rest(), task.rows
    given = rows.gate_view, fit.kept, rows.weight
    moved = replace(
        fit,
        gate=parts.gate,
        experts=parts.experts,
        likelihoods=parts.likelihoods,
        log_likelihood=float(after.log_likelihood),
        load=problem.load(after),
        router=task.recipe.fitted_router(parts.gate, *given),
        before=fit.objective_parts,
    )
    return _told(moved, None, **record)


def _problem(trainer, task, fit, n_active):
    """The problem of the experts that are left."""
    problem = PredictionMixture(task, hard=trainer.hard)
    for number in reversed(range(task.recipe.n_experts)):
        if number not in fit.kept:
            problem = problem.without(number)
    return problem.with_rule(n_active=n_active)


def _measures(means, weight):
    """Mean squared error of each output and mean log-density of the training rows."""
    errors = [float(error) for error in means.errors]
    density = float(means.log_likelihood / weight)
    return {"squared_error": errors, "log_density": density}


def _told(fit, left, **record):
    """The fit with a record of its last steps; ``left`` says why there were none."""
    record = {"taken": left is None, "left": left, **record}
    return replace(fit, history={**fit.history, "prediction": record})
