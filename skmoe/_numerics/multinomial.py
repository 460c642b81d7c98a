"""Penalised multinomial logistic regression on soft targets, by Newton steps.

The gate's M-step is this regression with the responsibilities as targets; a linear
classification expert is the same with class indicators as targets.
scikit-learn's ``LogisticRegression`` takes no soft targets, hence our own.
"""

from functools import lru_cache

import numpy as np
from scipy.linalg import helmert

from .._kernels.multinomial import multinomial_pass
from .._kernels.vector import log_softmax_rows, softmax_rows
from ..engines import map_rows
from .design import read_only
from .grams import without_flat
from .iterative import LARGEST_RESIDUAL, lasso_move, preconditioner, solve_by_products
from .linalg import (
    curvature_columns,
    n_pairs,
    newton_direction,
    ridge_diagonal,
    shortened,
    use_exact_newton,
    use_products,
)
from .products import gather, linear

SMALLEST_STEP = 2.0**-20
MOST_CONTRASTS = 32


def log_weights(logits):
    """Logits (n, K) less the log-sum-exp of each row; may overwrite ``logits``."""
    logits = np.ascontiguousarray(logits, dtype=np.float64)
    if not logits.flags.writeable:
        logits = logits.copy()
    log_softmax_rows(logits)
    return logits


def softmax_of(logits):
    """Softmax (n, K) of logits, and their log-sum-exp (n,)."""
    proba = np.array(logits, dtype=np.float64, order="C")
    total = np.empty(len(proba))
    softmax_rows(proba, total)
    return proba, total


def multinomial_statistics(design, targets, weight, coef, offset, n_jobs=None):
    """Log-likelihood, gradient (K, q) and curvature (pairs, m) at ``coef``."""
    n_classes, n_channels = coef.shape
    exact = use_exact_newton(n_classes, n_channels)

    def make():
        columns = curvature_columns(n_classes, n_channels)
        return (
            np.zeros(1),
            np.zeros_like(coef),
            np.zeros((n_pairs(n_channels), columns)),
        )

    def accumulate(statistics, start, stop):
        multinomial_pass(
            *design, targets, offset, weight, coef, exact, statistics, start, stop
        )

    total, gradient, grams = map_rows(accumulate, make, len(weight), n_jobs)
    return total[0], gradient, grams


class ByGrams:
    """The regression by the weighted Gram matrices of its columns."""

    def __init__(self, design, targets, weight, offset, n_jobs):
        self.data, self.n_jobs = (design, targets, weight), n_jobs
        offset = np.zeros((0, targets.shape[1])) if offset is None else offset
        self.offset = read_only(offset)

    def evaluate(self, coef):
        """Log-likelihood, and what a direction is made of."""
        total, *state = multinomial_statistics(
            *self.data, coef, self.offset, self.n_jobs
        )
        return total, state

    def direction(self, state, coef, alpha, lasso):
        """Newton direction."""
        penalty = ridge_diagonal(coef.shape[1], alpha)[None]
        return newton_direction(*state, coef, penalty, lasso)


class ByProducts:
    """The regression by products with its columns, which may be many, or sparse.

    ``targets`` (n, K) are weighted; ``mass`` (n,) is their sum, where it is known.
    """

    def __init__(self, design, targets, mass=None, offset=None, n_jobs=None):
        self.design, self.targets, self.n_jobs = design, targets, n_jobs
        self.mass = np.reshape(targets.sum(axis=1) if mass is None else mass, (-1, 1))
        self.offset = 0.0 if offset is None or len(offset) == 0 else offset

    def evaluate(self, coef):
        """Log-likelihood, and the probabilities (n, K)."""
        logits = linear(self.design, coef, self.n_jobs)
        log_proba = log_weights(logits + self.offset)
        # A class of no probability takes nothing from rows that are not of it.
        rows = np.where(self.targets > 0, log_proba, 0.0)
        return float(np.vdot(self.targets, rows)), np.exp(log_proba)

    def direction(self, proba, coef, alpha, lasso, tol=LARGEST_RESIDUAL):
        """Newton direction by conjugate gradients, or by proximal steps for a lasso."""
        penalty, basis = ridge_diagonal(coef.shape[1], alpha), contrasts(len(coef))
        slope = gather(self.design, self.targets - self.mass * proba, self.n_jobs)
        slope -= penalty * coef

        def apply(move):
            rows = linear(self.design, basis.T @ move, self.n_jobs) @ basis.T
            curved = self.mass * softmax_curvature(proba, rows)
            part = gather(self.design, curved @ basis, self.n_jobs)
            return basis @ part + penalty * move

        spread = (self.mass * proba * (1.0 - proba)).sum(axis=0)
        if lasso > 0:
            move = lasso_move(apply, slope, coef, lasso)
        else:
            diagonal = preconditioner(spread, penalty)
            move = solve_by_products(apply, slope, diagonal, tol)
            move -= move.mean(axis=0)
        return shortened(move[None])[0]


@lru_cache(maxsize=64)
def contrasts(width):
    """Orthonormal basis (width, width - 1) of what differs among ``width`` logits.

    Of many logits, all of them: one product less would not pay for the change of basis.
    """
    if width == 1:
        return np.zeros((1, 0))
    if width > MOST_CONTRASTS:
        return np.eye(width)
    return orthonormal_contrasts(width)


def orthonormal_contrasts(width):
    """The same for any ``width``."""
    return np.ascontiguousarray(helmert(width).T)


def softmax_curvature(proba, rows):
    """Products of the curvatures of log-sum-exp at ``proba`` with logits, (n, K)."""
    return proba * (rows - np.einsum("nk,nk->n", proba, rows)[:, None])


def fit_multinomial(
    design,
    targets,
    weight,
    coef,
    alpha,
    *,
    lasso=0.0,
    offset=None,
    max_iter=100,
    tol=1e-10,
    n_jobs=None,
):
    """Maximise ``sum_i w_i sum_k t_ik log p_ik - alpha/2 |W|^2 - lasso |W|_1`` over W.

    Parameters
    ----------
    design : Design
    targets : (n, K) non-negative, C-contiguous; rows need not sum to one.
    weight : (n,) row weights.
    coef : (K, q) start, on the standardised scale, last channel the intercept.
    alpha : float or (q,)
        Ridge penalty, in units of rows; a number is not for the intercept.
    lasso : float, default=0.0
        Penalty of absolute values, in nats.
    offset : (n, K), C-contiguous, default=None
        Added to the logits.
    max_iter : int
        Newton steps.
    tol : float
        Stop when the objective rises by less than this per unit of weight.

    Returns
    -------
    coef : (K, q)
    converged : bool
    """
    penalty = ridge_diagonal(coef.shape[1], alpha)
    if np.ndim(alpha) == 0 and alpha == 0.0 and lasso == 0.0:
        # Nothing pulls at a column that became flat.
        coef = without_flat(coef, design, weight)
    if use_products(design.X, len(coef)):
        weighted = targets * weight[:, None]
        model = ByProducts(design, weighted, offset=offset, n_jobs=n_jobs)
    else:
        model = ByGrams(design, targets, weight, offset, n_jobs)

    def evaluate(at):
        total, state = model.evaluate(at)
        paid = 0.5 * np.sum(penalty * at**2) + lasso * np.abs(at[:, :-1]).sum()
        return total - paid, state

    mass = max(weight.sum(), np.finfo(float).tiny)
    value, state = evaluate(coef)
    for _ in range(max_iter):
        direction = model.direction(state, coef, alpha, lasso)
        step, trial = 1.0, evaluate(coef + direction)
        while not trial[0] >= value and step > SMALLEST_STEP:
            step /= 2
            trial = evaluate(coef + step * direction)
        if not trial[0] >= value:
            return coef, True
        coef = coef + step * direction
        gain, (value, state) = trial[0] - value, trial
        if gain <= tol * mass:
            return coef, True
    return coef, False


def fit_near(design, targets, weight, start, anchor, ridge, pull, offset=0.0, **how):
    """As :func:`fit_multinomial`, with a second penalty of the way from ``anchor``.

    Parameters
    ----------
    design, targets, weight
        As in :func:`fit_multinomial`.
    start, anchor : (K, q)
        The second penalty is that of all coefficients, intercepts too.
    ridge, pull : float
        The penalties, in units of rows; the second is positive.
    offset : (n, K), default=0.0
    **how : ``max_iter`` and ``tol``

    Returns
    -------
    coef : (K, q)
    converged : bool
    """
    both = ridge_diagonal(anchor.shape[1], ridge) + pull
    # Two squares are one around a point between their centres.
    center = anchor * (pull / both)
    logits = np.ascontiguousarray(linear(design, center) + offset)
    own = {"offset": logits, **how}
    coef, converged = fit_multinomial(
        design, targets, weight, start - center, both, **own
    )
    return coef + center, converged


def softmax_parameters(coef, rank, intercept=True):
    """Free parameters of scores (C, p), of which only differences count."""
    n_others = len(coef) - 1
    free = np.minimum(np.count_nonzero(coef, axis=0), n_others).sum()
    return int(min(free, n_others * rank) + n_others * intercept)
