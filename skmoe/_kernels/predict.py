"""Prediction of linear experts under a linear gate, without an (n, K) array."""

import numpy as np

from ._jit import jit
from .blocks import BLOCK_ROWS, load_block
from .routing import exceeds


@jit
def best_of_block(logits, kept, values):
    """Numbers and logits of the largest entries of each column, largest first.

    ``kept`` and ``values`` (k, n) are filled; of entries that are equal but for
    rounding the first wins, and ``logits`` is spoiled.
    """
    n_experts, n_rows = logits.shape
    for slot in range(kept.shape[0]):
        for r in range(n_rows):
            values[slot, r] = logits[0, r]
            kept[slot, r] = 0.0
        for e in range(1, n_experts):
            number = float(e)
            for r in range(n_rows):
                better = exceeds(logits[e, r], values[slot, r])
                values[slot, r] = logits[e, r] if better else values[slot, r]
                kept[slot, r] = number if better else kept[slot, r]
        if slot < kept.shape[0] - 1:
            for r in range(n_rows):
                logits[int(kept[slot, r]), r] = -np.inf


@jit
def sparse_linear_mean(
    X, center, inverse_scale, gate_coef, expert_coef, n_active, out, start, stop
):
    """Mean of the ``n_active`` most probable linear experts of rows ``start : stop``.

    Parameters
    ----------
    X, center, inverse_scale : columns and their standardisation
    gate_coef : (K, q), expert_coef : (K, d, q) standardised, last channel the intercept
    out : (n, d)
    """
    n_channels = gate_coef.shape[1]
    width = min(BLOCK_ROWS, stop - start)
    block = np.empty((n_channels, width))
    kept, values = np.empty((n_active, width)), np.empty((n_active, width))
    for first in range(start, stop, width):
        n_rows = min(width, stop - first)
        load_block(X, center, inverse_scale, first, n_rows, block)
        logits = np.dot(gate_coef, block)
        best_of_block(logits, kept, values)
        for r in range(n_rows):
            total = 0.0
            for slot in range(n_active):
                weight = np.exp(values[slot, r] - values[0, r])
                total += weight
                coef = expert_coef[int(kept[slot, r])]
                for d in range(out.shape[1]):
                    mean = coef[d, n_channels - 1]
                    for j in range(n_channels - 1):
                        mean += coef[d, j] * block[j, r]
                    out[first + r, d] += weight * mean
            for d in range(out.shape[1]):
                out[first + r, d] /= total


@jit
def routed_linear_mean(X, indices, weights, expert_coef, out, start, stop):
    """Weighted mean of the linear experts that rows ``start : stop`` were routed to.

    ``indices`` and ``weights`` are (n, k), empty slots negative; ``expert_coef`` is
    (K, d, p + 1), last the intercept; ``out`` (n, d) is added to.
    """
    p = X.shape[1]
    for i in range(start, stop):
        for slot in range(indices.shape[1]):
            if indices[i, slot] < 0:
                continue
            coef = expert_coef[indices[i, slot]]
            for d in range(out.shape[1]):
                mean = coef[d, p]
                for j in range(p):
                    mean += coef[d, j] * X[i, j]
                out[i, d] += weights[i, slot] * mean
