"""Uses of skmoe that a type checker reads; never run."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.data import RowSource
from skmoe.gates import SoftmaxGate
from skmoe.inspection import expert_usage, export_text, report
from skmoe.model_selection import MoERegressorCV
from skmoe.routers import Routing, TopKRouter
from skmoe.trainers import EM

X, y = np.zeros((10, 2)), np.zeros(10)
Floats = NDArray[Any]

model = MoERegressor(
    n_experts=2, gate=SoftmaxGate(alpha=1.0), router=TopKRouter(1), trainer=EM(tol=1e-6)
)
assert_type(model.fit(X, y), MoERegressor)
assert_type(model.fit(X.tolist(), y.tolist()), MoERegressor)
assert_type(model.fit(RowSource.from_arrays(X, y)), MoERegressor)
assert_type(model.predict(X), Floats)
assert_type(model.predict(X, return_std=True), tuple[Floats, Floats])
assert_type(model.predict_interval(X, coverage=0.8), Floats)
assert_type(model.log_density(X, y), Floats)
assert_type(model.route(X), Routing)
assert_type(model.bic(X, y), float)
assert_type(MoEClassifier("additive").fit(X, y).predict_proba(X), Floats)
assert_type(HierarchicalMoERegressor(branching=(2, 2)).fit(X, y).apply(X), Floats)
assert_type(MoERegressorCV(n_experts=[1, 2]).fit(X, y), MoERegressorCV)
assert_type(export_text(model), str)
assert_type(expert_usage(model, X)["load"], list[Any])
report(model, X, y, path="report.html")

# What is wrong is told.
MoERegressor(n_members="four")  # type: ignore[arg-type]
SoftmaxGate(alfa=1.0)  # type: ignore[call-arg]
model.predict_interval(X, converage=0.8)  # type: ignore[call-arg]
