"""Routers whose experts serve a limited number of rows: Switch, GShard, V-MoE."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._kernels.routing import assign_within_capacity
from ..exceptions import did_you_mean
from ..experts._noise import NOISE
from ._amounts import amounts, by_names
from ._base import (
    BaseRouter,
    active_mask,
    best_first,
    check_k,
    check_overflow,
    check_positive,
    is_integer,
    is_number,
    learned_from,
    make_routing,
)
from ._topk import TopKRouter

# Who gets the places of an expert first: rows as they stand, or those whose largest
# weight is the largest.
PRIORITIES = ("position", "score")


class CapacityRouter(BaseRouter):
    """Base of routers with a capacity in training; prediction is plain top-k.

    A row that finds an expert full goes to its next choice (``overflow="next"``), to
    the shared expert (``"shared"``), or to no expert (``"drop"``, as published): the
    fallback then explains it in that step.
    """

    trainers = ("gradient",)
    #: Active experts per row.
    k = 1
    #: Rows that come first where places are few: "position" or "score".
    priority = "position"
    plain_top_k = True

    @property
    def tells_apart(self):
        """Whether experts differ to it: by their capacities."""
        return not is_number(self.capacity_factor)

    def check(self, n_experts):
        owner = type(self).__name__
        self._factors(n_experts)
        check_overflow(owner, self.overflow)
        if self.priority not in PRIORITIES:
            raise ValueError(
                f"{owner} got priority={self.priority!r}, but expected one of "
                f"{PRIORITIES}" + did_you_mean(self.priority, PRIORITIES)
            )
        if self.k > n_experts:
            raise ValueError(
                f"{owner} routes each row to {self.k} experts, but there are only "
                f"{n_experts}; use more experts or SwitchRouter."
            )

    def of_experts(self, names):
        """A copy with the capacity factors of experts of these names, in order."""
        if is_number(self.capacity_factor):
            return self
        own, given = copy.deepcopy(self), self.capacity_factor
        return own.set_params(
            capacity_factor=by_names(
                type(self).__name__, "capacity_factor", given, names, NOISE
            )
        )

    def resized(self, n_experts):
        own = super().resized(n_experts)
        factors = own._factors(None)
        if is_number(own.capacity_factor) or len(factors) == n_experts:
            return own
        # Which ones are left is not known: the first.
        return own.set_params(capacity_factor=factors[:n_experts])

    def _factors(self, n_experts):
        owner, given = type(self).__name__, self.capacity_factor
        return amounts(owner, "capacity_factor", given, n_experts)

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def capacities(self, n_rows: int, n_experts: int) -> np.ndarray:
        """Rows (K,) that experts serve in a batch: ceil(k * rows / K * factor).

        Parameters
        ----------
        n_rows : int
            Of the batch, which is also the most that an expert serves.
        n_experts : int
        """
        k = self.n_active(n_experts)
        # A factor of K is that of all rows, even of one row.
        factors = np.minimum(self._factors(n_experts), n_experts)
        wanted = np.ceil(k * n_rows / n_experts * factors)
        return np.minimum(wanted, n_rows).astype(np.int64)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if not training:
            return TopKRouter(self.k).route(log_gate)
        n_rows, n_experts = log_gate.shape
        choices = best_first(log_gate)
        indices = np.empty((n_rows, self.n_active(n_experts)), dtype=np.int64)
        overflow = assign_within_capacity(
            choices,
            self.wanted(log_gate, choices, rng),
            self._order(log_gate),
            self.capacities(n_rows, n_experts),
            self.overflow == "next",
            indices,
        )
        return make_routing(
            log_gate, indices, normalised=self.normalised, overflow=overflow
        )

    def _order(self, log_gate):
        """Numbers (n,) of the rows, those first that places are given to first."""
        if self.priority == "position":
            return np.arange(len(log_gate))
        return np.argsort(-log_gate.max(axis=1), kind="stable")

    def wanted(self, log_gate, choices, rng):
        """Slots (n, k) that the rows ask for."""
        return np.ones((len(log_gate), self.n_active(log_gate.shape[1])), dtype=bool)


class SwitchRouter(CapacityRouter):
    """One expert per row, limited capacity, input jitter in training.

    The gate learns from its probability of the expert, as published: what that lacks
    to one is given to a fallback, the distribution of y, where a transformer has its
    residual connection, and the probability rises where the expert does better than
    the fallback.  The expert itself is trained, and predicts, with weight one, since
    the predictions of a stand-alone model would shrink towards the fallback.

    Parameters
    ----------
    capacity_factor : float, array-like of shape (K,) or dict, default=1.25
        Capacity as a multiple of an equal share of the batch.  Experts of unequal
        size may each have a factor, in order or by name.
    overflow : {"next", "shared", "drop"}, default="next"
    jitter_noise : float, default=0.01
        The gate's columns are multiplied by uniform draws from 1 +- this in training.
    priority : {"position", "score"}, default="position"
        Who gets the places of a batch first: rows in their order, as published, or
        rows with the largest weight (batch-prioritised routing, which ST-MoE takes
        from V-MoE [2]_), so that rows of which the gate is unsure are the ones that
        find no place.

    References
    ----------
    .. [1] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers: scaling to
       trillion parameter models with simple and efficient sparsity. JMLR 23, eq. 1-3.
    .. [2] Riquelme, C. et al. (2021). Scaling vision with sparse mixture of experts.
       NeurIPS, section 4.1 (batch prioritized routing).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import SwitchRouter
    >>> router = SwitchRouter(capacity_factor=1.0, overflow="drop")
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2]])
    >>> router.route(log_gate, training=True).indices.tolist()
    [[0], [-1]]
    >>> router.route(log_gate).weights.tolist()
    [[1.0], [1.0]]
    """

    normalised = False

    def __init__(
        self,
        capacity_factor: Any = 1.25,
        overflow: str = "next",
        jitter_noise: float = 0.01,
        priority: str = "position",
    ) -> None:
        self.capacity_factor = capacity_factor
        self.overflow = overflow
        self.jitter_noise = jitter_noise
        self.priority = priority

    def check(self, n_experts):
        super().check(n_experts)
        if not (is_number(self.jitter_noise) and 0 <= self.jitter_noise < 1):
            raise ValueError(
                f"SwitchRouter got jitter_noise={self.jitter_noise!r}, but expected a "
                "number in [0, 1)."
            )

    def jitter(self, X, rng):
        if self.jitter_noise == 0:
            return X
        return X * rng.uniform(1 - self.jitter_noise, 1 + self.jitter_noise, X.shape)


class GShardRouter(CapacityRouter):
    """Two experts per row, limited capacity, the second chosen at random.

    In training the batch is cut into groups with a capacity each; all first choices
    are placed before any second one, and the second is asked for with probability
    ``min(1, g2 / threshold)``, g2 being its weight among the two.  A row that is served
    by the first alone keeps its weight among the two: the rest is the fallback's.

    Parameters
    ----------
    capacity_factor : float, array-like of shape (K,) or dict, default=1.25
        Capacity as a multiple of an equal share of two slots per row.  Experts of
        unequal size may each have a factor, in order or by name.
    threshold : float, default=0.5
        Weight from which the second expert is always asked; 0.5 is the published
        rule, 0.2 that of the public code.
    n_groups : int, default=1
        Groups of a batch.
    overflow : {"next", "shared", "drop"}, default="next"
    priority : {"position", "score"}, default="position"
        Who gets the places of a batch first: rows in their order, as published, or
        rows with the largest weight (batch-prioritised routing, which ST-MoE takes
        from V-MoE [2]_), so that rows of which the gate is unsure are the ones that
        find no place.

    References
    ----------
    .. [1] Lepikhin, D. et al. (2020). GShard: scaling giant models with conditional
       computation and automatic sharding. arXiv:2006.16668, algorithm 1.
    .. [2] Riquelme, C. et al. (2021). Scaling vision with sparse mixture of experts.
       NeurIPS, section 4.1 (batch prioritized routing).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import GShardRouter
    >>> GShardRouter().route(np.log([[0.6, 0.3, 0.1]])).indices.tolist()
    [[0, 1]]
    """

    k = 2

    def __init__(
        self,
        capacity_factor: Any = 1.25,
        threshold: float = 0.5,
        n_groups: int = 1,
        overflow: str = "next",
        priority: str = "position",
    ) -> None:
        self.capacity_factor = capacity_factor
        self.threshold = threshold
        self.n_groups = n_groups
        self.overflow = overflow
        self.priority = priority

    def check(self, n_experts):
        super().check(n_experts)
        check_positive("GShardRouter", "threshold", self.threshold)
        if not is_integer(self.n_groups) or self.n_groups < 1:
            raise ValueError(
                f"GShardRouter got n_groups={self.n_groups!r}, but expected an integer "
                ">= 1."
            )

    def resized(self, n_experts):
        """The same, or Switch where there is but one expert."""
        if n_experts > 1:
            return super().resized(n_experts)
        return SwitchRouter(
            float(self._factors(None)[0]), self.overflow, 0.0, self.priority
        )

    def wanted(self, log_gate, choices, rng):
        if log_gate.shape[1] == 1:
            return super().wanted(log_gate, choices, rng)
        both = np.exp(np.take_along_axis(log_gate, choices[:, :2], axis=1))
        second = both[:, 1] / both.sum(axis=1)
        draws = np.random.default_rng(0) if rng is None else rng
        asked = draws.random(len(second)) * self.threshold < second
        return np.column_stack([np.ones_like(asked), asked])

    def rivals(self, log_gate, indices):
        """The active experts; where there is one, the row's first two choices too."""
        active = active_mask(indices, log_gate.shape[1])
        lone = active.sum(axis=1, keepdims=True) < 2
        return active | (
            lone & active_mask(best_first(log_gate)[:, :2], active.shape[1])
        )

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if not training:
            return super().route(log_gate)
        parts = [
            super(GShardRouter, self).route(part, rng=rng, training=True)
            for part in np.array_split(log_gate, min(self.n_groups, len(log_gate)))
        ]
        indices = np.vstack([part.indices for part in parts])
        overflow = sum(part.overflow for part in parts)
        routing = make_routing(log_gate, indices, overflow=overflow)
        return learned_from(self, log_gate, routing)[0]


class BatchPrioritizedRouter(CapacityRouter):
    """Any number of experts per row, limited capacity, by the score of the rows.

    In training all first choices are placed before any second one, and within a
    choice the rows with the largest gate weight come first.  So a capacity well below
    one keeps the rows that matter to an expert, where the order of rows would keep
    any.

    Parameters
    ----------
    k : int, default=2
        Active experts per row.
    capacity_factor : float, array-like of shape (K,) or dict, default=1.0
        Capacity as a multiple of an equal share of k slots per row.  Experts of
        unequal size may each have a factor, in order or by name.
    overflow : {"next", "shared", "drop"}, default="drop"
        Where a row goes that finds its expert full: to its next choice, to the shared
        expert, or nowhere in that step, as published.

    References
    ----------
    .. [1] Riquelme, C. et al. (2021). Scaling vision with sparse mixture of experts.
       NeurIPS, section 4.1 (batch prioritized routing).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import BatchPrioritizedRouter
    >>> router = BatchPrioritizedRouter(1, capacity_factor=1.0)
    >>> log_gate = np.log([[0.6, 0.4], [0.9, 0.1]])
    >>> router.route(log_gate, training=True).indices.tolist()
    [[-1], [0]]
    """

    priority = "score"

    def __init__(
        self, k: int = 2, capacity_factor: Any = 1.0, overflow: str = "drop"
    ) -> None:
        self.k = k
        self.capacity_factor = capacity_factor
        self.overflow = overflow

    def check(self, n_experts):
        check_k("BatchPrioritizedRouter", self.k, n_experts)
        super().check(n_experts)
