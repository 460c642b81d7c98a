"""Routers whose experts serve a limited number of rows per batch: Switch and GShard."""

from __future__ import annotations

import numpy as np

from .._kernels.routing import assign_within_capacity
from ._base import (
    BaseRouter,
    active_mask,
    best_first,
    check_overflow,
    check_positive,
    is_integer,
    is_number,
    learned_from,
    make_routing,
)
from ._topk import TopKRouter


class CapacityRouter(BaseRouter):
    """Base of routers with a capacity in training; prediction is plain top-k.

    A row that finds an expert full goes to its next choice (``overflow="next"``), to
    the shared expert (``"shared"``), or to no expert (``"drop"``, as published): the
    fallback then explains it in that step.
    """

    trainers = ("gradient",)
    #: Active experts per row.
    k = 1
    plain_top_k = True

    def check(self, n_experts):
        owner = type(self).__name__
        check_positive(owner, "capacity_factor", self.capacity_factor)
        check_overflow(owner, self.overflow)
        if self.k > n_experts:
            raise ValueError(
                f"{owner} routes each row to {self.k} experts, but there are only "
                f"{n_experts}; use more experts or SwitchRouter."
            )

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def capacity(self, n_rows, n_experts):
        """Rows that an expert serves in a batch: ceil(k * rows / experts * factor)."""
        k = self.n_active(n_experts)
        wanted = np.ceil(k * n_rows / n_experts * self.capacity_factor)
        return int(min(wanted, n_rows))

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if not training:
            return TopKRouter(self.k).route(log_gate)
        n_rows, n_experts = log_gate.shape
        choices = best_first(log_gate)
        indices = np.empty((n_rows, self.n_active(n_experts)), dtype=np.int64)
        overflow = assign_within_capacity(
            choices,
            self.wanted(log_gate, choices, rng),
            np.arange(n_rows),
            self.capacity(n_rows, n_experts),
            self.overflow == "next",
            indices,
        )
        return make_routing(
            log_gate, indices, normalised=self.normalised, overflow=overflow
        )

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
    capacity_factor : float, default=1.25
        Capacity as a multiple of an equal share of the batch.
    overflow : {"next", "shared", "drop"}, default="next"
    jitter_noise : float, default=0.01
        The gate's columns are multiplied by uniform draws from 1 +- this in training.

    References
    ----------
    .. [1] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers: scaling to
       trillion parameter models with simple and efficient sparsity. JMLR 23, eq. 1-3.

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
        capacity_factor: float = 1.25,
        overflow: str = "next",
        jitter_noise: float = 0.01,
    ) -> None:
        self.capacity_factor = capacity_factor
        self.overflow = overflow
        self.jitter_noise = jitter_noise

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
    capacity_factor : float, default=1.25
        Capacity as a multiple of an equal share of two slots per row.
    threshold : float, default=0.5
        Weight from which the second expert is always asked; 0.5 is the published
        rule, 0.2 that of the public code.
    n_groups : int, default=1
        Groups of a batch.
    overflow : {"next", "shared", "drop"}, default="next"

    References
    ----------
    .. [1] Lepikhin, D. et al. (2020). GShard: scaling giant models with conditional
       computation and automatic sharding. arXiv:2006.16668, algorithm 1.

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
        capacity_factor: float = 1.25,
        threshold: float = 0.5,
        n_groups: int = 1,
        overflow: str = "next",
    ) -> None:
        self.capacity_factor = capacity_factor
        self.threshold = threshold
        self.n_groups = n_groups
        self.overflow = overflow

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
        return SwitchRouter(self.capacity_factor, self.overflow, jitter_noise=0.0)

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
