"""Trees of gates as text and as pictures."""

from typing import NamedTuple

import numpy as np
from sklearn.base import is_classifier

from ..experts import LinearExpert
from ..gates import SoftmaxGate
from ._plots import axes_for
from ._unwrap import unwrap


class Node(NamedTuple):
    """A node of a fitted tree, ready to be shown.

    Attributes
    ----------
    name : str
    load : float, share of the rows that the leaves beneath are responsible for
    pull : list of str, what draws a row here rather than to the siblings
    formulas : list of lists of str, terms of a leaf for each output or class
    children : list of Node
    """

    name: str
    load: float
    pull: list
    formulas: list
    children: list


def described(model, feature_names=None, n_features=3, precision=3):
    """Root :class:`Node` of a fitted mixture; a flat one is a tree of one gate."""
    own = unwrap(model)
    model = own.mixture
    feature_names = own.made if feature_names is None else feature_names
    if hasattr(model, "members_"):
        raise ValueError(
            f"A tree is shown of one mixture, but n_members={model.n_members}; pass "
            "one of members_."
        )
    return _Describer(model, feature_names, n_features, precision).node(0)


class _Describer:
    """What is written at each node."""

    def __init__(self, model, feature_names, n_features, precision):
        self.model, self.n_features, self.precision = model, n_features, precision
        self.feature_names = feature_names
        self.tree = model.gate_.tree_for(model.n_experts_)
        self.gates = model.gate_.nodes()
        self.below = self.tree.branches(1).below
        self.load = self.tree.beneath @ model.expert_load_

    def node(self, number):
        """Node of a gate."""
        own = self.tree.slots[number]
        slots = range(own.start, own.stop)
        children = [self.child(s, s - own.start, number) for s in slots]
        load = self.load[own].sum()
        return Node(f"gate {number}", float(load), [], [], children)

    def child(self, slot, place, number):
        """What stands in a slot, the child at ``place`` of a node."""
        pull = self.pull(self.gates[number], place)
        if self.below[slot] >= 0:
            return self.node(self.below[slot])._replace(pull=pull)
        leaf = -1 - self.below[slot]
        name = list(self.model.named_experts_)[leaf]
        return Node(name, float(self.load[slot]), pull, self.formulas(leaf), [])

    def pull(self, gate, place):
        """The strongest coefficients of a linear gate, per standard deviation."""
        if not isinstance(gate, SoftmaxGate) or len(gate.coef_) == 1:
            return []
        names = self.names(gate.coef_.shape[1], self.model.gate_features_)
        coef = gate.coef_[place] * gate.scale_
        return [f"{names[j]} {self.number(coef[j])}" for j in self.strongest(coef)]

    def formulas(self, leaf):
        """Terms of a linear expert, the strongest first, for each output or class."""
        expert = self.model.experts_[leaf]
        if not isinstance(expert, LinearExpert):
            return [[type(expert).__name__]]
        coef, intercept = np.atleast_2d(expert.coef_), np.atleast_1d(expert.intercept_)
        names = self.names(coef.shape[1], self.model.expert_features_[leaf])
        found = [
            [f"{constant:.{self.precision}g}"]
            + [f"{self.number(row[j])} {names[j]}" for j in self.strongest(scaled)]
            for row, constant, scaled in zip(
                coef, intercept, coef * expert.scale_, strict=True
            )
        ]
        if is_classifier(self.model):
            for label, terms in zip(self.model.classes_, found, strict=True):
                terms[0] = f"{label}: {terms[0]}"
        return found

    def strongest(self, coef):
        """Positions of the largest coefficients."""
        return np.argsort(-np.abs(coef), kind="stable")[: self.n_features]

    def number(self, value):
        """A number with its sign."""
        return f"{value:+.{self.precision}g}"

    def names(self, n_columns, transformer):
        """Names of the columns that a part sees."""
        if self.feature_names is not None and len(self.feature_names) == n_columns:
            return list(self.feature_names)
        known = getattr(transformer, "get_feature_names_out", None)
        if transformer is None and n_columns == self.model.n_features_in_:
            columns = np.empty((0, n_columns))
            return unwrap(self.model).names(columns)
        if known is not None:
            return list(known())
        return [f"column {j}" for j in range(n_columns)]


def export_text(
    model, *, feature_names=None, max_depth=None, n_features=3, precision=3
):
    """A fitted tree of gates as text.

    Each line is a gate or, at the end of a branch, an expert with its share of the
    rows.  In brackets stands what draws a row there rather than to the siblings: the
    strongest coefficients of the softmax gate above, in logits per standard deviation
    of the column.  Linear experts show their strongest coefficients, on the scale of
    the data.

    Parameters
    ----------
    model : fitted hierarchical or flat mixture, or a search or pipeline around one
    feature_names : list of str, default=None
        Those seen in ``fit``, or made by a pipeline, if None.
    max_depth : int, default=None
        Levels of gates to show; all if None.
    n_features : int, default=3
        Coefficients per gate and per expert.
    precision : int, default=3
        Significant digits.

    Returns
    -------
    str

    Examples
    --------
    >>> from skmoe import HierarchicalMoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import export_text
    >>> X, y = make_regimes(300, random_state=0)
    >>> model = HierarchicalMoERegressor(branching=(2,), random_state=0).fit(X, y)
    >>> print(export_text(model, n_features=1))  # doctest: +ELLIPSIS
    gate 0, load 1.00
    |--- [x...] expert0, load 0...
    |    ...
    """
    lines = []
    _write(described(model, feature_names, n_features, precision), 0, max_depth, lines)
    return "\n".join(lines)


def _write(node, depth, max_depth, lines):
    indent = "|    " * (depth - 1) + ("|--- " if depth else "")
    pull = f"[{', '.join(node.pull)}] " if node.pull else ""
    lines.append(f"{indent}{pull}{node.name}, load {node.load:.2f}")
    lines += ["|    " * depth + " ".join(terms) for terms in node.formulas]
    if node.children and max_depth is not None and depth >= max_depth:
        lines.append("|    " * depth + f"({_count(node)} experts beneath)")
        return
    for child in node.children:
        _write(child, depth + 1, max_depth, lines)


def _count(node):
    return sum(map(_count, node.children)) if node.children else 1


def plot_tree(
    model,
    *,
    feature_names=None,
    max_depth=None,
    n_features=2,
    precision=3,
    ax=None,
    fontsize=None,
):
    """Draw a fitted tree of gates.

    Branches are as wide as their share of the rows; otherwise as
    :func:`export_text`.

    Parameters
    ----------
    model, feature_names, max_depth, n_features, precision
        As in :func:`export_text`.
    ax : matplotlib axes, default=None
        A new figure if None.
    fontsize : float, default=None

    Returns
    -------
    list of matplotlib annotations

    Examples
    --------
    >>> from skmoe import HierarchicalMoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import plot_tree
    >>> X, y = make_regimes(300, random_state=0)
    >>> model = HierarchicalMoERegressor(branching=(2,), random_state=0).fit(X, y)
    >>> boxes = plot_tree(model)  # doctest: +SKIP
    """
    root = described(model, feature_names, n_features, precision)
    ax = axes_for(ax, "plot_tree")
    ax.set_axis_off()
    boxes = []
    width = _draw(ax, root, 0, 0.0, max_depth, boxes, fontsize)[1]
    depth = -min(box.xy[1] for box in boxes)
    ax.set(xlim=(-0.6, width - 0.4), ylim=(-depth - 0.4, 0.4))
    return boxes


def _draw(ax, node, depth, left, max_depth, boxes, fontsize):
    """Draw what is beneath ``node``, then the node; returns its place and the end."""
    shown = node.children if max_depth is None or depth < max_depth else []
    places, right = [], left
    for child in shown:
        place, right = _draw(ax, child, depth + 1, right, max_depth, boxes, fontsize)
        places.append(place)
    place = np.mean(places) if places else left
    for child, below in zip(shown, places, strict=True):
        ax.plot(
            [place, below],
            [-depth, -depth - 1],
            color="0.6",
            linewidth=1 + 8 * child.load,
            solid_capstyle="round",
            zorder=1,
        )
    lines = [f"[{term}]" for term in node.pull]
    lines += [node.name, f"load {node.load:.2f}"]
    # One output fits below the other only where there is one.
    between = "\n" if len(node.formulas) == 1 else " "
    lines += [between.join(terms) for terms in node.formulas]
    style = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.3"}
    if not node.children:
        style["facecolor"] = "#dbe9f6"
    boxes.append(
        ax.annotate(
            "\n".join(lines),
            (place, -depth),
            ha="center",
            va="center",
            bbox=style,
            fontsize=fontsize,
            zorder=2,
        )
    )
    return place, max(right, left + 1.0)
