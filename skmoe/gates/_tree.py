"""Gates at the nodes of a tree: the weight of a leaf is the product along its path."""

import copy

import numpy as np

from ._base import BaseGate


class TreeGate(BaseGate):
    """A gate for each inner node of a tree; leaves are the experts.

    Parameters
    ----------
    gate : gate
        Copied for each node.
    tree : Tree

    Attributes
    ----------
    gates_ : list of fitted gates, by node
    n_parameters_ : int
    """

    def __init__(self, gate, tree):
        self.gate = gate
        self.tree = tree

    @property
    def numeric(self):
        """Whether the nodes' gates read numbers."""
        return self.gate.numeric

    @property
    def n_parameters_(self):
        return sum(gate.n_parameters_ for gate in self.gates_)

    def check(self):
        self.gate.check()

    def without(self, leaf):
        """An unfitted gate for the tree less one leaf."""
        return TreeGate(self.gate, self.tree.without(leaf))

    def fit(self, X, resp, sample_weight=None):
        """Fit each node to the responsibilities of its children."""
        self.gates_ = [
            copy.deepcopy(self.gate).fit(X, own, sample_weight)
            for own in self._shares(resp)
        ]
        return self

    def update(self, X, resp, sample_weight=None):
        for gate, own in zip(self.gates_, self._shares(resp), strict=True):
            gate.update(X, own, sample_weight)
        return self

    def _shares(self, resp):
        """Responsibilities (n, children) of each node; rows sum to its mass."""
        mass = resp @ self.tree.beneath.T
        return [mass[:, slots] for slots in self.tree.slots]

    def slot_log_proba(self, X):
        """Log-weights (n, n_slots) of the children of all nodes, given the node."""
        return np.hstack([gate.predict_log_proba(X) for gate in self.gates_])

    def predict_log_proba(self, X):
        return self.slot_log_proba(X) @ self.tree.beneath

    def penalty(self):
        return sum(gate.penalty() for gate in self.gates_)
