"""Starting responsibilities.

Every function maps data to an (n, K) array and is weight-equivariant: a row of
weight two counts as two rows, a row of weight zero as none.  Random starts
draw directions in the space of the columns, never a number per row.
"""

import numpy as np
from scipy.special import expit
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import murmurhash3_32

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
# What an expert keeps of a row at least where another one is taken away.
LEAST_RESP = 1e-9
# Spreads of a line through a few rows, in units of the target or of its errors.
SEED_WIDTHS = (0.02, 0.05, 0.1, 0.3)
# Slopes of the border along which rows are divided, per standard deviation.
STEEPNESS = (2.0, 5.0, 20.0)
# Powers that flatten responsibilities before rows are dealt out by them.
TEMPERATURES = (0.1, 0.3, 0.5)
TIE_BREAK = 1e-3
# Columns times outputs up to which subjects are told apart by their slopes.
MOST_SLOPES = 400
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
    labels = _nearest(points, centers)
    for _ in range(KMEANS_ITERATIONS):
        mass = np.bincount(labels, weights=weight, minlength=len(centers))
        member = weight * (labels == np.arange(len(centers))[:, None])
        # A centre without rows stays where it is.
        filled = mass > 0
        centers[filled] = (member @ points)[filled] / mass[filled, None]
        moved = _nearest(points, centers)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return soften(labels, n_experts)


def _nearest(points, centers):
    """Number of the nearest centre of each point."""
    half = 0.5 * np.sum(centers**2, axis=1)
    return np.argmin(half - points @ centers.T, axis=1)


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


def subject_starts(Z, target, weight, n_experts, subjects):
    """The same of subjects, by what each of them has that all rows together do not.

    Means over the rows of a subject of what one linear expert leaves, and of its
    products with the columns: the slopes at that expert of the subject's own
    coefficients.
    """
    residual = linear_residual(Z, target, weight)
    parts = [residual]
    if Z.shape[1] * residual.shape[1] <= MOST_SLOPES:
        parts += [residual[:, [d]] * Z for d in range(residual.shape[1])]
    slopes, own = subjects.mean(np.hstack(parts)), subjects.weight
    center = np.average(slopes, axis=0, weights=own)
    spread = np.sqrt(np.average((slopes - center) ** 2, axis=0, weights=own))
    slopes = (slopes - center) / np.where(spread > 0, spread, 1.0)
    level = slopes[:, 0]
    return [
        (
            "kmeans-slopes",
            lambda: subjects.spread(kmeans_partition(slopes, own, n_experts)),
        ),
        (
            "quantile-level",
            lambda: subjects.spread(quantile_partition(level, own, n_experts)),
        ),
    ]


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


def reseeded(resp, Z, target, weight, rng):
    """Responsibilities (n, K) with one expert moved to a few rows of another.

    The expert begins as the line through as many rows as it has coefficients, rows that
    the other one serves, and takes what is close to that line.
    """
    own, takes = _vacated(resp, rng)
    line = _line_through(_drawn_rows(own, Z, target, rng), Z, target)
    error = np.sum((target - line) ** 2, axis=1)
    scale = (
        1.0 if rng.random_sample() < 0.5 else np.average(error, weights=own * weight)
    )
    width = rng.choice(SEED_WIDTHS) ** 2 * max(scale, np.finfo(float).tiny)
    return takes(np.exp(-0.5 * error / width))


def divided(resp, Z, target, weight, rng):
    """Responsibilities (n, K) with one expert moved to one side of another's rows."""
    own, takes = _vacated(resp, rng)
    points = Z if Z.shape[1] and rng.random_sample() < 0.5 else np.hstack([Z, target])
    direction = rng.normal(size=points.shape[1])
    if rng.random_sample() < 0.3:
        # Along one column only.
        direction *= np.arange(len(direction)) == rng.randint(len(direction))
    own = own * weight
    side = (points - np.average(points, axis=0, weights=own)) @ direction
    spread = np.sqrt(np.average(side**2, weights=own))
    side = side / max(spread, np.finfo(float).tiny) + rng.normal()
    return takes(expit(rng.choice(STEEPNESS) * side))


def drawn(resp, Z, target, weight, rng):
    """Responsibilities (n, K) of rows dealt out by chance, as they were flattened.

    A step of stochastic EM at a high temperature.
    """
    flat = resp ** rng.choice(TEMPERATURES)
    flat /= flat.sum(axis=1, keepdims=True)
    chance = content_hash(_mixed(Z, target, rng))
    group = (chance[:, None] > np.cumsum(flat, axis=1)).sum(axis=1)
    n_experts = resp.shape[1]
    dealt = np.eye(n_experts)[np.minimum(group, n_experts - 1)]
    return dealt * (1.0 - SCATTER) + SCATTER / n_experts


#: Perturbations of a solution that are tried in turn.
MOVES = (reseeded, divided, reseeded)


def _vacated(resp, rng):
    """Responsibilities of one expert, and how another one takes a share of them."""
    n_experts = resp.shape[1]
    giver, taker = rng.randint(n_experts), rng.randint(n_experts)
    others = np.maximum(resp, LEAST_RESP)
    others[:, taker] = 0.0
    others /= others.sum(axis=1, keepdims=True)
    own = np.ones(len(resp)) if giver == taker else others[:, giver]

    def takes(share):
        moved = others.copy()
        if giver == taker:
            moved *= 1.0 - share[:, None]
        else:
            moved[:, giver] *= 1.0 - share
        moved[:, taker] = own * share
        moved /= moved.sum(axis=1, keepdims=True)
        return moved * (1.0 - SOFTNESS / 5) + SOFTNESS / 5 / n_experts

    return own, takes


def _mixed(Z, target, rng):
    values = np.column_stack([Z, target])
    return values @ rng.normal(size=(values.shape[1], values.shape[1]))


def _drawn_rows(share, Z, target, rng):
    """As many different rows as a line has coefficients, drawn in proportion."""
    chance = np.maximum(content_hash(_mixed(Z, target, rng)), 1e-9)
    # Equal rows have equal keys, so that a row of weight two is still one of them.
    _, first = np.unique(-np.log(chance) / np.maximum(share, 1e-9), return_index=True)
    return first[: Z.shape[1] + 1]


def _line_through(rows, Z, target):
    design = np.column_stack([Z, np.ones(len(Z))])
    gram = design[rows].T @ design[rows]
    # Rows without weight may be far out, where one in a million is nothing.
    gram[np.diag_indices_from(gram)] += 1e-6 + 1e-13 * np.trace(gram)
    return design @ np.linalg.solve(gram, design[rows].T @ target[rows])


def content_sample(columns, target, weight, size=SAMPLE_ROWS):
    """Rows to compare starts on: all, or a sample drawn by a hash of their content.

    Equal rows are in or out together, so the sample is weight-equivariant.

    Parameters
    ----------
    columns : callable
        Maps a slice of rows to their standardised columns, so that no copy of all
        of them is made.
    target : (n, d)
    weight : (n,)
    size : int
        Rows beyond which, and of which, a sample is made.

    Returns
    -------
    ndarray of row numbers, or None for all
    """
    return content_samples(columns, target, weight, [size])[0]


def content_samples(columns, target, weight, sizes, subjects=None):
    """The same for several sizes; smaller samples are parts of larger ones.

    Rows of one of ``subjects`` are in or out together.
    """
    total, n_rows = weight.sum(), len(weight)
    if min(total, n_rows) <= min(sizes):
        return [None] * len(sizes)
    uniform = np.empty(n_rows)
    for first in range(0, n_rows, HASH_ROWS):
        block = slice(first, min(first + HASH_ROWS, n_rows))
        uniform[block] = content_hash(np.column_stack([columns(block), target[block]]))
    if subjects is not None:
        # Sums of so few bits are exact, in any order of the rows.
        uniform = subjects.spread(subjects.total(uniform) % 1.0)
    return [
        None if min(total, n_rows) <= size else np.flatnonzero(uniform < size / total)
        for size in sizes
    ]


def content_hash(values):
    """A number in [0, 1) for each row of ``values``, the same for equal rows."""
    # Irrational-looking coefficients tell rows apart.
    primes = np.sqrt(np.arange(2, values.shape[1] + 2)) * np.pi
    content = np.round(values @ primes, 6)
    keys = murmurhash3_32(content.view(np.int32), seed=0, positive=True)
    mixed = keys[::2].astype(np.uint64) ^ (keys[1::2].astype(np.uint64) << np.uint64(1))
    return (mixed % np.uint64(1 << 20)).astype(float) / (1 << 20)
