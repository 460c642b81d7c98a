"""Extrapolation of EM iterates; the loop guards that the objective never falls."""

import numpy as np

# First bound of the step length, and the factor by which the bound moves.
FIRST_LIMIT = 4.0
LIMIT_FACTOR = 2.0
# Rounding errors grow with the square of the length.
LAST_LIMIT = 64.0


class Plain:
    """No extrapolation: EM as it is."""

    def propose(self, theta, mapped):
        return mapped

    def reset(self):
        """Forget the history."""


class Squarem(Plain):
    """Squared extrapolation over two EM steps, scheme S3 (Varadhan & Roland 2008).

    The step length is bounded, and the bound grows while it is reached and shrinks
    when the loop rejects a proposal.  Without it two equal steps, as a separable
    gate takes them, would be extrapolated by a ratio of rounding errors.
    """

    def __init__(self):
        self._limit = FIRST_LIMIT
        self._previous = None

    def reset(self):
        self._limit = max(self._limit / LIMIT_FACTOR, FIRST_LIMIT)
        self._previous = None

    def propose(self, theta, mapped):
        if self._previous is None:
            self._previous = theta
            return mapped
        first = theta - self._previous
        second = (mapped - theta) - first
        origin, self._previous = self._previous, None
        length = self._bounded(np.linalg.norm(first), np.linalg.norm(second))
        if length <= 1.0:
            return mapped
        return origin + 2 * length * first + length**2 * second

    def _bounded(self, step, curvature):
        if step < self._limit * curvature:
            return step / curvature
        limit = self._limit
        self._limit = min(limit * LIMIT_FACTOR, LAST_LIMIT)
        return limit
