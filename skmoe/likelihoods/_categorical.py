"""Class probabilities."""

import numpy as np
from sklearn.base import BaseEstimator, clone

# Probabilities of classifiers are mixed with the uniform distribution to this
# extent, so that one overconfident expert cannot make a row impossible.
PROBA_FLOOR = 1e-6


class Categorical(BaseEstimator):
    """Class probabilities as an expert predicts them.

    Attributes
    ----------
    n_parameters_ : float
        Always zero: the probabilities are the expert's own.
    """

    n_parameters_ = 0.0
    link, takes, discrete = "softmax", None, True

    def check(self):
        """Nothing to check."""

    def row_weight(self, y, prediction):
        """Rows count as they are."""

    def fit_dispersions(
        self, y, predictions, weights, *, priors=None, size=None, previous=None, **_
    ):
        """One copy per expert; there is nothing to fit."""
        return [clone(self) for _ in predictions]

    def log_prob(self, y, prediction, size=None):
        """Log-probability of integer codes ``y`` (n,) under ``prediction`` (n, C)."""
        return np.log(prediction[np.arange(len(y)), y])


def smoothed(proba):
    """Class probabilities kept away from zero by :data:`PROBA_FLOOR`."""
    return (1.0 - PROBA_FLOOR) * proba + PROBA_FLOOR / proba.shape[1]
