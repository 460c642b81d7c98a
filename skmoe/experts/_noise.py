"""Components without an expert: noise, which takes what is left, and zeros."""

import numpy as np
from sklearn.base import RegressorMixin

from .._stamp import Stamped
from ..likelihoods import Uniform, Zero
from ._base import ExpertTraits
from ._sums import NoSums

NOISE, ZERO = "noise", "zero"


class BareExpert(RegressorMixin, ExpertTraits, Stamped):
    """Answers zero to every row; all that there is to it is its density of y.

    A subclass says which (``density``), and how much of a row it starts with
    (``start_share``) if all densities were equal.
    """

    is_bare = streams = True
    n_parameters_ = 0
    #: Share of the rows that it starts with, were all equally likely.
    start_share = 0.05

    def density(self, y, discrete):
        """Its fitted likelihood for outputs (n, n_outputs), which may be counts."""
        raise NotImplementedError

    def certain(self, y, discrete):
        """Whether rows (n,) are its own whatever the experts are."""
        return np.zeros(len(y), dtype=bool)

    def possible(self, resp, y, discrete):
        """Responsibilities (n, K), the last its own, that are possible for it."""
        return resp

    def fit(self, X, y, sample_weight=None):
        """Remember how many outputs there are."""
        self.n_outputs_ = 1 if np.ndim(y) == 1 else np.shape(y)[1]
        return self

    def sums(self, X, weight, scales, output_scales):
        """There is nothing to learn."""
        return NoSums(self)

    def predict(self, X):
        """Zeros (n,) or (n, n_outputs)."""
        n_rows = np.shape(X)[0]
        return np.zeros((n_rows, self.n_outputs_)[: 2 if self.n_outputs_ > 1 else 1])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags


class NoiseExpert(BareExpert):
    """Explains nothing: its likelihood is a constant density of y.

    A mixture with ``noise=True`` adds it as its last expert.
    """

    def density(self, y, discrete):
        """Uniform over the range of y."""
        return Uniform().with_range(y, discrete)


class ZeroExpert(BareExpert):
    """Zero for certain.

    A mixture with ``zero_inflation=True`` adds it as its last expert.
    """

    start_share = 0.3

    def certain(self, y, discrete):
        """Zeros, where other numbers have densities."""
        return np.all(y == 0, axis=1) & (not discrete)

    def possible(self, resp, y, discrete):
        """None of other numbers than zero, and all of what is certain."""
        resp, certain = resp.copy(), self.certain(y, discrete)
        resp[~np.all(y == 0, axis=1), -1] = 0.0
        resp[certain] = 0.0
        resp[certain, -1] = 1.0
        lost = ~(resp.sum(axis=1) > 0)
        resp[lost, :-1] = 1.0
        return resp / resp.sum(axis=1, keepdims=True)

    def density(self, y, discrete):
        """A point mass at zero."""
        return Zero().with_range(y, discrete)
