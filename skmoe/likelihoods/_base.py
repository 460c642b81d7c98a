"""What a family of densities owes, and what follows from that."""

from __future__ import annotations

import copy

import numpy as np
from sklearn.base import clone

from .._numerics.bisection import LARGEST, MOST_HALVINGS, bounded, middle
from .._numerics.design import weighted_moments
from .._stamp import Stamped
from ._links import (
    INVERSE_LINKS,
    LARGEST_PREDICTOR,
    LINKS,
    RANGES,
    clipped_exp,
    positive,
)

# Smallest variance where no unit is known.
LEAST_VARIANCE = 1e-12
# Step of numerical derivatives, on the scale of the linear predictor.
DIFFERENCE = 1e-4


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


def is_listed(likelihood):
    """Whether experts have families of their own."""
    return isinstance(likelihood, (list, tuple, dict))


class Likelihood(Stamped):
    """Base of densities of y around the prediction of an expert.

    A family of its own is a subclass.  It owes

    ``log_density(y, prediction, size)``
        logarithm of the density, or of the probability, of each output;
    ``variance_of(prediction, size)``, ``cdf(y, prediction, size)``
        for intervals and standard deviations;
    ``mean(prediction, size)``
        unless the mean is the prediction (times the size);
    ``fit_one(y, prediction, weight, ...)``
        if it has parameters of its own, such as a dispersion;

    and says by class attributes what it is: ``link``, ``support``, ``discrete``,
    ``takes``.  All else follows from these, numerically where need be: ``derivatives``,
    ``quantile`` and ``sample`` may be given for speed, ``predictor`` for a better
    start.  Linear experts then fit it under EM and hard EM by Newton steps through
    the link, and other experts to rows that count for ``row_weight``.  Training by
    gradient is for :class:`Gaussian`, in two stages also for
    :class:`HeteroscedasticGaussian`.

    Arrays are ``y`` and ``prediction`` (n, n_outputs) and ``size`` (n,): the exposure
    of a row, or its number of trials, by which the mean is the prediction; None for
    one.  Outputs are independent given the expert, unless a family says otherwise.

    Attributes
    ----------
    n_parameters_ : float
        Free parameters of a fitted likelihood.
    floored_ : bool
        Whether the fitted dispersion is the least, or the most, that is allowed.

    Examples
    --------
    A normal density whose standard deviation is known:

    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.likelihoods import Likelihood
    >>> class KnownNormal(Likelihood):
    ...     def __init__(self, sigma=1.0):
    ...         self.sigma = sigma
    ...
    ...     def log_density(self, y, prediction, size=None):
    ...         z = (y - prediction) / self.sigma
    ...         return -0.5 * z**2 - np.log(self.sigma * np.sqrt(2 * np.pi))
    ...
    ...     def variance_of(self, prediction, size=None):
    ...         return np.full(prediction.shape, self.sigma**2)
    >>> X = np.linspace(0, 1, 50).reshape(-1, 1)
    >>> model = MoERegressor(n_experts=2, likelihood=KnownNormal(0.1))
    >>> bool(model.fit(X, np.abs(X[:, 0] - 0.5)).score(X, np.abs(X[:, 0] - 0.5)) > 0.9)
    True
    """

    #: Link between linear predictor and prediction: "identity", "log" or "logit".
    link = "identity"
    #: Interval of y: an open one, but for the ends of counts.
    support = (-np.inf, np.inf)
    #: Whether y are counts.
    discrete = False
    #: Value at the lower end of the support that has a probability of its own, or None.
    atom = None
    #: Whether predictions are no values of y, so that only experts serve that follow
    #: the likelihood itself.
    is_latent = False
    #: Name of what rows may bring along: None, "offset" (its log) or "trials".
    takes = None
    #: Free parameters of a fitted likelihood.
    n_parameters_ = 0.0
    #: Whether the fitted dispersion is the least, or the most, that is allowed.
    floored_ = False
    #: Whether the ridge of linear experts scales with the dispersion.
    scales_ridge = False
    #: Covariance of several outputs given the expert: each has its own, or "full".
    covariance = "diag"
    #: Whether the best location is that of weighted least squares.
    least_squares = False
    #: Whether the logarithm of the density is a parabola in the location.
    is_parabola = False
    #: Whether the fused EM, of linear experts, knows it.
    has_fused_pass = False
    #: Whether the variance of a row is predicted by a model within each expert.
    models_variance = False
    #: Family without the dispersion, which this one tends to: its optimum is one of the
    #: starts, since a dispersion may swallow the regimes that the limit tells apart.
    limit = None
    #: Whether experts have different families.
    differs = False
    #: Unfitted model of the variance that was asked for, if there is one.
    model = None
    #: Fitted model of the variance, if there is one.
    model_ = None
    #: Whether it is the density of a component without an expert: noise, or zeros.
    is_bare = False
    #: Whether it is the density of the noise component, which predictions leave out.
    is_noise = False
    #: Whether all experts share its dispersion.
    pooled = False
    #: Names of the positive attributes that are its dispersions, which sums over rows
    #: can improve one by one; None where it has others.
    dispersions = None

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets outside the support."""
        low, high = self.support
        if self.discrete:
            wrong = (y < low) | (y > high) | (y != np.floor(y))
            wanted = f"whole numbers from {low:g} to {high:g}"
        else:
            wrong = (y <= low) | (y >= high)
            wanted = f"numbers between {low:g} and {high:g}"
        if np.any(wrong):
            raise ValueError(
                f"{type(self).__name__} got y with the value "
                f"{float(y[wrong].flat[0])!r}, but expected {wanted}; use another "
                "likelihood, such as 'gaussian', or drop those rows."
            )

    # -- what a family is -----------------------------------------------------

    def log_density(self, y, prediction, size=None):
        """Log-density, or log-probability, of each output, (n, n_outputs)."""
        raise NotImplementedError(f"{type(self).__name__} owes log_density.")

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        raise NotImplementedError(f"{type(self).__name__} owes variance_of.")

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        raise NotImplementedError(
            f"{type(self).__name__} has no cdf, which quantiles, intervals and draws "
            "are made of; give it one, or use another likelihood."
        )

    def mean(self, prediction, size=None):
        """Mean of y, (n, n_outputs): the prediction, times the size of the row."""
        prediction = self.usable(prediction)
        if size is None:
            return prediction
        mean = prediction * size[:, None]
        return positive(mean) if self.link == "log" else mean

    def mode_of(self, prediction, size=None):
        """What stands for an expert where one value does, (n, n_outputs): the mean."""
        return self.mean(prediction, size)

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        """Fitted copy for one expert; here without a dispersion.

        Parameters
        ----------
        y, prediction : ndarray of shape (n, n_outputs)
        weight : ndarray of shape (n,)
            At least one of them positive, unless ``previous`` is None.
        prior : ndarray of shape (n_outputs,)
            What penalties add to the sums of squared residuals.
        size : ndarray of shape (n,) or None
        previous : fitted likelihood of the expert, or None
            Where to start from.
        spread : ndarray of shape (n_outputs,)
            Variance of y, to which a floor may refer.

        Returns
        -------
        fitted copy
            ``clone(self)`` with fitted attributes, ``n_parameters_`` among them.
        """
        return clone(self)

    # -- what follows from it -------------------------------------------------

    def usable(self, prediction):
        """Predictions within the range of the mean, as the link has it."""
        return RANGES[self.link](prediction)

    def size_of(self, given):
        """Size of rows from what the user gives: an offset is the log of exposure."""
        return clipped_exp(given)

    def predictor(self, y, size=None):
        """Targets on the scale of the linear predictor, to start from."""
        return LINKS[self.link](self.usable(y / column(size)))

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-density in the linear predictor, by output.

        The curvature is positive where the logarithm curves downwards.  By
        differences, unless a family knows better; where it curves upwards, the
        curvature is the square of the slope.
        """
        prediction = self.usable(prediction)
        step = DIFFERENCE * np.ones(prediction.shape)
        if self.link == "identity":
            step = step * np.sqrt(self.variance_of(prediction, size))
        at = LINKS[self.link](prediction)
        shifted = (INVERSE_LINKS[self.link](at + own) for own in (-step, 0.0, step))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            low, here, high = (
                self.log_density(y, self.usable(own), size) for own in shifted
            )
            slope = np.nan_to_num((high - low) / (2.0 * step), posinf=0.0, neginf=0.0)
            curvature = np.nan_to_num((2.0 * here - low - high) / step**2, posinf=0.0)
        return slope, np.where(curvature > 0, curvature, slope**2)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``.

        By halving, unless a family knows better; counts are the least that do.
        """
        level = np.broadcast_to(np.asarray(level, dtype=float), prediction.shape)
        ends = [np.clip(end, -LARGEST, LARGEST) for end in self.support]
        low, high = (np.full(prediction.shape, float(end)) for end in ends)
        low -= 1.0 if self.discrete else 0.0
        for _ in range(MOST_HALVINGS):
            at = middle(low, high)
            at = np.maximum(np.floor(at), low + 1.0) if self.discrete else at
            with np.errstate(over="ignore", divide="ignore"):
                below = self.cdf(at, prediction, size) < level
            low, high = np.where(below, at, low), np.where(below, high, at)
        high = np.where(level > 0, high, self.support[0])
        return np.where(level < 1, high, self.support[1])

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together.

        Quantiles at random levels, unless a family knows better.
        """
        return self.quantile(rng.uniform(size=prediction.shape), prediction, size)

    def log_prob(self, y, prediction, size=None):
        """Log-density, or log-probability, of rows, summed over outputs, (n,)."""
        return self.log_density(y, self.usable(prediction), size).sum(axis=1)

    def marginal_density(self, y, prediction, size=None):
        """Density of each output by itself, (n, n_outputs)."""
        logarithm = self.log_density(y, self.usable(prediction), size)
        # The density of a spread near zero may leave the range of doubles.
        return np.exp(np.minimum(logarithm, LARGEST_PREDICTOR))

    @property
    def free_dispersions(self):
        """Names of the positive attributes that are estimated, whoever shares them.

        None where it has other parameters, too.
        """
        return None if self.models_variance else self.dispersions

    # -- what it is to experts and trainers -----------------------------------

    def of_expert(self, number):
        """The family of an expert, by number: here the same for all."""
        return self

    def of_experts(self, kept):
        """The families of some of the experts: here the same for any."""
        return self

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
            Where to start from; an expert without rows keeps what it had.
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
        columns = zip(predictions, weights.T, priors, previous, strict=True)
        common = {"size": size, "spread": spread}
        fitted = []
        for at, weight, prior, old in columns:
            if old is None and not weight.sum() > 0:
                # An expert without rows starts from all.
                weight = np.ones(len(y))
            if self.keeps(old, weight):
                fitted.append(old)
                continue
            if not weight.all():
                # What stands in rows without weight must lose nothing.
                at = np.where(weight[:, None] > 0, at, y / column(size))
            own = {"prior": prior, "previous": old, **common}
            fitted.append(self.fit_one(y, self.usable(at), weight, **own))
        return fitted

    def dispersion_limits(self, spread):
        """Least and largest logarithms (m, n_outputs) of the ``dispersions``.

        ``spread`` (n_outputs,) are variances of y, to which a floor may refer.
        """
        shape = len(self.dispersions), len(spread)
        return np.full(shape, -np.inf), np.full(shape, np.inf)

    def with_dispersions(self, values, floored):
        """A copy of a fitted likelihood with other dispersions (m, n_outputs)."""
        fitted = copy.copy(self)
        for name, own in zip(self.free_dispersions, values, strict=True):
            setattr(fitted, name, unboxed(own))
        fitted.floored_ = floored
        return fitted

    def keeps(self, previous, weight):
        """Whether an expert has no rows, and so keeps the likelihood it had."""
        return previous is not None and not weight.sum() > 0


def limits(bounds, n_outputs):
    """Limits (1, n_outputs) of one dispersion, the same for all outputs."""
    return tuple(np.full((1, n_outputs), end) for end in bounds)


def column(size):
    """``size`` as a column that multiplies (n, n_outputs); one for None."""
    return 1.0 if size is None else size[:, None]
