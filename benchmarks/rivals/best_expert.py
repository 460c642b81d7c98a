"""The one of the same experts that is best by inner cross-validation."""

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from ._experts import folds, over_pool

NAME = "best expert by CV"


class BestOf:
    """Chooses among experts.

    Parameters
    ----------
    experts : list of (name, estimator)
    scoring : str
    cv : splitter
    """

    def __init__(self, experts, scoring, cv):
        self.experts, self.scoring, self.cv = experts, scoring, cv

    def fit(self, X, y):
        """Compare the experts; returns the best one, fitted to all rows."""
        options = {"cv": self.cv, "scoring": self.scoring, "error_score": -np.inf}
        scores = [
            cross_val_score(expert, X, y, **options).mean()
            for _, expert in self.experts
        ]
        return clone(self.experts[int(np.argmax(scores))][1]).fit(X, y)


def make(classify, seed, pool):
    """The choice within the pool."""
    scoring = "neg_log_loss" if classify else "neg_mean_squared_error"

    def build(experts):
        return BestOf(experts, scoring, folds(classify, seed))

    return over_pool(classify, build, pool)
