"""What a fitted expert answers, whatever its kind: arrays in the mixture's order."""

import numpy as np

from ..likelihoods import smoothed
from ._base import BuiltInExpert, traits
from ._foreign import refusals


def predict_expert(expert, view, classes, offset=None, *, check=True):
    """Prediction (n, d), or smoothed class probabilities (n, C), of one expert.

    ``offset`` is what a shared expert adds to the prediction, or to the
    log-probabilities.  Without ``check`` answers that are no numbers are the caller's
    to refuse, who knows the expert's name.
    """
    if classes is None:
        with refusals(expert, "predict"):
            prediction = np.asarray(expert.predict(view), dtype=float)
            prediction = finite(prediction, expert) if check else prediction
        prediction = prediction.reshape(prediction.shape[0], -1)
        return prediction if offset is None else prediction + offset
    proba = aligned_proba(expert, view, classes, check=check)
    proba = proba if traits(expert).is_smooth else smoothed(proba)
    if offset is None:
        return proba
    proba = proba * np.exp(offset)
    return proba / proba.sum(axis=1, keepdims=True)


def aligned_proba(expert, X, classes, *, check=True):
    """Class probabilities of an expert in the order of the mixture's classes."""
    with refusals(expert, "predict"):
        proba = np.asarray(expert.predict_proba(X))
        proba = finite(proba, expert) if check else proba
    own = expert.classes_
    if len(own) == len(classes) and np.array_equal(own, classes):
        return proba
    full = np.zeros((proba.shape[0], len(classes)))
    known = np.isin(own, classes)
    full[:, np.searchsorted(classes, own[known])] = proba[:, known]
    return full


def finite(values, expert):
    """The answers of an expert; an error where another library's are no numbers."""
    if not isinstance(expert, BuiltInExpert) and not np.isfinite(values).all():
        raise ValueError("it answers NaN or infinity")
    return values
