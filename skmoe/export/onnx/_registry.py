"""Who converts which part: found by its class, and registered by anyone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...exceptions import OnnxExportError


class ExpertConverter(NamedTuple):
    """How an expert becomes part of a graph.

    Attributes
    ----------
    convert : callable(expert, graph, inputs) -> tensor
        Predictions (n, n_outputs), or probabilities (n, n_classes) of its classes.
    together : callable(experts, graph, inputs) -> tensor (n, K, d), or None
        The same of several experts that see the same; it may return None, too.
    chosen : callable(experts, graph, inputs, numbers) -> tensor (n, d), or None
        The same of one of them for each row, by a tensor (n, 1) of their numbers.
    cheap : bool
        Whether all together cost less than to sort out whose rows are whose.
    """

    convert: Any
    together: Any = None
    chosen: Any = None
    cheap: bool = False


class GateConverter(NamedTuple):
    """How a gate becomes part of a graph.

    Attributes
    ----------
    scores : callable(gate, graph, inputs) -> tensor
        Log-weights (n, K), up to a constant per row.
    route : callable(gate, graph, inputs, router, n_experts) -> tensor, or None
        Weights (n, K), zero for experts that do not serve a row, where the gate routes
        otherwise than by its scores; None for those of the router.
    """

    scores: Any
    route: Any = None


class LikelihoodConverter(NamedTuple):
    """How a likelihood becomes part of a graph.

    All are callables of (likelihood, graph, prediction (n, d), inputs), the inputs
    being what its expert sees; None where that is not known.

    Attributes
    ----------
    mean : tensor (n, d); None for the prediction itself
    variance : tensor (n, d)
    cdf : with a further argument, where (n, d); tensor (n, d)
    quantile : with a further argument, a probability; tensor (n, d)
    alike : bool
        Whether ``mean`` is elementwise and the same for all likelihoods of the class.
    """

    mean: Any = None
    variance: Any = None
    cdf: Any = None
    quantile: Any = None
    alike: bool = True


_experts: dict[type, ExpertConverter] = {}
_gates: dict[type, GateConverter] = {}
_routers: dict[type, Callable] = {}
_likelihoods: dict[type, LikelihoodConverter] = {}
_transformers: dict[type, Callable] = {}


def register_expert(
    kind: type,
    convert: Callable[..., str],
    *,
    together: Callable[..., str | None] | None = None,
    chosen: Callable[..., str | None] | None = None,
    cheap: bool = False,
) -> None:
    """Say how experts of a class, no subclasses, become part of an ONNX graph.

    Parameters
    ----------
    kind : class
    convert : callable(expert, graph, inputs) -> str
        The tensor of what it predicts: (n, n_outputs), or (n, n_classes) in the order
        of its ``classes_``.  ``graph`` is a :class:`Graph`, ``inputs`` are the
        :class:`Inputs` that the expert sees.
    together : callable(experts, graph, inputs) -> str, default=None
        The tensor (n, K, d) of several that see the same; None where it cannot.
    chosen : callable(experts, graph, inputs, numbers) -> str, default=None
        The tensor (n, d) of one of them for each row, by a tensor (n, 1) of numbers.
    cheap : bool, default=False
        Whether all together cost less than to sort out whose rows are whose.

    Examples
    --------
    >>> from skmoe.experts import LinearExpert
    >>> from skmoe.export.onnx import register_expert
    >>> class Halved(LinearExpert):
    ...     def predict(self, X):
    ...         return super().predict(X) / 2
    >>> def halved(expert, graph, inputs):
    ...     line = graph.op("MatMul", inputs.numbers(), expert.coef_[:, None] / 2)
    ...     return graph.op("Add", line, expert.intercept_ / 2)
    >>> register_expert(Halved, halved)
    """
    _experts[kind] = ExpertConverter(convert, together, chosen, cheap)


def register_gate(
    kind: type,
    scores: Callable[..., str],
    *,
    route: Callable[..., str] | None = None,
) -> None:
    """Say how gates of a class, no subclasses, become part of an ONNX graph.

    Parameters
    ----------
    kind : class
    scores : callable(gate, graph, inputs) -> str
        The tensor (n, K) of log-weights, up to a constant per row.
    route : callable(gate, graph, inputs, router, n_experts) -> str, default=None
        The tensor (n, K) of weights after routing, where that is not by the router.
    """
    _gates[kind] = GateConverter(scores, route)


def register_router(kind: type, weights: Callable[..., str]) -> None:
    """Say how routers of a class, no subclasses, become part of an ONNX graph.

    Parameters
    ----------
    kind : class
    weights : callable(router, graph, log_gate, n_experts) -> str
        The tensor (n, K) of weights, zero for experts that do not serve a row, from
        that of log-weights, whose exponentials sum to one.
    """
    _routers[kind] = weights


def register_likelihood(
    kind: type,
    *,
    mean: Callable[..., str] | None = None,
    variance: Callable[..., str] | None = None,
    cdf: Callable[..., str] | None = None,
    quantile: Callable[..., str] | None = None,
    alike: bool = True,
) -> None:
    """Say how likelihoods of a class, no subclasses, become part of an ONNX graph.

    Parameters
    ----------
    kind : class
    mean, variance : callable(likelihood, graph, prediction, inputs) -> str
        The tensors (n, d); without a ``mean`` it is the prediction, without a
        ``variance`` standard deviations are refused.  Default None.
    cdf : callable(likelihood, graph, prediction, inputs, y) -> str
        Distribution function at ``y`` (n, d); without it quantiles are refused.
    quantile : callable(likelihood, graph, prediction, inputs, level) -> str
        Of the expert alone, between which those of the mixture are.
    alike : bool, default=True
        Whether ``mean`` acts on each number by itself, whichever the expert.
    """
    _likelihoods[kind] = LikelihoodConverter(mean, variance, cdf, quantile, alike)


def register_transformer(kind: type, convert: Callable[..., Any]) -> None:
    """Say how transformers of a class, no subclasses, become part of an ONNX graph.

    They are what ``gate_features`` and ``expert_features`` may hold.

    Parameters
    ----------
    kind : class
    convert : callable(transformer, graph, inputs) -> Inputs
    """
    _transformers[kind] = convert


def expert_converter(expert):
    """The ``ExpertConverter`` of an expert, None where its class has none."""
    return _experts.get(type(expert))


def transformer_converter(transformer):
    """What converts a transformer, None where its class has nothing."""
    return _transformers.get(type(transformer))


def gate_converter(gate):
    """The ``GateConverter`` of a gate."""
    return _found(_gates, gate, "gate", "register_gate")


def router_converter(router):
    """What converts a router."""
    return _found(_routers, router, "router", "register_router")


def likelihood_converter(likelihood):
    """The ``LikelihoodConverter`` of a likelihood."""
    return _found(_likelihoods, likelihood, "likelihood", "register_likelihood")


def _found(known, part, what, register):
    if type(part) not in known:
        refuse(
            f"the {what} {type(part).__name__}",
            "no converter is registered for its class",
            f"use another {what}, or register one by "
            f"skmoe.export.onnx.{register}({type(part).__name__}, ...)",
        )
    return known[type(part)]


def refuse(what, why, remedy):
    """Raise ``OnnxExportError``: what cannot be exported, why, and what to do."""
    raise OnnxExportError(f"to_onnx cannot export {what}: {why}; {remedy}.")
