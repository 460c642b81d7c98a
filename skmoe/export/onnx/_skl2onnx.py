"""Mixtures within pipelines that ``skl2onnx.to_onnx`` itself converts."""

from __future__ import annotations

import numpy as np
from sklearn.base import is_classifier

from ..._estimators.classifier import MoEClassifier
from ..._estimators.hierarchical import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
)
from ..._estimators.regressor import MoERegressor
from ._graph import OPSETS, Graph, require_onnx, stored
from ._inputs import Matrix
from ._mixture import mixture_in_graph
from ._registry import refuse

REGRESSORS = MoERegressor, HierarchicalMoERegressor
CLASSIFIERS = MoEClassifier, HierarchicalMoEClassifier
#: Rows by which parts of other libraries are compared, where there is no sample.
N_ROWS = 100


def register_with_skl2onnx() -> None:
    """Make ``skl2onnx.to_onnx`` convert mixtures, as steps of pipelines, say.

    :func:`skmoe.export.to_onnx` calls it, and takes pipelines itself; only it compares
    the graph with the model.  It is no harm to call it twice.

    Raises
    ------
    ImportError
        If onnx, onnxruntime or skl2onnx are not installed.

    Examples
    --------
    >>> from skmoe.export.onnx import register_with_skl2onnx
    >>> register_with_skl2onnx()  # doctest: +SKIP
    """
    require_onnx()
    from skl2onnx import update_registered_converter

    for kind in REGRESSORS:
        update_registered_converter(kind, f"Skmoe{kind.__name__}", _shapes, _convert)
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
    options["output_class_labels"] = [False, True]
    for kind in CLASSIFIERS:
        update_registered_converter(
            kind, f"Skmoe{kind.__name__}", _class_shapes, _convert, options=options
        )


def _number_type(operator):
    """Type of the answers: that of the columns."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    single = all(isinstance(own.type, FloatTensorType) for own in operator.inputs)
    return FloatTensorType if single else DoubleTensorType


def _shapes(operator):
    n_outputs = operator.raw_operator._learned.target.n_outputs
    operator.outputs[0].type = _number_type(operator)([None, n_outputs])


def _class_shapes(operator):
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    classes = np.asarray(operator.raw_operator.classes_)
    label = StringTensorType if classes.dtype.kind in "UO" else Int64TensorType
    operator.outputs[0].type = label([None])
    operator.outputs[1].type = _number_type(operator)([None, len(classes)])


# skl2onnx asks for these names of arguments.
def _convert(scope, operator, container):
    model = operator.raw_operator
    graph = Graph(scope.get_unique_variable_name("skmoe") + "_")
    inputs = _inputs(graph, operator)
    parts = mixture_in_graph(model, inputs.sample, graph, inputs)
    kind = np.float32 if "Float" in _number_type(operator).__name__ else np.float64
    if not is_classifier(model):
        _close(graph, graph.cast(parts.mean, kind), operator.outputs[0])
    else:
        classes = np.asarray(model.classes_)
        classes = classes.astype(object if classes.dtype.kind in "UO" else np.int64)
        place = graph.op("ArgMax", parts.mean, axis=1, keepdims=0)
        labels = graph.op("Gather", graph.constant(classes), place, axis=0)
        _close(graph, labels, operator.outputs[0])
        proba = graph.op("Div", parts.mean, graph.sum(parts.mean))
        _close(graph, graph.cast(proba, kind), operator.outputs[1])
    _hand_over(graph, scope, container)


def _inputs(graph, operator):
    """The columns that a mixture is given, as doubles."""
    wanted = "FloatTensorType", "DoubleTensorType", "Int64TensorType"
    kinds = [type(own.type).__name__ for own in operator.inputs]
    if not set(kinds) <= set(wanted):
        refuse(
            f"{type(operator.raw_operator).__name__} within skl2onnx",
            f"it is given inputs of the types {sorted(set(kinds))}",
            "use skmoe.export.to_onnx, which reads text and gaps",
        )
    tensors = [graph.double(own.full_name) for own in operator.inputs]
    whole = graph.op("Concat", *tensors, axis=1) if len(tensors) > 1 else tensors[0]
    n_columns = operator.raw_operator.n_features_in_
    inputs = Matrix.of(graph, whole, n_columns)
    inputs.sample = np.random.default_rng(0).normal(size=(N_ROWS, n_columns))
    return inputs


def _close(graph, tensor, output):
    """Name a tensor as the pipeline knows the output."""
    from onnx import helper

    graph.nodes.append(helper.make_node("Identity", [tensor], [output.full_name]))


def _hand_over(graph, scope, container):
    """Give the operators and constants of a graph to a container of skl2onnx."""
    container.initializers.extend(stored(*own) for own in graph.constants.values())
    for node in graph.nodes:
        node.name = scope.get_unique_operator_name("Skmoe")
        container.nodes.append(node)
    for domain in graph.domains:
        version = OPSETS.get(domain, 1)
        container.node_domain_version_pair_sets.add((domain, version))
