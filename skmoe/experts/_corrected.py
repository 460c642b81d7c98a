"""Experts whose answers are corrected before they enter the mixture."""

import numpy as np
from scipy.special import softmax

from ..likelihoods import smoothed
from ._base import CorrectedExpert
from ._foreign import aligned_proba


class CorrectedRegressor(CorrectedExpert):
    """A fitted regressor, ``intercept + slope * prediction``.

    Parameters
    ----------
    estimator : fitted regressor
    slope, intercept : ndarray of shape (n_outputs,)
    """

    def __init__(self, estimator, slope, intercept):
        self.estimator = estimator
        self.slope = slope
        self.intercept = intercept

    def predict(self, X):
        """Corrected predictions."""
        prediction = np.asarray(self.estimator.predict(X), dtype=float)
        return self.intercept + self.slope * prediction


class CorrectedClassifier(CorrectedExpert):
    """A fitted classifier whose log-probabilities are divided by a temperature.

    An offset of each class is added to them.

    Parameters
    ----------
    estimator : fitted classifier
    temperature : float
    offset : ndarray of shape (C,)
    classes : ndarray of shape (C,)
        Those of the mixture.
    """

    def __init__(self, estimator, temperature, offset, classes):
        self.estimator = estimator
        self.temperature = temperature
        self.offset = offset
        self.classes = classes

    @property
    def classes_(self):
        """Class labels, in the order of the columns of ``predict_proba``."""
        return self.classes

    def predict_proba(self, X):
        """Corrected probabilities."""
        proba = smoothed(aligned_proba(self.estimator, X, self.classes))
        return softmax(np.log(proba) / self.temperature + self.offset, axis=1)
