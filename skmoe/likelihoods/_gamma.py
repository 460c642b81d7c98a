"""Positive targets whose spread grows with their mean."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special
from sklearn.base import clone

from .._numerics.bisection import bounded, inverse
from ._base import limits, unboxed
from ._incomplete import LARGE, lower_gamma
from ._positive import LARGEST_RATIO, LEAST, Positive

# Brackets of the logarithm of a shape.
LOG_SHAPES = (-12.0, 14.0)
# Least logarithm of an argument of the gamma function.
LEAST_LOG = -650.0


class Gamma(Positive):
    """Gamma density with the expert's prediction as mean, and a shape per expert.

    Linear experts have a log link.  Other experts must predict positive means.

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest squared coefficient of variation, ``1 / shape``.

    Attributes
    ----------
    shape_ : float or ndarray of shape (n_outputs,)
        The variance is ``mean ** 2 / shape_``.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps the shape from growing.

    Examples
    --------
    >>> from skmoe.likelihoods import Gamma
    >>> Gamma()
    Gamma()
    """

    dispersions = ("shape_",)

    def dispersion_limits(self, spread):
        """Shapes whose floor keeps them from growing."""
        most = min(LOG_SHAPES[1], -np.log(self.floor))
        return limits((LOG_SHAPES[0], most), len(spread))

    def with_dispersions(self, values, floored):
        """Its floor is the largest shape."""
        return super().with_dispersions(values, bool(np.any(values >= 1 / self.floor)))

    def _ratio(self, y, prediction, size):
        """Targets over their means."""
        with np.errstate(over="ignore"):
            ratio = np.maximum(y, 0.0) / self.mean(prediction, size)
        return np.minimum(ratio, LARGEST_RATIO)

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        ratio = np.maximum(self._ratio(y, prediction, size), 1.0 / LARGEST_RATIO)
        # The deviance of each output, whose root in the shape is unique.
        excess = np.average(ratio - np.log(ratio) - 1.0, axis=0, weights=weight)
        shapes = np.array([shape_for(own) for own in excess])
        return self.with_shape(np.minimum(shapes, 1.0 / self.floor))

    def with_shape(self, shape):
        """Fitted copy with shapes (n_outputs,)."""
        fitted = clone(self)
        shape = np.asarray(shape, dtype=float)
        fitted.shape_, fitted.n_parameters_ = unboxed(shape), float(shape.size)
        fitted.floored_ = bool(np.any(shape >= 1.0 / self.floor))
        return fitted

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        with np.errstate(over="ignore"):
            return bounded(mean * (mean / self.shape_))

    def log_density(self, y, prediction, size=None):
        shape, mean = self.shape_, self.mean(prediction, size)
        inside = y > 0
        log_y, ratio = (
            np.log(np.where(inside, y, 1.0)),
            self._ratio(y, prediction, size),
        )
        value = shape * (np.log(shape) + log_y - np.log(mean) - ratio)
        value = value - special.gammaln(shape) - log_y
        return np.where(inside, value, -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        slope = self.shape_ * (self._ratio(y, prediction, size) - 1.0)
        return slope, np.broadcast_to(np.asarray(self.shape_), slope.shape)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        shape = np.asarray(self.shape_, dtype=float)
        return gamma_cdf(np.maximum(y, 0.0), self.mean(prediction, size), shape)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        shape, mean = np.asarray(self.shape_, dtype=float), self.mean(prediction, size)
        level = np.asarray(level, dtype=float)
        unit = inverse(
            lambda ratio: gamma_cdf(ratio, 1.0, shape), level, _unit_guess(level, shape)
        )
        with np.errstate(divide="ignore", over="ignore"):
            # What the distribution function is near zero, a power.
            power = (np.log(level) + special.gammaln(shape + 1.0)) / shape
            low = np.exp(np.clip(power - np.log(shape) + np.log(mean), -800.0, 700.0))
            value = np.where(unit > np.finfo(float).tiny, unit * mean, low)
        value = np.maximum(bounded(value), LEAST)
        return np.where(level > 0, np.where(level < 1, value, np.inf), 0.0)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        mean = self.mean(prediction, size)
        draws = rng.gamma(np.broadcast_to(self.shape_, mean.shape))
        with np.errstate(over="ignore"):
            draws = bounded(bounded(draws / self.shape_) * mean)
        return np.maximum(draws, LEAST)


def gamma_cdf(y, mean, shape):
    """P(Y <= y) of positive numbers."""
    with np.errstate(divide="ignore", over="ignore"):
        argument = shape * (y / mean)
        logarithm = np.log(shape) + np.log(y) - np.log(mean)
    small = logarithm < LEAST_LOG
    usual = lower_gamma(shape, np.minimum(argument, np.finfo(float).max))
    if not np.any(small):
        return usual
    power = np.where(small, shape * logarithm, 0.0) - special.gammaln(shape + 1.0)
    return np.where(small, np.exp(np.minimum(power, 0.0)), usual)


def _unit_guess(level, shape):
    """Quantiles of a gamma density with mean one."""
    small = np.minimum(shape, LARGE)
    return np.where(shape > LARGE, 1.0, special.gammaincinv(small, level) / small)


def shape_for(excess):
    """Shape a with ``log a - digamma(a) = excess``."""

    def lack(log_shape):
        shape = np.exp(log_shape)
        return np.log(shape) - special.digamma(shape) - excess

    low, high = LOG_SHAPES
    if lack(low) <= 0:
        return np.exp(low)
    if lack(high) >= 0:
        return np.exp(high)
    return float(np.exp(optimize.brentq(lack, low, high, xtol=1e-12)))
