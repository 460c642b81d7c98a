"""Levels of a predictive distribution, put right by rows that it has not seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

# Normal scores between which the map is a line, and beyond which it has slope one.
KNOTS = np.linspace(-3.5, 3.5, 57)
# Scores further out are those of rounding.
FARTHEST = 8.0


class Calibration(NamedTuple):
    """What a distribution calls the levels that come true, for each output.

    Attributes
    ----------
    scores : (d, m) normal scores at which the distribution is reached as often as the
        ``KNOTS`` say
    scale : (d,) root mean square error over the standard deviation
    """

    scores: np.ndarray
    scale: np.ndarray

    def levels(self, level):
        """What to ask the distribution for, (d,), so that ``level`` comes true."""
        return ndtr([_line(ndtri(level), KNOTS, own) for own in self.scores])

    def levels_of(self, level):
        """The same for levels (n, d) of rows."""
        at = normal_scores(level)
        pairs = zip(at.T, self.scores, strict=True)
        return ndtr(np.column_stack([_line(z, KNOTS, own) for z, own in pairs]))

    def probabilities(self, reached):
        """How often values come below, given what the distribution says, (n, d)."""
        at = normal_scores(reached)
        lines = [_line(z, own, KNOTS) for z, own in zip(at.T, self.scores, strict=True)]
        return ndtr(np.column_stack(lines))


def normal_scores(reached):
    """Probabilities as quantiles of a standard normal variable, all finite."""
    return np.clip(ndtri(reached), -FARTHEST, FARTHEST)


def _line(z, knots, values):
    """A line between knots, with slope one beyond."""
    beyond = z - np.clip(z, knots[0], knots[-1])
    return np.interp(z, knots, values) + beyond


def calibration(reached, weight, ratio):
    """The ``Calibration`` of a distribution by rows that it has not seen.

    Parameters
    ----------
    reached : (n, d)
        The distribution function at y of each row.
    weight : (n,), positive
        Only ratios count.
    ratio : (n, d)
        Squared errors of the mean over variances.
    """
    scores = normal_scores(reached)
    columns = [_scores(own, weight) for own in scores.T]
    scale = np.sqrt(np.average(ratio, axis=0, weights=weight))
    return Calibration(np.array(columns), scale)


def _scores(z, weight):
    """Scores (m,) that are reached as often as the knots say.

    The j-th of n rows counts for the level j / (n + 1): the one to come is as likely
    between any two as beyond either end.  Beyond the ends the last shift stays.
    """
    order = np.argsort(z, kind="stable")
    z, weight = z[order], weight[order]
    n_rows = weight.sum() ** 2 / np.sum(weight**2)
    middle = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    level = (n_rows * middle + 0.5) / (n_rows + 1.0)
    return _line(KNOTS, ndtri(level), z)


def averaged(parts):
    """The calibration of an average of distributions; None if one has none."""
    if any(own is None for own in parts):
        return None
    return Calibration(*(np.mean(own, axis=0) for own in zip(*parts, strict=True)))
