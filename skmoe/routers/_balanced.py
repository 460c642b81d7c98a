"""Balanced assignment (BASE layers)."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from ._base import BaseRouter, make_routing
from ._topk import TopKRouter

# Rows that are assigned together: the exact assignment costs their cube.
ASSIGNED_ROWS = 1024
# Log-weights below this are all alike: they may be minus infinity.
LEAST_SCORE = -1e6


class BalancedRouter(BaseRouter):
    """Every expert serves the same number of rows in training; greedy at prediction.

    In training the rows of a batch are assigned so that the sum of the gate's
    log-weights is the largest of all assignments in which the experts' numbers of rows
    differ by one at most, whatever the weights of the rows.  Batches of more than 1024
    rows are assigned in parts of about that size, which are alike whatever the order of
    the rows.

    Under EM all rows are one batch.  By gradient batches are balanced one by one, those
    of ``partial_fit`` too, but not in the epochs that follow a start from linear
    experts (``"guided"`` in ``history_["phase"]``), which have all experts; experts
    that are no networks are fitted to the assignment of all training rows.

    At prediction a row goes to the expert with its largest weight, so that its answer
    depends on no other row.  Nothing balances loads there, nor on rows that are held
    out: ``history_["load"]`` has those of training, ``route(X).load`` those of rows X.

    References
    ----------
    .. [1] Lewis, M. et al. (2021). BASE layers: simplifying training of large, sparse
       models. ICML, eq. 1-2.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import BalancedRouter
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2]])
    >>> BalancedRouter().route(log_gate, training=True).indices.tolist()
    [[0], [1]]
    >>> BalancedRouter().route(log_gate).indices.tolist()
    [[0], [0]]
    """

    # Two stages train the gate of given experts, and dispatch no row.
    trainers = ("em", "gradient")
    masks_training = True
    normalised = False
    plain_top_k = True

    def n_active(self, n_experts):
        return 1

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if not training:
            return TopKRouter(1).route(log_gate)
        n_rows, n_experts = log_gate.shape
        n_parts = -(-n_rows // ASSIGNED_ROWS)
        # Parts of a multiple of K rows, so that the numbers balance over all of them.
        size = -(-n_rows // (n_parts * n_experts)) * n_experts
        order = dealt(log_gate, n_parts)
        chosen = np.empty(n_rows, dtype=np.int64)
        for start in range(0, n_rows, size):
            part = order[start : start + size]
            chosen[part] = balanced_assignment(log_gate[part])
        return make_routing(log_gate, chosen[:, None], normalised=self.normalised)


def dealt(log_gate, n_parts):
    """Rows in an order of which every n-th part is like all of them.

    By what the rows are, not by where they stand: neighbours among sorted rows go to
    different parts.
    """
    if n_parts == 1:
        return np.arange(len(log_gate))
    ranked = np.lexsort((*log_gate.T, log_gate.argmax(axis=1)))
    return np.concatenate([ranked[part::n_parts] for part in range(n_parts)])


def balanced_assignment(scores):
    """Experts (n,) that maximise the sum of ``scores`` (n, K) under equal numbers."""
    n_rows, n_experts = scores.shape
    scores = np.maximum(scores, LEAST_SCORE)
    least = n_rows // n_experts
    columns = np.repeat(np.arange(n_experts), least)
    # One more place per expert, of which each may or may not be filled; the places
    # before are filled first because they are worth more.
    extra = np.arange(n_experts) if n_rows % n_experts else np.arange(0)
    places = np.concatenate([columns, extra])
    bonus = np.zeros(len(places))
    bonus[: len(columns)] = 2.0 * n_rows * (np.ptp(scores) + 1.0)
    rows, chosen = linear_sum_assignment(scores[:, places] + bonus, maximize=True)
    out = np.empty(n_rows, dtype=np.int64)
    out[rows] = places[chosen]
    return out
