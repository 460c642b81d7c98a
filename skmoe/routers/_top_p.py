"""As many experts as the row needs."""

from __future__ import annotations

import numpy as np

from ..exceptions import did_you_mean
from ._base import BaseRouter, best_first, is_integer, is_number, make_routing

TRAINING = ("soft", "sparse")


class TopPRouter(BaseRouter):
    """Keep the fewest experts whose gate weights add up to ``p``.

    Rows of which the gate is sure get one expert, others several.  How many a row has
    is learned with the gate; :class:`skmoe.losses.EntropyLoss` makes it surer, and the
    experts fewer.

    Parameters
    ----------
    p : float, default=0.9
        Share of the gate's weight to keep, in (0, 1]; 1 is dense.
    max_active : int or None, default=None
        Largest number of experts per row.
    training : {"soft", "sparse"}, default="soft"
        The default trains with all experts; ``"sparse"`` trains within the experts
        that rows would have, as published.

    References
    ----------
    .. [1] Huang, Q. et al. (2024). Harder tasks need more experts: dynamic routing in
       MoE models. ACL, eq. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import TopPRouter
    >>> routing = TopPRouter(0.8).route(np.log([[0.9, 0.1], [0.5, 0.5]]))
    >>> routing.indices.tolist()
    [[0, -1], [0, 1]]
    """

    def __init__(
        self, p: float = 0.9, max_active: int | None = None, training: str = "soft"
    ) -> None:
        self.p = p
        self.max_active = max_active
        self.training = training

    @property
    def soft_share(self):
        """Epochs of ``Gradient`` with all experts, as a share."""
        return 1.0 if self.training == "soft" else 0.0

    @property
    def masks_training(self):
        """Whether EM trains within the experts that rows would have."""
        return self.training == "sparse"

    def check(self, n_experts):
        if not (is_number(self.p) and 0 < self.p <= 1):
            raise ValueError(
                f"TopPRouter got p={self.p!r}, but expected a number in (0, 1]; 1 is "
                "dense."
            )
        if self.training not in TRAINING:
            raise ValueError(
                f"TopPRouter got training={self.training!r}, but expected one of "
                f"{TRAINING}" + did_you_mean(self.training, TRAINING)
            )
        most = self.max_active
        if most is not None and not (is_integer(most) and most >= 1):
            raise ValueError(
                f"TopPRouter got max_active={self.max_active!r}, but expected None or "
                "an integer >= 1."
            )

    def route(self, log_gate, *, X=None, rng=None, training=False):
        order = best_first(log_gate)
        weights = np.exp(np.take_along_axis(log_gate, order, axis=1))
        # An expert is kept while those before it fall short of p.
        before = np.cumsum(weights, axis=1) - weights
        kept = before < self.p * weights.sum(axis=1, keepdims=True)
        kept[:, 0] = True
        width = order.shape[1] if self.max_active is None else self.max_active
        return make_routing(log_gate, np.where(kept, order, -1)[:, :width])
