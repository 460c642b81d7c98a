"""Columns made uniform or normal by their quantiles, in a graph."""

import numpy as np
from sklearn.preprocessing import QuantileTransformer

from ._inputs import Matrix
from ._registry import register_transformer
from ._search import count
from ._special import normal_quantile

#: How near to the ends scikit-learn takes values for the ends, and chances for 0 and 1.
THRESHOLD = 1e-7


def _quantiles(transformer, graph, inputs):
    """The mean of interpolation upwards and downwards, as repeated quantiles need."""
    X, quantiles = inputs.numbers(), transformer.quantiles_
    references = transformer.references_
    both = [
        _between(graph, X, quantiles, references, strict) for strict in (False, True)
    ]
    chance = graph.op("Mul", graph.op("Add", *both), 0.5)
    normal = transformer.output_distribution == "normal"
    margin = THRESHOLD if normal else 0.0
    kinds = ("Greater", "Less") if normal else ("GreaterOrEqual", "LessOrEqual")
    above = graph.op(kinds[0], graph.op("Add", X, margin), quantiles[-1])
    below = graph.op(kinds[1], graph.op("Sub", X, margin), quantiles[0])
    chance = graph.op("Where", above, 1.0, chance)
    chance = graph.op("Where", below, 0.0, chance)
    if normal:
        least = THRESHOLD - np.spacing(1)
        chance = graph.op("Clip", chance, least, 1.0 - least)
        chance = normal_quantile(graph, chance)
    return Matrix.of(graph, chance, inputs.n_columns)


def _between(graph, X, quantiles, references, strict):
    """References at values between quantiles (m, p), from below, or from above."""
    m, p = quantiles.shape
    inside = graph.op("Min", graph.op("Max", X, quantiles[0]), quantiles[-1])
    place = count(graph, inside, np.ascontiguousarray(quantiles.T), strict)
    # From below the piece that begins at the last one reached; from above that which
    # ends at the first one not passed.
    piece = graph.op("Sub", place, np.int64(1))
    piece = graph.op("Min", graph.op("Max", piece, np.int64(0)), np.int64(m - 2))
    piece = graph.op("Add", piece, np.arange(p) * (m - 1))
    width = np.diff(quantiles, axis=0).T.ravel()
    wide = width > 0
    rise = np.tile(np.diff(references), p)
    slope = np.divide(rise, width, out=np.zeros_like(width), where=wide)
    start = quantiles[:-1].T.ravel(), np.tile(references[:-1], p)
    end = quantiles[1:].T.ravel(), np.tile(references[1:], p)
    low, at = end if strict else start
    way = graph.op("Sub", inside, graph.op("Gather", low, piece))
    way = graph.op("Mul", way, graph.op("Gather", slope, piece))
    return graph.op("Add", graph.op("Gather", at, piece), way)


register_transformer(QuantileTransformer, _quantiles)
