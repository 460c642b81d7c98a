"""Counts: Poisson, negative binomial, binomial."""

import numpy as np
from scipy import optimize, special, stats
from sklearn.base import clone

from ._base import LEAST, Likelihood, column, unboxed

# Dispersions of the negative binomial that are told apart: beyond, it is a Poisson.
LOG_DISPERSIONS = (np.log(1e-4), np.log(1e6))


def check_counts(y, name):
    """Raise ``ValueError`` for targets that are no counts."""
    wrong = (y < 0) | (y != np.floor(y))
    if np.any(wrong):
        raise ValueError(
            f"{name} got y with the value {float(y[wrong].flat[0])!r}, but expected "
            "counts 0, 1, 2, ...; use likelihood='gaussian' or 'gamma' for others."
        )


class Count(Likelihood):
    """Base of counts without an upper end: log link, exposure through an offset."""

    link, takes, discrete = "log", "offset", True

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are no counts."""
        check_counts(y, type(self).__name__)

    def usable(self, prediction):
        """Predictions, kept positive."""
        return np.maximum(prediction, LEAST)

    def predictor(self, y, size=None):
        """Log of the counts per exposure, half a count added."""
        return np.log((y + 0.5) / column(size))

    def weighing(self, size):
        """A rate counts as much as the exposure that it was seen in."""
        return size

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        return rng.poisson(self._rates(self.mean(prediction, size), rng)).astype(float)


class Poisson(Count):
    """Poisson counts; the prediction is the rate per unit of exposure.

    Linear experts have a log link.  Other experts must predict positive rates, such as
    ``HistGradientBoostingRegressor(loss="poisson")``.

    Attributes
    ----------
    n_parameters_ : float
        Zero: there is no dispersion.

    Examples
    --------
    >>> from skmoe.likelihoods import Poisson
    >>> Poisson()
    Poisson()
    """

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs): the mean."""
        return self.mean(prediction, size)

    def _log_density(self, y, prediction, size=None):
        mean = prediction * column(size)
        return special.xlogy(y, mean) - mean - special.gammaln(y + 1.0)

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        mean = self.mean(prediction, size)
        return y - mean, mean

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        below = special.pdtr(np.maximum(np.floor(y), 0.0), self.mean(prediction, size))
        return np.where(y < 0, 0.0, below)

    def quantile(self, level, prediction, size=None):
        """Least count whose distribution function is at least ``level``."""
        return stats.poisson.ppf(level, self.mean(prediction, size))

    def _rates(self, mean, rng):
        return mean


class NegativeBinomial(Count):
    """Counts with more spread than Poisson: variance ``mean + mean ** 2 / theta_``.

    Linear experts have a log link.  Other experts must predict positive rates.

    Attributes
    ----------
    theta_ : float or ndarray of shape (n_outputs,)
        Dispersion; infinity would be Poisson, and 1e6 is the largest that is tried.
    n_parameters_ : float

    Examples
    --------
    >>> from skmoe.likelihoods import NegativeBinomial
    >>> NegativeBinomial()
    NegativeBinomial()
    """

    def _fit_one(self, y, prediction, weight, prior, size, previous, spread):
        if self._keeps(previous, weight):
            return previous
        mean = prediction * column(size)
        d = y.shape[1]
        before = np.broadcast_to(getattr(previous, "theta_", 1.0), d)
        theta = [best_theta(y[:, j], mean[:, j], weight, before[j]) for j in range(d)]
        return self.with_theta(theta)

    def with_theta(self, theta):
        """Fitted copy with dispersions (n_outputs,)."""
        fitted = clone(self)
        fitted.theta_, fitted.n_parameters_ = unboxed(theta), float(np.size(theta))
        fitted.floored_ = False
        return fitted

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        return mean + mean**2 / self.theta_

    def _log_density(self, y, prediction, size=None):
        return negative_binomial(y, prediction * column(size), np.asarray(self.theta_))

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        mean = self.mean(prediction, size)
        share = self.theta_ / (self.theta_ + mean)
        return (y - mean) * share, mean * share

    def _chance(self, prediction, size):
        return self.theta_ / (self.theta_ + self.mean(prediction, size))

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        count = np.maximum(np.floor(y), 0.0)
        chance = self._chance(prediction, size)
        return np.where(y < 0, 0.0, special.betainc(self.theta_, count + 1.0, chance))

    def quantile(self, level, prediction, size=None):
        """Least count whose distribution function is at least ``level``."""
        return stats.nbinom.ppf(level, self.theta_, self._chance(prediction, size))

    def _rates(self, mean, rng):
        return rng.gamma(np.broadcast_to(self.theta_, mean.shape)) * mean / self.theta_


def negative_binomial(y, mean, theta):
    """Log-probability of counts, accurate also where ``theta`` is large."""
    ways = -np.log(y + theta) - special.betaln(y + 1.0, theta)
    fail = -theta * np.log1p(mean / theta)
    return ways + fail + special.xlogy(y, mean / (theta + mean))


def best_theta(y, mean, weight, before):
    """Dispersion with the largest likelihood of counts (n,)."""

    def loss(log_theta):
        return -(weight @ negative_binomial(y, mean, np.exp(log_theta)))

    found = optimize.minimize_scalar(
        loss, bounds=LOG_DISPERSIONS, method="bounded", options={"xatol": 1e-7}
    )
    return float(np.exp(found.x)) if found.fun <= loss(np.log(before)) else before


class Binomial(Likelihood):
    """Successes out of the trials of each row; the prediction is their chance.

    Linear experts have a logit link.  Other experts must predict numbers in (0, 1).

    Attributes
    ----------
    n_parameters_ : float
        Zero: there is no dispersion.

    Examples
    --------
    >>> from skmoe.likelihoods import Binomial
    >>> Binomial()
    Binomial()
    """

    link, takes, discrete = "logit", "trials", True

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are no counts up to the trials."""
        check_counts(y, "Binomial")
        most = column(size)
        beyond = float(np.max(y - most))
        if beyond > 0:
            raise ValueError(
                f"Binomial got y that exceeds its trials by {beyond!r}, but expected "
                "at most as many successes as trials; pass the numbers of trials as "
                "fit(X, y, trials=...)."
            )

    def size_of(self, given):
        """Numbers of trials."""
        if np.any((given < 1) | (given != np.floor(given))):
            raise ValueError(
                f"trials has a least value of {float(given.min())!r}, or a fraction, "
                "but expected whole numbers >= 1; leave out rows without trials."
            )
        return given

    def usable(self, prediction):
        """Chances, kept away from zero and one."""
        return np.clip(prediction, LEAST, 1.0 - LEAST)

    def predictor(self, y, size=None):
        """Log-odds of successes, half a success and half a failure added."""
        return np.log((y + 0.5) / (column(size) - y + 0.5))

    def weighing(self, size):
        """A share of successes counts as much as the trials that it was seen in."""
        return size

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        chance = self.usable(prediction)
        return column(size) * chance * (1.0 - chance)

    def _log_density(self, y, prediction, size=None):
        trials = column(size)
        ways = -np.log(trials + 1.0) - special.betaln(trials - y + 1.0, y + 1.0)
        log_fail = special.xlog1py(trials - y, -prediction)
        return ways + special.xlogy(y, prediction) + log_fail

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-probability in the linear predictor."""
        return y - self.mean(prediction, size), self.variance_of(prediction, size)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        trials = np.broadcast_to(column(size), y.shape)
        count = np.clip(np.floor(y), 0.0, trials)
        chance = special.bdtr(count, trials.astype(int), self.usable(prediction))
        return np.where(y < 0, 0.0, chance)

    def quantile(self, level, prediction, size=None):
        """Least count whose distribution function is at least ``level``."""
        return stats.binom.ppf(level, column(size), self.usable(prediction))

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        trials = np.broadcast_to(column(size), prediction.shape).astype(int)
        return rng.binomial(trials, self.usable(prediction)).astype(float)
