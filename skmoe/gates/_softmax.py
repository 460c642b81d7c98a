"""The softmax gate: penalised multinomial logistic regression on soft targets."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._design import (
    column_scale,
    from_data_scale,
    make_design,
    read_only,
    to_data_scale,
)
from .._multinomial import fit_multinomial
from .._network import Network
from ..mixture import log_weights
from ._base import BaseGate


class SoftmaxGate(BaseGate):
    """Multinomial logistic gate, ``g_k(x) = softmax_k(W x + b)``.

    Inside EM it takes one damped Newton step per iteration: the exact joint Hessian
    for up to 200 coefficients, its diagonal blocks beyond.  Columns are standardised
    inside.

    Parameters
    ----------
    alpha : float, default=0.1
        Ridge penalty on standardised coefficients, in units of rows; intercepts are
        free. ``0`` is maximum likelihood.
    max_iter : int, default=100
        Newton steps of ``fit`` on its own; EM does not use it.
    tol : float, default=1e-9
        ``fit`` stops when the log-likelihood rises by less, in nats per row.

    Attributes
    ----------
    coef_ : ndarray of shape (K, p)
        Columns sum to zero; on the scale of the data.
    intercept_ : ndarray of shape (K,)
    scale_ : ndarray of shape (p,)
        Standard deviations of the columns in training.
    n_parameters_ : int

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, section 3.
    .. [2] Chen, K., Xu, L., Chi, H. (1999). Improved learning algorithms for mixture
       of experts in multiclass classification. Neural Networks 12.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import SoftmaxGate
    >>> X = np.array([[-1.0], [0.0], [1.0]])
    >>> resp = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    >>> gate = SoftmaxGate(alpha=0).fit(X, resp)
    >>> np.exp(gate.predict_log_proba(X)).round(6).tolist()
    [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]
    """

    def __init__(self, alpha=0.1, max_iter=100, tol=1e-9):
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol

    def check(self):
        if not (np.isscalar(self.alpha) and 0 <= self.alpha < np.inf):
            raise ValueError(
                f"SoftmaxGate got alpha={self.alpha!r}, but expected a finite number "
                ">= 0; 0 is the unpenalised maximum-likelihood estimate."
            )

    def linear_alpha(self):
        """Penalty for the fused EM, which fits this gate itself."""
        return self.alpha

    def linear_columns(self, X):
        """Columns that the fused EM gives to this gate."""
        return X

    def network(self, n_inputs, n_outputs):
        """Architecture for trainers that follow a gradient: no hidden layers."""
        return Network((n_inputs, n_outputs))

    def set_network(self, network, theta, design):
        """Set parameters of standardised columns."""
        weights, bias = network.layers(theta)[0]
        return self.set_standardised(np.column_stack([weights.T, bias]), design)

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities until convergence.

        Parameters
        ----------
        X : ndarray or sparse array of shape (n, p)
        resp : ndarray of shape (n, K)
            Soft targets.
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self
        """
        return self._newton(X, resp, sample_weight, self.max_iter)

    def update(self, X, resp, sample_weight=None):
        """One damped Newton step from the current coefficients."""
        return self._newton(X, resp, sample_weight, 1)

    def _newton(self, X, resp, sample_weight, max_iter):
        self.check()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design = make_design(X, weight)
        if max_iter == 1 and hasattr(self, "coef_"):
            start = from_data_scale(self.coef_, self.intercept_, design)
        else:
            start = np.zeros((resp.shape[1], X.shape[1] + 1))
        coef, self.converged_ = fit_multinomial(
            design,
            read_only(resp, float),
            read_only(weight, float),
            start,
            self.alpha,
            max_iter=max_iter,
            tol=self.tol,
        )
        return self.set_standardised(coef, design)

    def set_standardised(self, coef, design):
        """Set coefficients (K, q) of standardised columns."""
        coef = coef - coef.mean(axis=0)
        self._squared_norm = float(np.sum(coef[:, :-1] ** 2))
        self.coef_, self.intercept_ = to_data_scale(coef, design)
        self.scale_ = column_scale(design)
        self.n_parameters_ = (coef.shape[0] - 1) * coef.shape[1]
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def predict_log_proba(self, X):
        return log_weights(self.scores(X))

    def scores(self, X):
        check_is_fitted(self)
        return X @ self.coef_.T + self.intercept_

    def penalty(self):
        return 0.5 * self.alpha * self._squared_norm
