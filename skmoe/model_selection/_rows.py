"""The rows of a search, which mixtures are fitted to and judged by."""

from typing import NamedTuple

import numpy as np

from .._estimators.base import fit_from
from .._estimators.evaluation import judged
from .._estimators.sources import Remembered, first_look
from .._numerics.design import counting_rows, evidence
from .._sklearn import safe_indexing
from ..trainers._rows import numbered, subjects_of


class Rows(NamedTuple):
    """Data of a fit: whatever is sliced together."""

    X: object
    y: object
    weight: object
    sizes: dict
    #: Labels (n,) of groups whose rows share one expert, or None.
    groups: object = None

    def take(self, rows):
        """Some of the rows."""
        parts = [None if p is None else safe_indexing(p, rows) for p in self[:3]]
        sizes = {k: safe_indexing(v, rows) for k, v in self.sizes.items()}
        groups = None if self.groups is None else self.groups[rows]
        return Rows(*parts, sizes, groups)

    @property
    def shared(self):
        """What a mixture is told of groups."""
        return (
            self.sizes
            if self.groups is None
            else {"groups": self.groups} | (self.sizes)
        )

    @property
    def subjects(self):
        """Which rows belong together."""
        weight = np.ones(self.n_rows) if self.weight is None else self.weight
        codes = None if self.groups is None else numbered(self.groups)[0]
        return subjects_of(codes, weight)

    @property
    def n_units(self):
        """Number of rows, or of groups that share experts."""
        return self.n_rows if self.groups is None else len(self.subjects)

    def counting(self, splits):
        """Splits without rows of hardly any weight, and without empty ones."""
        counts = np.ones(self.n_rows, dtype=bool)
        counts = counts if self.weight is None else counting_rows(self.weight)
        kept = [[own[counts[own]] for own in split] for split in splits]
        return [(train, test) for train, test in kept if len(train) and len(test)]

    @property
    def n_rows(self):
        """Number of rows."""
        return np.shape(self.X)[0]

    @property
    def n_outputs(self):
        """Number of columns of y."""
        shape = np.shape(self.y)
        return shape[1] if len(shape) == 2 else 1

    @property
    def total_weight(self):
        """Sum of the weights."""
        return self.n_rows if self.weight is None else float(np.sum(self.weight))

    def evidence(self, likelihood):
        """Number of rows, as they are weighted; a row counts as often as it has trials.

        Weights that sum to less than there are rows are relative ones.
        """
        counts = np.ones(self.n_rows) if self.weight is None else self.weight
        total = evidence(np.asarray(counts, dtype=float))
        trials = self.sizes.get("trials") if likelihood.takes == "trials" else None
        if trials is None:
            return total
        return total * float(
            np.average(np.asarray(trials, dtype=float), weights=counts)
        )

    def fit(self, model, resp=None):
        """Fit a mixture, from responsibilities (n, K) if there are any."""
        if resp is None:
            return model.fit(self.X, self.y, sample_weight=self.weight, **self.shared)
        return fit_from(model, self.X, self.y, self.weight, resp=resp, **self.shared)

    def log_density(self, model):
        """Mean log-density, in nats per unit of weight."""
        own, subjects = model.log_density(self.X, self.y, **self.shared), self.subjects
        total = subjects.spread(subjects.weight) @ subjects.share
        return float(subjects.weight @ own / total)

    def responsibilities(self, model):
        """Responsibilities (n, K)."""
        own = model.responsibilities(self.X, self.y, **self.shared)
        return self.subjects.spread(own)

    @property
    def restarts(self):
        """Whether a fit may start from responsibilities of the rows."""
        return True

    def criteria(self, model):
        """AIC, BIC and ICL."""
        given = self.X, self.y, self.weight, self.sizes, self.groups
        found = judged(model, *given)
        return found.criteria(model.n_parameters_)


class SourceRows:
    """Rows of a source, which each fit reads by passes of its own.

    The first pass is one for all mixtures that read the same.

    Parameters
    ----------
    mixture : unfitted mixture
    source : RowSource
    """

    restarts = False

    def __init__(self, mixture, source):
        self.source = Remembered(source)
        first = first_look(mixture, self.source)
        self.n_rows, self.total_weight = first.n_rows, first.total
        self.n_units = self.n_rows if first.n_groups is None else first.n_groups
        self.n_outputs = int(np.prod(first.n_dims or (1,)))

    def evidence(self, likelihood):
        """Number of rows, as they are weighted."""
        return max(self.total_weight, float(self.n_rows))

    def fit(self, model, resp=None):
        """Fit a mixture, from nothing."""
        return model.fit(self.source)

    def criteria(self, model):
        """AIC, BIC and ICL, by one pass."""
        found = judged(model, self.source, None, None, {})
        return found.criteria(model.n_parameters_)
