"""Sparse prediction of linear mixtures in one pass over the rows."""

import numpy as np

from ._design import read_only
from ._kernels.predict import sparse_linear_mean
from .engines import map_rows, single_threaded_blas
from .experts import LinearExpert
from .gates import SoftmaxGate


def serves(model, gate_view, views):
    """Whether gate and experts are linear on the same columns, under plain top-k."""
    return (
        type(model.gate_) is SoftmaxGate
        and model.router_.plain_top_k
        and model.router_.n_active(len(model.experts_)) < len(model.experts_)
        and all(type(expert) is LinearExpert for expert in model.experts_)
        and isinstance(gate_view, np.ndarray)
        and all(view is gate_view for view in views)
    )


def predict(model, X):
    """Mean (n, d) of the most probable experts of each row."""
    gate = np.column_stack([model.gate_.coef_, model.gate_.intercept_])
    experts = np.stack(
        [
            np.column_stack([np.atleast_2d(e.coef_), np.atleast_1d(e.intercept_)])
            for e in model.experts_
        ]
    )
    p = X.shape[1]
    n_active = model.router_.n_active(len(experts))
    arguments = read_only(X), np.zeros(p), np.ones(p), gate, experts, n_active
    out = np.zeros((len(X), experts.shape[1]))

    def run(_, start, stop):
        sparse_linear_mean(*arguments, out, start, stop)

    with single_threaded_blas():
        map_rows(run, tuple, len(X), model.n_jobs)
    return out
