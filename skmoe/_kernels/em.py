"""The fused pass of EM: E-step and M-step statistics in one sweep over the rows.

A pass reads each row once, computes gate logits and expert predictions by matrix
products, turns them into responsibilities in cache, and adds up everything that the
M-step needs.  No array of shape (n_rows, n_experts) exists.
"""

from typing import NamedTuple

import numpy as np

from ._jit import jit
from .blocks import (
    BLOCK_ROWS,
    TILE_PAIRS,
    accumulate_grams,
    add_offset,
    add_product,
    load_block,
    load_weights,
    multinomial_curvature,
)
from .tree import ascend, descend, node_slopes, node_softmax
from .vector import copy_row, log_inplace, one_hot_columns, softmax_columns


class Design(NamedTuple):
    """Columns that a part of the model sees, and how they are standardised."""

    X: np.ndarray
    center: np.ndarray
    inverse_scale: np.ndarray


class Labels(NamedTuple):
    """Class codes (n,), and log-probabilities (n, C) to add to; (0, C) for none."""

    codes: np.ndarray
    offset: np.ndarray


class Rule(NamedTuple):
    """How responsibilities are formed and which curvature is accumulated."""

    n_active: int
    hard: bool
    shared_design: bool
    exact_expert: bool


class Statistics(NamedTuple):
    """Sums over rows; all of them are additive over row blocks.

    Attributes
    ----------
    total : (1,) weighted log-likelihood.
    mass : (K,) weighted responsibilities.
    gate_gradient : (S, q_gate) for the slots of the gates.
    gate_gram : (pairs, m) curvature of the gate; with a shared design the columns
        of the experts follow.
    expert_gram : (pairs, m) weighted Gram matrices of the experts.
    cross : (K * n_outputs, q_expert) products with the targets, or gradients.
    square : (K, n_outputs) weighted sums of squared targets.
    """

    total: np.ndarray
    mass: np.ndarray
    gate_gradient: np.ndarray
    gate_gram: np.ndarray
    expert_gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray


class Workspace(NamedTuple):
    """Scratch of one block, channel-major; allocated once per pass."""

    gate_block: np.ndarray
    expert_block: np.ndarray
    columns: np.ndarray
    proba: np.ndarray
    slots: np.ndarray
    joint: np.ndarray
    scratch: np.ndarray
    responsible: np.ndarray
    targets: np.ndarray
    tile: np.ndarray
    weight: np.ndarray


@jit
def make_workspace(branches, gate_coef, expert_coef, shared, stats, n_rows):
    """Allocate the scratch of a pass over ``n_rows`` rows."""
    width = min(BLOCK_ROWS, n_rows)
    n_slots, n_experts = gate_coef.shape[0], branches.leaves.size
    gate_block = np.empty((gate_coef.shape[1], width))
    expert_block = gate_block if shared else np.empty((expert_coef.shape[1], width))
    n_columns = stats.gate_gram.shape[1]
    if not shared:
        n_columns += stats.expert_gram.shape[1]
    pairs = max(stats.gate_gram.shape[0], stats.expert_gram.shape[0])
    return Workspace(
        gate_block,
        expert_block,
        np.empty((n_columns, width)),
        np.empty((n_slots, width)),
        np.empty((n_slots, width)),
        np.empty((n_experts, width)),
        np.empty((max(n_slots, n_experts), width)),
        np.empty((n_experts, width)),
        np.empty((expert_coef.shape[0], width)),
        np.empty((min(TILE_PAIRS, pairs), width)),
        np.empty(width),
    )


@jit
def load_rows(gate, expert, weight, rule, first, n_rows, work):
    """Load a block, standardised once if gate and experts share columns."""
    load_weights(weight, first, n_rows, work.weight)
    load_block(gate.X, gate.center, gate.inverse_scale, first, n_rows, work.gate_block)
    if not rule.shared_design:
        load_block(
            expert.X,
            expert.center,
            expert.inverse_scale,
            first,
            n_rows,
            work.expert_block,
        )


@jit
def add_prior(branches, gate_coef, rule, work):
    """Log-weights of the experts in ``work.joint``, as routed.

    The probabilities within each node stay as they were before routing: the E-step uses
    the former, the M-step of the gate the latter, for a masked softmax has no gradient
    by which an expert could win a row back.
    """
    logits = np.dot(gate_coef, work.gate_block)
    node_softmax(branches, logits, work.proba, work.scratch[: logits.shape[0]])
    descend(branches, rule.n_active, logits, work.joint)


@jit
def posterior(joint, weight, rule, scratch, total):
    """Responsibilities in ``joint``, in place.

    Adds the log-likelihood (soft) or the classification likelihood (hard) of the
    block to ``total``.
    """
    width = joint.shape[1]
    peak, mass = np.empty(width), np.empty(width)
    softmax_columns(joint, peak, mass, scratch)
    if rule.hard:
        one_hot_columns(joint)
        mass[:] = 1.0
    log_inplace(mass, scratch[0])
    for r in range(width):
        if weight[r] > 0.0:
            total[0] += weight[r] * (peak[r] + mass[r])


@jit
def add_gate(branches, rule, work, stats):
    """Responsibilities, their mass, and gradient and curvature of the gates."""
    n_slots = work.slots.shape[0]
    n_experts, width = work.joint.shape
    scratch = work.scratch[:n_experts]
    posterior(work.joint, work.weight, rule, scratch, stats.total)
    for k in range(n_experts):
        for r in range(width):
            work.responsible[k, r] = work.weight[r] * work.joint[k, r]
    # The last channel is all ones.
    mass = np.dot(work.responsible, work.gate_block[-1])
    for k in range(n_experts):
        stats.mass[k] += mass[k]
    ascend(branches, work.responsible, work.slots)
    slopes = work.scratch[:n_slots]
    node_slopes(branches, work.weight, work.slots, work.proba, slopes, work.columns)
    add_product(slopes, work.gate_block, stats.gate_gradient)


@jit
def add_experts(rule, gate_columns, work, stats):
    """Products with the targets, and all Gram matrices, in one go if shared."""
    add_product(work.targets, work.expert_block, stats.cross)
    columns = work.columns
    if rule.shared_design:
        accumulate_grams(work.gate_block, columns, stats.gate_gram, work.tile)
    else:
        accumulate_grams(
            work.gate_block, columns[:gate_columns], stats.gate_gram, work.tile
        )
        accumulate_grams(
            work.expert_block, columns[gate_columns:], stats.expert_gram, work.tile
        )


@jit
def add_gaussian(Y, start, n_rows, means, log_variance, joint):
    """``joint += log N(y | mean, variance)`` up to ``log(2 pi)``."""
    n_experts, n_outputs = log_variance.shape
    for k in range(n_experts):
        for d in range(n_outputs):
            precision = np.exp(-log_variance[k, d])
            offset = -0.5 * log_variance[k, d]
            for r in range(n_rows):
                error = Y[start + r, d] - means[k * n_outputs + d, r]
                joint[k, r] += offset - 0.5 * precision * error * error


@jit
def gaussian_targets(Y, start, n_rows, weights, targets, square):
    """Rows ``w r_k y_d`` of the right-hand sides, and the sums of squares."""
    n_experts, n_outputs = square.shape
    values = np.zeros(targets.shape[1])
    for d in range(n_outputs):
        for r in range(n_rows):
            values[r] = Y[start + r, d]
        for k in range(n_experts):
            row = k * n_outputs + d
            for r in range(targets.shape[1]):
                targets[row, r] = weights[k, r] * values[r]
            square[k, d] += np.dot(targets[row], values)


@jit
def gaussian_pass(gate, expert, Y, weight, theta, rule, branches, stats, start, stop):
    """Fused E-step and statistics of linear-Gaussian experts under softmax gates.

    ``theta`` is the triple of gate coefficients (S, q_gate), expert coefficients
    (K * n_outputs, q_expert) and log variances (K, n_outputs).
    """
    gate_coef, expert_coef, log_variance = theta
    n_experts = log_variance.shape[0]
    work = make_workspace(
        branches, gate_coef, expert_coef, rule.shared_design, stats, stop - start
    )
    width = work.weight.shape[0]
    gate_columns = work.columns.shape[0] - n_experts
    for first in range(start, stop, width):
        n_rows = min(width, stop - first)
        load_rows(gate, expert, weight, rule, first, n_rows, work)
        add_prior(branches, gate_coef, rule, work)
        means = np.dot(expert_coef, work.expert_block)
        add_gaussian(Y, first, n_rows, means, log_variance, work.joint)
        add_gate(branches, rule, work, stats)
        for k in range(n_experts):
            copy_row(work.responsible[k], work.columns[gate_columns + k])
        gaussian_targets(Y, first, n_rows, work.responsible, work.targets, stats.square)
        add_experts(rule, gate_columns, work, stats)


@jit
def add_categorical(codes, start, n_rows, n_classes, proba, joint):
    """``joint += log p_k(y)``; turns class logits into probabilities."""
    n_experts, width = joint.shape
    peak, mass = np.empty(width), np.empty(width)
    scratch = np.empty((n_classes, width))
    for k in range(n_experts):
        block = proba[k * n_classes : (k + 1) * n_classes]
        for r in range(n_rows):
            joint[k, r] += block[codes[start + r], r]
        softmax_columns(block, peak, mass, scratch)
        log_inplace(mass, scratch[0])
        for r in range(n_rows):
            joint[k, r] -= peak[r] + mass[r]


@jit
def categorical_residual(codes, start, n_rows, n_classes, proba, weights, residual):
    """Rows ``w r_k (1[y = c] - p_kc)``: the gradient of the class logits."""
    for row in range(proba.shape[0]):
        k, c = row // n_classes, row % n_classes
        for r in range(n_rows):
            hit = 1.0 if codes[start + r] == c else 0.0
            residual[row, r] = weights[k, r] * (hit - proba[row, r])
        residual[row, n_rows:] = 0.0


@jit
def categorical_pass(
    gate, expert, labels, weight, theta, rule, branches, stats, start, stop
):
    """Fused E-step and Newton statistics of multinomial logistic experts.

    ``theta`` is the pair of gate coefficients (S, q_gate) and class coefficients
    (K * n_classes, q_expert).
    """
    codes = labels.codes
    gate_coef, expert_coef = theta
    n_experts = branches.leaves.size
    n_classes = expert_coef.shape[0] // n_experts
    per_expert = n_classes * (n_classes - 1) // 2 if rule.exact_expert else n_classes
    work = make_workspace(
        branches, gate_coef, expert_coef, rule.shared_design, stats, stop - start
    )
    width = work.weight.shape[0]
    gate_columns = work.columns.shape[0] - n_experts * per_expert
    for first in range(start, stop, width):
        n_rows = min(width, stop - first)
        load_rows(gate, expert, weight, rule, first, n_rows, work)
        add_prior(branches, gate_coef, rule, work)
        proba = np.dot(expert_coef, work.expert_block)
        add_offset(labels.offset, first, n_rows, proba)
        add_categorical(codes, first, n_rows, n_classes, proba, work.joint)
        add_gate(branches, rule, work, stats)
        categorical_residual(
            codes, first, n_rows, n_classes, proba, work.responsible, work.targets
        )
        for k in range(n_experts):
            multinomial_curvature(
                proba[k * n_classes : (k + 1) * n_classes],
                work.responsible[k],
                rule.exact_expert,
                work.columns[gate_columns + k * per_expert :],
            )
        add_experts(rule, gate_columns, work, stats)
