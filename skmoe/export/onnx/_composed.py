"""Experts that are made of estimators: pipelines, pools, whole mixtures."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ..._estimators.classifier import MoEClassifier
from ..._estimators.hierarchical import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
)
from ..._estimators.pool_members import TablePipeline, TreesOnTables
from ..._estimators.regressor import MoERegressor
from ._experts import raw
from ._mixture import mixture_in_graph
from ._registry import refuse, register_expert
from ._transformers import transformed


def _pipeline(expert, graph, inputs):
    sample = inputs.sample
    for _, step in expert.steps[:-1]:
        if step in (None, "passthrough"):
            continue
        inputs = transformed(step, graph, inputs, "a step of a pipeline")
        sample = inputs.sample = step.transform(sample)
    return raw(expert.steps[-1][1], graph, inputs, "the last step of a pipeline")


def _trees_on_tables(expert, graph, inputs):
    sample = expert.encoder_.transform(inputs.sample)
    inputs = transformed(expert.encoder_, graph, inputs, "the encoder of trees")
    inputs.sample = sample
    return raw(expert.estimator_, graph, inputs, "boosted trees")


def _outputs(expert, graph, inputs):
    each = [raw(own, graph, inputs, "one output") for own in expert.estimators_]
    return graph.op("Concat", *each, axis=1)


def _transformed_target(expert, graph, inputs):
    values = raw(expert.regressor_, graph, inputs, "a regressor of another target")
    back = expert.transformer_
    if type(back) is not StandardScaler:
        refuse(
            f"TransformedTargetRegressor with {type(back).__name__}",
            "only a StandardScaler is turned back in a graph",
            "use StandardScaler, or transform the target before fit",
        )
    if back.with_std:
        values = graph.op("Mul", values, np.asarray(back.scale_))
    return graph.op("Add", values, np.asarray(back.mean_)) if back.with_mean else values


def _mixture(expert, graph, inputs):
    parts = mixture_in_graph(expert, inputs.sample, graph, inputs)
    mean = parts.mean
    if parts.own.target.classes is None:
        return mean
    return graph.op("Div", mean, graph.sum(mean))


for _kind in (Pipeline, TablePipeline):
    register_expert(_kind, _pipeline)
register_expert(TreesOnTables, _trees_on_tables)
register_expert(MultiOutputRegressor, _outputs)
register_expert(TransformedTargetRegressor, _transformed_target)
for _kind in (
    MoERegressor,
    MoEClassifier,
    HierarchicalMoERegressor,
    HierarchicalMoEClassifier,
):
    register_expert(_kind, _mixture)
