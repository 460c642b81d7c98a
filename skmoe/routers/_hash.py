"""Routing by a hash of the row."""

from __future__ import annotations

import numpy as np

from .._kernels.routing import hash_to_experts
from .._numerics.curves import CurveRows
from ._base import BaseRouter, Routing, check_k, is_integer


class HashRouter(BaseRouter):
    """The experts of a row are fixed by a hash of its columns: nothing is learned.

    The hash reads what the gate sees; choose its columns by ``gate_features``.  Equal
    rows meet the same experts in any process, on any platform, in any order.

    Parameters
    ----------
    k : int, default=1
        Experts per row, of equal weight.
    seed : int, default=0
        Another seed is another hash function.

    References
    ----------
    .. [1] Roller, S., Sukhbaatar, S., Szlam, A., Weston, J. (2021). Hash layers for
       large sparse models. NeurIPS, section 3 (random hash).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import HashRouter
    >>> X = np.array([[1.0], [2.0], [1.0]])
    >>> indices = HashRouter().route(np.zeros((3, 4)), X=X).indices[:, 0]
    >>> bool(indices[0] == indices[2])
    True
    """

    masks_training = True
    gated = False

    def __init__(self, k: int = 1, seed: int = 0) -> None:
        self.k = k
        self.seed = seed

    def check(self, n_experts):
        check_k("HashRouter", self.k, n_experts)
        if not is_integer(self.seed) or not 0 <= self.seed < 2**64:
            raise ValueError(
                f"HashRouter got seed={self.seed!r}, but expected an integer from 0 to "
                "2**64 - 1."
            )

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        n_rows, n_experts = log_gate.shape
        columns = _numbers(X)
        # Adding zero makes -0.0 and 0.0 the same bits.
        bits = (columns + 0.0).view(np.uint64)
        indices = np.empty((n_rows, self.n_active(n_experts)), dtype=np.int64)
        hash_to_experts(bits, np.uint64(self.seed), n_experts, indices)
        weights = np.full(indices.shape, 1.0 / indices.shape[1])
        load = np.bincount(indices.ravel(), minlength=n_experts)
        return Routing(indices, weights, load)


def _numbers(X):
    """What the gate sees as contiguous floats (n, p)."""
    columns = None
    if not isinstance(X, CurveRows):
        try:
            columns = np.ascontiguousarray(X, dtype=np.float64)
        except (TypeError, ValueError):
            columns = None
    if columns is None or columns.ndim != 2:
        raise ValueError(
            "HashRouter got a gate that sees text, curves or a sparse table, but "
            "expected rows of numbers, which it hashes; use gate='constant' with "
            "gate_features=[...] of columns of numbers, or another router."
        )
    return columns
