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


class Pieces(NamedTuple):
    """Straight pieces of the curves of all numeric columns, one after another.

    The first piece of a column stands for gaps, which reach no knot, not even the one
    at minus infinity.

    Attributes
    ----------
    knots : (p, b) where the pieces of each column begin, behind them infinity
    first : (p,) number of the first piece of each column
    low : (m,) where each piece has its value
    values : (m, 2, n_sets) the value there, and the slope
    """

    knots: np.ndarray
    first: np.ndarray
    low: np.ndarray
    values: np.ndarray


class Curves:
    """Curves of several parts with one encoding, in a graph.

    Parameters
    ----------
    parts : list of fitted additive experts, or one gate
    graph : Graph
    inputs : Inputs
    """

    def __init__(self, parts, graph, inputs):
        self.graph, self.inputs = graph, inputs
        self.encoding = encoding_of(parts[0], inputs)
        self.coef = np.vstack([part._on(self.encoding)[0] for part in parts])

    def sums(self, chosen=None, n_parts=1):
        """Sums of the curves, (n, n_sets), or (n, n_sets / n_parts) of one part a row.

        Parameters
        ----------
        chosen : tensor of integers (n, 1), default=None
            The part of each row; None for all of them.
        n_parts : int, default=1
        """
        encoder, graph = self.encoding.encoder_, self.graph
        text = [j for j, kind in enumerate(encoder.kinds_) if kind == Kind.TEXT]
        terms = [self._levels(text, chosen, n_parts)] if text else []
        numbers = number_columns(encoder, graph, self.inputs)
        if numbers is not None:
            pieces = self.pieces(len(text))
            terms.append(_straight(graph, numbers.numbers(), pieces, chosen, n_parts))
        level = self.coef[:, -1]
        if chosen is not None:
            level = level.reshape(n_parts, -1)
            level = graph.op("Gather", level, graph.reshape(chosen, -1), axis=0)
        for term in terms:
            level = graph.op("Add", term, level)
        return level

    def _levels(self, text, chosen, n_parts):
        """What columns of text add, by tables of their levels."""
        graph, encoding = self.graph, self.encoding
        tables, total = category_tables(encoding.encoder_.categories_, len(text)), None
        for k, (j, (known, codes)) in enumerate(zip(text, tables, strict=True)):
            place = category_places(graph, self.inputs.text(j), known)
            own = encoding.columns_[k], codes[:, 0], self.coef, encoding.basis_.first[k]
            table = _level_values(*own)
            if chosen is not None:
                place = _place_of(graph, place, graph.reshape(chosen, -1), n_parts)
                table = table.reshape(len(table) * n_parts, -1)
            term = graph.op("Gather", table, place, axis=0)
            total = term if total is None else graph.op("Add", total, term)
        return total

    def pieces(self, n_text):
        """The ``Pieces`` of the numeric columns, which stand behind those of text."""
        encoding = self.encoding
        columns, starts = encoding.columns_[n_text:], encoding.basis_.first[n_text:]
        each = [
            _pieces_of(own, self.coef[:, start : start + own.n_coef].T, encoding.held)
            for own, start in zip(columns, starts, strict=False)
        ]
        knots = np.full((len(each), max(len(own[0]) for own in each)), np.inf)
        for row, own in zip(knots, each, strict=True):
            row[: len(own[0])] = own[0]
        sizes = [len(own[1]) for own in each]
        first = np.cumsum([0, *sizes[:-1]])
        low = np.concatenate([own[1] for own in each])
        return Pieces(knots, first, low, np.concatenate([own[2] for own in each]))


def _pieces_of(column, coef, held):
    """Knots, and of each piece where it has its value, the value and the slope.

    Parameters
    ----------
    column : Column
    coef : ndarray of shape (n_coef, n_sets)
    held : bool
        Whether curves stay level beyond the last knots.
    """
    n_knots, nothing = len(column.knots), np.zeros((1, coef.shape[1]))
    gap = coef[n_knots:] if column.gaps else nothing
    knots, values = column.knots, coef[:n_knots] if n_knots else nothing
    if n_knots < 2:
        at = np.stack([gap, values[:1]])
        return (
            [-np.inf],
            np.zeros(2),
            np.stack([at[:, 0], np.zeros((2, at.shape[2]))], 1),
        )
    slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
    low, at = knots[:-1], values[:-1]
    begins = [-np.inf, *knots[1:-1]]
    if held:
        low, at = [0.0, *low, 0.0], np.vstack([values[:1], at, values[-1:]])
        slopes, begins = np.vstack([nothing, slopes, nothing]), [-np.inf, *knots]
    at, slopes = np.vstack([gap, at]), np.vstack([nothing, slopes])
    return begins, np.array([0.0, *low]), np.stack([at, slopes], axis=1)


def _straight(graph, X, pieces, chosen, n_parts):
    """Sums over numeric columns X (n, p): of each its value, and slope times way."""
    piece = graph.op("Add", count(graph, X, pieces.knots), pieces.first)
    way = graph.op("Sub", X, graph.op("Gather", pieces.low, piece))
    way = graph.op("Where", graph.op("IsNaN", X), 0.0, way)
    values = pieces.values
    if chosen is not None:
        piece = _place_of(graph, piece, chosen, n_parts)
        m, _, n_sets = values.shape
        values = values.reshape(m, 2, n_parts, n_sets // n_parts).transpose(0, 2, 1, 3)
    values = values.reshape(-1, 2 * values.shape[-1])
    # One product of (2, p) and (p, 2 n_sets) per row; of its four blocks two count.
    ways = graph.op("Unsqueeze", way, np.array([1]))
    ones = graph.op("Expand", np.float64(1.0), graph.op("Shape", ways))
    ways = graph.op("Concat", ones, ways, axis=1)
    product = graph.op("MatMul", ways, graph.op("Gather", values, piece, axis=0))
    half = values.shape[1] // 2
    wanted = np.zeros((4 * half, half))
    wanted[:half], wanted[3 * half :] = np.eye(half), np.eye(half)
    return graph.op("MatMul", graph.reshape(product, -1, 4 * half), wanted)


def _place_of(graph, place, chosen, n_parts):
    """Places in a table that has the rows of all parts side by side."""
    return graph.op("Add", graph.op("Mul", place, np.int64(n_parts)), chosen)


def encoding_of(part, inputs):
    """The fitted encoding by which a part sees the inputs."""
    return part.encoding_ if inputs.curves is None else inputs.curves


def _level_values(column, codes, coef, first):
    """Values (m, n_sets) of codes of levels, of a gap and of what is unseen."""
    at, _ = column.places(codes, True)
    padded = np.column_stack([coef[:, :-1], np.zeros(len(coef))])
    return padded[:, np.where(at < 0, padded.shape[1] - 1, at + first)].T


def sums(parts, graph, inputs):
    """Sums (n, n_sets) of the curves of several parts."""
    return Curves(parts, graph, inputs).sums()


def _values(expert, graph, inputs):
    return INVERSE[link_of(expert)](graph, sums([expert], graph, inputs))


def _side_by_side(experts, graph, inputs):
    """Sums (n, K, n_sets) of experts that are alike."""
    n_sets = len(experts[0]._coef)
    return graph.reshape(sums(experts, graph, inputs), -1, len(experts), n_sets)


def _together(experts, graph, inputs):
    if not _alike(experts, inputs):
        return None
    total = _side_by_side(experts, graph, inputs)
    return INVERSE[link_of(experts[0])](graph, total)


def _chosen(experts, graph, inputs, chosen):
    if not _alike(experts, inputs):
        return None
    total = Curves(experts, graph, inputs).sums(chosen, len(experts))
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
    total = _side_by_side(experts, graph, inputs)
    return graph.op("Softmax", total, axis=2)


def _proba_chosen(experts, graph, inputs, chosen):
    if not _alike(experts, inputs):
        return None
    total = Curves(experts, graph, inputs).sums(chosen, len(experts))
    return graph.op("Softmax", total, axis=1)


def _gate(gate, graph, inputs):
    return sums([gate], graph, inputs)


for _kind in (AdditiveExpert, GeneralizedAdditiveExpert, VarianceCurves):
    register_expert(_kind, _values, together=_together, chosen=_chosen)
register_expert(
    AdditiveClassifierExpert,
    _proba,
    together=_proba_together,
    chosen=_proba_chosen,
)
register_gate(AdditiveGate, _gate)
