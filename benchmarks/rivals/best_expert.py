"""The one of the same experts that is best by inner cross-validation."""

import numpy as np
from sklearn.base import clone

from ._experts import folds, over_pool
from ._loss import loss_of

NAME = "best expert by CV"


class BestOf:
    """Chooses among experts.

    Parameters
    ----------
    experts : list of (name, estimator)
    classify : bool
    cv : splitter
    """

    def __init__(self, experts, classify, cv):
        self.experts, self.classify, self.cv = experts, classify, cv

    def fit(self, X, y):
        """Compare the experts; returns the best one, fitted to all rows."""
        task = "classification" if self.classify else "regression"
        losses = []
        for _, expert in self.experts:
            own = [
                loss_of(
                    task,
                    clone(expert).fit(X.iloc[train], y[train]),
                    X.iloc[test],
                    y[test],
                    np.unique(y),
                )
                for train, test in self.cv.split(X, y)
            ]
            losses.append(np.mean(own))
        return clone(self.experts[int(np.argmin(losses))][1]).fit(X, y)


def make(classify, seed, pool):
    """The choice within the pool."""

    def build(experts):
        return BestOf(experts, classify, folds(classify, seed))

    return over_pool(classify, build, pool)
