"""Pure functions that turn accumulated statistics into parameters."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.linalg.lapack import dpotrf, dpotrs

from .._kernels.coordinate import coordinate_descent
from ..exceptions import did_you_mean

# Exact Newton on all classes jointly up to this many coefficients; beyond it the
# cubic solve and the quadratic number of Gram matrices cost more than they save.
EXACT_NEWTON_LIMIT = 200
# With so few channels their matrices are cheaper than any product.
FEW_CHANNELS = 64
# A Newton step moves no standardised coefficient further than this, which bounds
# the steps towards infinity that separable data ask for.
LARGEST_STEP = 10.0
SINGULAR = 1e-12
# Coefficients that cost more of the mass than this leave too little to tell noise by.
MOST_SPENT = 0.5
# Sweeps of coordinate descent, and the largest move that ends them.
MOST_SWEEPS = 10_000
SMALLEST_MOVE = 1e-10
# Sweeps after which the minimum is sought among coefficients of the same signs, and
# the relative fall of the objective that makes it worth to go on.
SWEEPS = 100
LEAST_CURVATURE = 1e-9
SMALLEST_FALL = 1e-13


def n_pairs(n_channels):
    """Number of entries of a lower triangle."""
    return n_channels * (n_channels + 1) // 2


@lru_cache(maxsize=16)
def _lower_triangle(n_channels):
    return np.tril_indices(n_channels)


@lru_cache(maxsize=16)
def _pairs(n_classes):
    return np.triu_indices(n_classes, 1)


def unpack_grams(grams, n_channels):
    """Symmetric matrices (m, q, q) from their lower triangles (pairs, m)."""
    rows, cols = _lower_triangle(n_channels)
    full = np.empty((grams.shape[1], n_channels, n_channels))
    full[:, rows, cols] = grams.T
    full[:, cols, rows] = grams.T
    return full


def ridge_diagonal(n_channels, alpha):
    """Penalty per coefficient; the last channel is the intercept, unpenalised.

    Or ``alpha`` (q,) as it is, where it is given for each.
    """
    if np.ndim(alpha):
        return np.asarray(alpha, dtype=float)
    diagonal = np.full(n_channels, float(alpha))
    diagonal[-1] = 0.0
    return diagonal


def ridge_diagonals(n_channels, alphas):
    """The same for several penalties (m,): (m, q)."""
    return np.stack([ridge_diagonal(n_channels, alpha) for alpha in alphas])


def solve_symmetric(matrices, right):
    """Solve positive semi-definite systems, minimum-norm where they are singular.

    Parameters
    ----------
    matrices : (m, q, q)
    right : (m, q, t)

    Returns
    -------
    (m, q, t)
    """
    if not matrices.size:
        return np.zeros_like(right)
    scale = np.sqrt(np.maximum(np.einsum("mii->mi", matrices), 0.0))
    scale[scale == 0.0] = 1.0
    scaled = matrices / (scale[:, :, None] * scale[:, None, :])
    right = right / scale[:, :, None]
    solutions = np.empty_like(right)
    for matrix, rhs, solution in zip(scaled, right, solutions, strict=True):
        solution[:] = _solve_scaled(matrix, rhs)
    return solutions / scale[:, :, None]


def spreadless(matrices):
    """Columns (m, q - 1) without spread in Gram matrices (m, q, q), intercept last."""
    square = np.einsum("mii->mi", matrices)
    return spread_is_rounding(square[:, -1], matrices[:, -1, :-1], square[:, :-1])


def spread_is_rounding(mass, total, square):
    """Columns (m, p) without spread, by mass (m,), sums and sums of squares (m, p).

    Beside an intercept such a column has nothing to say, and what rounding leaves of
    its variance must not be divided by.
    """
    mass = np.maximum(mass, np.finfo(float).tiny)[:, None]
    limit = SINGULAR * (square.shape[1] + 1)
    return square - total * (total / mass) <= limit * square


def solve_centred(matrices, right, ridge, flat=None):
    """Solve penalised least squares (m, q, q) around the mean of the columns.

    Columns without spread get coefficients of exactly zero; where others are collinear,
    slopes have the least norm.

    Parameters
    ----------
    matrices : (m, q, q)
        Gram matrices; the last channel is the intercept, which is not penalised.
    right : (m, q, t)
    ridge : float, or (m,)
    flat : (m, q - 1), default=None
        Columns without spread; those of the matrices by default.

    Returns
    -------
    (m, q, t)
    """
    flat = spreadless(matrices) if flat is None else flat
    mass = np.where(matrices[:, -1, -1] > 0, matrices[:, -1, -1], 1.0)[:, None]
    mean, level = matrices[:, -1, :-1] / mass, right[:, -1] / mass
    spread = centred_grams(matrices, flat)
    np.einsum("mii->mi", spread)[:] += np.where(flat, 1.0, np.reshape(ridge, (-1, 1)))
    cross = right[:, :-1] - matrices[:, -1, :-1, None] * level[:, None, :]
    slopes = solve_symmetric(spread, np.where(flat[:, :, None], 0.0, cross))
    slopes[flat] = 0.0
    intercepts = level - np.einsum("mq,mqt->mt", mean, slopes)
    return np.concatenate([slopes, intercepts[:, None]], axis=1)


def without_bias(matrices, right, ridge, coef, flat=None):
    """Solutions of ``solve_centred`` without the bias of the ridge, and their cost.

    The penalty pulls towards the solution itself rather than towards zero (Tukey's
    twicing): what rows determine well is hardly shrunk any more, the rest still is.

    Parameters
    ----------
    matrices, right, ridge, flat
        As in :func:`solve_centred`.
    coef : (m, q, t)
        Its solution.

    Returns
    -------
    coef : (m, q, t)
    spent : (m,)
        Effective number of coefficients, with the intercept.
    """
    flat = spreadless(matrices) if flat is None else flat
    rest = right - matrices @ coef
    again = coef + solve_centred(matrices, rest, ridge, flat)
    return again, effective(matrices, ridge, flat)


def effective(matrices, ridge, flat=None):
    """Effective numbers of coefficients (m,) without bias, with the intercept."""
    flat = spreadless(matrices) if flat is None else flat
    ridge = np.reshape(ridge, (-1, 1))
    curvature = np.maximum(np.linalg.eigvalsh(centred_grams(matrices, flat)), 0.0)
    return 1.0 + np.sum(1.0 - (ridge / (curvature + ridge)) ** 2, axis=1)


def centred_grams(matrices, flat):
    """Gram matrices (m, q - 1, q - 1) around the means, without flat columns."""
    mass = np.where(matrices[:, -1, -1] > 0, matrices[:, -1, -1], 1.0)[:, None]
    mean = matrices[:, -1, :-1] / mass
    own = matrices[:, -1, :-1, None] * mean[:, None, :]
    return np.where(_either(flat), 0.0, matrices[:, :-1, :-1] - own)


def _either(flat):
    """Pairs of columns of which one is flat."""
    return flat[:, :, None] | flat[:, None, :]


def _solve_scaled(matrix, right):
    """Cholesky solve of a matrix with unit diagonal, or its pseudo-inverse."""
    # LAPACK itself: around it small systems spend ten times as long as in it.
    factor, failed = dpotrf(matrix, lower=True, clean=False)
    # Of matrices with NaN LAPACK reports no failure.
    if not failed and factor.diagonal().min() ** 2 > SINGULAR * len(matrix):
        return dpotrs(factor, right, lower=True)[0]
    return _minimum_norm(matrix, right)


def solve_lasso(matrix, right, lasso, start):
    """Minimise ``c' M c / 2 - r' c + lasso * sum |c_j|``, intercept unpenalised.

    Parameters
    ----------
    matrix : (q, q) or, for several outputs or classes jointly, (m * q, m * q)
    right, start : (m, q)
        The last of the q channels is the intercept.
    lasso : float or (m,)

    Returns
    -------
    (m, q)
    """
    weights = np.empty(right.shape)
    weights[:] = np.reshape(lasso, (-1, 1))
    weights[:, -1] = 0.0
    problem = np.ascontiguousarray(matrix), right.ravel().copy(), weights.ravel()
    coef = start.ravel().copy()
    for _ in range(MOST_SWEEPS // SWEEPS):
        if coordinate_descent(*problem, coef, SWEEPS, SMALLEST_MOVE) < SWEEPS:
            break
        before = lasso_objective(*problem, coef)
        leap(*problem, coef)
        if before - lasso_objective(*problem, coef) <= SMALLEST_FALL * abs(before):
            break
    return coef.reshape(start.shape)


def lasso_objective(matrix, right, weights, coef):
    """What ``solve_lasso`` minimises."""
    quadratic = 0.5 * coef @ matrix @ coef - right @ coef
    return float(quadratic + weights @ np.abs(coef))


def leap(matrix, right, weights, coef):
    """Go to the minimum among coefficients of the same signs, in place.

    Sweeps crawl where columns are nearly dependent.  Coefficients that reach zero on
    the way stay there, and those that are zero are left to the sweeps.
    """
    for _ in range(len(coef)):
        free = np.flatnonzero((coef != 0.0) | (weights == 0.0))
        signs = np.sign(coef[free])
        slope = right[free] - matrix[free] @ coef - weights[free] * signs
        part = matrix[np.ix_(free, free)]
        # Where there is no curvature a lasso falls until a coefficient is zero: a move
        # that this little curvature bounds takes it there.
        part[np.diag_indices_from(part)] *= 1.0 + LEAST_CURVATURE
        move = solve_symmetric(part[None], slope[None, :, None])
        move = move[0, :, 0]
        bound = (weights[free] > 0.0) & (move * signs < 0.0)
        lengths = np.full(len(free), np.inf)
        lengths[bound] = -coef[free][bound] / move[bound]
        step = lengths.min(initial=np.inf)
        if step >= 1.0:
            coef[free] += move
            return
        coef[free] += step * move
        coef[free[lengths.argmin()]] = 0.0


class Penalty(NamedTuple):
    """Strengths of an elastic net on standardised coefficients.

    Attributes
    ----------
    ridge : float, of half the sum of squares, in units of rows
    lasso : float, of the sum of absolute values, in nats
    """

    ridge: float
    lasso: float = 0.0

    @classmethod
    def of(cls, part):
        """Penalty of a part with a ``strength`` and an ``l1_ratio``."""
        strength = part.strength
        return cls(strength * (1.0 - part.l1_ratio), strength * part.l1_ratio)


def check_penalty(part):
    """Raise ``ValueError`` for an ``alpha`` or ``l1_ratio`` that makes no sense."""
    name = type(part).__name__
    number = np.isscalar(part.alpha) and not isinstance(part.alpha, str)
    if not part.is_chosen and not (number and 0 <= part.alpha < np.inf):
        raise ValueError(
            f"{name} got alpha={part.alpha!r}, but expected 'evidence', or a finite "
            "number >= 0; 0 is the unpenalised maximum-likelihood estimate"
            + did_you_mean(part.alpha, ("evidence",))
        )
    if not (np.isscalar(part.l1_ratio) and 0 <= part.l1_ratio <= 1):
        raise ValueError(
            f"{name} got l1_ratio={part.l1_ratio!r}, but expected a number in [0, 1]: "
            "0 for ridge, 1 for lasso."
        )


def _minimum_norm(matrix, right):
    values, vectors = linalg.eigh(matrix)
    keep = values > SINGULAR * len(values) * max(values[-1], np.finfo(float).tiny)
    basis = vectors[:, keep]
    return basis @ ((basis.T @ right) / values[keep, None])


def use_exact_newton(n_classes, n_channels):
    """Whether the joint Hessian of all classes is accumulated."""
    return n_classes <= 3 or n_classes * n_channels <= EXACT_NEWTON_LIMIT


def curvature_columns(n_classes, n_channels):
    """Number of Gram matrices that the Newton step of a softmax needs."""
    if n_classes == 1:
        return 0
    if use_exact_newton(n_classes, n_channels):
        return n_classes * (n_classes - 1) // 2
    return n_classes


def use_products(X, n_classes=0):
    """Whether a fit asks for products with X, rather than for matrices of curvature.

    Sparse columns give products only; dense ones where they are many, and the system
    of a Newton step of all classes is large.
    """
    return sparse.issparse(X) or is_large(X.shape[1] + 1, n_classes)


def is_large(n_channels, n_classes):
    """Whether there are many channels, and many coefficients in a joint system."""
    return n_channels > FEW_CHANNELS and n_classes * n_channels > EXACT_NEWTON_LIMIT


def newton_direction(gradient, grams, coef, alpha, lasso=0.0):
    """Newton direction of penalised multinomial log-likelihoods.

    Parameters
    ----------
    gradient : (K, q) of the unpenalised log-likelihood, or (m, K, q) of several.
    grams : (pairs, m * columns) curvature as accumulated by ``multinomial_curvature``.
    coef : (K, q) or (m, K, q)
        Current coefficients, last channel the intercept.
    alpha : ridge penalty per row unit, a number or (m,), or (m, q) by channel.
    lasso : penalty of absolute values, in nats.

    Returns
    -------
    (K, q) or (m, K, q) direction; without a lasso its rows sum to zero.
    """
    n_classes, n_channels = coef.shape[-2:]
    if n_classes == 1:
        return np.zeros_like(coef)
    shape = -1, n_classes, n_channels
    penalty = np.asarray(alpha)
    if penalty.ndim < 2:
        penalty = ridge_diagonals(n_channels, np.atleast_1d(alpha))
    slope = gradient.reshape(shape) - penalty[:, None] * coef.reshape(shape)
    n_blocks = curvature_columns(n_classes, n_channels)
    blocks = unpack_grams(grams, n_channels)
    blocks = blocks.reshape(-1, n_blocks, n_channels, n_channels)
    flat = np.zeros(slope[..., 0, :].shape, dtype=bool)
    if lasso == 0.0:
        flat, slope, blocks, penalty = _without_flat(slope, blocks, penalty)
    if lasso > 0.0:
        ridge = np.broadcast_to(penalty, (len(slope), n_channels))
        each = zip(slope, blocks, ridge, coef.reshape(slope.shape), strict=True)
        moves = [_lasso_direction(*own, lasso) for own in each]
        direction = np.stack(moves)
    elif use_exact_newton(n_classes, n_channels):
        direction = _joint_direction(slope, blocks, penalty)
    else:
        np.einsum("mkii->mki", blocks)[:] += penalty[:, None]
        systems = blocks.reshape(-1, n_channels, n_channels)
        direction = solve_symmetric(systems, slope.reshape(-1, n_channels, 1))
    direction = direction.reshape(slope.shape)
    if lasso == 0.0:
        # A common shift of all classes changes no probability, only rounding feeds it.
        direction = direction - direction.mean(axis=1, keepdims=True)
        direction = _snapped(direction, coef.reshape(slope.shape), flat)
    return shortened(direction).reshape(coef.shape)


def curvature_products(grams, moves):
    """Curvature as ``newton_direction`` takes it, times moves (K, q) or (m, K, q)."""
    n_classes, n_channels = moves.shape[-2:]
    if n_classes == 1:
        return np.zeros_like(moves)
    own = moves.reshape(-1, n_classes, n_channels)
    blocks = unpack_grams(grams, n_channels)
    blocks = blocks.reshape(len(own), -1, n_channels, n_channels)
    if use_exact_newton(n_classes, n_channels):
        products = np.einsum("mkilj,mlj->mki", joint_hessians(blocks, n_classes), own)
    else:
        products = np.einsum("mkij,mkj->mki", blocks, own)
    return products.reshape(moves.shape)


def shortened(direction):
    """Directions (m, K, q) in which no coefficient moves further than it may."""
    largest = np.abs(direction).max(axis=(1, 2), keepdims=True)
    return direction / np.maximum(1.0, largest / LARGEST_STEP)


def _without_flat(slope, blocks, penalty):
    """Columns (m, q) without spread, and slopes, blocks and penalties by which those of
    them that no penalty curves stay where they are."""
    flat = np.zeros((len(blocks), blocks.shape[-1]), dtype=bool)
    flat[:, :-1] = spreadless(blocks.sum(axis=1))
    if not flat.any():
        return flat, slope, blocks, penalty
    free = flat & (penalty == 0.0)
    slope = np.where(free[:, None], 0.0, slope)
    blocks = np.where(_either(free)[:, None], 0.0, blocks)
    return flat, slope, blocks, penalty + free


def _snapped(direction, coef, flat):
    """Moves (m, K, q) that leave nothing where all but rounding would go to zero."""
    if not flat.any():
        return direction
    rest = np.abs(coef + direction).max(axis=1)
    gone = flat & (rest <= SINGULAR)
    return np.where(gone[:, None], -coef, direction)


def _lasso_direction(slope, blocks, penalty, coef, lasso):
    """Towards the minimum of the quadratic model with absolute values."""
    n_classes, n_channels = coef.shape
    if use_exact_newton(n_classes, n_channels):
        size = n_classes * n_channels
        matrix = joint_hessians(blocks[None], n_classes).reshape(size, size)
        matrix[np.diag_indices(size)] += np.tile(penalty, n_classes)
        right = (matrix @ coef.ravel()).reshape(coef.shape) + slope
        return solve_lasso(matrix, right, lasso, coef) - coef
    target = np.empty_like(coef)
    for k, block in enumerate(blocks):
        matrix = block + np.diag(penalty)
        right = (matrix @ coef[k] + slope[k])[None]
        target[k] = solve_lasso(matrix, right, lasso, coef[k][None])
    return target - coef


def joint_hessians(blocks, n_classes):
    """Hessians (m, K, q, K, q) of all classes from blocks above their diagonals."""
    m, _, n_channels, _ = blocks.shape
    hessians = np.zeros((m, n_classes, n_channels, n_classes, n_channels))
    first, second = _pairs(n_classes)
    above = -blocks.swapaxes(0, 1)
    hessians[:, first, :, second] = hessians[:, second, :, first] = above
    # No class gains where all do: blocks of a row sum to zero.
    np.einsum("mkikj->mkij", hessians)[:] = -hessians.sum(axis=3)
    return hessians


def _joint_direction(slope, blocks, penalty):
    m, n_classes, n_channels = slope.shape
    hessians = joint_hessians(blocks, n_classes)
    # A common shift of all logits changes nothing: give that direction the mean
    # curvature.  The slope is orthogonal to it, so the solution is unaffected.
    shift = np.einsum("mkikj->mij", hessians) / n_classes**2
    hessians += shift[:, None, :, None, :]
    np.einsum("mkiki->mki", hessians)[:] += penalty[:, None]
    size = n_classes * n_channels
    systems = hessians.reshape(m, size, size)
    return solve_symmetric(systems, slope.reshape(m, size, 1))
