"""Extrapolation of EM iterates; the loop guards that the objective never falls."""

import numpy as np
from scipy import linalg


class Plain:
    """No extrapolation: EM as it is."""

    def propose(self, theta, mapped):
        return mapped

    def reset(self):
        """Forget the history."""


class Anderson(Plain):
    """Anderson mixing of the last few EM steps.

    Solves for the combination of past steps whose residual ``M(theta) - theta`` is
    smallest, with a ridge that is relative to the steps, and restarts when the loop
    rejects a proposal (Walker & Ni 2011; Henderson & Varadhan 2019).

    Parameters
    ----------
    memory : int
        Number of past steps.
    """

    def __init__(self, memory=8):
        self.memory = memory
        self.reset()

    def reset(self):
        self._thetas, self._residuals = [], []

    def propose(self, theta, mapped):
        residual = mapped - theta
        self._thetas = [*self._thetas[-self.memory :], theta]
        self._residuals = [*self._residuals[-self.memory :], residual]
        if len(self._thetas) < 3:
            return mapped
        d_theta = np.diff(np.array(self._thetas), axis=0).T
        d_residual = np.diff(np.array(self._residuals), axis=0).T
        gram = d_residual.T @ d_residual
        ridge = 1e-10 * np.trace(gram)
        if not ridge > 0.0:
            return mapped
        gram[np.diag_indices_from(gram)] += ridge
        gamma = linalg.solve(gram, d_residual.T @ residual, assume_a="pos")
        return mapped - (d_theta + d_residual) @ gamma


class Squarem(Plain):
    """Squared extrapolation over two EM steps, scheme S3 (Varadhan & Roland 2008)."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._previous = None

    def propose(self, theta, mapped):
        if self._previous is None:
            self._previous = theta
            return mapped
        first = theta - self._previous
        second = (mapped - theta) - first
        origin, self._previous = self._previous, None
        curvature = np.linalg.norm(second)
        if curvature == 0.0:
            return mapped
        length = np.linalg.norm(first) / curvature
        if length <= 1.0:
            return mapped
        return origin + 2 * length * first + length**2 * second
