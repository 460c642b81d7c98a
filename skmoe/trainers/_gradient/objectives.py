"""Losses of a batch of routed rows, and their gradients.

``weights`` (n, k) are those of the routed experts, ``predictions`` (n, k, d) their
outputs; what the weights of a row lack to one belongs to a fallback.  Gradients of
weights are given times the weights, so that zero weights make no trouble.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from ..._kernels.objectives import gaussian_slots, slots_to_logits


class Slope(NamedTuple):
    """Value and gradient of a batch.

    Attributes
    ----------
    value : float, mean weighted loss
    weighted : (n, k) weights times the gradient with respect to them
    predictions : (n, k, d)
    log_variance : (K, d), or None
    resp : (n, k) responsibilities of the routed experts
    """

    value: float
    weighted: np.ndarray
    predictions: np.ndarray
    log_variance: np.ndarray | None
    resp: np.ndarray


def posterior(weights, log_prob, log_fallback):
    """Log-density of the routed experts and the gate's gradient.

    Parameters
    ----------
    weights, log_prob : (n, k)
    log_fallback : (n,)

    Returns
    -------
    log_density : (n,)
        Of the routed experts, their weights brought to sum to one; of the fallback
        where there is none.
    resp : (n, k)
        Responsibilities among the routed experts.
    weighted : (n, k)
        Weights times the gradient of the negative log-density that includes the
        fallback, by which the gate learns even where one expert is routed.  The
        experts must not leave rows to the fallback, since it does not predict.
    """
    with np.errstate(divide="ignore"):
        joint = np.log(weights) + log_prob
    total = weights.sum(axis=1)
    routed = total > 0
    peak = np.where(routed, joint.max(axis=1), log_fallback)
    parts = np.exp(joint - peak[:, None])
    sums = parts.sum(axis=1)
    safe = np.where(routed, sums, 1.0)
    log_density = peak + np.log(safe / np.where(routed, total, 1.0))
    # Rounding may leave a lack of 1e-16 where there is none.
    lack = np.where(1.0 - total > 1e-12, 1.0 - total, 0.0)
    relative = np.where(lack > 0, np.exp(np.minimum(log_fallback - peak, 700.0)), 0.0)
    mixed = np.where(routed, sums, 1.0) + lack * relative
    weighted = (weights * relative[:, None] - parts) / mixed[:, None]
    return log_density, parts / safe[:, None], weighted


def likelihood_slope(weights, log_prob, log_fallback, row_weight, given):
    """Loss, ``weighted`` and responsibilities of the mixture's log-likelihood.

    ``given`` responsibilities replace those of the posterior, if not None.
    """
    log_density, resp, weighted = posterior(weights, log_prob, log_fallback)
    if given is not None:
        resp, weighted = given, -given
    share = row_weight / len(row_weight)
    return -float(share @ log_density), weighted * share[:, None], resp


def gaussian_likelihood(
    y, row_weight, indices, weights, predictions, given, log_variance
):
    """Negative log-likelihood of Gaussian experts; targets have mean 0, variance 1."""
    weighted, slope = np.empty(weights.shape), np.empty(predictions.shape)
    spread, resp = np.zeros(log_variance.shape), np.empty(weights.shape)
    given = np.empty((0, weights.shape[1])) if given is None else given
    value = gaussian_slots(
        y,
        row_weight,
        indices,
        weights,
        np.ascontiguousarray(given),
        np.ascontiguousarray(log_variance),
        predictions,
        (weighted, slope, spread, resp),
    )
    return Slope(value, weighted, slope, spread, resp)


def squared_error(y, row_weight, indices, weights, predictions, given, log_variance):
    """Half the squared error of the combined prediction.

    Weights are brought to sum to one for the prediction; the gradient is that of the
    residual form, in which the fallback predicts the mean, zero.
    """
    total = weights.sum(axis=1, keepdims=True)
    shares = weights / np.where(total > 0, total, 1.0)
    error = np.einsum("nk,nkd->nd", shares, predictions) - y
    scaled = error * (row_weight / len(y))[:, None]
    weighted = weights * np.einsum("nd,nkd->nk", scaled, predictions)
    slope = shares[:, :, None] * scaled[:, None, :]
    value = 0.5 * float(np.sum(scaled * error))
    return Slope(value, weighted, slope, None, shares)


def categorical_likelihood(
    codes, row_weight, indices, weights, predictions, given, fallback
):
    """Cross-entropy of the combined class probabilities; the same as the likelihood.

    ``fallback`` (n,) are the log-probabilities of the labels without any expert.
    """
    log_proba = log_softmax(predictions, axis=2)
    log_prob = np.take_along_axis(log_proba, codes[:, None, None], axis=2)[:, :, 0]
    value, weighted, resp = likelihood_slope(
        weights, log_prob, fallback, row_weight, given
    )
    slope = np.exp(log_proba)
    hit = np.broadcast_to(codes[:, None, None], (*indices.shape, 1))
    np.put_along_axis(slope, hit, np.take_along_axis(slope, hit, axis=2) - 1.0, axis=2)
    slope *= (resp * (row_weight / len(codes))[:, None])[:, :, None]
    return Slope(value, weighted, slope, None, resp)


def weights_to_logits(weighted, indices, reference, out=None):
    """Gradient of the logits (n, K), given ``weighted`` of the routed experts.

    ``reference`` (n, K) are the log-weights by which the routed experts were weighted.
    The gradient is written to ``out`` (n, K), if given.
    """
    slope = np.empty(reference.shape) if out is None else out
    slots_to_logits(weighted, indices, reference, slope)
    return slope
