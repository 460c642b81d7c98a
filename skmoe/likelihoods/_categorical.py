"""Class probabilities."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from ._base import Likelihood

# Probabilities of classifiers are mixed with the uniform distribution to this
# extent, so that one overconfident expert cannot make a row impossible.
PROBA_FLOOR = 1e-6


def log_proba(proba):
    """Logarithms of probabilities: one that underflows is small, not zero."""
    return np.log(np.maximum(proba, np.finfo(float).tiny))


class Categorical(Likelihood):
    """Class probabilities as an expert predicts them.

    Classes are the integer codes ``y`` (n,) of the mixture's ``classes_``, and what is
    asked of their indicators has a column for each.  Classes are in no order, so that
    there is neither a distribution function nor a quantile.

    Attributes
    ----------
    n_parameters_ : float
        Always zero: the probabilities are the expert's own.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.likelihoods import Categorical
    >>> Categorical().variance_of(np.array([[0.25, 0.75]]))
    array([[0.1875, 0.1875]])
    """

    n_parameters_ = 0.0
    link, discrete, has_fused_pass = "softmax", True, True
    dispersions = ()

    def fit_dispersions(
        self, y, predictions, weights, *, priors=None, size=None, previous=None, **_
    ):
        """One copy per expert; there is nothing to fit."""
        return [copy.copy(self) for _ in predictions]

    def log_prob(self, y, prediction, size=None):
        """Log-probability of integer codes ``y`` (n,) under ``prediction`` (n, C)."""
        own = prediction[np.arange(len(y)), y]
        return log_proba(own)

    def variance_of(self, prediction, size=None):
        """Variance of the indicators of classes, (n, C)."""
        return prediction * (1.0 - prediction)

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-probability in the logit of each class."""
        indicators = np.eye(prediction.shape[1])[y]
        return indicators - prediction, self.variance_of(prediction)

    def sample(self, prediction, rng, size=None):
        """One class per row, as integer codes (n,)."""
        ends = np.cumsum(prediction, axis=1)
        place = rng.uniform(size=(len(prediction), 1)) * ends[:, -1:]
        return np.minimum((place >= ends).sum(axis=1), prediction.shape[1] - 1)


def smoothed(proba: NDArray) -> NDArray:
    """Class probabilities kept away from zero by :data:`PROBA_FLOOR`.

    Parameters
    ----------
    proba : ndarray of shape (n, n_classes)
    """
    return (1.0 - PROBA_FLOOR) * proba + PROBA_FLOOR / proba.shape[1]
