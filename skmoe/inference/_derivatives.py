"""Derivatives of log-densities in linear predictors and dispersions, row by row."""

from itertools import combinations

import numpy as np

from ..likelihoods._links import INVERSE_LINKS, LINKS

# Step of differences, whose errors are its fourth power, and rounding over its square.
STEP = 1e-3
# Moves, in steps, and their weights in the first and in the second derivative.
MOVES = (-2, -1, 0, 1, 2)
FIRST = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) / 12.0
SECOND = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) / 12.0


def row_derivatives(likelihood, y, prediction, size, classes):
    """Slopes and curvatures of the log-density of rows.

    Parameters
    ----------
    likelihood : fitted likelihood
    y : ndarray of shape (n, d), or (n,) codes of classes
    prediction : ndarray of shape (n, d) or (n, n_classes)
    size : ndarray of shape (n,) or None
    classes : ndarray or None

    Returns
    -------
    slope : ndarray of shape (n, channels)
        Channels are the linear predictors of all outputs, then the logarithm of each
        dispersion for all outputs; of classes, logits relative to the first.
    curvature : dict
        By pairs of channels, the first no larger than the second, minus the second
        derivatives (n,).
    """
    if classes is not None:
        return _of_classes(y, prediction)
    return _of_values(_Surface(likelihood, y, prediction, size))


def _of_classes(y, proba):
    slope = (np.eye(proba.shape[1])[y] - proba)[:, 1:]
    own = proba[:, 1:]
    curvature = {(a, a): own[:, a] * (1.0 - own[:, a]) for a in range(own.shape[1])}
    for a, b in combinations(range(own.shape[1]), 2):
        curvature[a, b] = -own[:, a] * own[:, b]
    return slope, curvature


class _Surface:
    """The log-density of rows as a function of moves of its channels.

    Outputs are independent of each other, so that all move at once: move 0 is of linear
    predictors, others are of the logarithms of the dispersions, all in steps.

    Parameters
    ----------
    likelihood : fitted likelihood
    y, prediction : ndarray of shape (n, d)
    size : ndarray of shape (n,) or None
    """

    def __init__(self, likelihood, y, prediction, size):
        self.likelihood, self.y, self.size = likelihood, y, size
        self.prediction = likelihood.usable(prediction)
        d, names = y.shape[1], likelihood.free_dispersions
        values = [np.broadcast_to(vars(likelihood)[own], d) for own in names]
        self.values = np.array(values, dtype=float).reshape(len(names), d)
        step = np.full(self.prediction.shape, STEP)
        if likelihood.link == "identity":
            step *= np.sqrt(likelihood.variance_of(self.prediction, size))
        self.steps = [step, *[STEP] * len(names)]

    def at(self, *moves):
        """Log-densities (n, d) after moves."""
        likelihood, prediction = self.likelihood, self.prediction
        if moves[0]:
            link = likelihood.link
            moved = LINKS[link](prediction) + moves[0] * self.steps[0]
            prediction = likelihood.usable(INVERSE_LINKS[link](moved))
        if any(moves[1:]):
            factors = np.exp(STEP * np.array(moves[1:]))[:, None]
            likelihood = likelihood.with_dispersions(self.values * factors, False)
        return likelihood.log_density(self.y, prediction, self.size)

    def only(self, moves):
        """Log-densities after moves of some channels, a dict by their numbers."""
        return self.at(*(moves.get(j, 0) for j in range(len(self.steps))))


def _of_values(surface):
    d, slopes, curvature = surface.y.shape[1], [], {}
    for j, step in enumerate(surface.steps):
        own = np.array([surface.only({j: move}) for move in MOVES])
        slopes.append(np.tensordot(FIRST, own, 1) / step)
        second = -np.tensordot(SECOND, own, 1) / step**2
        curvature.update({(j * d + o, j * d + o): second[:, o] for o in range(d)})
    for a, b in combinations(range(len(surface.steps)), 2):
        mixed = _mixed(surface, a, b)
        curvature.update({(a * d + o, b * d + o): mixed[:, o] for o in range(d)})
    return np.hstack(slopes), curvature


def _mixed(surface, a, b):
    """Minus the mixed second derivatives (n, d) of two channels."""
    corners = [
        one * other * surface.only({a: one, b: other})
        for one in (-1, 1)
        for other in (-1, 1)
    ]
    return -sum(corners) / (4.0 * surface.steps[a] * surface.steps[b])
