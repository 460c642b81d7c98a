"""Routing by a hash of the row."""

import numpy as np

from ._base import BaseRouter, Routing, check_k

# Constants of the SplitMix64 generator (Steele, Lea, Flood 2014).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
LAST = np.uint64(31)


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

    def __init__(self, k=1, seed=0):
        self.k = k
        self.seed = seed

    def check(self, n_experts):
        check_k("HashRouter", self.k, n_experts)

    def n_active(self, n_experts):
        return self.k

    def route(self, log_gate, *, X=None, rng=None, training=False):
        n_rows, n_experts = log_gate.shape
        keys = hash_rows(X, n_rows, self.seed)
        # The experts with the smallest hashes of row and expert: distinct ones.
        numbers = np.arange(n_experts, dtype=np.uint64) * GOLDEN
        ranks = mixed(keys[:, None] ^ mixed(numbers)[None, :])
        indices = np.argsort(ranks, axis=1, kind="stable")[:, : self.k]
        weights = np.full(indices.shape, 1.0 / self.k)
        load = np.bincount(indices.ravel(), minlength=n_experts)
        return Routing(indices, weights, load)


def mixed(values):
    """Scramble the bits of 64-bit integers."""
    with np.errstate(over="ignore"):
        values = values + GOLDEN
        for shift, factor in MIX:
            values = (values ^ (values >> shift)) * factor
        return values ^ (values >> LAST)


def hash_rows(X, n_rows, seed):
    """A 64-bit integer per row of the numeric array ``X`` (n, p)."""
    keys = mixed(np.full(n_rows, seed, dtype=np.uint64))
    columns = np.asarray(X, dtype=np.float64)
    for j in range(columns.shape[1]):
        # Adding zero makes -0.0 and 0.0 the same bits.
        bits = np.ascontiguousarray(columns[:, j] + 0.0).view(np.uint64)
        keys = mixed(keys ^ mixed(bits))
    return keys
