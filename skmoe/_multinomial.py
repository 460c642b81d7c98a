"""Penalised multinomial logistic regression on soft targets, by Newton steps.

The gate's M-step is this regression with the responsibilities as targets; a linear
classification expert is the same with class indicators as targets.
scikit-learn's ``LogisticRegression`` takes no soft targets, hence our own.
"""

import numpy as np

from ._design import read_only
from ._kernels.multinomial import multinomial_pass
from ._linalg import (
    curvature_columns,
    n_pairs,
    newton_direction,
    ridge_diagonal,
    use_exact_newton,
)
from .engines import map_rows

SMALLEST_STEP = 2.0**-20


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
    alpha : float
        Ridge penalty, in units of rows; the intercept is not penalised.
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
    offset = np.zeros((0, len(coef))) if offset is None else offset
    offset = read_only(offset)

    def evaluate(at):
        total, gradient, grams = multinomial_statistics(
            design, targets, weight, at, offset, n_jobs
        )
        paid = 0.5 * np.sum(penalty * at**2) + lasso * np.abs(at[:, :-1]).sum()
        return total - paid, gradient, grams

    mass = max(weight.sum(), np.finfo(float).tiny)
    value, gradient, grams = evaluate(coef)
    for _ in range(max_iter):
        direction = newton_direction(gradient, grams, coef, alpha, lasso)
        step, trial = 1.0, evaluate(coef + direction)
        while not trial[0] >= value and step > SMALLEST_STEP:
            step /= 2
            trial = evaluate(coef + step * direction)
        if not trial[0] >= value:
            return coef, True
        coef = coef + step * direction
        gain, (value, gradient, grams) = trial[0] - value, trial
        if gain <= tol * mass:
            return coef, True
    return coef, False


def softmax_parameters(coef, rank, intercept=True):
    """Free parameters of scores (C, p), of which only differences count."""
    n_others = len(coef) - 1
    free = np.minimum(np.count_nonzero(coef, axis=0), n_others).sum()
    return int(min(free, n_others * rank) + n_others * intercept)
