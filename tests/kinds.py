"""Fitted models of every kind, and all that they say of rows."""

import functools
import warnings

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
    experts,
    gates,
    routers,
    trainers,
)
from skmoe.datasets import make_gated_regression
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV

N_ROWS, N_ASKED = 100, 6
SHORT = trainers.Gradient(max_epochs=2)
ROUTERS = [vars(routers)[name]() for name in routers.__all__ if "Router" in name]
FEW_MEMBERS = experts.AutoPool(["linear", "boosting"])
X, Y = make_gated_regression(N_ROWS, 4, 3, random_state=0)
POSITIVE = np.exp(Y / Y.std())
TARGETS = {
    "real": Y,
    "two": np.column_stack([Y, X[:, 0]]),
    "counts": np.floor(POSITIVE),
    "zeros": np.where(X[:, 0] < 0, 0.0, np.floor(POSITIVE)),
    "positive": POSITIVE,
    "chances": (Y > 0) * 1.0,
    "classes": np.array(["low", "mid", "high"])[np.digitize(Y, [-1.0, 1.0])],
}
TABLE = pd.DataFrame(X[:, :2], columns=["age", "size"])
TABLE["town"] = np.array(["Rome", "Oslo", "Lima"])[np.digitize(X[:, 2], [-0.5, 0.5])]
TABLE.loc[3, "age"] = np.nan

# What kinds read whose names begin so; the others read X.
TABLES = {"table": TABLE, "flat": np.column_stack([X, np.ones(N_ROWS)])}
# Target and model by name; those that begin with "batch" learn from two of them.
KINDS = {
    "linear": ("real", MoERegressor(n_experts=2)),
    "sparse": ("real", MoERegressor(n_experts=3, router=1)),
    "counted": ("real", MoERegressor(n_init=1)),
    "outputs": ("two", MoERegressor(n_experts=2)),
    "members": (
        "real",
        MoERegressor(n_experts=2, n_members=2, gate_features="piecewise-linear"),
    ),
    "gaussian gate": (
        "real",
        MoERegressor([LinearRegression(), DecisionTreeRegressor()], gate="gaussian"),
    ),
    "foreign gate": (
        "real",
        MoERegressor(n_experts=2, gate=DecisionTreeClassifier(), trainer="hard-em"),
    ),
    "group gate": ("real", MoERegressor(n_experts=2, gate=gates.GroupGate(0))),
    "student": ("real", MoERegressor(None, 2, gate="constant", likelihood="student-t")),
    "shared": (
        "real",
        MoERegressor(
            n_experts=2, shared_expert=LinearRegression(), likelihood="laplace"
        ),
    ),
    "variances": ("real", MoERegressor(n_experts=2, likelihood="heteroscedastic")),
    "families": ("real", MoERegressor(None, 2, likelihood=["gaussian", "student-t"])),
    "noise": ("real", MoERegressor(n_experts=2, noise=True)),
    "constant noise": ("real", MoERegressor(n_experts=2, noise="constant")),
    "prediction": (
        "real",
        MoERegressor(n_experts=2, trainer=trainers.EM(objective="prediction")),
    ),
    "networks": (
        "real",
        MoERegressor(
            experts.MLPExpert((4,)), 2, gate=gates.MLPGate((4,)), trainer=SHORT
        ),
    ),
    "curves": ("real", MoERegressor("additive", 2, gate="additive")),
    "local corrections": (
        "real",
        MoERegressor(
            [LinearRegression(), DecisionTreeRegressor()],
            trainer=trainers.TwoStage(cv=2, local_correction="trees"),
        ),
    ),
    "pool": (
        "real",
        MoERegressor(experts.AutoPool(["linear", "neighbours"]), trainer="two-stage"),
    ),
    "frozen": (
        "real",
        MoERegressor([FrozenEstimator(Ridge().fit(X, Y)), LinearRegression()]),
    ),
    "tree": ("real", HierarchicalMoERegressor(branching=(2, 2))),
    "grown tree": (
        "real",
        HierarchicalMoERegressor(branching="grow", max_leaf_nodes=3),
    ),
    "search": ("real", MoERegressorCV(n_experts=[1, 2], cv=2)),
    "their search": (
        "real",
        GridSearchCV(MoERegressor(n_experts=2), {"n_experts": [1, 2]}, cv=2),
    ),
    "pipeline": ("real", make_pipeline(StandardScaler(), MoERegressor(n_experts=2))),
    "counts": ("counts", MoERegressor(n_experts=2, likelihood="poisson")),
    "dispersed counts": (
        "counts",
        MoERegressor(n_experts=2, likelihood="negative-binomial"),
    ),
    "zeros": (
        "zeros",
        MoERegressor(n_experts=1, likelihood="poisson", zero_inflation=True),
    ),
    "amounts": ("positive", MoERegressor(n_experts=2, likelihood="gamma")),
    "chances": ("chances", MoERegressor(n_experts=2, likelihood="binomial")),
    "classes": ("classes", MoEClassifier(n_experts=2)),
    "class networks": (
        "classes",
        MoEClassifier(experts.MLPExpert((4,)), 2, trainer=SHORT),
    ),
    "class stages": (
        "classes",
        MoEClassifier(
            [LogisticRegression(), DecisionTreeClassifier()], trainer="two-stage"
        ),
    ),
    "class tree": ("classes", HierarchicalMoEClassifier(branching=(2, 2))),
    "class search": ("classes", MoEClassifierCV(n_experts=[1, 2], cv=2)),
    "flat experts": (
        "real",
        MoERegressor([LinearRegression(), DecisionTreeRegressor()]),
    ),
    "batch": ("real", MoERegressor(n_experts=2)),
    "batch curves": ("real", MoERegressor("additive", 2, gate="additive")),
    "batch student": (
        "real",
        MoERegressor(n_experts=2, likelihood="student-t", gate="gaussian"),
    ),
    "batch networks": ("real", MoERegressor("mlp", 2, trainer=SHORT)),
    "table curves": ("real", MoERegressor("additive", 2)),
    "table pool": ("real", MoERegressor(FEW_MEMBERS, trainer="two-stage")),
    "table encoded": (
        "classes",
        make_pipeline(
            make_column_transformer((OneHotEncoder(), ["town"]), ("drop", ["age"])),
            MoEClassifier(n_experts=2),
        ),
    ),
    **{
        type(router).__name__: (
            "real",
            MoERegressor(n_experts=4, router=router, trainer=SHORT),
        )
        for router in ROUTERS
        if type(router) is not routers.BaseRouter
    },
}


def rows_of(name):
    """The table and the target of a kind."""
    return TABLES.get(name.split()[0], X), TARGETS[KINDS[name][0]]


@functools.cache
def fitted(name):
    """A model of a kind; not to be changed, as it is made once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, (table, target) = clone(KINDS[name][1]), rows_of(name)
        if not name.startswith("batch"):
            return model.fit(table, target)
        for half in np.split(np.arange(N_ROWS), 2):
            model.partial_fit(table[half], target[half])
        return model


# What a model may say of a table, and what it needs beside it.
OF_ROWS = {
    "predict": {},
    "predict_proba": {},
    "predict_log_proba": {},
    "transform": {},
    "gate_proba": {},
    "route": {},
    "predict_experts": {},
    "predict_mode": {},
    "predict_quantile": {"q": [0.1, 0.5]},
    "predict_interval": {"coverage": 0.8},
    "sample_y": {"n_samples": 2, "random_state": 0},
}
OF_TARGETS = ("log_density", "responsibilities", "outlier_proba", "score", "bic")


QUICK = ("predict", "predict_proba", "log_density", "responsibilities")


def answers(name, model, only=None):
    """All that a model says of a few rows, by method; of some that it has no answer.

    ``only`` names methods.
    """
    table, target = (own[:N_ASKED] for own in rows_of(name))
    calls = [(own, (table,), given) for own, given in OF_ROWS.items()]
    calls += [("predict", (table,), {"return_std": True})]
    calls += [(own, (table, target), {}) for own in OF_TARGETS]
    found = {}
    for method, rows, given in calls:
        if not hasattr(model, method) or (only and method not in only):
            continue
        try:
            said = getattr(model, method)(*rows, **given)
        except (AttributeError, TypeError, ValueError) as error:
            said = str(error)
        found[method, *given] = said
    return found


@functools.cache
def said(name):
    """The answers of the fitted model of a kind."""
    return answers(name, fitted(name))
