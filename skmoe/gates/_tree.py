"""Gates at the nodes of a tree: the weight of a leaf is the product along its path."""

import copy

import numpy as np
from sklearn.base import clone

from .._kernels.tree import linear_beam, linear_leaves
from .._numerics.design import read_only
from .._sklearn import safe_indexing
from ..mixture import dispatch
from ..routers import Routing
from ._base import BaseGate
from ._constant import ConstantGate
from ._softmax import SoftmaxGate
from ._tree_sums import TreeSums

# Rows that any gates route at a time: many, for each gate is asked once per block.
BEAM_ROWS = 32768


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

    follows_paths = True

    @property
    def node_gate(self):
        """The gate that is copied for each node."""
        return self.gate

    @property
    def numeric(self):
        """Whether the nodes' gates read numbers."""
        return self.gate.numeric

    @property
    def reads_sparse(self):
        """Whether the nodes' gates read sparse columns as they are."""
        return self.gate.reads_sparse

    @property
    def reads_segments(self):
        """Whether the nodes' gates read known segments from a column."""
        return self.gate.reads_segments

    @property
    def differentiable(self):
        """Whether the nodes' gates are networks."""
        return self.gate.differentiable

    @property
    def exchangeable(self):
        """Whether the children of a node may change places."""
        return self.gate.exchangeable

    @property
    def is_linear(self):
        """Whether log-weights within each node are linear."""
        return self.gate.is_linear

    @property
    def generative(self):
        """Whether the nodes' gates model the columns."""
        return self.gate.generative

    @property
    def penalty_rows(self):
        """How much weight of rows the penalty of a node's gate outweighs."""
        return self.gate.penalty_rows

    @property
    def has_lasso(self):
        """Whether a share of the penalty of the nodes' gates is a lasso."""
        return self.gate.has_lasso

    @property
    def streams(self):
        """Whether the nodes' gates gain from sums; masses of those that model the
        columns would have to be known."""
        return not self.generative and all(gate.streams for gate in self._unfitted())

    def sums(self, X, weight, scales, total):
        """Those of the nodes."""
        given = X, weight, scales, total
        return TreeSums(self, [gate.sums(*given) for gate in self.gates_])

    @property
    def n_parameters_(self):
        counts = [gate.n_parameters_ for gate in self.gates_]
        return None if None in counts else sum(counts)

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the gates were fitted to."""
        for gate in self.gates_:
            gate.count(columns)
        return self.n_parameters_

    def nodes(self):
        """Fitted gates of the nodes, the root first."""
        return self.gates_

    def is_constant(self, X=None):
        """Without rows: whether the gates of all nodes are."""
        alone = all(gate.is_constant() for gate in self.gates_)
        return alone or super().is_constant(X)

    def tree_for(self, n_experts):
        """The tree, whatever the number of experts."""
        return self.tree

    def reads(self, X):
        return self.gate.reads(X)

    def allows(self, what):
        return self.gate.allows(what)

    def text_columns(self, X):
        return self.gate.text_columns(X)

    def linear_form(self, X):
        """That of the nodes' gates, all of which the fused EM can fit together."""
        return self.gate.linear_form(X)

    def network(self, n_inputs, n_outputs):
        """Architecture of the gate of a node with so many children."""
        return self.gate.network(n_inputs, n_outputs)

    def check(self):
        self.gate.check()

    def reordered(self, order):
        """A tree of one node with its leaves in another order; others have places."""
        return self._with_gates([], order) if self.tree.depth == 1 else None

    def _with_gates(self, first, order):
        """A copy whose last gate has its children in another order, if it can."""
        last = self.gates_[-1].reordered(order)
        if last is None:
            return None
        gate = copy.copy(self)
        gate.gates_ = [*first, last]
        return gate

    def on(self, tree):
        """An unfitted gate for another tree."""
        return type(self)(self.gate, tree)

    def only(self, kept):
        """An unfitted gate for the tree with some of its leaves."""
        return TreeGate(self.gate, self.tree.only(kept))

    def _unfitted(self):
        """Copies of the gate, one for each node."""
        return [copy.deepcopy(self.gate) for _ in self.tree.slots]

    @property
    def coef_(self):
        """Coefficients (S, p) of linear gates, by slot."""
        return np.vstack([gate.coef_ for gate in self.gates_])

    @property
    def intercept_(self):
        """Intercepts (S,) of linear gates, by slot."""
        return np.concatenate([gate.intercept_ for gate in self.gates_])

    def set_penalties(self, ridge, effective):
        """Set what evidence says of the nodes' gates, by slot (S,)."""
        self.gates_ = [
            clone(self.gate).set_penalties(ridge[slots], effective[slots])
            for slots in self.tree.slots
        ]
        return self

    def set_standardised(self, coef, design):
        """Set coefficients (S, q) of standardised columns."""
        known = vars(self).get("gates_")
        gates = known or [clone(self.gate) for _ in self.tree.slots]
        self.gates_ = [
            gate.set_standardised(coef[slots], design)
            for gate, slots in zip(gates, self.tree.slots, strict=True)
        ]
        return self

    @property
    def renews(self):
        """Whether the nodes' gates choose their penalties anew."""
        return self.gate.renews

    def renewed(self, X, resp, sample_weight):
        found = [
            gate.renewed(X, own, sample_weight) if gate.renews else (gate, 0.0)
            for gate, own in zip(self.gates_, self._shares(resp), strict=True)
        ]
        tree = copy.copy(self)
        tree.gates_, moves = map(list, zip(*found, strict=True))
        return tree, max(moves)

    def fit(self, X, resp, sample_weight=None):
        """Fit each node to the responsibilities of its children."""
        pairs = zip(self._unfitted(), self._shares(resp), strict=True)
        self.gates_ = [gate.fit(X, own, sample_weight) for gate, own in pairs]
        return self

    def update(self, X, resp, sample_weight=None):
        for gate, own in zip(self.gates_, self._shares(resp), strict=True):
            gate.update(X, own, sample_weight)
        return self

    def same_kind(self, fitted):
        if type(self) is not type(fitted):
            return False
        pairs = zip(self._unfitted(), fitted.gates_, strict=False)
        return all(asked.same_kind(own) for asked, own in pairs)

    def going_on(self, fitted):
        gate = self.on(fitted.tree)
        pairs = zip(gate._unfitted(), fitted.gates_, strict=True)
        gate.gates_ = [asked.going_on(own) for asked, own in pairs]
        return gate

    def _shares(self, resp):
        """Responsibilities (n, children) of each node; rows sum to its mass."""
        mass = self.tree.to_slots(resp)
        return [mass[:, slots] for slots in self.tree.slots]

    def slot_log_proba(self, X):
        """Log-weights (n, n_slots) of the children of all nodes, given the node."""
        return np.hstack([gate.predict_log_proba(X) for gate in self.gates_])

    def predict_log_proba(self, X):
        if self._is_linear(X):
            return self._linear_log_proba(X)
        return self.tree.to_leaves(self.slot_log_proba(X))

    def log_joint(self, X):
        """As the E-step uses them: generative gates give joint densities.

        Leaves of unequal depth have unequal numbers of such factors, so there the
        weights given x are used.
        """
        uneven = len({len(path) for path in self.tree.paths}) > 1
        if uneven or self._is_linear(X):
            return self.predict_log_proba(X)
        return self.tree.to_leaves(np.hstack([g.log_joint(X) for g in self.gates_]))

    def _is_linear(self, X):
        linear = all(type(gate) is SoftmaxGate for gate in self.gates_)
        return linear and isinstance(X, np.ndarray)

    def _linear_log_proba(self, X):
        coef = self._coefficients(X)
        out = np.empty((len(X), self.tree.n_leaves))
        linear_leaves(read_only(X), coef, self.tree.branches(coef.shape[1]), out)
        return out

    def _coefficients(self, X):
        """Coefficients (S, p + 1) by slot, last the intercept, of the right shape."""
        coef = np.column_stack([self.coef_, self.intercept_])
        expected = self.tree.n_slots, X.shape[1] + 1
        if coef.shape != expected:
            raise ValueError(
                f"TreeGate has coefficients of shape {coef.shape}, but its tree and "
                f"the columns of X need {expected}; fit the gate again."
            )
        return coef

    def route(self, X, router):
        """Routing of rows at prediction.

        Plain top-k follows the best k paths at each level of the tree, so that a row
        meets only the gates on its way.
        """
        k = router.n_active(self.tree.n_leaves)
        if not router.plain_top_k or k >= self.tree.n_leaves:
            return super().route(X, router)
        if self._is_linear(X):
            indices, weights = self._linear_beam(X, k)
        else:
            starts = range(0, X.shape[0], BEAM_ROWS)
            parts = [self._beam(X[i : i + BEAM_ROWS], k) for i in starts]
            indices, weights = (np.vstack(own) for own in zip(*parts, strict=True))
        used = indices[indices >= 0]
        return Routing(
            indices, weights, np.bincount(used, minlength=self.tree.n_leaves)
        )

    def _linear_beam(self, X, k):
        coef = self._coefficients(X)
        indices, weights = np.empty((len(X), k), dtype=np.int64), np.empty((len(X), k))
        branches = self.tree.branches(coef.shape[1])
        linear_beam(read_only(X), coef, branches, indices, weights)
        return indices, weights

    def _beam(self, X, k):
        """The same for any gates: each is asked for the rows that reach its node."""
        below = self.tree.branches(1).below
        logs = np.zeros((X.shape[0], 1))
        nodes = slots = np.zeros(logs.shape, dtype=np.int64)
        for _ in range(self.tree.depth):
            slots, logs = self._opened(X, nodes, slots, logs)
            best = np.lexsort((slots, -logs), axis=1)[:, :k]
            slots = np.take_along_axis(slots, best, axis=1)
            logs = np.take_along_axis(logs, best, axis=1)
            nodes = np.where(np.isfinite(logs), below[slots], -1)
        indices = np.where(np.isfinite(logs), -1 - nodes, -1)
        weights = np.exp(logs - logs[:, :1])
        return indices, weights / weights.sum(axis=1, keepdims=True)

    def _opened(self, X, nodes, slots, logs):
        """Candidates (n, m) of the next level: leaves stay, nodes give children."""
        shape = (*slots.shape, max(self.tree.widths))
        found, found_logs = np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf)
        leaves = nodes < 0
        found[leaves, 0], found_logs[leaves, 0] = slots[leaves], logs[leaves]
        # Leaves, which are negative numbers, have no gate.
        inner = np.maximum(nodes, -1)
        for node, rows, place in dispatch(inner, self.tree.n_nodes):
            own, width = self.tree.slots[node], self.tree.widths[node]
            children = self.gates_[node].predict_log_proba(safe_indexing(X, rows))
            found[rows, place, :width] = np.arange(own.start, own.stop)
            found_logs[rows, place, :width] = children + logs[rows, place][:, None]
        return found.reshape(len(nodes), -1), found_logs.reshape(len(nodes), -1)

    def penalty(self):
        return sum(gate.penalty() for gate in self.gates_)


class NoiseTreeGate(TreeGate):
    """A tree whose root gives noise, its last leaf, the same share of every row.

    Parameters
    ----------
    gate : gate
        Copied for each node but the root.
    tree : Tree
    """

    @property
    def coef_(self):
        """Coefficients (S, p) of linear gates, by slot; those of the root are zero."""
        root, *gates = self.gates_
        below = np.vstack([gate.coef_ for gate in gates])
        return np.vstack([np.zeros((len(root.coef_), below.shape[1])), below])

    def only(self, kept):
        """The root is there for noise: without it, the rest is an ordinary tree."""
        kind = type(self) if self.tree.n_leaves - 1 in kept else TreeGate
        return kind(self.gate, self.tree.only(kept))

    def reordered(self, order):
        """The gate of the experts beside noise in another order; noise stays last."""
        flat = self.tree.n_nodes == 2 and len(self.tree.paths[0]) == 2
        if not flat:
            return None
        return self._with_gates(self.gates_[:1], order[:-1])

    def _unfitted(self):
        return [ConstantGate(), *super()._unfitted()[1:]]
