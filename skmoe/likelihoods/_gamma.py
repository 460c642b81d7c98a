"""Positive targets whose spread grows with their mean."""

import numpy as np
from scipy import optimize, special
from sklearn.base import clone

from ._base import Likelihood, column, unboxed

# Brackets of the logarithm of a shape.
LOG_SHAPES = (-12.0, 14.0)
# Least mean.
SMALLEST = 1e-60


class Gamma(Likelihood):
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

    link, takes = "log", "offset"

    def __init__(self, floor=1e-6):
        self.floor = floor

    def check(self):
        """Raise ``ValueError`` for a floor that is no fraction."""
        if not 0 < self.floor < 1:
            raise ValueError(
                f"Gamma got floor={self.floor!r}, but expected a squared coefficient "
                "of variation in (0, 1); the default is 1e-6."
            )

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are not positive."""
        if not np.all(y > 0):
            raise ValueError(
                f"Gamma got y with a least value of {float(np.min(y))!r}, but expected "
                "positive numbers; use likelihood='gaussian', or drop those rows."
            )

    def usable(self, prediction):
        """Predictions, kept positive."""
        # Units of y are arbitrary, so only what would overflow is too small.
        return np.maximum(prediction, SMALLEST)

    def predictor(self, y, size=None):
        """Log of y per exposure."""
        return np.log(y / column(size))

    def _fit_one(self, y, prediction, weight, prior, size, previous, spread):
        if self._keeps(previous, weight):
            return previous
        ratio = y / (prediction * column(size))
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
        return self.mean(prediction, size) ** 2 / self.shape_

    def _log_density(self, y, prediction, size=None):
        shape, mean = self.shape_, prediction * column(size)
        inside = y > 0
        log_y = np.log(np.where(inside, y, 1.0))
        value = shape * (np.log(shape) + log_y - np.log(mean) - y / mean)
        value = value - special.gammaln(shape) - log_y
        return np.where(inside, value, -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        ratio = y / self.mean(prediction, size)
        slope = self.shape_ * (ratio - 1.0)
        return slope, np.broadcast_to(np.asarray(self.shape_), slope.shape)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        ratio = np.maximum(y, 0.0) / self.mean(prediction, size)
        return special.gammainc(self.shape_, self.shape_ * ratio)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        unit = special.gammaincinv(self.shape_, level) / self.shape_
        return unit * self.mean(prediction, size)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        mean = self.mean(prediction, size)
        return rng.gamma(np.broadcast_to(self.shape_, mean.shape)) * mean / self.shape_


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
