"""Row blocks and their weighted Gram matrices.

A block is the standardised transpose of a few hundred rows with a last channel of
ones.  ``accumulate_grams`` forms all weighted Gram matrices of a block in a few
matrix products, for every expert and every gate pair at once, with about half the
arithmetic of separate ``X.T @ (w * X)`` and temporaries that stay in cache.
"""

import numpy as np

from ._jit import jit

# A multiple of the SIMD width whose byte stride is an odd number of cache lines,
# so that the channels of a block do not compete for the same cache sets.
BLOCK_ROWS = 248
# Channel pairs formed at a time: 256 x 248 doubles are half a megabyte.
TILE_PAIRS = 256


@jit
def load_block(X, center, inverse_scale, start, n_rows, block):
    """Standardise rows ``start : start + n_rows`` of ``X`` into ``block``."""
    n_features = X.shape[1]
    for r in range(n_rows):
        for j in range(n_features):
            block[j, r] = (X[start + r, j] - center[j]) * inverse_scale[j]
    block[:n_features, n_rows:] = 0.0
    block[n_features, :] = 1.0


@jit
def load_weights(weight, start, n_rows, block_weight):
    """Copy weights of a block; the padding gets weight zero and so drops out."""
    for r in range(n_rows):
        block_weight[r] = weight[start + r]
    block_weight[n_rows:] = 0.0


@jit
def add_offset(offset, start, n_rows, logits):
    """Add rows of ``offset`` (n, C), or nothing if it is empty, to stacked logits."""
    if offset.shape[0] == 0:
        return
    n_classes = offset.shape[1]
    for row in range(logits.shape[0]):
        c = row % n_classes
        for r in range(n_rows):
            logits[row, r] += offset[start + r, c]


@jit
def add_product(left, right, total):
    """``total += left @ right.T`` for two channel-major blocks."""
    total += np.dot(left, right.T)


@jit
def accumulate_grams(block, weights, grams, tile):
    """Add ``sum_r weights[m, r] * block[i, r] * block[j, r]`` to ``grams[ij, m]``.

    Pairs ``(i, j)`` with ``j <= i`` are numbered row by row of the lower triangle.
    """
    n_weights = grams.shape[1]
    if n_weights == 0:
        return
    if 2 * n_weights <= block.shape[0] and n_weights <= tile.shape[0]:
        weigh_channels(block, weights, grams, tile)
    else:
        weigh_pairs(block, weights, grams, tile)


@jit
def weigh_pairs(block, weights, grams, tile):
    """Products of channel pairs times weights; best with many weights."""
    n_channels, n_rows = block.shape
    n_pairs = grams.shape[0]
    filled = 0
    done = 0
    for i in range(n_channels):
        for j in range(i + 1):
            for r in range(n_rows):
                tile[filled, r] = block[i, r] * block[j, r]
            filled += 1
            if filled == tile.shape[0] or done + filled == n_pairs:
                part = np.dot(tile[:filled], weights.T)
                for u in range(filled):
                    for m in range(part.shape[1]):
                        grams[done + u, m] += part[u, m]
                done += filled
                filled = 0


@jit
def weigh_channels(block, weights, grams, tile):
    """Weighted channels times the channels up to them; best with many channels.

    A group of channels shares a product, which therefore runs a little past the
    triangle; groups of about as many rows as there are channels were fastest.
    """
    n_channels, n_rows = block.shape
    n_weights = weights.shape[0]
    group = max(1, min(n_channels, tile.shape[0]) // n_weights)
    for first in range(0, n_channels, group):
        last = min(first + group, n_channels)
        for i in range(first, last):
            for m in range(n_weights):
                row = (i - first) * n_weights + m
                for r in range(n_rows):
                    tile[row, r] = weights[m, r] * block[i, r]
        part = np.dot(block[:last], tile[: (last - first) * n_weights].T)
        for i in range(first, last):
            pair, row = i * (i + 1) // 2, (i - first) * n_weights
            for j in range(i + 1):
                for m in range(n_weights):
                    grams[pair + j, m] += part[j, row + m]


@jit
def multinomial_curvature(proba, weight, exact, columns):
    """Weight columns of the Gram matrices of a multinomial logistic Hessian.

    ``exact``: ``w p_k p_l`` for the pairs k < l, from which every block follows
    because the blocks of a row of the Hessian sum to zero.  Otherwise
    ``w p_k (1 - p_k)`` for each k, the diagonal blocks only.
    """
    n_classes, n_rows = proba.shape
    if n_classes == 1:
        return
    m = 0
    for k in range(n_classes):
        if exact:
            for other in range(k + 1, n_classes):
                for r in range(n_rows):
                    columns[m, r] = weight[r] * proba[k, r] * proba[other, r]
                m += 1
        else:
            for r in range(n_rows):
                columns[m, r] = weight[r] * proba[k, r] * (1.0 - proba[k, r])
            m += 1


@jit
def gram_pass(X, center, inverse_scale, weights, targets, grams, products, start, stop):
    """Weighted Gram matrices and products of rows ``start : stop``.

    ``weights`` (n, m) and ``targets`` (n, t) are row-major; ``grams`` (pairs, m)
    and ``products`` (t, n_features + 1) are added to.
    """
    n_channels = X.shape[1] + 1
    width = min(BLOCK_ROWS, stop - start)
    block = np.empty((n_channels, width))
    columns = np.zeros((weights.shape[1], width))
    rhs = np.zeros((targets.shape[1], width))
    tile = np.empty((min(TILE_PAIRS, grams.shape[0]), width))
    for first in range(start, stop, width):
        n_rows = min(width, stop - first)
        load_block(X, center, inverse_scale, first, n_rows, block)
        columns[:, n_rows:] = 0.0
        rhs[:, n_rows:] = 0.0
        for r in range(n_rows):
            for m in range(columns.shape[0]):
                columns[m, r] = weights[first + r, m]
            for t in range(rhs.shape[0]):
                rhs[t, r] = targets[first + r, t]
        add_product(rhs, block, products)
        accumulate_grams(block, columns, grams, tile)
