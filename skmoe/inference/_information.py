"""Observed information of a mixture's log-likelihood, and the scores of its units."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .. import mixture
from .._estimators import answers
from .._sklearn import safe_indexing
from .._tables.table import row_weights
from ..trainers._rows import numbered
from ._derivatives import row_derivatives

# Rows that are summed at a time, so that what is made of them stays in cache.
BLOCK_ROWS = 4096


class Units(NamedTuple):
    """What is independent: rows, or subjects, whose rows stand together.

    Attributes
    ----------
    order : (n,) rows, subject by subject
    starts : (m + 1,) where each unit starts in that order, and where the last ends
    """

    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, n_rows, groups):
        """Rows by themselves, where ``groups`` is None; else rows of each group."""
        if groups is None:
            return cls(np.arange(n_rows), np.arange(n_rows + 1))
        place, _ = numbered(groups)
        order = np.argsort(place, kind="stable")
        ends = np.cumsum(np.bincount(place))
        return cls(order, np.concatenate([[0], ends]))

    @property
    def n_units(self):
        """Number of units."""
        return len(self.starts) - 1

    def blocks(self):
        """Units in blocks of about ``BLOCK_ROWS`` rows: slices of their numbers."""
        first = 0
        while first < self.n_units:
            end = self.starts[first] + BLOCK_ROWS
            last = int(np.searchsorted(self.starts, end, side="right")) - 1
            last = max(first + 1, last)
            yield slice(first, last)
            first = last


class Sums(NamedTuple):
    """Sums over all units.

    Attributes
    ----------
    information : (P, P) minus the Hessian of the log-likelihood
    outer : (P, P) sum of the outer products of the units' scores
    score : (P,) gradient of the log-likelihood
    value : (1,) log-likelihood
    """

    information: np.ndarray
    outer: np.ndarray
    score: np.ndarray
    value: np.ndarray


class Sample(NamedTuple):
    """Rows as all parts of a mixture read them.

    Attributes
    ----------
    own : FittedMixture
    seen : Seen
    y : what likelihoods take
    weight : (m,) of the units
    units : Units
    """

    own: object
    seen: object
    y: np.ndarray
    weight: np.ndarray
    units: Units

    @classmethod
    def read(cls, model, X, y, sample_weight, groups, sizes):
        """Rows of a table.

        Raises
        ------
        ValueError
            If the rows of a group differ in weight.
        """
        own, seen = answers.see(model.mixture, model.seen(X), **sizes)
        checked = own.target.check(y, seen.gate, model.mixture)
        weight = row_weights(seen.gate, sample_weight)
        units = Units.of(len(weight), groups)
        first = units.order[units.starts[:-1]]
        whole = np.repeat(weight[first], np.diff(units.starts))
        differs = np.flatnonzero(whole != weight[units.order])
        if len(differs):
            row = units.order[differs[0]]
            raise ValueError(
                f"sample_weight has {weight[row]!r} in row {row}, but expected the "
                f"weight {whole[differs[0]]!r} of all rows of the group "
                f"{np.asarray(groups)[row]!r}; give every subject one weight."
            )
        return cls(own, seen, own.target.encode(checked), weight[first], units)

    def block(self, which):
        """The rows of some units, and which units they are of."""
        starts = self.units.starts[which.start : which.stop + 1]
        rows = self.units.order[starts[0] : starts[-1]]
        return rows, starts - starts[0]


def summed(sample, layout):
    """The ``Sums`` over the units of a sample, by Louis' formula [1]_.

    Parameters
    ----------
    sample : Sample
    layout : Layout

    Returns
    -------
    Sums

    References
    ----------
    .. [1] Louis, T. A. (1982). Finding the observed information matrix when using the
       EM algorithm. J. R. Statist. Soc. B 44.
    """
    n = len(layout.terms)
    total = Sums(np.zeros((n, n)), np.zeros((n, n)), np.zeros(n), np.zeros(1))
    for which in sample.units.blocks():
        rows, starts = sample.block(which)
        block = _Block(sample, layout, rows, starts, sample.weight[which])
        block.add_to(total)
    lower = np.tril(total.information)
    return total._replace(information=lower + np.tril(lower, -1).T)


class _Block:
    """Some units, whose contributions are added to the sums.

    Parameters
    ----------
    sample : Sample
    layout : Layout
    rows : (n,) numbers of the rows
    starts : (m + 1,) where each unit starts
    weight : (m,) of the units
    """

    def __init__(self, sample, layout, rows, starts, weight):
        self.layout, self.weight, self.own = layout, weight, sample.own
        self.starts = None if len(rows) == len(weight) else starts[:-1]
        self.lengths = np.diff(starts)
        self.y = sample.y[rows]
        size = sample.seen.size
        self.size = None if size is None else size[rows]
        self.views = [safe_indexing(view, rows) for view in sample.seen.experts]
        gate_view = safe_indexing(sample.seen.gate, rows[starts[:-1]])
        # A gate that reads no columns may stand before a table of text.
        reads = bool(layout.gate.column.any())
        self.gate_columns = with_ones(gate_view) if reads else np.ones((len(weight), 1))
        self._e_step(gate_view)

    def _e_step(self, gate_view):
        own, classes = self.own, self.own.target.classes
        self.likelihoods = mixture.at_views(own.likelihoods, self.views)
        seen = answers.Seen(gate_view, self.views, None, self.size)
        self.predictions = own.each(seen)
        log_prob = mixture.log_prob(
            self.likelihoods, self.y, self.predictions, self.size
        )
        log_gate = own.gate.predict_log_proba(gate_view)
        self.gate_proba = np.exp(log_gate)
        log_prob = self.per_unit(log_prob)
        self.resp = mixture.responsibilities(log_gate, log_prob)
        self.value = self.weight @ mixture.log_density(log_gate, log_prob)
        each = zip(self.likelihoods, self.predictions, log_prob.T, strict=True)
        self.derivatives = [
            None
            if likelihood.is_bare
            else row_derivatives(
                likelihood, self._possible(likelihood, at, log), at, self.size, classes
            )
            for likelihood, at, log in each
        ]

    def _possible(self, likelihood, prediction, log_prob):
        """Targets, in whose place means stand where they are impossible.

        Nothing of such rows counts for the expert, but derivatives must be numbers.
        """
        nowhere = np.isneginf(log_prob)
        if not nowhere.any():
            return self.y
        mean = likelihood.mean(prediction, self.size)
        return np.where(nowhere[:, None], mean, self.y)

    def per_unit(self, values):
        """Sums of values of rows over those of each unit."""
        if self.starts is None:
            return values
        return np.add.reduceat(values, self.starts, axis=0)

    def per_row(self, values):
        """Values of units, repeated for their rows."""
        return (
            values if self.starts is None else np.repeat(values, self.lengths, axis=0)
        )

    def add_to(self, total):
        """Add complete information, less the missing, and what else is summed."""
        mean = np.zeros((len(self.weight), len(total.score)))
        self._add_gate(total.information)
        for k, channels in enumerate(self.layout.experts):
            resp = self.resp[:, k] * self.weight
            score, at = self._scores(k, channels)
            mean[:, at] += self.resp[:, [k]] * score
            total.information[np.ix_(at, at)] -= score.T @ (resp[:, None] * score)
            if len(channels.at):
                self._add_expert(total.information, k, channels, self.per_row(resp))
        outer = mean.T @ (self.weight[:, None] * mean)
        total.information[...] += outer
        total.outer[...] += outer
        total.score[...] += self.weight @ mean
        total.value[...] += self.value

    def _scores(self, k, channels):
        """Complete-data scores (m, ·) of units if they are of an expert, and places."""
        gate = self.layout.gate
        slots = self._slot_scores(k)[:, gate.channel]
        score = slots * self.gate_columns[:, gate.column]
        if not len(channels.at):
            return score, gate.at
        slope = self.derivatives[k][0][:, channels.channel]
        own = self.per_unit(slope * with_ones(self.views[k])[:, channels.column])
        return np.hstack([score, own]), np.concatenate([gate.at, channels.at])

    def _slot_scores(self, k):
        """Slopes (m, S) of the log-weight of an expert in the logits of all slots."""
        tree = self.own.gate.tree_for(self.own.n_experts)
        if tree.n_nodes == 1:
            return np.eye(self.own.n_experts)[k] - self.gate_proba
        mass = tree.to_slots(self.gate_proba)
        slope = np.zeros_like(mass)
        for node, slots in enumerate(tree.slots):
            above = tree.parents[node]
            if above >= 0 and not tree.beneath[above, k]:
                continue
            whole = mass[:, slots].sum(axis=1, keepdims=True)
            slope[:, slots] = tree.beneath[slots, k] - mass[:, slots] / whole
        return slope

    def _add_gate(self, information):
        """Complete information of the gate: that of soft multinomial regressions."""
        tree = self.own.gate.tree_for(self.own.n_experts)
        mass, reached = tree.to_slots(self.gate_proba), tree.to_slots(self.resp)
        for slots in tree.slots:
            share = mass[:, slots] / mass[:, slots].sum(axis=1, keepdims=True)
            weight = self.weight * reached[:, slots].sum(axis=1)
            curvature = {
                (slots.start + a, slots.start + b): weight
                * (share[:, a] * (a == b) - share[:, a] * share[:, b])
                for a in range(share.shape[1])
                for b in range(a, share.shape[1])
            }
            _add(information, self.layout.gate, self.gate_columns, curvature)

    def _add_expert(self, information, k, channels, weight):
        """Complete information of an expert, of weighted rows."""
        curvature = {at: weight * own for at, own in self.derivatives[k][1].items()}
        _add(information, channels, with_ones(self.views[k]), curvature)


def _add(information, channels, columns, curvature):
    """Add weighted moments of columns, by pairs of channels, to both triangles."""
    for (a, b), weight in curvature.items():
        one, other = (np.flatnonzero(channels.channel == own) for own in (a, b))
        if not (len(one) and len(other)):
            continue
        left = columns[:, channels.column[one]]
        block = left.T @ (weight[:, None] * columns[:, channels.column[other]])
        rows, cols = channels.at[one], channels.at[other]
        information[np.ix_(rows, cols)] += block
        if a != b:
            information[np.ix_(cols, rows)] += block.T


def with_ones(view):
    """Columns (n, p + 1) of a view, after one of ones."""
    values = view.toarray() if sparse.issparse(view) else np.asarray(view, dtype=float)
    return np.column_stack([np.ones(len(values)), values])
