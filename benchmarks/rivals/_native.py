"""Packages that read categories of data frames themselves."""

import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from skmoe._tables.columns import text_columns


class NativeCategories(BaseEstimator):
    """Fixes the categories of text columns at the training rows.

    Parameters
    ----------
    estimator : estimator that reads pandas categories
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def __sklearn_tags__(self):
        return get_tags(self.estimator)

    def _frame(self, X):
        X = X.copy()
        for column, categories in self.categories_.items():
            X[column] = pd.Categorical(X[column].astype(str), categories=categories)
        return X

    def fit(self, X, y):
        """Fit; returns self."""
        self.categories_ = {
            c: sorted(X[c].dropna().astype(str).unique()) for c in text_columns(X)
        }
        self.estimator_ = clone(self.estimator).fit(self._frame(X), y)
        if hasattr(self.estimator_, "classes_"):
            self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X):
        """Predictions."""
        return self.estimator_.predict(self._frame(X)).reshape(len(X))

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Class probabilities."""
        return self.estimator_.predict_proba(self._frame(X))


class CatBoostCategories(NativeCategories):
    """CatBoost reads strings, and is told which columns hold them."""

    def _frame(self, X):
        X = X.copy()
        for column in self.categories_:
            X[column] = X[column].astype(object).fillna("missing").astype(str)
        return X

    def fit(self, X, y):
        """Fit; returns self."""
        self.categories_ = dict.fromkeys(text_columns(X))
        model = clone(self.estimator)
        model.set_params(cat_features=list(self.categories_))
        self.estimator_ = model.fit(self._frame(X), y)
        if hasattr(self.estimator_, "classes_"):
            self.classes_ = self.estimator_.classes_
        return self
