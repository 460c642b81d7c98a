"""Shares between zero and one."""

import numpy as np
from scipy import special
from sklearn.base import clone

from .._numerics.bisection import inverse
from ._base import Likelihood, limits, unboxed
from ._links import LARGEST_CHANCE, chance
from ._search import best_positive

# Least logarithm of a precision that is told apart.
LEAST_PRECISION = -12.0
# Least positive double.
LEAST = np.nextafter(0.0, 1.0)


class Beta(Likelihood):
    """Beta density with the expert's prediction as mean, and a precision per expert.

    Of shares, rates and scores strictly between zero and one [1]_.  Linear experts have
    a logit link.  Other experts must predict numbers in (0, 1).

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest variance, as a fraction of ``mean * (1 - mean)``, the largest.

    Attributes
    ----------
    precision_ : float or ndarray of shape (n_outputs,)
        The variance is ``mean * (1 - mean) / (1 + precision_)``.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps the precision from growing.

    References
    ----------
    .. [1] Ferrari, S., Cribari-Neto, F. (2004). Beta regression for modelling rates and
       proportions. J. Appl. Stat. 31, 799-815.

    Examples
    --------
    >>> from skmoe.likelihoods import Beta
    >>> Beta()
    Beta()
    """

    link, support = "logit", (0.0, 1.0)
    dispersions = ("precision_",)

    def __init__(self, floor: float = 1e-6) -> None:
        self.floor = floor

    def check(self):
        """Raise ``ValueError`` for a floor that is no fraction."""
        if not 0 < self.floor < 1:
            raise ValueError(
                f"Beta got floor={self.floor!r}, but expected a fraction of the "
                "largest variance in (0, 1); the default is 1e-6."
            )

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are not within (0, 1)."""
        wrong = (y <= 0) | (y >= 1)
        if np.any(wrong):
            raise ValueError(
                f"Beta got y with the value {float(y[wrong].flat[0])!r}, but expected "
                "numbers between 0 and 1, without the ends; divide by the largest "
                "possible value, and where shares are 0 or 1 draw them in, as by "
                "(y * (n - 1) + 0.5) / n."
            )

    def dispersion_limits(self, spread):
        """Precisions whose floor keeps them from growing."""
        most = max(-np.log(self.floor), LEAST_PRECISION + 1.0)
        return limits((LEAST_PRECISION, most), len(spread))

    def with_dispersions(self, values, floored):
        """Its floor is the largest precision."""
        most = (1.0 - 1e-6) / self.floor
        return super().with_dispersions(values, bool(np.any(values >= most)))

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        counts, d = weight > 0, y.shape[1]
        y, mean, weight = y[counts], self.usable(prediction)[counts], weight[counts]
        before = np.broadcast_to(1.0 if previous is None else previous.precision_, d)
        low, high = (ends[0] for ends in self.dispersion_limits(spread))
        found = [
            _best_precision(y[:, j], mean[:, j], weight, (low[j], high[j]), before[j])
            for j in range(d)
        ]
        return self.with_precision(np.array(found))

    def with_precision(self, precision):
        """Fitted copy with precisions (n_outputs,)."""
        fitted = clone(self)
        fitted.precision_ = unboxed(precision)
        fitted.n_parameters_ = float(np.size(precision))
        most = (1.0 - 1e-6) / self.floor
        fitted.floored_ = bool(np.any(np.asarray(precision) >= most))
        return fitted

    def _shapes(self, prediction):
        """Both shapes of the density."""
        mean = self.usable(prediction)
        return mean * self.precision_, (1.0 - mean) * self.precision_

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.usable(prediction)
        return mean * (1.0 - mean) / (1.0 + np.asarray(self.precision_))

    def log_density(self, y, prediction, size=None):
        inside = (y > 0) & (y < 1)
        value = beta(np.where(inside, y, 0.5), *self._shapes(prediction))
        return np.where(inside, value, -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        a, b = self._shapes(prediction)
        step = self.variance_of(prediction) * (1.0 + np.asarray(self.precision_))
        step = step * self.precision_
        inside = (y > 0) & (y < 1)
        log_odds = special.logit(np.where(inside, y, 0.5))
        # Near an end the square of a step and the information leave doubles apart.
        slope = step * log_odds - step * (special.digamma(a) - special.digamma(b))
        first, second = special.zeta(2.0, a), special.zeta(2.0, b)
        with np.errstate(over="ignore"):
            curvature = step * (step * first) + step * (step * second)
        return slope, np.minimum(curvature, np.finfo(float).max)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        return special.betainc(*self._shapes(prediction), np.clip(y, 0.0, 1.0))

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        a, b = self._shapes(prediction)
        level = np.broadcast_to(np.asarray(level, dtype=float), a.shape)
        guess = special.betaincinv(a, b, level)
        found = inverse(
            lambda y: special.betainc(a, b, np.minimum(y, 1.0)), level, guess
        )
        found = np.clip(found, LEAST, LARGEST_CHANCE)
        return np.where(level > 0, np.where(level < 1, found, 1.0), 0.0)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        draws = rng.beta(*(chance_of(own) for own in self._shapes(prediction)))
        return np.clip(draws, LEAST, LARGEST_CHANCE)


def chance_of(shape):
    """Shapes that random numbers can be drawn for."""
    return np.maximum(shape, np.finfo(float).tiny)


def beta(y, a, b):
    """Log-density of shares."""
    return (
        special.xlogy(a - 1.0, y) + special.xlog1py(b - 1.0, -y) - special.betaln(a, b)
    )


def _best_precision(y, mean, weight, log_bounds, before):
    """Precision with the largest likelihood of shares (n,)."""
    mean = chance(mean)

    def loss(precision):
        return -(weight @ beta(y, mean * precision, (1.0 - mean) * precision))

    return best_positive(loss, log_bounds, before)
