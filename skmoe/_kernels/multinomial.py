"""One pass of penalised multinomial logistic regression on soft targets."""

import numpy as np

from ._jit import jit
from .blocks import (
    BLOCK_ROWS,
    TILE_PAIRS,
    accumulate_grams,
    add_offset,
    add_product,
    load_block,
    load_weights,
    multinomial_curvature,
)
from .vector import log_inplace, softmax_columns


@jit
def target_residual(targets, weight, first, n_rows, logits, proba, residual, total):
    """Rows ``w (t_k - p_k s)`` with s the row sum of t; adds the cross-entropy.

    On entry ``residual`` holds the logits less their log-sum-exp.
    """
    n_classes = proba.shape[0]
    for r in range(n_rows):
        row_sum = 0.0
        for k in range(n_classes):
            row_sum += targets[first + r, k]
        for k in range(n_classes):
            target = targets[first + r, k]
            if target != 0.0:
                total[0] += weight[r] * target * logits[k, r]
            residual[k, r] = weight[r] * (target - row_sum * proba[k, r])
        weight[r] *= row_sum
    residual[:, n_rows:] = 0.0


@jit
def multinomial_pass(
    X, center, inverse_scale, targets, offset, weight, coef, exact, outputs, start, stop
):
    """Log-likelihood, gradient and curvature of rows ``start : stop``.

    ``targets`` (n, K) are non-negative and need not sum to one; ``offset`` (n, K), or
    (0, K) for none, is added to the logits; ``outputs`` is the triple of total (1,),
    gradient (K, q) and grams (pairs, m), which are added to.
    """
    total, gradient, grams = outputs
    n_classes, n_channels = coef.shape
    width = min(BLOCK_ROWS, stop - start)
    block = np.empty((n_channels, width))
    columns = np.empty((grams.shape[1], width))
    scratch = np.empty((n_classes, width))
    tile = np.empty((min(TILE_PAIRS, grams.shape[0]), width))
    block_weight, peak, mass = np.empty(width), np.empty(width), np.empty(width)
    for first in range(start, stop, width):
        n_rows = min(width, stop - first)
        load_weights(weight, first, n_rows, block_weight)
        load_block(X, center, inverse_scale, first, n_rows, block)
        proba = np.dot(coef, block)
        add_offset(offset, first, n_rows, proba)
        logits = proba.copy()
        softmax_columns(proba, peak, mass, scratch)
        log_inplace(mass, scratch[0])
        for k in range(n_classes):
            for r in range(width):
                logits[k, r] -= peak[r] + mass[r]
        target_residual(
            targets, block_weight, first, n_rows, logits, proba, scratch, total
        )
        add_product(scratch, block, gradient)
        multinomial_curvature(proba, block_weight, exact, columns)
        accumulate_grams(block, columns, grams, tile)


@jit
def mixture_curvature(codes, weighted, resp, proba, logits, change, exact, out):
    """Curvature of multinomial experts times moves of their logits, row by row.

    ``weighted`` and ``resp`` (n, K) are responsibilities with and without weights,
    ``proba`` and ``logits`` (n, K, C); ``change`` (n, K) holds what the gate adds to
    the log-weights.  Without ``exact`` responsibilities are held; with it they follow,
    and ``change`` becomes their change, times the weights.  ``out`` is filled.
    """
    n_rows, n_experts, n_classes = proba.shape
    for r in range(n_rows):
        total = 0.0
        for k in range(n_experts):
            mean = 0.0
            for c in range(n_classes):
                mean += proba[r, k, c] * logits[r, k, c]
            for c in range(n_classes):
                slope = weighted[r, k] * proba[r, k, c]
                out[r, k, c] = slope * (logits[r, k, c] - mean)
            change[r, k] += logits[r, k, codes[r]] - mean
            total += resp[r, k] * change[r, k]
        if not exact:
            continue
        for k in range(n_experts):
            change[r, k] = weighted[r, k] * (change[r, k] - total)
            for c in range(n_classes):
                out[r, k, c] += change[r, k] * proba[r, k, c]
            out[r, k, codes[r]] -= change[r, k]
