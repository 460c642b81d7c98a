"""A mixture within searches and pipelines, asked about the table that a user has."""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._estimators.answers import fitted_mixture, read
from .._estimators.shown import only_stacks, shown_names
from .._tables.frames import as_table, column_labels, is_frame
from ..data import RowSource

# Where searches, and mixtures on disk, have what they stand for.
INNER = ("best_estimator_", "mixture_")


class Unwrapped(NamedTuple):
    """A fitted mixture, and what is done to a table before it sees it.

    Attributes
    ----------
    mixture : fitted mixture
    before : tuple of fitted transformers, the first of them first
    """

    mixture: object
    before: tuple = ()

    @property
    def named_experts_(self):
        """Experts of the mixture by name."""
        return self.mixture.named_experts_

    @property
    def shown_names(self):
        """What the experts are called where people read it."""
        return shown_names(self.mixture)

    @property
    def only_stacks(self):
        """Whether the gate says the same of every row."""
        return only_stacks(self.mixture)

    @property
    def is_classifier(self):
        """Whether the mixture predicts classes."""
        return is_classifier(self.mixture)

    def target_name(self, output=0):
        """What the target is called, or one of several outputs."""
        target = fitted_mixture(self.mixture).target
        if target.names:
            return target.names[output]
        several = target.n_outputs is not None and target.n_outputs > 1
        return f"y{output}" if several else "y"

    def seen(self, X):
        """What the mixture sees of a table."""
        for transformer in self.before:
            X = transformer.transform(X)
        return X

    def read(self, X):
        """The parts of the mixture, and rows as a validated table."""
        return read(self.mixture, self.seen(X))

    def gate_proba(self, X):
        """Gate weights (n, K) of rows."""
        return self.mixture.gate_proba(self.seen(X))

    def predict_experts(self, X, **sizes):
        """Predictions of each expert, (n, K) or (n, K, d)."""
        return self.mixture.predict_experts(self.seen(X), **sizes)

    def responsibilities(self, X, y, **sizes):
        """Posterior probabilities (n, K) of the experts."""
        return self.mixture.responsibilities(self.seen(X), y, **sizes)

    def names(self, X):
        """Names of the columns of a table, as it has them or as they were in fit."""
        if is_frame(X):
            return list(X.columns)
        first = self.before[0] if self.before else self.mixture
        known = getattr(first, "feature_names_in_", None)
        given = column_labels(X)
        return [f"x{j}" for j in given] if known is None else list(known)

    @property
    def made(self):
        """Names of the columns that the mixture sees, where a pipeline makes them.

        None where it sees the table itself, or what makes them has no names.
        """
        if not self.before:
            return None
        try:
            return [str(name) for name in self.before[-1].get_feature_names_out()]
        except (AttributeError, ValueError):
            # A step has no names for what it makes.
            return None

    @property
    def inner_names(self):
        """Names of all columns that the mixture sees."""
        if self.made is not None:
            return self.made
        alone = Unwrapped(self.mixture)
        names = alone.names(np.empty((0, self.mixture.n_features_in_)))
        return [str(name) for name in names]

    def refitted(self, X, y):
        """Steps fitted to other rows, and what the mixture would see of them."""
        before = tuple(clone(own) for own in self.before)
        for transformer in before:
            X = transformer.fit_transform(X, y)
        return self._replace(before=before), X


def rows_of(X, owner):
    """A user's table of rows, in memory.

    Raises ``ValueError`` for rows on disk, and for what has other than two axes.
    """
    if isinstance(X, RowSource):
        raise ValueError(
            f"{owner} got a RowSource, but expected rows in memory; read some of them "
            "into a table, and give that."
        )
    X = as_table(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"{owner} got X of shape {tuple(X.shape)}, but expected a table of shape "
            "(n, p), which comes before y; of one row give X.iloc[[i]], or X[[i]] of "
            "an array."
        )
    return X


def unwrap(estimator):
    """The ``Unwrapped`` of a mixture, or of a search or pipeline around one.

    Raises
    ------
    ValueError
        If there is no mixture in it.
    NotFittedError
    """
    before = []
    while not isinstance(estimator, Unwrapped):
        check_is_fitted(estimator)
        if isinstance(estimator, Pipeline):
            if len(estimator) > 1:
                before.append(estimator[:-1])
            estimator = estimator[-1]
            continue
        inner = _inner(estimator)
        if inner is None:
            break
        estimator = inner
    else:
        return estimator
    if not hasattr(estimator, "named_experts_"):
        raise ValueError(
            f"got {type(estimator).__name__}, but expected a fitted mixture, or a "
            "search or pipeline whose last step is one; pass that mixture itself."
        )
    return Unwrapped(estimator, tuple(before))


def _inner(estimator):
    """The estimator that another one stands for, or None."""
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    found = (getattr(estimator, name, None) for name in INNER)
    return next((own for own in found if own is not None), None)
