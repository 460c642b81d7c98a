"""Nearest neighbours in a graph: all distances by one product, those kept anew.

Distances by a product lose the digits of near neighbours; those of the neighbours that
are kept are differences of rows.
"""

import numpy as np
from sklearn.base import is_classifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from ._foreign import foreign
from ._registry import register_expert


def _neighbours(expert, graph, inputs):
    """Mean (n, d) of what neighbours have, by weights."""
    known = expert.weights in ("uniform", "distance")
    if expert.effective_metric_ != "euclidean" or not known:
        return foreign(expert, graph, inputs, "nearest neighbours")
    X, rows = inputs.numbers(), np.asarray(expert._fit_X, dtype=float)
    # The square of the row itself is the same for all.
    near = graph.op("MatMul", X, np.ascontiguousarray(rows.T))
    near = graph.op("Sub", near, 0.5 * np.sum(rows**2, axis=1))
    k = np.array([expert.n_neighbors])
    _, places = graph.op("TopK", near, k, axis=1, n_outputs=2)
    answers = graph.op("Gather", _answers(expert), places, axis=0)
    if expert.weights == "uniform":
        return graph.op("ReduceMean", answers, np.array([1]), keepdims=0)
    at = graph.op("Unsqueeze", X, np.array([1]))
    off = graph.op("Sub", graph.op("Gather", rows, places, axis=0), at)
    square = graph.sum(graph.op("Mul", off, off), axis=2, keepdims=1)
    distance = graph.op("Sqrt", square)
    # Rows that are there alone count, where there are some.
    same = graph.op("Equal", distance, 0.0)
    some = graph.cast(graph.max(graph.cast(same, np.int32)), bool)
    inverse = graph.op("Reciprocal", graph.op("Where", same, 1.0, distance))
    weights = graph.op("Where", some, graph.double(same), inverse)
    total = graph.sum(graph.op("Mul", answers, weights), axis=1, keepdims=0)
    return graph.op("Div", total, graph.sum(weights, axis=1, keepdims=0))


def _answers(expert):
    """Targets (m, d) of the training rows, or indicators of their classes."""
    y = np.asarray(expert._y)
    if is_classifier(expert):
        return np.eye(len(expert.classes_))[y.ravel()]
    return y.reshape(len(y), -1).astype(float)


register_expert(KNeighborsRegressor, _neighbours)
register_expert(KNeighborsClassifier, _neighbours)
