"""The way from a fitted mixture to a model in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from ..._tables.frames import from_arrow
from ..._typing import Table
from ..._version import __version__
from ...inspection._unwrap import rows_of, unwrap
from ._check import check_graph, session_of, tried_rows
from ._foreign import difference
from ._graph import Graph
from ._inputs import Layout
from ._mixture import mixture_in_graph
from ._outputs import made
from ._skl2onnx import register_with_skl2onnx
from ._transformers import transformed

#: Difference of a part, relative to its spread, up to which it is not to blame.
SAME = 1e-9


def to_onnx(
    model: BaseEstimator,
    X_sample: Table,
    *,
    outputs: Sequence[str] = ("prediction",),
    dtype: Any = None,
) -> Any:
    """Write a fitted mixture as a graph that runs without Python.

    The graph does what the mixture does: the gate weighs, the router chooses, an
    expert is asked for its own rows only, and the likelihood makes means.  It computes
    in double precision, whatever the type of its inputs.  Before it is returned, it is
    run by onnxruntime on the sample and on rows that are made of it: mixed and halved
    values, values a little outside, and, where the model reads them, gaps and unseen
    levels.

    Parameters
    ----------
    model : fitted mixture
        Of :class:`~skmoe.MoERegressor`, :class:`~skmoe.MoEClassifier` or a hierarchy,
        or a pipeline or search around one.
    X_sample : array-like or data frame of shape (n, p)
        Rows like those to come, some hundred of them: the graph has their columns, and
        is checked on them.  A data frame has an input of shape (n, 1) for each column,
        an array, or a sparse matrix, one input "X".
    outputs : sequence of str, default=("prediction",)
        What the graph returns, in this order:

        - ``"prediction"``: what ``predict`` returns, a mean or a label;
        - ``"proba"``: of a classifier, what ``predict_proba`` returns;
        - ``"std"``: the standard deviation of ``predict(X, return_std=True)``;
        - ``"quantile:0.9"``, or any other probability: what ``predict_quantile``
          returns;
        - ``"gate"``: gate weights after routing, as ``gate_proba``;
        - ``"top_expert"``: number of the expert with the largest weight;
        - ``"experts"``: what each expert says, as ``predict_experts``.
    dtype : {numpy.float32, numpy.float64}, default=None
        Type of floats that the graph is given; None is that of X_sample.

    Returns
    -------
    onnx.ModelProto
        ``model.SerializeToString()`` is what onnxruntime takes.

    Raises
    ------
    skmoe.exceptions.OnnxExportError
        If a part cannot be exported, or the graph answers otherwise than the model:
        with doubles by more than 1e-12 of the spread of answers, or 1e-9 where columns
        are 10 000 standard deviations from zero; by more than 1e-4 where onnxruntime
        computes a part in single precision, such as trees.
    ImportError
        If onnx, onnxruntime or skl2onnx are not installed.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    See Also
    --------
    onnx_inputs : What a session is given for a table.
    skmoe.export.onnx.register_expert : Parts of your own.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.export import onnx_inputs, to_onnx
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> graph = to_onnx(model, X)  # doctest: +SKIP
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession(
    ...     graph.SerializeToString(), providers=["CPUExecutionProvider"]
    ... )  # doctest: +SKIP
    >>> session.run(None, onnx_inputs(session, X))[0].shape  # doctest: +SKIP
    (200,)
    """
    register_with_skl2onnx()
    unwrapped = unwrap(model)
    rows = _dense(rows_of(X_sample, "to_onnx"))
    layout = Layout.of(rows, dtype)
    tried = tried_rows(rows, layout, model.predict)
    names = _checked_names(outputs)
    graph, found, seen = graph_of(unwrapped, tried.X, layout, names)
    proto = _finished(graph, found, layout)

    def blame(row):
        return blamed(unwrapped, tried.X, layout, row)

    mixture = unwrapped.mixture
    check_graph(proto, found, tried, layout, mixture, seen, graph.tolerance, blame)
    return proto


def onnx_inputs(session: Any, X: Table) -> dict[str, np.ndarray]:
    """What a session of an exported graph is given for a table.

    Parameters
    ----------
    session : onnxruntime.InferenceSession, or the graph itself
        Of a graph that :func:`to_onnx` has written.
    X : array-like or data frame of shape (n, p)

    Returns
    -------
    dict of str to ndarray
        Of a data frame a column (n, 1) by each name, of an array its rows by "X".
        Numbers that are missing are NaN, text that is missing is "", times are
        seconds since 1970.

    Raises
    ------
    ValueError
        For other graphs, and for tables that lack a column.

    See Also
    --------
    to_onnx : Makes the graph.

    Examples
    --------
    >>> from skmoe.export import onnx_inputs
    >>> answers = session.run(None, onnx_inputs(session, X))  # doctest: +SKIP
    """
    return Layout.of_session(session).given(_dense(from_arrow(X)))


def _dense(X):
    """Sparse columns as an array, which is what graphs are given."""
    return X.toarray() if sparse.issparse(X) else X


def _checked_names(outputs):
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"to_onnx got outputs={outputs!r}, but expected a list of different names, "
            "such as ('prediction', 'std')."
        )
    return names


def graph_of(unwrapped, X, layout, names):
    """Graph of a mixture with what comes before it.

    Parameters
    ----------
    unwrapped : Unwrapped
    X : rows by which answers are compared
    layout : Layout
    names : list of str, of outputs

    Returns
    -------
    graph : Graph
    outputs : list of Output
    seen : what the mixture sees of X
    """
    graph = Graph()
    inputs, seen = layout.inputs(graph), X
    for step in unwrapped.before:
        inputs.sample = seen
        inputs = transformed(step, graph, inputs, "a step of the pipeline")
        seen = step.transform(seen)
    parts = mixture_in_graph(unwrapped.mixture, seen, graph, inputs)
    return graph, [made(name, parts, unwrapped.mixture, seen) for name in names], seen


def _finished(graph, outputs, layout):
    described = [(own.name, own.tensor, own.dtype, own.shape) for own in outputs]
    metadata = {"skmoe_version": __version__, **layout.described_by_words()}
    return graph.model(layout.described(), described, metadata)


def blamed(unwrapped, X, layout, row):
    """The part that is off in a row, in words, and what to do."""
    graph, found, _ = graph_of(unwrapped, X, layout, ["gate", "experts"])
    session = session_of(_finished(graph, found, layout))
    gate, experts = session.run(["gate", "experts"], layout.given(X))
    own = unwrapped.mixture
    off, _ = difference(gate[[row]], found[0].expected[[row]])
    if off > SAME:
        kind = type(own.gate_).__name__
        return f"the gate ({kind})", "use another gate, or a router that keeps more"
    size = np.std(found[1].expected) or 1.0
    errors = np.abs(experts[row] - found[1].expected[row]) / size
    errors = errors.reshape(len(own.experts_), -1).max(axis=1)
    k = int(errors.argmax())
    if errors[k] <= SAME:
        return "neither the gate nor an expert, but how they combine", "report this"
    name, kind = list(own.named_experts_)[k], type(own.experts_[k]).__name__
    return f"expert {name!r} ({kind})", "use another estimator for it"
