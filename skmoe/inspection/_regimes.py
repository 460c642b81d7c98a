"""Regimes named by what defines them: where in the table an expert leads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._tables.table import relative_weights
from .._tables.values import Kind
from .._typing import Table
from ..experts._curves import CurveEncoding
from ._numbers import numbers
from ._tables import gate_importance, shares
from ._unwrap import rows_of, unwrap

# Shuffles of each column.
N_REPEATS = 2
# Places along a column of numbers between which the text of a range chooses.
N_PLACES = 24
# Share of the largest importance below which a column tells no regimes apart.
LEAST_IMPORTANT = 0.05
# By how much a range or a column has to improve a text.
LEAST_GAIN = 0.02
# Levels that are listed; of more, their number is told.
MOST_LISTED = 4
EVERYWHERE, NOWHERE = "all rows", "never asked"
# Gate weight of all rows below which an expert is not asked.
NOTHING = 1e-12


def regimes(
    model: BaseEstimator,
    X: Table,
    *,
    n_columns: int = 2,
    sample_weight: ArrayLike | None = None,
    random_state: int | RandomState | None = 0,
) -> dict[str, list[Any]]:
    """A short text per expert: in which rows it leads, by the columns of the gate.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like or data frame of shape (n, p)
    n_columns : int, default=2
        At most so many columns are named for an expert.
    sample_weight : array-like of shape (n,), default=None
    random_state : int, RandomState or None, default=0
        Of the shuffles by which the columns of the gate are found, as in
        :func:`gate_importance`.

    Returns
    -------
    dict of lists of length K
        ``expert``; ``regime``, such as ``"day free, hour 9–18"``, with "part of" before
        it where another expert has more of the same rows, or "never asked"; ``load``,
        mean gate weight; ``answer``, mean of what the expert predicts where it is
        asked, or the most probable class; ``holds``, share of the expert's gate weight
        that lies in the rows of its text, and ``pure``, its mean gate weight there.

    Notes
    -----
    Each text is found greedily: the levels, or one or two ranges, of one column after
    another for which the harmonic mean of ``holds`` and ``pure`` is largest.  Columns
    count if shuffling them moves the gate.  Texts leave out what is gradual; the two
    shares say how much that is.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inspection import regimes
    >>> X = np.repeat(np.arange(10.0), 40).reshape(-1, 1)
    >>> y = np.where(X[:, 0] < 5, 1 - X[:, 0], 5 * X[:, 0])
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> sorted(regimes(model, X)["regime"])
    ['x0 0–4', 'x0 5–9']
    """
    model, X = unwrap(model), rows_of(X, "regimes")
    proba = model.gate_proba(X)
    weight = relative_weights(proba, sample_weight)
    weighted = proba * (weight / weight.sum())[:, None]
    table = gate_importance(model, X, n_repeats=N_REPEATS, random_state=random_state)
    return told(model, X, weighted, telling_columns(table, X), n_columns)


def told(model, X, weighted, columns, n_columns=2):
    """What :func:`regimes` returns.

    Parameters
    ----------
    model : Unwrapped
    X : table of n rows
    weighted : (n, K) gate weights, which sum to one
    columns : list of what ``telling_columns`` found
    n_columns : int
    """
    found = [_told(columns, weighted, k, n_columns) for k in range(len(weighted.T))]
    return {
        "expert": model.shown_names,
        "regime": _told_apart(found),
        "load": shares(weighted.sum(axis=0)),
        "answer": _answers(model, X, weighted),
        "holds": shares([own.holds for own in found]),
        "pure": shares([own.pure for own in found]),
    }


def _told_apart(found):
    """Texts of experts; one that shares its rows with a purer one has part of them."""
    purest = {}
    for own in found:
        purest[own.text] = max(own.pure, purest.get(own.text, 0.0))
    leads = [own.pure >= purest[own.text] for own in found]
    texts = [own.text for own in found]
    return [
        text if lead or text in (NOWHERE, EVERYWHERE) else f"part of {text}"
        for text, lead in zip(texts, leads, strict=True)
    ]


class _Column(NamedTuple):
    """A column as places between which texts choose.

    Attributes
    ----------
    name : str
    codes : (n,) int, place of each row; the last place is that of gaps
    labels : list of str, of levels or of single values; None for ranges
    edges : list of str, ends of the ranges; None for levels or single values
    ordered : bool
    """

    name: str
    codes: np.ndarray
    labels: list | None
    edges: list | None
    ordered: bool

    @property
    def n_places(self):
        """Number of places, with that of gaps."""
        return len(self.edges) if self.labels is None else len(self.labels) + 1


class _Text(NamedTuple):
    """What is told of a regime, and how far it holds."""

    text: str
    holds: float
    pure: float


def telling_columns(table, X):
    """Columns that tell regimes apart as places, the most important first."""
    importance = np.array(table["importance"])
    least = LEAST_IMPORTANT * importance.max(initial=0.0)
    names = zip(table["feature"], importance, strict=True)
    ranks = {str(name): k for k, (name, own) in enumerate(names) if own > least}
    encoding = CurveEncoding(N_PLACES).fit(X)
    encoder = encoding.encoder_
    kinds = dict(zip(map(str, encoder.names_), encoder.kinds_, strict=True))
    pairs = zip(encoding.columns_, encoder.transform(X).T, strict=True)
    pairs = [(own, values) for own, values in pairs if own.name in ranks]
    pairs.sort(key=lambda pair: ranks[pair[0].name])
    return [
        _column(own, values, kinds[own.name] == Kind.TIMES) for own, values in pairs
    ]


def _column(column, values, is_time):
    """Places of the values (n,) of a column, and how they are called."""
    gap, knots = np.isnan(values), column.knots
    at = np.searchsorted(knots, np.where(gap, -np.inf, values), side="right") - 1
    if column.levels is not None:
        labels = [column.levels[int(own)] for own in knots]
        codes = np.where(gap, len(knots), at)
        return _Column(column.name, codes, labels, None, False)
    shown = _shown(knots, is_time)
    if len(column.values) == len(knots):
        codes = np.where(gap, len(knots), at)
        return _Column(column.name, codes, shown, None, True)
    codes = np.where(gap, len(knots) - 1, np.clip(at, 0, len(knots) - 2))
    return _Column(column.name, codes, None, shown, True)


def _shown(values, is_time):
    if is_time:
        return [str(np.datetime64(int(v), "s").astype("datetime64[m]")) for v in values]
    return numbers(values)


def _told(columns, weighted, k, n_columns):
    """The ``_Text`` of expert k, for gate weights (n, K) that sum to one."""
    own, all_weight = weighted[:, k], weighted.sum(axis=1)
    total, inside, said = own.sum(), np.ones(len(own), dtype=bool), {}
    if total <= NOTHING:
        return _Text(NOWHERE, 0.0, 0.0)
    best = _score(total, all_weight.sum(), total)
    while len(said) < n_columns:
        found = {
            j: _best_places(columns[j], own * inside, all_weight * inside, total)
            for j in range(len(columns))
            if j not in said
        }
        at = max(found, key=lambda j: found[j][1], default=None)
        if at is None or found[at][1] < best + LEAST_GAIN:
            break
        places, best = found[at]
        said[at] = places
        inside &= places[columns[at].codes]
    text = ", ".join(_words(columns[at], said[at]) for at in sorted(said))
    taken = own[inside].sum()
    tiny = np.finfo(float).tiny
    pure = taken / max(all_weight[inside].sum(), tiny)
    return _Text(text or EVERYWHERE, float(taken / max(total, tiny)), float(pure))


def _score(taken, mass, total):
    """Harmonic mean of the share of an expert that rows hold, and of theirs it has."""
    return 2.0 * taken / np.maximum(mass + total, np.finfo(float).tiny)


def _best_places(column, own, weight, total):
    """Places (b,) with the largest score, and this score."""
    size = column.n_places
    taken = np.bincount(column.codes, weights=own, minlength=size)
    mass = np.bincount(column.codes, weights=weight, minlength=size)
    if column.ordered:
        return _best_ranges(taken, mass, total)
    share = taken / np.maximum(mass, np.finfo(float).tiny)
    order = np.argsort(-share, kind="stable")
    scores = _score(np.cumsum(taken[order]), np.cumsum(mass[order]), total)
    n_best = int(scores.argmax()) + 1
    chosen = np.zeros(size, dtype=bool)
    chosen[order[:n_best]] = True
    return chosen, float(scores.max())


def _best_ranges(taken, mass, total):
    """Of places in order one range, or two if they are better; and gaps if they are."""
    chosen, best = np.zeros(len(taken), dtype=bool), 0.0
    for gain in (0.0, LEAST_GAIN):
        trial, score = _with_range(chosen, taken, mass, total)
        if score <= best + gain:
            return chosen, best
        chosen, best = trial, score
    return chosen, best


def _with_range(chosen, taken, mass, total):
    """Places with the best further range apart from those that were chosen."""
    sums = [np.append(0.0, np.cumsum(own * ~chosen)) for own in (taken, mass)]
    more, weight = (own[None, :] - own[:, None] for own in sums)
    scores = _score(taken[chosen].sum() + more, mass[chosen].sum() + weight, total)
    scores[np.tril_indices(len(scores))] = -1.0
    low, high = np.unravel_index(scores.argmax(), scores.shape)
    return chosen | _between(low, high, len(chosen)), float(scores[low, high])


def _between(low, high, size):
    return (np.arange(size) >= low) & (np.arange(size) < high)


def _words(column, places):
    """A column with the levels or ranges that were chosen."""
    gap, places = bool(places[-1]), places[:-1]
    parts = _ranges(column, places) if column.ordered else _levels(column, places)
    if gap:
        parts.append("missing")
    return f"{column.name} {_listed(parts)}"


def _levels(column, places):
    """Levels that were chosen, or those that were not if they are fewer."""
    chosen = [own for own, at in zip(column.labels, places, strict=True) if at]
    others = [own for own, at in zip(column.labels, places, strict=True) if not at]
    if 0 < len(others) < min(len(chosen), 3):
        return [f"not {_listed(others, 'or')}"]
    if len(chosen) > MOST_LISTED:
        return [*chosen[:MOST_LISTED], f"{len(chosen) - MOST_LISTED} more"]
    return chosen


def _ranges(column, places):
    """Ranges that were chosen, in the units of the column."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], places, [0]])))
    pairs = list(zip(edges[::2], edges[1::2], strict=True))
    if column.labels is not None:
        return [_span(column.labels[a], column.labels[b - 1]) for a, b in pairs]
    last, parts = len(places), []
    for a, b in pairs:
        if a == 0 and b < last:
            parts.append(f"below {column.edges[b]}")
        elif b == last and a > 0:
            parts.append(f"above {column.edges[a]}")
        else:
            parts.append(_span(column.edges[a], column.edges[b]))
    return parts


def _span(low, high):
    if low == high:
        return low
    return f"{low} to {high}" if high.startswith("-") else f"{low}–{high}"


def _listed(parts, last="and"):
    """Words with commas, and one between the last two."""
    *first, end = parts
    return f"{', '.join(first)} {last} {end}" if first else end


def _answers(model, X, weighted):
    """What each expert predicts where it is asked, on average; or its usual class."""
    prediction = model.predict_experts(X)
    share = weighted / np.maximum(weighted.sum(axis=0), np.finfo(float).tiny)
    mean = np.einsum("nk,nk...->k...", share, prediction)
    if model.is_classifier:
        return model.mixture.classes_[mean.argmax(axis=1)].tolist()
    mean[weighted.sum(axis=0) <= NOTHING] = np.nan
    return mean.tolist()
