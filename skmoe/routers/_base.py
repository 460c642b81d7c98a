"""What a router returns, and what every router does."""

from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator


class Routing(NamedTuple):
    """Which experts serve which rows.

    Attributes
    ----------
    indices : ndarray of shape (n, k)
        Active experts of each row, best first; -1 where a slot is empty.
    weights : ndarray of shape (n, k)
        Their weights; rows sum to one, empty slots have weight zero.
    load : ndarray of shape (K,)
        Number of rows that each expert serves.
    """

    indices: np.ndarray
    weights: np.ndarray
    load: np.ndarray

    def dense(self):
        """The weights as an (n, K) array, zero for inactive experts."""
        out = np.zeros((len(self.indices), len(self.load)))
        used = self.indices >= 0
        rows = np.broadcast_to(
            np.arange(len(self.indices))[:, None], self.indices.shape
        )
        out[rows[used], self.indices[used]] = self.weights[used]
        return out


class BaseRouter(BaseEstimator):
    """Base of all routers: a pure policy on the array of gate log-weights."""

    def check(self, n_experts):
        """Raise ``ValueError`` for parameters that do not fit ``n_experts``."""

    def n_active(self, n_experts):
        """Experts that a row can have at prediction."""
        return n_experts

    def route(self, log_gate, *, X=None, rng=None, training=False):
        """Routing of rows with gate log-weights ``log_gate`` (n, K)."""
        raise NotImplementedError
