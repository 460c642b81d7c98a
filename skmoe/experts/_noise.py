"""The noise component: an expert that explains nothing and takes what is left."""

import numpy as np
from sklearn.base import RegressorMixin

from .._stamp import Stamped
from ._base import ExpertTraits
from ._sums import NoSums

NOISE = "noise"


class NoiseExpert(RegressorMixin, ExpertTraits, Stamped):
    """Answers zero to every row; its likelihood is a constant density of y.

    A mixture with ``noise=True`` adds it as its last expert.
    """

    is_noise = streams = True
    n_parameters_ = 0

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
