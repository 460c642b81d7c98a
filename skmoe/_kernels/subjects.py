"""The fused pass of EM where rows of a subject share one expert.

Blocks are of subjects.  A first sweep over their rows adds up the log-densities of each
subject, the gate and the E-step see a subject as one row, and a second sweep adds up
what the M-step of the experts needs.
"""

from typing import NamedTuple

import numpy as np

from ._jit import jit
from .blocks import (
    accumulate_grams,
    add_offset,
    add_product,
    load_block,
    load_weights,
    multinomial_curvature,
)
from .em import (
    add_categorical,
    add_gate,
    add_gaussian,
    add_prior,
    categorical_residual,
    gaussian_targets,
    make_workspace,
)


class Panel(NamedTuple):
    """Rows sorted by subject.

    Attributes
    ----------
    starts : (S + 1,) first row of each subject, and the number of rows.
    codes : (n,) number of the subject of each row.
    share : (n,) weight of a row over that of its subject.
    rows : (n,) weight of each row.
    weight : (S,) weight of each subject.
    """

    starts: np.ndarray
    codes: np.ndarray
    share: np.ndarray
    rows: np.ndarray
    weight: np.ndarray


class PanelStatistics(NamedTuple):
    """As ``Statistics``; ``mass`` (K,) is that of subjects, ``rows`` (K,) of rows."""

    total: np.ndarray
    mass: np.ndarray
    gate_gradient: np.ndarray
    gate_gram: np.ndarray
    expert_gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    rows: np.ndarray


@jit
def panel_workspace(branches, gate_coef, expert_coef, panel, stats, start, stop):
    """Scratch for subjects ``start : stop`` and their rows."""
    most = max(stop - start, panel.starts[stop] - panel.starts[start])
    return make_workspace(branches, gate_coef, expert_coef, False, stats, most)


@jit
def load_expert(expert, start, n_rows, work):
    """Load a block of rows as the experts see them."""
    load_block(
        expert.X, expert.center, expert.inverse_scale, start, n_rows, work.expert_block
    )


@jit
def add_evidence(panel, start, n_rows, first, joint, evidence):
    """Add log-densities ``joint`` (K, n_rows) of rows to those of their subjects.

    ``evidence`` (K, S') is of the subjects from number ``first`` on.
    """
    for k in range(joint.shape[0]):
        subject, total = panel.codes[start], 0.0
        for r in range(n_rows):
            own = panel.codes[start + r]
            if own != subject:
                evidence[k, subject - first] += total
                subject, total = own, 0.0
            total += panel.share[start + r] * joint[k, r]
        evidence[k, subject - first] += total


@jit
def weigh_subjects(
    gate, panel, gate_coef, rule, branches, evidence, work, stats, first, n
):
    """E-step of subjects, whose responsibilities are left in ``work.joint``, and what
    the M-step of the gates needs."""
    load_weights(panel.weight, first, n, work.weight)
    load_block(gate.X, gate.center, gate.inverse_scale, first, n, work.gate_block)
    add_prior(branches, gate_coef, rule, work)
    for k in range(evidence.shape[0]):
        for s in range(n):
            work.joint[k, s] += evidence[k, s]
    add_gate(branches, rule, work, stats)
    columns = work.columns[: stats.gate_gram.shape[1]]
    accumulate_grams(work.gate_block, columns, stats.gate_gram, work.tile)


@jit
def spread_over_rows(panel, start, n_rows, first, work, stats):
    """Weighted responsibilities of rows, those of their subjects."""
    for k in range(work.joint.shape[0]):
        total = 0.0
        for r in range(n_rows):
            resp = work.joint[k, panel.codes[start + r] - first]
            work.responsible[k, r] = panel.rows[start + r] * resp
            total += work.responsible[k, r]
        work.responsible[k, n_rows:] = 0.0
        stats.rows[k] += total


@jit
def gaussian_panel_pass(gate, expert, Y, panel, theta, rule, branches, stats, a, b):
    """As ``gaussian_pass``, of subjects ``a : b``; ``gate`` has a row for each."""
    gate_coef, expert_coef, log_variance = theta
    work = panel_workspace(branches, gate_coef, expert_coef, panel, stats, a, b)
    width = work.weight.shape[0]
    evidence = np.empty((log_variance.shape[0], width))
    for first in range(a, b, width):
        n = min(width, b - first)
        start, stop = panel.starts[first], panel.starts[first + n]
        evidence[:] = 0.0
        for at in range(start, stop, width):
            n_rows = min(width, stop - at)
            load_expert(expert, at, n_rows, work)
            means = np.dot(expert_coef, work.expert_block)
            work.joint[:] = 0.0
            add_gaussian(Y, at, n_rows, means, log_variance, work.joint)
            add_evidence(panel, at, n_rows, first, work.joint, evidence)
        weigh_subjects(
            gate, panel, gate_coef, rule, branches, evidence, work, stats, first, n
        )
        for at in range(start, stop, width):
            n_rows = min(width, stop - at)
            load_expert(expert, at, n_rows, work)
            spread_over_rows(panel, at, n_rows, first, work, stats)
            gaussian_targets(
                Y, at, n_rows, work.responsible, work.targets, stats.square
            )
            add_product(work.targets, work.expert_block, stats.cross)
            accumulate_grams(
                work.expert_block, work.responsible, stats.expert_gram, work.tile
            )


@jit
def class_scores(expert, labels, expert_coef, start, n_rows, work):
    """Class logits of rows."""
    load_expert(expert, start, n_rows, work)
    scores = np.dot(expert_coef, work.expert_block)
    add_offset(labels.offset, start, n_rows, scores)
    return scores


@jit
def add_class_experts(labels, rule, start, n_rows, proba, work, stats):
    """Gradient and curvature of the experts on rows with ``work.responsible``."""
    n_experts = work.joint.shape[0]
    n_classes = proba.shape[0] // n_experts
    columns = work.columns[stats.gate_gram.shape[1] :]
    per_expert = columns.shape[0] // n_experts
    categorical_residual(
        labels.codes, start, n_rows, n_classes, proba, work.responsible, work.targets
    )
    for k in range(n_experts):
        multinomial_curvature(
            proba[k * n_classes : (k + 1) * n_classes],
            work.responsible[k],
            rule.exact_expert,
            columns[k * per_expert :],
        )
    add_product(work.targets, work.expert_block, stats.cross)
    accumulate_grams(work.expert_block, columns, stats.expert_gram, work.tile)


@jit
def categorical_panel_pass(
    gate, expert, labels, panel, theta, rule, branches, stats, a, b
):
    """As ``categorical_pass``, of subjects ``a : b``; ``gate`` has a row for each."""
    gate_coef, expert_coef = theta
    n_experts = branches.leaves.size
    n_classes = expert_coef.shape[0] // n_experts
    work = panel_workspace(branches, gate_coef, expert_coef, panel, stats, a, b)
    width = work.weight.shape[0]
    evidence = np.empty((n_experts, width))
    for first in range(a, b, width):
        n = min(width, b - first)
        start, stop = panel.starts[first], panel.starts[first + n]
        evidence[:] = 0.0
        for at in range(start, stop, width):
            n_rows = min(width, stop - at)
            proba = class_scores(expert, labels, expert_coef, at, n_rows, work)
            work.joint[:] = 0.0
            add_categorical(labels.codes, at, n_rows, n_classes, proba, work.joint)
            add_evidence(panel, at, n_rows, first, work.joint, evidence)
        weigh_subjects(
            gate, panel, gate_coef, rule, branches, evidence, work, stats, first, n
        )
        for at in range(start, stop, width):
            n_rows = min(width, stop - at)
            # Probabilities of all rows of the subjects would not stay in cache.
            proba = class_scores(expert, labels, expert_coef, at, n_rows, work)
            spread_over_rows(panel, at, n_rows, first, work, stats)
            unused = work.scratch[:n_experts]
            add_categorical(labels.codes, at, n_rows, n_classes, proba, unused)
            add_class_experts(labels, rule, at, n_rows, proba, work, stats)
