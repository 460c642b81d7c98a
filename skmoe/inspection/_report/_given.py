"""The rows that a report is made of, and what the mixture says of them, asked once."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from ... import mixture
from ..._estimators import answers
from ..._estimators.subjects import read_groups
from ..._sklearn import safe_indexing
from ..._tables.table import relative_weights
from .._unwrap import Unwrapped, rows_of, unwrap
from ._parts import Keys

# Rows that are read; of more, so many are drawn.
MOST_ROWS = 20_000


class Rows(NamedTuple):
    """Rows as a user gave them.

    Attributes
    ----------
    X : table of n rows
    y : (n,) or (n, d) array-like, or None
    weight : (n,) ndarray, the largest of which is one
    sizes : dict of (n,) arrays, ``offset`` or ``trials``
    numbers : (n,) int, where the rows stand in the table that was given
    groups : (n,) int, numbers of the groups that rows belong to; or None
    """

    X: object
    y: object
    weight: np.ndarray
    sizes: dict
    numbers: np.ndarray
    groups: object = None

    def only(self, rows):
        """Some of the rows."""
        y = None if self.y is None else safe_indexing(self.y, rows)
        sizes = {name: own[rows] for name, own in self.sizes.items()}
        X = safe_indexing(self.X, rows)
        groups = None if self.groups is None else self.groups[rows]
        return Rows(X, y, self.weight[rows], sizes, self.numbers[rows], groups)

    def drawn(self, most, rng):
        """At most so many of the rows, in their order."""
        n_rows = len(self.numbers)
        if n_rows <= most:
            return self
        return self.only(np.sort(rng.choice(n_rows, most, replace=False)))


def read_rows(X, y, sample_weight, sizes, groups=None):
    """``Rows`` of what a user gave."""
    X = rows_of(X, "report")
    n_rows = X.shape[0]
    weight = relative_weights(np.empty((n_rows, 1)), sample_weight)
    sizes = {name: np.asarray(own) for name, own in sizes.items() if own is not None}
    y = y if y is None or hasattr(y, "shape") else np.asarray(y)
    lengths = {"y": y, **sizes}
    for name, own in lengths.items():
        if own is not None and own.shape[0] != n_rows:
            raise ValueError(
                f"report got {name} of {own.shape[0]} rows, but X has {n_rows}; give "
                "one value for each row."
            )
    known = read_groups(groups, n_rows, "report")
    codes = None if groups is None else known.codes
    return Rows(X, y, weight, sizes, np.arange(n_rows), codes)


class Given:
    """A fitted mixture and rows.

    Parameters
    ----------
    own : Unwrapped
    rows : Rows
    n_rows : int, rows before some of them were drawn
    random_state : int, of all that is drawn
    """

    def __init__(self, own: Unwrapped, rows, n_rows, random_state):
        self.own, self.rows, self.n_rows = own, rows, n_rows
        self.random_state = random_state
        self.model = own.mixture

    @classmethod
    def read(cls, estimator, X, y, sample_weight, sizes, random_state, groups=None):
        """What a user gave, with at most ``MOST_ROWS`` of its rows."""
        own = unwrap(estimator)
        rows = read_rows(X, y, sample_weight, sizes, groups)
        rng = check_random_state(random_state)
        return cls(own, rows.drawn(MOST_ROWS, rng), len(rows.numbers), random_state)

    def rng(self):
        """Random numbers that do not depend on what was asked before."""
        return check_random_state(self.random_state)

    @cached_property
    def table(self):
        """The rows as the mixture sees them."""
        return self.own.seen(self.rows.X)

    @cached_property
    def parts(self):
        """The parts of the mixture, and what they see."""
        return answers.see(self.model, self.table, **self.rows.sizes)

    @cached_property
    def gate(self):
        """Gate weights (n, K)."""
        return self.own.mixture.gate_proba(self.table)

    @cached_property
    def leader(self):
        """Expert (n,) with the largest weight."""
        return self.gate.argmax(axis=1)

    @cached_property
    def weight(self):
        """Weights (n,) of rows, which sum to one."""
        return self.rows.weight / self.rows.weight.sum()

    @cached_property
    def load(self):
        """Mean gate weight (K,)."""
        return self.weight @ self.gate

    @cached_property
    def each(self):
        """Predictions of each expert, (n, K) or (n, K, d)."""
        return self.model.predict_experts(self.table, **self.rows.sizes)

    @cached_property
    def prediction(self):
        """Predictions (n, d), or probabilities (n, C) of classes."""
        if self.own.is_classifier:
            return self.model.predict_proba(self.table)
        found = self.model.predict(self.table, **self.rows.sizes)
        return found.reshape(len(found), -1)

    @cached_property
    def target(self):
        """Outputs (n, d), or numbers (n,) of classes; of rows with y only."""
        own, seen = self.parts
        return own.target.encode(own.target.check(self.rows.y, seen.gate, self.model))

    @cached_property
    def log_density(self):
        """Log-density (n,) of y."""
        parts = answers.log_parts(
            self.model, self.table, self.rows.y, **self.rows.sizes
        )
        return mixture.log_density(*parts)

    @cached_property
    def keys(self):
        """Names, order and colours of the experts."""
        order = np.argsort(-self.load, kind="stable").tolist()
        return Keys(self.own.shown_names, order)

    @property
    def outputs(self):
        """Names of the outputs."""
        count = self.prediction.shape[1]
        if self.own.is_classifier:
            return [f"y{j}" for j in range(count)]
        return [self.own.target_name(j) for j in range(count)]
