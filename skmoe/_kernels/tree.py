"""Gates of a tree over row blocks: softmax per node, products along paths.

A block of *slots* has one channel per child of every node, node after node.  A flat
gate is a tree of one node, whose slots are the experts.
"""

from typing import NamedTuple

import numpy as np

from ._jit import jit
from .blocks import BLOCK_ROWS, multinomial_curvature
from .vector import copy_row, exp_inplace, log_inplace, subtract_peak


class Branches(NamedTuple):
    """Arrays that describe a tree to compiled code.

    Attributes
    ----------
    bounds : (n_nodes + 1,) first slot of each node; children stand behind parents.
    above : (S,) slot above the node of each slot, -1 at the root.
    leaves : (K,) slot of each expert.
    levels : (depth + 1,) first slot of each level of the tree.
    below : (S,) number of the node beneath each slot; minus one less the number of the
        expert that stands there.
    curves : (n_nodes + 1,) first column of each node's curvature.
    exact : (n_nodes,) whether that is the joint curvature of its children.
    """

    bounds: np.ndarray
    above: np.ndarray
    leaves: np.ndarray
    levels: np.ndarray
    below: np.ndarray
    curves: np.ndarray
    exact: np.ndarray


@jit
def node_softmax(branches, logits, proba, scratch):
    """Softmax within each node: logarithms in ``logits``, in place, and ``proba``."""
    bounds = branches.bounds
    width = logits.shape[1]
    total, peak = np.empty(width), np.empty(width)
    for node in range(bounds.size - 1):
        subtract_peak(logits[bounds[node] : bounds[node + 1]], peak)
    for s in range(bounds[-1]):
        copy_row(logits[s], proba[s])
    exp_inplace(proba.reshape(-1), scratch.reshape(-1))
    for node in range(bounds.size - 1):
        total[:] = 0.0
        for s in range(bounds[node], bounds[node + 1]):
            for r in range(width):
                total[r] += proba[s, r]
        for s in range(bounds[node], bounds[node + 1]):
            for r in range(width):
                proba[s, r] /= total[r]
        log_inplace(total, peak)
        for s in range(bounds[node], bounds[node + 1]):
            for r in range(width):
                logits[s, r] -= total[r]


@jit
def descend(branches, n_active, logs, prior):
    """Log-weights ``prior`` (K, n_rows) of the leaves: sums of ``logs`` along paths.

    With ``n_active`` fewer than the leaves, only the best paths are followed at each
    level, and the weights of their leaves sum to one.  ``logs`` is spoiled.
    """
    n_slots, width = logs.shape
    n_leaves = branches.leaves.size
    for level in range(branches.levels.size - 1):
        for s in range(branches.levels[level], branches.levels[level + 1]):
            above = branches.above[s]
            if above >= 0:
                for r in range(width):
                    logs[s, r] += logs[above, r]
        if n_active < n_leaves:
            keep_paths(branches, level, n_active, logs)
    for k in range(n_leaves):
        copy_row(logs[branches.leaves[k]], prior[k])
    if n_active < n_leaves:
        normalise_logs(prior)


@jit
def keep_paths(branches, level, n_active, logs):
    """Set all but the best slots that a row has reached to minus infinity.

    Candidates are the slots of ``level`` and leaves above it; of equal ones the first
    wins.
    """
    first, last = branches.levels[level], branches.levels[level + 1]
    kept = np.zeros(last, dtype=np.bool_)
    for r in range(logs.shape[1]):
        kept[:] = False
        for _ in range(n_active):
            best = -1
            for s in range(last):
                if kept[s] or (s < first and branches.below[s] >= 0):
                    continue
                if best < 0 or logs[s, r] > logs[best, r]:
                    best = s
            if best >= 0:
                kept[best] = True
        for s in range(last):
            if not kept[s] and (s >= first or branches.below[s] < 0):
                logs[s, r] = -np.inf


@jit
def normalise_logs(logs):
    """Subtract the log-sum-exp of each column, in place; some may be infinite."""
    for r in range(logs.shape[1]):
        peak, total = logs[0, r], 0.0
        for k in range(logs.shape[0]):
            peak = max(peak, logs[k, r])
        for k in range(logs.shape[0]):
            total += np.exp(logs[k, r] - peak)
        total = peak + np.log(total)
        for k in range(logs.shape[0]):
            logs[k, r] -= total


@jit
def ascend(branches, responsible, mass):
    """Mass of each slot: the sum over the leaves beneath it."""
    mass[:] = 0.0
    for k in range(branches.leaves.size):
        copy_row(responsible[k], mass[branches.leaves[k]])
    for s in range(branches.above.size - 1, -1, -1):
        above = branches.above[s]
        if above >= 0:
            for r in range(mass.shape[1]):
                mass[above, r] += mass[s, r]


@jit
def node_slopes(branches, weight, mass, proba, slopes, columns):
    """Gradient of the slots' logits, and each node's curvature at its mass."""
    for node in range(branches.bounds.size - 1):
        first, last = branches.bounds[node], branches.bounds[node + 1]
        above = branches.above[first]
        own = weight if above < 0 else mass[above]
        for s in range(first, last):
            for r in range(own.size):
                slopes[s, r] = mass[s, r] - own[r] * proba[s, r]
        curves = columns[branches.curves[node] :]
        multinomial_curvature(proba[first:last], own, branches.exact[node], curves)


@jit
def linear_leaves(X, coef, branches, out):
    """Log-weights ``out`` (n, K) of all leaves of a tree of linear gates.

    ``coef`` is (S, p + 1), last the intercept.
    """
    n_slots, p = coef.shape[0], X.shape[1]
    width = min(BLOCK_ROWS, len(X))
    block = np.empty((p + 1, width))
    proba, scratch = np.empty((n_slots, width)), np.empty((n_slots, width))
    prior = np.empty((out.shape[1], width))
    for first in range(0, len(X), max(width, 1)):
        n_rows = min(width, len(X) - first)
        block[:p, n_rows:] = 0.0
        block[p] = 1.0
        for r in range(n_rows):
            for j in range(p):
                block[j, r] = X[first + r, j]
        logits = np.dot(coef, block)
        node_softmax(branches, logits, proba, scratch)
        descend(branches, out.shape[1], logits, prior)
        for r in range(n_rows):
            for k in range(out.shape[1]):
                out[first + r, k] = prior[k, r]


@jit
def linear_beam(X, coef, branches, indices, weights):
    """Leaves that rows reach when only the best paths are followed at each level.

    Parameters
    ----------
    X : (n, p)
    coef : (S, p + 1) of the slots' logits, last the intercept.
    branches : Branches
    indices, weights : (n, k) leaves, best first, and their weights, which sum to one;
        filled by the function.
    """
    k = indices.shape[1]
    widest = np.max(np.diff(branches.bounds))
    front, found = np.empty(k, np.int64), np.empty(k * widest, np.int64)
    front_log, found_log = np.empty(k), np.empty(k * widest)
    for i in range(len(X)):
        count = open_node(X[i], coef, branches, 0, 0.0, k > 1, found, found_log, 0)
        count = keep_best(found, found_log, count, front, front_log)
        for _ in range(branches.levels.size - 2):
            reached = 0
            for f in range(count):
                node = branches.below[front[f]]
                if node < 0:
                    found[reached], found_log[reached] = front[f], front_log[f]
                    reached += 1
                    continue
                reached = open_node(
                    X[i],
                    coef,
                    branches,
                    node,
                    front_log[f],
                    k > 1,
                    found,
                    found_log,
                    reached,
                )
            count = keep_best(found, found_log, reached, front, front_log)
        write_leaves(branches, front, front_log, count, indices[i], weights[i])


@jit
def open_node(x, coef, branches, node, log_weight, normalise, slots, logs, at):
    """Append the children of a node with their log-weights; returns the new length.

    A single path needs no sums of exponentials to compare siblings.
    """
    first, last = branches.bounds[node], branches.bounds[node + 1]
    p, start, peak = x.size, at, -np.inf
    for s in range(first, last):
        logit = coef[s, p]
        for j in range(p):
            logit += coef[s, j] * x[j]
        slots[at], logs[at] = s, logit
        peak = max(peak, logit)
        at += 1
    if normalise:
        total = 0.0
        for c in range(start, at):
            total += np.exp(logs[c] - peak)
        total = peak + np.log(total)
        for c in range(start, at):
            logs[c] += log_weight - total
    return at


@jit
def keep_best(slots, logs, count, kept, kept_log):
    """The best candidates, best first; of equal ones the lowest slot wins."""
    size = min(count, kept.size)
    for place in range(size):
        best = place
        for c in range(place + 1, count):
            better = logs[c] > logs[best]
            if better or (logs[c] == logs[best] and slots[c] < slots[best]):
                best = c
        kept[place], kept_log[place] = slots[best], logs[best]
        slots[best], logs[best] = slots[place], logs[place]
    return size


@jit
def write_leaves(branches, slots, logs, count, indices, weights):
    """Numbers of the leaves in ``slots``, and the softmax of their log-weights."""
    indices[count:], weights[count:] = -1, 0.0
    total = 0.0
    for place in range(count):
        indices[place] = -1 - branches.below[slots[place]]
        weights[place] = np.exp(logs[place] - logs[0])
        total += weights[place]
    for place in range(count):
        weights[place] /= total
