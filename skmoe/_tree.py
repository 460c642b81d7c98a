"""The shape of a tree of gates: nodes, their children, the leaves beneath them."""

import numpy as np


class Tree:
    """An ordered tree; nodes are numbered breadth first, leaves from left to right.

    The children of all nodes stand in one row of *slots*, node after node: what a
    node's gate gives to its children fills the node's slots.

    Parameters
    ----------
    shape : nested tuples
        A node is the tuple of its children, a leaf is None.

    Attributes
    ----------
    slots : list of slice, the slots of each node
    beneath : (n_slots, n_leaves) array of 0.0 and 1.0, leaves beneath a slot
    parents : list of int, the slot above each node; -1 for the root
    paths : list of lists of int, the slots from the root to each leaf
    depth : int, gates on the longest path
    """

    def __init__(self, shape):
        self.shape = shape
        self.slots, self.parents, self.paths = [], [], []
        nodes, above = [(shape, -1)], {}
        n_slots, leaf_slots = 0, []
        while nodes:
            node, parent = nodes.pop(0)
            number = len(self.slots)
            self.slots.append(slice(n_slots, n_slots + len(node)))
            self.parents.append(parent)
            for slot, child in enumerate(node, n_slots):
                above[slot] = self.parents[number]
                if child is None:
                    leaf_slots.append(slot)
                else:
                    nodes.append((child, slot))
            n_slots += len(node)
        for slot in leaf_slots:
            path = [slot]
            while above[path[0]] >= 0:
                path.insert(0, above[path[0]])
            self.paths.append(path)
        # Positions among siblings order the leaves from left to right.
        self.paths.sort(key=self._places)
        self.beneath = np.zeros((n_slots, len(self.paths)))
        for leaf, path in enumerate(self.paths):
            self.beneath[path, leaf] = 1.0
        self.depth = max(len(path) for path in self.paths)

    def arranged(self, centers):
        """Numbers of flat experts in the order of the leaves that suit them.

        Each node shares out the experts beneath it along the principal axis of their
        centres (K, p), so that siblings serve neighbouring rows.
        """
        return _arranged(np.arange(self.n_leaves), self.shape, centers)

    def node_of(self, slot):
        """Number of the node that a slot belongs to."""
        return next(k for k, own in enumerate(self.slots) if slot < own.stop)

    def _places(self, path):
        return [slot - self.slots[self.node_of(slot)].start for slot in path]

    @property
    def n_leaves(self):
        """Number of leaves."""
        return len(self.paths)

    @property
    def n_nodes(self):
        """Number of inner nodes, each of which has a gate."""
        return len(self.slots)

    def without(self, leaf):
        """The tree less one leaf; a node that keeps one child gives way to it."""
        position = self._places(self.paths[leaf])
        return Tree(_pruned(self.shape, position))


def balanced_shape(branching):
    """Nested tuples of a tree with ``branching[i]`` children per node of level i."""
    shape = None
    for width in reversed(branching):
        shape = (shape,) * width
    return shape


def n_leaves(shape):
    """Leaves of nested tuples."""
    return 1 if shape is None else sum(n_leaves(child) for child in shape)


def _arranged(members, shape, centers):
    if shape is None:
        return list(members)
    own = centers[members]
    axis = np.linalg.svd(own - own.mean(axis=0))[2][0]
    # The sign of a singular vector is arbitrary.
    axis = axis * np.sign(axis[np.abs(axis).argmax()])
    members = members[np.argsort(own @ axis, kind="stable")]
    found, start = [], 0
    for child in shape:
        stop = start + n_leaves(child)
        found += _arranged(members[start:stop], child, centers)
        start = stop
    return found


def _pruned(node, position):
    first, *rest = position
    if rest:
        child = _pruned(node[first], rest)
        return (*node[:first], child, *node[first + 1 :])
    left = (*node[:first], *node[first + 1 :])
    return left[0] if len(left) == 1 else left
