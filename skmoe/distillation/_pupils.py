"""The rows that a teacher and its students are fitted to and compared on."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length, check_random_state

from .._sklearn import safe_indexing
from .._tables.frames import as_table
from .._tables.table import row_weights
from ..experts._foreign import fit_expert
from ._lesson import make_lesson

# Probabilities of zero are no infinite loss.
TINY = 1e-15


class Pupils(NamedTuple):
    """Rows and teacher that all students share.

    Attributes
    ----------
    teacher : fitted estimator
    X : table of shape (n, p)
    y : ndarray of shape (n,) or (n, n_outputs)
    weight : ndarray of shape (n,)
        Positive.
    hard_share : float
    seed : int
    """

    teacher: Any
    X: Any
    y: np.ndarray
    weight: np.ndarray
    hard_share: float
    seed: int

    @property
    def classify(self):
        """Whether the teacher is a classifier."""
        return is_classifier(self.teacher)

    def take(self, rows):
        """The same for some rows."""
        own = safe_indexing(self.X, rows), self.y[rows], self.weight[rows]
        return self._replace(X=own[0], y=own[1], weight=own[2])

    def fit(self, model):
        """A clone of a model, fitted to the rows."""
        return fit_expert(model, self.X, self.y, self.weight, self.seed)

    def teach(self, teacher, misses):
        """The lesson by a teacher, who has not seen other rows."""
        rng = np.random.default_rng(self.seed)
        rows = self.X, self.y, self.weight
        return make_lesson(teacher, *rows, misses, self.hard_share, rng)

    def losses(self, model):
        """Loss of each row (n,): squared error, or minus the log-probability."""
        if not self.classify:
            return (np.reshape(model.predict(self.X), self.y.shape) - self.y) ** 2
        proba, known = model.predict_proba(self.X), np.asarray(model.classes_)
        own = (proba * (self.y[:, None] == known)).sum(axis=1) / proba.sum(axis=1)
        return -np.log(np.maximum(own, TINY))


def make_pupils(teacher, X, y, sample_weight, hard_share, random_state):
    """Rows of positive weight, as arrays or the frame that they came in."""
    X, weight = as_table(X), row_weights(X, sample_weight)
    y = np.asarray(y) if is_classifier(teacher) else np.asarray(y, dtype=float)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    check_consistent_length(X, y)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    pupils = Pupils(teacher, X, y, weight, hard_share, seed)
    return pupils if weight.all() else pupils.take(np.flatnonzero(weight))
