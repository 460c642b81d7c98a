"""Sums over rows for curves: hats and levels touch one or two coefficients a column.

Rows are numbers of bins, one per column; what a bin stands for is looked up.  So a
row adds four numbers to the block of two columns, however many knots they have.
"""

import numpy as np

from ._jit import jit

# Unsigned indices are not looked at for being negative.
ONE = np.uint64(1)
# Rows that are gone through at a time, so that what is known of them stays near.
BLOCK = 2048


@jit
def look_up(codes, starts, table, out, first, last):
    """Add to rows ``first : last`` of ``out`` (n, m) what their bins stand for.

    ``codes`` (p, n) are numbers of bins within each column, whose rows of ``table``
    (bins, m) begin at ``starts``.
    """
    for begin in range(first, last, BLOCK):
        end = min(last, begin + BLOCK)
        _look_up(codes[:, begin:end], starts, table, out[begin:end])


@jit
def _look_up(codes, starts, table, out):
    n_columns, n_rows = codes.shape
    n_sets = out.shape[1]
    for j in range(n_columns):
        start, own = np.uint64(starts[j]), codes[j]
        if n_sets == 1:
            for i in range(n_rows):
                out[i, 0] += table[start + np.uint64(own[i]), 0]
            continue
        for i in range(n_rows):
            row = start + np.uint64(own[i])
            for m in range(n_sets):
                out[i, m] += table[row, m]


@jit
def sum_bins(codes, starts, values, sums, first, last):
    """Add rows ``first : last`` of ``values`` (n, m) to ``sums`` (bins, m) of bins."""
    for begin in range(first, last, BLOCK):
        end = min(last, begin + BLOCK)
        _sum_bins(codes[:, begin:end], starts, values[begin:end], sums)


@jit
def _sum_bins(codes, starts, values, sums):
    n_columns, n_rows = codes.shape
    n_sets = values.shape[1]
    for j in range(n_columns):
        start, own = np.uint64(starts[j]), codes[j]
        if n_sets == 1:
            for i in range(n_rows):
                sums[start + np.uint64(own[i]), 0] += values[i, 0]
            continue
        for i in range(n_rows):
            row = start + np.uint64(own[i])
            for m in range(n_sets):
                sums[row, m] += values[i, m]


@jit
def multiply(codes, starts, table, intercept, weights, sums, total, first, last):
    """Weighted sums over rows ``first : last`` of what rows of a table add up to.

    It is ``look_up`` and ``sum_bins`` at once, a few rows at a time.

    Parameters
    ----------
    table : (bins, m)
    intercept : (m,), which each row has besides
    weights : (n, m)
    sums : (bins, m), added to
    total : (m,), added to: sums over all rows
    """
    n_sets = weights.shape[1]
    rows = np.empty((min(BLOCK, last - first), n_sets))
    for begin in range(first, last, BLOCK):
        end = min(last, begin + BLOCK)
        part, own = rows[: end - begin], codes[:, begin:end]
        part[:] = intercept
        _look_up(own, starts, table, part)
        for i in range(end - begin):
            for m in range(n_sets):
                part[i, m] *= weights[begin + i, m]
                total[m] += part[i, m]
        _sum_bins(own, starts, part, sums)


@jit
def tables(touched, left, right, coef, out):
    """What bins stand for (bins, m), of coefficients (m, q) that they touch."""
    n_sets, last = coef.shape[0], coef.shape[1] - 1
    for u in range(len(touched)):
        at = touched[u]
        following = min(at + 1, last)
        for m in range(n_sets):
            out[u, m] = left[u] * coef[m, at] + right[u] * coef[m, following]


@jit
def untabled(touched, left, right, sums, out):
    """Add sums (bins, m) of bins to the coefficients (m, q) that they touch."""
    n_sets, last = out.shape[0], out.shape[1] - 1
    for u in range(len(touched)):
        at = touched[u]
        following = min(at + 1, last)
        for m in range(n_sets):
            out[m, at] += left[u] * sums[u, m]
            out[m, following] += right[u] * sums[u, m]


@jit
def bands(touched, left, right, sums, diagonal, above):
    """Add the Gram matrix of each column with itself, by sums (bins, m) of weights.

    ``diagonal`` and ``above`` (m, q): a row touches neighbours only.
    """
    n_sets = diagonal.shape[0]
    for u in range(len(touched)):
        at, low, high = touched[u], left[u], right[u]
        for m in range(n_sets):
            diagonal[m, at] += sums[u, m] * low * low
            if high != 0.0:
                diagonal[m, at + 1] += sums[u, m] * high * high
                above[m, at] += sums[u, m] * low * high


@jit
def _own(codes, start, hats, width, weight, rows):
    """Of rows: where the cells of their slot begin, and what they add to it."""
    offsets, low, high = rows
    slots, left, right = hats
    for i in range(len(codes)):
        u = np.uint64(start) + np.uint64(codes[i])
        offsets[i] = np.uint64(slots[u]) * np.uint64(width)
        low[i], high[i] = weight[i] * left[u], weight[i] * right[u]


@jit
def sum_single(rows, codes, start, places, pairs, cells):
    """Products of hats of two columns, added to the four corners of their cell.

    Parameters
    ----------
    rows : offsets, low, high
        Where the cells of a row begin, and what it adds to them, of one column.
    codes : (n,) numbers of bins of the other column, which begin at ``start``
    places : (bins,) which cell they stand for
    pairs : (bins, 2) how much of its lower corner, and how much of the upper one
    cells : (cells, 4)
        Side by side, so that they are added at once.
    """
    offsets, low, high = rows
    begin = np.uint64(start)
    for i in range(len(codes)):
        v = begin + np.uint64(codes[i])
        cell = offsets[i] + np.uint64(places[v])
        one, other = pairs[v, 0], pairs[v, 1]
        below, above = low[i], high[i]
        cells[cell, 0] += below * one
        cells[cell, 1] += below * other
        cells[cell, 2] += above * one
        cells[cell, 3] += above * other


@jit
def sum_four(rows, codes, start, places, pairs, weights, width, cells):
    """As ``sum_single`` for four weights of a row; ``cells`` have one corner each."""
    offsets, low, high = rows
    begin, below = np.uint64(start), np.uint64(width)
    for i in range(len(codes)):
        v = begin + np.uint64(codes[i])
        a = offsets[i] + np.uint64(places[v])
        one, other = pairs[v, 0], pairs[v, 1]
        p, q, r, s = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
        part = low[i] * one
        cells[a, 0] += p * part
        cells[a, 1] += q * part
        cells[a, 2] += r * part
        cells[a, 3] += s * part
        b, part = a + ONE, low[i] * other
        cells[b, 0] += p * part
        cells[b, 1] += q * part
        cells[b, 2] += r * part
        cells[b, 3] += s * part
        c, part = a + below, high[i] * one
        cells[c, 0] += p * part
        cells[c, 1] += q * part
        cells[c, 2] += r * part
        cells[c, 3] += s * part
        d, part = c + ONE, high[i] * other
        cells[d, 0] += p * part
        cells[d, 1] += q * part
        cells[d, 2] += r * part
        cells[d, 3] += s * part


@jit
def sum_column(codes, starts, hats, places, pairs, first, columns, a, weights, grams):
    """Weighted Gram matrices of one column with those before it, and itself.

    Parameters
    ----------
    codes : (p, n) numbers of bins within each column
    starts : (p + 1,) where the bins of each column begin
    hats : (slots, left, right), each (bins,)
        What a bin stands for, within its column.
    places : (bins,) the coefficient that a bin touches, among those asked for
    pairs : (bins, 2), ``left`` and ``right`` side by side
    first : (len(columns) + 1,) where the coefficients of the columns begin
    columns : numbers of the columns that are asked for
    a : position among them
    weights : (m, n)
    grams : (m, q, q)
        Of which the lower triangles are filled.
    """
    n_rows, n_sets = codes.shape[1], weights.shape[0]
    height, width = first[a + 1] - first[a], first[a + 1]
    rows = np.empty(BLOCK, np.uint64), np.empty(BLOCK), np.empty(BLOCK)
    cells = np.empty(((height + 1) * width + 1, 4))
    for m in range(n_sets):
        cells[:] = 0.0
        for begin in range(0, n_rows, BLOCK):
            end = min(n_rows, begin + BLOCK)
            n = end - begin
            own = rows[0][:n], rows[1][:n], rows[2][:n]
            at = codes[columns[a], begin:end]
            weight = weights[m, begin:end]
            _own(at, starts[columns[a]], hats, width, weight, own)
            for b in range(a + 1):
                other = codes[columns[b], begin:end]
                start = starts[columns[b]]
                sum_single(own, other, start, places, pairs, cells)
        _corners(cells, height, width, first[a], grams[m])


@jit
def _corners(cells, height, width, top, gram):
    """Rows ``top :`` of a Gram matrix from the corners of cells."""
    for i in range(height):
        for j in range(width):
            cell = i * width + j
            total = cells[cell, 0]
            if j > 0:
                total += cells[cell - 1, 1]
            if i > 0:
                total += cells[cell - width, 2]
                if j > 0:
                    total += cells[cell - width - 1, 3]
            gram[top + i, j] = total


@jit
def sum_column_by_four(
    codes, starts, hats, places, pairs, first, columns, a, weights, grams
):
    """As ``sum_column`` for weights (m, n, 4), and grams (4 m, q, q)."""
    n_rows, n_sets = codes.shape[1], weights.shape[0]
    height, width = first[a + 1] - first[a], first[a + 1]
    rows = np.empty(BLOCK, np.uint64), np.empty(BLOCK), np.empty(BLOCK)
    cells, ones = np.empty(((height + 1) * width + 2, 4)), np.ones(BLOCK)
    for m in range(n_sets):
        cells[:] = 0.0
        for begin in range(0, n_rows, BLOCK):
            end = min(n_rows, begin + BLOCK)
            n = end - begin
            own = rows[0][:n], rows[1][:n], rows[2][:n]
            at = codes[columns[a], begin:end]
            _own(at, starts[columns[a]], hats, width, ones[:n], own)
            for b in range(a + 1):
                other, start = codes[columns[b], begin:end], starts[columns[b]]
                part = weights[m, begin:end]
                sum_four(own, other, start, places, pairs, part, width, cells)
        for k in range(4):
            for i in range(height):
                for j in range(width):
                    value = cells[i * width + j, k]
                    grams[4 * m + k, first[a] + i, j] = value


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
