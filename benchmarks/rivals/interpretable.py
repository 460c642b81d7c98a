"""skmoe: few linear experts on piecewise-linear columns, their number by validation."""

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from skmoe import MoEClassifier, MoERegressor
from skmoe._tables.features import PiecewiseLinear
from skmoe.experts import AutoPool, LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV
from skmoe.trainers import EM

NAME = "skmoe interpretable"
SIZES = (1, 2, 4)
ALPHAS = (10.0, 1.0)
FOLDS = 3
N_MEMBERS = 5


def graded(X):
    """Columns with more than two values; ramps of an indicator would be itself."""
    return [j for j in range(X.shape[1]) if len(np.unique(X[:, j])) > 2]


def make(classify, seed, pool):
    """Number of experts and penalty by three folds; then an average of five."""
    kind = MoEClassifier if classify else MoERegressor
    search = MoEClassifierCV if classify else MoERegressorCV
    mixture = kind(
        LinearExpert(),
        gate=SoftmaxGate(alpha=1.0),
        expert_features=make_column_transformer(
            (PiecewiseLinear(5), graded), remainder="passthrough"
        ),
        trainer=EM(max_iter=100, tol=1e-4),
        random_state=seed,
    )
    grid = {"experts__alpha": list(ALPHAS)}
    chosen = search(mixture, n_experts=SIZES, param_grid=grid, cv=FOLDS, rule="best")
    return make_pipeline(AutoPool().encoding(), Averaged(chosen, N_MEMBERS))


class Averaged(BaseEstimator):
    """The mixture that a search chooses, as an average of several starts."""

    def __init__(self, search, n_members):
        self.search = search
        self.n_members = n_members

    def fit(self, X, y):
        """Search, then fit the average; a single expert has no other start."""
        best = clone(self.search).fit(X, y).best_estimator_
        members = 1 if best.n_experts_ == 1 else self.n_members
        self.model_ = clone(best).set_params(n_members=members).fit(X, y)
        if hasattr(self.model_, "classes_"):
            self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        """Mean, or label."""
        return self.model_.predict(X)

    def predict_proba(self, X):
        """Class probabilities."""
        return self.model_.predict_proba(X)
