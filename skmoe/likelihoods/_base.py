"""What all likelihoods share: links, supports, and dispersions one by one."""

import numpy as np
from scipy import special
from sklearn.base import clone

from .._numerics.bisection import bounded
from .._numerics.design import weighted_moments
from .._stamp import Stamped

# Linear predictors beyond this leave the range of doubles.
LARGEST_PREDICTOR = 700.0
# Least and largest means of a positive family. Units of y and of exposure are
# arbitrary, so only what would leave the range of doubles is out of it.
LEAST_MEAN, LARGEST_MEAN = np.exp(-LARGEST_PREDICTOR), np.exp(LARGEST_PREDICTOR)
# Smallest variance where no unit is known.
LEAST_VARIANCE = 1e-12


def identity(value):
    """The value itself: the link of families on the whole line."""
    return value


def clipped_exp(predictor):
    """Exponential of a linear predictor that stays within the range of doubles."""
    return np.exp(np.clip(predictor, -LARGEST_PREDICTOR, LARGEST_PREDICTOR))


#: Means as functions of linear predictors.
INVERSE_LINKS = {
    "identity": identity,
    "log": clipped_exp,
    "logit": special.expit,
}


def positive(values):
    """Means of a positive family, brought into their range."""
    return np.clip(values, LEAST_MEAN, LARGEST_MEAN)


def located(level, location, z, scale):
    """Quantiles ``location + z * scale``, finite but where the level is 0 or 1."""
    with np.errstate(over="ignore"):
        inner = bounded(location + bounded(z * np.asarray(scale)))
    ends = (np.asarray(level) <= 0) | (np.asarray(level) >= 1)
    return np.where(ends, np.broadcast_to(z, inner.shape), inner)


def weighted_variance(y, weight):
    """Variance of each output over weighted rows, shape (n_outputs,).

    Where noise has taken all rows, they count alike.
    """
    if not weight.sum() > 0:
        weight = np.ones(len(y))
    return weighted_moments(y, weight)[1] ** 2


def rounding_variance(y):
    """Squares (n_outputs,) of residuals that say no more than how y was rounded."""
    return (4.0 * np.finfo(float).eps * np.abs(y).max(axis=0)) ** 2


def least_variance(floor, spread, y):
    """Smallest variances (n_outputs,): a fraction of those of y, above its rounding.

    Rows that are all alike leave no spread, and their rounding may be zero.
    """
    least = np.maximum(floor * np.asarray(spread), rounding_variance(y))
    return np.where(least > np.finfo(float).tiny, least, max(floor, LEAST_VARIANCE))


def unboxed(values):
    """A float for one output, the array itself for several."""
    values = np.asarray(values, dtype=float)
    return float(values[0]) if values.size == 1 else values


class Likelihood(Stamped):
    """Base of densities of y around the prediction of an expert.

    Arrays are ``y`` and ``prediction`` (n, n_outputs) and ``size`` (n,): the exposure
    of a row, or its number of trials, by which the mean is the prediction; None for
    one.  Outputs are independent given the expert, unless a family says otherwise.
    """

    #: Link between linear predictor and prediction.
    link = "identity"
    #: Name of what rows may bring along: None, "offset" (its log) or "trials".
    takes = None
    #: Whether y are counts.
    discrete = False
    #: Whether the fitted dispersion is the least, or the most, that is allowed.
    floored_ = False
    #: Whether the ridge of linear experts scales with the dispersion.
    scales_ridge = False
    #: Covariance of several outputs given the expert: each has its own, or "full".
    covariance = "diag"
    #: Whether it is a normal density, around which gradients and two stages are built.
    is_normal = False
    #: Whether the best location is that of weighted least squares.
    least_squares = False
    #: Whether the fused EM, of linear experts, knows it.
    has_fused_pass = False
    #: Whether the variance of a row is predicted by a model within each expert.
    models_variance = False
    #: Whether it is the density of the noise component.
    is_noise = False
    #: Fitted model of the variance, if there is one.
    model_ = None

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets outside the support."""

    def size_of(self, given):
        """Size of rows from what the user gives: an offset is the log of exposure."""
        return clipped_exp(given)

    def predictor(self, y, size=None):
        """Targets on the scale of the linear predictor, to start from."""
        return y

    def usable(self, prediction):
        """Predictions within the range of the mean."""
        return prediction

    def mean(self, prediction, size=None):
        """Mean of y, (n, n_outputs)."""
        prediction = self.usable(prediction)
        return prediction if size is None else prediction * size[:, None]

    def row_weight(self, y, prediction):
        """What a row counts for an expert that minimises squares; None for one."""
        return None

    def at(self, view):
        """The density of the rows of a view: here the same as of any."""
        return self

    def on_rows(self, rows):
        """The density of some of the rows of a view."""
        return self

    def weighing(self, size):
        """What the size of a row multiplies its weight by, for any expert."""
        return None

    def evidence(self, size):
        """Rows of evidence (n,) that a row of some size is; None for one."""
        return None

    def penalty(self):
        """Penalty in nats that a fitted likelihood pays, besides that of the expert."""
        return 0.0

    def penalty_variance(self, n_outputs):
        """By what a ridge penalty is divided to become nats, (n_outputs,)."""
        return np.ones(n_outputs)

    def fit_dispersions(
        self,
        y,
        predictions,
        weights,
        *,
        priors=None,
        size=None,
        previous=None,
        spread=None,
    ):
        """One fitted copy per expert.

        Parameters
        ----------
        y : ndarray of shape (n, n_outputs)
        predictions : list of K ndarrays of shape (n, n_outputs)
        weights : ndarray of shape (n, K)
            Responsibilities times sample weights.
        priors : list of K ndarrays of shape (n_outputs,), default=None
            What penalties add to the residual sums of squares of each expert.
        size : ndarray of shape (n,), default=None
        previous : list of K fitted likelihoods, default=None
            Where to start from.
        spread : ndarray of shape (n_outputs,), default=None
            Variance of y that floors refer to; None is that of the weighted rows.

        Returns
        -------
        list of K fitted likelihoods
        """
        n_experts, d = weights.shape[1], y.shape[1]
        if spread is None:
            spread = weighted_variance(y, weights.sum(axis=1))
        priors = [np.zeros(d)] * n_experts if priors is None else priors
        previous = [None] * n_experts if previous is None else previous
        # An expert without rows starts from all.
        start = [w if w.sum() > 0 else np.ones(len(y)) for w in weights.T]
        given = zip(weights.T, start, previous, strict=True)
        own_weights = [w if old is not None else new for w, new, old in given]
        columns = zip(predictions, own_weights, priors, previous, strict=True)
        return [
            self._fit_one(y, self.usable(at), own, prior, size, before, spread)
            for at, own, prior, before in columns
        ]

    def _fit_one(self, y, prediction, weight, prior, size, previous, spread):
        """Fitted copy for one expert; here without a dispersion."""
        if self._keeps(previous, weight):
            return previous
        fitted = clone(self)
        fitted.n_parameters_, fitted.floored_ = 0.0, False
        return fitted

    def _keeps(self, previous, weight):
        """Whether an expert has no rows, and so keeps what it had."""
        return previous is not None and not weight.sum() > 0

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        raise NotImplementedError

    def log_prob(self, y, prediction, size=None):
        """Log-density, or log-probability, of rows, summed over outputs, (n,)."""
        return self._log_density(y, self.usable(prediction), size).sum(axis=1)

    def marginal_density(self, y, prediction, size=None):
        """Density of each output by itself, (n, n_outputs)."""
        logarithm = self._log_density(y, self.usable(prediction), size)
        # The density of a spread near zero may leave the range of doubles.
        return np.exp(np.minimum(logarithm, LARGEST_PREDICTOR))


def column(size):
    """``size`` as a column that multiplies (n, n_outputs); one for None."""
    return 1.0 if size is None else size[:, None]
