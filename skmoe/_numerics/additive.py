"""Regressions on sums of curves: Newton steps, and penalties by evidence."""

from typing import NamedTuple

import numpy as np

from .curves import System, by_evidence, centred_variances
from .linalg import shortened
from .multinomial import log_weights

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

    #: Whether a step from anywhere ends at the maximum.
    exact = False
    #: How many sets of curves are solved for; of the others they tell.
    n_solved = None

    def __init__(self, bins, y, weight, likelihood, inverse, size=None):
        self.bins, self.y, self.weight = bins, y, weight
        self.likelihood, self.inverse, self.size = likelihood, inverse, size
        # Penalties are relative to the variance, so that y may have any unit.
        self.unit = likelihood.penalty_variance(y.shape[1])[:, None]

    def value(self, coef):
        """Log-likelihood, in nats."""
        prediction = self.inverse(self.bins.linear(coef))
        return self.weight @ self.likelihood.log_prob(self.y, prediction, self.size)

    def system(self, coef):
        """Curvatures (m, q, q) and slopes (m, q), in units of the variance."""
        prediction = self.inverse(self.bins.linear(coef))
        slope, curvature = self.likelihood.derivatives(self.y, prediction, self.size)
        weight = self.weight[:, None] * self.unit.T
        return self.bins.grams(weight * curvature), self.bins.gather(weight * slope)

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

    def value(self, coef):
        """Half the sum of squares, less than which is better."""
        squares = (self.y - self.bins.linear(coef)) ** 2
        return -0.5 * float(np.sum(self.weight @ squares / self.unit[:, 0]))

    def system(self, coef):
        grams = self.bins.grams(self.weight[:, None])
        rest = self.weight[:, None] * (self.y - self.bins.linear(coef))
        return np.repeat(grams, self.y.shape[1], axis=0), self.bins.gather(rest)


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
        self.mass = targets.sum(axis=1, keepdims=True)
        # Diagonal blocks of the Hessian curve less than it does along differences of
        # the classes: by this factor, where all are as likely.
        self.factor = targets.shape[1] / max(targets.shape[1] - 1, 1)
        # Two classes have mirrored curves.
        self.n_solved = 1 if targets.shape[1] == 2 else None

    def _log_proba(self, coef):
        return log_weights(self.bins.linear(coef) + self.offset)

    def value(self, coef):
        """Log-likelihood, in nats."""
        rows = np.where(self.targets > 0, self._log_proba(coef), 0.0)
        return float(np.vdot(self.targets, rows))

    def system(self, coef):
        """Curvatures (m, q, q), without those between classes, and slopes (m, q)."""
        proba = np.exp(self._log_proba(coef))[:, : self.n_solved]
        curved = np.maximum(proba * (1.0 - proba), LEAST_CERTAIN)
        rest = self.targets[:, : self.n_solved] - self.mass * proba
        grams = self.bins.grams(self.factor * self.mass * curved)
        return grams, self.bins.gather(rest)

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


def stepped(model, coef, strengths, n_steps):
    """Coefficients after Newton steps, none of which lowers the penalised objective."""

    def objective(at):
        return model.value(at) - paid(model, at, strengths)

    basis, value, own = model.bins.basis, None, slice(model.n_solved)
    for _ in range(n_steps):
        grams, slope = model.system(coef)
        # Curves without a mean would be held there beside the penalties.
        slope -= basis.penalised(coef[own], strengths[own])
        slope -= basis.held(coef[own], grams[:, -1, -1])
        move = model.spread(System(basis, grams, strengths[own]).solve(slope))
        if model.exact:
            return coef + move
        step, trial = 1.0, objective(coef + move)
        value = objective(coef) if value is None else value
        while not trial >= value and step > SMALLEST_STEP:
            step /= 2
            trial = objective(coef + step * move)
        if not trial >= value:
            return coef
        coef, gain, value = coef + step * move, trial - value, trial
        if gain <= SMALLEST_GAIN * abs(value):
            break
    return coef


def weighed(model, coef, strengths, mass):
    """The ``Evidence`` of a fit for its penalties, of rows with masses (q,)."""
    basis = model.bins.basis
    grams, _ = model.system(coef)
    system = System(basis, grams, strengths[: model.n_solved])
    covariances = system.covariances()
    effective, squares = system.effective(covariances), basis.squares(coef)
    variances = centred_variances(basis, covariances, mass) * model.unit
    times = len(coef) // len(effective)
    effective, variances = (np.repeat(x, times, axis=0) for x in (effective, variances))
    return Evidence(by_evidence(effective, squares, model.unit), effective, variances)
