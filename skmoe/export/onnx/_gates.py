"""Gates in a graph: log-weights (n, K), up to a constant per row."""

import numpy as np
from scipy import linalg

from ..._estimators.members import MembersGate
from ...gates import (
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    GroupGate,
    SoftmaxGate,
)
from ...gates._classifier import SMALLEST_PROBA
from ...gates._gaussian import FARTHEST
from ...gates._tree import NoiseTreeGate, TreeGate
from ._experts import aligned
from ._inputs import GAP
from ._linear import linear
from ._registry import gate_converter, register_gate, router_converter
from ._routing import NOWHERE, best_of, chosen

#: A segment that no table has.
UNSEEN = "\0"


def scores_of(gate, graph, inputs):
    """Log-weights (n, K) up to a constant per row."""
    return gate_converter(gate).scores(gate, graph, inputs)


def log_weights(gate, graph, inputs):
    """Log-weights (n, K), whose exponentials sum to one."""
    return graph.op("LogSoftmax", scores_of(gate, graph, inputs), axis=1)


def is_sparse(router, n_experts):
    """Whether rows may have fewer than all experts."""
    all_of_them = router.plain_top_k and router.n_active(n_experts) >= n_experts
    return not (router.is_dense or all_of_them)


def weights_of(gate, graph, inputs, router, n_experts):
    """Weights (n, K) of the experts after routing, zero for those not asked."""
    own = gate_converter(gate)
    if own.route is not None:
        return own.route(gate, graph, inputs, router, n_experts)
    return _routed(gate, graph, inputs, router, n_experts)


def _routed(gate, graph, inputs, router, n_experts):
    scores, convert = scores_of(gate, graph, inputs), router_converter(router)
    if not is_sparse(router, n_experts):
        return graph.op("Softmax", scores, axis=1)
    if not router.plain_top_k:
        scores = graph.op("LogSoftmax", scores, axis=1)
    return convert(router, graph, scores, n_experts)


def _softmax(gate, graph, inputs):
    return linear(graph, inputs.numbers(), gate.coef_, gate.intercept_)


def _constant(gate, graph, inputs):
    return graph.repeated(gate.intercept_, inputs.any_tensor())


def _gaussian(gate, graph, inputs):
    """Whitened distances of all experts by one product."""
    Z = graph.op("Sub", inputs.numbers(), gate._design_center)
    Z = graph.op("Clip", graph.op("Mul", Z, gate._inverse_scale), -FARTHEST, FARTHEST)
    axes, means = gate._axes, gate._means
    if axes.shape[0] != axes.shape[1]:
        Z = graph.op("MatMul", Z, axes)
    r = axes.shape[1]
    inverse = [linalg.solve_triangular(f, np.eye(r), lower=True) for f in gate._factors]
    shift = [own @ mean for own, mean in zip(inverse, means, strict=True)]
    white = linear(graph, Z, np.vstack(inverse), -np.concatenate(shift))
    white = graph.reshape(white, 0, len(means), r)
    white = graph.op("Clip", white, -FARTHEST, FARTHEST)
    squares = graph.sum(graph.op("Mul", white, white), axis=2, keepdims=0)
    volumes = [np.log(np.diag(factor)).sum() for factor in gate._factors]
    level = np.log(gate.weights_) - np.array(volumes)
    return graph.op("Sub", level, graph.op("Mul", squares, 0.5))


def _group(gate, graph, inputs):
    """A row of a table of log-weights, by the segment."""
    table = np.vstack([gate.weights_, gate.prior_])
    table = np.log(np.maximum(table, np.finfo(float).tiny))
    (j,), unknown = inputs.positions([gate.column]), len(gate.groups_)
    if inputs.columns[j].is_text:
        known = [own for own in gate.groups_ if own != GAP]
        numbers = [int(np.searchsorted(gate.groups_, own)) for own in known]
        place = graph.op(
            "LabelEncoder",
            graph.reshape(inputs.text(j), -1),
            domain="ai.onnx.ml",
            keys_strings=[*known, UNSEEN],
            values_int64s=[*numbers, unknown],
            default_int64=unknown,
        )
        return graph.op("Gather", table, place, axis=0)
    keys = _as_numbers(gate.groups_).astype(inputs.columns[j].dtype).astype(float)
    same = graph.op("Equal", inputs.number(j), keys.reshape(1, -1))
    none = graph.op(
        "Equal", graph.max(graph.cast(same, np.int32)), graph.fixed(np.int32(0))
    )
    same = graph.op("Concat", graph.double(same), graph.double(none), axis=1)
    return graph.op("MatMul", same, table)


def _as_numbers(names):
    """Names of segments as the numbers that have them, NaN for words."""
    truths = {"True": 1.0, "False": 0.0}

    def read(name):
        try:
            return truths[name] if name in truths else float(name)
        except ValueError:
            return np.nan

    return np.array([read(str(name)) for name in names], dtype=float)


def _classifier(gate, graph, inputs):
    n_experts = len(gate._classes)
    if gate._only is not None:
        proba = np.eye(n_experts)[gate._only]
        proba = np.maximum(proba, SMALLEST_PROBA)
        return graph.repeated(np.log(proba), inputs.any_tensor())
    proba = aligned(gate.classifier_, graph, inputs, np.arange(n_experts), "the gate")
    proba = graph.columns(proba, gate._classes)
    return graph.op("Log", graph.op("Max", proba, SMALLEST_PROBA))


def _tree(gate, graph, inputs):
    """Sums of log-weights on the way to each leaf."""
    slots = _slots(gate, graph, inputs)
    return graph.op("MatMul", slots, gate.tree.beneath)


def _slots(gate, graph, inputs):
    """Log-weights (n, S) of the children of all nodes, given the node."""
    each = [log_weights(own, graph, inputs) for own in gate.gates_]
    return graph.op("Concat", *each, axis=1) if len(each) > 1 else each[0]


def _tree_route(gate, graph, inputs, router, n_experts):
    """The best k paths, level by level; another rule by the weights of the leaves."""
    tree, k = gate.tree, router.n_active(n_experts)
    if not router.plain_top_k or k >= n_experts:
        return _routed(gate, graph, inputs, router, n_experts)
    children = _slots(gate, graph, inputs)
    logs, at = None, []
    for first, last in zip(tree.levels[:-1], tree.levels[1:], strict=True):
        own = graph.columns(children, range(first, last))
        if logs is not None:
            own = graph.op(
                "Add",
                own,
                graph.columns(
                    logs, [at.index(tree.above[s]) for s in range(first, last)]
                ),
            )
        leaves = [slot for slot in at if slot in tree.leaves]
        if leaves:
            kept = graph.columns(logs, [at.index(slot) for slot in leaves])
            own = graph.op("Concat", kept, own, axis=1)
        at = [*leaves, *range(first, last)]
        logs = _beam(graph, own, len(at), k)
    logs = graph.columns(logs, [at.index(slot) for slot in tree.leaves])
    if k == 1:
        return graph.double(chosen(graph, best_of(graph, logs), n_experts))
    return graph.op("Softmax", logs, axis=1)


def _beam(graph, logs, width, k):
    """Log-weights of the k best of each row, minus infinity for the others."""
    if k >= width:
        return logs
    kept, left = None, logs
    for _ in range(k):
        first = graph.op("ArgMax", left, axis=1, keepdims=1)
        own = chosen(graph, first, width)
        kept = own if kept is None else graph.op("Or", kept, own)
        left = graph.op("Where", own, NOWHERE, left)
    return graph.op("Where", kept, logs, NOWHERE)


def _members(gate, graph, inputs):
    each = [log_weights(own, graph, inputs) for own in gate.gates]
    return graph.op("Concat", *each, axis=1)


def _members_route(gate, graph, inputs, router, n_experts):
    members = zip(gate.gates, router.routers, router.sizes, strict=True)
    each = [weights_of(g, graph, inputs, r, size) for g, r, size in members]
    weights = graph.op("Concat", *each, axis=1)
    return graph.op("Div", weights, float(len(gate.gates)))


register_gate(SoftmaxGate, _softmax)
register_gate(ConstantGate, _constant)
register_gate(GaussianGate, _gaussian)
register_gate(GroupGate, _group)
register_gate(ClassifierGate, _classifier)
for _kind in (TreeGate, NoiseTreeGate):
    register_gate(_kind, _tree, route=_tree_route)
register_gate(MembersGate, _members, route=_members_route)
