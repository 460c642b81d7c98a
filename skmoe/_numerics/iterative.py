"""Solvers that know a matrix by its products only."""

import numpy as np

from .linalg import SINGULAR

# Products with the curvature that a step of a wide problem may ask for, and the share
# of the slope that it may leave.
MOST_PRODUCTS = 200
LARGEST_RESIDUAL = 0.1
# Relative move that ends proximal steps, and how their length is found.
PROXIMAL_MOVE = 1e-7
POWER_ITERATIONS = 20
EIGENVALUE_MARGIN = 1.1


def conjugate_gradients(apply, right, diagonal, tol, max_iter=MOST_PRODUCTS):
    """Solve ``apply(d) = right`` as long as the curvature is positive.

    Parameters
    ----------
    apply : callable, product with a symmetric matrix
    right : (m,)
    diagonal : (m,) positive
        Preconditioner: about the diagonal of the matrix.
    tol : float
        Residual, as a share of the first, at which the solution will do.
    max_iter : int

    Returns
    -------
    (m,) or None, where the first direction has no positive curvature.
    """
    solution, residual = np.zeros_like(right), right.copy()
    scaled = residual / diagonal
    direction, size = scaled.copy(), residual @ scaled
    enough = tol**2 * size
    for iteration in range(max_iter):
        if size <= enough:
            break
        image = apply(direction)
        curvature = direction @ image
        if not curvature > 0.0:
            return solution if iteration else None
        step = size / curvature
        solution += step * direction
        residual -= step * image
        scaled = residual / diagonal
        before, size = size, residual @ scaled
        direction = scaled + (size / before) * direction
    return solution


def preconditioner(spread, penalty):
    """About the diagonal (m, q) of a Hessian whose outputs curve by ``spread`` (m,)."""
    diagonal = spread[:, None] + penalty
    largest = np.maximum(diagonal.max(), np.finfo(float).tiny)
    return np.maximum(diagonal, SINGULAR * largest)


def solve_by_products(apply, right, diagonal, tol):
    """``conjugate_gradients`` of arrays of any shape; zeros if there is no answer."""

    def flat(move):
        return apply(move.reshape(right.shape)).ravel()

    move = conjugate_gradients(flat, right.ravel(), diagonal.ravel(), tol)
    return np.zeros_like(right) if move is None else move.reshape(right.shape)


def lasso_move(apply, slope, coef, lasso):
    """Towards the minimum of a quadratic model with absolute values, by products.

    Accelerated proximal gradient steps with restarts (Beck & Teboulle 2009).

    Parameters
    ----------
    apply : callable, product of the Hessian with a move (m, q)
    slope : (m, q) of the smooth part, upwards
    coef : (m, q), last channel the intercept
    lasso : float or (m,)
    """
    strength = np.broadcast_to(np.reshape(lasso, (-1, 1)), coef.shape).copy()
    strength[:, -1] = 0.0
    bound = largest_eigenvalue(apply, coef.shape)
    move, ahead, momentum = np.zeros_like(coef), np.zeros_like(coef), 1.0
    for _ in range(MOST_PRODUCTS):
        target = coef + ahead + (slope - apply(ahead)) / bound
        shrunk = np.maximum(np.abs(target) - strength / bound, 0.0)
        new = np.sign(target) * shrunk - coef
        change = new - move
        if np.vdot(ahead - new, change) > 0:
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = new + (momentum - 1.0) / following * change
        move, momentum = new, following
        if np.abs(change).max() <= PROXIMAL_MOVE * np.abs(coef + new).max():
            break
    return move


def largest_eigenvalue(apply, shape):
    """An upper estimate, by a few power iterations from a fixed start."""
    vector = np.random.RandomState(0).normal(size=shape)
    size = 1.0
    for _ in range(POWER_ITERATIONS):
        vector /= max(np.linalg.norm(vector), np.finfo(float).tiny)
        vector = apply(vector)
        size = np.linalg.norm(vector)
    return max(EIGENVALUE_MARGIN * size, np.finfo(float).tiny)
