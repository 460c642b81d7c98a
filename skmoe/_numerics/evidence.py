"""Ridge penalties at which the evidence of a linear fit has its maximum.

The evidence is the likelihood of the penalty: the density of the targets with the
coefficients integrated out, whose prior the penalty is.  Along the axes of the
curvature it is a function of one number, however many the columns (MacKay 1992).
"""

import copy
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from .iterative import preconditioner, solve_by_products
from .linalg import (
    centred_grams,
    curvature_columns,
    joint_hessians,
    ridge_diagonal,
    spreadless,
    unpack_grams,
    use_exact_newton,
)
from .multinomial import contrasts, softmax_curvature
from .products import gather, linear

EVIDENCE = "evidence"
# Penalties relative to the mean curvature of the columns, from none to all.
LEAST, MOST, POINTS = 1e-8, 1e8, 129
# How far a penalty moves at once where the fit is not at its own optimum yet.
FURTHEST = 30.0
# Random directions that tell what many coefficients cost, and what they may leave.
PROBES, PROBE_RESIDUAL = 4, 1e-3
# With less of a coefficient left, a penalty may grow for ever.
LEAST_EFFECTIVE = 0.05
# Rounds of a fit outside of a mixture, and the move that ends them.
MOST_ROUNDS, SMALLEST_ROUND = 50, 1e-6


class Chosen(NamedTuple):
    """A penalty by evidence, and how many coefficients it leaves effectively."""

    ridge: float
    effective: float


class Axes(NamedTuple):
    """A penalised fit along the axes of its curvature.

    Attributes
    ----------
    curvature : (p,)
    squares : (d, p), of the slopes at zero along the axes, for each output
    share : float
        Of the axes that are free: of scores of K classes, only K - 1 differences are.
    """

    curvature: np.ndarray
    squares: np.ndarray
    share: float = 1.0

    def effective(self, ridge):
        """Effective number of coefficients of one output, at penalties (m,)."""
        own = self.curvature[:, None] / (self.curvature[:, None] + ridge)
        return self.share * own.sum(axis=0)

    def norms(self, ridge):
        """Squared norms (d, m) of the coefficients."""
        return self.squares @ (self.curvature[:, None] + ridge) ** -2.0

    def explained(self, ridge):
        """By how much penalised squares (d, m) fall beside no coefficients at all."""
        return self.squares @ (1.0 / (self.curvature[:, None] + ridge))

    def log_volume(self, ridge):
        """Logarithms (m,) of the posterior's volume as a share of the prior's."""
        own = np.log1p(self.curvature[:, None] / ridge)
        return -0.5 * self.share * own.sum(axis=0)


def axes_of(matrix, right, share=1.0):
    """The ``Axes`` of a curvature (p, p) and right-hand sides (p, d)."""
    curvature, vectors = np.linalg.eigh(matrix)
    largest = max(curvature[-1], np.finfo(float).tiny) if len(curvature) else 0.0
    # What is left by rounding where there is no spread has nothing to say.
    real = curvature > 1e-12 * len(curvature) * largest
    squares = (vectors[:, real].T @ right).T ** 2
    return Axes(curvature[real], squares, share)


class Values:
    """Evidence of Gaussian outputs, whose variances follow from the penalty.

    Parameters
    ----------
    axes : Axes
    total : (d,) sums of squares around the mean
    mass : float, weight of the rows
    least : (d, 1) or float, smallest variances
    """

    def __init__(self, axes, total, mass, least):
        self.axes, self.total, self.mass, self.least = axes, total, mass, least

    def variances(self, ridge):
        """Variances (d, m) at penalties (m,)."""
        rest = (self.total[:, None] - self.axes.explained(ridge)) / self.mass
        return np.maximum(rest, self.least)

    def value(self, ridge):
        """Logarithms (m,) of the evidence at penalties (m,), up to a constant."""
        fit = -0.5 * self.mass * np.sum(np.log(self.variances(ridge)), axis=0)
        return fit + len(self.total) * self.axes.log_volume(ridge)

    def effective(self, ridge):
        """Effective number of coefficients of all outputs."""
        return len(self.total) * self.axes.effective(ridge)

    def slope(self, ridge):
        """Of the evidence along the penalty's logarithm, twice."""
        paid = np.sum(self.axes.norms(ridge) / self.variances(ridge), axis=0)
        return self.effective(ridge) - ridge * paid


class Slopes:
    """Evidence of a quadratic model of any other log-likelihood.

    Parameters
    ----------
    axes : Axes
        One squared slope per axis.
    """

    def __init__(self, axes):
        self.axes = axes

    def value(self, ridge):
        """Logarithms (m,) of the evidence at penalties (m,), up to a constant."""
        explained = self.axes.share * np.sum(self.axes.explained(ridge), axis=0)
        return 0.5 * explained + self.axes.log_volume(ridge)

    def slope(self, ridge):
        """Of the evidence along the penalty's logarithm, twice."""
        paid = self.axes.share * np.sum(self.axes.norms(ridge), axis=0)
        return self.effective(ridge) - ridge * paid

    def effective(self, ridge):
        """Effective number of coefficients."""
        return self.axes.effective(ridge)


def best_ridge(model, near=None):
    """The ``Chosen`` penalty of a ``Values`` or ``Slopes``.

    Parameters
    ----------
    model : Values or Slopes
    near : float, default=None
        Penalty from which it goes no further than ``FURTHEST`` times.
    """
    curvature = model.axes.curvature
    if not len(curvature):
        return Chosen(1.0 if near is None else float(near), 0.0)
    unit = curvature.mean()
    lower, upper = unit * LEAST, unit * MOST
    if near is not None:
        bounds = near / FURTHEST, near * FURTHEST
        lower, upper = np.clip(bounds, lower, upper)
    ridge = _maximum(model, np.geomspace(lower, upper, POINTS))
    return Chosen(ridge, float(model.effective(np.array([ridge]))[0]))


def _maximum(model, grid):
    """Where a model of evidence has its maximum: the best of a grid, made exact."""
    best = int(np.argmax(model.value(grid)))
    around = grid[[max(best - 1, 0), min(best + 1, len(grid) - 1)]]
    slopes = model.slope(around)
    if not slopes[0] > 0.0 > slopes[1]:
        return float(grid[best])

    def slope(log_ridge):
        return float(model.slope(np.exp([log_ridge]))[0])

    return float(np.exp(brentq(slope, *np.log(around), xtol=1e-12)))


def ridge_of_values(gram, right, square, least):
    """Penalty of least squares, chosen from its sufficient statistics.

    Parameters
    ----------
    gram : (q, q)
        The last channel is the intercept.
    right : (q, d)
    square : (d,)
        Weighted squares of the targets.
    least : (d, 1) or float
        Smallest variances.

    Returns
    -------
    Chosen, or None without rows
    """
    mass = gram[-1, -1]
    if not mass > 0.0:
        return None
    flat = spreadless(gram[None])
    matrix = centred_grams(gram[None], flat)[0]
    level = right[-1] / mass
    cross = np.where(flat[0][:, None], 0.0, right[:-1] - gram[-1, :-1, None] * level)
    total = np.maximum(square - mass * level**2, 0.0)
    least = np.maximum(least, np.finfo(float).tiny)
    return best_ridge(Values(axes_of(matrix, cross), total, mass, least))


def ridge_of_slopes(grams, slopes, coef, near, share=1.0):
    """Penalty of linear predictors, by quadratic models at their coefficients.

    Parameters
    ----------
    grams : (m, q, q)
        Curvatures of the log-likelihood, in units of the variance that the penalty is
        relative to; the last channel is the intercept.
    slopes, coef : (m, q)
        Gradients of the log-likelihood without the penalty, in the same units, and
        where they are taken.
    near : float
    share : float
        Of the predictors that are free, where only their differences are.

    Returns
    -------
    Chosen, or None without curvature
    """
    each = zip(grams, slopes, coef, strict=True)
    parts = [axes_of(*_without_intercept(*own)) for own in each if own[0][-1, -1] > 0.0]
    if not parts:
        return None
    curvature = np.concatenate([own.curvature for own in parts])
    squares = np.concatenate([own.squares for own in parts], axis=1)
    return best_ridge(Slopes(Axes(curvature, squares, share)), near)


def _without_intercept(gram, slope, coef):
    """Curvature (p, p) and right-hand side (p, 1) of slopes, the intercept free."""
    flat = spreadless(gram[None])
    matrix = centred_grams(gram[None], flat)[0]
    mean = gram[-1, :-1] / gram[-1, -1]
    right = np.where(flat[0], 0.0, slope[:-1] - mean * slope[-1]) + matrix @ coef[:-1]
    return matrix, right[:, None]


def ridge_of_softmax(gradient, grams, coef, near):
    """Penalty of a multinomial regression, by a quadratic model at its coefficients.

    Parameters
    ----------
    gradient : (K, q) of the log-likelihood without the penalty
    grams : (pairs, columns) curvature as ``multinomial_curvature`` accumulates it
    coef : (K, q)
    near : float

    Returns
    -------
    Chosen, or None without curvature
    """
    n_classes, n_channels = coef.shape
    if n_classes == 1 or n_channels == 1:
        return None
    blocks = unpack_grams(grams, n_channels)
    blocks = blocks.reshape(curvature_columns(n_classes, n_channels), *blocks.shape[1:])
    if use_exact_newton(n_classes, n_channels):
        return _ridge_of_contrasts(gradient, blocks, coef, near)
    # By blocks of single classes; beside others a class curves a little more.
    share = (n_classes - 1) / n_classes
    return ridge_of_slopes(blocks / share, gradient, coef, near, share)


def _ridge_of_contrasts(gradient, blocks, coef, near):
    """By the Hessian of all classes, along what differs among them."""
    basis, n_channels = contrasts(len(coef)), coef.shape[1]
    if basis.shape[1] == len(coef):
        basis = np.linalg.qr(np.eye(len(coef)) - 1.0 / len(coef))[0][:, :-1]
    hessian = joint_hessians(blocks[None], len(coef))[0]
    hessian = np.einsum("ka,kilj,lb->aibj", basis, hessian, basis)
    slope, at = basis.T @ gradient, basis.T @ coef
    n_free = len(slope)
    inner = hessian[:, -1, :, -1]
    if not np.trace(inner) > 0.0:
        return None
    columns = hessian[:, :-1, :, :-1].reshape(n_free * (n_channels - 1), -1)
    mixed = hessian[:, :-1, :, -1].reshape(-1, n_free)
    away = np.linalg.pinv(inner, hermitian=True) @ mixed.T
    matrix = columns - mixed @ away
    right = slope[:, :-1].ravel() - away.T @ slope[:, -1] + matrix @ at[:, :-1].ravel()
    return best_ridge(Slopes(axes_of(matrix, right[:, None])), near)


def probed(apply, spread, ridge, coef, unit=1.0):
    """Penalty of a system that gives products only, a step nearer to its evidence.

    Parameters
    ----------
    apply : callable, from a move (m, q) to the curvature times it, without penalty
    spread : (m,) or float, about the curvature of a standardised column, by output
    ridge : float
    coef : (m, q), last channel the intercept
    unit : (m,) or float
        Variances that the penalty is relative to.

    Returns
    -------
    Chosen
    """
    penalty, rng = ridge_diagonal(coef.shape[1], ridge), np.random.RandomState(0)
    spread = np.broadcast_to(spread, len(coef))
    diagonal, effective = preconditioner(spread, penalty), 0.0

    def penalised(move):
        return apply(move) + penalty * move

    for _ in range(PROBES):
        signs = np.where(rng.rand(*coef.shape) < 0.5, -1.0, 1.0)
        signs[:, -1] = 0.0
        found = solve_by_products(penalised, apply(signs), diagonal, PROBE_RESIDUAL)
        effective += np.vdot(signs[:, :-1], found[:, :-1]) / PROBES
    effective = max(float(effective), 0.0)
    paid = np.sum(np.sum(coef[:, :-1] ** 2, axis=1) / unit)
    wanted = effective / max(paid, np.finfo(float).tiny)
    ridge = float(np.clip(wanted, ridge / FURTHEST, ridge * FURTHEST))
    return Chosen(ridge, effective)


def probed_softmax(model, proba, coef, ridge):
    """``probed`` for a multinomial regression by products.

    Parameters
    ----------
    model : ByProducts
    proba : (n, K), at ``coef``
    coef : (K, q)
    ridge : float
    """

    def apply(move):
        rows = linear(model.design, move, model.n_jobs)
        return gather(model.design, model.mass * softmax_curvature(proba, rows))

    spread = (model.mass * proba * (1.0 - proba)).sum(axis=0)
    return probed(apply, spread, ridge, coef)


class RidgePart:
    """What parts with an ``alpha`` share: a number, or a choice by evidence."""

    #: Strength from which a choice by evidence starts.
    start_alpha = 1.0
    #: Effective number of coefficients, once evidence has been asked.
    effective_ = 0.0

    @property
    def by_evidence(self):
        """Whether the penalty is chosen so that the evidence has its maximum."""
        return isinstance(self.alpha, str) and self.alpha == EVIDENCE

    @property
    def strength(self):
        """The penalty as it stands, in units of rows."""
        if not self.by_evidence:
            return self.alpha
        return vars(self).get("alpha_", self.start_alpha)

    def with_penalty_of(self, fitted):
        """Start from the penalty of an earlier fit, if there is one; returns self."""
        if fitted is not None and self.by_evidence:
            self.set_penalty(Chosen(fitted.alpha_, fitted.effective_))
        return self

    def set_penalty(self, chosen):
        """Set the penalty, and what it leaves of the coefficients; returns self."""
        self.alpha_, self.effective_ = map(float, chosen)
        return self

    def forget_penalty(self):
        """Start anew, as a second ``fit`` does."""
        vars(self).pop("alpha_", None)

    def moved_to(self, chosen):
        """A copy with another penalty, and how far its logarithm moved."""
        if chosen is None:
            return self, 0.0
        before = self.strength
        part = copy.copy(self).set_penalty(chosen)
        # Of a penalty that leaves nothing it does not matter how large it is.
        idle = chosen.effective < LEAST_EFFECTIVE
        return part, 0.0 if idle else abs(float(np.log(part.alpha_ / before)))
