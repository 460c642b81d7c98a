"""Losses on shares other than those of all slots at once: by slot, node, or size."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax

from .._numerics.tree import flat
from ..routers._base import best_first
from ._base import BaseLoss, Slopes, through_softmax
from ._load import asked

# Of a slot after the first, as in the published code.
LATER_SLOTS = 0.5
TINY = np.finfo(float).tiny


class SlotBalancingLoss(BaseLoss):
    """Balance of first choices, and of second ones by themselves, and so on.

    ``K sum_e f_e P_e`` as in :class:`LoadBalancingLoss`, but for each slot: f_e is the
    share of rows whose choice in that slot is e, P_e its mean probability once the
    choices before are taken out.  Slots after the first count half, as in the
    published code.  With one slot it is GShard's loss, which minds first choices only.

    Parameters
    ----------
    weight : float, default=0.01
    n_slots : int or None, default=None
        Slots that count; by default all that a row asks for, and at most all but the
        last one that there could be, in which nothing is chosen.

    References
    ----------
    .. [1] Lepikhin, D. et al. (2020). GShard. arXiv:2006.16668, section 2.2.
    .. [2] Shazeer, N. et al. (2018). Mesh-TensorFlow: deep learning for
       supercomputers. NeurIPS; its code has the loss of second places.

    Examples
    --------
    >>> from skmoe.losses import SlotBalancingLoss
    >>> SlotBalancingLoss(n_slots=1)
    SlotBalancingLoss(n_slots=1)
    """

    def __init__(self, weight: float = 0.01, n_slots: int | None = None) -> None:
        super().__init__(weight)
        self.n_slots = n_slots

    def check(self):
        super().check()
        known = isinstance(self.n_slots, (int, np.integer)) and self.n_slots >= 1
        if self.n_slots is not None and (self.n_slots is True or not known):
            raise ValueError(
                f"SlotBalancingLoss got n_slots={self.n_slots!r}, but expected None or "
                "an integer >= 1."
            )

    def value_and_slopes(self, batch):
        n_rows, n_experts = batch.logits.shape
        n_slots = asked(batch) if self.n_slots is None else self.n_slots
        # Alone, the last expert has nothing beside it.
        n_slots = max(1, min(n_slots, n_experts - 1))
        wanted = best_first(batch.logits)[:, :n_slots]
        value, push = 0.0, np.zeros(batch.logits.shape)
        left = np.ones(batch.logits.shape, dtype=bool)
        for slot in range(n_slots):
            factor = 1.0 if slot == 0 else LATER_SLOTS
            proba = np.exp(log_softmax(np.where(left, batch.logits, -np.inf), axis=1))
            share = np.bincount(wanted[:, slot], minlength=n_experts) / n_rows
            value += factor * n_experts * share @ proba.mean(axis=0)
            slope = np.broadcast_to(factor * n_experts * share / n_rows, proba.shape)
            push += through_softmax(slope, proba)
            left[np.arange(n_rows), wanted[:, slot]] = False
        return self.weight * value, Slopes(logits=self.weight * push)


class HierarchicalBalancingLoss(BaseLoss):
    """Balance at every node of a tree of gates, among its children.

    Of each node with m children it is ``m sum_c f_c P_c``: the share of the node's
    rows that want child c, times its mean weight beside its siblings.  Nodes count by
    the rows that want them, and all levels alike, so that it is one where all children
    of all nodes are even.  A node that few rows reach pushes little, which a balance
    of all leaves at once would not mind.  Of a flat gate it is
    :class:`LoadBalancingLoss`.

    Parameters
    ----------
    weight : float, default=0.01

    References
    ----------
    .. [1] Shazeer, N. et al. (2017). Outrageously large neural networks: the
       sparsely-gated mixture-of-experts layer. ICLR, appendix B (hierarchical
       mixtures, whose importance and load are products along the path).
    .. [2] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers. JMLR 23,
       eq. 4-6.

    Examples
    --------
    >>> from skmoe.losses import HierarchicalBalancingLoss
    >>> HierarchicalBalancingLoss(0.1)
    HierarchicalBalancingLoss(weight=0.1)
    """

    def __init__(self, weight: float = 0.01) -> None:
        super().__init__(weight)

    def value_and_slopes(self, batch):
        n_rows, n_experts = batch.logits.shape
        tree = flat(n_experts) if batch.tree is None else batch.tree
        proba = np.exp(log_softmax(batch.logits, axis=1))
        wanted = np.zeros((n_rows, n_experts))
        best = best_first(batch.logits)[:, : asked(batch)]
        np.put_along_axis(wanted, best, 1.0 / best.shape[1], axis=1)
        share = tree.to_slots(wanted).mean(axis=0)
        mass = tree.to_slots(proba).mean(axis=0)
        value, slope = 0.0, np.zeros(tree.n_slots)
        for slots, parent in zip(tree.slots, tree.parents, strict=True):
            whole = mass[parent] if parent >= 0 else 1.0
            pull = (slots.stop - slots.start) / tree.depth / max(whole, TINY)
            own = pull * share[slots] @ mass[slots]
            value += own
            slope[slots] += pull * share[slots]
            if parent >= 0:
                slope[parent] -= own / max(whole, TINY)
        leaves = tree.to_leaves(np.broadcast_to(slope / n_rows, (n_rows, tree.n_slots)))
        logits = self.weight * through_softmax(leaves, proba)
        return self.weight * value, Slopes(logits=logits)


class ParameterPenaltyLoss(BaseLoss):
    """Balance that is dear for large experts: rows that can do with small ones do.

    ``K sum_e s_e f_e P_e`` with s_e the size of the expert over the largest one; for
    experts of one size it is the loss of :class:`LoadBalancingLoss`, of all slots.

    Parameters
    ----------
    sizes : array-like of shape (K,)
        Sizes of the experts in their order, such as hidden units or seconds per row.
    weight : float, default=0.01

    References
    ----------
    .. [1] Wang, A. et al. (2025). HMoE: heterogeneous mixture of experts for language
       modeling. EMNLP (parameter penalty loss).

    Examples
    --------
    >>> from skmoe.losses import ParameterPenaltyLoss
    >>> ParameterPenaltyLoss([8, 16, 64])
    ParameterPenaltyLoss(sizes=[8, 16, 64])
    """

    def __init__(self, sizes: Any, weight: float = 0.01) -> None:
        super().__init__(weight)
        self.sizes = sizes

    def check(self):
        super().check()
        self._shares()

    def _shares(self):
        try:
            sizes = np.asarray(self.sizes, dtype=float)
        except (TypeError, ValueError):
            sizes = np.array(np.nan)
        listed = sizes.ndim == 1 and len(sizes) > 0
        if not (listed and np.all((sizes > 0) & (sizes < np.inf))):
            raise ValueError(
                f"ParameterPenaltyLoss got sizes={self.sizes!r}, but expected a finite "
                "number > 0 for each expert."
            )
        return sizes / sizes.max()

    def value_and_slopes(self, batch):
        n_rows, n_experts = batch.logits.shape
        sizes = self._shares()
        if len(sizes) != n_experts:
            raise ValueError(
                f"ParameterPenaltyLoss got {len(sizes)} sizes, but there are "
                f"{n_experts} experts; give the size of each of them."
            )
        proba = np.exp(log_softmax(batch.logits, axis=1))
        wanted = best_first(batch.logits)[:, : asked(batch)]
        share = np.bincount(wanted.ravel(), minlength=n_experts) / wanted.size
        value = n_experts * (sizes * share) @ proba.mean(axis=0)
        slope = np.broadcast_to(n_experts * sizes * share / n_rows, proba.shape)
        logits = self.weight * through_softmax(slope, proba)
        return self.weight * value, Slopes(logits=logits)
