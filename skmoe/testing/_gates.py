"""Whether a gate keeps its promises."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, clone

from .._numerics.design import make_design
from .._typing import Table
from ..gates import BaseGate
from ._common import by_rows, check_count, check_fit_leaves, check_parameters, close


def check_gate(gate: BaseEstimator, X: Table | None = None, n_experts: int = 3) -> None:
    """Raise ``AssertionError`` where a gate breaks the protocol.

    A gate must be clonable, take soft targets and weights, return normalised
    log-weights, treat each row on its own, count a weight of two as two rows, and a
    weight of zero as none.  What it declares must hold: a linear form, a network, the
    order of its experts, responsibilities to start from.

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
    assert isinstance(gate, BaseGate), "a gate derives from skmoe.gates.BaseGate"
    check_parameters(gate)
    gate.check()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) if X is None else np.asarray(X)
    resp = rng.dirichlet(np.ones(n_experts), size=len(X))
    weight = rng.integers(1, 4, size=len(X)).astype(float)
    fitted = check_fit_leaves(gate, lambda own: own.fit(X, resp, weight))
    log_proba = fitted.predict_log_proba(X)
    assert log_proba.shape == (len(X), n_experts), "one column per expert"
    close(np.exp(log_proba).sum(axis=1), 1, "weights of a row sum to one", 1e-8)
    rows = by_rows(fitted.predict_log_proba, X)
    close(rows, log_proba, "the weights of a row depend on that row alone")
    scores = log_softmax(fitted.scores(X), axis=1)
    close(scores, log_proba, "scores are log-weights up to a constant per row")
    assert np.isfinite(fitted.penalty()), "the penalty is a number"
    check_count(fitted.n_parameters_)
    _check_weights(gate, X, resp, weight, log_proba)
    _check_update(fitted, X, resp, weight)
    _check_order(gate, X, resp, weight, log_proba)
    _check_start(gate, X, n_experts, weight)
    _check_linear_form(gate, X, n_experts)
    _check_network(gate, X, n_experts)


def _check_weights(gate, X, resp, weight, log_proba):
    times = weight.astype(int)
    repeated = clone(gate).fit(np.repeat(X, times, axis=0), np.repeat(resp, times, 0))
    found = repeated.predict_log_proba(X)
    close(found, log_proba, "a weight of two is two rows", 1e-4, 1e-6)
    more = np.concatenate([X, X[:5]]), np.concatenate([resp, resp[::-1][:5]])
    zeros = np.concatenate([weight, np.zeros(5)])
    found = clone(gate).fit(*more, zeros).predict_log_proba(X)
    close(found, log_proba, "a weight of zero is no row", 1e-4, 1e-6)


def _check_update(fitted, X, resp, weight):
    assert fitted.update(X, resp, weight) is fitted, "update returns self"
    total = np.exp(fitted.predict_log_proba(X)).sum(axis=1)
    close(total, 1, "weights sum to one after an update", 1e-8)


def _check_order(gate, X, resp, weight, log_proba):
    order = np.roll(np.arange(resp.shape[1]), 1)
    if gate.exchangeable:
        turned = clone(gate).fit(X, resp[:, order], weight).predict_log_proba(X)
        what = "exchangeable: experts in another order have the same weights"
        close(turned, log_proba[:, order], what, 1e-4, 1e-6)
    fitted = clone(gate).fit(X, resp, weight)
    turned = fitted.reordered(order)
    if turned is not None:
        found, what = turned.predict_log_proba(X), "reordered: the same, in that order"
        close(found, fitted.predict_log_proba(X)[:, order], what)


def _check_start(gate, X, n_experts, weight):
    start = clone(gate).start_responsibilities(X, n_experts, weight)
    if start is not None:
        assert np.shape(start) == (len(X), n_experts), "one column per expert to start"
        close(np.sum(start, axis=1), 1, "responsibilities to start from sum to one")


def _check_linear_form(gate, X, n_experts):
    """Whether coefficients of standardised columns are what the gate then says."""
    form = gate.linear_form(X)
    if form is None:
        return
    assert min(form.penalty) >= 0, "linear_form: penalties are not negative"
    columns = np.empty((len(X), 0)) if form.columns is None else form.columns
    design = make_design(columns, np.ones(len(X)), form.standardize)
    coef = np.random.default_rng(1).normal(size=(n_experts, columns.shape[1] + 1))
    fitted = clone(gate).set_standardised(coef.copy(), design)
    Z = (columns - design.center) * design.inverse_scale
    expected = log_softmax(Z @ coef[:, :-1].T + coef[:, -1], axis=1)
    found, what = fitted.predict_log_proba(X), "set_standardised sets the coefficients"
    close(found, expected, what, atol=1e-8)
    logits = columns @ fitted.coef_.T + fitted.intercept_
    close(log_softmax(logits, axis=1), expected, "coef_ and intercept_ are they", 1e-5)


def _check_network(gate, X, n_experts):
    """Whether a network's parameters are what the gate then says."""
    if not gate.differentiable:
        return
    assert gate.penalty_rows >= 0, "penalty_rows is the ridge penalty of the weights"
    network = gate.network(X.shape[1], n_experts)
    assert (network.sizes[0], network.sizes[-1]) == (X.shape[1], n_experts), (
        "the network has as many inputs as columns and as many outputs as asked for"
    )
    theta = network.start(np.random.default_rng(2))
    design = make_design(np.ascontiguousarray(X, dtype=float), np.ones(len(X)))
    fitted = clone(gate).set_network(network, theta.copy(), design)
    outputs = network.outputs(theta, (X - design.center) * design.inverse_scale)
    what = "set_network: log-weights are the softmax of the outputs, through link"
    scores, slope = gate.link(outputs)
    close(fitted.predict_log_proba(X), log_softmax(scores, axis=1), what, atol=1e-8)
    moved = (gate.link(outputs + 1e-6)[0] - scores) / 1e-6
    what = "link: its slope is that of the scores"
    close(np.broadcast_to(slope, outputs.shape), moved, what, 1e-3, 1e-6)
