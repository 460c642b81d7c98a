"""A point mass at zero for rows that are zero whatever the experts say."""

import numpy as np
from sklearn.base import clone

from .._stamp import Stamped
from ._base import Likelihood


class BesideZeros(Stamped):
    """Checks the targets of a family of amounts but those that are zero.

    Parameters
    ----------
    likelihood : likelihood
    """

    def __init__(self, likelihood):
        self.likelihood = likelihood

    @property
    def takes(self):
        """What rows may bring along, as the family takes it."""
        return self.likelihood.takes

    def size_of(self, given):
        """Exposures, as the family takes them."""
        return self.likelihood.size_of(given)

    def check_target(self, y, size=None):
        """Raise ``ValueError`` for targets outside the support, and for zeros only."""
        rows = np.any(y != 0, axis=1)
        if not rows.any():
            raise ValueError(
                f"{type(self.likelihood).__name__} got y without any number but zero, "
                "but expected some others beside zero_inflation=True, to learn from."
            )
        size = None if size is None else size[rows]
        self.likelihood.check_target(y[rows], size)


class Zero(Likelihood):
    """All probability at zero: the component of ``zero_inflation=True``.

    Of several outputs, all are zero.

    Attributes
    ----------
    n_parameters_ : float
        Zero.
    counts_ : bool
        Whether y are counts, of which zero has a probability under the experts too.

    Examples
    --------
    >>> from skmoe.likelihoods import Zero
    >>> Zero()
    Zero()
    """

    is_bare, dispersions, atom, counts_ = True, (), 0.0, False

    def with_range(self, y, discrete=False):
        """Fitted copy, maybe beside counts."""
        fitted = clone(self)
        fitted.counts_ = discrete
        return fitted

    def mean(self, prediction, size=None):
        """Zeros, (n, n_outputs)."""
        return np.zeros(prediction.shape)

    def variance_of(self, prediction, size=None):
        """Zeros, (n, n_outputs)."""
        return np.zeros(prediction.shape)

    def log_density(self, y, prediction, size=None):
        return np.where(y == 0, 0.0, -np.inf)

    def marginal_density(self, y, prediction, size=None):
        """Probability of counts; a point has no density among other numbers."""
        return np.where(y == 0, 1.0, 0.0) if self.counts_ else np.zeros(y.shape)

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        return np.where(y >= 0, 1.0, 0.0)

    def quantile(self, level, prediction, size=None):
        """Zeros, (n, n_outputs)."""
        return np.zeros(prediction.shape)

    def sample(self, prediction, rng, size=None):
        """Zeros, (n, n_outputs)."""
        return np.zeros(prediction.shape)
