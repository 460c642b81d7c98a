"""Sums of curves in a graph: knots are counted, levels are looked up."""

from typing import NamedTuple

import numpy as np

from ..._tables.values import Kind
from ...experts._additive import (
    AdditiveClassifierExpert,
    AdditiveExpert,
    GeneralizedAdditiveExpert,
)
from ...experts._curved_variance import VarianceCurves
from ...gates import AdditiveGate
from ._linear import INVERSE, link_of
from ._registry import register_expert, register_gate
from ._search import count
from ._transformers import category_places, category_tables, number_columns


class Segments(NamedTuple):
    """Pieces of the curves of all numeric columns, one after another.

    Attributes
    ----------
    low, width : (m,) where each begins, and how wide it is
    at, slope : (m, n_sets) value there, and by how much it rises
    offset : (p,) first piece of each column
    gap : (p,) piece of each column that stands for gaps
    inner : (p, b) knots between pieces, behind them infinity
    ends : (2, p) first and last knot of each column
    """

    low: np.ndarray
    width: np.ndarray
    at: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    gap: np.ndarray
    inner: np.ndarray
    ends: np.ndarray


def sums(parts, graph, inputs):
    """Sums (n, n_sets) of the curves of several parts with one encoding.

    Parameters
    ----------
    parts : list of fitted additive experts, or one gate
    graph : Graph
    inputs : Inputs
    """
    encoding = encoding_of(parts[0], inputs)
    coef = np.vstack([part._on(encoding)[0] for part in parts])
    encoder, columns = encoding.encoder_, encoding.columns_
    first = encoding.basis_.first
    text = [j for j, kind in enumerate(encoder.kinds_) if kind == Kind.TEXT]
    terms = []
    if text:
        tables = category_tables(encoder.categories_, len(text))
        for k, (j, (known, codes)) in enumerate(zip(text, tables, strict=True)):
            place = category_places(graph, inputs.column(j), known)
            table = _level_values(columns[k], codes[:, 0], coef, first[k])
            terms.append(graph.op("Gather", table, place, axis=0))
    numbers = number_columns(encoder, graph, inputs)
    if numbers is not None:
        own = slice(len(text), len(columns))
        pieces = segments(columns[own], first[own], coef)
        terms.append(_numeric(graph, numbers.numbers(), pieces, encoding.held))
    total = terms[0]
    for term in terms[1:]:
        total = graph.op("Add", total, term)
    return graph.op("Add", total, coef[:, -1])


def encoding_of(part, inputs):
    """The fitted encoding by which a part sees the inputs."""
    return part.encoding_ if inputs.curves is None else inputs.curves


def _level_values(column, codes, coef, first):
    """Values (m, n_sets) of codes of levels, of a gap and of what is unseen."""
    at, _ = column.places(codes, True)
    padded = np.column_stack([coef[:, :-1], np.zeros(len(coef))])
    return padded[:, np.where(at < 0, padded.shape[1] - 1, at + first)].T


def segments(columns, first, coef):
    """The ``Segments`` of numeric columns."""
    low, width, at, slope, offset, gap = [], [], [], [], [], []
    for own, start in zip(columns, first, strict=True):
        offset.append(len(low))
        knots, values = own.knots, coef[:, start : start + len(own.knots)]
        if len(knots) > 1:
            low += knots[:-1].tolist()
            width += np.diff(knots).tolist()
            at += values[:, :-1].T.tolist()
            slope += np.diff(values, axis=1).T.tolist()
        else:
            known = values[:, 0] if len(knots) else np.zeros(len(coef))
            low, width = [*low, 0.0], [*width, 1.0]
            at, slope = [*at, known.tolist()], [*slope, [0.0] * len(coef)]
        gap.append(len(low))
        missing = coef[:, start + len(knots)] if own.gaps else np.zeros(len(coef))
        low, width = [*low, 0.0], [*width, 1.0]
        at, slope = [*at, missing.tolist()], [*slope, [0.0] * len(coef)]
    most = max([len(own.knots) - 2 for own in columns] + [0])
    inner = np.full((len(columns), most), np.inf)
    ends = np.zeros((2, len(columns)))
    for j, own in enumerate(columns):
        if len(own.knots) > 1:
            inner[j, : len(own.knots) - 2] = own.knots[1:-1]
            ends[:, j] = own.knots[[0, -1]]
    given = map(np.array, (low, width, at, slope, offset, gap))
    return Segments(*given, inner, ends)


def _numeric(graph, X, pieces, held):
    """Sums (n, n_sets) over numeric columns X (n, p)."""
    gaps = graph.op("IsNaN", X)
    if held:
        X = graph.op("Min", graph.op("Max", X, pieces.ends[0]), pieces.ends[1])
    piece = graph.op("Add", count(graph, X, pieces.inner), pieces.offset)
    piece = graph.op("Where", gaps, pieces.gap, piece)
    way = graph.op("Sub", X, graph.op("Gather", pieces.low, piece))
    way = graph.op("Div", way, graph.op("Gather", pieces.width, piece))
    way = graph.op("Where", gaps, 0.0, way)
    way = graph.op("Unsqueeze", way, np.array([2]))
    rise = graph.op("Mul", graph.op("Gather", pieces.slope, piece, axis=0), way)
    value = graph.op("Add", graph.op("Gather", pieces.at, piece, axis=0), rise)
    return graph.sum(value, axis=1, keepdims=0)


def _values(expert, graph, inputs):
    return INVERSE[link_of(expert)](graph, sums([expert], graph, inputs))


def _together(experts, graph, inputs):
    if not _alike(experts, inputs):
        return None
    total = sums(experts, graph, inputs)
    total = graph.reshape(total, 0, len(experts), -1)
    return INVERSE[link_of(experts[0])](graph, total)


def _alike(experts, inputs):
    """Whether experts have the same curves' knots, links and numbers of sets."""
    same = all(
        encoding_of(own, inputs) is encoding_of(experts[0], inputs) for own in experts
    )
    return same and len({(own.link, len(own._coef)) for own in experts}) == 1


def _proba(expert, graph, inputs):
    return graph.op("Softmax", sums([expert], graph, inputs), axis=1)


def _proba_together(experts, graph, inputs):
    if not _alike(experts, inputs):
        return None
    total = graph.reshape(sums(experts, graph, inputs), 0, len(experts), -1)
    return graph.op("Softmax", total, axis=2)


def _gate(gate, graph, inputs):
    return sums([gate], graph, inputs)


for _kind in (AdditiveExpert, GeneralizedAdditiveExpert, VarianceCurves):
    register_expert(_kind, _values, together=_together)
register_expert(AdditiveClassifierExpert, _proba, together=_proba_together)
register_gate(AdditiveGate, _gate)
