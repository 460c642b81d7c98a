"""Top-k balanced by a bias on the choice, without an auxiliary loss."""

from __future__ import annotations

import numpy as np

from ._base import BaseRouter, best_first, check_k, check_positive, make_routing


class BiasBalancedRouter(BaseRouter):
    """Top-k of the gate's weights plus a bias per expert that evens out the load.

    After each training batch the bias of an expert that served more than its share
    falls by ``update_rate``, that of the others rises.  The bias decides who serves;
    the weights of those who do are the gate's own.

    Parameters
    ----------
    k : int, default=2
        Active experts per row.
    update_rate : float, default=1e-3

    Attributes
    ----------
    bias_ : ndarray of shape (K,)

    References
    ----------
    .. [1] Wang, L. et al. (2024). Auxiliary-loss-free load balancing strategy for
       mixture-of-experts. arXiv:2408.15664, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import BiasBalancedRouter
    >>> router = BiasBalancedRouter(1, update_rate=0.5)
    >>> log_gate = np.log([[0.6, 0.4], [0.7, 0.3]])
    >>> router.observe(router.route(log_gate, training=True))
    >>> router.bias_.tolist()
    [-0.5, 0.5]
    """

    trainers = ("gradient",)
    bias_ = None

    def __init__(self, k: int = 2, update_rate: float = 1e-3) -> None:
        self.k = k
        self.update_rate = update_rate

    def check(self, n_experts):
        check_k("BiasBalancedRouter", self.k, n_experts)
        check_positive("BiasBalancedRouter", "update_rate", self.update_rate)

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        bias = 0.0 if self.bias_ is None else self.bias_
        indices = best_first(np.exp(log_gate) + bias)[:, : self.k]
        return make_routing(log_gate, indices)

    def resized(self, n_experts):
        own = super().resized(n_experts)
        if own.bias_ is not None and len(own.bias_) != n_experts:
            # Biases belong to experts, of which some are gone.
            own.bias_ = None
        return own

    def only(self, kept):
        own = super().only(kept)
        own.bias_ = None if self.bias_ is None else self.bias_[list(kept)]
        return own

    def observe(self, routing):
        load = routing.load
        if self.bias_ is None:
            self.bias_ = np.zeros(len(load))
        self.bias_ += self.update_rate * np.sign(load.mean() - load)
