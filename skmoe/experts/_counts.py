"""Free parameters of fitted estimators: one rule for each kind, in one table.

Nothing that is frozen is free.  Of a linear model a column counts once, however many
others it is a sum of, and a coefficient of zero not at all; there is an intercept only
where one was fitted.  An estimator of another kind says so itself by ``n_parameters_``.
"""

from functools import singledispatch

import numpy as np
from scipy import sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RANSACRegressor
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline

from .._numerics.grams import Columns
from .._numerics.multinomial import softmax_parameters
from ._base import BuiltInExpert
from ._corrected import CorrectedClassifier, CorrectedRegressor

UNKNOWN = Columns()


@singledispatch
def expert_parameters(expert, columns=UNKNOWN):
    """Number of free parameters of a fitted estimator, or None if it has no count.

    Parameters
    ----------
    expert : fitted estimator
    columns : Columns, default=UNKNOWN
        What it was fitted to.
    """
    if hasattr(expert, "n_parameters_"):
        return expert.n_parameters_
    if hasattr(expert, "coef_") and hasattr(expert, "intercept_"):
        return linear_parameters(expert, columns)
    return None


def linear_parameters(model, columns):
    """Coefficients that are not zero, up to the rank of the columns, and intercepts."""
    coef = np.atleast_2d(_dense(model.coef_))
    intercept = model.get_params(deep=False).get("fit_intercept", True)
    most = columns.rank(centred=bool(intercept))
    free = np.minimum(np.count_nonzero(coef, axis=1), most).sum()
    return int(free + len(coef) * bool(intercept))


def _dense(coef):
    return coef.toarray() if sparse.issparse(coef) else np.asarray(coef)


@expert_parameters.register
def _(expert: BuiltInExpert, columns=UNKNOWN):
    return expert.count(columns)


@expert_parameters.register
def _(expert: FrozenEstimator, columns=UNKNOWN):
    return 0


@expert_parameters.register
def _(expert: DummyRegressor, columns=UNKNOWN):
    return 0 if expert.strategy == "constant" else int(np.size(expert.constant_))


@expert_parameters.register
def _(expert: DummyClassifier, columns=UNKNOWN):
    fixed = expert.strategy in ("constant", "uniform")
    return 0 if fixed else int(np.sum(np.asarray(expert.n_classes_) - 1))


@expert_parameters.register(LogisticRegression)
@expert_parameters.register(LinearDiscriminantAnalysis)
def _(expert, columns=UNKNOWN):
    """One class of several is what the others are compared with."""
    coef = np.atleast_2d(_dense(expert.coef_))
    if len(coef) == 1:
        return linear_parameters(expert, columns)
    intercept = bool(expert.get_params(deep=False).get("fit_intercept", True))
    return softmax_parameters(coef, columns.rank(centred=intercept), intercept)


@expert_parameters.register(MLPRegressor)
@expert_parameters.register(MLPClassifier)
def _(expert, columns=UNKNOWN):
    return sum(part.size for part in (*expert.coefs_, *expert.intercepts_))


@expert_parameters.register
def _(expert: Pipeline, columns=UNKNOWN):
    """That of the last step; the others only transform."""
    for _name, step in expert.steps[:-1]:
        if step is not None and step != "passthrough":
            columns = columns.through(step.transform)
    return expert_parameters(expert.steps[-1][1], columns)


@expert_parameters.register
def _(expert: TransformedTargetRegressor, columns=UNKNOWN):
    return expert_parameters(expert.regressor_, columns)


@expert_parameters.register(GridSearchCV)
@expert_parameters.register(RandomizedSearchCV)
def _(expert, columns=UNKNOWN):
    return expert_parameters(expert.best_estimator_, columns)


@expert_parameters.register(RANSACRegressor)
@expert_parameters.register(FixedThresholdClassifier)
@expert_parameters.register(TunedThresholdClassifierCV)
def _(expert, columns=UNKNOWN):
    return expert_parameters(expert.estimator_, columns)


@expert_parameters.register
def _(expert: RFE, columns=UNKNOWN):
    return expert_parameters(expert.estimator_, columns.through(expert.transform))


@expert_parameters.register
def _(expert: MultiOutputRegressor, columns=UNKNOWN):
    counts = [expert_parameters(own, columns) for own in expert.estimators_]
    return None if None in counts else sum(counts)


@expert_parameters.register
def _(expert: CorrectedRegressor, columns=UNKNOWN):
    own = expert_parameters(expert.estimator, columns)
    return None if own is None else own + expert.slope.size + expert.intercept.size


@expert_parameters.register
def _(expert: CorrectedClassifier, columns=UNKNOWN):
    own = expert_parameters(expert.estimator, columns)
    return None if own is None else own + expert.offset.size
