"""Sums over rows for curves: hats and levels touch one or two coefficients a column.

Rows are numbers of bins, one per column; what a bin stands for is looked up.  So a
row adds four numbers to the block of two columns, however many knots they have.
"""

from ._jit import jit


@jit
def look_up(codes, starts, table, out):
    """Add to each row of ``out`` (n, m) the rows of ``table`` that its bins number.

    ``codes`` (p, n) are numbers of bins within each column, whose rows of ``table``
    (bins, m) begin at ``starts``.
    """
    n_columns, n_rows = codes.shape
    n_sets = out.shape[1]
    for j in range(n_columns):
        start = starts[j]
        for i in range(n_rows):
            row = start + codes[j, i]
            for m in range(n_sets):
                out[i, m] += table[row, m]


@jit
def sum_bins(codes, starts, values, sums):
    """Add rows of ``values`` (n, m) to the ``sums`` (bins, m) of their bins."""
    n_columns, n_rows = codes.shape
    n_sets = values.shape[1]
    for j in range(n_columns):
        start = starts[j]
        for i in range(n_rows):
            row = start + codes[j, i]
            for m in range(n_sets):
                sums[row, m] += values[i, m]


@jit
def sum_pairs(first, second, first_hats, second_hats, weights, sums):
    """Weighted products of the hats of two columns, summed into ``sums`` (a, b, m).

    Parameters
    ----------
    first, second : (n,) numbers of bins
    first_hats, second_hats : (slots, left, right), what each bin stands for
    weights : (n, m)
    sums : (a + 1, b + 1, m)
        A slot more than the columns have, where the right neighbour of the last is.
    """
    slots, left, right = first_hats
    other_slots, other_left, other_right = second_hats
    n_rows, n_sets = weights.shape
    for i in range(n_rows):
        u, v = first[i], second[i]
        a, b = slots[u], other_slots[v]
        low_low, low_high = left[u] * other_left[v], left[u] * other_right[v]
        high_low, high_high = right[u] * other_left[v], right[u] * other_right[v]
        for m in range(n_sets):
            weight = weights[i, m]
            sums[a, b, m] += weight * low_low
            sums[a, b + 1, m] += weight * low_high
            sums[a + 1, b, m] += weight * high_low
            sums[a + 1, b + 1, m] += weight * high_high


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
