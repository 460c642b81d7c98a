"""The Gaussian gate: each expert owns a region where x is likely under it."""

from __future__ import annotations

import copy

import numpy as np
from scipy import linalg
from scipy.special import log_softmax, logsumexp
from sklearn.utils.validation import check_is_fitted

from .._kernels.blocks import gram_pass
from .._numerics.design import as_dense, make_design
from .._numerics.grams import Columns
from .._numerics.linalg import SINGULAR, n_pairs, unpack_grams
from ..engines import map_rows
from ..exceptions import did_you_mean
from ._base import BaseGate
from ._sums import GaussianSums

COVARIANCES = ("full", "diag", "tied")
# Share of the rows below which an expert has no shape of its own.
LEAST_SHARE = 1e-12
# Largest distance of a row whose squares can be summed.
FARTHEST = 1e150
# Smallest variance in any direction, of standardised columns.
LEAST_VARIANCE = 1e-12


class GaussianGate(BaseGate):
    """Localised gate, ``g_k(x)`` proportional to ``a_k N(x | m_k, S_k)``.

    Its M-step has a closed form.  EM with this gate maximises the joint likelihood
    of x and y; predictions use the conditional ``g_k(x)``.

    Parameters
    ----------
    covariance : {"full", "diag", "tied"}, default="full"
        ``"tied"`` shares one covariance, which makes the boundaries linear.
    alpha : float, default=1.0
        Pseudo-rows of the overall variance of each column, added to the scatter of
        each expert (an inverse-Wishart prior); keeps covariances invertible when an
        expert has few rows or columns are collinear.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_ : ndarray of shape (K, p)
    covariances_ : ndarray of shape (K, p, p)
    n_parameters_ : int

    References
    ----------
    .. [1] Xu, L., Jordan, M. I., Hinton, G. E. (1995). An alternative model for
       mixtures of experts. NIPS 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import GaussianGate
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> resp = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    >>> GaussianGate().fit(X, resp).means_.ravel().round(6).tolist()
    [-1.5, 1.5]
    """

    exchangeable = generative = streams = True

    def __init__(self, covariance: str = "full", alpha: float = 1.0) -> None:
        self.covariance = covariance
        self.alpha = alpha

    @property
    def penalty_rows(self):
        """How much weight of rows the penalty outweighs."""
        return self.alpha

    def check(self):
        if self.covariance not in COVARIANCES:
            raise ValueError(
                f"GaussianGate got covariance={self.covariance!r}, but expected one "
                f"of {COVARIANCES}" + did_you_mean(self.covariance, COVARIANCES)
            )
        if not 0 <= self.alpha < np.inf:
            raise ValueError(
                f"GaussianGate got alpha={self.alpha!r}, but expected a finite number "
                "of pseudo-rows >= 0; the default is 1."
            )

    def sums(self, X, weight, scales, total):
        """By second moments."""
        design = make_design(as_dense(X), weight, scales=scales)
        return GaussianSums(self, design, weight.sum(), total)

    def moments(self, design, mass):
        """Second moments (K, q, q) of standardised columns and ones, of which rows of
        a ``mass`` made the fitted gate."""
        masses, inverse = mass * self.weights_, design.inverse_scale
        means = (self.means_ - design.center) * inverse
        rows = mass if self.covariance == "tied" else masses[:, None, None]
        scatter = self.covariances_ * inverse[:, None] * inverse * (rows + self.alpha)
        scatter = scatter - self.alpha * (self._axes @ self._axes.T)
        if self.covariance == "tied":
            scatter = scatter * self.weights_[:, None, None]
        outer = means[:, :, None] * means[:, None, :]
        moments = np.empty((len(means), means.shape[1] + 1, means.shape[1] + 1))
        moments[:, :-1, :-1] = scatter + masses[:, None, None] * outer
        moments[:, -1, :-1] = moments[:, :-1, -1] = masses[:, None] * means
        moments[:, -1, -1] = masses
        return moments

    def accumulate(self, design, resp, weight):
        """Weighted second moments (K, q, q) of standardised columns and ones."""
        columns = np.ascontiguousarray(resp * weight[:, None])
        n_channels = design.X.shape[1] + 1
        nothing = np.empty((len(weight), 0))

        def make():
            return (
                np.zeros((n_pairs(n_channels), columns.shape[1])),
                np.zeros((0, n_channels)),
            )

        def run(statistics, start, stop):
            gram_pass(*design, columns, nothing, *statistics, start, stop)

        grams, _ = map_rows(run, make, len(weight))
        return unpack_grams(grams, n_channels)

    def solve(self, moments, design):
        """Set the parameters from accumulated moments; returns self."""
        moments = _with_rows(moments)
        mass = moments[:, -1, -1]
        self.weights_ = mass / mass.sum()
        means = moments[:, -1, :-1] / mass[:, None]
        second = moments[:, :-1, :-1]
        scatter = second - mass[:, None, None] * means[:, :, None] * means[:, None, :]
        rows = mass[:, None, None]
        if self.covariance == "tied":
            scatter = np.broadcast_to(scatter.sum(axis=0), scatter.shape)
            rows = mass.sum()
        elif self.covariance == "diag":
            scatter = scatter * np.eye(scatter.shape[1])
        inverse = design.inverse_scale
        self._axes = axes = _axes(moments, inverse > 0, self.covariance)
        # The overall variance of a standardised column is one.
        scatter = axes.T @ scatter @ axes + self.alpha * np.eye(axes.shape[1])
        scatter = scatter / (rows + self.alpha)
        self._design_center, self._inverse_scale = design.center, inverse
        self._means, self._factors = means @ axes, [_factor(s) for s in scatter]
        scatter = axes @ scatter @ axes.T
        scale = np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)
        self.means_ = design.center + means * scale
        self.covariances_ = scatter * scale[:, None] * scale
        self.n_parameters_ = self._count(len(means), np.count_nonzero(inverse))
        self.n_features_in_ = means.shape[1]
        return self

    def _count(self, n_experts, p):
        shapes = {
            "full": n_experts * p * (p + 1) // 2,
            "diag": n_experts * p,
            "tied": p * (p + 1) // 2,
        }
        return n_experts - 1 + n_experts * p + shapes[self.covariance]

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        self.check()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design = make_design(as_dense(X), weight)
        self.solve(self.accumulate(design, np.asarray(resp), weight), design)
        self.count(Columns(X, weight))
        return self

    def update(self, X, resp, sample_weight=None):
        """One M-step, which is a fit."""
        self.check()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design = make_design(as_dense(X), weight)
        return self.solve(self.accumulate(design, np.asarray(resp), weight), design)

    def reordered(self, order):
        gate = copy.copy(self)
        for name in ("weights_", "_means", "means_", "covariances_"):
            setattr(gate, name, getattr(self, name)[order])
        gate._factors = [self._factors[k] for k in order]
        return gate

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the gate was fitted to."""
        varies = np.count_nonzero(self._inverse_scale)
        rank = int(min(columns.rank(), varies))
        self.n_parameters_ = self._count(len(self.means_), rank)
        return self.n_parameters_

    def log_joint(self, X):
        """``log a_k N(x | m_k, S_k)`` in standardised columns, shape (n, K)."""
        check_is_fitted(self)
        # However far a row is, its squares are numbers.
        with np.errstate(over="ignore"):
            Z = (as_dense(X) - self._design_center) * self._inverse_scale
        Z = np.clip(Z, -FARTHEST, FARTHEST)
        Z = Z if _selects_all(self._axes) else Z @ self._axes
        out = np.empty((Z.shape[0], len(self.weights_)))
        for k, (mean, factor) in enumerate(
            zip(self._means, self._factors, strict=True)
        ):
            white = linalg.solve_triangular(factor, (Z - mean).T, lower=True)
            white = np.clip(white, -FARTHEST, FARTHEST)
            out[:, k] = (
                np.log(self.weights_[k])
                - 0.5 * np.einsum("ij,ij->j", white, white)
                - 0.5 * Z.shape[1] * np.log(2 * np.pi)
                - np.log(np.diag(factor)).sum()
            )
        return out

    def predict_log_proba(self, X):
        return log_softmax(self.log_joint(X), axis=1)

    def penalty(self):
        distinct = self._factors[:1] if self.covariance == "tied" else self._factors
        total = 0.0
        for factor in distinct:
            inverse = linalg.solve_triangular(factor, np.eye(len(factor)), lower=True)
            total += np.log(np.diag(factor)).sum() + 0.5 * np.sum(inverse**2)
        return self.alpha * total

    def log_marginal(self, X):
        """Log-density of x under the gate, an outlier score, shape (n,)."""
        scaled = self._inverse_scale[:, None] * self._axes
        volume = 0.5 * np.linalg.slogdet(scaled.T @ scaled)[1]
        return logsumexp(self.log_joint(X), axis=1) + volume


def _with_rows(moments):
    """Moments (K, q, q) in which an expert without rows has a little of all."""
    pooled = moments.sum(axis=0)
    if not pooled[-1, -1] > np.finfo(float).tiny:
        # A node of a tree that no row reaches: columns are standardised.
        return np.tile(np.eye(len(pooled)), (len(moments), 1, 1))
    lost = moments[:, -1, -1] < LEAST_SHARE * pooled[-1, -1]
    return np.where(lost[:, None, None], LEAST_SHARE * pooled, moments)


def _axes(moments, varies, covariance):
    """Orthonormal axes (p, r) of the space in which the rows of all experts vary.

    Columns without spread, and combinations of columns without, have no density: the
    prior alone would give them one, the narrower the more rows an expert has.
    """
    axes = np.eye(len(varies))[:, varies]
    if covariance == "diag" or not varies.any():
        return axes
    pooled = moments.sum(axis=0)
    mean = pooled[-1, :-1] / pooled[-1, -1]
    spread = pooled[:-1, :-1] / pooled[-1, -1] - np.outer(mean, mean)
    values, vectors = linalg.eigh(spread[np.ix_(varies, varies)])
    full = values > SINGULAR * len(values) * values[-1]
    return axes if full.all() else axes @ vectors[:, full]


def _selects_all(axes):
    """Whether the axes are the columns themselves."""
    return axes.shape[0] == axes.shape[1]


def _factor(covariance):
    """Lower Cholesky factor; directions without spread get the least variance.

    Rounding of large variances may hide more than that.
    """
    identity = np.eye(len(covariance))
    least = LEAST_VARIANCE
    while True:
        try:
            return linalg.cholesky(covariance + least * identity, lower=True)
        except linalg.LinAlgError:
            least = max(10.0 * least, LEAST_VARIANCE * np.trace(covariance))
