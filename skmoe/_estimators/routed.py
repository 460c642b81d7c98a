"""Sparse prediction of linear experts without a gather of their rows."""

import numpy as np

from .._kernels.predict import routed_linear_mean, sparse_linear_mean
from .._numerics.design import read_only
from ..engines import map_rows, single_threaded_blas
from ..experts import LinearExpert
from ..experts._base import traits
from ..gates import SoftmaxGate


def predict(own, seen):
    """Mean (n, d) of the experts that rows are routed to; None if it is not for us.

    For linear regressions on the same dense columns of which few serve a row.
    """
    experts, router = own.experts, own.router
    if router.n_active(len(experts)) >= len(experts):
        return None
    coef, X = _stack(experts, seen.experts), seen.experts[0]
    if coef is None:
        return None
    if type(own.gate) is SoftmaxGate and router.plain_top_k and X is seen.gate:
        return _top_mean(own, X, coef)
    return _routed_mean(X, own.route(seen.gate), coef, own.n_jobs)


def _stack(experts, views):
    """Coefficients (K, d, p + 1) of linear regressions on the same dense columns.

    None where experts are others.
    """
    X = views[0]
    if not isinstance(X, np.ndarray) or any(view is not X for view in views):
        return None
    return stacked_coefficients(experts) if are_linear(experts) else _kept(experts)


def _kept(experts):
    """Coefficients that linear experts keep together elsewhere, or None."""
    return traits(experts[0]).stack


def are_linear(experts):
    """Whether all experts are linear regressions."""
    return all(type(expert) is LinearExpert for expert in experts)


def _top_mean(own, X, experts):
    """Gate and experts in one pass."""
    gate = np.column_stack([own.gate.coef_, own.gate.intercept_])
    p, n_active = X.shape[1], own.router.n_active(len(experts))
    arguments = read_only(X), np.zeros(p), np.ones(p), gate, experts, n_active
    out = np.zeros((len(X), experts.shape[1]))

    def run(_, start, stop):
        sparse_linear_mean(*arguments, out, start, stop)

    with single_threaded_blas():
        map_rows(run, tuple, len(X), own.n_jobs)
    return out


def _routed_mean(X, routing, experts, n_jobs):
    """Experts in one pass over rows that any gate and router have routed."""
    indices = read_only(routing.indices, np.int64)
    arguments = read_only(X), indices, read_only(routing.weights), experts
    out = np.zeros((len(X), experts.shape[1]))

    def run(_, start, stop):
        routed_linear_mean(*arguments, out, start, stop)

    map_rows(run, tuple, len(X), n_jobs)
    return out


def stacked_coefficients(experts):
    """Coefficients (K, d, p + 1) of linear experts, last the intercept."""
    return np.stack(
        [
            np.column_stack([np.atleast_2d(e.coef_), np.atleast_1d(e.intercept_)])
            for e in experts
        ]
    )
