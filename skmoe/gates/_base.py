"""What a gate must do; the defaults serve gates without special structure."""

import copy

import numpy as np

from .._stamp import Stamped
from ..routers._base import routed, stacked

# Rows that are routed at a time, so that the weights of all experts stay in cache.
BLOCK_ROWS = 4096


class BaseGate(Stamped):
    """Base of all gates; subclasses give ``fit`` and ``predict_log_proba``.

    A gate is fitted to responsibilities, an (n, K) array of soft targets.  The other
    methods have defaults that a gate overrides where it can do better.
    """

    #: Whether the gate reads columns as numbers (and gets a float array).
    numeric = True
    #: Whether experts may change places: a fit to responsibilities in another order is
    #: the fit in that order.  Where not, as in a frozen gate, EM asks the gate which
    #: group of rows to start in which place.
    exchangeable = False
    #: How much weight of rows the penalty outweighs.
    penalty_rows = 0.0

    #: Free parameters of a fitted gate; None if they have no count.
    n_parameters_ = None

    def reads(self, X):
        """Whether the gate can read a table of text, times or gaps as it is."""
        return not self.numeric

    #: Whether training reads sparse columns as they are.
    reads_sparse = False

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        raise NotImplementedError

    def update(self, X, resp, sample_weight=None):
        """One M-step from the current state; by default a full ``fit``."""
        return self.fit(X, resp, sample_weight)

    def same_kind(self, fitted):
        """Whether a fitted gate can go on with the parameters of this one."""
        return type(self) is type(fitted)

    def going_on(self, fitted):
        """A copy of a fitted gate with the parameters of this one."""
        return copy.deepcopy(fitted).set_params(**self.get_params(deep=False))

    def reordered(self, order):
        """A copy with the experts in another order; None where that cannot be."""
        return

    def predict_log_proba(self, X):
        """Logarithms of the expert weights, shape (n, K); rows sum to one."""
        raise NotImplementedError

    def log_joint(self, X):
        """Log-weights as the E-step uses them; unnormalised for generative gates."""
        return self.predict_log_proba(X)

    def scores(self, X):
        """Log-weights up to a constant per row, for routers that only compare them."""
        return self.predict_log_proba(X)

    def route(self, X, router):
        """Routing of rows at prediction."""
        weigh = self.scores if router.plain_top_k else self.predict_log_proba
        if X.shape[0] <= BLOCK_ROWS or not isinstance(X, np.ndarray):
            return routed(router, weigh(X), X=X)
        starts = range(0, len(X), BLOCK_ROWS)
        blocks = (X[start : start + BLOCK_ROWS] for start in starts)
        return stacked([routed(router, weigh(block), X=block) for block in blocks])

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the gate was fitted to."""
        return self.n_parameters_

    def penalty(self):
        """Penalty in nats that the last fit paid."""
        return 0.0
