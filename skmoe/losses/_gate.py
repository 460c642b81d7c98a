"""Losses on the logits of single rows: their size, their entropy."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from ._base import BaseLoss, NoEffect, Slopes, through_softmax


class RouterZLoss(BaseLoss):
    """Mean square of the log-sum-exp of the logits, which keeps them small.

    Parameters
    ----------
    weight : float, default=0.001

    References
    ----------
    .. [1] Zoph, B. et al. (2022). ST-MoE: designing stable and transferable sparse
       expert models. arXiv:2202.08906, eq. 5.

    Examples
    --------
    >>> from skmoe.losses import RouterZLoss
    >>> RouterZLoss()
    RouterZLoss()
    """

    def __init__(self, weight: float = 0.001) -> None:
        super().__init__(weight)

    def no_effect(self, gate, router, n_experts):
        if gate.follows_paths:
            return NoEffect(
                "a tree of gates, whose log-weights are normalised at every node, so "
                "that it has nothing to bound",
                "leave it out, or use a flat mixture",
            )
        return super().no_effect(gate, router, n_experts)

    def value_and_slopes(self, batch):
        log_proba = log_softmax(batch.logits, axis=1)
        total = batch.logits[:, 0] - log_proba[:, 0]
        logits = 2 * self.weight / len(total) * total[:, None] * np.exp(log_proba)
        return self.weight * np.mean(total**2), Slopes(logits=logits)


class MutualInformationLoss(BaseLoss):
    """Less the mutual information of row and expert: sharp gates, even loads.

    Parameters
    ----------
    weight : float, default=0.01

    References
    ----------
    .. [1] Chen, Z. et al. (2023). Mod-Squad: designing mixtures of experts as modular
       multi-task learners. CVPR, eq. 5.

    Examples
    --------
    >>> from skmoe.losses import MutualInformationLoss
    >>> MutualInformationLoss()
    MutualInformationLoss()
    """

    def __init__(self, weight: float = 0.01) -> None:
        super().__init__(weight)

    def value_and_slopes(self, batch):
        log_proba = log_softmax(batch.logits, axis=1)
        proba = np.exp(log_proba)
        log_mean = np.log(np.maximum(proba.mean(axis=0), np.finfo(float).tiny))
        value = np.mean(np.sum(proba * (log_mean - log_proba), axis=1))
        slope = (log_mean - log_proba) / len(proba)
        logits = self.weight * through_softmax(slope, proba)
        return self.weight * value, Slopes(logits=logits)


class EntropyLoss(BaseLoss):
    """Mean entropy of the gate's weights: rows that are sure of few experts.

    With :class:`skmoe.routers.TopPRouter` it lowers the number of experts per row,
    which the gate otherwise raises to do better; the paper calls it the dynamic loss.

    Parameters
    ----------
    weight : float, default=0.0001

    References
    ----------
    .. [1] Huang, Q. et al. (2024). Harder tasks need more experts: dynamic routing in
       MoE models. ACL (dynamic loss).

    Examples
    --------
    >>> from skmoe.losses import EntropyLoss
    >>> EntropyLoss()
    EntropyLoss()
    """

    def __init__(self, weight: float = 0.0001) -> None:
        super().__init__(weight)

    def value_and_slopes(self, batch):
        log_proba = log_softmax(batch.logits, axis=1)
        proba = np.exp(log_proba)
        # An impossible expert adds nothing.
        surprise = np.where(proba > 0, -log_proba, 0.0)
        value = np.mean(np.sum(proba * surprise, axis=1))
        logits = self.weight * through_softmax(surprise / len(proba), proba)
        return self.weight * value, Slopes(logits=logits)
