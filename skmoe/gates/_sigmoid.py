"""A gate of affinities, one sigmoid per expert."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from scipy.special import expit

from ._mlp import MLPGate

# Logarithm of the weight at the start that is nearest to one.
LARGEST = -1e-3


class SigmoidGate(MLPGate):
    """Affinities between zero and one, brought to sum to one.

    Each expert has a sigmoid of its own, so that an expert's affinity to a row does
    not fall because another's rises; the weights of the experts that a router leaves
    are their affinities over the sum of these.  With
    :class:`skmoe.routers.BiasBalancedRouter`, whose bias decides who is chosen and
    does not enter the weights, it routes as DeepSeek-V3; the bias there stands beside
    an affinity, here beside its share of the row's sum.
    :class:`skmoe.losses.LoadBalancingLoss` of these shares is the balance loss of a
    sequence, with the batch as the sequence.

    Trained by gradient, together with the experts, or under EM by a few iterations of
    L-BFGS.  Columns are standardised inside.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=()
        Units of each hidden layer; none for sigmoids of linear functions.
    activation, alpha, max_iter, update_iter, n_frequencies, frequency_scale, \
    random_state
        As in :class:`MLPGate`.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
    intercepts_ : list of ndarray of shape (fan_out,)
    n_parameters_ : int

    References
    ----------
    .. [1] DeepSeek-AI (2024). DeepSeek-V3 technical report. arXiv:2412.19437,
       eq. 12-20.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import SigmoidGate
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> resp = np.column_stack([X[:, 0] < 0, X[:, 0] >= 0]) * 1.0
    >>> gate = SigmoidGate(alpha=0.01).fit(X, resp)
    >>> gate.predict_log_proba(X).argmax(axis=1)[[0, 49]].tolist()
    [0, 1]
    """

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (),
        activation: str = "relu",
        alpha: float = 1.0,
        max_iter: int = 200,
        update_iter: int = 10,
        n_frequencies: int = 0,
        frequency_scale: float = 0.1,
        random_state: int | RandomState | None = 0,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            alpha,
            max_iter,
            update_iter,
            n_frequencies,
            frequency_scale,
            random_state,
        )

    def link(self, outputs):
        """Logarithms of the sigmoids, and their slope."""
        return -np.logaddexp(0.0, -outputs), expit(-outputs)

    def unlink(self, log_weights):
        own = np.minimum(log_weights, LARGEST)
        return own - np.log(-np.expm1(own))
