"""Top-k routing: the k most probable experts, renormalised."""

from __future__ import annotations

import numpy as np

from .._kernels.routing import top_k_rows
from ..exceptions import did_you_mean
from ._base import BaseRouter, Routing, check_k

TRAINING = ("soft-then-sparse", "sparse")
# Of the epochs of gradient training, the share before only the top k are active.
SOFT_SHARE = 0.7


class TopKRouter(BaseRouter):
    """Keep the ``k`` experts with the largest gate weights.

    Their weights are renormalised, which equals a softmax over the k largest logits.
    Of equal weights the expert with the lower number wins.

    Parameters
    ----------
    k : int, default=2
        Active experts per row.
    training : {"soft-then-sparse", "sparse"}, default="soft-then-sparse"
        The default trains with all experts and then refits briefly within the top k;
        ``"sparse"`` trains within the top k from the start, which is cheaper with
        costly experts and usually less accurate.

    References
    ----------
    .. [1] Jiang, A. Q. et al. (2024). Mixtral of experts. arXiv:2401.04088, section
       2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import TopKRouter
    >>> routing = TopKRouter(2).route(np.log([[0.5, 0.1, 0.3]]))
    >>> routing.indices.tolist(), routing.weights.round(3).tolist()
    ([[0, 2]], [[0.625, 0.375]])
    """

    plain_top_k = True

    def __init__(self, k: int = 2, training: str = "soft-then-sparse") -> None:
        self.k = k
        self.training = training

    def check(self, n_experts):
        if self.training not in TRAINING:
            raise ValueError(
                f"TopKRouter got training={self.training!r}, but expected one of "
                f"{TRAINING}" + did_you_mean(self.training, TRAINING)
            )
        check_k("TopKRouter", self.k, n_experts)

    @property
    def soft_share(self):
        """Epochs of ``Gradient`` with all experts, as a share."""
        return SOFT_SHARE if self.soft_then_sparse else 0.0

    @property
    def sparse_training(self):
        """Whether EM trains within the top k from the start."""
        return self.training == "sparse"

    @property
    def soft_then_sparse(self):
        """Whether EM refits within the top k in the end."""
        return self.training == "soft-then-sparse"

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        n_rows, n_experts = log_gate.shape
        indices = np.empty((n_rows, self.n_active(n_experts)), dtype=np.intp)
        weights = np.empty(indices.shape)
        top_k_rows(np.ascontiguousarray(log_gate, dtype=float), indices, weights)
        load = np.bincount(indices.ravel(), minlength=n_experts)
        return Routing(indices, weights, load)
