"""Which of ascending numbers values have reached, by comparing in two rounds."""

import numpy as np

#: Numbers from which on a first round finds the block.
FEW = 80


def count(graph, X, knots, strict=False):
    """How many of the ascending ``knots`` (p, b) of its column each value has reached.

    Those behind the last one of a column are infinite, and never reached.

    Parameters
    ----------
    graph : Graph
    X : tensor of doubles (n, p)
    knots : ndarray of shape (p, b)
    strict : bool, default=False
        Whether a value must be larger.

    Returns
    -------
    tensor of integers (n, p)
    """
    p, b = knots.shape
    if not b:
        return graph.constant(np.int64(0))
    at = graph.op("Unsqueeze", X, np.array([2]))
    if b <= FEW:
        return graph.cast(_reached(graph, at, knots, strict), np.int64)
    size = int(np.ceil(np.sqrt(b)))
    n_blocks = -(-b // size)
    padded = np.full((p, n_blocks * size), np.inf)
    padded[:, :b] = knots
    blocks = padded.reshape(p, n_blocks, size)
    block = _reached(graph, at, blocks[:, 1:, 0], strict)
    block = graph.cast(block, np.int64)
    place = graph.op("Add", block, np.arange(p) * n_blocks)
    own = graph.op("Gather", blocks.reshape(-1, size), place, axis=0)
    inner = graph.cast(_reached(graph, at, own, strict), np.int64)
    return graph.op("Add", graph.op("Mul", block, np.int64(size)), inner)


def _reached(graph, at, knots, strict):
    kind = "Greater" if strict else "GreaterOrEqual"
    there = graph.cast(graph.op(kind, at, knots), np.float32)
    return graph.sum(there, axis=2, keepdims=0)
