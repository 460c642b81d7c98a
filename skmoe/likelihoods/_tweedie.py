"""Amounts that are often zero: sums of a Poisson number of gamma amounts."""

from functools import partial

import numpy as np
from scipy import special
from sklearn.base import clone

from .._numerics.bisection import bounded
from ._base import Likelihood, rounding_variance, unboxed
from ._counts import poisson, poisson_draws
from ._incomplete import lower_gamma
from ._links import clipped_exp
from ._quantile import positive_quantiles
from ._search import best_positive

# Powers nearer to a Poisson or a gamma have series that are no longer smooth.
POWERS = (1.05, 1.95)
# Terms of a series, and how many of them are a standard deviation where there are more.
N_TERMS, HALF = 64, 32
TERMS_PER_SPREAD = 4.57
# Number of the largest term beyond which the saddlepoint is as good.
MOST_TERMS = 1e6
# Rows whose series stand in memory together.
BLOCK_ROWS = 4096
# Width of the bracket, in logarithms, around an earlier dispersion.
NEAR = 0.7
# Largest logarithm of a dispersion, above that of the spread.
MOST = 30.0


class Tweedie(Likelihood):
    """Amounts with exact zeros: the prediction is the mean, the variance its power.

    With a power between one and two, y is the sum of a Poisson number of gamma amounts
    [1]_: claims of a year, rain of a day.  The density is its series [2]_, and the
    saddlepoint approximation where that has its largest term beyond the millionth.
    Linear experts have a log link.  Other experts must predict positive means.

    Parameters
    ----------
    power : float, default=1.5
        Of the mean in the variance, between 1.05 and 1.95: near one as for counts, near
        two as for gamma amounts.
    floor : float, default=1e-6
        Smallest dispersion, in units of a standard deviation of y to the power
        ``2 - power``.

    Attributes
    ----------
    phi_ : float or ndarray of shape (n_outputs,)
        Dispersion: the variance is ``phi_ * mean ** power``.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps the dispersion from going to zero.

    References
    ----------
    .. [1] Jørgensen, B. (1987). Exponential dispersion models. J. R. Stat. Soc. B 49.
    .. [2] Dunn, P. K., Smyth, G. K. (2005). Series evaluation of Tweedie exponential
       dispersion model densities. Statistics and Computing 15.

    Examples
    --------
    >>> from skmoe.likelihoods import Tweedie
    >>> Tweedie(power=1.7)
    Tweedie(power=1.7)
    """

    link, takes, support, atom = "log", "offset", (0.0, np.inf), 0.0
    dispersions = ("phi_",)

    def __init__(self, power: float = 1.5, floor: float = 1e-6) -> None:
        self.power = power
        self.floor = floor

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        low, high = POWERS
        if not low <= self.power <= high:
            raise ValueError(
                f"Tweedie got power={self.power!r}, but expected a number from {low} "
                f"to {high}; beyond are 'poisson' and 'gamma'."
            )
        if not 0 < self.floor < 1:
            raise ValueError(
                f"Tweedie got floor={self.floor!r}, but expected a fraction in (0, 1); "
                "the default is 1e-6."
            )

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets below zero."""
        if not np.all(y >= 0):
            raise ValueError(
                f"Tweedie got y with a least value of {float(np.min(y))!r}, but "
                "expected numbers >= 0; use likelihood='gaussian', or drop those rows."
            )

    def predictor(self, y, size=None):
        """Logarithms of y per exposure; a zero counts as half of what lies between."""
        rate = y if size is None else y / size[:, None]
        least = np.min(rate, axis=0, where=rate > 0, initial=np.inf)
        most = rate.max(axis=0)
        some = most > 0
        between = 0.5 * (np.log(np.where(some, least, 1.0)))
        between = between + 0.5 * np.log(np.where(some, most, 1.0)) - np.log(2.0)
        return np.where(rate > 0, np.log(np.where(rate > 0, rate, 1.0)), between)

    def dispersion_limits(self, spread):
        """Floors of the dispersion."""
        unit = 0.5 * np.log(np.maximum(spread, np.finfo(float).tiny))
        unit = (2.0 - self.power) * unit
        return (unit + np.log(self.floor))[None], (unit + MOST)[None]

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        mean, d = self.mean(prediction, size), y.shape[1]
        low, high = (
            ends[0]
            for ends in self.dispersion_limits(np.maximum(spread, rounding_variance(y)))
        )
        counts = weight > 0
        y, mean, weight = y[counts], mean[counts], weight[counts]
        if previous is None:
            with np.errstate(over="ignore"):
                square = bounded(((y - mean) / mean) ** 2 * mean ** (2.0 - self.power))
            before = np.average(square, axis=0, weights=weight)
            before = np.clip(before, np.exp(low), np.exp(high))
        else:
            before = np.broadcast_to(previous.phi_, d)
        phi = [
            self._best(y[:, j], mean[:, j], weight, (low[j], high[j]), before[j])
            for j in range(d)
        ]
        floored = np.log(phi) <= low + 1e-6
        return self.with_phi(np.array(phi), bool(np.any(floored)))

    def _best(self, y, mean, weight, log_bounds, before):
        """Dispersion with the largest likelihood, sought near an earlier one first."""
        power = self.power

        def loss(phi):
            return -(weight @ tweedie(y, mean, phi, power))

        at = np.log(before)
        near = max(at - NEAR, log_bounds[0]), min(at + NEAR, log_bounds[1])
        found = best_positive(loss, near, before)
        if np.abs(np.log(found) - at) < NEAR - 1e-3:
            return found
        return best_positive(loss, log_bounds, found)

    def with_phi(self, phi, floored=False):
        """Fitted copy with dispersions (n_outputs,)."""
        fitted = clone(self)
        fitted.phi_, fitted.floored_ = unboxed(phi), floored
        fitted.n_parameters_ = float(np.size(phi))
        return fitted

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        with np.errstate(over="ignore"):
            return bounded(self.phi_ * mean**self.power)

    def log_density(self, y, prediction, size=None):
        mean = self.mean(prediction, size)
        phi = np.broadcast_to(np.asarray(self.phi_, dtype=float), mean.shape)
        value = tweedie(np.maximum(y, 0.0), mean, phi, self.power)
        return np.where(y >= 0, value, -np.inf)

    def marginal_density(self, y, prediction, size=None):
        """Density of each output where y is positive: zero has a probability."""
        return np.where(y > 0, super().marginal_density(y, prediction, size), 0.0)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        mean = self.mean(prediction, size)
        with np.errstate(over="ignore"):
            curvature = bounded(mean ** (2.0 - self.power) / self.phi_)
            slope = bounded((y - mean) * mean ** (1.0 - self.power) / self.phi_)
        return slope, curvature

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        phi = np.broadcast_to(np.asarray(self.phi_, dtype=float), mean.shape)
        return tweedie_cdf(y, mean, phi, self.power)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        mean = self.mean(prediction, size)
        level = np.broadcast_to(np.asarray(level, dtype=float), mean.shape)
        phi = np.broadcast_to(np.asarray(self.phi_, dtype=float), mean.shape)
        inner = (level > tweedie_cdf(np.zeros(mean.shape), mean, phi, self.power)) & (
            level < 1.0
        )
        out = np.where(level < 1.0, 0.0, np.inf)
        out[inner] = positive_quantiles(
            partial(tweedie_cdf, power=self.power),
            partial(tweedie, power=self.power),
            level[inner],
            mean[inner],
            [mean[inner], phi[inner]],
        )
        return out

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        rate, shape, scale = _compound(
            self.mean(prediction, size), self.phi_, self.power
        )
        number = poisson_draws(rate, rng)
        with np.errstate(over="ignore"):
            return bounded(rng.gamma(shape * number) * scale)


def _compound(mean, phi, power):
    """Rate of the counts, and shape and scale of the gamma amounts."""
    log_mean = np.log(mean)
    rate = clipped_exp((2.0 - power) * log_mean - np.log(phi * (2.0 - power)))
    scale = clipped_exp((power - 1.0) * log_mean + np.log(phi * (power - 1.0)))
    return rate, (2.0 - power) / (power - 1.0), scale


def _nodes(center, spread):
    """Numbers (n, N_TERMS) of terms, and steps (n,) between them.

    All of them, where few standard deviations hold that many; a smooth sum is as good
    with fewer of them.
    """
    step = np.maximum(spread / TERMS_PER_SPREAD, 1.0)
    first = np.maximum(np.floor(center) - HALF * step, 1.0)
    n_terms = int(min(np.max(_last(center, spread), initial=1.0), N_TERMS))
    return first[:, None] + step[:, None] * np.arange(n_terms), step


def _last(center, spread):
    """Numbers of terms after which nothing is left."""
    return np.ceil(center + 9.0 * np.maximum(spread, 1.0) + 4.0)


def tweedie(y, mean, phi, power):
    """Log-density of amounts, or log-probability of zeros."""
    y, mean, phi = np.broadcast_arrays(y, mean, phi)
    rate, shape, scale = _compound(mean, phi, power)
    out, zero = -rate, y == 0
    if zero.all():
        return out
    log_y = np.log(np.where(zero, 1.0, y))
    with np.errstate(over="ignore"):
        ratio = bounded(y / scale)
    number = clipped_exp((2.0 - power) * log_y - np.log(phi * (2.0 - power)))
    far = number > MOST_TERMS
    positive = ~zero & ~far
    log_z = (
        shape * (log_y - np.log(phi * (power - 1.0)))
        - np.log(phi)
        - np.log(2.0 - power)
    )
    out = np.array(out)
    total = log_series(log_z[positive], shape, number[positive])
    out[positive] += total - ratio[positive] - log_y[positive]
    if far.any():
        out[far] = _saddlepoint(log_y[far], np.log(mean[far]), phi[far], power)
    return out


def log_series(log_z, shape, number):
    """Logarithms of sums of ``z^j / (j! gamma(j shape))`` over j = 1, 2, ...

    ``number`` (n,) are those of the largest terms.
    """
    out = np.empty(len(log_z))
    spread = np.sqrt(number / (1.0 + shape))
    last = _last(number, spread)
    few = last <= N_TERMS
    common = np.arange(1.0, 1.0 + np.max(last, where=few, initial=1.0))
    known = special.gammaln(common + 1.0) + special.gammaln(common * shape)
    rows = np.flatnonzero(few)
    for own in np.array_split(rows, len(rows) // BLOCK_ROWS + 1):
        out[own] = _log_sum(log_z[own, None] * common - known)
    rows = np.flatnonzero(~few)
    for own in np.array_split(rows, len(rows) // BLOCK_ROWS + 1):
        j, step = _nodes(number[own], spread[own])
        terms = (
            log_z[own, None] * j - special.gammaln(j + 1) - special.gammaln(j * shape)
        )
        out[own] = _log_sum(terms) + np.log(step)
    return out


def _log_sum(terms):
    top = terms.max(axis=1)
    return top + np.log(np.exp(terms - top[:, None]).sum(axis=1))


def _saddlepoint(log_y, log_mean, phi, power):
    """Log-density of amounts many of whose terms count."""
    a, b = 1.0 - power, 2.0 - power
    # In units of y^b, the deviance of the ratio alone.
    gap = np.clip(log_mean - log_y, -200.0, 200.0)
    deviance = 1.0 / (a * b) - np.exp(a * gap) / a + np.exp(b * gap) / b
    lost = clipped_exp(b * log_y - np.log(phi)) * np.maximum(deviance, 0.0)
    return -0.5 * (np.log(2.0 * np.pi * phi) + power * log_y) - bounded(lost)


def tweedie_cdf(y, mean, phi, power):
    """P(Y <= y) of amounts."""
    y, mean, phi = (np.array(own, float) for own in np.broadcast_arrays(y, mean, phi))
    out = np.empty(y.size)
    flat = [own.ravel() for own in (y, mean, phi)]
    for rows in np.array_split(np.arange(y.size), y.size // BLOCK_ROWS + 1):
        out[rows] = _cdf(*(own[rows] for own in flat), power)
    return out.reshape(y.shape)


def _cdf(y, mean, phi, power):
    rate, shape, scale = _compound(mean, phi, power)
    j, step = _nodes(rate, np.sqrt(rate))
    if j.shape[1] < N_TERMS:
        # All rows have the same terms.
        log_share = np.log(rate)[:, None] * j[0] - special.gammaln(j[0] + 1.0)
        log_share -= rate[:, None]
    else:
        log_share = poisson(j, rate[:, None])
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.minimum(np.maximum(y, 0.0) / scale, np.finfo(float).max)
        share = np.exp(log_share) * step[:, None]
        below = lower_gamma(shape * j, ratio[:, None])
        total = np.exp(-rate) + np.sum(share * below, axis=1)
    return np.where(y < 0, 0.0, np.minimum(total, 1.0))
