"""Incomplete gamma and beta functions for arguments of any size.

Where both arguments are large SciPy's own lose their tails or give up. There a uniform
expansion around the normal distribution [1]_ is right to 1e-10, in the tails relatively
so.

References
----------
.. [1] Temme, N. M. (1982). The uniform asymptotic expansion of a class of integrals
   related to cumulative distribution functions. SIAM J. Math. Anal. 13.
.. [2] Wise, M. E. (1950). The incomplete beta function as a contour integral and a
   quickly converging series for its inverse. Biometrika 37.
"""

import numpy as np
from scipy import special

# Arguments from which the expansion takes over.
LARGE = 1e5
# Larger argument of a beta function from which it is a gamma function [2]_.
HUGE = 1e10
# Relative distances below which differences of logarithms come from their series.
NEAR = 1e-2
SERIES_TERMS = 12


def lower_gamma(a, x):
    """Regularised P(a, x), for a > 0 and x >= 0."""
    a, x = np.broadcast_arrays(np.asarray(a, float), np.asarray(x, float))
    large = a > LARGE
    usual = special.gammainc(np.where(large, 1.0, a), x)
    if not large.any():
        return usual
    return np.where(large, _expansion(1.0 / a, 0.0, x - a), usual)


def upper_gamma(a, x):
    """Regularised Q(a, x), for a > 0 and x >= 0."""
    a, x = np.broadcast_arrays(np.asarray(a, float), np.asarray(x, float))
    large = a > LARGE
    usual = special.gammaincc(np.where(large, 1.0, a), x)
    if not large.any():
        return usual
    return np.where(large, _expansion(0.0, 1.0 / a, a - x), usual)


def incomplete_beta(a, b, x, rest, excess):
    """Regularised I_x(a, b).

    Parameters
    ----------
    a, b : arrays > 0
    x, rest : arrays in [0, 1]
        The argument, and what it lacks to one.
    excess : array
        ``x * (a + b) - a``, which the caller knows without cancellation.
    """
    given = [np.asarray(own, float) for own in (a, b, x, rest, excess)]
    a, b, x, rest, excess = np.broadcast_arrays(*given)
    large = (a > LARGE) & (b > LARGE)
    upper, lower = ~large & (b > HUGE), ~large & (a > HUGE)
    usual = ~(large | upper | lower)
    out = np.empty(a.shape)
    out[usual] = special.betainc(a[usual], b[usual], x[usual])
    out[large] = _expansion(1.0 / a[large], 1.0 / b[large], excess[large])
    out[upper] = lower_gamma(*_as_gamma(a[upper], b[upper], x[upper], rest[upper]))
    out[lower] = upper_gamma(*_as_gamma(b[lower], a[lower], rest[lower], x[lower]))
    return out


def _as_gamma(a, b, x, rest):
    """Arguments of the gamma function that I_x(a, b) is for huge b."""
    with np.errstate(divide="ignore", over="ignore"):
        log_rest = np.where(x < 0.5, np.log1p(-np.minimum(x, 0.5)), np.log(rest))
        return a, -log_rest * (b + 0.5 * (a - 1.0))


def _expansion(one_a, one_b, excess):
    """Lower tail, from the inverses of a and b; zero for an infinite one."""
    width = 1.0 / np.sqrt(one_a + one_b)
    left = np.maximum(excess * one_a, -1.0)
    right = np.maximum(-excess * one_b, -1.0)
    near = np.maximum(np.abs(left), np.abs(right)) < NEAR
    share = one_b / (one_a + one_b)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        square = _far_square(left, one_a) + _far_square(right, one_b)
        z = np.sign(excess) * np.sqrt(square)
        correction = 1.0 / z - width / excess
        # The ratio of z to excess / width tends to one; its lack is what counts.
        left, right = np.where(near, left, 0.0), np.where(near, right, 0.0)
        slope = (1.0 - share) * _lag(left) * one_a - share * _lag(right) * one_b
        ratio = np.sqrt(1.0 + 2.0 * np.where(near, excess, 0.0) * slope)
        near_correction = -2.0 * width * slope / (1.0 + ratio) / ratio
        z = np.where(near, ratio * excess / width, z)
        correction = np.where(near, near_correction, correction)
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        tail = special.ndtr(z) + np.where(density > 0, density * correction, 0.0)
    return np.clip(tail, 0.0, 1.0)


def _far_square(mu, inverse):
    """``2 (mu - log(1 + mu)) / inverse``; zero where that is zero."""
    return np.where(inverse > 0, 2.0 * (mu - np.log1p(mu)) / inverse, 0.0)


def lag(mu, logarithm):
    """``mu - log(1 + mu)``, without cancellation where mu is small.

    ``logarithm`` is that of ``1 + mu``, which the caller knows where mu is near -1.
    """
    near = np.abs(mu) < NEAR
    small = np.where(near, mu, 0.0)
    return np.where(near, small**2 * (0.5 + small * _lag(small)), mu - logarithm)


def _lag(mu):
    """``((mu - log(1 + mu)) / mu ** 2 - 1 / 2) / mu`` by its series."""
    total = np.zeros_like(mu)
    for power in range(SERIES_TERMS, 2, -1):
        total = total * mu + (-1.0) ** power / power
    return total
