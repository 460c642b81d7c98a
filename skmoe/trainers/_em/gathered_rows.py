"""EM of estimators of other libraries, where rows are: what is done to units of them.

Units are lists of (X, y, weight), of which a worker holds some.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._warnings import heard
from ...engines import TreeSum
from ...experts._answers import predict_expert
from ...experts._foreign import fit_expert
from ...mixture import e_step, log_prob
from .experts import FEW_ROWS
from .refit import NEGLIGIBLE


class Told(NamedTuple):
    """What experts are told of the target.

    Attributes
    ----------
    classes : class labels, or None in regression
    n_outputs : int, or None for classes
    tail : shape of the label of a row
    """

    classes: Any
    n_outputs: int | None
    tail: tuple

    def labels(self, y):
        """The target of rows as estimators of other libraries are given it."""
        if self.classes is not None:
            return self.classes[y]
        return y.reshape(len(y), *self.tail)

    def answer(self, expert, X):
        """What a fitted expert predicts of rows."""
        return predict_expert(expert, X, self.classes, self.n_outputs)


class Found(NamedTuple):
    """What an E-step finds in some units of rows.

    Attributes
    ----------
    resp : (n, K) responsibilities
    sums : TreeSum's total: log-likelihood (1,), masses (K,), those of the gate
    largest : (K,) largest responsibilities
    """

    resp: np.ndarray
    sums: tuple
    largest: np.ndarray


class Refitted(NamedTuple):
    """An expert after an M-step.

    Attributes
    ----------
    expert : fitted estimator
    said : dict of warnings, as ``heard`` returns them
    n_bytes : int, of the rows that it was fitted to
    """

    expert: Any
    said: dict
    n_bytes: int


def units_of(units, *others):
    """Rows of each unit, with those of arrays of all rows."""
    first = 0
    for X, y, weight in units:
        last = first + len(X)
        yield (X, y, weight, *(own[first:last] for own in others))
        first = last


def answers_of(common, units, refitted):
    """Predictions (n, d), or probabilities (n, C), of an expert for units of rows."""
    told, width = common
    parts = [told.answer(refitted.expert, X) for X, _, _ in units]
    return np.concatenate([np.empty((0, width)), *parts])


def found_in(common, units, *predictions):
    """``Found`` of units of rows, of which experts have told predictions."""
    gate, theta, likelihoods, hard = common
    fitted, n_experts, tree = gate.at(theta), len(likelihoods), TreeSum()
    resp, largest = [np.empty((0, n_experts))], np.zeros(n_experts)
    for number, rows in enumerate(units_of(units, *predictions)):
        X, y, weight, *answers = rows
        view = X if gate.encoding is None else gate.encoding.bins(X)
        densities = log_prob(likelihoods, y, answers)
        row, own = e_step(fitted.log_joint(view), densities, hard=hard)
        sums = np.atleast_1d(weight @ row), weight @ own, *gate.zeros()
        gate.add(sums[2:], theta, view, own, weight)
        tree.add(number, sums)
        resp.append(own)
        largest = np.maximum(largest, own.max(axis=0))
    return Found(np.concatenate(resp), tree.total(), largest)


def sums_of(common, found):
    """The small part of what an E-step has found."""
    return found.sums, found.largest


def own_rows(common, units, found):
    """Rows (X, y, weight) of one expert, those left out that change no estimate."""
    k, largest = common
    parts = []
    for X, y, weight, share in units_of(units, found.resp[:, k]):
        own = share * weight
        rows = np.flatnonzero((share >= NEGLIGIBLE * largest) & (own > 0))
        parts.append((X[rows], y[rows], own[rows]))
    return parts


def refitted_to(common, before, *parts):
    """An expert of another library fitted to rows that were brought together.

    It stays as it was where they do not suffice; how few that are only it knows.
    """
    expert, seed, told, n_rows = common
    rows = [own for part in parts for own in part if len(own[0])]
    if not rows:
        return before._replace(n_bytes=0, said={})
    X, y, weight = map(np.concatenate, zip(*rows, strict=True))
    n_bytes = X.nbytes + y.nbytes + weight.nbytes
    if told.classes is not None and np.all(y == y[0]):
        return before._replace(n_bytes=n_bytes, said={})
    try:
        fitted, said = heard(fit_expert, expert, X, told.labels(y), weight, seed)
        if len(X) < FEW_ROWS:
            told.answer(fitted, X[:1])
        return Refitted(fitted, said, n_bytes)
    except ValueError:
        if len(X) == n_rows:
            raise
        return before._replace(n_bytes=n_bytes, said={})


def bytes_of(common, refitted):
    """Bytes of the rows that an expert was fitted to."""
    return refitted.n_bytes


def squares_in(common, units, found, *predictions):
    """Weighted squares (K, d) of residuals, of which dispersions are made."""
    tree = TreeSum()
    for number, rows in enumerate(units_of(units, found.resp, *predictions)):
        _, y, weight, resp, *answers = rows
        shares = (resp * weight[:, None]).T
        pairs = zip(shares, answers, strict=True)
        tree.add(number, (np.stack([own @ (y - at) ** 2 for own, at in pairs]),))
    return tree.total()
