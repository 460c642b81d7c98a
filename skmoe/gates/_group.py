"""The group gate: weights of the experts per known segment."""

from __future__ import annotations

import copy

import numpy as np
from scipy import sparse

from .._sklearn import safe_indexing
from .._tables.columns import column_text, text_columns
from .._tables.frames import column_labels, dtype_of
from ._base import BaseGate

# Types of columns in which equal values are found faster than one by one.
NUMBERS = (*map(np.dtype, ("f4", "f8", "i4", "i8")),)


class GroupGate(BaseGate):
    """One set of expert weights per value of a column.

    With at least as many experts as segments, EM starts with one expert per segment
    and keeps it: the model of each segment is its own.  With fewer experts, segments
    that behave alike come to share one.  Segments that were not seen in ``fit``, and
    missing values, get the prior: the weights of the whole training data.

    Parameters
    ----------
    column : str or int
        Name or position of the column of ``X`` that names the segment.  Experts do
        not see it unless it is numeric or ``expert_features`` says so.
    alpha : float, default=0.0
        Pseudo-rows of the prior added to each segment, which pulls small segments
        towards it.

    Attributes
    ----------
    groups_ : ndarray of shape (n_groups,)
        Segments, as strings, in sorted order.
    weights_ : ndarray of shape (n_groups, K)
    prior_ : ndarray of shape (K,)
    n_parameters_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import GroupGate
    >>> X = np.array([["a"], ["a"], ["b"]], dtype=object)
    >>> gate = GroupGate(0).fit(X, np.array([[1.0, 0], [1, 0], [0, 1]]))
    >>> new = np.array([["b"], ["unseen"]], dtype=object)
    >>> np.exp(gate.predict_log_proba(new)).round(3).tolist()
    [[0.0, 1.0], [0.667, 0.333]]
    """

    numeric = False
    exchangeable = reads_segments = True

    def __init__(self, column: int | str, alpha: float = 0.0) -> None:
        self.column = column
        self.alpha = alpha

    def check(self):
        if not 0 <= self.alpha < np.inf:
            raise ValueError(
                f"GroupGate got alpha={self.alpha!r}, but expected a finite number of "
                "pseudo-rows >= 0."
            )

    def text_columns(self, X):
        """The column, if it is text, as the only one in a list."""
        labels = column_labels(X)
        own = self.column if self.column in labels else labels[self.column]
        return [own] if own in text_columns(X) else []

    def columns_read(self, X):
        """The one of the segments."""
        labels = list(column_labels(X))
        return [labels.index(self.column) if self.column in labels else self.column]

    def segments(self, X):
        """The column as an array of strings, and which rows have a value there."""
        try:
            column = safe_indexing(X, self.column, axis=1)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"GroupGate got column={self.column!r}, which X does not have; name "
                "one of its columns, or give its position."
            ) from error
        if sparse.issparse(column):
            column = column.toarray().ravel()
        codes = slice(None)
        if dtype_of(column) in NUMBERS:
            column, codes = np.unique(np.asarray(column), return_inverse=True)
        names = column_text(np.ravel(column) if np.ndim(column) > 1 else column)
        known = np.array([name is not None for name in names], dtype=bool)
        return np.where(known, names, "").astype(str)[codes], known[codes]

    def start_responsibilities(self, X, n_experts, sample_weight):
        """Responsibilities (n, K) that give each segment its own expert, or None."""
        segments, known = self.segments(X)
        groups, codes = np.unique(segments[known], return_inverse=True)
        if not 0 < len(groups) <= n_experts:
            return None
        resp = np.full((len(segments), n_experts), 1.0 / n_experts)
        resp[known] = np.eye(n_experts)[codes]
        return resp

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        self.check()
        weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        segments, known = self.segments(X)
        self.groups_, codes = np.unique(segments[known], return_inverse=True)
        mass = np.zeros((len(self.groups_), resp.shape[1]))
        weighted = resp * weight[:, None]
        np.add.at(mass, codes, weighted[known])
        # A node of a tree may have no rows.
        equal, total = np.full(resp.shape[1], 1.0 / resp.shape[1]), weighted.sum()
        self.prior_ = weighted.sum(axis=0) / total if total > 0 else equal
        mass += self.alpha * self.prior_
        total = mass.sum(axis=1, keepdims=True)
        self.weights_ = np.divide(
            mass, total, out=np.tile(self.prior_, (len(mass), 1)), where=total > 0
        )
        self.n_parameters_ = len(self.groups_) * (resp.shape[1] - 1)
        return self

    def reordered(self, order):
        gate = copy.copy(self)
        gate.weights_, gate.prior_ = self.weights_[:, order], self.prior_[order]
        return gate

    def predict_log_proba(self, X):
        segments, known = self.segments(X)
        table = np.vstack([self.weights_, self.prior_])
        position = np.searchsorted(self.groups_, segments)
        # The last one stands for whatever is not there.
        found = np.append(self.groups_, "")[position] == segments
        rows = table[np.where(known & found, position, len(self.groups_))]
        return np.log(np.maximum(rows, np.finfo(float).tiny))
