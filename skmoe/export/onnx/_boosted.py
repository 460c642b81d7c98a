"""Histogram-based boosted trees in a graph, with thresholds in double precision.

Tree ensembles of onnxruntime compare in single precision.  So what they are given are
not the columns, but how many thresholds of its column a value is beyond, and for each
split of categories on which side the category of a row is: small whole numbers.
"""

from typing import NamedTuple

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from ._linear import INVERSE
from ._registry import refuse, register_expert
from ._search import count
from ._transformers import category_places
from ._trees import ensemble

#: Links of scikit-learn's losses.
LINKS = {"IdentityLink": "identity", "LogLink": "log"}


class Splits(NamedTuple):
    """What the nodes of boosted trees ask.

    Attributes
    ----------
    thresholds : list of ascending arrays, one per feature
    sets : dict of (feature, bits of the categories that go left) to their number
    """

    thresholds: list
    sets: dict

    @classmethod
    def of(cls, trees, n_features):
        """Those of all trees."""
        found, sets = [set() for _ in range(n_features)], {}
        for tree in trees:
            for node in tree.nodes[tree.nodes["is_leaf"] == 0]:
                j = int(node["feature_idx"])
                if node["is_categorical"]:
                    sets.setdefault((j, _bits(tree, node)), len(sets))
                else:
                    found[j].add(float(node["num_threshold"]))
        return cls([np.array(sorted(own)) for own in found], sets)

    def asked(self, tree, node):
        """Number of the code that a node reads, and where it parts it."""
        j = int(node["feature_idx"])
        if node["is_categorical"]:
            return len(self.thresholds) + self.sets[j, _bits(tree, node)], 0.5
        place = np.searchsorted(self.thresholds[j], node["num_threshold"])
        return j, float(place) + 0.5


def _bits(tree, node):
    return tuple(tree.raw_left_cat_bitsets[node["bitset_idx"]].tolist())


def raw(trees, graph, inputs):
    """Sums (n, n_trees_per_iteration) of the trees, before the link."""
    grown = [(k, own) for each in trees._predictors for k, own in enumerate(each)]
    columns, categories = _columns(trees, inputs)
    splits = Splits.of([own for _, own in grown], len(columns))
    codes = _codes(graph, inputs, columns, categories, splits)
    nodes, leaves = [], []
    for number, (target, tree) in enumerate(grown):
        for place, node in enumerate(tree.nodes):
            if node["is_leaf"]:
                nodes.append((number, place, 0, "LEAF", 0.0, 0, 0, 0))
                leaves.append((number, place, target, float(node["value"])))
                continue
            ways = (int(node[own]) for own in ("left", "right", "missing_go_to_left"))
            feature, value = splits.asked(tree, node)
            nodes.append((number, place, feature, "BRANCH_LEQ", value, *ways))
    sums = ensemble(graph, codes, nodes, leaves, trees.n_trees_per_iteration_)
    base = np.asarray(trees._baseline_prediction, dtype=float).reshape(1, -1)
    return graph.op("Add", sums, base)


def _columns(trees, inputs):
    """Position of each feature among the inputs, and categories of those that are."""
    if trees.is_categorical_ is None:
        return list(range(inputs.n_columns)), {}
    kinds = np.asarray(trees.is_categorical_)
    columns = [*np.flatnonzero(kinds), *np.flatnonzero(~kinds)]
    encoder = trees._preprocessor.named_transformers_["encoder"]
    return [int(j) for j in columns], dict(enumerate(encoder.categories_))


def _codes(graph, inputs, columns, categories, splits):
    """Codes (n, m) in single precision that the trees read; NaN for gaps.

    First those of columns, of which nobody reads those of categories, and then the
    sides of the splits of categories, in the order of their numbers.
    """
    n_kinds, parts = len(categories), []
    if n_kinds:
        parts.append(graph.cast(graph.filled(inputs.any_tensor(), n_kinds), np.float32))
    if len(columns) > n_kinds:
        own = inputs.select(columns[n_kinds:])
        parts.append(_number_codes(graph, own, splits.thresholds[n_kinds:]))
    order = []
    for f, known in categories.items():
        asked = [(bits, k) for (j, bits), k in splits.sets.items() if j == f]
        if asked:
            sets = [bits for bits, _ in asked]
            parts.append(_sides(graph, inputs, columns[f], known, sets))
            order += [k for _, k in asked]
    codes = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    if order == sorted(order):
        return codes
    places = [*range(len(columns)), *(len(columns) + np.argsort(order))]
    return graph.columns(codes, places)


def _number_codes(graph, inputs, thresholds):
    """How many thresholds of its column each number is beyond."""
    X = inputs.numbers()
    knots = np.full((len(thresholds), max(map(len, thresholds))), np.inf)
    for j, own in enumerate(thresholds):
        knots[j, : len(own)] = own
    codes = graph.double(count(graph, X, knots, strict=True))
    return graph.cast(
        graph.op("Where", graph.op("IsNaN", X), np.nan, codes), np.float32
    )


def _sides(graph, inputs, j, known, sets):
    """For each set of categories, whether a row goes right (1) or left (0).

    NaN for gaps, and for categories that training did not have.
    """
    kept = [own for own in known if own is not None and own == own]
    table = np.full((len(kept) + 2, len(sets)), np.nan)
    for s, bits in enumerate(sets):
        for c in range(len(kept)):
            table[c, s] = 0.0 if bits[c // 32] >> (c % 32) & 1 else 1.0
    if inputs.columns[j].is_text:
        place = category_places(graph, inputs.text(j), [str(own) for own in kept])
    else:
        same = graph.op("Equal", inputs.number(j), np.array(kept, dtype=float))
        same = graph.cast(same, np.int32)
        none = graph.op("Equal", graph.max(same, keepdims=0), graph.fixed(np.int32(0)))
        place = graph.op("ArgMax", same, axis=1, keepdims=0)
        place = graph.op("Where", none, np.int64(len(kept)), place)
    return graph.op("Gather", graph.fixed(table.astype(np.float32)), place, axis=0)


def _values(trees, graph, inputs):
    link = LINKS.get(type(trees._loss.link).__name__)
    if link is None:
        refuse(
            f"boosted trees with loss={trees.loss!r}",
            "the inverse of its link is not known here",
            "use another loss",
        )
    return INVERSE[link](graph, raw(trees, graph, inputs))


def _proba(trees, graph, inputs):
    sums = raw(trees, graph, inputs)
    if trees.n_trees_per_iteration_ > 1:
        return graph.op("Softmax", sums, axis=1)
    both = graph.op("Concat", graph.op("Mul", sums, 0.0), sums, axis=1)
    return graph.op("Softmax", both, axis=1)


register_expert(HistGradientBoostingRegressor, _values)
register_expert(HistGradientBoostingClassifier, _proba)
