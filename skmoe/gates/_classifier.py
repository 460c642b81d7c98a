"""Any scikit-learn classifier as a gate."""

from __future__ import annotations

import copy
import functools

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression

from .._sklearn import safe_indexing
from .._tables.features import allows
from .._warnings import heard, tell, unheard
from ..experts._answers import aligned_proba
from ..experts._counts import expert_parameters
from ..experts._foreign import (
    Refusals,
    holds_frozen,
    takes_weight,
    weight_arguments,
)
from ._base import BaseGate

# Responsibilities below this share of a row are left out of the stacked rows.
SMALLEST_SHARE = 1e-3
# Log-weights are bounded below: a gate that gives an expert probability zero could
# never give it back a row.
SMALLEST_PROBA = 1e-8
# Rows by which a classifier shows whether it reads a table as it is.
TRIAL_ROWS = 64


class ClassifierGate(BaseGate):
    """Gate made of any classifier that takes ``sample_weight``.

    Soft targets are passed as weights: each row enters once for every expert that
    answers for more than 0.1 % of it.  ``MoERegressor(gate=some_classifier)`` wraps
    the classifier in this class.

    Parameters
    ----------
    classifier : estimator, default=None
        ``None`` stands for :class:`sklearn.linear_model.LogisticRegression`.

    Attributes
    ----------
    classifier_ : fitted estimator
    n_parameters_ : int or None

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skmoe.gates import ClassifierGate
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> resp = np.array([[1.0, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    >>> gate = ClassifierGate(DecisionTreeClassifier()).fit(X, resp)
    >>> np.exp(gate.predict_log_proba(X)).round(3)[:, 0].tolist()
    [1.0, 0.75, 0.25, 0.0]
    """

    numeric = False

    def __init__(self, classifier: BaseEstimator | None = None) -> None:
        self.classifier = classifier

    @property
    def exchangeable(self):
        """Whether the classifier learns all its classes; what is frozen does not."""
        return not holds_frozen(self._resolved())

    @property
    def foreign(self):
        """The classifier."""
        return self._resolved()

    def _resolved(self):
        return LogisticRegression() if self.classifier is None else self.classifier

    def reads(self, X):
        """Whether the classifier can be fitted to some rows of the table."""
        rows = np.unique(np.linspace(0, X.shape[0] - 1, TRIAL_ROWS).astype(int))
        classifier, labels = clone(self._resolved()), np.arange(len(rows)) % 2
        weights = weight_arguments(classifier, np.ones(len(rows)))
        try:
            with unheard():
                classifier.fit(safe_indexing(X, rows), labels, **weights)
        except (TypeError, ValueError):
            return False
        return True

    def allows(self, what):
        """Whether the classifier declares that X may have it."""
        return allows(self._resolved(), what)

    def check(self):
        classifier = self._resolved()
        if not takes_weight(classifier):
            raise ValueError(
                f"The gate {type(classifier).__name__} takes no sample_weight, which "
                "carries the soft targets; use a classifier whose fit takes "
                "sample_weight, or gate='softmax'."
            )
        if not hasattr(classifier, "predict_proba"):
            raise ValueError(
                f"The gate {type(classifier).__name__} has no predict_proba; wrap it "
                "in sklearn.calibration.CalibratedClassifierCV or use gate='softmax'."
            )

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        self.check()
        resp = np.asarray(resp)
        weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        # In a tree rows sum to the mass of the node, which is part of their weight.
        mass = resp.sum(axis=1, keepdims=True)
        shares = np.where(resp < SMALLEST_SHARE * mass, 0.0, resp)
        total = shares.sum(axis=1, keepdims=True)
        shares *= np.divide(mass, total, out=np.zeros_like(total), where=total > 0)
        shares *= weight[:, None]
        # The class of each expert; another one once the experts change places.
        self._classes = np.arange(resp.shape[1])
        labels, rows = np.nonzero(shares.T)
        stacked = shares.T[labels, rows]
        if len(np.unique(labels)) <= 1:
            # Many classifiers refuse a single class; the answer is known anyway.
            self._only, self.n_parameters_ = int(labels[0]) if len(labels) else 0, 0
            return self
        self._only = None
        classifier = clone(self._resolved())
        arguments = weight_arguments(classifier, stacked)
        call = functools.partial(classifier.fit, **arguments)
        with Refusals(classifier, "be fitted as a gate"):
            self.classifier_, said = heard(call, safe_indexing(X, rows), labels)
        tell([said])
        self.n_parameters_ = expert_parameters(self.classifier_)
        return self

    def reordered(self, order):
        gate = copy.copy(self)
        gate._classes = self._classes[order]
        if self._only is not None:
            gate._only = int(np.flatnonzero(np.equal(order, self._only))[0])
        return gate

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the gate was fitted to."""
        if self._only is None:
            self.n_parameters_ = expert_parameters(self.classifier_, columns)
        return self.n_parameters_

    def predict_log_proba(self, X):
        if self._only is None:
            classes = np.arange(len(self._classes))
            proba = aligned_proba(self.classifier_, X, classes)[:, self._classes]
            # In single precision rows would not sum to one.
            proba = proba.astype(float)
        else:
            proba = np.zeros((X.shape[0], len(self._classes)))
            proba[:, self._only] = 1.0
        proba = np.maximum(proba, SMALLEST_PROBA)
        return np.log(proba / proba.sum(axis=1, keepdims=True))
