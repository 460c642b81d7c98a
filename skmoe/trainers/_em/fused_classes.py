"""Fused EM of multinomial logistic experts."""

import numpy as np
from scipy.special import log_softmax

from ..._kernels.em import Labels, categorical_pass
from ..._numerics.design import read_only
from ..._numerics.evidence import ridge_of_softmax
from ..._numerics.linalg import (
    Penalty,
    curvature_columns,
    newton_direction,
    use_exact_newton,
)
from ..._numerics.multinomial import fit_multinomial
from .fused import START_STEPS, LinearMixture
from .penalties import NO_ROWS


class LinearCategoricalMixture(LinearMixture):
    """Multinomial logistic experts.

    Additional parameters
    ---------------------
    n_classes : int
    """

    _kernel = staticmethod(categorical_pass)
    # Newton steps drift at a constant pace where classes are separable, and the
    # ratio of two equal steps is all rounding error.
    extrapolates = False

    def __init__(self, *args, n_classes, **kwargs):
        super().__init__(*args, **kwargs)
        self.n_classes = n_classes
        # Two mirrored sets of coefficients share the penalty of one log-odds.
        self.mirrored = 2.0 if n_classes == 2 else 1.0

    @property
    def class_penalty(self):
        """Penalty of the coefficients of each class, by expert."""
        ridge, lasso = self.expert_penalty
        return Penalty(ridge * self.mirrored, lasso)

    @property
    def keeps_flat(self):
        """Whether nothing pulls at coefficients of columns that become flat."""
        # Newton steps of a free column without curvature leave it where it is.
        ridge, lasso = self.class_penalty
        return not ridge.any() and lasso == 0.0

    def _target_of(self, rows):
        codes, offset = self.target
        offset = offset[rows] if len(offset) else offset
        return Labels(read_only(codes[rows]), read_only(offset))

    def _log_densities(self, answers):
        if len(self.target.offset):
            answers = answers + self.target.offset[:, None, :]
        log_proba = log_softmax(answers, axis=2)
        return log_proba[np.arange(len(answers)), :, self.target.codes]

    def _exact_expert(self):
        return use_exact_newton(self.n_classes, self.expert_channels)

    def _columns_per_expert(self):
        return curvature_columns(self.n_classes, self.expert_channels)

    def _n_rows_per_expert(self):
        return self.n_classes

    def pack(self, gate, coef):
        return np.concatenate([gate.ravel(), coef.ravel()])

    def unpack(self, theta):
        """Gates (S, q) and class coefficients (K * C, q)."""
        first = self.tree.n_slots * self.gate_channels
        return (
            theta[:first].reshape(-1, self.gate_channels),
            theta[first:].reshape(-1, self.expert_channels),
        )

    def _penalty(self, parts):
        gate, coef = parts
        ridge, lasso = self.class_penalty
        slopes = coef[:, :-1]
        squares = np.sum(slopes**2, axis=1).reshape(self.n_experts, -1).sum(axis=1)
        expert = 0.5 * ridge @ squares + lasso * np.abs(slopes).sum()
        return self._gate_penalty(gate) + expert

    def _update_experts(self, parts, statistics):
        shape = (self.n_experts, self.n_classes, self.expert_channels)
        coef = parts[1].reshape(shape)
        gradient = statistics.cross.reshape(shape)
        direction = newton_direction(
            gradient, statistics.expert_gram, coef, *self.class_penalty
        )
        return (parts[1] + direction.reshape(parts[1].shape),)

    def _expert_ridges(self, parts, statistics):
        """Penalties that the evidence of each expert asks for."""
        shape = (self.n_experts, self.n_classes, self.expert_channels)
        grams = np.split(statistics.expert_gram, self.n_experts, axis=1)
        coef = parts[1].reshape(shape)
        each = zip(grams, coef, self.class_penalty.ridge, strict=True)
        alive = statistics.mass > NO_ROWS * self.total_weight
        return [
            self._of_one_class(ridge_of_softmax(*own)) if has_rows else None
            for own, has_rows in zip(each, alive, strict=True)
        ]

    def _of_one_class(self, chosen):
        """The penalty that stands for a chosen one of mirrored coefficients."""
        if chosen is None:
            return None
        return chosen._replace(ridge=chosen.ridge / self.mirrored)

    def damp(self, theta, mapped, step):
        return theta + step * (mapped - theta)

    def _start_experts(self, targets):
        indicators = read_only(np.eye(self.n_classes)[self.target.codes])
        zero = np.zeros((self.n_classes, self.expert_channels))
        fits = [
            fit_multinomial(
                self.expert,
                indicators,
                read_only(targets[:, k] * self.weight),
                zero,
                max(
                    self.class_penalty.ridge[k],
                    1e-3 * self.total_weight / self.n_experts,
                ),
                offset=self.target.offset,
                max_iter=START_STEPS,
                n_jobs=self.n_jobs,
            )[0]
            for k in range(self.n_experts)
        ]
        return (np.concatenate(fits),)
