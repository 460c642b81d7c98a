"""Corrections that depend on x: what a model that sees x makes of an expert's answer.

Out-of-fold answers show where an expert is wrong.  A model of that is added to them
before they are gated, as far as it is right about rows that it has not seen either.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, sparse
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from ...experts._corrected import LocallyCorrectedClassifier, LocallyCorrectedRegressor
from ...experts._encoding import numeric_encoding, ordinal_encoding
from ...experts._foreign import fit_expert, seed_unseeded
from .._folds import predict_fold
from .gate_stage import mean_and_error

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

# Rows below which experts stay as they are: so few do not bear another model.
FEWEST_ROWS = 200


class LocalCorrection(NamedTuple):
    """What is added to the answers of one expert.

    Attributes
    ----------
    encoder : fitted transformer of what the expert sees, to numbers
    models : list of a fitted classifier, or of a regressor per output
        None where its share is zero.
    share : (1,), or (d,), by which the models count
    part : float, of the variance of corrected answers, that the models have
    """

    encoder: Any
    models: list
    share: np.ndarray
    part: float

    def around(self, expert, classes):
        """The fitted expert with its correction."""
        own = {"part": self.part}
        if classes is None:
            return LocallyCorrectedRegressor(expert, *self[:3], **own)
        return LocallyCorrectedClassifier(expert, *self[:3], classes, **own)


def part_of_variance(kept, added, weight):
    """Of the variance of ``kept + added`` (n, d), the part that ``added`` has.

    By covariances with the sum, so that the parts of both add up to one.
    """
    weight = weight / weight.sum()
    own, whole = (x - weight @ x for x in (added, kept + added))
    total = weight @ whole**2
    moves = total > 0
    if not moves.any():
        return 0.0
    parts = (weight @ (own * whole))[moves] / total[moves]
    return float(np.clip(parts.mean(), 0.0, 1.0))


def check_local(model, task):
    """Raise ``ValueError`` for a model that cannot correct the experts of a task."""
    classify = task.rows.classes is not None
    if not isinstance(model, str) and is_classifier(model) != classify:
        kind = "classifier" if classify else "regressor"
        raise ValueError(
            f"TwoStage got local_correction={model!r}, but expected a {kind}, as the "
            "experts are."
        )
    if classify and not isinstance(model, str) and not hasattr(model, "predict_proba"):
        raise ValueError(
            f"TwoStage got local_correction={model!r}, which has no predict_proba; "
            "wrap it in sklearn.calibration.CalibratedClassifierCV."
        )


def corrected_locally(task, predictions, blocks, model, shares=None):
    """Out-of-fold predictions with what models know of their errors.

    Parameters
    ----------
    task : Task
        The rows that were predicted.
    predictions : (n, K, d), or class probabilities (n, K, C)
    blocks : list of pairs of training and test rows
    model : str, or an unfitted regressor or classifier
        Trees, if it is a string.
    shares : (n, K), default=None
        Of the rows that each expert was fitted to.

    Returns
    -------
    predictions : array of the same shape
        Those of each row are corrected by a model that has not seen it.
    found : list of LocalCorrection, or None for an expert that is left as it is
    """
    # Most classifiers refuse a single class.
    single = task.rows.classes is not None and np.all(task.rows.y == task.rows.y[0])
    if len(predictions) < FEWEST_ROWS or single:
        return predictions, [None] * task.recipe.n_experts
    kind = Residuals if task.rows.classes is None else Opinions
    encodings, calls = {}, []
    for k, view in enumerate(task.rows.expert_views):
        if not sparse.issparse(view) and id(view) not in encodings:
            encoder = local_encoder(model).fit(view)
            encodings[id(view)] = encoder, encoder.transform(view)
        weight = task.rows.weight if shares is None else shares[:, k] * task.rows.weight
        encoding = encodings.get(id(view))
        n_categories = 0 if encoding is None else len(encoding[0].text_)
        own = local_model(model, task.rows.classes is not None, n_categories)
        corrector = kind(task, own, weight, task.recipe.seed_of(k))
        calls.append((corrector, predictions[:, k], encoding, blocks))
    parts = task.recipe.run_fits(Corrector.correct, calls)
    answers, found = zip(*parts, strict=True)
    return np.stack(answers, axis=1), list(found)


def local_encoder(model):
    """Unfitted transformer, to numbers, of what an expert sees.

    Trees split categories as such: one-hot columns would be many, and take long.
    """
    return ordinal_encoding(np.nan) if isinstance(model, str) else numeric_encoding()


def local_model(model, classify, n_categories=0):
    """The unfitted estimator that a ``local_correction`` stands for.

    ``n_categories`` first columns are categories, to trees.
    """
    if not isinstance(model, str):
        return clone(model)
    kind = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    return kind(**TREES, categorical_features=list(range(n_categories)))


class Corrector:
    """Fits models of one expert's errors, and says what they are worth.

    Parameters
    ----------
    task : Task
    model : an unfitted regressor or classifier
    weight : (n,)
    seed : int
    """

    def __init__(self, task, model, weight, seed=0):
        self.task, self.weight, self.seed = task, weight, seed
        self.model = seed_unseeded(model, np.random.RandomState(seed))

    def correct(self, answers, encoding, blocks):
        """Corrected answers (n, d) of one expert, and its ``LocalCorrection`` or None.

        ``encoding`` is the encoder and its numbers, or None where there are none.
        """
        if encoding is None:
            return answers, None
        encoder, encoded = encoding
        inputs = self.kind.inputs(encoded, answers)
        opinion = np.zeros_like(answers)
        for number, fold in enumerate(blocks):
            opinion[fold[1]] = self.unseen(inputs, answers, fold)
            # What gains nothing in the first block is spared the others.
            if not number and not self.share(answers, opinion, fold[1]).any():
                return answers, None
        share = self.share(answers, opinion)
        if not share.any():
            return answers, None
        models = self.fitted(inputs, answers, share)
        corrected = self.kind.mixed(answers, opinion, share)
        parts = self.kind.parts(answers, opinion, share)
        part = part_of_variance(*parts, self.weight)
        return corrected, LocalCorrection(encoder, models, share, part)

    def unseen(self, inputs, answers, fold):
        """What models say of the rows that a fold leaves out, (m, d)."""
        parts = [
            predict_fold(
                self.model,
                inputs,
                target,
                self.weight,
                fold,
                classes=self.task.rows.classes,
                seed=self.seed,
            )
            for target in self.targets(answers)
        ]
        return np.hstack(parts)

    def fitted(self, inputs, answers, share):
        """Models of all rows, None where they have no share."""
        return [
            fit_expert(self.model, inputs, target, self.weight, self.seed)
            if own > 0
            else None
            for target, own in zip(self.targets(answers), share, strict=True)
        ]

    def share_that_pays(self, share, before, after, rows):
        """Shares (d,), zero where losses (m, d) fall by less than a standard error."""
        mean, error = mean_and_error((before - after).T, self.weight[rows])
        return np.where(mean > error, share, 0.0)


class Residuals(Corrector):
    """Regressors: a model of the residual, given x and the answer, is added to it."""

    kind = LocallyCorrectedRegressor

    def targets(self, answers):
        """Residuals (n,) of each output."""
        return list((self.task.rows.y - answers).T)

    def share(self, answers, opinion, rows=slice(None)):
        """Share (d,) of the predicted residuals by which squared errors are least."""
        weight, residual = self.weight[rows], (self.task.rows.y - answers)[rows]
        opinion = opinion[rows]
        square, product = weight @ opinion**2, weight @ (opinion * residual)
        share = np.clip(product / np.where(square > 0, square, 1.0), 0.0, 1.0)
        left = residual - share * opinion
        return self.share_that_pays(share, residual**2, left**2, rows)


class Opinions(Corrector):
    """Classifiers: a model of the classes, given x and the answer, has a share."""

    kind = LocallyCorrectedClassifier

    def targets(self, answers):
        """Class labels (n,), the one target."""
        return [self.task.rows.labels]

    def share(self, answers, opinion, rows=slice(None)):
        """Share (1,) in log-probabilities by which the log-loss is least."""
        weight, y = self.weight[rows], self.task.rows.y[rows]

        def losses(share):
            mixed = self.kind.mixed(answers[rows], opinion[rows], share)
            return -np.log(mixed[np.arange(len(mixed)), y])

        def total(share):
            return weight @ losses(share)

        found = optimize.minimize_scalar(total, bounds=(0.0, 1.0), method="bounded")
        before, after = losses(0.0)[:, None], losses(found.x)[:, None]
        return self.share_that_pays(found.x, before, after, rows)
