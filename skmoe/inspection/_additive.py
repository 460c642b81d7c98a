"""Where a fitted mixture has curves, and what they add to its answers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._estimators.shown import kind_name
from .._numerics.curves import CurveRows
from .._tables.frames import column_labels, column_names, one_column
from .._tables.table import relative_weights
from .._tables.values import Kind
from .._typing import Table
from ..experts._base import is_frozen, traits
from ._numbers import numbers
from ._plots import FEW_VALUES
from ._unwrap import rows_of, unwrap


class Part(NamedTuple):
    """A fitted part that is made of curves.

    Attributes
    ----------
    fitted : additive expert or gate
    view : View, how it sees a table
    load : float, share of the rows that it serves
    made : list of str, names of what a pipeline makes for the mixture; or None
    """

    fitted: object
    view: object
    load: float
    made: list | None = None

    @property
    def shown(self):
        """Names of columns for readers, by those that the part has for them.

        Of arrays that a transformer makes, these are the transformer's.
        """
        own = [str(name) for name in self.fitted.encoding_.encoder_.names_]
        by_place = own == [f"x{j}" for j in range(len(own))]
        return dict(zip(own, self._made(own) if by_place else own, strict=True))

    def _made(self, own):
        """Names by those who make the columns, as far as they have some."""
        if self.view.transformer is None:
            return own if self.made is None else self.made
        try:
            return [*map(str, self.view.transformer.get_feature_names_out(self.made))]
        except (AttributeError, ValueError):
            # It has no names.
            return own

    @property
    def names(self):
        """Names of the columns, in the order of the curves."""
        shown = self.shown
        return [shown[column.name] for column in self.fitted.encoding_.columns_]

    @property
    def times(self):
        """Names of the columns of times, whose knots are seconds."""
        encoder, shown = self.fitted.encoding_.encoder_, self.shown
        kinds = zip(encoder.names_, encoder.kinds_, strict=True)
        return {shown[str(name)] for name, kind in kinds if kind == Kind.TIMES}

    @property
    def curves(self):
        """Curves by these names; few numbers are levels, between which nothing is."""
        columns = self.fitted.encoding_.columns_
        each = zip(self.fitted.curves_, self.names, columns, strict=True)
        return [
            curve._replace(name=name, levels=_few(curve, column, name in self.times))
            for curve, name, column in each
        ]


def _few(curve, column, is_time):
    """Levels of a curve: those of categories, or all numbers if they are few."""
    few = len(column.values) == len(column.knots) <= FEW_VALUES
    if curve.levels is None and few and not is_time:
        return numbers(curve.knots, 6)
    return curve.levels


def curved_experts(model, own):
    """A ``Part`` for each expert that is made of curves, by name.

    ``model`` is ``Unwrapped``, and ``own`` has its parts.
    """
    each = own.experts, own.views.experts, model.mixture.expert_load_
    parts = {}
    for name, expert, view, load in zip(model.named_experts_, *each, strict=True):
        while is_frozen(expert):
            expert = expert.estimator
        if traits(expert).curves is not None:
            parts[name] = Part(expert, view, float(load), model.made)
    return parts


def curved_gate(model, own):
    """The ``Part`` of the gate if it is made of curves, else None."""
    first, *others = own.gate.nodes()
    if others or first.curves is None:
        return None
    return Part(first, own.views.gate, 1.0, model.made)


def missing(model, part):
    """The error of an unwrapped mixture without curves."""
    model = model.mixture
    if part == "gate":
        what = f"the gate {type(model.gate_).__name__}"
        remedy = "fit a flat mixture with gate='additive'"
    else:
        kinds = sorted({kind_name(expert) for expert in model.experts_})
        what = f"the experts {', '.join(kinds)}"
        remedy = "fit with experts='additive' and trainer='em'"
    if model.n_members > 1 and part == "gate":
        remedy += ", and pass one of members_"
    return ValueError(
        f"Curves were asked of {what}, but expected additive parts; {remedy}."
    )


def curve_importance(
    model: BaseEstimator, X: Table, sample_weight: ArrayLike | None = None
) -> dict[str, list[Any]]:
    """How much each column moves the gate, and each expert: deviations of curves.

    Parameters
    ----------
    model : fitted mixture, search or pipeline with additive experts or gate
    X : array-like or data frame of shape (n, p)
    sample_weight : array-like of shape (n,), default=None

    Returns
    -------
    dict of lists of length p
        ``feature``, the most important first; ``gate``, if it is additive: standard
        deviation of its curves over the rows, in logits, around the mean of the
        experts; and for each additive expert, under its name, the standard deviation
        of its curve over the rows by gate weight, in units of y, or of its logarithm
        or logit where that is linear.  Of several outputs, and of classes, it is the
        root of the mean square.  NaN stands for a column that a part does not see.

    Raises
    ------
    ValueError
        If neither gate nor experts are additive.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import curve_importance
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor("additive", 2, random_state=0).fit(X, y)
    >>> list(curve_importance(model, X))
    ['feature', 'expert0', 'expert1']
    """
    model, X = unwrap(model), rows_of(X, "curve_importance")
    own, table = model.read(X)
    experts, gate = curved_experts(model, own), curved_gate(model, own)
    if not experts and gate is None:
        raise missing(model, "experts")
    proba = model.gate_proba(X)
    weight = relative_weights(proba, sample_weight)
    found = {}
    if gate is not None:
        found["gate"] = _deviations(gate, table, weight, proba)
    for k, name in enumerate(model.named_experts_):
        if name in experts:
            # No expert may be called "gate", which is a parameter.
            title = f"expert {name}" if name == "feature" else name
            found[title] = _deviations(experts[name], table, weight * proba[:, k])
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    loads = [part.load for part in experts.values()]
    columns = {t: [each.get(n, np.nan) for n in names] for t, each in found.items()}
    order = _order(columns, loads)
    table = {"feature": [names[j] for j in order]}
    return table | {
        title: [float(own[j]) for j in order] for title, own in columns.items()
    }


def _deviations(part, table, weight, proba=None):
    """Deviation over rows of the curve of each column, by name."""
    terms = part.fitted.terms(part.view.of(table))
    if part.fitted.link == "softmax":
        terms = terms - terms.mean(axis=1, keepdims=True)
    share = weight / max(weight.sum(), np.finfo(float).tiny)
    spread = terms - np.einsum("n,nmp->mp", share, terms)
    variance = np.einsum("n,nmp->mp", share, spread**2)
    sets = np.full(len(variance), 1.0 / len(variance))
    if proba is not None:
        sets = share @ proba
    return dict(zip(part.names, np.sqrt(sets @ variance), strict=True))


def _order(columns, loads):
    """Positions by importance: experts by their load, and the gate beside them."""
    columns = {title: np.nan_to_num(own) for title, own in columns.items()}
    total = [columns.pop("gate")] if "gate" in columns else []
    if columns:
        square = np.square(list(columns.values()))
        total.append(np.sqrt(np.asarray(loads) @ square))
    tiny = np.finfo(float).tiny
    scaled = sum(own / max(own.max(initial=0.0), tiny) for own in total)
    return np.argsort(-scaled, kind="stable")


def presence(part, table, weight):
    """Mean weight (b,) of rows around each knot or level, by column.

    Parameters
    ----------
    part : Part
    table : Table
    weight : (n,) ndarray, such as the gate weight of an expert

    Returns
    -------
    dict of (b,) ndarray by name
    """
    rows, encoding = part.view.of(table), part.fitted.encoding_
    if not isinstance(rows, CurveRows):
        rows = encoding.places(rows)
    found, columns = {}, zip(part.names, encoding.columns_, strict=True)
    for j, (name, column) in enumerate(columns):
        size, at = encoding.basis_.n_coef + 3, rows.slots[j]
        hats = (at, 1.0 - rows.share[j]), (at + 1, rows.share[j])
        taken, mass = (
            sum(np.bincount(slot, own * hat, size) for slot, hat in hats)
            for own in (weight, np.ones(len(weight)))
        )
        first = encoding.basis_.first[j]
        slots = slice(first, first + len(column.knots))
        none = np.zeros(len(column.knots))
        found[name] = np.divide(taken[slots], mass[slots], none, where=mass[slots] > 0)
    return found


def cells_of(part, table):
    """What a part reads in each of its columns, by their names."""
    seen, shown = part.view._replace(curves=None).of(table), part.shown
    pairs = zip(column_names(seen), column_labels(seen), strict=True)
    return {shown[name]: np.asarray(one_column(seen, at)) for name, at in pairs}
