"""What a fitted expert answers, whatever its kind: arrays in the mixture's order.

Every answer of an estimator passes here, in training and after it.
"""

from contextlib import nullcontext

import numpy as np

from .._tables.answers import LARGEST, answered_proba, answered_values
from ..likelihoods import smoothed
from ._base import BuiltInExpert, CorrectedExpert, traits
from ._foreign import Refusals


def predict_expert(expert, view, classes, n_outputs, offset=None):
    """Prediction (n, d), or smoothed class probabilities (n, C), of one expert.

    One of ``classes`` and ``n_outputs`` says what is predicted, the other is None.
    ``offset`` is what a shared expert adds to the prediction, or to the
    log-probabilities.
    """
    with traits(expert).lent(expert) as own:
        return _prediction(own, view, classes, n_outputs, offset)


def _prediction(expert, view, classes, n_outputs, offset):
    """``predict_expert`` of an expert that is at hand."""
    if classes is None:
        prediction = predicted_values(expert, view, n_outputs)
        return prediction if offset is None else prediction + offset
    proba = aligned_proba(expert, view, classes)
    proba = proba if traits(expert).is_smooth else smoothed(proba)
    if offset is None:
        return proba
    proba = proba * np.exp(offset)
    return proba / proba.sum(axis=1, keepdims=True)


def predicted_values(expert, view, n_outputs):
    """Numbers (n, d) that an expert predicts."""
    with _whose(expert):
        answer = expert.predict(view)
    # Those of built-in experts are numbers while what they read is.
    largest = None if isinstance(expert, BuiltInExpert) else LARGEST
    return answered_values(expert, answer, view.shape[0], n_outputs, largest)


def aligned_proba(expert, X, classes):
    """Class probabilities of an expert in the order of the mixture's classes."""
    with _whose(expert):
        answer = expert.predict_proba(X)
    own = _classes_of(expert)
    look = not isinstance(expert, BuiltInExpert)
    proba = answered_proba(expert, answer, X.shape[0], len(own), look=look)
    if len(own) == len(classes) and np.array_equal(own, classes):
        return proba
    full = np.zeros((proba.shape[0], len(classes)))
    known = np.isin(own, classes)
    full[:, np.searchsorted(classes, own[known])] = proba[:, known]
    return full


def _classes_of(expert):
    try:
        return np.asarray(expert.classes_)
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{expert!r} has no classes_ after its fit, but expected the labels of the "
            "columns of its predict_proba; set them in fit, or use another estimator."
        ) from error


def _whose(expert):
    """Errors of an expert with its name; one that is corrected has named itself."""
    is_corrected = isinstance(expert, CorrectedExpert)
    return nullcontext() if is_corrected else Refusals(expert, "predict")
