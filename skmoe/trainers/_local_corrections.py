"""Corrections that depend on x: what a model that sees x makes of an expert's answer.

Out-of-fold answers show where an expert is wrong.  A model of that is added to them
before they are gated, as far as it is right about rows that it has not seen either.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, sparse
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.multioutput import MultiOutputRegressor

from .._sklearn import routing_enabled
from ..engines import run_calls
from ..experts._corrected import LocallyCorrectedClassifier, LocallyCorrectedRegressor
from ..experts._foreign import fit_expert, seed_unseeded
from ..experts._pool import numeric_encoding
from ._folds import predict_fold

# Small trees, many of them: most of what can be said is in the answer already.
TREES = {
    "learning_rate": 0.05,
    "max_iter": 200,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "max_features": 0.5,
    "early_stopping": False,
}


# Rows below which experts stay as they are.
FEWEST_ROWS = 50


class LocalCorrection(NamedTuple):
    """What is added to the answers of one expert.

    Attributes
    ----------
    encoder : fitted transformer of what the expert sees, to numbers
    model : fitted regressor, or classifier
    share : (d,), or float, by which the model counts
    """

    encoder: Any
    model: Any
    share: Any

    def around(self, expert, classes):
        """The fitted expert with its correction."""
        if classes is None:
            return LocallyCorrectedRegressor(expert, *self)
        return LocallyCorrectedClassifier(expert, *self, classes)


def corrected_locally(task, predictions, blocks, model):
    """Out-of-fold predictions with what models know of their errors.

    Parameters
    ----------
    task : Task
        The rows that were predicted.
    predictions : (n, K, d), or class probabilities (n, K, C)
    blocks : list of pairs of training and test rows
    model : "trees", or an unfitted regressor or classifier

    Returns
    -------
    predictions : array of the same shape
        Those of each row are corrected by a model that has not seen it.
    found : list of LocalCorrection, or None for an expert that is left as it is
    """
    if len(predictions) < FEWEST_ROWS:
        return predictions, [None] * task.n_experts
    corrector = (Residuals if task.classes is None else Opinions)(task, model)
    encodings, calls = {}, []
    for k, view in enumerate(task.expert_views):
        if not sparse.issparse(view) and id(view) not in encodings:
            encoder = numeric_encoding().fit(view)
            encodings[id(view)] = encoder, encoder.transform(view)
        encoding = encodings.get(id(view))
        calls.append((predictions[:, k], encoding, blocks, task.seed_of(k)))
    parts = run_calls(corrector.correct, calls, task.n_jobs)
    answers, found = zip(*parts, strict=True)
    return np.stack(answers, axis=1), list(found)


class Corrector:
    """Fits the model of one expert's errors, and says what it is worth.

    Parameters
    ----------
    task : Task
    model : "trees", or an unfitted regressor or classifier
    """

    def __init__(self, task, model):
        self.task = task
        self.model = self.trees(**TREES) if isinstance(model, str) else model

    def correct(self, answers, encoding, blocks, seed):
        """Corrected answers (n, d) of one expert, and its ``LocalCorrection`` or None.

        ``encoding`` is the encoder and its numbers, or None where there are none.
        """
        if encoding is None:
            return answers, None
        encoder, encoded = encoding
        model = seed_unseeded(clone(self.model), np.random.RandomState(seed))
        inputs, labels = self.kind.inputs(encoded, answers), self.labels(answers)
        if labels.ndim == 2:
            if routing_enabled():
                model.set_fit_request(sample_weight=True)
            model = MultiOutputRegressor(model)
        weight, classes = self.task.weight, self.task.classes
        opinion = np.empty_like(answers)
        for fold in blocks:
            opinion[fold[1]] = predict_fold(
                model, inputs, labels, weight, fold, classes=classes, seed=seed
            )
        share = self.share(answers, opinion)
        if not np.any(share):
            return answers, None
        fitted = fit_expert(model, inputs, labels, weight, seed)
        corrected = self.kind.mixed(answers, opinion, share)
        return corrected, LocalCorrection(encoder, fitted, share)

    def share_that_pays(self, share, before, after):
        """The share, or zero where losses fall by less than their standard error."""
        weight, gain = self.task.weight, before - after
        mean = weight @ gain / weight.sum()
        error = np.sqrt(weight**2 @ (gain - mean) ** 2) / weight.sum()
        return np.where(mean > error, share, 0.0)


class Residuals(Corrector):
    """Regressors: a model of the residual, given x and the answer, is added to it."""

    trees, kind = HistGradientBoostingRegressor, LocallyCorrectedRegressor

    def labels(self, answers):
        """Residuals, (n,) or (n, d)."""
        residual = self.task.y - answers
        return residual[:, 0] if residual.shape[1] == 1 else residual

    def share(self, answers, opinion):
        """Share (d,) of the predicted residuals by which squared errors are least."""
        weight, residual = self.task.weight, self.task.y - answers
        square, product = weight @ opinion**2, weight @ (opinion * residual)
        share = np.clip(product / np.where(square > 0, square, 1.0), 0.0, 1.0)
        left = residual - share * opinion
        return self.share_that_pays(share, residual**2, left**2)


class Opinions(Corrector):
    """Classifiers: a model of the classes, given x and the answer, has a share."""

    trees, kind = HistGradientBoostingClassifier, LocallyCorrectedClassifier

    def labels(self, answers):
        """Class labels (n,)."""
        return self.task.labels

    def share(self, answers, opinion):
        """Share of the model in log-probabilities by which the log-loss is least."""

        def losses(share):
            mixed = self.kind.mixed(answers, opinion, share)
            return -np.log(mixed[np.arange(len(mixed)), self.task.y])

        weight = self.task.weight
        share = optimize.minimize_scalar(
            lambda share: weight @ losses(share), bounds=(0.0, 1.0), method="bounded"
        ).x
        return float(self.share_that_pays(share, losses(0.0), losses(share)))
