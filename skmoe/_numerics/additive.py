"""Regressions on sums of curves: Newton steps, and penalties by evidence."""

from typing import NamedTuple

import numpy as np

from .linalg import shortened
from .multinomial import softmax_of
from .systems import TIGHT, by_evidence, system_for

SMALLEST_STEP = 2.0**-10
# Curvature that a row has at least, of what it has where all is undecided.
LEAST_CERTAIN = 1e-6
# Rounds of a fit outside of a mixture, each of which may change the penalties, and the
# gain per unit of weight that ends them.
MOST_ROUNDS, SMALLEST_GAIN = 50, 1e-6
# Newton steps of a round.
ROUND_STEPS = 3


class Evidence(NamedTuple):
    """What a fit says of its penalties.

    Attributes
    ----------
    strengths : (m, blocks), at which its evidence has a maximum
    effective : (m, blocks), effective degrees of freedom
    variances : (m, q), of the coefficients around the mean of their curve
    """

    strengths: np.ndarray
    effective: np.ndarray
    variances: np.ndarray


class Regression:
    """Weighted log-likelihood of values by a link, in curves (n_outputs, q).

    Parameters
    ----------
    bins : Bins
    y : (n, n_outputs)
    weight : (n,), positive
    likelihood : fitted likelihood
    inverse : callable, from the linear predictor to what the likelihood reads
    size : (n,) or None
    """

    #: How many sets of curves are solved for; of the others they tell.
    n_solved = None

    def __init__(self, bins, y, weight, likelihood, inverse, size=None):
        self.bins, self.y, self.weight = bins, y, weight
        self.likelihood, self.inverse, self.size = likelihood, inverse, size
        # Whether a step from anywhere ends at the maximum.
        self.exact = likelihood.is_parabola
        # Penalties are relative to the variance, so that y may have any unit.
        self.unit = likelihood.penalty_variance(y.shape[1])[:, None]

    def value(self, sums):
        """Log-likelihood, in nats, of sums (n, n_outputs) of curves."""
        prediction = self.inverse(sums)
        return self.weight @ self.likelihood.log_prob(self.y, prediction, self.size)

    def derivatives(self, sums):
        """Curvatures and slopes (n, m) in the sums, in units of the variance."""
        prediction = self.inverse(sums)
        slope, curvature = self.likelihood.derivatives(self.y, prediction, self.size)
        weight = self.weight[:, None] * self.unit.T
        return weight * curvature, weight * slope

    def nats(self, paid):
        """A penalty (m,) in nats."""
        return float(np.sum(paid / self.unit[:, 0]))

    def spread(self, move):
        """Moves (m, q) of all sets, from those that were solved for."""
        return move

    def spent(self, effective):
        """Free parameters of curves with effective degrees of freedom (m, blocks)."""
        return float(effective.sum() + len(effective))


class LeastSquares(Regression):
    """Weighted least squares, which a single step solves."""

    exact = True

    def __init__(self, bins, y, weight, unit):
        self.bins, self.y, self.weight = bins, y, weight
        self.unit = np.reshape(unit, (-1, 1))

    def value(self, sums):
        """Half the sum of squares, less than which is better."""
        squares = (self.y - sums) ** 2
        return -0.5 * float(np.sum(self.weight @ squares / self.unit[:, 0]))

    def derivatives(self, sums):
        weight = self.weight[:, None]
        return np.broadcast_to(weight, sums.shape), weight * (self.y - sums)


class Softmax:
    """Weighted log-likelihood of shares of classes, in curves (n_classes, q).

    Parameters
    ----------
    bins : Bins
    targets : (n, n_classes), weighted
    offset : (n, n_classes), added to the logits, or zero
    """

    unit = 1.0
    exact = False

    def __init__(self, bins, targets, offset=0.0):
        self.bins, self.targets, self.offset = bins, targets, offset
        self.mass, self._known = targets.sum(axis=1, keepdims=True), None
        # Diagonal blocks of the Hessian curve less than it does along differences of
        # the classes: by this factor, where all are as likely.
        self.factor = targets.shape[1] / max(targets.shape[1] - 1, 1)
        # Two classes have mirrored curves.
        self.n_solved = 1 if targets.shape[1] == 2 else None

    def value(self, sums):
        """Log-likelihood, in nats, of sums (n, n_classes) of curves."""
        if self._known is not None and self._known[0] is sums:
            return self._known[1]
        return self._at(sums)[0]

    def _at(self, sums):
        """Log-likelihood, and shares of the classes (n, n_classes)."""
        logits = sums + self.offset if np.ndim(self.offset) else sums
        proba, total = softmax_of(logits)
        if logits is not sums:
            # Where a class is impossible nobody has it.
            logits = np.where(self.targets > 0, logits, 0.0)
        value = float(np.vdot(self.targets, logits) - self.mass[:, 0] @ total)
        return value, proba

    def derivatives(self, sums):
        """Curvatures (n, m), without those between classes, and slopes (n, m)."""
        value, proba = self._at(sums)
        # Where a step begins, its value is asked for, too.
        self._known = sums, value
        proba = proba[:, : self.n_solved]
        rest = self.mass * proba
        np.subtract(self.targets[:, : self.n_solved], rest, out=rest)
        curved = np.maximum(proba * (1.0 - proba), LEAST_CERTAIN)
        curved *= self.factor * self.mass
        return curved, rest

    def nats(self, paid):
        """A penalty (m,) in nats."""
        return float(np.sum(paid))

    def spread(self, move):
        """Moves (m, q) that sum to zero over the classes, none of them too far."""
        if self.n_solved == 1:
            move = np.vstack([move, -move])
        else:
            move = move - move.mean(axis=0)
        return shortened(move[None])[0]

    def spent(self, effective):
        """Free parameters of curves, of which only differences of classes count."""
        n_classes = len(effective)
        return float((n_classes - 1) / n_classes * effective.sum() + n_classes - 1)


def paid(model, coef, strengths):
    """Penalty of curves, in nats."""
    squares = model.bins.basis.squares(coef)
    return model.nats(0.5 * np.sum(strengths * squares, axis=1))


def stepped(model, coef, strengths, n_steps, known=None, tolerance=TIGHT):
    """Coefficients after Newton steps, none of which lowers the penalised objective.

    Parameters
    ----------
    model : Regression or Softmax
    coef : (m, q)
    strengths : (m, blocks)
    n_steps : int
    known : System or None
        Of an earlier step, which serves while weights are nearly the same.
    tolerance : float
        Share of a residual at which products end, if there are any.

    Returns
    -------
    coef : (m, q)
    known : System
    """
    bins, own, value = model.bins, slice(model.n_solved), None
    sums = bins.linear(coef)
    for _ in range(n_steps):
        weights, rest = model.derivatives(sums)
        known, fresh = system_for(known, bins, weights, strengths[own])
        slope = bins.gather(rest) - bins.basis.penalised(coef[own], strengths[own])
        # Curves without a mean would be held there beside the penalties.
        slope -= bins.basis.held(coef[own], weights.sum(axis=0))
        move = model.spread(known.solve(slope, bins, weights, fresh, tolerance))
        if model.exact:
            return coef + move, known
        moved = bins.linear(move)
        if value is None:
            value = model.value(sums) - paid(model, coef, strengths)
        step, trial = 1.0, -np.inf
        while not trial >= value and step > SMALLEST_STEP:
            trial = model.value(sums + step * moved)
            trial -= paid(model, coef + step * move, strengths)
            step /= 2
        if not trial >= value:
            return coef, known
        coef, sums = coef + 2 * step * move, sums + 2 * step * moved
        gain, value = trial - value, trial
        if gain <= SMALLEST_GAIN * abs(value):
            break
    return coef, known


def weighed(model, coef, strengths, mass, known=None):
    """The ``Evidence`` of a fit for its penalties, of rows with masses (q,), and the
    system that tells it."""
    own = strengths[: model.n_solved]
    weights, _ = model.derivatives(model.bins.linear(coef))
    known, _ = system_for(known, model.bins, weights, own)
    effective, variances = known.spent(model.bins, weights, mass)
    squares, variances = model.bins.basis.squares(coef), variances * model.unit
    times = len(coef) // len(effective)
    effective, variances = (np.repeat(x, times, axis=0) for x in (effective, variances))
    found = by_evidence(effective, squares, model.unit)
    return Evidence(found, effective, variances), known
