"""Steps over all rows that a sample of them carries to where they lead."""

import math

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from .loop import Plain, Squarem

# Products with the Jacobian of a sample's step, the share of a move that they may
# leave, and the length of the differences that they are.
MOST_PRODUCTS, LEFT_OF_PRODUCTS, DIFFERENCE = 30, 1e-2, 1e-5
MOST_MOVES, LEFT_OF_MOVE, LENGTHS = 10, 1e-2, (1.0, 0.5, 0.25, 0.125, 0.0625)
# Moves by others after the first that was refused; twice as many after the next.
FIRST_PAUSE = 3


class SampleNewton(Plain):
    """Newton's method for the fixed point of EM, by the Jacobian of a sample's step.

    The step over all rows is exact, so that the fixed point is theirs.  What is left
    of the distance to it after a move is about the share by which the two Jacobians
    differ, which falls with the root of the rows of the sample (Jordan, Lee, Yang 2019,
    Communication-efficient distributed statistical inference, have the same idea).

    Parameters
    ----------
    sample : a problem of the same parameters, of fewer rows with the same weight
    """

    def __init__(self, sample):
        self._sample, self._otherwise = sample, Squarem()
        # Moves that others make after one of its own was refused, and those left.
        self._proposed, self._pause, self._left = None, FIRST_PAUSE, 0

    def reset(self):
        self._otherwise.reset()

    def _step(self, theta):
        value, statistics = self._sample.evaluate(theta)
        if not math.isfinite(value):
            return np.full(len(theta), np.nan)
        return self._sample.maximise(theta, statistics)

    def propose(self, theta, mapped):
        # What was proposed last was refused if it is not where the run stands.
        if self._proposed is not None and theta is not self._proposed:
            self._left, self._pause = self._pause, 2 * self._pause
            self._proposed = None
        if self._left > 0:
            self._left -= 1
            return self._otherwise.propose(theta, mapped)
        with np.errstate(over="ignore"):
            self._proposed = self._solved(theta, mapped)
        return self._proposed

    def _solved(self, theta, mapped):
        """Where the steps of the sample, shifted to end at ``mapped`` here, rest."""
        at, left = theta, mapped - theta
        enough, shift = LEFT_OF_MOVE * np.linalg.norm(left), mapped - self._step(theta)
        for _ in range(MOST_MOVES):
            move, found = self._newton(at, left, left - shift + at), None
            for length in LENGTHS:
                trial = at + length * move
                rest = self._step(trial) + shift - trial
                if np.linalg.norm(rest) <= (1 - length / 4) * np.linalg.norm(left):
                    found = trial, rest
                    break
            if found is None:
                break
            at, left = found
            if np.linalg.norm(left) <= enough:
                break
        return mapped if at is theta else at

    def _newton(self, at, left, here):
        """Newton's move from where a step of the sample leads ``here``."""
        unit = DIFFERENCE * (1.0 + np.linalg.norm(at))

        def product(direction):
            length = unit / max(np.linalg.norm(direction), np.finfo(float).tiny)
            change = (self._step(at + length * direction) - here) / length
            return direction - np.nan_to_num(change)

        system = LinearOperator((len(at), len(at)), matvec=product, dtype=float)
        options = {"restart": MOST_PRODUCTS, "maxiter": 1, "rtol": LEFT_OF_PRODUCTS}
        return gmres(system, left, **options)[0]
