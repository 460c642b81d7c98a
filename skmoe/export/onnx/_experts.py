"""What experts predict in a graph, whatever their kind."""

import numpy as np
from sklearn.frozen import FrozenEstimator

from ...experts._answers import aligned_proba, predicted_values
from ...experts._base import traits
from ...experts._corrected import (
    CorrectedClassifier,
    CorrectedRegressor,
    LocallyCorrectedClassifier,
    LocallyCorrectedRegressor,
    encoded,
)
from ...likelihoods import smoothed
from ...likelihoods._categorical import PROBA_FLOOR
from ._foreign import foreign
from ._inputs import Matrix
from ._registry import expert_converter, register_expert
from ._transformers import transformed


def raw(expert, graph, inputs, who):
    """What an expert itself predicts: (n, d), or (n, C) of its own classes."""
    own = expert_converter(expert)
    if own is None:
        return foreign(expert, graph, inputs, who)
    return own.convert(expert, graph, inputs)


def aligned(expert, graph, inputs, classes, who):
    """Class probabilities of an expert in the order of the mixture's classes."""
    return in_order(graph, raw(expert, graph, inputs, who), expert.classes_, classes)


def in_order(graph, proba, own, classes):
    """Probabilities of an expert's own classes in the order of others."""
    own = np.asarray(own)
    if np.array_equal(own, classes):
        return proba
    places = (own[:, None] == np.asarray(classes)[None, :]).astype(float)
    return graph.op("MatMul", proba, places)


def smooth(graph, proba, n_classes):
    """Probabilities kept away from zero, as ``likelihoods.smoothed`` has it."""
    return graph.op(
        "Add", graph.op("Mul", proba, 1.0 - PROBA_FLOOR), PROBA_FLOOR / n_classes
    )


def prediction(expert, graph, inputs, classes, offset, who):
    """What an expert predicts in the mixture: (n, d), or smoothed (n, C).

    Parameters
    ----------
    expert : fitted expert
    graph : Graph
    inputs : Inputs
    classes : those of the mixture, or None
    offset : tensor, or None
        Of the shared expert.
    who : str
        For messages.
    """
    if classes is None:
        values = raw(expert, graph, inputs, who)
        return values if offset is None else graph.op("Add", values, offset)
    proba = aligned(expert, graph, inputs, classes, who)
    if not traits(expert).is_smooth:
        proba = smooth(graph, proba, len(classes))
    return proba if offset is None else tilted(graph, proba, offset, axis=1)


def tilted(graph, proba, offset, axis):
    """Probabilities times exponentials of an offset, as they sum to one."""
    logits = graph.op("Add", graph.op("Log", proba), offset)
    return graph.op("Softmax", logits, axis=axis)


def _frozen(expert, graph, inputs):
    return raw(expert.estimator, graph, inputs, "a frozen expert")


def _corrected_values(expert, graph, inputs):
    values = raw(expert.estimator, graph, inputs, "a corrected expert")
    return graph.op("Add", graph.op("Mul", values, expert.slope), expert.intercept)


def _corrected_proba(expert, graph, inputs):
    proba = _smoothed(expert, graph, inputs)
    logits = graph.op("Div", graph.op("Log", proba), float(expert.temperature))
    return graph.op("Softmax", graph.op("Add", logits, expert.offset), axis=1)


def _smoothed(expert, graph, inputs):
    classes, who = expert.classes, "a corrected expert"
    proba = aligned(expert.estimator, graph, inputs, classes, who)
    return smooth(graph, proba, len(classes))


def _with_answers(expert, graph, inputs, answers, sample):
    """What a model of residuals sees: encoded columns, and answers (n, d)."""
    columns = transformed(expert.encoder, graph, inputs, "the encoder of a correction")
    n_columns = columns.n_columns + sample.shape[1]
    tensor = graph.op("Concat", columns.numbers(), answers, axis=1)
    seen = Matrix.of(graph, tensor, n_columns)
    seen.sample = np.column_stack([encoded(expert.encoder, inputs.sample), sample])
    return seen


def _locally_corrected_values(expert, graph, inputs):
    answers = raw(expert.estimator, graph, inputs, "a corrected expert")
    sample = predicted_values(expert.estimator, inputs.sample, len(expert.share))
    seen = _with_answers(expert, graph, inputs, answers, sample)
    residuals = [
        graph.filled(answers, 1)
        if model is None
        else raw(model, graph, seen, "the model of a residual")
        for model in expert.models
    ]
    residual = graph.op("Concat", *residuals, axis=1)
    return graph.op("Add", answers, graph.op("Mul", residual, expert.share))


def _locally_corrected_proba(expert, graph, inputs):
    classes, share = expert.classes, float(np.ravel(expert.share)[0])
    answers = _smoothed(expert, graph, inputs)
    sample = smoothed(aligned_proba(expert.estimator, inputs.sample, classes))
    logs = graph.op("Log", graph.op("Max", answers, PROBA_FLOOR / len(classes)))
    known = np.log(np.maximum(sample, PROBA_FLOOR / len(classes)))
    seen = _with_answers(expert, graph, inputs, logs, known)
    opinion = aligned(expert.models[0], graph, seen, classes, "the model of a residual")
    opinion = graph.op("Log", smooth(graph, opinion, len(classes)))
    own = graph.op("Log", smooth(graph, answers, len(classes)))
    own = graph.op("Mul", own, 1.0 - share)
    total = graph.op("Add", own, graph.op("Mul", opinion, share))
    return graph.op("Softmax", total, axis=1)


register_expert(FrozenEstimator, _frozen)
register_expert(CorrectedRegressor, _corrected_values)
register_expert(CorrectedClassifier, _corrected_proba)
register_expert(LocallyCorrectedRegressor, _locally_corrected_values)
register_expert(LocallyCorrectedClassifier, _locally_corrected_proba)
