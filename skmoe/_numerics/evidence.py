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
from .multinomial import orthonormal_contrasts, softmax_curvature
from .products import gather, linear

EVIDENCE = "evidence"
# Penalties relative to the mean curvature of the columns, from none to all.
LEAST, MOST, POINTS = 1e-8, 1e8, 129
# How far a penalty moves at once where the fit is not at its own optimum yet.
FURTHEST = 30.0
# Random directions that tell what many coefficients cost, and what they may leave.
PROBES, PROBE_RESIDUAL = 4, 1e-3
# With less curvature there is none: its inverse would be beyond all numbers.
LEAST_CURVATURE = np.finfo(float).tiny / np.finfo(float).eps
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
    """

    curvature: np.ndarray
    squares: np.ndarray

    def effective(self, ridge):
        """Effective number of coefficients of one output, at penalties (m,)."""
        own = self.curvature[:, None] / (self.curvature[:, None] + ridge)
        return own.sum(axis=0)

    def norms(self, ridge):
        """Squared norms (d, m) of the coefficients."""
        return self.squares @ (self.curvature[:, None] + ridge) ** -2.0

    def explained(self, ridge):
        """By how much penalised squares (d, m) fall beside no coefficients at all."""
        return self.squares @ (1.0 / (self.curvature[:, None] + ridge))

    def log_volume(self, ridge):
        """Logarithms (m,) of the posterior's volume as a share of the prior's."""
        own = np.log1p(self.curvature[:, None] / ridge)
        return -0.5 * own.sum(axis=0)


def axes_of(matrix, right):
    """The ``Axes`` of a curvature (p, p) and right-hand sides (p, d)."""
    curvature, vectors = np.linalg.eigh(matrix)
    real = _is_real(curvature)
    return Axes(curvature[real], (vectors[:, real].T @ right).T ** 2)


def _is_real(curvature):
    """Which of ascending eigenvalues are more than rounding."""
    largest = curvature[-1] if len(curvature) else 0.0
    # What is left by rounding where there is no spread has nothing to say.
    return curvature > 1e-12 * len(curvature) * max(largest, np.finfo(float).tiny)


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


def best_ridge(model):
    """The ``Chosen`` penalty of ``Values``."""
    curvature = model.axes.curvature
    if not len(curvature):
        return Chosen(1.0, 0.0)
    unit = curvature.mean()
    ridge = _maximum(model, np.geomspace(unit * LEAST, unit * MOST, POINTS))
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
    if not mass > LEAST_CURVATURE:
        return None
    flat = spreadless(gram[None])
    matrix = centred_grams(gram[None], flat)[0]
    level = right[-1] / mass
    cross = np.where(flat[0][:, None], 0.0, right[:-1] - gram[-1, :-1, None] * level)
    total = np.maximum(square - mass * level**2, 0.0)
    least = np.maximum(least, np.finfo(float).tiny)
    return best_ridge(Values(axes_of(matrix, cross), total, mass, least))


def ridge_of_slopes(grams, coef, ridge, share=1.0):
    """Penalty of linear predictors, a step nearer to its evidence.

    Parameters
    ----------
    grams : (m, q, q)
        Curvatures of the log-likelihood, in units of the variance that the penalty is
        relative to; the last channel is the intercept.
    coef : (m, q)
        Coefficients at which they are taken, in units of the spread.
    ridge : float
        The penalty as it is.
    share : float
        Of the predictors that are free, where only their differences are.

    Returns
    -------
    Chosen, or None without curvature
    """
    alive = grams[:, -1, -1] > LEAST_CURVATURE
    if not alive.any():
        return None
    matrices = centred_grams(grams[alive], spreadless(grams[alive]))
    effective = share * sum(_effective(own, ridge) for own in matrices)
    return step_of(effective, np.sum(coef[:, :-1] ** 2), ridge)


def _effective(matrix, ridge):
    """Effective number of coefficients, the intercept aside."""
    curvature = np.linalg.eigvalsh(matrix)
    curvature = curvature[_is_real(curvature)]
    return float(np.sum(curvature / (curvature + ridge)))


def step_of(effective, paid, ridge):
    """Where MacKay's update takes a penalty.

    It has the coefficients for what they are.  To let a quadratic model say how they
    would move goes wrong where classes are separable: there the curvature all but
    vanishes, and with it what the model knows of the price of small coefficients.
    """
    wanted = effective / max(paid, np.finfo(float).tiny)
    return Chosen(float(np.clip(wanted, ridge / FURTHEST, ridge * FURTHEST)), effective)


def ridge_of_softmax(grams, coef, ridge):
    """Penalty of a multinomial regression, a step nearer to its evidence.

    Parameters
    ----------
    grams : (pairs, columns) curvature as ``multinomial_curvature`` accumulates it
    coef : (K, q)
        At which it is taken.
    ridge : float
        The penalty as it is.

    Returns
    -------
    Chosen, or None without curvature
    """
    n_classes, n_channels = coef.shape
    if n_classes == 1 or n_channels == 1:
        return None
    blocks = unpack_grams(grams, n_channels)
    blocks = blocks.reshape(curvature_columns(n_classes, n_channels), *blocks.shape[1:])
    if not use_exact_newton(n_classes, n_channels):
        # By blocks of single classes; beside others a class curves a little more.
        share = (n_classes - 1) / n_classes
        return ridge_of_slopes(blocks / share, coef, ridge, share)
    matrix = _contrast_curvature(joint_hessians(blocks[None], n_classes)[0])
    if matrix is None:
        return None
    return step_of(_effective(matrix, ridge), np.sum(coef[:, :-1] ** 2), ridge)


def _contrast_curvature(hessian):
    """Curvature of the slopes along what differs among classes, of (K, q, K, q), the
    intercepts free; or None without any."""
    n_classes, n_channels = hessian.shape[:2]
    basis = orthonormal_contrasts(n_classes)
    hessian = np.einsum("ka,kilj,lb->aibj", basis, hessian, basis, optimize=True)
    inner = hessian[:, -1, :, -1]
    if not np.trace(inner) > LEAST_CURVATURE:
        return None
    size = (n_classes - 1) * (n_channels - 1)
    columns = hessian[:, :-1, :, :-1].reshape(size, size)
    mixed = hessian[:, :-1, :, -1].reshape(size, -1)
    return columns - mixed @ np.linalg.pinv(inner, hermitian=True) @ mixed.T


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
    paid = np.sum(np.sum(coef[:, :-1] ** 2, axis=1) / unit)
    return step_of(max(float(effective), 0.0), paid, ridge)


def probed_values(design, y, weight, coef, ridge):
    """``probed`` for least squares by products.

    Parameters
    ----------
    design : Design
    y : (n, d) centred targets
    weight : (n,)
    coef : (d, q), of the last fit
    ridge : float
    """
    coef = coef.copy()
    coef[:, -1] = 0.0
    mass = np.full(y.shape[1], weight.sum())
    weights = np.repeat(weight[:, None], y.shape[1], axis=1)
    rest = y - linear(design, coef)
    rest -= (weight @ rest) / max(mass[0], np.finfo(float).tiny)
    paid = ridge * np.sum(coef[:, :-1] ** 2, axis=1)
    variance = np.maximum((weight @ rest**2 + paid) / mass, np.finfo(float).tiny)

    def apply(move):
        return gather(design, weights * linear(design, move))

    return probed(apply, mass, ridge, coef, variance)


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
    #: Effective number of coefficients; none until evidence has been asked.
    effective_ = None

    @property
    def is_chosen(self):
        """Whether ``alpha`` is no number; a lasso then has that of the start."""
        return isinstance(self.alpha, str) and self.alpha == EVIDENCE

    @property
    def by_evidence(self):
        """Whether the penalty is chosen so that the evidence has its maximum."""
        return self.is_chosen and self.l1_ratio == 0

    def penalty_scale(self):
        """Spread of each column (p,) that the penalty refers to."""
        return self.scale_ if self.standardize else np.ones_like(self.scale_)

    @property
    def counts_effective(self):
        """Whether evidence says how many coefficients there are."""
        return self.by_evidence and self.effective_ is not None

    @property
    def strength(self):
        """The penalty as it stands, in units of rows."""
        if not self.is_chosen:
            return self.alpha
        return vars(self).get("alpha_", self.start_alpha)

    def with_penalty_of(self, fitted):
        """Start from the penalty of an earlier fit, if there is one; returns self."""
        if fitted is not None and self.by_evidence:
            self.set_penalty(Chosen(fitted.alpha_, fitted.effective_))
        return self

    def set_penalty(self, chosen):
        """Set the penalty, and what it leaves of the coefficients; returns self."""
        ridge, effective = chosen
        self.alpha_ = float(ridge)
        if effective is not None and np.isfinite(effective):
            self.effective_ = float(effective)
        return self

    def forget_penalty(self):
        """Start anew, as a second ``fit`` does."""
        for name in ("alpha_", "effective_"):
            vars(self).pop(name, None)

    def settle_penalty(self, renewed, refit):
        """Choose the penalty of a fit outside of a mixture until it stays.

        Parameters
        ----------
        renewed : callable, to what ``renewed`` of the part gives
        refit : callable, which fits the part under its penalty
        """
        for _ in range(MOST_ROUNDS if self.by_evidence else 0):
            other, moved = renewed()
            self.set_penalty((other.alpha_, other.effective_))
            refit()
            if moved < SMALLEST_ROUND:
                break

    def moved_to(self, chosen):
        """A copy with another penalty, and how far its logarithm moved."""
        if chosen is None:
            return self, 0.0
        before = self.strength
        part = copy.copy(self).set_penalty(chosen)
        # Of a penalty that leaves nothing it does not matter how large it is.
        idle = chosen.effective < LEAST_EFFECTIVE
        return part, 0.0 if idle else abs(float(np.log(part.alpha_ / before)))
