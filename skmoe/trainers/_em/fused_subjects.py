"""Fused EM where rows of a subject share one expert, and are one row of the gate."""

from functools import partial
from typing import NamedTuple

import numpy as np

from ..._kernels.em import Rule
from ..._kernels.subjects import (
    Panel,
    PanelStatistics,
    categorical_panel_pass,
    gaussian_panel_pass,
)
from ..._numerics.design import read_only, take_rows
from ...engines import map_rows
from ...mixture import e_step
from .._rows import Subjects
from .fused import LinearGaussianMixture
from .fused_classes import LinearCategoricalMixture


def panel_of(subjects):
    """What compiled code reads of subjects, whose rows must be sorted."""
    if subjects.order is not None:
        raise ValueError("Rows must be sorted by subject before the fused pass.")
    return Panel(
        read_only(np.append(subjects.starts, len(subjects.codes)), np.int64),
        read_only(subjects.codes, np.int64),
        read_only(subjects.share, float),
        read_only(subjects.rows, float),
        read_only(subjects.weight, float),
    )


class SubjectSums(NamedTuple):
    """As ``Statistics``, whose ``mass`` (K,) is that of rows; ``subjects`` (K,) is that
    of subjects."""

    total: np.ndarray
    mass: np.ndarray
    gate_gradient: np.ndarray
    gate_gram: np.ndarray
    expert_gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    subjects: np.ndarray


class SubjectMixture:
    """What replaces the passes of a ``LinearMixture`` over single rows.

    Parameters
    ----------
    gate : Design
        With a row for each subject; that of the experts has all rows.
    subjects : Subjects
        Of rows that are sorted.
    """

    def __init__(self, *args, subjects, **kwargs):
        super().__init__(*args, **kwargs)
        self._set_subjects(subjects)

    def _set_subjects(self, subjects):
        self.subjects, self.panel = subjects, panel_of(subjects)

    def on_rows(self, rows):
        numbers, codes = np.unique(self.subjects.codes[rows], return_inverse=True)
        weight = read_only(self.weight[rows])
        part = self.with_rule(
            gate=take_rows(self.gate, numbers),
            expert=take_rows(self.expert, rows),
            target=self._target_of(rows),
            weight=weight,
            total_weight=weight.sum(),
        )
        part._set_subjects(Subjects(codes, weight))
        return part

    def _accumulate(self, parts):
        add, n = partial(self.add_rows, parts), len(self.subjects)
        return self._named(map_rows(add, self._zero_sums, n, self.n_jobs))

    def _named(self, sums):
        sums = PanelStatistics(*sums)
        own = sums._asdict()
        return SubjectSums(**own | {"mass": own.pop("rows"), "subjects": sums.mass})

    def add_rows(self, parts, statistics, start, stop):
        """Add what subjects ``start : stop`` say to a tuple of sums, in place."""
        self._kernel(
            self.gate,
            self.expert,
            self.target,
            self.panel,
            parts,
            Rule(self.n_active, self.hard, False, self._exact_expert()),
            self.tree.branches(self.gate_channels),
            PanelStatistics(*statistics),
            start,
            stop,
        )

    def _zero_sums(self):
        return PanelStatistics(*self._zero_statistics(), np.zeros(self.n_experts))

    def _update_gate(self, coef, statistics):
        if self.gate_channels == 1:
            return self._shares(statistics.subjects)
        return super()._update_gate(coef, statistics)

    def _start_gate(self, targets, weight):
        return super()._start_gate(self.subjects.mean(targets), self.panel.weight)

    def responsibilities(self, run):
        """Responsibilities (n, K) of all rows at the end of a run."""
        log_gate, log_prob = self._log_parts(run.theta)
        each = e_step(log_gate, self.subjects.evidence(log_prob), hard=self.hard)[1]
        return self.subjects.spread(each)


class SubjectGaussianMixture(SubjectMixture, LinearGaussianMixture):
    """Subjects of linear experts with Gaussian noise."""

    _kernel = staticmethod(gaussian_panel_pass)


class SubjectCategoricalMixture(SubjectMixture, LinearCategoricalMixture):
    """Subjects of multinomial logistic experts."""

    _kernel = staticmethod(categorical_panel_pass)
