"""Experts that serve every row, joined by the best of the others."""

from __future__ import annotations

import numpy as np

from ._base import BaseRouter, best_first, check_k, compacted, make_routing


class ResidualRouter(BaseRouter):
    """The first experts serve every row, and the k best of the others join them.

    A row has ``c_s(x) f_s(x) + (1 - c_s(x)) sum_k w_k(x) f_k(x)``: the shared expert
    and the mixture of those that are routed, whose coefficient is learned with both.
    It is the gate's weight of the shared expert among those of the row.

    Where a mixture has ``shared_expert=`` and this router, that expert becomes the
    first one, named ``"shared"``, and is trained jointly with the others; under other
    routers it is fitted first, and the others model what it leaves.

    Parameters
    ----------
    k : int, default=1
        Routed experts per row.
    n_shared : int, default=1
        Experts that serve every row, the first of the list.

    References
    ----------
    .. [1] Rajbhandari, S. et al. (2022). DeepSpeed-MoE: advancing mixture-of-experts
       inference and training to power next-generation AI scale. ICML, section 4.1
       (residual MoE); its code learns the two coefficients.
    .. [2] Dai, D. et al. (2024). DeepSeekMoE: towards ultimate expert specialization
       in mixture-of-experts language models. ACL, section 3.2 (shared experts).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import ResidualRouter
    >>> routing = ResidualRouter().route(np.log([[0.2, 0.3, 0.5], [0.5, 0.4, 0.1]]))
    >>> routing.indices.tolist()
    [[2, 0], [0, 1]]
    >>> routing.weights.round(3).tolist()
    [[0.714, 0.286], [0.556, 0.444]]
    """

    masks_training = True
    tells_apart = True
    takes_shared = True

    def __init__(self, k: int = 1, n_shared: int = 1) -> None:
        self.k = k
        self.n_shared = n_shared

    def check(self, n_experts):
        check_k("ResidualRouter", self.n_shared, n_experts, "n_shared")
        check_k("ResidualRouter", self.k, max(n_experts - self.n_shared, 1))

    def n_active(self, n_experts):
        return min(self.n_shared + self.k, n_experts)

    def resized(self, n_experts):
        own = super().resized(n_experts)
        shared = min(own.n_shared, n_experts)
        return own.set_params(n_shared=shared, k=min(own.k, max(n_experts - shared, 1)))

    def only(self, kept):
        shared = sum(own < self.n_shared for own in kept)
        own = super().only(kept)
        return own.set_params(n_shared=max(shared, 1)).resized(len(kept))

    def route(self, log_gate, *, X=None, rng=None, training=False):
        shared = min(self.n_shared, log_gate.shape[1])
        kept = np.zeros(log_gate.shape, dtype=bool)
        kept[:, :shared] = True
        best = shared + best_first(log_gate[:, shared:])[:, : self.k]
        np.put_along_axis(kept, best, True, axis=1)
        return make_routing(log_gate, compacted(kept, log_gate))
