"""What can be asked of a graph: each output as a tensor, and as the model has it."""

from typing import Any, NamedTuple

import numpy as np

from ... import mixture
from ..._estimators import answers
from ...routers._base import best_first
from ._registry import likelihood_converter, refuse
from ._routing import best_of

#: Halvings of a bracket, after which its ends are neighbours.
HALVINGS = 64
#: Largest distance of a quantile from its probability.
PROBABILITY = 1e-11


class Output(NamedTuple):
    """A tensor that a graph returns.

    Attributes
    ----------
    name : str
    tensor : str
    dtype : type of NumPy's
    shape : tuple of int, behind the rows
    expected : what the model itself says of rows
    level : float, of a quantile; None for other outputs
    squared : bool, whether it is the root of a difference, which may lose digits
    """

    name: str
    tensor: str
    dtype: Any
    shape: tuple
    expected: np.ndarray
    level: float | None = None
    squared: bool = False


def made(name, parts, model, X):
    """The ``Output`` of a name.

    Parameters
    ----------
    name : str
    parts : MixtureInGraph
    model : fitted mixture
    X : rows by which answers are compared
    """
    kinds = CLASS_OUTPUTS if parts.own.target.classes is not None else VALUE_OUTPUTS
    kind, _, level = str(name).partition(":")
    make = kinds.get(kind) if bool(level) == (kind == "quantile") else None
    if make is None:
        known = [f"{own}:0.9" if own == "quantile" else own for own in kinds]
        raise ValueError(
            f"to_onnx got the output {name!r}, but expected some of {known} for "
            f"{type(model).__name__}."
        )
    return make(name, parts, model, X, level)


def _shaped(parts, tensor):
    """Outputs (n, d) in the shape of y, and that shape behind the rows."""
    if parts.own.target.n_dims == 1:
        return parts.graph.reshape(tensor, -1), ()
    return tensor, (parts.own.target.n_outputs,)


def _prediction(name, parts, model, X, _):
    tensor, shape = _shaped(parts, parts.mean)
    return Output(name, tensor, np.float64, shape, model.predict(X))


def _std(name, parts, model, X, _):
    """By the law of total variance, noise left out."""
    graph, within = parts.graph, []
    for k, own in enumerate(parts.own.likelihoods):
        variance = likelihood_converter(own).variance
        if variance is None:
            _no_function(own, "variance", name)
        inputs, at = parts.expert_inputs(k), parts.each(parts.predictions, k)
        own = variance(own, graph, at, inputs)
        within.append(graph.op("Unsqueeze", own, np.array([1])))
    within = graph.op("Concat", *within, axis=1) if len(within) > 1 else within[0]
    weights, means = parts.explained, parts.means
    center = graph.op("Unsqueeze", parts.weighed(weights, means), np.array([1]))
    off = graph.op("Sub", means, center)
    spread = graph.op("Add", graph.op("Mul", off, off), within)
    serves = graph.op("Unsqueeze", graph.op("Greater", weights, 0.0), np.array([2]))
    spread = graph.op("Where", serves, spread, 0.0)
    tensor = graph.op("Sqrt", parts.weighed(weights, spread))
    if parts.own.calibration is not None:
        tensor = graph.op("Mul", tensor, parts.own.calibration.scale)
    tensor, shape = _shaped(parts, tensor)
    _, expected = model.predict(X, return_std=True)
    return Output(name, tensor, np.float64, shape, expected, squared=True)


def _no_function(likelihood, what, name):
    refuse(
        f"the output {name!r} with the likelihood {type(likelihood).__name__}",
        f"its {what} has no operators in ONNX here",
        "leave the output out, compute it in Python, or register the likelihood by "
        "skmoe.export.onnx.register_likelihood",
    )


def _quantile(name, parts, model, X, level):
    try:
        level = float(level)
    except ValueError:
        level = np.nan
    if not 0.0 < level < 1.0:
        raise ValueError(
            f"to_onnx got the output {name!r}, but expected a probability between 0 "
            "and 1 behind 'quantile:', such as 'quantile:0.9'."
        )
    for own in parts.own.likelihoods:
        convert = likelihood_converter(own)
        if convert.cdf is None or convert.quantile is None or own.discrete:
            _no_function(own, "distribution function", name)
    tensor, shape = _shaped(parts, _halved(parts, parts.own.level(level)))
    expected = model.predict_quantile(X, level)
    return Output(name, tensor, np.float64, shape, expected, level)


def _bracket(parts, level):
    """Smallest and largest quantile (n, d) of the experts that serve a row."""
    graph, each = parts.graph, []
    for k, own in enumerate(parts.own.likelihoods):
        at = parts.each(parts.predictions, k)
        convert = likelihood_converter(own).quantile
        alone = convert(own, graph, at, parts.expert_inputs(k), level)
        each.append(graph.op("Unsqueeze", alone, np.array([1])))
    alone = graph.op("Concat", *each, axis=1) if len(each) > 1 else each[0]
    serves = graph.op("Greater", parts.weights, 0.0)
    serves = graph.op("Unsqueeze", serves, np.array([2]))
    axis = np.array([1])
    low = graph.op("Where", serves, alone, np.inf)
    high = graph.op("Where", serves, alone, -np.inf)
    return (
        graph.op("ReduceMin", low, axis, keepdims=0),
        graph.op("ReduceMax", high, axis, keepdims=0),
    )


def _halved(parts, level):
    """Where the distribution function of the mixture reaches a level, by halving."""
    from onnx import TensorProto, helper

    graph = parts.graph
    low, high = _bracket(parts, level)
    columns = [graph.columns(parts.weights, [k]) for k in range(parts.own.n_experts)]
    predictions = [parts.each(parts.predictions, k) for k in range(parts.own.n_experts)]
    body = graph.body()
    names = [body.fresh("n"), body.fresh("go"), body.fresh("low"), body.fresh("high")]
    t = body.op("Mul", body.op("Add", names[2], names[3]), 0.5)
    total = None
    for k, own in enumerate(parts.own.likelihoods):
        convert = likelihood_converter(own).cdf
        value = convert(own, body, predictions[k], parts.expert_inputs(k), t)
        value = body.op("Mul", value, columns[k])
        total = value if total is None else body.op("Add", total, value)
    below = body.op("Less", total, level)
    ends = [
        body.op("Identity", names[1]),
        body.op("Where", below, t, names[2]),
        body.op("Where", below, names[3], t),
    ]
    kinds = [
        TensorProto.INT64,
        TensorProto.BOOL,
        TensorProto.DOUBLE,
        TensorProto.DOUBLE,
    ]
    shapes = [[], [], [None, None], [None, None]]
    described = helper.make_tensor_value_info
    inner = helper.make_graph(
        body.nodes,
        body.fresh("halving"),
        [described(*own) for own in zip(names, kinds, shapes, strict=True)],
        [described(*own) for own in zip(ends, kinds[1:], shapes[1:], strict=True)],
    )
    start = graph.constant(HALVINGS), graph.fixed(np.array(True))
    return graph.op("Loop", *start, low, high, n_outputs=2, body=inner)[1]


def _gate(name, parts, model, X, _):
    n_experts = parts.own.n_experts
    return Output(name, parts.weights, np.float64, (n_experts,), model.gate_proba(X))


def _top_expert(name, parts, model, X, _):
    best = parts.graph.reshape(best_of(parts.graph, parts.weights), -1)
    expected = best_first(model.gate_proba(X))[:, 0]
    return Output(name, best, np.int64, (), expected)


def _experts(name, parts, model, X, _):
    """Means of all experts."""
    target, n_experts = parts.own.target, parts.own.n_experts
    tensor, shape = parts.means, (n_experts, parts.n_outputs)
    if target.classes is None and target.n_dims == 1:
        tensor, shape = parts.graph.reshape(tensor, -1, n_experts), (n_experts,)
    return Output(name, tensor, np.float64, shape, model.predict_experts(X))


def _label(name, parts, model, X, _):
    graph, classes = parts.graph, np.asarray(parts.own.target.classes)
    if classes.dtype.kind == "O" and not all(isinstance(c, str) for c in classes):
        refuse(
            f"the output {name!r} with the classes {classes.tolist()}",
            "labels in ONNX are all text, or all numbers",
            "ask for 'proba', or fit with labels of one type",
        )
    place = graph.op("ArgMax", parts.mean, axis=1, keepdims=0)
    labels = graph.constant(
        classes.astype(object) if classes.dtype.kind in "UO" else classes
    )
    tensor = graph.op("Gather", labels, place, axis=0)
    kind = np.int64 if classes.dtype.kind in "iu" else classes.dtype
    return Output(name, tensor, kind, (), model.predict(X))


def _proba(name, parts, model, X, _):
    graph = parts.graph
    tensor = graph.op("Div", parts.mean, graph.sum(parts.mean))
    shape = (len(parts.own.target.classes),)
    return Output(name, tensor, np.float64, shape, model.predict_proba(X))


_COMMON = {"gate": _gate, "top_expert": _top_expert, "experts": _experts}
VALUE_OUTPUTS = {
    "prediction": _prediction,
    "std": _std,
    "quantile": _quantile,
    **_COMMON,
}
CLASS_OUTPUTS = {"prediction": _label, "proba": _proba, **_COMMON}


def reached(model, X, found, level):
    """How far the distribution function at found quantiles is from a level, (n,)."""
    own, seen = answers.see(model, X)
    components = own.components(seen)
    at = np.asarray(found, dtype=float).reshape(len(found), -1)
    return np.abs(mixture.cdf(at, components) - own.level(level)).max(axis=1)
