"""Trees of gates as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from .._estimators.answers import fitted_mixture
from .._estimators.shown import CONSTANT_GATE, kind_name
from ..experts import AdditiveExpert
from ..experts._base import traits
from ..gates import AdditiveGate, ConstantGate, SoftmaxGate
from ._leaning import leanings, moving
from ._numbers import number, signed
from ._terms import linear_names, unfrozen
from ._unwrap import unwrap

# Log-odds of 9 to 1, from which on a side of a cut has nine tenths of the weight.
NINE_TENTHS = np.log(9.0)
# Before the terms of a leaf, by its link.
LINKS = {"identity": "", "log": "log y = ", "logit": "logit = "}
OMITTED = "…"
# Logits per standard deviation of the columns, of all together, by which weights that
# are told by two decimals stay the same.
HARDLY = 0.01
# Share of the largest term below which a term is rounding.
NOTHING = 1e-9
SAME = "same weights everywhere"


class Node(NamedTuple):
    """A node of a fitted tree, ready to be shown.

    Attributes
    ----------
    name : str
    load : float, share of the rows that the leaves beneath are responsible for
    cut : str, which rows go here rather than to the siblings; may be empty
    formulas : list of lists of str, terms of a leaf for each output or class
    children : list of Node
    leaf : int or None, number of the expert
    """

    name: str
    load: float
    cut: str
    formulas: list
    children: list
    leaf: int | None = None

    @property
    def size(self):
        """Number of leaves."""
        return sum(own.size for own in self.children) if self.children else 1

    @property
    def text(self):
        """Whatever is shown of the node and those beneath, to see which notes apply."""
        own = [self.cut, *(" ".join(terms) for terms in self.formulas)]
        return "\n".join([*own, *(child.text for child in self.children)])

    def only(self, max_depth):
        """The node with so many levels of gates beneath; with all of them if None."""
        if max_depth is None or not self.children:
            return self
        if max_depth == 0:
            said = [[f"({self.size} experts beneath)"]]
            return self._replace(children=[], formulas=said)
        return self._replace(children=[c.only(max_depth - 1) for c in self.children])


def described(model, feature_names=None, n_features=3, precision=3):
    """Root :class:`Node` of a fitted mixture; a flat one is a tree of one gate."""
    own = unwrap(model)
    if own.mixture.n_members > 1:
        raise ValueError(
            f"A tree is shown of one mixture, but n_members={own.mixture.n_members}; "
            "pass one of members_."
        )
    return _Describer(own, feature_names, n_features, precision).node(0)


class _Describer:
    """What is written at each node."""

    def __init__(self, own, feature_names, n_features, precision):
        self.own, self.model = own, own.mixture
        self.parts = fitted_mixture(own.mixture)
        self.n_features, self.precision = n_features, precision
        self.renamed = _renamed(own, feature_names)
        self.tree = self.model.gate_.tree_for(self.model.n_experts_)
        self.gates = self.model.gate_.nodes()
        self.below = self.tree.branches(1).below
        self.load = self.tree.beneath @ self.model.expert_load_

    def node(self, number):
        """Node of a gate."""
        own = self.tree.slots[number]
        slots = range(own.start, own.stop)
        children = [self.child(s, s - own.start, number) for s in slots]
        load = self.load[own].sum()
        return Node(f"gate {number}", float(load), "", [], children)

    def child(self, slot, place, number):
        """What stands in a slot, the child at ``place`` of a node."""
        cut = self.cut(self.gates[number], place)
        if self.below[slot] >= 0:
            return self.node(self.below[slot])._replace(cut=cut)
        leaf = int(-1 - self.below[slot])
        name, load = self.own.shown_names[leaf], float(self.load[slot])
        return Node(name, load, cut, self.formulas(leaf), [], leaf)

    def cut(self, gate, place):
        """Where a linear gate prefers a child; of several children its score."""
        if isinstance(gate, ConstantGate):
            return SAME
        if isinstance(gate, AdditiveGate):
            return self.leaning(gate, place)
        if not isinstance(gate, SoftmaxGate) or len(gate.coef_) == 1:
            return ""
        if _is_same(gate):
            return SAME
        names = self.names(self.parts.views.gate, gate.coef_.shape[1])
        coef, level = gate.coef_[place], gate.intercept_[place]
        if len(gate.coef_) == 2:
            coef, level = (
                coef - gate.coef_[1 - place],
                level - gate.intercept_[1 - place],
            )
        order, level, rest = self.strongest(coef, level, gate)
        if len(gate.coef_) > 2 or not len(order):
            return " ".join(["score", *self.terms(coef, level, order, names), *rest])
        unit = coef[order[0]]
        text = " ".join([names[order[0]], *self.each(coef / unit, order[1:], names)])
        sign, at = ">" if unit > 0 else "<", self.plain(-level / unit)
        wide = self.plain(NINE_TENTHS / abs(unit), 2)
        return " ".join([text, *rest, sign, at, f"(±{wide})"])

    def leaning(self, gate, place):
        """Where the curves of a gate speak for a child."""
        found = leanings(gate.curves_, place, self.n_features, self.precision)
        return ", ".join(f"{self.renamed(name)} {at}" for name, at in found) or SAME

    def formulas(self, leaf):
        """Terms of a linear expert, the strongest first, for each output or class; of
        an additive one the columns with the steepest curves."""
        expert = unfrozen(self.model.experts_[leaf])
        if isinstance(expert, AdditiveExpert):
            names = map(self.renamed, moving(expert.curves_, self.n_features))
            return [[f"curves of {', '.join(names)}"]]
        if not traits(expert).is_linear:
            return [[kind_name(expert)]]
        coef, intercept = np.atleast_2d(expert.coef_), np.atleast_1d(expert.intercept_)
        names = self.names(self.parts.views.experts[leaf], coef.shape[1])
        found = []
        for row, constant in zip(coef, intercept, strict=True):
            order, level, rest = self.strongest(row, constant, expert)
            found.append([*self.terms(row, level, order, names), *rest])
        if self.own.is_classifier:
            # One set of coefficients speaks for the second class.
            labels = (
                self.model.classes_[-1:] if len(found) == 1 else self.model.classes_
            )
            heads = [f"{label}: " for label in labels]
        else:
            heads = [LINKS[self.model.likelihoods_[leaf].link]] * len(found)
        for head, terms in zip(heads, found, strict=True):
            terms[0] = head + terms[0]
        return found

    def strongest(self, coef, level, part):
        """Positions of the largest coefficients per standard deviation, the level with
        all others at their means, and a mark if there are some."""
        size = np.abs(coef * part.scale_)
        order = np.argsort(-size, kind="stable")[: self.n_features]
        order = order[size[order] > NOTHING * (size.max() + np.abs(level))]
        left = np.setdiff1d(np.arange(len(coef)), order)
        means = np.broadcast_to(part.center_, coef.shape)
        level = float(level + coef[left] @ means[left])
        return order, level, [OMITTED] if np.any(size[left] > 0) else []

    def terms(self, coef, level, order, names):
        """A level and the terms of columns."""
        return [self.plain(level), *self.each(coef, order, names)]

    def each(self, coef, order, names):
        """The terms of columns."""
        return [f"{signed(coef[j], self.precision)} {names[j]}" for j in order]

    def plain(self, value, precision=None):
        """A number."""
        return number(value, precision or self.precision)

    def names(self, view, size):
        """Names of the columns that a part sees."""
        return [self.renamed(name) for name in linear_names(self.own, view, size)]


def _is_same(gate):
    """Whether the weights of a softmax gate hardly differ between rows."""
    coef = gate.coef_ - gate.coef_.mean(axis=0)
    return np.abs(coef * gate.scale_).sum(axis=1).max() < HARDLY


def _renamed(own, feature_names):
    """A function from names of columns to those that a reader wants."""
    if feature_names is None:
        return lambda name: name
    known, given = own.inner_names, [str(name) for name in feature_names]
    if len(given) != len(known):
        raise ValueError(
            f"feature_names has {len(given)} names, but the mixture sees {len(known)} "
            f"columns; give one for each of {known}."
        )
    pairs = sorted(zip(known, given, strict=True), key=lambda pair: -len(pair[0]))

    def renamed(name):
        # What is made of a column begins with its name.
        for old, new in pairs:
            if name == old or name.startswith(f"{old}_"):
                return new + name[len(old) :]
        return name

    return renamed


def notes_of(root, only_stacks):
    """What a reader of a tree needs to know of it, line by line."""
    text, units = root.text, "units of the columns that the mixture sees"
    notes = [f"{CONSTANT_GATE.capitalize()}."] if only_stacks else []
    if "(±" in text:
        notes.append(f"Cuts are in {units}; within ± weights are 10 to 90 %.")
    if "score " in text:
        notes.append(f"Of scores, in {units}, the largest leads.")
    if OMITTED in text:
        notes.append(f"{OMITTED} stands for weaker columns, at their means.")
    return notes


def export_text(
    model: BaseEstimator,
    *,
    feature_names: Sequence[str] | None = None,
    max_depth: int | None = None,
    n_features: int = 3,
    precision: int = 3,
) -> str:
    """A fitted tree of gates as text.

    Each line is a gate or, at the end of a branch, an expert with its share of the
    rows.  In brackets stands which rows go there rather than to the sibling: the cut of
    the softmax gate above, in the units of its strongest column, with how far from it
    weights go from 10 to 90 %; under additive gates where their curves speak for it.
    Of more than two children each has a score, the largest of which leads.  Linear
    experts show their strongest coefficients behind the intercept, additive ones the
    columns with the steepest curves.  Everything is in the units of the columns that
    the mixture sees, and columns that are left
    out are taken at their means.

    Parameters
    ----------
    model : fitted hierarchical or flat mixture, or a search or pipeline around one
    feature_names : list of str, default=None
        Of all columns that the mixture sees.  Those seen in ``fit``, or made by a
        pipeline, if None.
    max_depth : int, default=None
        Levels of gates to show; all if None.
    n_features : int, default=3
        Coefficients per gate and per expert.
    precision : int, default=3
        Significant digits.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is another number of ``feature_names``, or of averages of mixtures.

    Examples
    --------
    >>> from skmoe import HierarchicalMoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import export_text
    >>> X, y = make_regimes(300, random_state=0)
    >>> model = HierarchicalMoERegressor(branching=(2,), random_state=0).fit(X, y)
    >>> print(export_text(model, n_features=1))  # doctest: +ELLIPSIS
    gate 0, load 1.00
    |--- [x... (±...)] expert0, load 0...
    |    ...
    """
    lines: list[str] = []
    root = described(model, feature_names, n_features, precision).only(max_depth)
    _write(root, 0, lines)
    return "\n".join([*lines, *notes_of(root, unwrap(model).only_stacks)])


def _write(node, depth, lines):
    indent = "|    " * (depth - 1) + ("|--- " if depth else "")
    cut = f"[{node.cut}] " if node.cut else ""
    lines.append(f"{indent}{cut}{node.name}, load {node.load:.2f}")
    lines += ["|    " * depth + " ".join(terms) for terms in node.formulas]
    for child in node.children:
        _write(child, depth + 1, lines)
