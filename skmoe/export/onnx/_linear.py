"""Linear predictors, their links and classes in a graph."""

import numpy as np
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeCV,
)

from ...experts import LinearExpert
from ...experts._glm import GeneralizedLinearExpert
from ...experts._linear_classes import LinearClassifierExpert
from ...experts._noise import NoiseExpert, ZeroExpert
from ...experts._variance import VarianceExpert
from ...likelihoods._links import LARGEST_PREDICTOR
from ._foreign import foreign
from ._registry import register_expert
from ._transformers import transformed


def linear(graph, matrix, coef, intercept):
    """``matrix @ coef.T + intercept``, with a row of ``coef`` for each output."""
    coef = np.atleast_2d(np.asarray(coef, dtype=float))
    intercept = np.broadcast_to(np.asarray(intercept, dtype=float), len(coef))
    if not coef.shape[1]:
        return graph.repeated(intercept, matrix)
    return graph.op("Gemm", matrix, np.ascontiguousarray(coef.T), intercept.copy())


def identity(graph, tensor):
    """The tensor itself."""
    return tensor


def exponential(graph, tensor):
    """Exponential of a linear predictor that stays within the range of doubles."""
    inside = graph.op("Clip", tensor, -LARGEST_PREDICTOR, LARGEST_PREDICTOR)
    return graph.op("Exp", inside)


def sigmoid(graph, tensor):
    """Inverse of the logit, with all digits of small chances."""
    return graph.op(
        "Exp", graph.op("Neg", graph.op("Softplus", graph.op("Neg", tensor)))
    )


#: From linear predictors to means, by the name of the link.
INVERSE = {"identity": identity, "log": exponential, "logit": sigmoid}


def _stacked(experts):
    """Coefficients (K * d, p) and intercepts (K * d,) of linear experts."""
    coef = np.vstack([np.atleast_2d(own.coef_) for own in experts])
    return coef, np.concatenate([np.atleast_1d(own.intercept_) for own in experts])


def _values(expert, graph, inputs):
    return linear(graph, inputs.numbers(), *_stacked([expert]))


def _values_together(experts, graph, inputs):
    coef, intercept = _stacked(experts)
    lines = linear(graph, inputs.numbers(), coef, intercept)
    return graph.reshape(lines, -1, len(experts), len(coef) // len(experts))


def link_of(expert):
    """Name of the link of a generalized linear expert."""
    return expert._family().link


def _means(expert, graph, inputs):
    return INVERSE[link_of(expert)](graph, _values(expert, graph, inputs))


def _variances(model, graph, inputs):
    """What a log-linear model of a variance predicts, of text and gaps, too."""
    if model.encoder_ is not None:
        who = "the encoder of a variance"
        return _means(model, graph, transformed(model.encoder_, graph, inputs, who))
    X = inputs.numbers()
    filled = graph.op("Where", graph.op("IsNaN", X), model.center_, X)
    return exponential(graph, linear(graph, filled, *_stacked([model])))


def _means_together(experts, graph, inputs):
    links = {link_of(own) for own in experts}
    if len(links) > 1:
        return None
    return INVERSE[links.pop()](graph, _values_together(experts, graph, inputs))


def _classes(expert, graph, inputs):
    return graph.op("Softmax", _values(expert, graph, inputs), axis=1)


def _classes_together(experts, graph, inputs):
    if len({len(own.classes_) for own in experts}) > 1:
        return None
    return graph.op("Softmax", _values_together(experts, graph, inputs), axis=2)


def _zeros(expert, graph, inputs):
    return graph.filled(inputs.any_tensor(), expert.n_outputs_)


def _logistic(expert, graph, inputs):
    """Probabilities of a classifier that ONNX has in single precision."""
    if expert.solver == "liblinear" and len(expert.classes_) > 2:
        return foreign(expert, graph, inputs, "logistic regression")
    logits = _values(expert, graph, inputs)
    if len(expert.classes_) == 2:
        nothing = graph.op("Mul", logits, 0.0)
        logits = graph.op("Concat", nothing, logits, axis=1)
    return graph.op("Softmax", logits, axis=1)


register_expert(LogisticRegression, _logistic)
for _kind in (LinearRegression, Ridge, RidgeCV):
    register_expert(_kind, _values)
register_expert(LinearExpert, _values, together=_values_together, cheap=True)
register_expert(GeneralizedLinearExpert, _means, together=_means_together, cheap=True)
register_expert(VarianceExpert, _variances)
register_expert(
    LinearClassifierExpert, _classes, together=_classes_together, cheap=True
)
for _kind in (NoiseExpert, ZeroExpert):
    register_expert(_kind, _zeros)
