"""Losses on how much of the rows each expert gets."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_softmax

from ..routers._base import best_first
from ..routers._noisy import load_probability
from ._base import BaseLoss, NoEffect, Slopes, through_softmax


def squared_variation(amounts):
    """Squared coefficient of variation of ``amounts`` (K,), and its gradient."""
    mean = amounts.mean()
    value = amounts.var() / mean**2
    slope = 2.0 / len(amounts) * ((amounts - mean) / mean**2 - value / mean)
    return value, slope


class ImportanceLoss(BaseLoss):
    """Squared coefficient of variation of the experts' summed weights.

    Parameters
    ----------
    weight : float, default=0.1

    References
    ----------
    .. [1] Shazeer, N. et al. (2017). Outrageously large neural networks: the
       sparsely-gated mixture-of-experts layer. ICLR, eq. 6-7.

    Examples
    --------
    >>> from skmoe.losses import ImportanceLoss
    >>> ImportanceLoss()
    ImportanceLoss()
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def value_and_slopes(self, batch):
        value, slope = squared_variation(batch.routing.dense().sum(axis=0))
        indices = batch.routing.indices
        weights = np.where(indices >= 0, slope[indices], 0.0)
        return self.weight * value, Slopes(weights=self.weight * weights)


class LoadLoss(BaseLoss):
    """Squared coefficient of variation of the expected numbers of rows.

    A smooth count: the probability that an expert stays in the top k when its own
    noise is drawn anew.  Needs :class:`skmoe.routers.NoisyTopKRouter` with noise, and
    fewer active experts than there are: loads of all are even whatever the gate says,
    of which training warns.

    Parameters
    ----------
    weight : float, default=0.1

    References
    ----------
    .. [1] Shazeer, N. et al. (2017), appendix A.

    Examples
    --------
    >>> from skmoe.losses import LoadLoss
    >>> LoadLoss(weight=0.2)
    LoadLoss(weight=0.2)
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def no_effect(self, gate, router, n_experts):
        if not router.noise:
            return NoEffect(
                f"router={router!r}, but it counts rows by the noise of "
                "NoisyTopKRouter(noise=...)",
                "use LoadBalancingLoss with other routers",
            )
        k = router.n_active(n_experts)
        if 1 < n_experts == k:
            return NoEffect(
                f"router={router!r}, which sends every row to all {n_experts} experts, "
                "so that their loads are even whatever the gate says",
                f"use k < {n_experts}, or ImportanceLoss, which evens out weights",
                by_size=True,
            )
        return super().no_effect(gate, router, n_experts)

    def value_and_slopes(self, batch):
        router, n_experts = batch.router, batch.logits.shape[1]
        if not router.noise:
            found = self.no_effect(None, router, n_experts)
            raise ValueError(f"LoadLoss got {found.why}; {found.remedy}.")
        k = router.n_active(n_experts)
        if k == n_experts:
            return 0.0, Slopes()
        clean, raw = batch.outputs[:, :n_experts], batch.outputs[:, n_experts:]
        scale = router.scale(raw)
        proba, distance = load_probability(clean, batch.logits, scale, k)
        value, slope = squared_variation(proba.sum(axis=0))
        density = np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi) / scale
        pull = self.weight * slope * density
        noisy = -_to_threshold(batch.logits, pull, k)
        outputs = np.hstack([pull, -pull * distance * router.noise * expit(raw)])
        return self.weight * value, Slopes(outputs=outputs, logits=noisy)


def _to_threshold(noisy, pull, k):
    """Sum of ``pull`` at the experts whose logits are the thresholds, (n, K)."""
    order = best_first(noisy)
    inside = np.zeros(noisy.shape, dtype=bool)
    np.put_along_axis(inside, order[:, :k], True, axis=1)
    out = np.zeros_like(noisy)
    sums = np.where(inside, pull, 0.0).sum(axis=1), np.where(inside, 0.0, pull).sum(1)
    np.put_along_axis(out, order[:, [k]], sums[0][:, None], axis=1)
    np.put_along_axis(out, order[:, [k - 1]], sums[1][:, None], axis=1)
    return out


class LoadBalancingLoss(BaseLoss):
    """``K sum_e f_e P_e``: share of the slots times mean probability of each expert.

    While all experts are active, the slots are those that rows will be left with at
    prediction; if these are all too, a row's is that of its largest weight.

    Parameters
    ----------
    weight : float, default=0.01

    References
    ----------
    .. [1] Fedus, W., Zoph, B., Shazeer, N. (2021). Switch transformers. JMLR 23,
       eq. 4-6.
    .. [2] Lepikhin, D. et al. (2020). GShard. arXiv:2006.16668, section 2.2.

    Examples
    --------
    >>> from skmoe.losses import LoadBalancingLoss
    >>> LoadBalancingLoss()
    LoadBalancingLoss()
    """

    def __init__(self, weight: float = 0.01) -> None:
        super().__init__(weight)

    def value_and_slopes(self, batch):
        n_rows, n_experts = batch.logits.shape
        proba = np.exp(log_softmax(batch.logits, axis=1))
        # Where rows wanted to go; capacities would hide an overload.
        wanted = best_first(batch.logits)[:, : asked(batch)]
        share = np.bincount(wanted.ravel(), minlength=n_experts) / wanted.size
        value = n_experts * share @ proba.mean(axis=0)
        slope = np.broadcast_to(n_experts * share / n_rows, proba.shape)
        logits = self.weight * through_softmax(slope, proba)
        return self.weight * value, Slopes(logits=logits)


def asked(batch):
    """Experts that a row asks for: where it has all, those that it will be left.

    Shares among all experts are even whatever the gate says.
    """
    n_experts, width = batch.logits.shape[1], batch.routing.indices.shape[1]
    if width < n_experts:
        return width
    active = batch.router.n_active(n_experts)
    return active if active < n_experts else 1
