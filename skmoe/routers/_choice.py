"""Expert choice: experts pick their rows."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._base import BaseRouter, check_overflow, check_positive, compacted, make_routing

# Of a log-weight: a row in a batch and alone differ by less.
ROUNDING = 1e-9


class ExpertChoiceRouter(BaseRouter):
    """Every expert takes its best rows of the batch, the same number each.

    In training an expert takes ``ceil(rows * capacity_factor / K)`` rows, those with
    the largest gate weights for it; a row may be taken by several experts or by none.
    At prediction a row goes to the experts whose weight reaches the smallest that they
    took among the training rows, so that its answer does not depend on other rows.

    Parameters
    ----------
    capacity_factor : float, default=2.0
        Experts per row, on average.
    overflow : {"next", "shared", "drop"}, default="next"
        Where rows go that no expert took: to the expert with the largest weight, to
        the shared expert, or to none in that step.

    Attributes
    ----------
    thresholds_ : ndarray of shape (K,)
        Smallest weight that each expert takes at prediction.

    References
    ----------
    .. [1] Zhou, Y. et al. (2022). Mixture-of-experts with expert choice routing.
       NeurIPS, section 3.2.
    .. [2] Shazeer, N. et al. (2017), appendix F (thresholds for prediction).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import ExpertChoiceRouter
    >>> router = ExpertChoiceRouter(capacity_factor=1.0)
    >>> log_gate = np.log([[0.9, 0.1], [0.8, 0.2]])
    >>> router.route(log_gate, training=True).load.tolist()
    [1, 1]
    """

    masks_training = True
    normalised = False

    def __init__(self, capacity_factor: float = 2.0, overflow: str = "next") -> None:
        self.capacity_factor = capacity_factor
        self.overflow = overflow

    def check(self, n_experts):
        check_positive("ExpertChoiceRouter", "capacity_factor", self.capacity_factor)
        check_overflow("ExpertChoiceRouter", self.overflow)

    def capacity(self, n_rows, n_experts):
        """Rows that an expert takes of a batch."""
        wanted = np.ceil(n_rows / n_experts * self.capacity_factor)
        return int(min(wanted, n_rows))

    def fit(self, log_gate, X=None):
        """Find the thresholds of prediction."""
        size = self.capacity(*log_gate.shape)
        self.thresholds_ = np.sort(log_gate, axis=0)[-size]
        return self

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if training:
            taken = self._best_rows(log_gate)
        else:
            check_is_fitted(self, "thresholds_")
            # A row at the threshold is taken, however its score is rounded.
            margin = ROUNDING * (1.0 + np.abs(self.thresholds_))
            taken = log_gate >= self.thresholds_ - margin
        missed = ~taken.any(axis=1)
        if not training or self.overflow == "next":
            taken[missed, log_gate[missed].argmax(axis=1)] = True
        return make_routing(
            log_gate,
            compacted(taken, log_gate),
            normalised=not training,
            overflow=np.count_nonzero(missed) if training else 0,
        )

    def _best_rows(self, log_gate):
        """Mask (n, K) of the rows that each expert takes of a batch."""
        size = self.capacity(*log_gate.shape)
        best = np.argsort(-log_gate, axis=0, kind="stable")[:size]
        taken = np.zeros(log_gate.shape, dtype=bool)
        np.put_along_axis(taken, best, True, axis=0)
        return taken
