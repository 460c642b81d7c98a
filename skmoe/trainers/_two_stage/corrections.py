"""Corrections of given predictions: of what experts say, before it is combined."""

import numpy as np
from scipy import optimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import Ridge

from ... import mixture
from ...experts._corrected import CorrectedClassifier, CorrectedRegressor
from ...likelihoods import smoothed

# Penalties, in rows, on the distance of a correction from the identity.
CORRECTION_ALPHA = 1.0
CLASS_ALPHA = 10.0
# Gains of an iteration that are worth another, in the variance of y or in nats: a
# squared error may be tiny.
SQUARE_TOLERANCE = 2.2e-9
NAT_TOLERANCE = 1e-7
# Smallest weight of an expert at the start.
SMALLEST_SHARE = 1e-3
# Smallest inverse temperature: an expert may be silenced, but not contradicted.
COLDEST = 1e-6


def corrections_for(task, predictions, offsets):
    """The corrections that suit a task, given its out-of-fold predictions (n, K, d)."""
    if task.rows.classes is None:
        return AffineCorrections(task.rows.y, task.rows.weight, predictions)
    return TemperedCorrections(task.rows.y, predictions, task.rows.classes, offsets)


class AffineCorrections:
    """``intercept + slope * prediction`` for each expert and output.

    Parameters are one vector, slopes (K, d) first.

    Parameters
    ----------
    y : (n, d)
    weight : (n,)
    predictions : (n, K, d)

    Attributes
    ----------
    answers, target : (n, K, d) and (n, d), in standard deviations of y
    identity : (2 K d,), the correction that changes nothing
    lowest, highest : (2 K d,), values allowed
    alpha : (2 K d,), penalties on the squared distance from the identity, in rows
    tolerance : float, gain of an iteration that is worth another
    """

    def __init__(self, y, weight, predictions):
        self.center = np.average(y, axis=0, weights=weight)
        spread = np.average((y - self.center) ** 2, axis=0, weights=weight)
        self.scale = np.where(spread > 0, np.sqrt(spread), 1.0)
        self.answers = (predictions - self.center) / self.scale
        self.target = (y - self.center) / self.scale
        shape = predictions.shape[1:]
        self.identity = np.stack([np.ones(shape), np.zeros(shape)]).ravel()
        self.tolerance = SQUARE_TOLERANCE
        self.highest = np.full(len(self.identity), np.inf)
        self.lowest = -self.highest
        self.alpha = np.full(len(self.identity), CORRECTION_ALPHA)

    def _split(self, correction):
        return correction.reshape(2, *self.answers.shape[1:])

    def corrected(self, correction, rows):
        """Corrected answers (m, K, d), in standard deviations of y."""
        slope, intercept = self._split(correction)
        return intercept + slope * self.answers[rows]

    def predictions(self, correction, rows):
        """Corrected predictions (m, K, d) on the scale of the data."""
        return self.center + self.scale * self.corrected(correction, rows)

    def gradient(self, on_corrected, rows):
        """Slope of the correction, given that of the corrected answers."""
        on_slope = np.sum(on_corrected * self.answers[rows], axis=0)
        return np.stack([on_slope, on_corrected.sum(axis=0)]).ravel()

    def alone(self, correction, rows):
        """Half squared errors (m, K) of each expert; slopes of corrected answers."""
        error = self.corrected(correction, rows) - self.target[rows][:, None, :]
        return 0.5 * np.sum(error**2, axis=2), error

    def nat(self, least):
        """Loss of a nat, given the loss at which it counts: the error variance."""
        return 2.0 * least / self.target.shape[1]

    def combined(self, log_gate, correction, rows):
        """Half squared errors (m,) of the weighted mean, and slopes.

        Returns
        -------
        losses : (m,)
        on_logits : (m, K), slopes of the gate's logits
        on_corrected : (m, K, d), slopes of the corrected answers
        """
        weights, corrected = np.exp(log_gate), self.corrected(correction, rows)
        error = mixture.mean(weights, corrected) - self.target[rows]
        on_weights = np.einsum("nd,nkd->nk", error, corrected)
        mean = np.sum(weights * on_weights, axis=1, keepdims=True)
        on_corrected = weights[:, :, None] * error[:, None, :]
        return (
            0.5 * np.sum(error**2, axis=1),
            weights * (on_weights - mean),
            on_corrected,
        )

    def stacked(self, weight, rows):
        """Log-weights and corrections by which the mixture is linear stacking, nearly.

        An expert with a negative weight enters with a negative slope; the others keep
        their answers, since the weights of stacking sum to about one.
        """
        n_experts, n_outputs = self.answers.shape[1:]
        columns = self.answers[rows].transpose(0, 2, 1).reshape(-1, n_experts)
        ridge = Ridge(CORRECTION_ALPHA, fit_intercept=False)
        repeated = np.repeat(weight[rows], n_outputs)
        signed = ridge.fit(columns, self.target[rows].ravel(), repeated).coef_
        # A constant y leaves nothing to weigh.
        total = np.abs(signed).sum() or 1.0
        share = np.maximum(np.abs(signed) / total, SMALLEST_SHARE)
        share /= share.sum()
        slope = np.where(signed < 0, signed / share, 1.0)
        slope = np.broadcast_to(slope[:, None], (n_experts, n_outputs))
        return np.log(share), np.stack([slope, np.zeros_like(slope)]).ravel()

    def best(self, weight, rows, start):
        """The correction under which weighted rows (m, K) fit best."""
        answers, target = self.answers[rows], self.target[rows, None, :]
        mass = weight.sum(axis=0)[:, None] + CORRECTION_ALPHA
        first = np.einsum("nk,nkd->kd", weight, answers)
        second = np.einsum("nk,nkd->kd", weight, answers**2) + CORRECTION_ALPHA
        on_slope = np.einsum("nk,nkd->kd", weight, answers * target) + CORRECTION_ALPHA
        on_intercept = np.einsum("nk,njd->kd", weight, target)
        slope = (mass * on_slope - first * on_intercept) / (mass * second - first**2)
        return np.stack([slope, (on_intercept - slope * first) / mass]).ravel()

    def around(self, fitted, correction):
        """Experts with their corrections around them."""
        slope, intercept = self._split(correction)
        shift = self.center + self.scale * intercept - slope * self.center
        return [
            CorrectedRegressor(*parts)
            for parts in zip(fitted, slope, shift, strict=True)
        ]


class TemperedCorrections:
    """A temperature of each expert's log-probabilities, and an offset of each class.

    Parameters are one vector, the inverse temperatures (K,) before the offsets (K, C).

    Parameters
    ----------
    y : (n,) codes of the classes
    predictions : (n, K, C) class probabilities
    classes : class labels
    offsets : bool
        Whether classes get offsets.

    Attributes
    ----------
    answers : (n, K, C) log-probabilities
    identity, lowest, highest, alpha : (K + K C,), see :class:`AffineCorrections`
    """

    def __init__(self, y, predictions, classes, offsets):
        # A class that a fold did not have was given probability zero.
        self.answers = np.log(smoothed(predictions))
        self.codes, self.classes = y, classes
        _, n_experts, n_classes = predictions.shape
        n_offsets = n_experts * n_classes
        self.tolerance = NAT_TOLERANCE
        self.identity = np.repeat([1.0, 0.0], [n_experts, n_offsets])
        farthest = np.inf if offsets else 0.0
        self.lowest = np.repeat([COLDEST, -farthest], [n_experts, n_offsets])
        self.highest = np.repeat([np.inf, farthest], [n_experts, n_offsets])
        self.alpha = np.repeat([CORRECTION_ALPHA, CLASS_ALPHA], [n_experts, n_offsets])

    def _split(self, correction):
        _, n_experts, n_classes = self.answers.shape
        inverse, offset = np.split(correction, [n_experts])
        return inverse, offset.reshape(n_experts, n_classes)

    def corrected(self, correction, rows):
        """Corrected answers (m, K, C), log-probabilities up to a constant."""
        inverse, offset = self._split(correction)
        return inverse[:, None] * self.answers[rows] + offset

    def predictions(self, correction, rows):
        """Corrected class probabilities (m, K, C)."""
        return softmax(self.corrected(correction, rows), axis=2)

    def gradient(self, on_corrected, rows):
        """Slope of the correction, given that of the corrected answers."""
        on_inverse = np.einsum("nkc,nkc->k", on_corrected, self.answers[rows])
        return np.concatenate([on_inverse, on_corrected.sum(axis=0).ravel()])

    def alone(self, correction, rows):
        """Log-losses (m, K) of each expert; slopes of corrected answers."""
        log_proba = log_softmax(self.corrected(correction, rows), axis=2)
        hit = np.arange(len(log_proba)), slice(None), self.codes[rows]
        on_corrected = np.exp(log_proba)
        on_corrected[hit] -= 1.0
        return -log_proba[hit], on_corrected

    def nat(self, least):
        """Loss of a nat: the loss is in nats."""
        return 1.0

    def combined(self, log_gate, correction, rows):
        """Log-losses (m,) of the mixture, and slopes as in regression."""
        losses, on_corrected = self.alone(correction, rows)
        log_density = mixture.log_density(log_gate, -losses)
        resp = mixture.responsibilities(log_gate, -losses)
        on_corrected *= resp[:, :, None]
        return -log_density, np.exp(log_gate) - resp, on_corrected

    def stacked(self, weight, rows):
        """Equal log-weights, and no correction."""
        return np.zeros(self.answers.shape[1]), self.identity

    def best(self, weight, rows, start):
        """The correction under which weighted rows (m, K) fit best; convex."""

        def penalised(correction):
            losses, on_corrected = self.alone(correction, rows)
            on_corrected *= weight[:, :, None]
            away = correction - self.identity
            slope = self.gradient(on_corrected, rows) + self.alpha * away
            return np.sum(weight * losses) + 0.5 * self.alpha @ away**2, slope

        bounds = optimize.Bounds(self.lowest, self.highest)
        return optimize.minimize(
            penalised, start, jac=True, method="L-BFGS-B", bounds=bounds
        ).x

    def around(self, fitted, correction):
        """Experts with their corrections around them."""
        inverse, offset = self._split(correction)
        return [
            CorrectedClassifier(expert, 1.0 / own, shift, self.classes)
            for expert, own, shift in zip(fitted, inverse, offset, strict=True)
        ]
