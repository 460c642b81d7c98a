"""Expert choice: experts pick their rows."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._kernels.routing import fill_places, settle_prices
from ._base import (
    BaseRouter,
    check_k,
    check_overflow,
    check_positive,
    compacted,
    make_routing,
)

# Of a log-weight: a row in a batch and alone differ by less.
ROUNDING = 1e-9
# Rounds in which each expert sets its price anew; a few dozen do, as a rule.
MOST_ROUNDS = 200


class ExpertChoiceRouter(BaseRouter):
    """Every expert takes its best rows of the batch, the same number each.

    In training an expert takes ``ceil(rows * capacity_factor / K)`` rows, those with
    the largest gate weights for it; a row may be taken by several experts or by none.
    At prediction a row goes to the experts whose weight reaches the smallest that they
    took among the training rows, so that its answer does not depend on other rows.

    Parameters
    ----------
    capacity_factor : float, default=2.0
        Experts per row, on average.
    overflow : {"next", "shared", "drop"}, default="next"
        Where rows go that no expert took: to the expert with the largest weight, to
        the shared expert, or to none in that step.

    Attributes
    ----------
    thresholds_ : ndarray of shape (K,)
        Smallest weight that each expert takes at prediction.

    References
    ----------
    .. [1] Zhou, Y. et al. (2022). Mixture-of-experts with expert choice routing.
       NeurIPS, section 3.2.
    .. [2] Shazeer, N. et al. (2017), appendix F (thresholds for prediction).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import ExpertChoiceRouter
    >>> router = ExpertChoiceRouter(capacity_factor=1.0)
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2]])
    >>> router.route(log_gate, training=True).load.tolist()
    [1, 1]
    """

    masks_training = True
    normalised = False

    def __init__(self, capacity_factor: float = 2.0, overflow: str = "next") -> None:
        self.capacity_factor = capacity_factor
        self.overflow = overflow

    def check(self, n_experts):
        owner = type(self).__name__
        check_positive(owner, "capacity_factor", self.capacity_factor)
        check_overflow(owner, self.overflow)

    def capacity(self, n_rows, n_experts):
        """Rows that an expert takes of a batch."""
        wanted = np.ceil(n_rows / n_experts * self.capacity_factor)
        return int(min(wanted, n_rows))

    def fit(self, log_gate, X=None):
        """Find the thresholds of prediction."""
        size = self.capacity(*log_gate.shape)
        self.thresholds_ = np.sort(log_gate, axis=0)[-size]
        return self

    def route(self, log_gate, *, X=None, rng=None, training=False):
        taken = self._best_rows(log_gate) if training else self._reached(log_gate)
        missed = ~taken.any(axis=1)
        if not training or self.overflow == "next":
            taken[missed, log_gate[missed].argmax(axis=1)] = True
        return make_routing(
            log_gate,
            compacted(taken, log_gate),
            normalised=not training,
            overflow=np.count_nonzero(missed) if training else 0,
        )

    def _reached(self, log_gate):
        """Mask (n, K) of the experts that take a row at prediction."""
        check_is_fitted(self, "thresholds_")
        # A row at the threshold is taken, however its score is rounded.
        margin = ROUNDING * (1.0 + np.abs(self.thresholds_))
        return log_gate >= self.thresholds_ - margin

    def _best_rows(self, log_gate):
        """Mask (n, K) of the rows that each expert takes of a batch."""
        size = self.capacity(*log_gate.shape)
        best = np.argsort(-log_gate, axis=0, kind="stable")[:size]
        taken = np.zeros(log_gate.shape, dtype=bool)
        np.put_along_axis(taken, best, True, axis=0)
        return taken


class CappedExpertChoiceRouter(ExpertChoiceRouter):
    """Expert choice in which no row has more than a few experts.

    In training the rows of the experts are those with the largest sum of gate weights
    of all assignments in which each expert has the same number of rows, and each row
    at most ``max_active`` experts.  Such an assignment has a price per expert: a row
    takes the experts whose weight is above their price by the most.  At prediction
    rows go by the prices of the training rows, so that the answer for one does not
    depend on others.

    Parameters
    ----------
    capacity_factor : float, default=2.0
        Experts per row, on average; no more than ``max_active`` counts.
    max_active : int, default=3
        Largest number of experts per row.
    overflow : {"next", "shared", "drop"}, default="next"
        Where rows go that no expert took: to the expert with the largest weight, to
        the shared expert, or to none in that step.

    Attributes
    ----------
    prices_ : ndarray of shape (K,)
        Of each expert, in gate weight.

    Notes
    -----
    The paper adds a small entropy to the linear programme and solves it by Dykstra's
    algorithm [1]_.  Here each expert in turn sets the price at which it gets its number
    of rows while others keep theirs, an auction [2]_; where it ends no weight is lost
    but that of ties.

    References
    ----------
    .. [1] Zhou, Y. et al. (2022). Mixture-of-experts with expert choice routing.
       NeurIPS, section 3.3 (expert choice with additional constraint).
    .. [2] Bertsekas, D. P. (1992). Auction algorithms for network flow problems: a
       tutorial introduction. Computational Optimization and Applications 1, 7-66.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import CappedExpertChoiceRouter
    >>> router = CappedExpertChoiceRouter(capacity_factor=1.0, max_active=1)
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2]])
    >>> router.route(log_gate, training=True).indices.tolist()
    [[0], [1]]
    """

    def __init__(
        self,
        capacity_factor: float = 2.0,
        max_active: int = 3,
        overflow: str = "next",
    ) -> None:
        self.capacity_factor = capacity_factor
        self.max_active = max_active
        self.overflow = overflow

    def check(self, n_experts):
        super().check(n_experts)
        owner = "CappedExpertChoiceRouter"
        check_k(owner, self.max_active, n_experts, "max_active")

    def n_active(self, n_experts):
        return min(self.max_active, n_experts)

    def resized(self, n_experts):
        own = super().resized(n_experts)
        return own.set_params(max_active=own.n_active(n_experts))

    def capacity(self, n_rows, n_experts):
        most = n_rows * self.n_active(n_experts) // n_experts
        return max(1, min(super().capacity(n_rows, n_experts), most))

    def fit(self, log_gate, X=None):
        """Find the prices of prediction."""
        self.prices_ = self._prices(np.exp(log_gate))
        return self

    def _prices(self, weights):
        n_rows, n_experts = weights.shape
        size = self.capacity(n_rows, n_experts)
        return auction(weights, size, self.n_active(n_experts))

    def _reached(self, log_gate):
        check_is_fitted(self, "prices_")
        return affordable(np.exp(log_gate), self.prices_, self.max_active)

    def _best_rows(self, log_gate):
        weights = np.exp(log_gate)
        size, most = self.capacity(*weights.shape), self.n_active(weights.shape[1])
        prices = self._prices(weights)
        margins = np.column_stack(
            [
                bids(weights, prices, own, most) - price
                for own, price in enumerate(prices)
            ]
        )
        # Equal rows are at the margin of an expert, which has places for some.
        order = np.argsort(-np.round(margins / ROUNDING).ravel(), kind="stable")
        taken = np.zeros(weights.shape, dtype=bool)
        fill_places(order, size, most, taken)
        return taken


def affordable(weights, prices, most):
    """Mask (n, K) of the ``most`` experts whose weight is above their price.

    A row takes those that are above it by the most, of equal ones the first; one at
    its price is taken, however it is rounded.
    """
    gains = weights - prices
    taken = gains >= -ROUNDING * (1.0 + np.abs(prices))
    if most < weights.shape[1]:
        # What rounding may make of equal gains is no gain.
        order = np.argsort(-np.round(gains / ROUNDING), axis=1, kind="stable")
        np.put_along_axis(taken, order[:, most:], False, axis=1)
    return taken


def auction(weights, size, most):
    """Prices (K,) at which each expert has ``size`` rows, a row ``most`` experts.

    Parameters
    ----------
    weights : ndarray of shape (n, K)
    size : int, rows of an expert
    most : int, experts of a row
    """
    n_rows = len(weights)
    prices = np.partition(weights, n_rows - size, axis=0)[n_rows - size].copy()
    settle_prices(weights, size, most, MOST_ROUNDS, ROUNDING, prices)
    return prices


def bids(weights, prices, own, most):
    """What an expert is worth to the rows (n,), beside others at their prices."""
    n_experts = weights.shape[1]
    if most == n_experts:
        return weights[:, own]
    gains = weights - prices
    gains[:, own] = -np.inf
    # A full row would give up another one.
    last = np.partition(gains, n_experts - most, axis=1)[:, n_experts - most]
    return weights[:, own] - np.maximum(last, 0.0)
