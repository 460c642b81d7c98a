"""How much several answers to the same rows are worth together."""

import numpy as np
from scipy import optimize

# Rounds of EM for weights of probabilities: far more than a decision needs.
ROUNDS = 200


def square_weights(answers, y, weight):
    """Weights (K,) >= 0 of answers (n, K, d) by which squared errors are least.

    Answers and targets (n, d) are taken around their means, each output in units of
    its standard deviation.
    """
    center = np.average(y, axis=0, weights=weight)
    spread = np.sqrt(np.average((y - center) ** 2, axis=0, weights=weight))
    scale = np.sqrt(weight)[:, None] / np.where(spread > 0, spread, 1.0)
    means = np.average(answers, axis=0, weights=weight)
    columns = (answers - means) * scale[:, None, :]
    columns = columns.transpose(0, 2, 1).reshape(-1, answers.shape[1])
    return optimize.nnls(columns, ((y - center) * scale).ravel())[0]


def square_losses(answers, y, weight):
    """Squared errors (n,) of the best blend, in variances of the outputs."""
    blend = square_weights(answers, y, weight)
    center = np.average(y, axis=0, weights=weight)
    spread = np.average((y - center) ** 2, axis=0, weights=weight)
    means = np.average(answers, axis=0, weights=weight)
    error = y - center - np.einsum("k,nkd->nd", blend, answers - means)
    return np.sum(error**2 / np.where(spread > 0, spread, 1.0), axis=1)


def log_losses(proba, weight):
    """Losses (n,) in nats of the best blend of probabilities (n, K) of what came."""
    proba = np.maximum(proba, np.finfo(float).tiny)
    share = np.full(proba.shape[1], 1.0 / proba.shape[1])
    for _ in range(ROUNDS):
        mixed = proba @ share
        share = share * (weight / mixed @ proba) / weight.sum()
    return -np.log(proba @ share)
