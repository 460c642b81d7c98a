"""Small neural experts."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from scipy.special import log_softmax, softmax
from sklearn.utils import check_random_state

from .._numerics.design import as_dense, make_design, target_scales
from .._numerics.network import NetworkPart, fit_network
from ._base import BuiltInExpert


class MLPExpert(NetworkPart, BuiltInExpert):
    """Multilayer perceptron as an expert, for values and for classes.

    Under :class:`skmoe.trainers.Gradient` it is trained by mini-batches together with
    the gate and the other experts.  Under EM every M-step fits it to the weighted rows
    by L-BFGS, which is deterministic but far slower.  Columns and targets are
    standardised inside.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(64,)
        Units of each hidden layer.
    activation : {"relu", "tanh"}, default="relu"
    alpha : float, default=1.0
        Ridge penalty of the weights, in units of rows, as in
        :class:`sklearn.neural_network.MLPRegressor` times the number of rows.
    max_iter : int, default=200
        Iterations of L-BFGS in ``fit``; ``Gradient`` does not use it.
    n_frequencies : int, default=0
        Trained frequencies per column: the first layer also sees the sine and the
        cosine of the column at each of them (periodic embedding).
    frequency_scale : float, default=0.1
        Standard deviation of the frequencies at the start, in cycles per standard
        deviation of a column.
    random_state : int, RandomState or None, default=None
        Seeds the starting weights.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (fan_in, fan_out)
        Weights of each layer, for standardised columns.
    intercepts_ : list of ndarray of shape (fan_out,)
    frequencies_ : ndarray of shape (p, n_frequencies) or None
        In cycles per standard deviation of a column.
    n_parameters_ : int

    References
    ----------
    .. [1] Jacobs, R. A., Jordan, M. I., Nowlan, S. J., Hinton, G. E. (1991). Adaptive
       mixtures of local experts. Neural Computation 3, 79-87.
    .. [2] Gorishniy, Y., Rubachev, I., Babenko, A. (2022). On embeddings for numerical
       features in tabular deep learning. NeurIPS, section 3.3 (periodic).

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.experts import MLPExpert
    >>> X = np.linspace(-2, 2, 100).reshape(-1, 1)
    >>> expert = MLPExpert((16,), alpha=0.01, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(np.abs(expert.predict(X) - X[:, 0] ** 2).max() < 0.2)
    True
    """

    differentiable = True

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        activation: str = "relu",
        alpha: float = 1.0,
        max_iter: int = 200,
        n_frequencies: int = 0,
        frequency_scale: float = 0.1,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.alpha = alpha
        self.max_iter = max_iter
        self.n_frequencies = n_frequencies
        self.frequency_scale = frequency_scale
        self.random_state = random_state

    def set_network(self, network, theta, design, center=0.0, scale=1.0):
        """Set fitted parameters; outputs times ``scale``, plus ``center``."""
        theta = theta.copy()
        weights, bias = network.layers(theta)[-1]
        weights *= scale
        bias[:] = bias * scale + center
        return self._keep(network, theta, design)

    def fit(self, X, y, sample_weight=None):
        """Fit to weighted rows.

        Parameters
        ----------
        X : ndarray of shape (n, p)
        y : ndarray of shape (n,) or (n, n_outputs)
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self
        """
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design = make_design(as_dense(X), weight)
        y = np.asarray(y, dtype=float).reshape(X.shape[0], -1)
        center, scale = target_scales(y, weight)
        target = (y - center) / scale

        def slope(outputs, rows):
            error = outputs - target[rows]
            weighted = weight[rows, None] * error
            return 0.5 * np.sum(weighted * error), weighted

        return self._minimise(design, target.shape[1], slope, center, scale)

    def _minimise(self, design, n_outputs, slope, center=0.0, scale=1.0):
        self.check()
        network = self.network(design.X.shape[1], n_outputs)
        rng, spread = check_random_state(self.random_state), design.inverse_scale > 0
        theta = network.start(rng, spread=spread)
        theta, self.converged_ = fit_network(
            network, design, slope, theta, self.alpha, self.max_iter
        )
        return self.set_network(network, theta, design, center, scale)

    def predict(self, X):
        """Fitted values, shape (n,) or (n, n_outputs)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


class MLPClassifierExpert(MLPExpert):
    """Multilayer perceptron for class labels, as :class:`MLPExpert` in a classifier.

    Parameters
    ----------
    hidden_layer_sizes, activation, alpha, max_iter, n_frequencies, \
    frequency_scale, random_state
        As in :class:`MLPExpert`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    def fit(self, X, y, sample_weight=None, offset=None):
        """Fit to weighted rows with labels ``y``.

        ``offset`` (n, n_classes) is added to the logits.
        """
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        self.classes_, codes = np.unique(y, return_inverse=True)
        target = np.eye(len(self.classes_))[codes]

        def slope(outputs, rows):
            logits = outputs if offset is None else outputs + offset[rows]
            log_proba = log_softmax(logits, axis=1)
            loss = -float(weight[rows] @ np.sum(target[rows] * log_proba, axis=1))
            return loss, weight[rows, None] * (np.exp(log_proba) - target[rows])

        return self._minimise(
            make_design(as_dense(X), weight), len(self.classes_), slope
        )

    def predict_proba(self, X):
        """Class probabilities (n, n_classes)."""
        return softmax(self._outputs(X), axis=1)

    def predict(self, X):
        """Most probable labels (n,)."""
        return self.classes_[self._outputs(X).argmax(axis=1)]


MLPExpert._regressor = MLPExpert
MLPExpert._classifier = MLPClassifierExpert
