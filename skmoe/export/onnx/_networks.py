"""Networks with hidden layers in a graph."""

import numpy as np

from ...experts._mlp import MLPClassifierExpert, MLPExpert
from ...gates import MLPGate
from ._registry import register_expert, register_gate

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}


def outputs(part, graph, inputs):
    """Outputs (n, d) of a fitted network."""
    center, inverse_scale = part._design
    X = graph.op("Mul", graph.op("Sub", inputs.numbers(), center), inverse_scale)
    layers = part._network.layers(part._theta)
    if part._network.n_frequencies:
        X, first = _periodic(part, graph, X), layers[0]
        layers = [(first[0][_order(part)], first[1]), *layers[1:]]
    for number, (weights, bias) in enumerate(layers):
        X = graph.op("Gemm", X, weights, bias)
        if number + 1 < len(layers):
            X = graph.op(ACTIVATIONS[part._network.activation], X)
    return X


def _periodic(part, graph, X):
    """Columns X (n, p), then all sines, then all cosines."""
    frequencies = part._network.frequencies(part._theta)
    p, each = frequencies.shape
    repeated = graph.columns(X, np.repeat(np.arange(p), each))
    phases = graph.op("Mul", repeated, 2.0 * np.pi * frequencies.ravel())
    waves = graph.op("Sin", phases), graph.cosine(phases)
    return graph.op("Concat", X, *waves, axis=1)


def _order(part):
    """Rows of the first layer in that order: it has each sine beside its cosine."""
    p, each = part._network.frequencies(part._theta).shape
    sines = p + 2 * np.arange(p * each)
    return np.concatenate([np.arange(p), sines, sines + 1])


def _proba(expert, graph, inputs):
    return graph.op("Softmax", outputs(expert, graph, inputs), axis=1)


register_expert(MLPExpert, outputs)
register_expert(MLPClassifierExpert, _proba)
register_gate(MLPGate, outputs)
