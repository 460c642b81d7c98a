"""A gate with hidden layers."""

from __future__ import annotations

import copy

import numpy as np
from numpy.random import RandomState
from scipy.special import log_softmax
from sklearn.utils import check_random_state

from .._numerics.design import as_dense, make_design
from .._numerics.multinomial import log_weights
from .._numerics.network import NetworkPart, fit_network
from ._base import BaseGate


class MLPGate(NetworkPart, BaseGate):
    """Softmax of a multilayer perceptron.

    Under :class:`skmoe.trainers.Gradient` it is trained by mini-batches together with
    the experts; under EM each M-step is a few iterations of L-BFGS on the
    responsibilities.  Columns are standardised inside.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(32,)
    activation : {"relu", "tanh"}, default="relu"
    alpha : float, default=1.0
        Ridge penalty of the weights, in units of rows.
    max_iter : int, default=200
        Iterations of ``fit``.
    update_iter : int, default=10
        Iterations of an M-step.
    n_frequencies : int, default=0
        Trained frequencies per column: the first layer also sees the sine and the
        cosine of the column at each of them (periodic embedding).
    frequency_scale : float, default=0.1
        Standard deviation of the frequencies at the start, in cycles per standard
        deviation of a column.
    random_state : int, RandomState or None, default=0
        Seeds the starting weights.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
    intercepts_ : list of ndarray of shape (fan_out,)
    frequencies_ : ndarray of shape (p, n_frequencies) or None
        In cycles per standard deviation of a column.
    n_parameters_ : int

    References
    ----------
    .. [1] Weigend, A. S., Mangeas, M., Srivastava, A. N. (1995). Nonlinear gated
       experts for time series. International Journal of Neural Systems 6.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import MLPGate
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> resp = np.column_stack([np.abs(X[:, 0]) < 0.5, np.abs(X[:, 0]) >= 0.5]) * 1.0
    >>> gate = MLPGate((8,), alpha=0.01).fit(X, resp)
    >>> gate.predict_log_proba(X).argmax(axis=1)[[0, 25, 49]].tolist()
    [1, 0, 1]
    """

    differentiable = exchangeable = True

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (32,),
        activation: str = "relu",
        alpha: float = 1.0,
        max_iter: int = 200,
        update_iter: int = 10,
        n_frequencies: int = 0,
        frequency_scale: float = 0.1,
        random_state: int | RandomState | None = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.max_iter = max_iter
        self.update_iter = update_iter
        self.n_frequencies = n_frequencies
        self.frequency_scale = frequency_scale
        self.random_state = random_state

    def set_network(self, network, theta, design):
        """Set fitted parameters."""
        self._keep(network, theta.copy(), design)
        self._squared_norm = float(sum(np.sum(w**2) for w in self.coefs_))
        return self

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K)."""
        self.check()
        network = self.network(X.shape[1], resp.shape[1])
        return self._minimise(X, resp, sample_weight, network, None, self.max_iter)

    def same_kind(self, fitted):
        shape = ("hidden_layer_sizes", "activation", "n_frequencies")
        own, other = vars(self), vars(fitted)
        return super().same_kind(fitted) and all(own[k] == other[k] for k in shape)

    def update(self, X, resp, sample_weight=None):
        """A few iterations from the current weights."""
        return self._minimise(
            X, resp, sample_weight, self._network, self._theta, self.update_iter
        )

    def _minimise(self, X, resp, sample_weight, network, theta, max_iter):
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design = make_design(as_dense(X), weight)
        if theta is None:
            # From equal weights, so that experts may change places.
            rng = check_random_state(self.random_state)
            theta = network.start(rng, last=0.0, spread=design.inverse_scale > 0)

        def slope(outputs, rows):
            scores, factor = self.link(outputs)
            log_proba = log_softmax(scores, axis=1)
            target = resp[rows]
            loss = -float(weight[rows] @ np.sum(target * log_proba, axis=1))
            total = target.sum(axis=1, keepdims=True)
            push = weight[rows, None] * (total * np.exp(log_proba) - target)
            return loss, push * factor

        theta, _ = fit_network(network, design, slope, theta, self.alpha, max_iter)
        return self.set_network(network, theta, design)

    def is_constant(self, X=None):
        """Without rows: whether a layer passes nothing on."""
        return not all(map(np.any, self.coefs_)) or super().is_constant(X)

    def reordered(self, order):
        gate, theta = copy.copy(self), self._theta.copy()
        weights, bias = self._network.layers(theta)[-1]
        weights[:], bias[:] = weights[:, order], bias[order]
        return gate._keep(self._network, theta, (None, *self._design))

    def predict_log_proba(self, X):
        return log_weights(self.scores(X))

    def scores(self, X):
        return self.link(self._outputs(X))[0]

    def penalty(self):
        return 0.5 * self.alpha * self._squared_norm
