"""``HierarchicalMoERegressor`` and ``HierarchicalMoEClassifier``: trees of gates."""

import numbers

import numpy as np
from scipy import sparse

from ._moe import MoEClassifier, MoERegressor
from ._tree import Tree, balanced_shape
from .gates._tree import TreeGate


def without_n_experts(constraints):
    """Constraints of the parameters of a flat mixture that a hierarchy has too."""
    return {name: c for name, c in constraints.items() if name != "n_experts"}


def is_branching(value):
    """Whether ``value`` holds the children per level of a tree."""
    return (
        isinstance(value, (tuple, list))
        and len(value) > 0
        and all(isinstance(width, numbers.Integral) and width >= 1 for width in value)
    )


class Hierarchy:
    """What a tree of gates adds to a mixture, whatever the task."""

    @property
    def n_experts(self):
        """Leaves of the tree; one where ``branching`` describes none."""
        return int(np.prod(self.branching)) if is_branching(self.branching) else 1

    def _resolve_parts(self):
        if not is_branching(self.branching):
            raise ValueError(
                f"{type(self).__name__} got branching={self.branching!r}, but expected "
                "a tuple of children per level, such as (2, 2)."
            )
        parts = super()._resolve_parts()
        if len(parts.experts) != self.n_experts:
            raise ValueError(
                f"{type(self).__name__} got {len(parts.experts)} experts, but "
                f"branching={self.branching!r} has {self.n_experts} leaves; give one "
                "expert per leaf, or one that is cloned for each."
            )
        tree = Tree(balanced_shape(self.branching))
        return parts._replace(gate=TreeGate(parts.gate, tree))

    def apply(self, X):
        """Number of the most probable leaf of each row, shape (n,)."""
        return self.gate_proba(X).argmax(axis=1)

    def decision_path(self, X):
        """Nodes on the way to the most probable leaf.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)

        Returns
        -------
        indicator : sparse array of shape (n, n_nodes + K), CSR
            Inner nodes breadth first, then leaves; one where a row passes.
        """
        leaves = self.apply(X)
        if not isinstance(self.gate_, TreeGate):
            raise ValueError(
                f"decision_path needs one tree, but n_members={self.n_members}; ask "
                "each of members_ for its own."
            )
        tree = self.gate_.tree
        visits = np.zeros((tree.n_leaves, tree.n_nodes + tree.n_leaves), dtype=bool)
        for leaf, path in enumerate(tree.paths):
            visits[leaf, tree.n_nodes + leaf] = True
            visits[leaf, [tree.node_of(slot) for slot in path]] = True
        return sparse.csr_array(visits.astype(np.int8))[leaves]


class HierarchicalMoERegressor(Hierarchy, MoERegressor):
    """Hierarchical mixture of experts for regression: a tree of gates over experts.

    A gate at each inner node decides between its children, and the weight of an expert
    is the product of the decisions on the way to its leaf. All gates and experts are
    trained together, as one mixture [1]_.

    Parameters
    ----------
    experts : None, estimator, or list of estimators or (name, estimator), default=None
        As in :class:`MoERegressor`; a list has one expert per leaf, left to right.
    branching : tuple of int, default=(2, 2)
        Children of each node, level by level.
    gate : {"softmax", "gaussian", "constant"}, gate or classifier, default="softmax"
        Copied for each inner node.
    router, trainer, likelihood, shared_expert, gate_features, expert_features, \
    n_members, n_init, warm_start, n_jobs, random_state, verbose
        As in :class:`MoERegressor`.

    Attributes
    ----------
    gate_ : TreeGate
        ``gates_`` are the fitted gates by node, breadth first.

    See Also
    --------
    MoERegressor : the flat mixture, with all other attributes and methods.

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> from skmoe import HierarchicalMoERegressor
    >>> from skmoe.datasets import make_gated_regression
    >>> X, y = make_gated_regression(500, 3, 4, random_state=0)
    >>> model = HierarchicalMoERegressor(branching=(2, 2), random_state=0).fit(X, y)
    >>> model.apply(X).shape, model.decision_path(X).shape
    ((500,), (500, 7))
    """

    _parameter_constraints = {
        **{
            k: v
            for k, v in MoERegressor._parameter_constraints.items()
            if k != "n_experts"
        },
        "branching": [tuple, list],
    }

    def __init__(
        self,
        experts=None,
        branching=(2, 2),
        *,
        gate="softmax",
        router=None,
        trainer="em",
        likelihood="gaussian",
        shared_expert=None,
        gate_features=None,
        expert_features=None,
        n_members=1,
        n_init=1,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.experts = experts
        self.branching = branching
        self.gate = gate
        self.router = router
        self.trainer = trainer
        self.likelihood = likelihood
        self.shared_expert = shared_expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.n_members = n_members
        self.n_init = n_init
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


class HierarchicalMoEClassifier(Hierarchy, MoEClassifier):
    """Hierarchical mixture of experts for classification: a tree of gates over experts.

    A gate at each inner node decides between its children, and the weight of an expert
    is the product of the decisions on the way to its leaf. All gates and experts are
    trained together, as one mixture [1]_.

    Parameters
    ----------
    experts : None, estimator, or list of estimators or (name, estimator), default=None
        As in :class:`MoEClassifier`; a list has one expert per leaf, left to right.
    branching : tuple of int, default=(2, 2)
        Children of each node, level by level.
    gate : {"softmax", "gaussian", "constant"}, gate or classifier, default="softmax"
        Copied for each inner node.
    router, trainer, class_weight, shared_expert, gate_features, expert_features, \
    n_members, n_init, warm_start, n_jobs, random_state, verbose
        As in :class:`MoEClassifier`.

    Attributes
    ----------
    gate_ : TreeGate
        ``gates_`` are the fitted gates by node, breadth first.

    See Also
    --------
    MoEClassifier : the flat mixture, with all other attributes and methods.

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, 181-214.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmoe import HierarchicalMoEClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = HierarchicalMoEClassifier(branching=(2,), random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints = {
        **{
            k: v
            for k, v in MoEClassifier._parameter_constraints.items()
            if k != "n_experts"
        },
        "branching": [tuple, list],
    }

    def __init__(
        self,
        experts=None,
        branching=(2, 2),
        *,
        gate="softmax",
        router=None,
        trainer="em",
        class_weight=None,
        shared_expert=None,
        gate_features=None,
        expert_features=None,
        n_members=1,
        n_init=1,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.experts = experts
        self.branching = branching
        self.gate = gate
        self.router = router
        self.trainer = trainer
        self.class_weight = class_weight
        self.shared_expert = shared_expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.n_members = n_members
        self.n_init = n_init
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
