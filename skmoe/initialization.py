"""Starting responsibilities.

Every function maps data to an (n, K) array and is weight-equivariant: a row of
weight two counts as two rows, a row of weight zero as none.  Random starts
draw directions in the space of the columns, never a number per row.
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import murmurhash3_32

from ._warnings import unheard
from .engines import single_threaded_openmp

# Share of a row that a hard partition leaves to the other experts.
SOFTNESS = 0.1
# Spread of the logits of random directions: firm, but not a hard partition.
DIRECTION_SCALE = 3.0
# Rows beyond which starts are compared on a sample.
SAMPLE_ROWS = 20_000
# What rows dealt out at random keep of equal shares.
SCATTER = 0.2
# Rows hashed at a time.
HASH_ROWS = 16_384
KMEANS_ITERATIONS = 20
TIE_BREAK = 1e-3
RESIDUAL_RIDGE = 1e-3


def soften(labels, n_experts):
    """Responsibilities of a hard partition, a little of each row left to others."""
    resp = np.full((len(labels), n_experts), SOFTNESS / n_experts)
    resp[np.arange(len(labels)), labels] += 1.0 - SOFTNESS
    return resp


def tree_partition(Z, target, weight, n_experts):
    """Leaves of a regression tree for ``target`` (n, d)."""
    tree = DecisionTreeRegressor(
        max_leaf_nodes=max(n_experts, 2),
        min_weight_fraction_leaf=min(0.02, 0.5 / n_experts),
        random_state=0,
    )
    tree.fit(Z, target, sample_weight=weight)
    _, labels = np.unique(tree.apply(Z), return_inverse=True)
    return soften(labels % n_experts, n_experts)


def kmeans_partition(points, weight, n_experts):
    """Weighted k-means from deterministic centres."""
    centers = principal_centers(points, weight, n_experts)
    model = KMeans(
        len(centers), init=centers, n_init=1, max_iter=KMEANS_ITERATIONS, tol=0
    )
    with unheard(), single_threaded_openmp():
        labels = model.fit(points, sample_weight=weight).labels_
    return soften(labels, n_experts)


def principal_centers(points, weight, n_clusters):
    """Centres from repeated cuts of the widest part along its principal axis.

    Su, T., Dy, J. (2007). In search of deterministic methods for initializing
    k-means and Gaussian mixture clustering. Intelligent Data Analysis 11.
    """
    parts = [np.arange(len(points))]
    while len(parts) < n_clusters:
        spreads = [_spread(points[rows], weight[rows]) for rows in parts]
        rows = parts.pop(int(np.argmax(spreads)))
        center = np.average(points[rows], axis=0, weights=weight[rows])
        deviation = points[rows] - center
        covariance = (deviation * weight[rows, None]).T @ deviation
        axis = np.linalg.eigh(covariance)[1][:, -1]
        right = deviation @ axis > 0
        if right.all() or not right.any():
            parts.append(rows)
            break
        parts += [rows[~right], rows[right]]
    return np.array([np.average(points[r], axis=0, weights=weight[r]) for r in parts])


def _spread(points, weight):
    center = np.average(points, axis=0, weights=weight)
    return float(weight @ np.sum((points - center) ** 2, axis=1))


def quantile_partition(values, weight, n_experts):
    """Equal weight of rows per expert along ``values``, by the mid-distribution."""
    _, codes = np.unique(values, return_inverse=True)
    mass = np.bincount(codes, weights=weight)
    middle = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    labels = np.minimum((middle * n_experts).astype(int), n_experts - 1)
    return soften(labels[codes], n_experts)


def direction_partition(points, weight, n_experts, rng):
    """Softmax of random linear functions of the columns of ``points``."""
    directions = rng.normal(size=(points.shape[1], n_experts))
    center = np.average(points, axis=0, weights=weight)
    logits = (points - center) @ directions
    spread = np.sqrt(np.average(logits**2, axis=0, weights=weight))
    logits *= DIRECTION_SCALE / np.maximum(spread, np.finfo(float).tiny)
    logits += rng.normal(size=n_experts)
    logits -= logits.max(axis=1, keepdims=True)
    resp = np.exp(logits)
    return resp / resp.sum(axis=1, keepdims=True)


def linear_residual(Z, target, weight):
    """Residual of a lightly penalised weighted linear fit, scaled to unit spread."""
    design = np.column_stack([Z, np.ones(len(Z))])
    weighted = design * weight[:, None]
    gram = weighted.T @ design
    # Enough that with more columns than rows the residual is more than rounding.
    gram[np.diag_indices_from(gram)] += RESIDUAL_RIDGE * np.trace(gram) / len(gram)
    residual = target - design @ np.linalg.solve(gram, weighted.T @ target)
    spread = np.sqrt(np.average(residual**2, axis=0, weights=weight))
    return residual / np.where(spread > 0, spread, 1.0)


def deterministic_starts(Z, target, weight, n_experts):
    """Names and responsibilities of the cheap deterministic candidates.

    Parameters
    ----------
    Z : (n, p) standardised columns of the gate.
    target : (n, d) standardised outputs, or class indicators.
    weight : (n,)
    n_experts : int

    Returns
    -------
    list of (name, callable without arguments that returns (n, K))
    """
    residual = linear_residual(Z, target, weight)
    # A little of the residual decides between splits that explain a discrete target
    # equally well, which rounding would decide otherwise.
    graded = target + TIE_BREAK * residual
    stretch = np.sqrt(max(Z.shape[1], 1))
    joint = np.column_stack([Z, stretch * residual])
    candidates = [
        ("tree", lambda: tree_partition(Z, graded, weight, n_experts)),
        ("kmeans-residual", lambda: kmeans_partition(joint, weight, n_experts)),
        ("tree-residual", lambda: tree_partition(Z, residual, weight, n_experts)),
        ("kmeans", lambda: kmeans_partition(Z, weight, n_experts)),
        (
            "quantile-residual",
            lambda: quantile_partition(residual[:, 0], weight, n_experts),
        ),
    ]
    blind = ("kmeans-residual", "quantile-residual")
    return candidates if Z.shape[1] else [c for c in candidates if c[0] in blind]


def random_start(Z, target, weight, n_experts, rng):
    """Responsibilities from random directions, or from random linear experts."""
    if rng.random_sample() < 0.5:
        return nearest_expert(Z, target, n_experts, rng)
    residual = linear_residual(Z, target, weight)
    mixed = Z @ rng.normal(size=(Z.shape[1], 1)) if Z.shape[1] else residual
    emphasis = np.sqrt(max(Z.shape[1], 1)) * rng.choice([0.0, 1.0, 3.0])
    points = np.column_stack(
        [Z, emphasis * residual, emphasis * residual * np.tanh(mixed)]
    )
    return direction_partition(points, weight, n_experts, rng)


def nearest_expert(Z, target, n_experts, rng):
    """Responsibilities of randomly drawn linear experts of random width.

    Finds narrow regimes in x and y together, which no cut of x alone can.
    """
    n_outputs = target.shape[1]
    shape = (n_experts, Z.shape[1], n_outputs)
    slopes = rng.normal(size=shape) / np.sqrt(max(Z.shape[1], 1))
    offsets = rng.normal(size=(n_experts, 1, n_outputs))
    widths = rng.choice([0.1, 0.3, 1.0], size=n_experts)
    logits = np.empty((len(Z), n_experts))
    for k, (slope, offset, width) in enumerate(
        zip(slopes, offsets, widths, strict=True)
    ):
        error = (target - Z @ slope - offset) / width
        logits[:, k] = -0.5 * np.sum(error**2, axis=1) - n_outputs * np.log(width)
    logits -= logits.max(axis=1, keepdims=True)
    resp = np.exp(logits)
    return resp / resp.sum(axis=1, keepdims=True)


def scattered_start(Z, target, n_experts, rng):
    """Responsibilities of rows that are dealt out at random, equal rows alike.

    For few rows, whose best partition need not follow any direction.
    """
    values = np.column_stack([Z, target])
    mixed = values @ rng.normal(size=(values.shape[1], values.shape[1]))
    group = np.minimum(content_hash(mixed) * n_experts, n_experts - 1).astype(int)
    return np.eye(n_experts)[group] * (1.0 - SCATTER) + SCATTER / n_experts


def content_sample(columns, target, weight):
    """Rows to compare starts on: all, or a sample drawn by a hash of their content.

    Equal rows are in or out together, so the sample is weight-equivariant.

    Parameters
    ----------
    columns : callable
        Maps a slice of rows to their standardised columns, so that no copy of all
        of them is made.
    target : (n, d)
    weight : (n,)

    Returns
    -------
    ndarray of row numbers, or None for all
    """
    total, n_rows = weight.sum(), len(weight)
    if total <= SAMPLE_ROWS or n_rows <= SAMPLE_ROWS:
        return None
    chosen = []
    for first in range(0, n_rows, HASH_ROWS):
        block = slice(first, min(first + HASH_ROWS, n_rows))
        uniform = content_hash(np.column_stack([columns(block), target[block]]))
        chosen.append(first + np.flatnonzero(uniform < SAMPLE_ROWS / total))
    return np.concatenate(chosen)


def content_hash(values):
    """A number in [0, 1) for each row of ``values``, the same for equal rows."""
    # Irrational-looking coefficients tell rows apart.
    primes = np.sqrt(np.arange(2, values.shape[1] + 2)) * np.pi
    content = np.round(values @ primes, 6)
    keys = murmurhash3_32(content.view(np.int32), seed=0, positive=True)
    mixed = keys[::2].astype(np.uint64) ^ (keys[1::2].astype(np.uint64) << np.uint64(1))
    return (mixed % np.uint64(1 << 20)).astype(float) / (1 << 20)
