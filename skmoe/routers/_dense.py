"""The dense router: every expert serves every row."""

import numpy as np

from ._base import BaseRouter, Routing, best_first


class DenseRouter(BaseRouter):
    """Keep the gate as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import DenseRouter
    >>> DenseRouter().route(np.log([[0.25, 0.75]])).weights.tolist()
    [[0.75, 0.25]]
    """

    is_dense = True

    def route(self, log_gate, *, X=None, rng=None, training=False):
        order = best_first(log_gate)
        weights = np.exp(np.take_along_axis(log_gate, order, axis=1))
        load = np.full(log_gate.shape[1], len(log_gate))
        return Routing(order, weights, load)
