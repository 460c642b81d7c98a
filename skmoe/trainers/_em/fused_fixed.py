"""Fused EM of Gaussian experts some of whose coefficients are given."""

import numpy as np

from ..._numerics.given import Given
from ..._numerics.linalg import unpack_grams
from ..._numerics.products import linear
from .fused import LinearGaussianMixture
from .fused_common import CommonGaussianMixture, SubjectCommonMixture
from .fused_subjects import SubjectGaussianMixture


class FixedCoefficientsMixture:
    """What replaces the M-step of a ``LinearGaussianMixture``, whose passes stay.

    Its sums are those of all columns; what is given is taken out of them.

    Parameters
    ----------
    at : (K, q) bool
        Which coefficients of each expert are given.
    values : (K, d, q)
        In standardised units; zero where they are fitted.
    """

    def __init__(self, *args, at, values, **kwargs):
        super().__init__(*args, **kwargs)
        self.at, self.values = at, values

    @property
    def given(self):
        """What is given to the experts that are left."""
        return Given(self.at[self.kept][:, None], self.values[self.kept])

    @property
    def known(self):
        """What is given to all experts alike explains of the targets, (n, d)."""
        values, at = self.values[self.kept], self.at[self.kept]
        if np.any(values != values[0]) or np.any(at != at[0]):
            return 0.0
        return linear(self.expert, values[0])

    def _by_expert(self, coef):
        return coef.reshape(self.n_experts, self.n_outputs, -1)

    def _taken(self, parts):
        """Parameters with zeros for coefficients that are given."""
        coef = self.given.taken(self._by_expert(parts[1])).reshape(parts[1].shape)
        return parts[0], coef, *parts[2:]

    def _penalty(self, parts):
        return super()._penalty(self._taken(parts))

    def _solve(self, grams, cross, square, mass, start, log_variance):
        given, cross = self.given, self._by_expert(cross)
        square = given.squares(grams[:, None], cross, square)
        grams, cross = given.left(grams[:, None], cross)
        start = given.taken(self._by_expert(start)).reshape(start.shape)
        cross = cross.reshape(start.shape)
        own = super()._solve(grams[:, 0], cross, square, mass, start, log_variance)
        coef = given.put(self._by_expert(own[0]))
        return coef.reshape(start.shape), own[1]

    def _expert_ridges(self, parts, statistics):
        """Penalties that the evidence of each expert asks for, of what is fitted."""
        given, cross = self.given, self._by_expert(statistics.cross)
        grams = unpack_grams(statistics.expert_gram, self.expert_channels)[:, None]
        square = given.squares(grams, cross, statistics.square)
        cross = given.left(grams, cross)[1].reshape(statistics.cross.shape)
        # By pairs of channels, as they are summed.
        rows, columns = np.tril_indices(self.expert_channels)
        at = self.at[self.kept]
        either = (at[:, rows] | at[:, columns]).T
        gram = np.where(either, 0.0, statistics.expert_gram)
        left = statistics._replace(expert_gram=gram, cross=cross, square=square)
        return super()._expert_ridges(self._taken(parts), left)

    def begun(self, coef):
        """Coefficients (K, d, q) of an earlier fit, with those that are given."""
        return self.given.put(super().begun(coef))


class FixedGaussianMixture(FixedCoefficientsMixture, LinearGaussianMixture):
    """Linear experts with Gaussian noise and given coefficients."""


class FixedCommonMixture(FixedCoefficientsMixture, CommonGaussianMixture):
    """The same with common coefficients beside them."""


class SubjectFixedMixture(FixedCoefficientsMixture, SubjectGaussianMixture):
    """Given coefficients where rows of a subject share one expert."""


class SubjectFixedCommonMixture(FixedCoefficientsMixture, SubjectCommonMixture):
    """Given and common coefficients where rows of a subject share one expert."""
