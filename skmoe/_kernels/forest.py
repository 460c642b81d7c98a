"""Means over trees that stand one after another in arrays."""

import numpy as np

from ._jit import jit


@jit
def forest_means(X, roots, feature, threshold, gap_first, after, values, out):
    """Add the mean over trees of the leaves that rows fall into.

    Parameters
    ----------
    X : (n, p) float32, which may have gaps
    roots : (T,) int32, first node of each tree
    feature : (m,) int32, column of a node, -1 at a leaf
    threshold : (m,) float32; rows up to it go to the next node
    gap_first : (m,) bool, whether a gap goes to the next node as well
    after : (m,) int32, the node of all others; at a leaf its place in ``values``
    values : (leaves, d) float32
    out : (n, d), where it is added to
    """
    share = 1.0 / roots.size
    for i in range(X.shape[0]):
        for root in roots:
            node = root
            while feature[node] >= 0:
                value = X[i, feature[node]]
                is_gap = np.isnan(value)
                first = gap_first[node] if is_gap else value <= threshold[node]
                node = node + 1 if first else after[node]
            for j in range(values.shape[1]):
                out[i, j] += share * values[after[node], j]
