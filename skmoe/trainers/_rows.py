"""The rows that a mixture is trained on: what each part sees of them, and y."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from .._numerics.design import stays_sparse
from .._numerics.grams import Columns
from .._sklearn import safe_indexing, taken_params
from ..experts._answers import predict_expert


@dataclass(frozen=True)
class Rows:
    """Rows of one mixture, without those of weight zero.

    Attributes
    ----------
    gate_view : what the gate sees of X
    expert_views : list of what each expert sees; the same object where they share
    y : (n, d) float outputs, or (n,) integer class codes; in regression what a shared
        expert leaves
    labels : y as foreign experts are given it
    classes : class labels, or None in regression
    weight : (n,) row weights
    size : (n,) exposures or numbers of trials that y counts in, or None
    log_prior : (n, C) log-probabilities of a shared classifier, which the experts add
        to, or None
    folds : list of (training rows, test rows), or None for the trainer's own
    fit_params : list of dict, further arguments of each expert's ``fit``; or empty
    weight_unit : float, what a weight of one stands for in units of the user's
    groups : (n,) numbers of the subjects that rows belong to, or None
    judges : Rows by which a trainer stops and from which it does not learn, or None
    """

    gate_view: object
    expert_views: list
    y: np.ndarray
    labels: np.ndarray
    classes: np.ndarray | None
    weight: np.ndarray
    size: np.ndarray | None = None
    log_prior: np.ndarray | None = None
    folds: list | None = None
    fit_params: list = field(default_factory=list)
    weight_unit: float = 1.0
    groups: np.ndarray | None = None
    judges: object = None
    #: Whether they stand for more rows, which training reads from a source.
    streamed = False
    #: Means and standard deviations (d,) of the outputs, if they are known beforehand.
    output_scales = None
    # What is known of the views, by their number.
    columns: dict = field(default_factory=dict, repr=False)

    def __len__(self):
        return len(self.weight)

    def fields(self):
        """All fields by name, for rows of another kind that have them, too."""
        return {own.name: vars(self)[own.name] for own in fields(Rows)}

    @cached_property
    def subjects(self):
        """Which rows belong together: each by itself without ``groups``."""
        return subjects_of(self.groups, self.weight)

    @cached_property
    def gate_rows(self):
        """What the gate sees, once for each subject."""
        return self.subjects.of(self.gate_view)

    @property
    def are_grouped(self):
        """Whether a subject has several rows."""
        return len(self.subjects) < len(self)

    def scales_of(self, view):
        """Means and standard deviations (p,) of the columns of a view, if they are
        known beforehand."""
        return

    def gate_weight(self, total):
        """Weight of all that a gate sees, of rows that weigh a ``total``."""
        return total

    @property
    def chosen_by_all(self):
        """Numbers of the columns that gate, and each expert, see where rows are read
        again; None for all."""
        return [None] * (1 + len(self.expert_views))

    def over_all(self, likelihood, discrete):
        """A fitted likelihood with what it takes of all rows, not of these only."""
        return likelihood

    @property
    def n_outputs(self):
        """Outputs of a regression; None for classes."""
        return self.y.shape[1] if self.classes is None else None

    def answer_of(self, expert, view, offset=None):
        """What a fitted expert predicts of a view, which may be of other rows."""
        return predict_expert(expert, view, self.classes, self.n_outputs, offset)

    def on_rows(self, rows):
        """Some of the rows."""
        views = {id(v): v for v in (self.gate_view, *self.expert_views)}
        parts = {key: safe_indexing(view, rows) for key, view in views.items()}
        return replace(
            self,
            gate_view=parts[id(self.gate_view)],
            expert_views=[parts[id(view)] for view in self.expert_views],
            columns={},
            y=self.y[rows],
            labels=self.labels[rows],
            fit_params=[
                taken_params(view, own, rows)
                for view, own in zip(self.expert_views, self.fit_params, strict=False)
            ],
            folds=None if self.folds is None else self._folds_on(rows),
            weight=self.weight[rows],
            log_prior=None if self.log_prior is None else self.log_prior[rows],
            size=None if self.size is None else self.size[rows],
            groups=None if self.groups is None else numbered(self.groups[rows])[0],
        )

    def _folds_on(self, rows):
        """The folds in terms of some of the rows; empty ones are dropped."""
        place = np.full(len(self.y), -1)
        place[rows] = np.arange(len(rows))
        folds = [[part[part >= 0] for part in map(place.take, f)] for f in self.folds]
        return [(train, test) for train, test in folds if len(train) and len(test)]

    def of_experts(self, kept):
        """The same rows for some of the experts, by number."""
        return replace(
            self,
            expert_views=[self.expert_views[k] for k in kept],
            fit_params=[self.fit_params[k] for k in kept] if self.fit_params else [],
            judges=None if self.judges is None else self.judges.of_experts(kept),
        )

    def columns_of(self, view):
        """What a part sees of X, for the count of its parameters; the same each time.

        Views are kept by what they are, and stay alive with it.
        """
        known = self.columns.get(id(view))
        if known is None or known.X is not view:
            known = self.columns[id(view)] = Columns(view, self.weight)
        return known

    def mean_answer(self, expert, number):
        """Mean over all rows of what a fitted expert, by its number, predicts: of the
        first output, or of the probability of the last class."""
        answer = self.answer_of(expert, self.expert_views[number], self.log_prior)
        return np.average(answer[:, self.told_output], weights=self.weight)

    @property
    def told_output(self):
        """Number of the output by which experts are told apart."""
        return 0 if self.classes is None else -1

    @property
    def shared_view(self):
        """The one view of all experts, or None if they see different columns."""
        first = self.expert_views[0]
        return first if all(v is first for v in self.expert_views) else None

    def numeric_views(self):
        """Float arrays (gate's, experts') to start from; None if there is none."""
        found = [v for v in (self.gate_view, *self.expert_views) if is_numbers(v)]
        if not found:
            return None
        gate = self.gate_view if is_numbers(self.gate_view) else found[0]
        experts = self.shared_view if is_numbers(self.shared_view) else gate
        return gate, experts

    def indicators(self):
        """Targets (n, d): outputs, or class indicators; what a shared expert leaves."""
        if self.classes is None:
            return self.y
        indicators = np.eye(len(self.classes))[self.y]
        if self.log_prior is None:
            return indicators
        return indicators - np.exp(self.log_prior)


def is_numeric(view):
    """Whether a view is an array, dense or sparse."""
    return isinstance(view, np.ndarray) or sparse.issparse(view)


def is_numbers(view):
    """Whether a start can read a view: finite numbers, sparse only where many."""
    if not is_numeric(view) or view.dtype.kind != "f":
        return False
    if sparse.issparse(view):
        return stays_sparse(view) and bool(np.isfinite(view.data).all())
    return bool(np.isfinite(view).all())


# -- who belongs together -----------------------------------------------------------


class Singles:
    """Rows each of which is a subject of its own.

    Parameters
    ----------
    weight : (n,) weights of the rows

    Attributes
    ----------
    weight : (S,) weights of the subjects
    """

    def __init__(self, weight):
        self.weight = weight

    @cached_property
    def share(self):
        """Weight (n,) of each row over that of its subject."""
        return np.ones(len(self.weight))

    def __len__(self):
        return len(self.weight)

    def evidence(self, values):
        """Sums (S, ...) over the rows of each subject of log-densities (n, ...).

        A row counts by its weight over that of its subject.
        """
        return values

    def total(self, values):
        """Sums (S, ...) over the rows of each subject, whatever their weights."""
        return values

    def mean(self, values):
        """Weighted means (S, ...) over the rows of each subject."""
        return values

    def spread(self, values):
        """Values (S, ...) of the subjects, for each of their rows."""
        return values

    def of(self, view):
        """What the first rows of the subjects are of a view of all rows."""
        return view


class Subjects(Singles):
    """Subjects of several rows.

    The weight of a subject is the largest one of its rows: where all are equal it
    counts as so many subjects, and a row of less weight is so much less evidence.

    Parameters
    ----------
    codes : (n,) numbers of the subjects
    weight : (n,) weights of the rows

    Attributes
    ----------
    weight : (S,) weights of the subjects
    share : (n,) weight of each row over that of its subject
    """

    def __init__(self, codes, weight):
        self.codes = codes
        if np.all(np.diff(codes) >= 0):
            self.order = None
            self.first = np.flatnonzero(np.r_[True, np.diff(codes) > 0])
        else:
            self.order = np.argsort(codes, kind="stable")
            self.first = self.order[self.starts]
        self.weight = np.maximum.reduceat(self._sorted(weight), self.starts)
        self.rows = weight
        whole = self.weight[codes]
        self.share = np.divide(weight, whole, out=np.ones(len(codes)), where=whole > 0)

    @cached_property
    def starts(self):
        """Place of the first row of each subject among rows sorted by subject."""
        if self.order is None:
            return self.first
        return np.r_[0, np.cumsum(np.bincount(self.codes))[:-1]]

    def _sorted(self, values):
        return values if self.order is None else values[self.order]

    def total(self, values):
        return np.add.reduceat(self._sorted(values), self.starts, axis=0)

    def evidence(self, values):
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        counts = share > 0
        # Of a row without weight it does not matter how unlikely it is.
        parts = np.multiply(values, share, out=np.zeros(values.shape), where=counts)
        return self.total(parts)

    def mean(self, values):
        weight = self.rows.reshape(-1, *[1] * (values.ndim - 1))
        total = np.maximum(self.total(weight), np.finfo(float).tiny)
        return self.total(weight * values) / total

    def spread(self, values):
        return values[self.codes]

    def of(self, view):
        return (
            view[self.first]
            if sparse.issparse(view)
            else safe_indexing(view, self.first)
        )


def subjects_of(codes, weight):
    """The ``Subjects`` of rows; ``Singles`` where none has more than one row.

    Parameters
    ----------
    codes : (n,) numbers of the subjects, or None
    weight : (n,)
    """
    if codes is None or codes.max(initial=-1) + 1 == len(codes):
        return Singles(weight)
    return Subjects(codes, weight)


def numbered_along(codes):
    """Numbers (n,) without gaps of numbers that stand together."""
    return np.cumsum(np.diff(codes, prepend=codes[:1]) != 0)


def numbered(labels):
    """Numbers (n,) of labels, in order of first appearance, and the labels (S,)."""
    found, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes.reshape(-1)], found[order]
