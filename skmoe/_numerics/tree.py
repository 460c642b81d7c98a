"""The shape of a tree of gates: nodes, their children, the leaves beneath them."""

import numpy as np

from .._kernels.tree import Branches
from .linalg import curvature_columns, use_exact_newton


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
    parents : list of int, the slot above each node; -1 for the root
    above : list of int, the same for each slot
    positions : list of tuples, the places among siblings on the way to each slot
    levels : list of int, the first slot of each level, and how many there are
    leaves : list of int, the slot of each leaf
    paths : list of lists of int, the slots from the root to each leaf
    beneath : (n_slots, n_leaves) array of 0.0 and 1.0, leaves beneath a slot
    """

    def __init__(self, shape):
        self.shape, self._known_branches, self._known_curves = shape, {}, {}
        self.slots, self.parents, self.above = [], [], []
        positions, leaves, levels = [], {}, [0]
        # Nodes whose slots are not numbered yet: shape, slot above, position.
        level = [(shape, -1, ())]
        while level:
            below = []
            for node, parent, position in level:
                start = len(self.above)
                self.slots.append(slice(start, start + len(node)))
                self.parents.append(parent)
                for place, child in enumerate(node):
                    slot, here = len(self.above), (*position, place)
                    self.above.append(parent)
                    positions.append(here)
                    if child is None:
                        leaves[here] = slot
                    else:
                        below.append((child, slot, here))
            levels.append(len(self.above))
            level = below
        self.positions, self.levels = positions, levels
        # Positions among siblings order the leaves from left to right.
        self.leaves = [leaves[here] for here in sorted(leaves)]
        self.paths = [self._path(slot) for slot in self.leaves]
        self.beneath = np.zeros((len(self.above), len(self.leaves)))
        for leaf, path in enumerate(self.paths):
            self.beneath[path, leaf] = 1.0

    def __getstate__(self):
        # All else follows from the shape.
        return {"shape": self.shape}

    def __setstate__(self, state):
        self.__init__(state["shape"])

    def _path(self, slot):
        path = []
        while slot >= 0:
            path.insert(0, slot)
            slot = self.above[slot]
        return path

    def arranged(self, centers):
        """Numbers of flat experts in the order of the leaves that suit them.

        Each node shares out the experts beneath it along the principal axis of their
        centres (K, p), so that siblings serve neighbouring rows.
        """
        return _arranged(np.arange(self.n_leaves), self.shape, centers)

    def node_of(self, slot):
        """Number of the node that a slot belongs to."""
        return next(k for k, own in enumerate(self.slots) if slot < own.stop)

    @property
    def widths(self):
        """Number of children of each node."""
        return [slots.stop - slots.start for slots in self.slots]

    @property
    def n_slots(self):
        """Number of children of all nodes."""
        return len(self.above)

    @property
    def n_leaves(self):
        """Number of leaves."""
        return len(self.leaves)

    @property
    def n_nodes(self):
        """Number of inner nodes, each of which has a gate."""
        return len(self.slots)

    @property
    def depth(self):
        """Gates on the longest path."""
        return len(self.levels) - 1

    def curves(self, n_channels):
        """First curvature column of each node's gate, and the number of columns."""
        if n_channels not in self._known_curves:
            columns = [curvature_columns(n, n_channels) for n in self.widths]
            self._known_curves[n_channels] = np.cumsum([0, *columns])
        return self._known_curves[n_channels]

    def branches(self, n_channels):
        """Arrays for compiled code, for gates of ``n_channels`` numbers per child."""
        if n_channels not in self._known_branches:
            self._known_branches[n_channels] = self._branches(n_channels)
        return self._known_branches[n_channels]

    def _branches(self, n_channels):
        # Nodes other than the root stand, in order, beneath the slots of no leaf.
        below = np.full(self.n_slots, -1)
        below[self.parents[1:]] = np.arange(1, self.n_nodes)
        below[self.leaves] = -1 - np.arange(self.n_leaves)
        return Branches(
            bounds=np.cumsum([0, *self.widths]),
            above=np.array(self.above),
            leaves=np.array(self.leaves),
            levels=np.array(self.levels),
            below=below,
            curves=self.curves(n_channels),
            exact=np.array([use_exact_newton(n, n_channels) for n in self.widths]),
        )

    def to_leaves(self, slots):
        """Sums (n, K) over the slots (n, S) on the way to each leaf."""
        total = slots.copy()
        for node, above in enumerate(self.parents):
            if above >= 0:
                total[:, self.slots[node]] += total[:, [above]]
        return total[:, self.leaves]

    def to_slots(self, leaves):
        """Sums (n, S) over the leaves (n, K) beneath each slot."""
        total = np.zeros((len(leaves), self.n_slots))
        total[:, self.leaves] = leaves
        for node in reversed(range(1, self.n_nodes)):
            total[:, self.parents[node]] = total[:, self.slots[node]].sum(axis=1)
        return total

    def on_beam(self, log_gate, k):
        """Log-weights (n, K) of leaves, minus infinity off the best ``k`` paths.

        From the root down, a row keeps the ``k`` best of the slots that it has reached;
        of equal ones the first wins.
        """
        with np.errstate(divide="ignore"):
            mass = np.log(self.to_slots(np.exp(log_gate)))
        kept = np.zeros(mass.shape, dtype=bool)
        for first, last in zip(self.levels[:-1], self.levels[1:], strict=True):
            above = [slot for slot in self.leaves if slot < first]
            slots = np.array(sorted(above) + list(range(first, last)))
            reached = kept[:, slots]
            reached[:, len(above) :] = first == 0 or kept[:, self.above[first:last]]
            values = np.where(reached, mass[:, slots], -np.inf)
            best = np.argsort(-values, axis=1, kind="stable")[:, :k]
            chosen = np.zeros_like(reached)
            np.put_along_axis(chosen, best, True, axis=1)
            kept[:, slots] = chosen & reached
        return np.where(kept[:, self.leaves], log_gate, -np.inf)

    def without(self, leaf):
        """The tree less one leaf; a node that keeps one child gives way to it.

        Returns
        -------
        tree : Tree
        slots : list of int
            Which slot of this tree each slot of the new one was; -1 for the only slot
            of an only leaf.
        """
        position = self.positions[self.leaves[leaf]]
        pruned = _pruned(self._labelled(), position)
        return _renumbered(pruned if pruned[1] else (-1, (pruned,)))

    def only(self, leaves):
        """The tree with some of its leaves only."""
        tree = self
        # From the right, so that the numbers of the others stay what they are.
        for leaf in sorted({*range(self.n_leaves)} - {*leaves}, reverse=True):
            tree, _ = tree.without(leaf)
        return tree

    def split(self, leaf, n_children=2):
        """The tree with a node of ``n_children`` leaves in place of a leaf.

        Returns
        -------
        tree : Tree
        slots : list of int
            Which slot of this tree each slot of the new one was, -1 for new ones.
        """
        position = self.positions[self.leaves[leaf]]
        return _renumbered(_replaced(self._labelled(), position, n_children))

    def _labelled(self, node=None, slot=-1, position=()):
        """Nested pairs of a slot and the pairs beneath it, None for leaves."""
        node = self.shape if slot < 0 else node
        if node is None:
            return slot, None
        children = []
        for place, child in enumerate(node):
            here = (*position, place)
            children.append(self._labelled(child, self.positions.index(here), here))
        return slot, tuple(children)


def flat(n_leaves):
    """The tree of one node."""
    return Tree((None,) * n_leaves)


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
    if own.shape[1]:
        axis = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)[2][0]
        # The sign of a singular vector is arbitrary.
        axis = axis * np.sign(axis[np.abs(axis).argmax()])
        members = members[np.argsort(own @ axis, kind="stable")]
    found, start = [], 0
    for child in shape:
        stop = start + n_leaves(child)
        found += _arranged(members[start:stop], child, centers)
        start = stop
    return found


def _pruned(pair, position):
    """Labelled pairs without the leaf at ``position``."""
    slot, children = pair
    first, *rest = position
    left = (*children[:first], *children[first + 1 :])
    if rest:
        child = _pruned(children[first], rest)
        # A node that had but this child goes with it.
        if child[1] != ():
            left = (*children[:first], child, *children[first + 1 :])
    return (slot, left[0][1]) if len(left) == 1 else (slot, left)


def _replaced(pair, position, n_children):
    """Labelled pairs with a node in place of the leaf at ``position``."""
    slot, children = pair
    if not position:
        return slot, ((-1, None),) * n_children
    first, *rest = position
    child = _replaced(children[first], rest, n_children)
    return slot, (*children[:first], child, *children[first + 1 :])


def _renumbered(pairs):
    """Tree of labelled pairs, and the label of each of its slots."""
    tree = Tree(_unlabelled(pairs))
    return tree, [_label(pairs, place) for place in tree.positions]


def _unlabelled(pair):
    children = pair[1]
    return None if children is None else tuple(_unlabelled(c) for c in children)


def _label(pair, position):
    for place in position:
        pair = pair[1][place]
    return pair[0]
