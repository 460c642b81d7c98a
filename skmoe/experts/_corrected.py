"""Experts whose answers are corrected before they enter the mixture."""

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from ..likelihoods import smoothed
from ..likelihoods._categorical import PROBA_FLOOR
from ._answers import aligned_proba, predicted_values
from ._base import CorrectedExpert

# Models of errors in words; others go by their class.
WORDS = {
    HistGradientBoostingRegressor: "trees",
    HistGradientBoostingClassifier: "trees",
}
# Temperature from which an expert says the same of every row, to two decimals.
HOTTEST = 1e3


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

    @property
    def marks(self):
        """Whether its answers count in reverse."""
        reversed_ = np.asarray(self.slope) < 0
        if not reversed_.any():
            return super().marks
        return (*super().marks, "reversed" if reversed_.all() else "partly reversed")

    def predict(self, X):
        """Corrected predictions."""
        prediction = predicted_values(self.estimator, X, len(self.slope))
        return self.intercept + self.slope * prediction


class LocallyCorrected(CorrectedExpert):
    """Base of fitted experts to whose answers models of their errors are added."""

    #: Of the variance of its answers, the part that the models have; None if unknown.
    part = None

    @property
    def added(self):
        """The kind of its models, in words."""
        kinds = [type(own) for own in self.models if own is not None]
        words = dict.fromkeys(WORDS.get(own, own.__name__) for own in kinds)
        return " + ".join(filter(None, [super().added, *words]))

    @property
    def marks(self):
        """How much of its answers the models are."""
        if self.part is None:
            return super().marks
        said = "<1%" if self.part < 0.005 else f"{self.part:.0%}"
        return (*super().marks, said)


class LocallyCorrectedRegressor(LocallyCorrected):
    """A fitted regressor, to which predictions of its residual are added.

    Parameters
    ----------
    estimator : fitted regressor
    encoder : fitted transformer of what it sees, to numbers
    models : list of fitted regressors of the residual of each output
        None where the share is zero.
    share : ndarray of shape (n_outputs,)
        By which the predicted residual is multiplied.
    part : float, default=None
        Of the variance of its answers to rows left out, the part that the models have.
    """

    def __init__(self, estimator, encoder, models, share, part=None):
        self.estimator = estimator
        self.encoder = encoder
        self.models = models
        self.share = share
        self.part = part

    @staticmethod
    def inputs(encoded, answers):
        """What a model sees: columns of x, and the answers (n, d)."""
        return np.column_stack([encoded, answers])

    @staticmethod
    def mixed(answers, residual, share):
        """Corrected answers (n, d)."""
        return answers + share * residual

    @staticmethod
    def parts(answers, residual, share):
        """What the expert, and what the models say in corrected answers, (n, d)."""
        return answers, share * residual

    def predict(self, X):
        """Corrected predictions."""
        answers = predicted_values(self.estimator, X, len(self.share))
        inputs = self.inputs(encoded(self.encoder, X), answers)
        residual = np.zeros_like(answers)
        for column, model in zip(residual.T, self.models, strict=True):
            if model is not None:
                column[:] = predicted_values(model, inputs, 1)[:, 0]
        return self.mixed(answers, residual, self.share)


def encoded(encoder, X):
    """Numbers (n, m) of what an expert sees."""
    return encoder.transform(X.toarray() if sparse.issparse(X) else X)


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
    def marks(self):
        """Whether it says the same of every row."""
        if self.temperature < HOTTEST:
            return super().marks
        return (*super().marks, "constant")

    @property
    def classes_(self):
        """Class labels, in the order of the columns of ``predict_proba``."""
        return self.classes

    def predict_proba(self, X):
        """Corrected probabilities."""
        proba = smoothed(aligned_proba(self.estimator, X, self.classes))
        return softmax(np.log(proba) / self.temperature + self.offset, axis=1)


class LocallyCorrectedClassifier(LocallyCorrected):
    """A fitted classifier, in whose log-probabilities those of a model have a share.

    Parameters
    ----------
    estimator : fitted classifier
    encoder : fitted transformer of what it sees, to numbers
    models : list of one fitted classifier, which sees the answer of the first as well
    share : ndarray of shape (1,)
    classes : ndarray of shape (C,)
        Those of the mixture.
    part : float, default=None
        Of the variance of its log-probabilities, the part that the model has.
    """

    def __init__(self, estimator, encoder, models, share, classes, part=None):
        self.estimator = estimator
        self.encoder = encoder
        self.models = models
        self.share = share
        self.classes = classes
        self.part = part

    @property
    def classes_(self):
        """Class labels, in the order of the columns of ``predict_proba``."""
        return self.classes

    @staticmethod
    def inputs(encoded, answers):
        """What the model sees: columns of x, and log-probabilities (n, C)."""
        # Answers of built-in experts are not smoothed in training.
        least = PROBA_FLOOR / answers.shape[1]
        return np.column_stack([encoded, np.log(np.maximum(answers, least))])

    @staticmethod
    def mixed(answers, opinion, share):
        """Corrected probabilities (n, C): a weighted geometric mean, normalised."""
        logs = [np.log(smoothed(proba)) for proba in (answers, opinion)]
        return softmax((1.0 - share) * logs[0] + share * logs[1], axis=1)

    @staticmethod
    def parts(answers, opinion, share):
        """What the expert, and what the model say in log-probabilities, (n, C).

        Around their mean in each row, since only differences count.
        """
        logs = [np.log(smoothed(proba)) for proba in (answers, opinion)]
        logs = [own - own.mean(axis=1, keepdims=True) for own in logs]
        return (1.0 - share) * logs[0], share * logs[1]

    def predict_proba(self, X):
        """Corrected probabilities."""
        answers = smoothed(aligned_proba(self.estimator, X, self.classes))
        inputs = self.inputs(encoded(self.encoder, X), answers)
        opinion = smoothed(aligned_proba(self.models[0], inputs, self.classes))
        return self.mixed(answers, opinion, self.share)
