"""Levels in order: grades, stars, stages."""

import numbers

import numpy as np
from scipy import optimize, special
from sklearn.base import clone

from ._base import Likelihood

# Least and largest logarithm of the distance between thresholds, in logits: where a
# level has no rows, its neighbours come that near.
LOG_GAPS = (-12.0, 4.0)


class Ordinal(Likelihood):
    """Levels 0, 1, 2, ... in order: the cumulative logit model, per expert.

    ``P(y <= j) = expit(thresholds_[j] - f(x))``, where f is the predictor of an expert
    [1]_.  The prediction of a mixture is the expected level; ``predict_mode`` is the
    most likely one of the most probable expert, ``predict_quantile`` gives levels, and
    ``exp(log_density(X, y))`` their probabilities.  Linear and additive experts follow
    it; others predict levels, and cannot.

    Parameters
    ----------
    n_levels : int, default=None
        Number of levels; None is one more than the largest in the rows of training.

    Attributes
    ----------
    thresholds_ : ndarray of shape (n_levels - 1,) or (n_outputs, n_levels - 1)
        In logits, rising; their mean is zero, since f has an intercept.
    n_parameters_ : float

    References
    ----------
    .. [1] McCullagh, P. (1980). Regression models for ordinal data. J. R. Stat. Soc. B
       42, 109-142.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> X = np.linspace(-2, 2, 60).reshape(-1, 1)
    >>> stars = np.digitize(X[:, 0] + np.sin(40 * X[:, 0]), [-1.0, 0.0, 1.0])
    >>> model = MoERegressor(n_experts=1, likelihood="ordinal").fit(X, stars)
    >>> bool(model.predict([[-2.0]]) < 1.0), model.predict_mode([[2.0]])
    (True, array([3.]))
    """

    discrete, support, is_latent = True, (0.0, np.inf), True

    def __init__(self, n_levels: int | None = None) -> None:
        self.n_levels = n_levels

    def check(self):
        """Raise ``ValueError`` for a number of levels that makes no sense."""
        known = isinstance(self.n_levels, numbers.Integral) and self.n_levels > 1
        if self.n_levels is not None and not known:
            raise ValueError(
                f"Ordinal got n_levels={self.n_levels!r}, but expected an integer > 1, "
                "or None to see it in y."
            )

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets that are no levels."""
        most = np.inf if self.n_levels is None else self.n_levels - 1
        wrong = (y < 0) | (y != np.floor(y)) | (y > most)
        if np.any(wrong):
            raise ValueError(
                f"Ordinal got y with the value {float(y[wrong].flat[0])!r}, but "
                f"expected levels 0, 1, 2, ... up to {most:g}; number the levels in "
                "their order, as sklearn.preprocessing.OrdinalEncoder does."
            )

    def predictor(self, y, size=None):
        """Levels around the middle one."""
        return y - 0.5 * y.max(axis=0)

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        n_levels = max(2, int(y.max()) + 1) if self.n_levels is None else self.n_levels
        rows, known = weight > 0, vars(previous or self).get("thresholds_")
        start = np.ones((y.shape[1], n_levels - 2))
        if known is not None and np.size(known) == start.size + len(start):
            start = np.diff(np.reshape(known, (len(start), -1)), axis=1)
        own = y[rows].astype(int), prediction[rows], weight[rows]
        found = [
            best_thresholds(own[0][:, j], own[1][:, j], own[2], start[j])
            for j in range(len(start))
        ]
        return self.with_thresholds(np.array(found))

    def with_thresholds(self, thresholds):
        """Fitted copy with thresholds (n_outputs, n_levels - 1)."""
        fitted, thresholds = clone(self), np.atleast_2d(thresholds)
        fitted.thresholds_ = thresholds[0] if len(thresholds) == 1 else thresholds
        fitted.n_parameters_ = float(thresholds.size - len(thresholds))
        return fitted

    def _cuts(self, prediction):
        """Thresholds less predictors, (n, n_outputs, n_levels - 1)."""
        return np.atleast_2d(self.thresholds_)[None] - prediction[:, :, None]

    def _around(self, y, prediction):
        """What is below and above the levels, in logits, and whether they are some."""
        cuts = self._cuts(prediction)
        ends = np.full((*prediction.shape, 1), np.inf)
        cuts = np.concatenate([-ends, cuts, ends], axis=2)
        n_levels = cuts.shape[2] - 1
        inside = (y >= 0) & (y < n_levels) & (y == np.floor(y))
        place = np.where(inside, y, 0.0).astype(int)[:, :, None]
        low, high = (np.take_along_axis(cuts, place + i, 2)[:, :, 0] for i in (0, 1))
        return low, high, inside

    def log_density(self, y, prediction, size=None):
        low, high, inside = self._around(y, prediction)
        return np.where(inside, log_between(low, high), -np.inf)

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-probability in the predictor."""
        low, high, _ = self._around(y, prediction)
        low, high = special.expit(low), special.expit(high)
        return low + high - 1.0, low * (1.0 - low) + high * (1.0 - high)

    def mean(self, prediction, size=None):
        """Expected level, (n, n_outputs)."""
        return special.expit(-self._cuts(prediction)).sum(axis=2)

    def variance_of(self, prediction, size=None):
        """Variance of the level, (n, n_outputs)."""
        above = special.expit(-self._cuts(prediction))
        square = above @ (2.0 * np.arange(above.shape[2]) + 1.0)
        return np.maximum(square - above.sum(axis=2) ** 2, 0.0)

    def mode_of(self, prediction, size=None):
        """Most likely level, (n, n_outputs)."""
        cuts = self._cuts(prediction)
        levels = np.arange(cuts.shape[2] + 1.0)
        shape = prediction.shape
        each = [self.log_density(np.full(shape, level), prediction) for level in levels]
        return np.argmax(each, axis=0).astype(float)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        cuts = self._cuts(prediction)
        n_cuts = cuts.shape[2]
        place = np.clip(np.floor(y), 0, n_cuts - 1).astype(int)[:, :, None]
        below = special.expit(np.take_along_axis(cuts, place, 2)[:, :, 0])
        return np.where(y < 0, 0.0, np.where(y >= n_cuts, 1.0, below))

    def quantile(self, level, prediction, size=None):
        """Least level whose distribution function is at least ``level``."""
        below = special.expit(self._cuts(prediction))
        level = np.broadcast_to(np.asarray(level, dtype=float), prediction.shape)
        return (below < level[:, :, None]).sum(axis=2).astype(float)


def log_between(low, high):
    """Logarithms of ``expit(high) - expit(low)``."""
    with np.errstate(divide="ignore"):
        rest = np.log(-np.expm1(low - high))
    return special.log_expit(high) + special.log_expit(-low) + rest


def best_thresholds(y, prediction, weight, gaps):
    """Thresholds of mean zero with the largest likelihood of levels (n,)."""
    n_cuts = len(gaps) + 1
    if n_cuts == 1:
        return np.zeros(1)
    # Thresholds are sums of gaps, less their mean.
    sums = np.tril(np.ones((n_cuts, n_cuts)), -1)[:, :-1]
    sums = sums - sums.mean(axis=0)

    def loss(log_gaps):
        own = np.exp(log_gaps)
        cuts = np.concatenate([[-np.inf], sums @ own, [np.inf]])
        low, high = cuts[y] - prediction, cuts[y + 1] - prediction
        value = weight @ log_between(low, high)
        gap = np.append(np.insert(own, 0, np.inf), np.inf)[y]
        # Of the common factor 1 - exp(-gap), and of both ends.
        shared = 1.0 / np.expm1(gap)
        lower = np.bincount(y, weight * (-special.expit(low) - shared), n_cuts + 1)
        upper = np.bincount(y, weight * (special.expit(-high) + shared), n_cuts + 1)
        slope = (upper[:-1] + lower[1:]) @ sums
        return -value / weight.sum(), -slope * own / weight.sum()

    found = optimize.minimize(
        loss,
        np.clip(np.log(gaps), *LOG_GAPS),
        jac=True,
        method="L-BFGS-B",
        bounds=[LOG_GAPS] * (n_cuts - 1),
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    return sums @ np.exp(found.x)
