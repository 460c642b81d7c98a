"""Fused EM of Gaussian experts that have some of their coefficients in common."""

import numpy as np

from ..._numerics.arrow import solve_arrow
from ..._numerics.evidence import ridge_of_values
from ..._numerics.linalg import spreadless, unpack_grams
from .fused import LinearGaussianMixture
from .fused_subjects import SubjectGaussianMixture
from .penalties import NO_ROWS

# Alternations of coefficients and variances in an M-step, and the largest move of a
# variance's logarithm that ends them; they cost no pass over the rows.
ALTERNATIONS, SMALLEST_MOVE = 50, 1e-8


class CommonCoefficientsMixture:
    """What replaces the M-step of a ``LinearGaussianMixture``, whose passes stay.

    Experts are told together, each by its precision, so that coefficients depend on
    variances.

    Parameters
    ----------
    common : positions (c,) of the columns whose coefficients are common
    """

    def __init__(self, *args, common, **kwargs):
        super().__init__(*args, **kwargs)
        self.common = np.asarray(common, dtype=int)
        self.varies = np.delete(np.arange(self.expert_channels), self.common)

    #: A penalty that common coefficients do not pay stays in those that vary.
    biased = False

    def _penalty(self, parts):
        gate, coef, log_variance = parts
        own = coef[:, self.varies[:-1]]
        norms = np.sum(own**2, axis=1).reshape(log_variance.shape)
        paid = np.sum(norms * np.exp(-log_variance), axis=1)
        return self._gate_penalty(gate) + 0.5 * self.expert_penalty.ridge @ paid

    def _solve(self, grams, cross, square, mass, start, log_variance):
        shape = (self.n_experts, self.n_outputs, self.expert_channels)
        right, coef = cross.reshape(shape), start.reshape(shape)
        ridge, flat = self.expert_penalty.ridge[:, None], spreadless(grams)
        alive = mass > NO_ROWS * self.total_weight
        for _ in range(ALTERNATIONS):
            precision = np.exp(-log_variance)[:, :, None]
            own = grams[:, None] * precision[..., None], right * precision
            found = solve_arrow(*own, ridge * precision[..., 0], self.common, flat)
            # An expert without rows keeps what it had.
            found[~alive] = self._with_common(coef[~alive], found[:1])
            coef, before = found, log_variance
            left = square - self._explained(grams, right, coef)
            log_variance = self._log_variances(left, mass, before)
            if np.abs(log_variance - before).max() <= SMALLEST_MOVE:
                break
        return coef.reshape(-1, shape[2]), log_variance

    def _explained(self, grams, right, coef):
        """What coefficients (K, d, q) take from squares, less their penalty."""
        fitted = 2.0 * np.einsum("kdq,kdq->kd", coef, right)
        fitted -= np.einsum("kdq,kqr,kdr->kd", coef, grams, coef)
        norms = np.sum(coef[:, :, self.varies[:-1]] ** 2, axis=2)
        return fitted - self.expert_penalty.ridge[:, None] * norms

    def _with_common(self, coef, other):
        coef = coef.copy()
        coef[:, :, self.common] = other[:, :, self.common]
        return coef

    def begun(self, coef):
        """Coefficients (K, d, q) of an earlier fit, the common ones at their mean."""
        return self._with_common(coef, np.mean(coef, axis=0, keepdims=True))

    def _expert_ridges(self, parts, statistics):
        """Penalties that the evidence of each expert asks for, of what is left by the
        common columns."""
        shape = (self.n_experts, self.n_outputs, -1)
        grams = unpack_grams(statistics.expert_gram, self.expert_channels)
        cross, shared = statistics.cross.reshape(shape), parts[1].reshape(shape)
        shared = self._with_common(np.zeros_like(shared), shared)
        left = cross - np.einsum("kqr,kdr->kdq", grams, shared)
        square = statistics.square - np.einsum("kdq,kdq->kd", shared, cross + left)
        alive = statistics.mass > NO_ROWS * self.total_weight
        grams = grams[:, self.varies][:, :, self.varies]
        left, least = left[:, :, self.varies].transpose(0, 2, 1), np.exp(self.log_floor)
        each = zip(grams, left, square, strict=True)
        return [
            ridge_of_values(*own, least) if has_rows else None
            for own, has_rows in zip(each, alive, strict=True)
        ]


class CommonGaussianMixture(CommonCoefficientsMixture, LinearGaussianMixture):
    """Linear experts with Gaussian noise and common coefficients."""


class SubjectCommonMixture(CommonCoefficientsMixture, SubjectGaussianMixture):
    """The same where rows of a subject share one expert."""
