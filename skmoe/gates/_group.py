"""The group gate: weights of the experts per known segment."""

import numpy as np

from .._sklearn import safe_indexing
from ._base import BaseGate


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

    def __init__(self, column, alpha=0.0):
        self.column = column
        self.alpha = alpha

    def check(self):
        if not 0 <= self.alpha < np.inf:
            raise ValueError(
                f"GroupGate got alpha={self.alpha!r}, but expected a finite number of "
                "pseudo-rows >= 0."
            )

    def segments(self, X):
        """The column as an array of strings; missing values are ``"nan"``."""
        try:
            column = safe_indexing(X, self.column, axis=1)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"GroupGate got column={self.column!r}, which X does not have; name "
                "one of its columns, or give its position."
            ) from error
        if hasattr(column, "to_numpy"):
            column = column.to_numpy()
        column = np.asarray(column).ravel()
        if column.dtype.kind == "f":
            return np.array([repr(float(v)) for v in column])
        return column.astype(str)

    def start(self, X, n_experts, sample_weight):
        """Responsibilities (n, K) that give each segment its own expert, or None."""
        groups, codes = np.unique(self.segments(X), return_inverse=True)
        if len(groups) > n_experts:
            return None
        return np.eye(n_experts)[codes]

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities ``resp`` (n, K); returns self."""
        self.check()
        weight = np.ones(len(resp)) if sample_weight is None else sample_weight
        self.groups_, codes = np.unique(self.segments(X), return_inverse=True)
        mass = np.zeros((len(self.groups_), resp.shape[1]))
        np.add.at(mass, codes, resp * weight[:, None])
        # A node of a tree may have no rows.
        equal = np.full(resp.shape[1], 1.0 / resp.shape[1])
        self.prior_ = mass.sum(axis=0) / mass.sum() if mass.sum() > 0 else equal
        mass += self.alpha * self.prior_
        total = mass.sum(axis=1, keepdims=True)
        self.weights_ = np.divide(
            mass, total, out=np.tile(self.prior_, (len(mass), 1)), where=total > 0
        )
        self.n_parameters_ = len(self.groups_) * (resp.shape[1] - 1)
        return self

    def predict_log_proba(self, X):
        segments = self.segments(X)
        table = np.vstack([self.weights_, self.prior_])
        position = np.searchsorted(self.groups_, segments)
        position = np.minimum(position, len(self.groups_) - 1)
        known = self.groups_[position] == segments
        rows = table[np.where(known, position, len(self.groups_))]
        return np.log(np.maximum(rows, np.finfo(float).tiny))
