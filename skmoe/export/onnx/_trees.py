"""Trees and forests in a graph: thresholds rounded down to single precision.

scikit-learn compares columns in single precision with thresholds in double; so does
onnxruntime with the largest single number that is no larger than the threshold.
"""

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from ...experts._forest import CompactForest, rounded_down
from ._foreign import SINGLE
from ._registry import refuse, register_expert

#: Attributes of the operator that has all nodes.
NODES = (
    "treeids",
    "nodeids",
    "featureids",
    "modes",
    "values",
    "truenodeids",
    "falsenodeids",
    "missing_value_tracks_true",
)
#: Those that have what leaves add.
LEAVES = "treeids", "nodeids", "ids", "weights"


def ensemble(graph, X, nodes, leaves, n_targets):
    """Sums (n, n_targets) of trees, as doubles.

    Parameters
    ----------
    graph : Graph
    X : tensor of single numbers (n, p)
    nodes, leaves : lists of tuples, as ``NODES`` and ``LEAVES`` are named
    n_targets : int
    """
    columns = zip(NODES, zip(*nodes, strict=True), strict=True)
    given = {f"nodes_{name}": list(own) for name, own in columns}
    columns = zip(LEAVES, zip(*leaves, strict=True), strict=True)
    given |= {f"target_{name}": list(own) for name, own in columns}
    sums = graph.op(
        "TreeEnsembleRegressor",
        X,
        domain="ai.onnx.ml",
        n_targets=n_targets,
        **given,
    )
    graph.tolerance = max(graph.tolerance, SINGLE)
    return graph.double(sums)


def _mean(trees, graph, inputs, values_of):
    """Mean (n, d) of what the leaves of trees say."""
    nodes, leaves, n_targets = [], [], 1
    for number, tree in enumerate(trees):
        values = values_of(tree) / len(trees)
        n_targets = values.shape[1]
        limits, gaps = rounded_down(tree.threshold), tree.missing_go_to_left
        for place in range(tree.node_count):
            ways = tree.children_left[place], tree.children_right[place], gaps[place]
            if ways[0] < 0:
                nodes.append((number, place, 0, "LEAF", 0.0, 0, 0, 0))
                own = enumerate(values[place].tolist())
                leaves += [(number, place, target, value) for target, value in own]
                continue
            feature = int(tree.feature[place])
            row = number, place, feature, "BRANCH_LEQ", float(limits[place])
            nodes.append((*row, *map(int, ways)))
    X = graph.cast(inputs.numbers(), np.float32)
    return ensemble(graph, X, nodes, leaves, n_targets)


def _numbers(tree):
    return tree.value[:, :, 0]


def _shares(tree):
    """Shares (nodes, classes) of the classes of one output."""
    counts = tree.value[:, 0, :]
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.where(total > 0, total, 1.0)


def _trees_of(estimator):
    own = vars(estimator).get("estimators_")
    return [estimator.tree_] if own is None else [each.tree_ for each in own]


def _values(estimator, graph, inputs):
    return _mean(_trees_of(estimator), graph, inputs, _numbers)


def _proba(estimator, graph, inputs):
    if estimator.n_outputs_ > 1:
        refuse(
            f"{type(estimator).__name__} with {estimator.n_outputs_} outputs",
            "classes of several outputs have no place in a mixture",
            "fit it to one output",
        )
    return _mean(_trees_of(estimator), graph, inputs, _shares)


def _compact(forest, graph, inputs):
    """A forest whose trees stand one after another in arrays."""
    own, nodes, leaves = forest.nodes_, [], []
    values = own.values.astype(float) / len(own.roots)
    ends = [*own.roots[1:].tolist(), len(own.feature)]
    for number, (root, end) in enumerate(zip(own.roots.tolist(), ends, strict=True)):
        for node in range(root, end):
            place, after = node - root, int(own.after[node])
            if own.feature[node] < 0:
                nodes.append((number, place, 0, "LEAF", 0.0, 0, 0, 0))
                said = enumerate(values[after].tolist())
                leaves += [(number, place, target, value) for target, value in said]
                continue
            limit, gap = float(own.threshold[node]), int(own.gap_first[node])
            row = number, place, int(own.feature[node]), "BRANCH_LEQ", limit
            nodes.append((*row, place + 1, after - root, gap))
    X = graph.cast(inputs.numbers(), np.float32)
    means = ensemble(graph, X, nodes, leaves, values.shape[1])
    if is_classifier(forest):
        return graph.op("Div", means, graph.sum(means))
    scaled = graph.op("Mul", means, np.asarray(forest.scale_))
    return graph.op("Add", scaled, np.asarray(forest.center_))


register_expert(CompactForest, _compact)
for _kind in (
    DecisionTreeRegressor,
    ExtraTreeRegressor,
    RandomForestRegressor,
    ExtraTreesRegressor,
):
    register_expert(_kind, _values)
for _kind in (
    DecisionTreeClassifier,
    ExtraTreeClassifier,
    RandomForestClassifier,
    ExtraTreesClassifier,
):
    register_expert(_kind, _proba)
