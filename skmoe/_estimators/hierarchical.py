"""``HierarchicalMoERegressor`` and ``HierarchicalMoEClassifier``: trees of gates."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator

from .._numerics.tree import Tree, balanced_shape, flat, n_leaves
from .._sklearn import Interval, StrOptions
from .._typing import Columns, Experts, Part, Table
from ..gates._tree import NoiseTreeGate, TreeGate
from ..trainers._growth import GrowingTrainer
from .classifier import MoEClassifier
from .parts import CONSTANT, MOST_EXPERTS, asked_of, resolve
from .regressor import MoERegressor

# Parameters of a flat mixture that a tree does not have.
ABSENT = ("n_experts",)


def tree_constraints(flat_constraints):
    """Constraints of the parameters of a hierarchy, from those of a flat mixture."""
    common = {name: c for name, c in flat_constraints.items() if name not in ABSENT}
    return {
        **common,
        "branching": [tuple, list, StrOptions({"grow"})],
        "max_leaf_nodes": [Interval(numbers.Integral, 1, MOST_EXPERTS, closed="both")],
        "criterion": [StrOptions({"held-out", "bic"})],
    }


def shape_of(branching):
    """Nested tuples of the tree that ``branching`` describes, or None."""
    if not isinstance(branching, (tuple, list)) or not branching:
        return None
    if all(isinstance(own, numbers.Integral) and own >= 1 for own in branching):
        many = math.prod(map(int, branching)) > MOST_EXPERTS
        return None if many else balanced_shape(branching)
    children = [None if own is None else shape_of(own) for own in branching]
    pairs = zip(children, branching, strict=True)
    if any(child is None and own is not None for child, own in pairs):
        return None
    return tuple(children)


def whole_shape(branching, asked):
    """Shape of the tree to fit, or None; what has no expert is a leaf beside all
    others."""
    shape = shape_of(branching)
    return (shape, None) if shape is not None and asked.n_bare else shape


def grows(branching):
    """Whether the tree is not known beforehand."""
    return isinstance(branching, str) and branching == "grow"


def check_growth(asked, warm_start):
    """Raise ``ValueError`` for what a growing tree cannot have."""
    if asked.n_bare:
        raise ValueError(
            f"{asked.owner} got {asked.bare_parameter} with branching='grow', but a "
            "tree grows without it; give the grown tree's shape as branching."
        )
    if isinstance(asked.experts, (list, tuple)):
        raise ValueError(
            f"{asked.owner} got {len(asked.experts)} experts with "
            "branching='grow', but a tree whose leaves are not known beforehand "
            "needs one expert that is cloned for each."
        )
    if isinstance(asked.expert_features, dict):
        raise ValueError(
            f"{asked.owner} got expert_features by name with "
            "branching='grow', but leaves come and go while a tree grows; give one "
            "specification for all."
        )
    if warm_start:
        raise ValueError(
            f"{asked.owner} got warm_start=True with branching='grow', but "
            "a tree grows afresh; give the grown tree's shape as branching."
        )


class Hierarchy:
    """What a tree of gates adds to a mixture, whatever the task."""

    branching: tuple[int, ...] | str
    max_leaf_nodes: int
    n_members: int
    gate_: Any
    gate_proba: Any

    @property
    def n_experts(self) -> int:
        """Leaves that the tree has, or may have; one where ``branching`` has none."""
        if grows(self.branching):
            return self.max_leaf_nodes
        shape = shape_of(self.branching)
        return 1 if shape is None else n_leaves(shape)

    def _resolve(self, n_experts=None):
        asked = asked_of(self)
        if asked.pool is not None:
            raise ValueError(
                f"{asked.owner} got experts={self.experts!r}, but how many "
                "members a pool keeps is not known before fit; list the experts, one "
                f"per leaf, or use {asked.owner.removeprefix('Hierarchical')}."
            )
        if grows(self.branching):
            check_growth(asked, self.warm_start)
            parts = resolve(asked, lambda _, gate, n_experts: TreeGate(gate, flat(1)))
            kind = GrowingTrainer(parts.trainer, self.max_leaf_nodes, self.criterion)
            # A tree does not grow beyond its rows.
            return parts._replace(trainer=kind, least_rows=1)
        shape = whole_shape(self.branching, asked)
        if shape is None:
            raise ValueError(
                f"{asked.owner} got branching={self.branching!r}, but expected "
                "a tuple of children per level, such as (2, 2), nested tuples that "
                f"end in None, or 'grow', with at most {MOST_EXPERTS} leaves."
            )
        kind = NoiseTreeGate if asked.noise == CONSTANT else TreeGate
        parts = resolve(asked, lambda _, gate, n_experts: kind(gate, Tree(shape)))
        n_given = len(parts.experts) - asked.n_bare
        if n_given != self.n_experts:
            raise ValueError(
                f"{asked.owner} got {n_given} experts, but "
                f"branching={self.branching!r} has {self.n_experts} leaves; give one "
                "expert per leaf, or one that is cloned for each."
            )
        return parts

    def _previous(self, parts):
        previous = super()._previous(parts)
        shape = whole_shape(self.branching, parts.asked)
        for fit in previous or []:
            # One that grows has no shape beforehand.
            asked = shape and Tree(shape).only(fit.kept).shape
            if fit.gate.tree.shape != asked:
                raise ValueError(
                    f"{parts.asked.owner} got branching={self.branching!r}, but was "
                    f"fitted with a tree of shape {fit.gate.tree.shape}; clone the "
                    "estimator to start afresh."
                )
        return previous

    def apply(self, X: Table) -> NDArray:
        """Number of the most probable leaf of each row, shape (n,)."""
        return self.gate_proba(X).argmax(axis=1)

    def decision_path(self, X: Table) -> sparse.csr_array:
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
    experts : {"linear", "additive", "mlp", "auto"}, estimator, or list of \
estimators or (name, estimator), default=None
        As in :class:`MoERegressor`; a list has one expert per leaf, left to right.
    branching : tuple or "grow", default=(2, 2)
        Children of each node, level by level; or a tree as nested tuples that end in
        None, such as ``(None, (None, None))``, as ``gate_.tree.shape`` has it.
        ``"grow"`` splits leaves in two as long
        as ``criterion`` rises, the leaf with the largest gain first, then gives up
        splits that do not pay, and trains the tree as a whole [2]_.
    max_leaf_nodes : int, default=8
        Leaves that a growing tree may have.
    criterion : {"held-out", "bic"}, default="held-out"
        Whether splits are judged by the log-likelihood of a fifth of the rows, which
        growth does not see, or by BIC on all of them.
    gate : {"softmax", "additive", "mlp", "sigmoid", "gaussian", "constant"}, gate or \
classifier, default="softmax"
        Copied for each inner node.
    router, trainer, likelihood, noise, zero_inflation, shared_expert, gate_features, \
expert_features
        As in :class:`MoERegressor`.
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
    .. [2] Waterhouse, S., Robinson, A. (1996). Constructive algorithms for
       hierarchical mixtures of experts. NIPS 8, 584-590.

    Examples
    --------
    >>> from skmoe import HierarchicalMoERegressor
    >>> from skmoe.datasets import make_gated_regression
    >>> X, y = make_gated_regression(500, 3, 4, random_state=0)
    >>> model = HierarchicalMoERegressor(branching=(2, 2), random_state=0).fit(X, y)
    >>> model.apply(X).shape, model.decision_path(X).shape
    ((500,), (500, 7))
    """

    _parameter_constraints = tree_constraints(MoERegressor._parameter_constraints)

    def __init__(
        self,
        experts: Experts = None,
        branching: tuple[int, ...] | str = (2, 2),
        *,
        max_leaf_nodes: int = 8,
        criterion: str = "held-out",
        gate: Part = "softmax",
        router: int | BaseEstimator | None = None,
        trainer: Part = "em",
        likelihood: Part = "gaussian",
        noise: bool | str = False,
        zero_inflation: bool = False,
        shared_expert: Part | None = None,
        gate_features: Columns = None,
        expert_features: Columns = None,
        n_members: int = 1,
        n_init: int = 1,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.experts = experts
        self.branching = branching
        self.max_leaf_nodes = max_leaf_nodes
        self.criterion = criterion
        self.gate = gate
        self.router = router
        self.trainer = trainer
        self.likelihood = likelihood
        self.noise = noise
        self.zero_inflation = zero_inflation
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
    experts : {"linear", "additive", "mlp", "auto"}, estimator, or list of \
estimators or (name, estimator), default=None
        As in :class:`MoEClassifier`; a list has one expert per leaf, left to right.
    branching : tuple or "grow", default=(2, 2)
        Children of each node, level by level; or a tree as nested tuples that end in
        None, such as ``(None, (None, None))``, as ``gate_.tree.shape`` has it.
        ``"grow"`` splits leaves in two as long
        as ``criterion`` rises, the leaf with the largest gain first, then gives up
        splits that do not pay, and trains the tree as a whole [2]_.
    max_leaf_nodes : int, default=8
        Leaves that a growing tree may have.
    criterion : {"held-out", "bic"}, default="held-out"
        Whether splits are judged by the log-likelihood of a fifth of the rows, which
        growth does not see, or by BIC on all of them.
    gate : {"softmax", "additive", "mlp", "sigmoid", "gaussian", "constant"}, gate or \
classifier, default="softmax"
        Copied for each inner node.
    router, trainer, class_weight, shared_expert, gate_features, expert_features
        As in :class:`MoEClassifier`.
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
    .. [2] Waterhouse, S., Robinson, A. (1996). Constructive algorithms for
       hierarchical mixtures of experts. NIPS 8, 584-590.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmoe import HierarchicalMoEClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = HierarchicalMoEClassifier(branching=(2,), random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape
    (2, 3)
    """

    _parameter_constraints = tree_constraints(MoEClassifier._parameter_constraints)

    def __init__(
        self,
        experts: Experts = None,
        branching: tuple[int, ...] | str = (2, 2),
        *,
        max_leaf_nodes: int = 8,
        criterion: str = "held-out",
        gate: Part = "softmax",
        router: int | BaseEstimator | None = None,
        trainer: Part = "em",
        class_weight: dict[Any, float] | str | None = None,
        shared_expert: Part | None = None,
        gate_features: Columns = None,
        expert_features: Columns = None,
        n_members: int = 1,
        n_init: int = 1,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.experts = experts
        self.branching = branching
        self.max_leaf_nodes = max_leaf_nodes
        self.criterion = criterion
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
