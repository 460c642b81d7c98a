"""Sums over rows for curves: hats and levels touch one or two coefficients a column.

Rows are numbers of bins, one per column; what a bin stands for is looked up.  So a
row adds four numbers to the block of two columns, however many knots they have.
"""

import numpy as np

from ._jit import jit

# Unsigned indices are not looked at for being negative.
ONE = np.uint64(1)


@jit
def look_up(codes, starts, table, out):
    """Add to each row of ``out`` (n, m) the rows of ``table`` that its bins number.

    ``codes`` (p, n) are numbers of bins within each column, whose rows of ``table``
    (bins, m) begin at ``starts``.
    """
    n_columns, n_rows = codes.shape
    n_sets = out.shape[1]
    for j in range(n_columns):
        start = np.uint64(starts[j])
        for i in range(n_rows):
            row = start + np.uint64(codes[j, i])
            for m in range(n_sets):
                out[i, m] += table[row, m]


@jit
def sum_bins(codes, starts, values, sums):
    """Add rows of ``values`` (n, m) to the ``sums`` (bins, m) of their bins."""
    n_columns, n_rows = codes.shape
    n_sets = values.shape[1]
    for j in range(n_columns):
        start = np.uint64(starts[j])
        for i in range(n_rows):
            row = start + np.uint64(codes[j, i])
            for m in range(n_sets):
                sums[row, m] += values[i, m]


@jit
def sum_pair(first, second, starts, hats, weights, sums):
    """Weighted products of the hats of two columns, summed into ``sums`` (a, b, m).

    Parameters
    ----------
    first, second : (n,) numbers of bins
    starts : where the bins of the two columns begin
    hats : (slots, left, right), what each bin stands for
    weights : (n, m)
    sums : (a + 1, b + 1, m)
        A slot more than the columns have, where the right neighbour of the last is.
    """
    slots, left, right = hats
    start, other_start = np.uint64(starts[0]), np.uint64(starts[1])
    n_rows, n_sets = weights.shape
    for i in range(n_rows):
        u, v = start + np.uint64(first[i]), other_start + np.uint64(second[i])
        a, b = np.uint64(slots[u]), np.uint64(slots[v])
        low_low, low_high = left[u] * left[v], left[u] * right[v]
        high_low, high_high = right[u] * left[v], right[u] * right[v]
        for m in range(n_sets):
            weight = weights[i, m]
            sums[a, b, m] += weight * low_low
            sums[a, b + ONE, m] += weight * low_high
            sums[a + ONE, b, m] += weight * high_low
            sums[a + ONE, b + ONE, m] += weight * high_high


@jit
def sum_pair_once(first, second, starts, hats, weights, sums):
    """``sum_pair`` for weights (n,) and sums (a + 1, b + 1)."""
    slots, left, right = hats
    start, other_start = np.uint64(starts[0]), np.uint64(starts[1])
    for i in range(weights.shape[0]):
        u, v = start + np.uint64(first[i]), other_start + np.uint64(second[i])
        weight, a, b = weights[i], np.uint64(slots[u]), np.uint64(slots[v])
        low, high = weight * left[u], weight * right[u]
        sums[a, b] += low * left[v]
        sums[a, b + ONE] += low * right[v]
        sums[a + ONE, b] += high * left[v]
        sums[a + ONE, b + ONE] += high * right[v]


@jit
def sum_grams(codes, starts, slots, left, right, first, weights, grams):
    """Weighted Gram matrices of hats, lower triangles by blocks of columns.

    Parameters
    ----------
    codes : (p, n) numbers of bins within each column
    starts : (p + 1,) where the bins of each column begin
    slots, left, right : (bins,) what each bin stands for, within its column
    first : (p + 1,) where the coefficients of each column begin
    weights : (n, m)
    grams : (m, q, q), of which blocks below the diagonal, and on it, are filled
    """
    n_columns, n_sets = codes.shape[0], weights.shape[1]
    hats, widest = (slots, left, right), 0
    for j in range(n_columns):
        widest = max(widest, first[j + 1] - first[j] + 1)
    sums = np.empty(widest * widest * n_sets)
    single = np.ascontiguousarray(weights[:, 0])
    for a in range(n_columns):
        height = first[a + 1] - first[a]
        for b in range(a + 1):
            width, at = first[b + 1] - first[b], (starts[a], starts[b])
            cells = (height + 1) * (width + 1)
            sums[: cells * n_sets] = 0.0
            if n_sets == 1:
                block = sums[:cells].reshape((height + 1, width + 1))
                sum_pair_once(codes[a], codes[b], at, hats, single, block)
            else:
                stack = sums[: cells * n_sets].reshape((height + 1, width + 1, n_sets))
                sum_pair(codes[a], codes[b], at, hats, weights, stack)
            for m in range(n_sets):
                for i in range(height):
                    for j in range(width):
                        cell = i * (width + 1) + j
                        grams[m, first[a] + i, first[b] + j] = sums[cell * n_sets + m]


@jit
def add_hats(slots, share, coef, out):
    """Add to ``out`` (n, m) what hats at exact places stand for.

    ``slots`` (p, n) number rows of ``coef`` (q, m), and ``share`` (p, n) is how much of
    the way to the next one a value has gone; zero for levels.
    """
    n_columns, n_rows = slots.shape
    n_sets = out.shape[1]
    for j in range(n_columns):
        for i in range(n_rows):
            slot, way = slots[j, i], share[j, i]
            if way == 0.0:
                for m in range(n_sets):
                    out[i, m] += coef[slot, m]
            else:
                for m in range(n_sets):
                    out[i, m] += (1.0 - way) * coef[slot, m] + way * coef[slot + 1, m]
