"""Checks that third parties can run on their own gates and routers."""

import numpy as np
from sklearn.base import clone

from ._kernels.door import in_range

__all__ = ["all_estimators", "check_gate", "check_router"]


def all_estimators():
    """The estimators of skmoe, as (name, class) pairs.

    Examples
    --------
    >>> from skmoe.testing import all_estimators
    >>> [name for name, _ in all_estimators()][-2:]
    ['MoEClassifier', 'MoERegressor']
    """
    import skmoe

    return [(name, getattr(skmoe, name)) for name in sorted(skmoe.__all__[:-1])]


def check_gate(gate, X=None, n_experts=3):
    """Raise ``AssertionError`` where a gate breaks the protocol.

    A gate must be clonable, take soft targets and weights, return normalised
    log-weights, treat each row on its own, and count a weight of two as two rows.

    Parameters
    ----------
    gate : gate
    X : array-like of shape (n, p), default=None
        Rows to fit to; 40 rows of 3 normal columns by default.
    n_experts : int, default=3

    Examples
    --------
    >>> from skmoe.gates import GaussianGate
    >>> from skmoe.testing import check_gate
    >>> check_gate(GaussianGate())
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) if X is None else np.asarray(X)
    resp = rng.dirichlet(np.ones(n_experts), size=len(X))
    weight = rng.integers(1, 4, size=len(X)).astype(float)
    fitted = clone(gate).fit(X, resp, weight)
    log_proba = fitted.predict_log_proba(X)
    assert log_proba.shape == (len(X), n_experts), "one column per expert"
    np.testing.assert_allclose(np.exp(log_proba).sum(axis=1), 1, rtol=1e-8)
    rows = np.vstack([fitted.predict_log_proba(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(rows, log_proba, rtol=1e-6, atol=1e-9)
    times = weight.astype(int)
    repeated = clone(gate).fit(np.repeat(X, times, axis=0), np.repeat(resp, times, 0))
    np.testing.assert_allclose(
        repeated.predict_log_proba(X), log_proba, rtol=1e-4, atol=1e-6
    )


def check_router(router, n_experts=5):
    """Raise ``AssertionError`` where a router breaks the protocol.

    Weights of a row must sum to one, belong to distinct experts in range, and depend
    on that row alone at prediction.

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
    rng = np.random.default_rng(0)
    router = clone(router)
    router.check(n_experts)
    log_gate = np.log(rng.dirichlet(np.ones(n_experts), size=50))
    routing = router.route(log_gate)
    np.testing.assert_allclose(routing.weights.sum(axis=1), 1, rtol=1e-9)
    used = routing.indices >= 0
    assert np.all(routing.weights[~used] == 0), "empty slots weigh nothing"
    assert in_range(routing.indices, n_experts), "experts are numbers in range"
    for row, mask in zip(routing.indices, used, strict=True):
        assert len(set(row[mask])) == mask.sum(), "experts of a row are distinct"
    load = np.bincount(routing.indices[used], minlength=n_experts)
    np.testing.assert_array_equal(routing.load, load)
    for i in range(len(log_gate)):
        alone = router.route(log_gate[i : i + 1])
        np.testing.assert_array_equal(alone.indices[0], routing.indices[i])
        np.testing.assert_allclose(alone.weights[0], routing.weights[i], rtol=1e-12)
