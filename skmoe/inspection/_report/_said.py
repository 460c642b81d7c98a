"""What an answer is made of, in words: of additive parts, and of linear experts."""

import numpy as np
from scipy import sparse

from ..._sklearn import safe_indexing
from ...experts._base import traits
from .._additive import curved_experts, curved_gate
from .._explanation import explain_text
from .._numbers import number, signed
from .._sentences import SCALES
from ._experts import coefficients_of, column_names_of

# Terms of a sentence; others are taken together.
MOST_TERMS = 8


def sentences(given, rows):
    """A sentence for each of some rows, empty where there is nothing to say."""
    own, _ = given.parts
    if curved_experts(given.own, own) or curved_gate(given.own, own) is not None:
        X = safe_indexing(given.rows.X, rows)
        return explain_text(given.own, X, n_terms=MOST_TERMS)
    experts = list(given.own.named_experts_.values())
    linear = {
        k: LinearWords(given, k)
        for k in np.unique(given.leader[rows])
        if traits(experts[k]).is_linear
    }
    leaders = given.leader[rows]
    pairs = zip(rows, leaders, strict=True)
    return [linear[k].sentence(i) if k in linear else "" for i, k in pairs]


class LinearWords:
    """Sentences on the answers of a linear expert.

    Each term is a coefficient times what its column has more than on average in the
    rows that the expert serves; the level is the answer for such an average row.

    Parameters
    ----------
    given : Given
    k : int
    """

    def __init__(self, given, k):
        own, seen = given.parts
        self.given, self.k = given, k
        self.expert, self.view = own.experts[k], seen.experts[k]
        self.offset = seen.offset
        share = given.weight * given.gate[:, k]
        self.mean = self.view.T @ (share / max(share.sum(), np.finfo(float).tiny))
        self.names = column_names_of(given, k, self.expert)
        is_class = given.own.is_classifier
        self.link = "softmax" if is_class else own.likelihoods[k].link

    def sentence(self, i):
        """What is said of a row."""
        row = self.view[[i]]
        row = row.toarray()[0] if sparse.issparse(row) else row[0]
        coef, level = coefficients_of(self.expert, self.given.own.is_classifier)
        level = level + coef @ self.mean
        values = coef * (row - self.mean)
        name = self.given.keys.names[self.k]
        said = f"{name} ({self.given.gate[i, self.k]:.2f}):{SCALES[self.link]} "
        shared = None if self.offset is None else self.offset[i]
        if self.given.own.is_classifier:
            level, values = self._of_class(i, level, values)
            shared = None
        each = [
            self._listed(
                row, level[j], values[j], None if shared is None else shared[j]
            )
            for j in range(len(level))
        ]
        return said + " | ".join(each)

    def _of_class(self, i, level, values):
        """Terms of the logit of the most probable class, around those of all."""
        best = int(np.argmax(self.given.each[i, self.k]))
        if len(level) == 1:
            # One set of coefficients speaks for the second class.
            sign = 1.0 if best == 1 else -1.0
            return sign * level, sign * values
        return level[[best]], values[[best]]

    def _listed(self, row, level, values, shared):
        order = np.argsort(-np.abs(values), kind="stable")
        told = [j for j in order[:MOST_TERMS] if values[j]]
        parts = [f"level {number(level)}"]
        parts += [
            f"{self.names[j]} {number(row[j], 4)}: {signed(values[j])}" for j in told
        ]
        if len(told) < len(order):
            parts.append(f"others: {signed(values[order[len(told) :]].sum())}")
        if shared is not None:
            parts.append(f"shared expert: {signed(shared)}")
        return ", ".join(parts)
