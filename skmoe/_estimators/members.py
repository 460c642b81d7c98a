"""Several mixtures as one: an average of mixtures is a mixture of all experts."""

import numpy as np

from ..gates._base import BaseGate
from ..routers import Routing
from ..routers._base import BaseRouter


class MembersGate(BaseGate):
    """Gates of several members side by side, each with an equal share.

    Parameters
    ----------
    gates : list of fitted gates

    Attributes
    ----------
    n_parameters_ : int
    """

    def __init__(self, gates):
        self.gates = gates

    @property
    def numeric(self):
        """Whether the members' gates read numbers."""
        return self.gates[0].numeric

    @property
    def n_parameters_(self):
        counts = [gate.n_parameters_ for gate in self.gates]
        return None if None in counts else sum(counts)

    def is_constant(self, X=None):
        """Whether all members' gates are."""
        return all(gate.is_constant(X) for gate in self.gates)

    def predict_log_proba(self, X):
        parts = [gate.predict_log_proba(X) for gate in self.gates]
        return np.hstack(parts) - np.log(len(parts))

    def route(self, X, router):
        pairs = zip(self.gates, router.routers, strict=True)
        return side_by_side([gate.route(X, own) for gate, own in pairs])


class MembersRouter(BaseRouter):
    """Apply each member's router within the member.

    Parameters
    ----------
    routers : list of routers
    sizes : list of int
        Experts of each member.
    """

    def __init__(self, routers, sizes):
        self.routers = routers
        self.sizes = sizes

    @property
    def gated(self):
        """Whether the gates decide."""
        return self.routers[0].gated

    def n_active(self, n_experts):
        pairs = zip(self.routers, self.sizes, strict=True)
        return sum(router.n_active(size) for router, size in pairs)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        parts = [
            router.route(
                np.ascontiguousarray(log_gate[:, a:b]) + np.log(len(self.sizes)),
                X=X,
                rng=rng,
                training=training,
            )
            for router, a, b in zip(self.routers, starts[:-1], starts[1:], strict=True)
        ]
        return side_by_side(parts)


def side_by_side(parts):
    """Routing over the experts of all members, each member with an equal share."""
    starts = np.cumsum([0, *(len(part.load) for part in parts)])
    indices = [
        np.where(part.indices < 0, -1, part.indices + start)
        for part, start in zip(parts, starts[:-1], strict=True)
    ]
    weights = np.hstack([part.weights for part in parts]) / len(parts)
    load = np.concatenate([part.load for part in parts])
    return Routing(np.hstack(indices), weights, load)
