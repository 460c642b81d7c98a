"""Noisy top-k gating with learned noise."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtr

from ._base import BaseRouter, check_k, is_number
from ._topk import TopKRouter

# Smallest standard deviation of the noise, as in the published code.
NOISE_FLOOR = 1e-2


class NoisyTopKRouter(BaseRouter):
    """Keep the ``k`` experts with the largest noisy logits.

    In training ``H = h + eps * (softplus(s) + 0.01)``, with both h and s linear (or
    neural) in x and eps standard normal; prediction is free of noise and plain top-k.
    Use it with :class:`skmoe.losses.ImportanceLoss` and
    :class:`skmoe.losses.LoadLoss`.

    Parameters
    ----------
    k : int, default=2
        Active experts per row.
    noise : float, default=1.0
        Factor of the learned noise; 0 is plain top-k.

    References
    ----------
    .. [1] Shazeer, N. et al. (2017). Outrageously large neural networks: the
       sparsely-gated mixture-of-experts layer. ICLR, eq. 3-5.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import NoisyTopKRouter
    >>> NoisyTopKRouter(1).route(np.log([[0.2, 0.8]])).indices.tolist()
    [[1]]
    """

    trainers = ("gradient",)
    plain_top_k = True

    def __init__(self, k: int = 2, noise: float = 1.0) -> None:
        self.k = k
        self.noise = noise

    def check(self, n_experts):
        check_k("NoisyTopKRouter", self.k, n_experts)
        if not (is_number(self.noise) and 0 <= self.noise < np.inf):
            raise ValueError(
                f"NoisyTopKRouter got noise={self.noise!r}, but expected a finite "
                "number >= 0; 0 is plain top-k."
            )

    def n_active(self, n_experts):
        return min(self.k, n_experts)

    def route(self, log_gate, *, X=None, rng=None, training=False):
        return TopKRouter(self.k).route(log_gate)

    def gate_outputs(self, n_experts):
        """Logits, and the pre-activations of the noise."""
        return 2 * n_experts

    def scale(self, raw):
        """Standard deviation of the noise from its pre-activation ``raw``."""
        return self.noise * (np.logaddexp(0.0, raw) + NOISE_FLOOR)

    def perturb(self, outputs, rng):
        n_experts = outputs.shape[1] // 2
        clean, raw = outputs[:, :n_experts], outputs[:, n_experts:]
        draws = rng.standard_normal(clean.shape)

        def pull(slope):
            return np.hstack([slope, slope * draws * self.noise * expit(raw)])

        return clean + draws * self.scale(raw), pull


def load_probability(clean, noisy, scale, k):
    """Probability that each expert stays in the top k if its own noise is drawn anew.

    Parameters
    ----------
    clean, noisy, scale : (n, K) logits, noisy logits, standard deviations of the noise.
    k : int, less than K.

    Returns
    -------
    (n, K) and the standardised distances to the threshold (n, K)
    """
    ranked = np.sort(noisy, axis=1)[:, ::-1]
    # An expert inside competes with the (k+1)-th, one outside with the k-th.
    inside = noisy > ranked[:, [k]]
    threshold = np.where(inside, ranked[:, [k]], ranked[:, [k - 1]])
    distance = (clean - threshold) / scale
    return ndtr(distance), distance
