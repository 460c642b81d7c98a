"""Hashes of the rows that share them out evenly, and several hashes at once."""

from __future__ import annotations

import copy

import numpy as np

from .._kernels.routing import deal_out, hash_to_experts, row_keys
from ._base import check_k
from ._hash import HashRouter, bits_of, check_seed


class BalancedHashRouter(HashRouter):
    """A hash by which the training rows are shared out as evenly as they can be.

    The most frequent rows come first: all that are equal go to the expert that has
    the fewest rows by then.  Rows that training has not seen go by a random hash.
    Rows are equal where what the gate sees is; choose a few columns of levels by
    ``gate_features``, such as products or shops, of which some are far more frequent
    than others.

    Parameters
    ----------
    k : int, default=1
        Experts per row, of equal weight.
    seed : int, default=0
        Another seed is another hash function, for rows that are new.

    Attributes
    ----------
    keys_ : ndarray of shape (m,)
        Hashes of the rows that training has seen, in increasing order.
    experts_ : ndarray of shape (m, k)
        Their experts.  They keep them when ``fit`` is called with further rows.

    References
    ----------
    .. [1] Roller, S., Sukhbaatar, S., Szlam, A., Weston, J. (2021). Hash layers for
       large sparse models. NeurIPS, section 3 (balanced assignment).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import BalancedHashRouter
    >>> X = np.array([[5.0], [5.0], [5.0], [1.0], [2.0], [3.0]])
    >>> router = BalancedHashRouter().fit(np.zeros((6, 2)), X=X)
    >>> router.route(np.zeros((6, 2)), X=X).load.tolist()
    [3, 3]
    """

    fits_first = True
    keys_ = experts_ = None

    def resized(self, n_experts):
        own = super().resized(n_experts)
        if not own._serves(n_experts):
            # Experts are gone, and their rows are to be dealt out anew.
            own.keys_ = own.experts_ = None
        return own

    def fit(self, log_gate, X=None):
        """Deal out the rows that it does not know yet, the most frequent first."""
        self._learn(row_keys(bits_of(X), np.uint64(self.seed)), log_gate.shape[1])
        return self

    def _serves(self, n_experts):
        """Whether what it has learned is of so many experts."""
        return self.keys_ is not None and self._n_experts == n_experts

    def _learn(self, keys, n_experts):
        known, counts = np.unique(keys, return_counts=True)
        experts = np.full((len(known), self.n_active(n_experts)), -1, dtype=np.int64)
        if self._serves(n_experts):
            place, found = self._look_up(known)
            experts[found] = self.experts_[place[found]]
        old = experts[:, 0] >= 0
        load = np.bincount(
            experts[old].ravel(),
            np.repeat(counts[old], experts.shape[1]),
            minlength=n_experts,
        ).astype(np.int64)
        new = np.flatnonzero(~old)
        new = new[np.argsort(-counts[new], kind="stable")]
        dealt = np.empty((len(new), experts.shape[1]), dtype=np.int64)
        deal_out(counts[new], load, dealt)
        experts[new] = dealt
        self._keep(known, experts, n_experts)

    def _keep(self, keys, experts, n_experts):
        if self._serves(n_experts):
            apart = ~np.isin(self.keys_, keys)
            keys = np.concatenate([self.keys_[apart], keys])
            experts = np.concatenate([self.experts_[apart], experts])
        order = np.argsort(keys)
        self.keys_, self.experts_ = keys[order], experts[order]
        self._n_experts = n_experts

    def _look_up(self, keys):
        """Places (n,) of hashes among those that it knows, and whether it does."""
        place = np.minimum(np.searchsorted(self.keys_, keys), len(self.keys_) - 1)
        return place, self.keys_[place] == keys

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if training and not self._serves(log_gate.shape[1]):
            # EM shows all rows at once, and asks ``fit`` in the end.
            own = copy.deepcopy(self).fit(log_gate, X=X)
            return own.route(log_gate, X=X)
        return super().route(log_gate, X=X)

    def _fill(self, bits, n_experts, indices):
        super()._fill(bits, n_experts, indices)
        if self._serves(n_experts):
            place, found = self._look_up(row_keys(bits, np.uint64(self.seed)))
            indices[found] = self.experts_[place[found]]


class MultiHashRouter(HashRouter):
    """Several hash functions, each of which chooses a part of the answer.

    The experts are cut into as many banks as there are functions; each function
    chooses one expert of its bank, and the answer is the mean of those.  Rows that
    meet in one expert part in others, so that K experts make ``(K / n) ** n``
    different models, and no two rows need share all of one.

    Parameters
    ----------
    n_hashes : int, default=2
        Hash functions, and experts per row.
    seed : int, default=0
        The functions are those of this seed and the ones after it.

    References
    ----------
    .. [1] Roller, S., Sukhbaatar, S., Szlam, A., Weston, J. (2021). Hash layers for
       large sparse models. NeurIPS, section 3 (MultiHash layers).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import MultiHashRouter
    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> routing = MultiHashRouter(2).route(np.zeros((3, 6)), X=X)
    >>> bool((routing.indices[:, 0] < 3).all() and (routing.indices[:, 1] >= 3).all())
    True
    """

    def __init__(self, n_hashes: int = 2, seed: int = 0) -> None:
        self.n_hashes = n_hashes
        self.seed = seed

    def check(self, n_experts):
        check_k("MultiHashRouter", self.n_hashes, n_experts, "n_hashes")
        check_seed("MultiHashRouter", self.seed)

    def n_active(self, n_experts):
        return min(self.n_hashes, n_experts)

    def resized(self, n_experts):
        own = super().resized(n_experts)
        return own.set_params(n_hashes=own.n_active(n_experts))

    def _fill(self, bits, n_experts, indices):
        banks = np.array_split(np.arange(n_experts), indices.shape[1])
        for number, bank in enumerate(banks):
            own = np.empty((len(bits), 1), dtype=np.int64)
            seed = (int(self.seed) + number) % 2**64
            hash_to_experts(bits, np.uint64(seed), len(bank), own)
            indices[:, number] = bank[own[:, 0]]
