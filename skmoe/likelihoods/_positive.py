"""Positive amounts besides the gamma: Weibull, log-normal, inverse Gaussian."""

import numpy as np
from scipy import special
from sklearn.base import clone

from .._kernels.objectives import LOG_2PI
from .._numerics.bisection import bounded
from ._base import (
    LARGEST_PREDICTOR,
    Likelihood,
    limits,
    rounding_variance,
    unboxed,
)
from ._links import clipped_exp
from ._quantile import positive_quantiles
from ._search import best_positive

# Least positive double.
LEAST = np.nextafter(0.0, 1.0)
# A row is impossible beyond this ratio to its mean: sums of such rows stay finite.
LARGEST_RATIO = 1e60
LOG_RATIO = np.log(LARGEST_RATIO)
# Brackets of the logarithm of a Weibull shape: below, means leave the range of doubles.
LOG_SHAPES = (np.log(0.02), 14.0)
# Largest variance of a logarithm that is told apart.
MOST_LOG_VARIANCE = 1e4
# Largest of all shapes of an inverse Gaussian, in units of y.
LOG_INVERSE = 690.0


def clamped(values):
    """Positive numbers within the range of doubles."""
    return np.clip(values, LEAST, np.finfo(float).max)


class Positive(Likelihood):
    """Base of positive amounts: log link, exposure through an offset, one dispersion.

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest squared coefficient of variation.
    """

    link, takes, support = "log", "offset", (0.0, np.inf)

    def __init__(self, floor: float = 1e-6) -> None:
        self.floor = floor

    def check(self):
        """Raise ``ValueError`` for a floor that is no fraction."""
        if not 0 < self.floor < 1:
            raise ValueError(
                f"{type(self).__name__} got floor={self.floor!r}, but expected a "
                "squared coefficient of variation in (0, 1); the default is 1e-6."
            )

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are not positive."""
        if np.all(y > 0):
            return
        least, other = float(np.min(y)), "likelihood='gaussian'"
        if least == 0:
            other = "zero_inflation=True, likelihood='tweedie'"
        raise ValueError(
            f"{type(self).__name__} got y with a least value of {least!r}, but "
            f"expected positive numbers; use {other}, or drop those rows."
        )

    def with_dispersion(self, value, floored):
        """Fitted copy with dispersions (n_outputs,)."""
        fitted = clone(self)
        (name,) = self.dispersions
        setattr(fitted, name, unboxed(value))
        fitted.n_parameters_, fitted.floored_ = float(np.size(value)), bool(floored)
        return fitted

    def log_ratio(self, y, prediction, size):
        """Logarithms of targets over their means, and whether a target is possible."""
        inside = y > 0
        log_y = np.log(np.where(inside, y, 1.0))
        return log_y - np.log(self.mean(prediction, size)), log_y, inside

    def at_level(self, level, value):
        """Quantiles with their ends."""
        return np.where(level > 0, np.where(level < 1, clamped(value), np.inf), 0.0)


class Weibull(Positive):
    """Weibull density with the expert's prediction as mean, and a shape per expert.

    Times until an event, say, whose hazard falls (shape below one) or rises with time.
    Linear experts have a log link.  Other experts must predict positive means.

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest squared coefficient of variation.

    Attributes
    ----------
    shape_ : float or ndarray of shape (n_outputs,)
        The scale is ``mean / gamma(1 + 1 / shape_)``.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps the shape from growing.

    Examples
    --------
    >>> from skmoe.likelihoods import Weibull
    >>> Weibull()
    Weibull()
    """

    dispersions = ("shape_",)

    @property
    def largest_shape(self):
        """Shape at the smallest squared coefficient of variation."""
        return np.pi / np.sqrt(6.0 * self.floor)

    def dispersion_limits(self, spread):
        """Shapes whose floor keeps them from growing."""
        most = min(LOG_SHAPES[1], np.log(self.largest_shape))
        return limits((LOG_SHAPES[0], most), len(spread))

    def with_dispersions(self, values, floored):
        """Its floor is the largest shape."""
        most = self.largest_shape * (1.0 - 1e-6)
        return super().with_dispersions(values, bool(np.any(values >= most)))

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        ratio, _, _ = self.log_ratio(y, prediction, size)
        d, bounds = y.shape[1], self.dispersion_limits(spread)
        before = np.broadcast_to(1.0 if previous is None else previous.shape_, d)
        shape = np.array(
            [
                _best_weibull(ratio[:, j], weight, (low, high), before[j])
                for j, (low, high) in enumerate(np.column_stack([b[0] for b in bounds]))
            ]
        )
        return self.with_shape(shape)

    def with_shape(self, shape):
        """Fitted copy with shapes (n_outputs,)."""
        most = self.largest_shape * (1.0 - 1e-6)
        return self.with_dispersion(shape, np.any(np.asarray(shape) >= most))

    def _hazard(self, ratio):
        """Cumulative hazards of logarithms of targets over their means."""
        return _hazard(ratio, np.asarray(self.shape_, dtype=float))

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        inverse = 1.0 / np.asarray(self.shape_, dtype=float)
        log_square = special.gammaln(1 + 2 * inverse) - 2 * special.gammaln(1 + inverse)
        with np.errstate(over="ignore"):
            return bounded(mean * (mean * np.expm1(log_square)))

    def log_density(self, y, prediction, size=None):
        ratio, log_y, inside = self.log_ratio(y, prediction, size)
        value = _log_weibull(ratio, np.asarray(self.shape_, dtype=float)) - log_y
        return np.where(inside, value, -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        ratio, _, inside = self.log_ratio(y, prediction, size)
        shape = np.asarray(self.shape_, dtype=float)
        slope = shape * (np.where(inside, self._hazard(ratio), 0.0) - 1.0)
        return slope, np.broadcast_to(shape**2, slope.shape)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        ratio, _, inside = self.log_ratio(y, prediction, size)
        return np.where(inside, -np.expm1(-self._hazard(ratio)), 0.0)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        level = np.asarray(level, dtype=float)
        with np.errstate(divide="ignore"):
            hazard = -np.log1p(-level)
        return self.at_level(level, self._with_hazard(hazard, prediction, size))

    def _with_hazard(self, hazard, prediction, size):
        """Targets with such cumulative hazards."""
        inverse = 1.0 / np.asarray(self.shape_, dtype=float)
        with np.errstate(divide="ignore"):
            ratio = np.log(hazard) * inverse - special.gammaln(1.0 + inverse)
        return np.exp(
            np.clip(ratio + np.log(self.mean(prediction, size)), -800.0, 709.0)
        )

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        hazard = rng.standard_exponential(prediction.shape)
        return clamped(self._with_hazard(hazard, prediction, size))


def _hazard(ratio, shape):
    """Cumulative hazards, bounded so that sums of them are."""
    power = shape * (ratio + special.gammaln(1.0 + 1.0 / shape))
    return np.exp(np.clip(power, -LARGEST_PREDICTOR, LOG_RATIO))


def _log_weibull(ratio, shape):
    """Log-density of y from that of its ratio to the mean, times y."""
    power = shape * (ratio + special.gammaln(1.0 + 1.0 / shape))
    return np.log(shape) + power - _hazard(ratio, shape)


def _best_weibull(ratio, weight, log_bounds, before):
    """Shape with the largest likelihood."""

    def loss(shape):
        return -(weight @ _log_weibull(ratio, shape))

    return best_positive(loss, log_bounds, before)


class LogNormal(Positive):
    """Log-normal density with the expert's prediction as mean.

    The logarithm of y is normal around ``log(mean) - sigma_ ** 2 / 2``.  Linear experts
    have a log link.  Other experts must predict positive means.

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest variance of the logarithm, which is nearly the squared coefficient of
        variation where that is small.

    Attributes
    ----------
    sigma_ : float or ndarray of shape (n_outputs,)
        Standard deviation of the logarithm of y.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps it from going to zero.

    Examples
    --------
    >>> from skmoe.likelihoods import LogNormal
    >>> LogNormal()
    LogNormal()
    """

    dispersions = ("sigma_",)

    def dispersion_limits(self, spread):
        """Floors of the standard deviation, and the largest that is told apart."""
        ends = 0.5 * np.log([self.floor, MOST_LOG_VARIANCE])
        return limits(ends, len(spread))

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        ratio, _, _ = self.log_ratio(y, prediction, size)
        square = np.average(ratio**2, axis=0, weights=weight)
        # The root of v^2 / 4 + v = square, since the mean holds half of v.
        variance = 2.0 * square / (1.0 + np.sqrt(1.0 + square))
        kept = np.clip(variance, self.floor, MOST_LOG_VARIANCE)
        return self.with_sigma(np.sqrt(kept), np.any(variance < self.floor))

    def with_sigma(self, sigma, floored=False):
        """Fitted copy with standard deviations (n_outputs,)."""
        return self.with_dispersion(sigma, floored)

    def _scaled(self, ratio):
        """Logarithms in units of their standard deviation."""
        sigma = np.asarray(self.sigma_, dtype=float)
        return ratio / sigma + 0.5 * sigma

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        square = np.minimum(np.square(self.sigma_), LARGEST_PREDICTOR)
        with np.errstate(over="ignore"):
            return bounded(mean * (mean * np.expm1(square)))

    def log_density(self, y, prediction, size=None):
        ratio, log_y, inside = self.log_ratio(y, prediction, size)
        value = -0.5 * (self._scaled(ratio) ** 2 + LOG_2PI) - np.log(self.sigma_)
        return np.where(inside, value - log_y, -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-density in the linear predictor."""
        ratio, _, _ = self.log_ratio(y, prediction, size)
        sigma = np.asarray(self.sigma_, dtype=float)
        slope = self._scaled(ratio) / sigma
        return slope, np.broadcast_to(sigma**-2.0, slope.shape)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        ratio, _, inside = self.log_ratio(y, prediction, size)
        return np.where(inside, special.ndtr(self._scaled(ratio)), 0.0)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        level = np.asarray(level, dtype=float)
        z = np.clip(special.ndtri(level), -1e3, 1e3)
        return self.at_level(level, self._at(z, prediction, size))

    def _at(self, z, prediction, size):
        sigma = np.asarray(self.sigma_, dtype=float)
        log_mean = np.log(self.mean(prediction, size))
        return np.exp(np.clip(log_mean + sigma * (z - 0.5 * sigma), -800.0, 709.0))

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        z = rng.standard_normal(prediction.shape)
        return clamped(self._at(z, prediction, size))


class InverseGaussian(Positive):
    """Inverse Gaussian density with the expert's prediction as mean.

    The variance is ``mean ** 3 / shape_``: a long right tail, as of first passages.
    Linear experts have a log link.  Other experts must predict positive means.

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest inverse of the shape, in standard deviations of y.

    Attributes
    ----------
    shape_ : float or ndarray of shape (n_outputs,)
        In units of y.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps the shape from growing.

    Examples
    --------
    >>> from skmoe.likelihoods import InverseGaussian
    >>> InverseGaussian()
    InverseGaussian()
    """

    dispersions = ("shape_",)

    def dispersion_limits(self, spread):
        """Shapes whose floor keeps them from growing."""
        unit = 0.5 * np.log(np.maximum(spread, np.finfo(float).tiny))
        most = np.minimum(unit - np.log(self.floor), LOG_INVERSE)
        return np.full((1, len(unit)), -LOG_INVERSE), most[None]

    def with_dispersions(self, values, floored):
        """Sums over rows keep it within limits, which only they know."""
        return super().with_dispersions(values, False)

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        # Of (y / mean - 1)^2 / y, in logarithms: units of y may be any.
        log_mean = np.log(self.mean(prediction, size))
        distance = log_distance(np.log(np.where(y > 0, y, LEAST)), log_mean)
        top = distance.max(axis=0, where=weight[:, None] > 0, initial=-LOG_INVERSE)
        with np.errstate(under="ignore"):
            total = np.average(
                np.exp(np.minimum(distance - top, 0.0)), axis=0, weights=weight
            )
        spread = np.maximum(spread, rounding_variance(y))
        low, high = self.dispersion_limits(spread)
        shape = -top - np.log(np.maximum(total, np.finfo(float).tiny))
        return self.with_shape(
            np.exp(np.clip(shape, low[0], high[0])), np.any(shape > high[0])
        )

    def with_shape(self, shape, floored=False):
        """Fitted copy with shapes (n_outputs,)."""
        return self.with_dispersion(shape, floored)

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        with np.errstate(over="ignore"):
            return bounded(mean * bounded(mean * (mean / self.shape_)))

    def log_density(self, y, prediction, size=None):
        _, log_y, inside = self.log_ratio(y, prediction, size)
        log_mean = np.log(self.mean(prediction, size))
        value = inverse_gaussian(log_y, log_mean, np.log(self.shape_))
        return np.where(inside, value, -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        ratio, _, inside = self.log_ratio(y, prediction, size)
        log_mean = np.log(self.mean(prediction, size))
        curvature = clipped_exp(np.minimum(np.log(self.shape_) - log_mean, LOG_RATIO))
        excess = np.expm1(np.where(inside, np.minimum(ratio, LOG_RATIO), -np.inf))
        return curvature * excess, curvature

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        _, log_y, inside = self.log_ratio(y, prediction, size)
        log_mean = np.log(self.mean(prediction, size))
        below = inverse_gaussian_cdf(log_y, log_mean, np.log(self.shape_))
        return np.where(inside, below, 0.0)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        mean = self.mean(prediction, size)
        level = np.broadcast_to(np.asarray(level, dtype=float), mean.shape)
        shape = np.broadcast_to(np.asarray(self.shape_, dtype=float), mean.shape)
        inner = (level > 0) & (level < 1)
        out = np.where(level < 1, 0.0, np.inf)
        out[inner] = positive_quantiles(
            lambda y, *of: inverse_gaussian_cdf(np.log(y), *of),
            lambda y, *of: inverse_gaussian(np.log(y), *of),
            level[inner],
            mean[inner],
            [np.log(mean[inner]), np.log(shape[inner])],
        )
        return out

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        mean = self.mean(prediction, size)
        share = np.exp(np.clip(np.log(self.shape_) - np.log(mean), -LOG_RATIO, 80.0))
        with np.errstate(over="ignore"):
            return clamped(rng.wald(1.0, share) * mean)


def log_distance(log_y, log_mean):
    """Logarithm of ``(y / mean - 1)^2 / y``: twice what a unit of shape loses."""
    ratio = np.clip(log_y - log_mean, -LOG_RATIO, LOG_RATIO)
    with np.errstate(divide="ignore"):
        return 2.0 * np.log(np.abs(np.expm1(ratio))) - log_y


def inverse_gaussian(log_y, log_mean, log_shape):
    """Log-density of amounts."""
    lost = log_distance(log_y, log_mean) + log_shape
    return 0.5 * (log_shape - LOG_2PI - 3.0 * log_y - clipped_exp(lost))


def inverse_gaussian_cdf(log_y, log_mean, log_shape):
    """P(Y <= y) of amounts."""
    root = clipped_exp(0.5 * (log_shape - log_y))
    ratio = np.exp(np.clip(log_y - log_mean, -LARGEST_PREDICTOR, LOG_RATIO))
    with np.errstate(over="ignore"):
        near, far = root * (ratio - 1.0), root * (ratio + 1.0)
        # Both tails by one factor, so that none is a small rest of large ones.
        scaled = 0.5 * np.exp(-0.5 * near**2)
    tail = scaled * special.erfcx(np.abs(near) * np.sqrt(0.5))
    more = scaled * special.erfcx(far * np.sqrt(0.5))
    return np.clip(np.where(near < 0, tail, 1.0 - tail) + more, 0.0, 1.0)
