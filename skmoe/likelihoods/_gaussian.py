"""Normal densities."""

from __future__ import annotations

import numpy as np
from scipy import linalg, special
from sklearn.base import clone

from .._kernels.objectives import LOG_2PI
from .._numerics.bisection import bounded
from ..exceptions import did_you_mean
from ._base import Likelihood, located, unboxed, weighted_variance

# Smallest eigenvalue, per output, with which a covariance can be inverted.
SINGULAR = 1e-14


def _scatter(error, weight):
    return (weight[:, None] * error).T @ error


def _covariance(error, weight, prior):
    """Of errors (n, d), with what a penalty adds; of all rows where none has weight."""
    mass = weight.sum()
    if not mass > 0:
        return _scatter(error, np.ones(len(error))) / len(error)
    return (_scatter(error, weight) + np.diag(prior)) / mass


def _pooled(errors, weights, priors):
    """Covariance of the errors of all experts together."""
    scatter = sum(map(_scatter, errors, weights.T)) + np.diag(sum(priors))
    return scatter / np.maximum(weights.sum(), np.finfo(float).tiny)


class Gaussian(Likelihood):
    """Normal density around the prediction of an expert.

    Parameters
    ----------
    variance : {"expert", "shared"}, default="expert"
        Whether every expert has its own variance or all share one.
    covariance : {"diag", "spherical", "full"}, default="diag"
        Covariance of several outputs given the expert; no matter for one output.
        The fused EM serves ``"diag"``; the others are fitted by the general EM.
    floor : float, default=1e-6
        Smallest variance, as a fraction of the variance of y.  It keeps the
        likelihood bounded when an expert fits its rows exactly.

    Attributes
    ----------
    sigma_ : float or ndarray of shape (n_outputs,)
        Standard deviation, in units of y.
    covariance_ : ndarray of shape (n_outputs, n_outputs)
        With ``covariance="full"`` only, in place of ``sigma_``'s diagonal.
    n_parameters_ : float
        Free parameters; a shared variance counts in parts.
    floored_ : bool
        Whether only ``floor`` keeps a variance from going to zero.

    Examples
    --------
    >>> from skmoe.likelihoods import Gaussian
    >>> Gaussian(variance="shared")
    Gaussian(variance='shared')
    """

    least_squares = scales_ridge = True

    def __init__(
        self, variance: str = "expert", covariance: str = "diag", floor: float = 1e-6
    ) -> None:
        self.variance = variance
        self.covariance = covariance
        self.floor = floor

    @property
    def has_fused_pass(self):
        """Whether the fused EM knows it: outputs one by one."""
        return self.covariance == "diag"

    @property
    def dispersions(self):
        """Its standard deviation, where each expert and output has its own."""
        alone = self.variance == "expert" and self.covariance == "diag"
        return ("sigma_",) if alone else None

    @property
    def free_dispersions(self):
        """Its standard deviation, where each output has its own."""
        return ("sigma_",) if self.covariance == "diag" else None

    @property
    def pooled(self):
        """Whether all experts share its variance."""
        return self.variance == "shared"

    def dispersion_limits(self, spread):
        """Floors of the standard deviations."""
        low = 0.5 * np.log(np.maximum(self.floor * spread, np.finfo(float).tiny))
        return low[None], np.full((1, len(spread)), np.inf)

    @property
    def _full(self):
        """Covariance of the outputs, None where each has its own variance."""
        return vars(self).get("covariance_")

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        choices = {
            "variance": ("expert", "shared"),
            "covariance": ("diag", "spherical", "full"),
        }
        for name, allowed in choices.items():
            value = vars(self)[name]
            if value not in allowed:
                raise ValueError(
                    f"Gaussian got {name}={value!r}, but expected one of {allowed}"
                    + did_you_mean(value, allowed)
                )
        if not 0 <= self.floor < 1:
            raise ValueError(
                f"Gaussian got floor={self.floor!r}, but expected a fraction of the "
                "variance of y in [0, 1); the default is 1e-6."
            )

    def with_sigma(self, sigma, n_experts, floored=False):
        """Fitted copy with standard deviations ``sigma`` (n_outputs,)."""
        fitted = clone(self)
        fitted.floored_ = floored
        sigma = np.asarray(sigma, dtype=float)
        fitted.sigma_ = unboxed(sigma)
        free = 1 if self.covariance == "spherical" else sigma.size
        fitted.n_parameters_ = free / (n_experts if self.variance == "shared" else 1)
        return fitted

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
        """One fitted copy per expert; see :meth:`Likelihood.fit_dispersions`."""
        if spread is None:
            spread = weighted_variance(y, weights.sum(axis=1))
        n_experts = weights.shape[1]
        previous = [None] * n_experts if previous is None else previous
        priors = [np.zeros(y.shape[1])] * n_experts if priors is None else priors
        errors = [y - at for at in predictions]
        fit = self._with_full if self.covariance == "full" else self._with_diagonal
        if self.variance == "shared":
            shared = _pooled(errors, weights, priors)
            return [fit(shared, spread, n_experts) for _ in errors]
        return [
            old
            if self.keeps(old, weight)
            else fit(_covariance(error, weight, prior), spread, n_experts)
            for old, error, weight, prior in zip(
                previous, errors, weights.T, priors, strict=True
            )
        ]

    def _with_diagonal(self, covariance, spread, n_experts):
        variance = np.diag(covariance)
        if self.covariance == "spherical":
            variance = np.full_like(variance, variance.mean())
            spread = np.full_like(spread, spread.mean())
        floor = np.maximum(self.floor * spread, np.finfo(float).tiny)
        sigma = np.sqrt(np.maximum(variance, floor))
        return self.with_sigma(sigma, n_experts, bool(np.any(variance < floor)))

    def _with_full(self, covariance, spread, n_experts):
        """Eigenvalues, relative to the spread of y, are kept above the floor."""
        scale = np.sqrt(np.where(spread > 0, spread, 1.0))
        values, vectors = linalg.eigh(covariance / np.outer(scale, scale))
        floor = max(self.floor, SINGULAR * len(scale))
        floored = bool(values[0] < floor)
        if floored:
            root = vectors * np.sqrt(np.maximum(values, floor)) * scale[:, None]
            covariance = root @ root.T
        fitted = self.with_sigma(np.sqrt(np.diag(covariance)), n_experts, floored)
        fitted.covariance_ = covariance
        d = len(scale)
        shared = n_experts if self.variance == "shared" else 1
        fitted.n_parameters_ = d * (d + 1) / 2 / shared
        return fitted

    def log_density(self, y, prediction, size=None):
        """Log-density of each output by itself, (n, n_outputs)."""
        sigma = self._sigmas(prediction.shape[1])
        with np.errstate(over="ignore"):
            square = ((y - prediction) / sigma) ** 2
        return -0.5 * (square + LOG_2PI) - np.log(sigma)

    def log_prob(self, y, prediction, size=None):
        """Log-density of rows ``y`` (n, n_outputs) given predictions of that shape."""
        error = y - prediction
        if self._full is not None:
            factor = linalg.cholesky(self._full, lower=True)
            error = linalg.solve_triangular(factor, error.T, lower=True).T
            log_scale = np.log(np.diag(factor)).sum()
        else:
            sigma = np.broadcast_to(self.sigma_, error.shape[1])
            error = error / sigma
            log_scale = np.log(sigma).sum()
        quadratic = np.einsum("ij,ij->i", error, error)
        return -0.5 * (quadratic + error.shape[1] * LOG_2PI) - log_scale

    def _sigmas(self, n_outputs):
        if self._full is not None:
            return np.sqrt(np.diag(self._full))
        return np.broadcast_to(self.sigma_, n_outputs)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, shape (n, n_outputs)."""
        with np.errstate(over="ignore"):
            return special.ndtr((y - prediction) / self._sigmas(prediction.shape[1]))

    def marginal_density(self, y, prediction, size=None):
        """Density of each output by itself, shape (n, n_outputs)."""
        sigma = self._sigmas(prediction.shape[1])
        with np.errstate(over="ignore"):
            square = ((y - prediction) / sigma) ** 2
        return np.exp(-0.5 * (square + LOG_2PI)) / sigma

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        sigma = self._sigmas(prediction.shape[1])
        return located(level, prediction, special.ndtri(level), sigma)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        noise = rng.standard_normal(prediction.shape)
        if self._full is not None:
            return bounded(prediction + noise @ linalg.cholesky(self._full))
        return bounded(prediction + noise * self._sigmas(prediction.shape[1]))

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-density in the location, output by output."""
        precision = 1.0 / self.penalty_variance(y.shape[1])
        slope = (y - prediction) * precision
        return slope, np.broadcast_to(precision, slope.shape)

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        variance = self.penalty_variance(prediction.shape[1])
        return np.broadcast_to(variance, prediction.shape)

    def penalty_variance(self, n_outputs):
        """Variance of each output around the prediction, shape (n_outputs,)."""
        if self._full is not None:
            return np.diag(self._full)
        return np.broadcast_to(np.square(self.sigma_), n_outputs)
