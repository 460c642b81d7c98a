"""The model as pure functions of arrays: densities, means, variances.

``log_gate`` (n, K) are log-weights, ``log_prob`` (n, K) expert log-densities,
``weights`` (n, K) gate weights, ``predictions`` (n, K, d) expert predictions.

Rows that belong together are one row of ``log_gate`` and ``log_prob``, which has the
sums of their log-densities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from ._kernels.routing import group_slots
from ._kernels.vector import softmax_rows
from ._numerics.bisection import MOST_HALVINGS, middle
from ._stamp import public

__all__ = [
    "Components",
    "at_views",
    "cdf",
    "dispatch",
    "e_step",
    "entropy",
    "log_density",
    "log_prob",
    "marginal_density",
    "mean",
    "narrowed",
    "quantile",
    "responsibilities",
    "variance",
]

public(__name__)

# Log-density of a row that is as good as impossible; sums over rows stay numbers.
LEAST_DENSITY = -1e300
# Newton's steps and halvings, and those after which it is bits that are halved; any
# two doubles are told apart by 64 of these.
MOST_STEPS, FIRST_STEPS = 200, 60


def at_views(likelihoods: Sequence[Any], views: Sequence[Any]) -> list[Any]:
    """Likelihoods of the rows that each expert sees."""
    return [own.at(view) for own, view in zip(likelihoods, views, strict=True)]


def log_prob(
    likelihoods: Sequence[Any],
    y: NDArray,
    predictions: Sequence[NDArray],
    size: NDArray | None = None,
) -> NDArray:
    """Log-densities (n, K) of rows ``y`` under each expert's likelihood.

    ``size`` (n,) are exposures or trials, None for one.
    """
    pairs = zip(likelihoods, predictions, strict=True)
    return np.column_stack([own.log_prob(y, at, size) for own, at in pairs])


def log_density(log_gate: NDArray, log_prob: NDArray) -> NDArray:
    """``log sum_k g_k p_k`` per row."""
    return logsumexp(log_gate + log_prob, axis=1)


def responsibilities(log_gate: NDArray, log_prob: NDArray) -> NDArray:
    """Posterior probability of each expert per row, shape (n, K).

    Where no expert finds y possible, they are the gate's weights.
    """
    return softmax(_joint(log_gate, log_prob)[0], axis=1)


def _joint(log_gate, log_prob):
    """Log-weights plus log-densities (n, K), and rows (n,) that none finds possible,
    which have their log-weights only."""
    joint = log_gate + log_prob
    impossible = joint.max(axis=1) == -np.inf
    joint[impossible] = log_gate[impossible]
    return joint, impossible


def e_step(
    log_gate: NDArray, log_prob: NDArray, *, hard: bool = False
) -> tuple[NDArray, NDArray]:
    """Log-densities (n,) of rows as training counts them, and responsibilities (n, K).

    A row that no expert finds possible counts as very unlikely.  If ``hard``, a row
    belongs to the expert with the largest posterior, and its density is that of both.
    """
    joint, impossible = _joint(log_gate, log_prob)
    if hard:
        row, resp = joint.max(axis=1), np.zeros_like(joint)
        np.put_along_axis(resp, joint.argmax(axis=1)[:, None], 1.0, axis=1)
    else:
        resp, row = np.ascontiguousarray(joint), np.empty(len(joint))
        nothing = np.isneginf(resp)
        softmax_rows(resp, row)
        # Not even next to nothing of what an expert finds impossible.
        resp[nothing] = 0.0
    return np.where(impossible, LEAST_DENSITY, row), resp


def mean(weights: NDArray, predictions: Sequence[NDArray]) -> NDArray:
    """Gate-weighted prediction, shape (n, d)."""
    return np.einsum("nk,nkd->nd", weights, predictions)


def variance(
    weights: NDArray, predictions: Sequence[NDArray], within: NDArray
) -> NDArray:
    """Law of total variance, shape (n, d).

    Parameters
    ----------
    weights : ndarray of shape (n, K)
    predictions : ndarray of shape (n, K, d)
    within : ndarray of shape (n, K, d)
        Variance of each expert around its prediction.
    """
    center = mean(weights, predictions)
    spread = (predictions - center[:, None, :]) ** 2 + within
    # An infinite variance of an expert that does not serve a row is none of it.
    spread = np.where(weights[:, :, None] > 0, spread, 0.0)
    return np.einsum("nk,nkd->nd", weights, spread)


class Components(NamedTuple):
    """Mixtures of some rows, whose densities are asked for.

    Attributes
    ----------
    weights : (n, K)
    predictions : (n, K, d)
    likelihoods : list of K fitted likelihoods of these rows
    size : (n,) exposures or trials, or None
    """

    weights: np.ndarray
    predictions: np.ndarray
    likelihoods: list
    size: np.ndarray | None = None

    def on_rows(self, rows):
        """The mixtures of some of the rows."""
        size = None if self.size is None else self.size[rows]
        own = [likelihood.on_rows(rows) for likelihood in self.likelihoods]
        return Components(self.weights[rows], self.predictions[rows], own, size)

    @property
    def discrete(self):
        """Whether y are counts."""
        return self.likelihoods[0].discrete

    @property
    def has_atom(self):
        """Whether some value has a probability of its own, beside densities."""
        return any(own.atom is not None for own in self.likelihoods)

    def each(self):
        """Weights (n,), likelihood and predictions (n, d), expert by expert."""
        predictions = self.predictions.transpose(1, 0, 2)
        return zip(self.weights.T, self.likelihoods, predictions, strict=True)

    def means(self):
        """Mean of each expert, (n, K, d)."""
        parts = [own.mean(at, self.size) for _, own, at in self.each()]
        return np.stack(parts, axis=1)

    def modes(self):
        """What stands for each expert where one value does, (n, K, d)."""
        parts = [own.mode_of(at, self.size) for _, own, at in self.each()]
        return np.stack(parts, axis=1)

    def variances(self):
        """Variance of each expert, (n, K, d)."""
        parts = [own.variance_of(at, self.size) for _, own, at in self.each()]
        return np.stack(parts, axis=1)


def cdf(t: NDArray, components: Any) -> NDArray:
    """P(Y <= t) of each output by itself, shape (n, d), at ``t`` of that shape."""
    size = components.size
    return sum(w[:, None] * own.cdf(t, at, size) for w, own, at in components.each())


def marginal_density(t: NDArray, components: Any) -> NDArray:
    """Density of each output by itself, shape (n, d), at ``t`` of that shape."""
    size = components.size
    parts = [
        w[:, None] * own.marginal_density(t, at, size)
        for w, own, at in components.each()
    ]
    return sum(parts)


def quantile(level: float | NDArray, components: Any) -> NDArray:
    """Where the distribution function of each output reaches ``level``, (n, d).

    ``level`` is a number, one per output, or one per row and output.

    The distribution function at the smallest of the experts' own quantiles is at most
    ``level``, at the largest at least: counts are found by halving this bracket, other
    values by Newton's method within it.
    """
    own = np.stack(
        [x.quantile(level, at, components.size) for _, x, at in components.each()],
        axis=1,
    )
    serves = components.weights[:, :, None] > 0
    low = np.where(serves, own, np.inf).min(axis=1)
    high = np.where(serves, own, -np.inf).max(axis=1)
    if components.discrete:
        return _count_quantile(level, low, high, components)
    t = np.einsum("nk,nkd->nd", components.weights, np.where(serves, own, 0.0))
    if components.has_atom:
        # A value of some probability may be the quantile of many levels.
        there = cdf(low, components) >= level * (1.0 - 4.0 * np.finfo(float).eps)
        high, t = np.where(there, low, high), np.where(there, low, t)
    level = np.broadcast_to(level, t.shape)
    # To rounding: relative in either tail, where the sum of weights allows it.
    tolerance = 1e-13 * np.minimum(level, 1.0 - level)
    tolerance += 2.0 * np.finfo(float).eps * level
    open_rows = np.arange(len(t))
    for number in range(MOST_STEPS):
        halfway = _halfway if number < FIRST_STEPS else middle
        block = components.on_rows(open_rows)
        excess, slope = _newton(level[open_rows], t[open_rows], block)
        low[open_rows], high[open_rows], t[open_rows], done = narrowed(
            low[open_rows],
            high[open_rows],
            t[open_rows],
            excess,
            slope,
            tolerance[open_rows],
            halfway,
        )
        open_rows = open_rows[~done]
        if not len(open_rows):
            break
    return t


def _count_quantile(level, low, high, components):
    """Least counts in brackets (n, d) whose distribution function reaches ``level``."""
    # Rounding of the weights' sum must not push a level out of reach.
    level = level * (1.0 - 4.0 * np.finfo(float).eps)
    # The range of a noise component need not end at counts.
    low = np.minimum(np.floor(low) - 1.0, np.nextafter(low, -np.inf))
    high = np.ceil(high)
    for _ in range(MOST_HALVINGS):
        following = np.maximum(low + 1.0, np.nextafter(low, np.inf))
        if np.all(following >= high):
            break
        t = np.clip(np.floor(middle(low, high)), following, high)
        below = cdf(t, components) < level
        low, high = np.where(below, t, low), np.where(below, high, t)
    return high


def _halfway(low, high):
    return low + 0.5 * (high - low)


def _newton(level, t, components):
    """Excess of the distribution function over ``level``, and its slope, at ``t``."""
    excess, slope = -level, np.zeros(t.shape)
    for w, own, at in components.each():
        excess += w[:, None] * own.cdf(t, at, components.size)
        slope += w[:, None] * own.marginal_density(t, at, components.size)
    return excess, slope


def narrowed(
    low: NDArray,
    high: NDArray,
    t: NDArray,
    excess: NDArray,
    slope: NDArray,
    tolerance: float | NDArray,
    halfway: Callable[..., NDArray] = _halfway,
) -> tuple[Any, ...]:
    """The bracket after a look at ``t``, the next ``t``, and rows that are done."""
    below = excess < 0
    low, high = np.where(below, t, low), np.where(below, high, t)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        proposed = t - excess / slope
    inside = (proposed > low) & (proposed < high)
    nearest = 4.0 * np.spacing(np.maximum(np.abs(low), np.abs(high)))
    there = np.abs(excess) <= tolerance
    following = np.where(inside, proposed, halfway(low, high))
    done = there | (high - low <= nearest)
    return low, high, np.where(there, t, following), done.all(axis=1)


def entropy(resp: NDArray, sample_weight: NDArray) -> float:
    """``-sum_i w_i sum_k r_ik log r_ik``, the uncertainty about who serves whom."""
    safe = np.where(resp > 0, resp, 1.0)
    return -float(sample_weight @ np.sum(resp * np.log(safe), axis=1))


def dispatch(
    indices: NDArray, n_experts: int
) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Rows and slots of each expert, from one counting sort.

    Yields
    ------
    expert, rows, slots : int, ndarray, ndarray
        Experts without rows are skipped.
    """
    order, bounds = group_slots(np.ascontiguousarray(indices), n_experts)
    n_slots = indices.shape[1]
    for k in range(n_experts):
        own = order[bounds[k] : bounds[k + 1]]
        if len(own):
            yield k, own // n_slots, own % n_slots
