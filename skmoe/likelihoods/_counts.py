"""Counts: Poisson, negative binomial, binomial."""

from typing import Any

import numpy as np
from scipy import special
from sklearn.base import clone

from .._numerics.bisection import bounded, least_counts
from ._base import Likelihood, column, limits, unboxed
from ._incomplete import LARGE, incomplete_beta, lag, upper_gamma
from ._links import positive
from ._search import best_positive

# Dispersions of the negative binomial that are told apart: beyond, it is a Poisson.
LOG_DISPERSIONS = (np.log(1e-4), np.log(1e6))
# Means, and trials, beyond which draws are those of the limiting distribution.
LARGEST_DRAWN = 1e15
# Means beyond which a binomial of more trials than that is a normal one.
SMALLEST_NORMAL = 1e9


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

    link, takes, discrete, support = "log", "offset", True, (0.0, np.inf)

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are no counts."""
        check_counts(y, type(self).__name__)

    def predictor(self, y, size=None):
        """Log of the counts per exposure, half a count added."""
        return np.log((y + 0.5) / column(size))

    def weighing(self, size):
        """A rate counts as much as the exposure that it was seen in."""
        return size

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        return poisson_draws(self._rates(self.mean(prediction, size), rng), rng)


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

    dispersions = ()

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs): the mean."""
        return self.mean(prediction, size)

    def log_density(self, y, prediction, size=None):
        return poisson(y, self.mean(prediction, size))

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        mean = self.mean(prediction, size)
        return y - mean, mean

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        return poisson_cdf(np.floor(y), self.mean(prediction, size))

    def quantile(self, level, prediction, size=None):
        """Least count whose distribution function is at least ``level``."""
        mean = self.mean(prediction, size)
        guess = cornish_fisher(level, mean, np.sqrt(mean), 1.0)
        return least_counts(poisson_cdf, level, [mean], guess)

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

    limit, dispersions = Poisson, ("theta_",)

    def dispersion_limits(self, spread):
        """Those between which they are told apart."""
        return limits(LOG_DISPERSIONS, len(spread))

    def with_dispersions(self, values, floored):
        """None of them is a floor."""
        return super().with_dispersions(values, False)

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        mean, d = self.mean(prediction, size), y.shape[1]
        before = np.broadcast_to(1.0 if previous is None else previous.theta_, d)
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
        with np.errstate(over="ignore"):
            return bounded(mean + mean * (mean / self.theta_))

    def log_density(self, y, prediction, size=None):
        mean = self.mean(prediction, size)
        return negative_binomial(y, mean, np.asarray(self.theta_))

    def derivatives(self, y, prediction, size=None):
        """Slope and expected curvature of the log-density in the linear predictor."""
        mean = self.mean(prediction, size)
        share = self.theta_ / (self.theta_ + mean)
        return (y - mean) * share, mean * share

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        mean = self.mean(prediction, size)
        return negative_binomial_cdf(np.floor(y), mean, np.asarray(self.theta_))

    def quantile(self, level, prediction, size=None):
        """Least count whose distribution function is at least ``level``."""
        mean, theta = self.mean(prediction, size), np.asarray(self.theta_, dtype=float)
        arguments = [mean, np.broadcast_to(theta, mean.shape)]
        with np.errstate(over="ignore", invalid="ignore"):
            spread = np.sqrt(mean) * np.sqrt(1.0 + mean / theta)
            normal = cornish_fisher(level, mean, spread, 1.0 + 2.0 * mean / theta)
            rate = special.gammaincinv(theta, level) * (mean / theta)
        # Few counts beside the spread of their rate: they are as good as a gamma.
        guess = np.where(mean > 10.0 * theta, rate, normal)
        return least_counts(negative_binomial_cdf, level, arguments, guess)

    def _rates(self, mean, rng):
        draws = rng.gamma(np.broadcast_to(self.theta_, mean.shape))
        with np.errstate(over="ignore"):
            return positive(bounded(draws / self.theta_) * mean)


def cornish_fisher(level, mean, spread, skew):
    """Quantiles of counts from those of a normal, ``skew`` in units of the spread."""
    with np.errstate(invalid="ignore", over="ignore"):
        z = special.ndtri(level)
        return mean + z * spread + skew * (z * z - 1.0) / 6.0


def poisson_draws(mean, rng):
    """Draws of any mean: rounded normal ones where counts fill the integers."""
    large = mean > LARGEST_DRAWN
    counts = rng.poisson(np.where(large, 0.0, mean)).astype(float)
    if not large.any():
        return counts
    normal = np.rint(mean + np.sqrt(mean) * rng.standard_normal(mean.shape))
    return np.where(large, bounded(normal), counts)


def poisson_cdf(count, mean):
    """P(Y <= count) of whole counts."""
    at = bounded(np.maximum(count, 0.0) + 1.0)
    return np.where(count < 0, 0.0, upper_gamma(at, mean))


def negative_binomial_cdf(count, mean, theta):
    """P(Y <= count) of whole counts."""
    at, whole = bounded(np.maximum(count, 0.0) + 1.0), theta + mean
    excess = (theta / whole) * (at - mean)
    share = np.maximum(theta / whole, np.finfo(float).tiny)
    below = incomplete_beta(theta, at, share, mean / whole, excess)
    return np.where(count < 0, 0.0, below)


def binomial_cdf(count, trials, chance):
    """P(Y <= count) of whole counts."""
    at = np.clip(count, 0.0, trials) + 1.0
    left = np.maximum(trials - at + 1.0, 0.5)
    excess = at - chance * (trials + 1.0)
    below = incomplete_beta(left, at, 1.0 - chance, chance, excess)
    return np.where(count < 0, 0.0, np.where(count >= trials, 1.0, below))


def stirling_error(value):
    """What Stirling's formula lacks of ``log(value!)``, for large values."""
    return 1.0 / (12.0 * value)


# Counts that no mean comes near to have probability zero.
IMPOSSIBLE: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}


@np.errstate(**IMPOSSIBLE)
def poisson(y, mean):
    """Log-probability of counts, accurate for large ones, too [1]_.

    .. [1] Loader, C. (2000). Fast and accurate computation of binomial probabilities.
    """
    usual = special.xlogy(y, mean) - mean - special.gammaln(y + 1.0)
    large = y > LARGE
    if not large.any():
        return usual
    y = np.where(large, y, 1.0)
    distance = y * lag((mean - y) / y, np.log(mean) - np.log(y))
    saddle = -stirling_error(y) - distance - 0.5 * np.log(2.0 * np.pi * y)
    return np.where(large, saddle, usual)


@np.errstate(**IMPOSSIBLE)
def negative_binomial(y, mean, theta):
    """Log-probability of counts, accurate also where ``theta`` or ``y`` is large."""
    ways = -np.log(y + theta) - special.betaln(y + 1.0, theta)
    fail = -theta * np.log1p(mean / theta)
    usual = ways + fail + special.xlogy(y, mean / (theta + mean))
    large = y > LARGE
    if not large.any():
        return usual
    y = np.where(large, y, LARGE)
    whole = theta + mean
    rest = special.gammaln(theta + 1.0) - (theta + 0.5) * np.log(theta) + theta
    rest = np.where(
        theta > LARGE, stirling_error(theta), rest - 0.5 * np.log(2 * np.pi)
    )
    of_theta = np.log(y + theta) - np.log(whole)
    of_count = of_theta + np.log(mean) - np.log(y)
    saddle = (
        stirling_error(y + theta)
        - stirling_error(y)
        - rest
        - theta * lag((y - mean) / whole, of_theta)
        - y * lag((theta / whole) * ((mean - y) / y), of_count)
        + 0.5 * (np.log(theta) - np.log(2.0 * np.pi * y) - np.log(y + theta))
    )
    return np.where(large, saddle, usual)


def best_theta(y, mean, weight, before):
    """Dispersion with the largest likelihood of counts (n,)."""

    def loss(theta):
        return -(weight @ negative_binomial(y, mean, theta))

    return best_positive(loss, LOG_DISPERSIONS, before)


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

    link, takes, discrete, support = "logit", "trials", True, (0.0, np.inf)
    dispersions = ()

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

    def evidence(self, size):
        """As many rows as there are trials."""
        return size

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

    def log_density(self, y, prediction, size=None):
        return binomial(y, np.broadcast_to(column(size), y.shape), prediction)

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-probability in the linear predictor."""
        return y - self.mean(prediction, size), self.variance_of(prediction, size)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        trials = np.broadcast_to(column(size), y.shape)
        return binomial_cdf(np.floor(y), trials, self.usable(prediction))

    def quantile(self, level, prediction, size=None):
        """Least count whose distribution function is at least ``level``."""
        chance = self.usable(prediction)
        trials = np.broadcast_to(column(size), chance.shape)
        mean = trials * chance
        spread = np.sqrt(mean * (1.0 - chance))
        guess = cornish_fisher(level, mean, spread, 1.0 - 2.0 * chance)
        return least_counts(binomial_cdf, level, [trials, chance], guess, trials)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        chance = self.usable(prediction)
        trials = np.broadcast_to(column(size), chance.shape)
        large = trials > LARGEST_DRAWN
        draws = rng.binomial(np.where(large, 1.0, trials).astype(int), chance)
        if not large.any():
            return draws.astype(float)
        return np.where(large, large_binomial_draws(trials, chance, rng), draws)


def binomial(y, trials, chance):
    """Log-probability of successes, accurate where there are many of both kinds."""
    ways = -np.log(trials + 1.0) - special.betaln(trials - y + 1.0, y + 1.0)
    log_fail = special.xlog1py(trials - y, -chance)
    usual = ways + special.xlogy(y, chance) + log_fail
    large = (y > LARGE) & (trials - y > LARGE)
    if not large.any():
        return usual
    y, trials = np.where(large, y, LARGE), np.where(large, trials, 2.0 * LARGE)
    left, lack = trials - y, trials * chance - y
    of_y = np.log(trials) - np.log(y) + np.log(chance)
    of_left = np.log(trials) - np.log(left) + np.log1p(-chance)
    saddle = (
        stirling_error(trials)
        - stirling_error(y)
        - stirling_error(left)
        - y * lag(lack / y, of_y)
        - left * lag(-lack / left, of_left)
        + 0.5 * (np.log(trials) - np.log(y) - np.log(left) - np.log(2.0 * np.pi))
    )
    return np.where(large, saddle, usual)


def large_binomial_draws(trials, chance, rng):
    """Draws for more trials than integers can count: Poisson or normal ones."""
    mean, rest = trials * chance, trials * (1.0 - chance)
    normal = mean + np.sqrt(rest * chance) * rng.standard_normal(mean.shape)
    few = poisson_draws(np.minimum(np.minimum(mean, rest), SMALLEST_NORMAL), rng)
    draws = np.where(mean < SMALLEST_NORMAL, few, np.rint(normal))
    draws = np.where(rest < SMALLEST_NORMAL, trials - few, draws)
    return np.clip(draws, 0.0, trials)
