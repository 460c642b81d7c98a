"""Heavy tails: densities that forgive outliers."""

from __future__ import annotations

import numpy as np
from scipy import special
from sklearn.base import clone

from .._numerics.bisection import bounded, inverse
from ._base import Likelihood, least_variance, limits, located, unboxed
from ._search import best_positive

# Degrees of freedom that are told apart: beyond, the density is a normal one.
LOG_DF = (0.0, np.log(1e6))
# Sweeps over scale and degrees of freedom without earlier ones to start from.
FIRST_SWEEPS = 10
FIRST_DF = 10.0
# Residuals below this share of the scale count as that much in a median's weights.
LEAST_RESIDUAL = 1e-4
# Squares beyond this multiple of the degrees of freedom leave only a power in the tail.
POWER_TAIL = 1e17


def check_floor(likelihood):
    """Raise ``ValueError`` for a floor that is no fraction."""
    if not 0 <= likelihood.floor < 1:
        raise ValueError(
            f"{type(likelihood).__name__} got floor={likelihood.floor!r}, but expected "
            "a fraction of the variance of y in [0, 1); the default is 1e-6."
        )


def scale_limits(floor, spread):
    """Least and largest logarithms (1, n_outputs) of a scale."""
    low = 0.5 * np.log(np.maximum(floor * spread, np.finfo(float).tiny))
    return low[None], np.full((1, len(spread)), np.inf)


class StudentT(Likelihood):
    """Student's t around the prediction of an expert; outliers count for little.

    The prediction is the location.  Its M-step weighs rows by the latent precision of
    the t as a scale mixture of normals, so that any expert that minimises weighted
    squares will do [1]_; the degrees of freedom maximise the likelihood itself [2]_.

    Parameters
    ----------
    df : float, default=None
        Degrees of freedom; None estimates those of each expert, between 1 and 1e6.
    floor : float, default=1e-6
        Smallest squared scale, as a fraction of the variance of y.

    Attributes
    ----------
    sigma_ : float or ndarray of shape (n_outputs,)
        Scale, in units of y; the standard deviation is larger.
    df_ : float or ndarray of shape (n_outputs,)
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps a scale from going to zero.

    References
    ----------
    .. [1] Chamroukhi, F. (2016). Robust mixture of experts modeling using the t
       distribution. Neural Networks 79.
    .. [2] Liu, C., Rubin, D. B. (1995). ML estimation of the t distribution using EM
       and its extensions, ECM and ECME. Statistica Sinica 5.

    Examples
    --------
    >>> from skmoe.likelihoods import StudentT
    >>> StudentT(df=4)
    StudentT(df=4)
    """

    scales_ridge = True

    def __init__(self, df: float | None = None, floor: float = 1e-6) -> None:
        self.df = df
        self.floor = floor

    @property
    def dispersions(self):
        """Its scale, and degrees of freedom that are not given."""
        return ("sigma_", "df_") if self.df is None else ("sigma_",)

    def dispersion_limits(self, spread):
        """Floors of the scale, and degrees of freedom that are told apart."""
        own, df = scale_limits(self.floor, spread), limits(LOG_DF, len(spread))
        if self.df is not None:
            return own
        return tuple(np.vstack(each) for each in zip(own, df, strict=True))

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        check_floor(self)
        if self.df is not None and not (np.isscalar(self.df) and self.df > 0):
            raise ValueError(
                f"StudentT got df={self.df!r}, but expected a positive number, or None "
                "to estimate it."
            )

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        mass, error = max(weight.sum(), np.finfo(float).tiny), y - prediction
        d, known = y.shape[1], previous is not None
        if known:
            square = np.broadcast_to(previous.sigma_, d) ** 2
            df = np.broadcast_to(previous.df_, d)
        else:
            square = (weight @ error**2 + prior) / mass
            df = np.full(d, FIRST_DF if self.df is None else float(self.df))
        floor = least_variance(self.floor, spread, y)
        square = np.maximum(square, floor)
        for _ in range(1 if known else FIRST_SWEEPS):
            precision = (df + 1.0) / (df + error**2 / square)
            square = np.maximum((weight @ (precision * error**2) + prior) / mass, floor)
            if self.df is None:
                z = error / np.sqrt(square)
                df = np.array([best_df(z[:, j], df[j], weight) for j in range(d)])
        return self.with_scale(np.sqrt(square), df, bool(np.any(square <= floor)))

    def with_scale(self, sigma, df, floored=False):
        """Fitted copy with scales and degrees of freedom (n_outputs,)."""
        fitted = clone(self)
        fitted.sigma_, fitted.df_ = unboxed(sigma), unboxed(df)
        fitted.floored_ = floored
        fitted.n_parameters_ = float(np.size(sigma) * (2 if self.df is None else 1))
        return fitted

    def row_weight(self, y, prediction):
        """Latent precision of each row; the mean over outputs."""
        square = ((y - prediction) / self.sigma_) ** 2
        return np.mean((np.asarray(self.df_) + 1.0) / (self.df_ + square), axis=1)

    def penalty_variance(self, n_outputs):
        """Squared scale, (n_outputs,)."""
        return np.broadcast_to(np.square(self.sigma_), n_outputs)

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs); infinite up to two degrees of freedom."""
        df = np.asarray(self.df_, dtype=float)
        heavy = df <= 2
        factor = df / np.where(heavy, 1.0, df - 2.0)
        with np.errstate(over="ignore"):
            square = np.square(self.sigma_) * factor
        # No square, however small, times infinity.
        variance = np.where(heavy, np.inf, square)
        return np.broadcast_to(variance, prediction.shape)

    def log_density(self, y, prediction, size=None):
        df = np.asarray(self.df_, dtype=float)
        with np.errstate(over="ignore"):
            square = ((y - prediction) / self.sigma_) ** 2
        scale = special.betaln(df / 2, 0.5) + 0.5 * np.log(df) + np.log(self.sigma_)
        return -0.5 * (df + 1.0) * np.log1p(square / df) - scale

    def derivatives(self, y, prediction, size=None):
        """Slope of the log-density in the location, and curvature of a minorant."""
        error, df = y - prediction, np.asarray(self.df_, dtype=float)
        precision = (df + 1.0) / (df * np.square(self.sigma_) + error**2)
        return precision * error, precision

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        with np.errstate(over="ignore"):
            z = (y - prediction) / self.sigma_
        tail = t_tail(np.abs(z), np.asarray(self.df_, dtype=float))
        return np.where(z < 0, tail, 1.0 - tail)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        z = t_quantile(level, np.asarray(self.df_, dtype=float))
        return located(level, prediction, z, self.sigma_)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        df = np.broadcast_to(self.df_, prediction.shape)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            draws = bounded(np.nan_to_num(rng.standard_t(df)))
            return bounded(prediction + bounded(draws * self.sigma_))


def t_tail(z, df):
    """P(T > z) of Student's t, for z >= 0."""
    with np.errstate(divide="ignore", over="ignore"):
        far = z * (z / df) > POWER_TAIL
        power = 0.5 * df * (np.log(df) - 2.0 * np.log(z))
    constant = np.log(df) + special.betaln(0.5 * df, 0.5)
    tail = np.exp(np.where(far, np.minimum(power, 0.0), 0.0) - constant)
    return np.where(far, tail, special.stdtr(df, np.where(far, 0.0, -z)))


def t_quantile(level, df):
    """Quantiles of Student's t, by the nearer tail."""
    below = np.asarray(level) < 0.5
    tail = np.where(below, level, 1.0 - np.asarray(level))
    # SciPy's own loses the far tail of few degrees of freedom.
    z = inverse(lambda z: -t_tail(z, df), -tail, -special.stdtrit(df, tail))
    z = np.where(tail < 0.5, np.where(tail > 0, z, np.inf), 0.0)
    return np.where(below, -z, z)


def best_df(z, df, weight):
    """Degrees of freedom with the largest likelihood of scaled residuals ``z`` (n,)."""
    square = z**2

    def loss(own):
        constant = special.betaln(own / 2, 0.5) + 0.5 * np.log(own)
        return weight @ (0.5 * (own + 1.0) * np.log1p(square / own) + constant)

    return best_positive(loss, LOG_DF, df)


class Laplace(Likelihood):
    """Two-sided exponential density around the prediction, which is the median.

    Linear experts minimise absolute errors, by weighted squares that bound them.
    Other experts should do so by themselves, such as
    ``HistGradientBoostingRegressor(loss="absolute_error")``.

    Parameters
    ----------
    floor : float, default=1e-6
        Smallest squared scale, as a fraction of the variance of y.

    Attributes
    ----------
    scale_ : float or ndarray of shape (n_outputs,)
        Mean absolute deviation, in units of y.
    n_parameters_ : float
    floored_ : bool
        Whether only ``floor`` keeps a scale from going to zero.

    Examples
    --------
    >>> from skmoe.likelihoods import Laplace
    >>> Laplace()
    Laplace()
    """

    scales_ridge = True
    dispersions = ("scale_",)

    def __init__(self, floor: float = 1e-6) -> None:
        self.floor = floor

    def dispersion_limits(self, spread):
        """Floors of the scale."""
        return scale_limits(self.floor, spread)

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        check_floor(self)

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        mass = max(weight.sum(), np.finfo(float).tiny)
        total = weight @ np.abs(y - prediction)
        # Maximises -m log b - total / b - prior / (2 b^2).
        scale = (total + np.sqrt(total**2 + 4.0 * mass * prior)) / (2.0 * mass)
        floor = np.sqrt(least_variance(self.floor, spread, y))
        return self.with_scale(np.maximum(scale, floor), bool(np.any(scale < floor)))

    def with_scale(self, scale, floored=False):
        """Fitted copy with scales (n_outputs,)."""
        fitted = clone(self)
        fitted.scale_, fitted.floored_ = unboxed(scale), floored
        fitted.n_parameters_ = float(np.size(scale))
        return fitted

    def penalty_variance(self, n_outputs):
        """Squared scale, (n_outputs,)."""
        return np.broadcast_to(np.square(self.scale_), n_outputs)

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        return np.broadcast_to(2.0 * np.square(self.scale_), prediction.shape)

    def log_density(self, y, prediction, size=None):
        return -np.abs(y - prediction) / self.scale_ - np.log(
            2.0 * np.asarray(self.scale_)
        )

    def derivatives(self, y, prediction, size=None):
        """Slope of the log-density in the median, and curvature of a minorant."""
        error = y - prediction
        least = LEAST_RESIDUAL * np.asarray(self.scale_)
        with np.errstate(over="ignore"):
            curvature = 1.0 / np.asarray(self.scale_) / np.maximum(np.abs(error), least)
        curvature = np.minimum(curvature, np.finfo(float).max)
        return np.sign(error) / self.scale_, curvature

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        with np.errstate(over="ignore"):
            z = (y - prediction) / self.scale_
        tail = 0.5 * np.exp(-np.abs(z))
        return np.where(z < 0, tail, 1.0 - tail)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        level = np.asarray(level, dtype=float)
        tail = np.where(level < 0.5, level, 1.0 - level)
        with np.errstate(divide="ignore"):
            z = np.log(2.0 * tail)
        z = np.where(level < 0.5, z, -z)
        return located(level, prediction, z, self.scale_)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        return bounded(prediction + rng.laplace(size=prediction.shape) * self.scale_)
