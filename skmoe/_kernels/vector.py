"""Vectorised exponentials, logarithms and column-wise softmax over row blocks.

Blocks are channel-major, shape ``(n_channels, n_rows)``: the loops over rows are
contiguous, so LLVM turns them into SIMD code.  The C library's ``exp`` and ``log``
would stop that vectorisation, hence the polynomials below (relative error under 4e-16).
"""

import numpy as np

from ._jit import jit

# Adding 1.5 * 2**52 rounds to an integer and leaves it in the low mantissa bits.
ROUND_MAGIC = 6755399441055744.0
LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# exp underflows to (almost) zero here; 2**n below stays a normal number.
EXP_FLOOR = -700.0
# Bits of sqrt(1/2): mantissas are brought between it and sqrt(2).
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
# Numbers that stay in the first-level cache together with their copy.
SCRATCH = 1024
# Entries from which on a sum is made of several.
MANY = 32


@jit
def copy_row(source, target):
    """Copy a row; an assignment of arrays would compile, for seconds, what it could
    say of shapes that differ."""
    for i in range(target.size):
        target[i] = source[i]


@jit
def exp_inplace(values, scratch):
    """Overwrite ``values`` with ``exp(values)``; needs ``values <= 700``."""
    size = values.size
    for i in range(size):
        x = values[i]
        x = EXP_FLOOR if x < EXP_FLOOR else x
        shifted = x * LOG2_E + ROUND_MAGIC
        scratch[i] = shifted
        power = shifted - ROUND_MAGIC
        f = (x - power * LN2_HIGH) - power * LN2_LOW
        p = 2.08767569878680989792e-09
        p = p * f + 2.50521083854417187751e-08
        p = p * f + 2.75573192239858906526e-07
        p = p * f + 2.75573192239858906526e-06
        p = p * f + 2.48015873015873015873e-05
        p = p * f + 1.98412698412698412698e-04
        p = p * f + 1.38888888888888888889e-03
        p = p * f + 8.33333333333333333333e-03
        p = p * f + 4.16666666666666666667e-02
        p = p * f + 1.66666666666666666667e-01
        p = p * f + 0.5
        p = p * f + 1.0
        values[i] = p * f + 1.0
    bits = scratch.view(np.int64)
    for i in range(size):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(size):
        values[i] *= scratch[i]


@jit
def log_inplace(values, scratch):
    """Overwrite positive ``values`` with their logarithms; NaN and infinity give NaN.

    ``log(2**e m) = e log 2 + 2 artanh((m - 1) / (m + 1))``, the latter by its series.
    """
    size = values.size
    bits = values.view(np.int64)
    mantissa = scratch.view(np.int64)
    for i in range(size):
        offset = bits[i] - ROOT_HALF_BITS
        mantissa[i] = bits[i] - ((offset >> 52) << 52)
    for i in range(size):
        # NaN if the value is not finite, else nothing.
        flaw = values[i] - values[i]
        exponent = float((bits[i] - mantissa[i]) >> 52)
        s = (scratch[i] - 1.0) / (scratch[i] + 1.0)
        z = s * s
        p = 1.0 / 21.0
        p = p * z + 1.0 / 19.0
        p = p * z + 1.0 / 17.0
        p = p * z + 1.0 / 15.0
        p = p * z + 1.0 / 13.0
        p = p * z + 1.0 / 11.0
        p = p * z + 1.0 / 9.0
        p = p * z + 1.0 / 7.0
        p = p * z + 1.0 / 5.0
        p = p * z + 1.0 / 3.0
        tail = 2.0 * s * (p * z) + exponent * LN2_LOW
        values[i] = exponent * LN2_HIGH + (2.0 * s + (tail + flaw))


@jit
def subtract_peak(logits, peak):
    """Subtract the largest entry of each column, which ``peak`` receives."""
    n_channels, n_rows = logits.shape
    for r in range(n_rows):
        peak[r] = logits[0, r]
    for k in range(1, n_channels):
        for r in range(n_rows):
            value = logits[k, r]
            peak[r] = value if value > peak[r] else peak[r]
    for k in range(n_channels):
        for r in range(n_rows):
            logits[k, r] -= peak[r]


@jit
def softmax_columns(logits, peak, total, scratch):
    """Softmax over channels, in place; ``log(total) + peak`` is the log-sum-exp."""
    n_channels, n_rows = logits.shape
    subtract_peak(logits, peak)
    exp_inplace(logits.reshape(-1), scratch.reshape(-1))
    for r in range(n_rows):
        total[r] = logits[0, r]
    for k in range(1, n_channels):
        for r in range(n_rows):
            total[r] += logits[k, r]
    for k in range(n_channels):
        for r in range(n_rows):
            logits[k, r] /= total[r]


@jit
def largest(values):
    """Largest entry; four at a time, which do not wait for each other."""
    a = b = c = d = values[0]
    whole = values.size - values.size % 4
    for k in range(0, whole, 4):
        a = values[k] if values[k] > a else a
        b = values[k + 1] if values[k + 1] > b else b
        c = values[k + 2] if values[k + 2] > c else c
        d = values[k + 3] if values[k + 3] > d else d
    for k in range(whole, values.size):
        a = values[k] if values[k] > a else a
    return max(max(a, b), max(c, d))


@jit
def summed(values):
    """Sum of the entries, of many of them four at a time."""
    a = b = c = d = 0.0
    whole = values.size - values.size % 4 if values.size >= MANY else 0
    for k in range(0, whole, 4):
        a += values[k]
        b += values[k + 1]
        c += values[k + 2]
        d += values[k + 3]
    for k in range(whole, values.size):
        a += values[k]
    return (a + b) + (c + d)


@jit
def log_softmax_rows(values):
    """Subtract the log-sum-exp of each row of ``values`` (n, K), in place."""
    n_rows, n_channels = values.shape
    height = max(1, SCRATCH // n_channels)
    block, scratch = np.empty((height, n_channels)), np.empty(height * n_channels)
    for first in range(0, n_rows, height):
        width = min(height, n_rows - first)
        for r in range(width):
            peak = largest(values[first + r])
            for k in range(n_channels):
                values[first + r, k] -= peak
                block[r, k] = values[first + r, k]
        exp_inplace(block[:width].reshape(-1), scratch)
        for r in range(width):
            total = np.log(summed(block[r]))
            for k in range(n_channels):
                values[first + r, k] -= total


@jit
def softmax_rows(values, total):
    """Softmax of each row of ``values`` (n, K), in place; ``total`` (n,) is set to the
    log-sum-exp."""
    n_rows, n_channels = values.shape
    height = max(1, SCRATCH // n_channels)
    scratch = np.empty(height * n_channels)
    for first in range(0, n_rows, height):
        last = min(n_rows, first + height)
        for r in range(first, last):
            peak = values[r, 0]
            for k in range(1, n_channels):
                value = values[r, k]
                peak = value if value > peak else peak
            for k in range(n_channels):
                values[r, k] -= peak
            total[r] = peak
        exp_inplace(values[first:last].reshape(-1), scratch)
        for r in range(first, last):
            own = 0.0
            for k in range(n_channels):
                own += values[r, k]
            for k in range(n_channels):
                values[r, k] /= own
            total[r] += np.log(own)


@jit
def one_hot_columns(values):
    """Replace each column by the indicator of its first maximum."""
    n_channels, n_rows = values.shape
    for r in range(n_rows):
        best = 0
        for k in range(1, n_channels):
            if values[k, r] > values[best, r]:
                best = k
        for k in range(n_channels):
            values[k, r] = 1.0 if k == best else 0.0
