"""Trees of gates that gain from sums over rows that come in blocks."""

import copy

import numpy as np

from ._sums import GateSums


class TreeSums(GateSums):
    """Steps of the gates of all nodes, each on its share of the rows.

    Parameters
    ----------
    gate : fitted TreeGate
    nodes : list of GateSums, the root's first
    """

    def __init__(self, gate, nodes):
        super().__init__(gate)
        self.nodes, self.n_experts = nodes, gate.tree.n_leaves
        own = [node.encoding for node in nodes if node.encoding is not None]
        self.encoding = own[0] if own else None

    def with_part(self, part):
        other = super().with_part(part)
        pairs = zip(self.nodes, part.gates_, strict=True)
        other.nodes = [node.with_part(gate) for node, gate in pairs]
        return other

    def _with_nodes(self, nodes):
        """The same with other sums, and so with other gates, of the nodes."""
        part, other = copy.copy(self.part), copy.copy(self)
        part.gates_ = [node.part for node in nodes]
        other.part, other.nodes = part, nodes
        return other

    def _split(self, theta):
        """Parameters of each node."""
        pairs = zip(self.nodes, self.part.gates_, strict=True)
        sizes = [len(node.vector(gate)) for node, gate in pairs]
        return np.split(theta, np.cumsum(sizes)[:-1])

    def _named(self, sums):
        """Sums of each node."""
        left = iter(sums)
        return [tuple(next(left) for _ in node.zeros()) for node in self.nodes]

    def vector(self, gate):
        pairs = zip(self.nodes, gate.gates_, strict=True)
        return np.concatenate([node.vector(own) for node, own in pairs])

    def at(self, theta):
        gate = copy.copy(self.part)
        pairs = zip(self.nodes, self._split(theta), strict=True)
        gate.gates_ = [node.at(own) for node, own in pairs]
        return gate

    def zeros(self):
        return tuple(own for node in self.nodes for own in node.zeros())

    def add(self, sums, theta, X, resp, weight):
        mass = self.part.tree.to_slots(resp)
        each = zip(
            self.nodes,
            self._named(sums),
            self._split(theta),
            self.part.tree.slots,
            strict=True,
        )
        for node, own, at, slots in each:
            total = mass[:, slots].sum(axis=1)
            share = mass[:, slots] / np.maximum(total, np.finfo(float).tiny)[:, None]
            # Rows that do not come here count for nothing, whatever their share is.
            share[total == 0] = 1.0 / share.shape[1]
            node.add(own, at, X, share, weight * total)

    def carried(self, sums, theta, moved):
        given = self._named(sums), self._split(theta), self._split(moved)
        each = zip(self.nodes, *given, strict=True)
        return tuple(a for node, *own in each for a in node.carried(*own))

    def widened(self, X, seen, weight):
        return self._with_nodes([own.widened(X, seen, weight) for own in self.nodes])

    def moved(self, theta, sums):
        each = zip(self.nodes, self._split(theta), self._named(sums), strict=True)
        return np.concatenate([node.moved(*own) for node, *own in each])

    def renewed(self, theta, sums):
        each = zip(self.nodes, self._split(theta), self._named(sums), strict=True)
        found = [node.renewed(*own) for node, *own in each]
        nodes, moves = map(list, zip(*found, strict=True))
        return self._with_nodes(nodes), max(moves)

    def without(self, theta, k):
        tree, vectors, kept = self.part.tree, self._split(theta), []
        left, before = tree.without(k)
        for slots in left.slots:
            # The only slot of an only leaf stands for the first of the root.
            own = [max(slot, 0) for slot in before[slots]]
            kept.append(_with_children(tree, self.nodes, vectors, own))
        nodes, vectors = map(list, zip(*kept, strict=True))
        part = copy.copy(self.part)
        part.tree = left
        pairs = zip(nodes, vectors, strict=True)
        part.gates_ = [node.at(own) for node, own in pairs]
        return type(self)(part, nodes).with_part(part), np.concatenate(vectors)


def _with_children(tree, nodes, vectors, slots):
    """Sums and parameters of a node with some of its children, by their slots."""
    number = tree.node_of(slots[0])
    node, theta, own = nodes[number], vectors[number], tree.slots[number]
    # From the right, so that the places of the others stay what they are.
    for slot in reversed(range(own.start, own.stop)):
        if slot not in slots:
            node, theta = node.without(theta, slot - own.start)
    return node, theta
