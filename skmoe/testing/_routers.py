"""Whether a router keeps its promises."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, clone

from .._kernels.door import in_range
from ..routers import BaseRouter, TopKRouter
from ._common import check_parameters, close

N_ROWS, N_COLUMNS = 50, 3


def check_router(router: BaseEstimator, n_experts: int = 5) -> None:
    """Raise ``AssertionError`` where a router breaks the protocol.

    At prediction weights of a row must sum to one, belong to distinct experts in
    range, no more of them than ``n_active``, and depend on that row alone.  In
    training they must be weights, the same for the same random numbers.  A router
    must serve any number of experts once it is ``resized``.

    Parameters
    ----------
    router : router
    n_experts : int, default=5

    Examples
    --------
    >>> from skmoe.routers import TopKRouter
    >>> from skmoe.testing import check_router
    >>> check_router(TopKRouter(2))
    """
    assert isinstance(router, BaseRouter), "a router derives from BaseRouter"
    check_parameters(router)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_COLUMNS))
    router = clone(router)
    router.check(n_experts)
    log_gate = np.log(rng.dirichlet(np.ones(n_experts), size=N_ROWS))
    _check_prediction(_fitted(router, log_gate, X), log_gate, X)
    _check_training(router, log_gate, X)
    _check_outputs(router, n_experts)
    for n in range(1, n_experts + 1):
        smaller = router.resized(n)
        smaller.check(n)
        own = log_softmax(log_gate[:, :n], axis=1)
        _check_prediction(_fitted(smaller, own, X), own, X)
    # Those that are left of experts that it has learned of.
    kept = list(range(1, n_experts, 2)) or [0]
    left = _fitted(router, log_gate, X).only(kept)
    left.check(len(kept))
    own = log_softmax(log_gate[:, kept], axis=1)
    left = left.fit(own, X=X) if left.learns else left
    _check_prediction(left, own, X)


def _fitted(router, log_gate, X):
    """The router as it serves prediction."""
    router = clone(router)
    if router.learns:
        assert router.fit(log_gate, X=X) is router, "fit returns self"
    return router


def _check_routing(routing, n_rows, n_experts):
    """Raise ``AssertionError`` unless a routing fits together."""
    used = routing.indices >= 0
    assert routing.indices.shape == routing.weights.shape, "a weight for each slot"
    assert len(routing.indices) == n_rows, "a row of slots for each row"
    assert in_range(routing.indices, n_experts), "experts are numbers in range"
    assert np.all(routing.weights[~used] == 0), "empty slots weigh nothing"
    assert np.all(routing.weights >= 0), "weights are not negative"
    for row, mask in zip(routing.indices, used, strict=True):
        assert len(set(row[mask])) == mask.sum(), "experts of a row are distinct"
    load = np.bincount(routing.indices[used], minlength=n_experts)
    np.testing.assert_array_equal(routing.load, load, "load counts the rows served")


def _check_prediction(router, log_gate, X):
    n_rows, n_experts = log_gate.shape
    routing = router.route(log_gate, X=X)
    _check_routing(routing, n_rows, n_experts)
    close(routing.weights.sum(axis=1), 1, "weights of a row sum to one", 1e-9)
    active = (routing.weights > 0).sum(axis=1)
    most = router.n_active(n_experts)
    assert active.max() <= most, "n_active is the most that a row can have"
    for i in range(n_rows):
        alone = router.route(log_gate[i : i + 1], X=X[i : i + 1])
        what = "the experts of a row depend on that row alone"
        row, own = (x.dense()[j] for x, j in ((routing, i), (alone, 0)))
        close(own, row, what, 1e-12)
    if router.plain_top_k:
        plain = TopKRouter(most).route(log_gate).dense()
        close(routing.dense(), plain, "plain_top_k: prediction is that of TopKRouter")


def _check_training(router, log_gate, X):
    n_rows, n_experts = log_gate.shape
    first, second = (
        clone(router).route(log_gate, X=X, rng=np.random.default_rng(1), training=True)
        for _ in range(2)
    )
    _check_routing(first, n_rows, n_experts)
    np.testing.assert_array_equal(
        first.indices, second.indices, "the same random numbers, the same routing"
    )
    own = clone(router)
    before = repr(own)
    own.observe(first)
    assert repr(own) == before, "observe leaves the parameters as they are"


def _check_outputs(router, n_experts):
    """What a gate gives to the router in training by gradient, and the way back."""
    if "gradient" not in router.trainers:
        return
    width = router.gate_outputs(n_experts)
    assert width >= n_experts, "gate_outputs is at least the number of experts"
    outputs = np.random.default_rng(2).normal(size=(N_ROWS, width))
    logits, pull = router.perturb(outputs, np.random.default_rng(3))
    assert logits.shape == (N_ROWS, n_experts), "perturb gives a logit per expert"
    slope = np.random.default_rng(4).normal(size=logits.shape)
    assert pull(slope).shape == outputs.shape, "the way back leads to the outputs"
    step = 1e-6
    for j in range(width):
        moved = outputs.copy()
        moved[:, j] += step
        change = (router.perturb(moved, np.random.default_rng(3))[0] - logits) / step
        what = "the way back is the gradient of perturb"
        close(pull(slope)[:, j], (change * slope).sum(axis=1), what, 1e-3, 1e-4)
