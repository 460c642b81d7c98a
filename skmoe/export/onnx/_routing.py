"""Which experts serve which rows, in a graph: weights (n, K), zero for the others."""

import numpy as np

from ..._kernels.routing import TIE
from ...routers import (
    BalancedRouter,
    BiasBalancedRouter,
    BudgetRouter,
    DenseRouter,
    ExpertChoiceRouter,
    GShardRouter,
    HashRouter,
    NoisyTopKRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
from ...routers._choice import ROUNDING
from ._registry import refuse, register_router

#: A log-weight of experts that are out of the question.
NOWHERE = -np.inf


def best_of(graph, scores):
    """Mask (n, K) of the expert of each row with the largest score.

    Of those that differ by no more than rounding, it is the first, as in
    ``routers._base.best_first``.
    """
    best = graph.max(scores)
    margin = graph.op("Mul", graph.op("Add", graph.op("Abs", best), 1.0), TIE)
    near = graph.op("GreaterOrEqual", scores, graph.op("Sub", best, margin))
    first = graph.op("ArgMax", graph.cast(near, np.int32), axis=1, keepdims=1)
    return first


def chosen(graph, first, n_experts):
    """Mask (n, K) of one expert per row, by a tensor (n, 1) of their numbers."""
    return graph.op("Equal", first, np.arange(n_experts))


def top_k(graph, scores, n_experts, k):
    """Mask (n, K) of the experts of each row with the k largest scores."""
    kept = None
    for _ in range(k):
        own = chosen(graph, best_of(graph, scores), n_experts)
        kept = own if kept is None else graph.op("Or", kept, own)
        scores = graph.op("Where", own, NOWHERE, scores)
    return kept


def among(graph, log_gate, mask):
    """Weights (n, K) that sum to one over the experts in a mask."""
    return graph.op("Softmax", graph.op("Where", mask, log_gate, NOWHERE), axis=1)


def _all(router, graph, log_gate, n_experts):
    return graph.op("Exp", log_gate)


def _top_k(router, graph, log_gate, n_experts):
    k = router.n_active(n_experts)
    mask = top_k(graph, log_gate, n_experts, k)
    if k == 1:
        return graph.double(mask)
    return among(graph, log_gate, mask)


def _top_p(router, graph, log_gate, n_experts):
    width = n_experts if router.max_active is None else router.max_active
    left, before, kept = log_gate, None, None
    weights = graph.op("Exp", log_gate)
    most = graph.op("Mul", graph.sum(weights), float(router.p))
    for number in range(min(width, n_experts)):
        own = chosen(graph, best_of(graph, left), n_experts)
        left = graph.op("Where", own, NOWHERE, left)
        weight = graph.sum(graph.op("Where", own, weights, 0.0))
        if number:
            own = graph.op("And", own, graph.op("Less", before, most))
        kept = own if kept is None else graph.op("Or", kept, own)
        before = weight if before is None else graph.op("Add", before, weight)
    return among(graph, log_gate, kept)


def _at_least_one(graph, taken, scores, n_experts):
    """A mask in which rows without an expert have that with the largest score."""
    any_taken = graph.max(graph.cast(taken, np.int32))
    best = graph.op("ArgMax", scores, axis=1, keepdims=1)
    alone = graph.op(
        "And",
        chosen(graph, best, n_experts),
        graph.op("Less", any_taken, graph.fixed(np.int32(1))),
    )
    return graph.op("Or", taken, alone)


def _choice(router, graph, log_gate, n_experts):
    least = router.thresholds_ - ROUNDING * (1.0 + np.abs(router.thresholds_))
    taken = graph.op("GreaterOrEqual", log_gate, least)
    return among(graph, log_gate, _at_least_one(graph, taken, log_gate, n_experts))


def _budget(router, graph, log_gate, n_experts):
    costs, price = router._costs(n_experts), router.multiplier_
    weights = graph.op("Exp", log_gate)
    kept = graph.op("Greater", weights, price * costs)
    worth = graph.op("Sub", weights, price * (costs - costs.min()))
    return among(graph, log_gate, _at_least_one(graph, kept, worth, n_experts))


def _biased(router, graph, log_gate, n_experts):
    bias = 0.0 if router.bias_ is None else router.bias_
    scores = graph.op("Add", graph.op("Exp", log_gate), bias)
    k = router.n_active(n_experts)
    return among(graph, log_gate, top_k(graph, scores, n_experts, k))


def _hashed(router, graph, log_gate, n_experts):
    refuse(
        "HashRouter",
        "its hash reads the bits of numbers, which ONNX has no operator for",
        "use another router, such as TopKRouter",
    )


register_router(DenseRouter, _all)
for _kind in (TopKRouter, NoisyTopKRouter, SwitchRouter, GShardRouter, BalancedRouter):
    register_router(_kind, _top_k)
register_router(TopPRouter, _top_p)
register_router(ExpertChoiceRouter, _choice)
register_router(BudgetRouter, _budget)
register_router(BiasBalancedRouter, _biased)
register_router(HashRouter, _hashed)
