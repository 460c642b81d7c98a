"""Bounded searches for quantiles, whatever the scale of the numbers."""

import numpy as np

LARGEST = np.finfo(float).max
# Halvings of the bits of a double that separate any two of them, and some to spare.
MOST_HALVINGS = 80
# Steps of growing width around a guess before the whole bracket is halved.
GALLOPS = 6
FACTOR = 4.0
# Relative error of a tail probability that a guess may have.
CLOSE = 1e-11


def middle(low, high):
    """Doubles halfway between others in the order of their bits.

    64 halvings tell any two doubles apart, of 1e-300 or 1e300.
    """
    low, high = np.atleast_1d(*np.broadcast_arrays(low, high))
    shape, (low, high) = low.shape, (_mirrored(low), _mirrored(high))
    half = (low >> 1) + (high >> 1) + (low & high & 1)
    return _mirrored(half.view(np.float64)).view(np.float64).reshape(shape)


def _mirrored(values):
    """Bits of doubles as integers in the order of the doubles; its own inverse."""
    bits = np.array(values, dtype=np.float64).view(np.int64)
    return np.where(bits >= 0, bits, np.iinfo(np.int64).min - np.minimum(bits, 0))


def least_counts(cdf, level, arguments, guess, most=LARGEST):
    """Least counts with ``cdf(count, *arguments) >= level``.

    Parameters
    ----------
    cdf : callable
        Of counts and ``arguments`` of one shape.
    level : float or array
    arguments : list of arrays
    guess : array
        Where to look first.
    most : float or array
        Largest count, which reaches every level; by default there is none, and level
        one is reached at infinity.

    Returns
    -------
    ndarray of the shape that all have together
    """
    given = np.broadcast_arrays(level, guess, most, *arguments)
    shape = given[0].shape
    level, guess, most, *arguments = [np.array(x, float).ravel() for x in given]
    low, high = np.full(level.shape, -1.0), np.minimum(most, LARGEST)
    t, step = np.clip(np.floor(np.nan_to_num(guess)), 0.0, high), 1.0
    rows = np.arange(len(level))
    for number in range(MOST_HALVINGS):
        at, own = t[rows], [x[rows] for x in arguments]
        there = cdf(at, *own) >= level[rows]
        low[rows], high[rows] = (
            np.where(there, low[rows], at),
            np.where(there, at, high[rows]),
        )
        low_end, high_end = low[rows], high[rows]
        open_ = np.maximum(low_end + 1.0, np.nextafter(low_end, np.inf)) < high_end
        rows, there = rows[open_], there[open_]
        if not len(rows):
            break
        t[rows] = _next_count(low[rows], high[rows], there, step, number)
        step *= FACTOR
    end = np.where(most < LARGEST, most, np.inf)
    return np.where(level < 1.0, high, end).reshape(shape)


def _next_count(low, high, reached, step, number):
    """Counts strictly within brackets: near the last look at first, then halfway."""
    half = np.maximum(np.floor(middle(np.maximum(low, 0.0), high)), low + 1.0)
    if number >= GALLOPS:
        return half
    near = np.where(reached, high - step, low + step)
    return np.where((near > low) & (near < high), near, half)


def inverse(cdf, level, guess):
    """Positive numbers where a growing ``cdf`` reaches ``level``: a good guess, or
    what halving finds."""
    guess = np.array(guess, dtype=float, ndmin=1)
    with np.errstate(invalid="ignore"):
        good = np.abs(cdf(guess) - level) <= CLOSE * np.abs(level)
        good &= np.isfinite(guess) & (guess > 0)
    if good.all():
        return guess
    low, high = np.zeros(guess.shape), np.full(guess.shape, LARGEST)
    for _ in range(MOST_HALVINGS):
        at = middle(low, high)
        below = cdf(at) < level
        low, high = np.where(below, at, low), np.where(below, high, at)
    return np.where(good, guess, high)


def bounded(values):
    """Numbers kept within the range of doubles."""
    return np.clip(values, -LARGEST, LARGEST)
