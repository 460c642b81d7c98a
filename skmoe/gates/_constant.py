"""The constant gate: mixing proportions that do not depend on x."""

import copy

import numpy as np
from scipy.special import log_softmax

from .._numerics.linalg import Penalty
from ._base import BaseGate, LinearForm
from ._sums import ConstantSums


class ConstantGate(BaseGate):
    """Mixing proportions that are the same for every row.

    Attributes
    ----------
    coef_ : ndarray of shape (K, 0)
        No columns are read.
    intercept_ : ndarray of shape (K,)
        Log-proportions, up to a constant.
    n_parameters_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import ConstantGate
    >>> gate = ConstantGate().fit(np.zeros((2, 1)), np.array([[0.7, 0.3], [0.5, 0.5]]))
    >>> np.exp(gate.predict_log_proba(np.zeros((1, 1)))).round(6).tolist()
    [[0.6, 0.4]]
    """

    numeric = False
    exchangeable = is_linear = streams = True

    def is_constant(self, X=None):
        """It is."""
        return True

    def columns_read(self, X):
        """None of them."""
        return []

    def linear_form(self, X):
        """No penalty and no columns for the fused EM, which fits this gate itself."""
        return LinearForm(Penalty(0.0), True, None)

    def sums(self, X, weight, scales, total):
        """By the masses of the experts."""
        return ConstantSums(self)

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        share = np.average(resp, axis=0, weights=sample_weight)
        logits = np.log(np.maximum(share, np.finfo(float).tiny))
        return self.set_standardised(logits[:, None], None)

    def set_standardised(self, coef, design):
        """Set the log-proportions (K, 1)."""
        self.intercept_ = coef[:, -1]
        self.coef_ = np.empty((len(coef), 0))
        self.n_parameters_ = len(coef) - 1
        return self

    def reordered(self, order):
        gate = copy.copy(self)
        gate.coef_, gate.intercept_ = self.coef_[order], self.intercept_[order]
        return gate

    def predict_log_proba(self, X):
        log_share = log_softmax(self.intercept_)
        return np.tile(log_share, (X.shape[0], 1))
