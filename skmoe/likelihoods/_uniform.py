"""A constant density for rows that no expert explains."""

import numpy as np
from sklearn.base import clone

from ._base import Likelihood, unboxed


class Uniform(Likelihood):
    """Uniform density over the range of y in training: the noise component.

    It is that of the integers in the range where y are counts, and zero outside, where
    only experts have a density.  The height of the density is what decides whether a
    row is an outlier, also far outside [1]_.

    Attributes
    ----------
    low_, high_ : float or ndarray of shape (n_outputs,)
        Range of y, in its units.
    n_parameters_ : float
        One, the volume of the range, as in [1]_.

    References
    ----------
    .. [1] Murphy, K., Murphy, T. B. (2020). Gaussian parsimonious clustering models
       with covariates and a noise component. Adv. Data Anal. Classif. 14.

    Examples
    --------
    >>> from skmoe.likelihoods import Uniform
    >>> Uniform()
    Uniform()
    """

    is_bare = is_noise = True
    dispersions = ()

    def with_range(self, y, discrete=False):
        """Fitted copy for the range of ``y`` (n, n_outputs), maybe of counts."""
        fitted = clone(self)
        low, high = y.min(axis=0), y.max(axis=0)
        fitted.low_ = unboxed(low)
        spread = discrete | (high > low)
        fitted.high_ = unboxed(np.where(spread, high, low + 1.0))
        fitted.n_parameters_, fitted.floored_ = 1.0, False
        fitted.counts_ = discrete
        return fitted

    def _width(self, n_outputs):
        """Length of the range, or how many counts are in it."""
        width = np.subtract(self.high_, self.low_) + self.counts_
        return np.broadcast_to(width, n_outputs)

    def mean(self, prediction, size=None):
        """Middle of the range, around what a shared expert predicts."""
        return prediction + (np.asarray(self.low_) + self.high_) / 2.0

    def variance_of(self, prediction, size=None):
        """Variance of the range, (n, n_outputs)."""
        width = self._width(prediction.shape[1])
        return np.broadcast_to((width**2 - self.counts_) / 12.0, prediction.shape)

    def log_height(self):
        """Logarithm of the density within the range."""
        return -float(np.log(self._width(np.size(self.low_))).sum())

    def log_density(self, y, prediction, size=None):
        y = y - prediction
        inside = (y >= self.low_) & (y <= self.high_)
        return np.where(inside, -np.log(self._width(y.shape[1])), -np.inf)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        below = y - prediction - self.low_
        if self.counts_:
            below = np.floor(below) + 1.0
        return np.clip(below / self._width(y.shape[1]), 0.0, 1.0)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        above = level * self._width(prediction.shape[1])
        if self.counts_:
            above = np.maximum(np.ceil(above) - 1.0, 0.0)
        return prediction + self.low_ + above

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        width = self._width(prediction.shape[1])
        draws = width * rng.uniform(size=prediction.shape)
        return prediction + self.low_ + (np.floor(draws) if self.counts_ else draws)
