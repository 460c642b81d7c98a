"""Linear experts of classes: multinomial logistic regression."""

from __future__ import annotations

import copy

import numpy as np

from .._numerics.design import known_design, make_design, read_only
from .._numerics.evidence import probed_softmax, ridge_of_softmax
from .._numerics.linalg import Penalty, use_products
from .._numerics.multinomial import (
    ByProducts,
    fit_multinomial,
    fit_near,
    multinomial_statistics,
    softmax_parameters,
)
from ._linear import LinearExpert
from ._sums import ClassSums


class LinearClassifierExpert(LinearExpert):
    """Multinomial logistic regression, as :class:`LinearExpert` in a classifier.

    Parameters
    ----------
    alpha : float, default=1.0
        As in :class:`LinearExpert`; the inverse of the ``C`` of
        :class:`sklearn.linear_model.LogisticRegression` on standardised columns.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_, intercept_ : ndarray of shape (n_classes, p), (n_classes,)
    """

    def _shaped(self, slopes, intercepts):
        return slopes, intercepts

    def _count(self, slopes, rank=np.inf):
        if self.counts_effective:
            return self.effective_ + len(slopes) - 1
        return softmax_parameters(slopes, rank)

    def _mirrored(self):
        """Two mirrored sets of coefficients share the ridge of one log-odds."""
        return 2.0 if len(self.classes_) == 2 else 1.0

    def class_penalty(self):
        """Ridge and lasso of the coefficients of each class."""
        ridge, lasso = Penalty.of(self)
        return ridge * self._mirrored(), lasso

    def sums(self, X, weight, scales, output_scales):
        """By Newton steps."""
        return ClassSums(self, make_design(X, weight, self.standardize, scales))

    def with_classes(self, classes, n_rows):
        """Unseen classes are as likely as one row in all of them."""
        if len(self.classes_) == len(classes):
            return self
        known, expert = np.searchsorted(classes, self.classes_), copy.copy(self)
        coef = np.zeros((len(classes), self.coef_.shape[1]))
        least = self.intercept_.min() - np.log(max(n_rows, 2.0))
        intercept = np.full(len(classes), least)
        coef[known], intercept[known] = self.coef_, self.intercept_
        expert.classes_, expert.coef_, expert.intercept_ = classes, coef, intercept
        return expert

    def renewed(self, design, y, weight, *, classes=None, offset=None):
        """As in regression; ``offset`` (n, n_classes) is added to the logits, and all
        ``classes`` are those of the expert."""
        labels, codes = np.unique(y, return_inverse=True)
        targets, coef = np.eye(len(labels))[codes], self.standardised(design)
        near = self.class_penalty()[0]
        if use_products(design.X, len(labels)):
            model = ByProducts(design, targets * weight[:, None], offset=offset)
            chosen = probed_softmax(model, model.evaluate(coef)[1], coef, near)
        else:
            offset = np.zeros((0, len(labels))) if offset is None else offset
            data = design, read_only(targets), read_only(weight, float)
            _, _, grams = multinomial_statistics(*data, coef, read_only(offset))
            chosen = ridge_of_softmax(grams, coef, near)
        if chosen is not None:
            chosen = chosen._replace(ridge=chosen.ridge / self._mirrored())
        return self.moved_to(chosen)

    def fit_design(self, design, y, weight, offset=None):
        """As in regression; ``offset`` (n, n_classes) is added to the logits."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        n_classes = len(self.classes_)
        ridge, lasso = self.class_penalty()
        coef, self.converged_ = fit_multinomial(
            design,
            read_only(np.eye(n_classes)[codes]),
            read_only(weight, float),
            np.zeros((n_classes, design.X.shape[1] + 1)),
            ridge,
            lasso=lasso,
            offset=offset,
        )
        return self.set_standardised(coef, design)

    def fit_near(self, anchor, pull, previous, X, y, weight, *, classes, offset=None):
        """By Newton steps, on columns that are standardised as the anchor's."""
        self.with_penalty_of(previous)
        self.classes_, design = classes, known_design(X, anchor)
        codes, n_rows = np.searchsorted(classes, y), weight.sum()
        own = [
            expert.with_classes(classes, n_rows).standardised(design)
            for expert in (previous, anchor)
        ]
        targets = read_only(np.eye(len(classes))[codes])
        rows = design, targets, read_only(weight, float)
        ridge, pull = self.class_penalty()[0], pull * self._mirrored()
        offset = 0.0 if offset is None else offset
        coef, self.converged_ = fit_near(*rows, *own, ridge, pull, offset)
        return self.set_standardised(coef, design)

    def way_from(self, anchor):
        """Squared distances (n_classes,), where all of them are known to both."""
        anchor = anchor.with_classes(self.classes_, 2.0)
        return self._mirrored() * super().way_from(anchor)

    def predict_proba(self, X):
        """Class probabilities (n, n_classes)."""
        logits = self._linear(X)
        logits -= logits.max(axis=1, keepdims=True)
        proba = np.exp(logits)
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Most probable labels (n,)."""
        return self.classes_[self._linear(X).argmax(axis=1)]

    @property
    def biased_by_ridge(self):
        """None of what it predicts is corrected for the ridge."""
        return False

    def penalty(self, variance=1.0, unit=1.0):
        """Penalty in nats, whatever the unit."""
        ridge, lasso = self.class_penalty()
        squares, absolutes = self._squared_norms.sum(), self._absolute_norms.sum()
        return float(0.5 * ridge * squares + lasso * absolutes)


LinearExpert._classifier = LinearClassifierExpert
