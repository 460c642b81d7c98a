"""The model as pure functions of arrays: densities, means, variances.

``log_gate`` (n, K) are log-weights, ``log_prob`` (n, K) expert log-densities,
``weights`` (n, K) gate weights, ``predictions`` (n, K, d) expert predictions.
"""

import numpy as np
from scipy.special import logsumexp, softmax

from ._kernels.routing import group_slots
from ._kernels.vector import log_softmax_rows


def log_weights(logits):
    """Logits (n, K) less the log-sum-exp of each row; may overwrite ``logits``."""
    logits = np.ascontiguousarray(logits, dtype=np.float64)
    if not logits.flags.writeable:
        logits = logits.copy()
    log_softmax_rows(logits)
    return logits


def log_prob(likelihoods, y, predictions):
    """Log-densities (n, K) of rows ``y`` under each expert's likelihood."""
    pairs = zip(likelihoods, predictions, strict=True)
    return np.column_stack([own.log_prob(y, at) for own, at in pairs])


def log_density(log_gate, log_prob):
    """``log sum_k g_k p_k`` per row."""
    return logsumexp(log_gate + log_prob, axis=1)


def responsibilities(log_gate, log_prob):
    """Posterior probability of each expert per row, shape (n, K)."""
    return softmax(log_gate + log_prob, axis=1)


def mean(weights, predictions):
    """Gate-weighted prediction, shape (n, d)."""
    return np.einsum("nk,nkd->nd", weights, predictions)


def variance(weights, predictions, within):
    """Law of total variance, shape (n, d).

    Parameters
    ----------
    within : (K, d) variance of each expert around its prediction.
    """
    center = mean(weights, predictions)
    between = (predictions - center[:, None, :]) ** 2
    return np.einsum("nk,nkd->nd", weights, between + within)


def entropy(resp, sample_weight):
    """``-sum_i w_i sum_k r_ik log r_ik``, the uncertainty about who serves whom."""
    safe = np.where(resp > 0, resp, 1.0)
    return -float(sample_weight @ np.sum(resp * np.log(safe), axis=1))


def dispatch(indices, n_experts):
    """Rows and slots of each expert, from one counting sort.

    Yields
    ------
    expert, rows, slots : int, ndarray, ndarray
        Experts without rows are skipped.
    """
    order, bounds = group_slots(np.ascontiguousarray(indices), n_experts)
    n_slots = indices.shape[1]
    for k in range(n_experts):
        own = order[bounds[k] : bounds[k + 1]]
        if len(own):
            yield k, own // n_slots, own % n_slots
