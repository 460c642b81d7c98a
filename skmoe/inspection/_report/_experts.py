"""Sections on what each expert does: curves, coefficients, or what moves it."""

import numpy as np
from scipy import sparse

from ..._estimators.shown import kind_name
from ...experts._base import traits
from .._additive import curved_experts
from .._curves import CurveDisplay
from .._numbers import number
from .._tables import _with_shuffled
from ._parts import Pictures, Section, Table, Words
from ._pictures import Curves
from ._svg import percent, short

# Panels of curves, and classes that have some.
MOST_PANELS, MOST_CLASSES = 9, 3
# Coefficients of a table, and letters of their names.
MOST_TERMS, LONGEST = 15, 60
# Experts whose classes are named.
MOST_NAMED = 20
# Share of the largest coefficient below which one is next to nothing.
TINY = 1e-4
# Rows by which columns are shuffled, and columns beyond which none is.
MOST_SHUFFLED, MOST_COLUMNS = 500, 60
SCALES = {
    "identity": "y",
    "log": "the logarithm of y",
    "logit": "the logit of y",
    "softmax": "the logit of the class",
}


def expert_section(given):
    """What can be said of each expert, by its kind."""
    curved = curved_experts(given.own, given.parts[0])
    parts = [_kinds(given)]
    if curved:
        parts += _curves(given)
    linear = _linear(given)
    if linear:
        parts += _coefficients(given, linear)
    others = [
        k
        for k in given.keys.drawn
        if given.keys.names[k] not in curved and k not in linear
    ]
    if others:
        parts += _moves(given, others)
    return Section("What each expert does", parts)


def _kinds(given):
    shown = given.keys.order
    experts = given.own.named_experts_.values()
    kinds = [kind_name(expert) for expert in experts]
    if len(set(kinds)) == 1:
        return Words(f"Kind of all experts: {kinds[0]}.")
    each = (f"{given.keys.names[k]}: {kinds[k]}" for k in shown[:MOST_NAMED])
    return Words(
        "Kinds: " + ", ".join(each) + ("." if len(shown) <= MOST_NAMED else " …")
    )


# -- curves ----------------------------------------------------------------------


def _curves(given):
    if not given.own.is_classifier:
        return _panels(given, None, "")
    labels = given.model.classes_.tolist()
    shown = labels[-1:] if len(labels) == 2 else labels[:MOST_CLASSES]
    parts = []
    for label in shown:
        parts += _panels(given, label, f"Class {label}. ")
    if len(shown) < len(labels) > 2:
        parts.append(Words(f"{len(shown)} of {len(labels)} classes are drawn."))
    return parts


def _panels(given, output, start):
    options = {"output": output, "max_panels": MOST_PANELS, "plot": False}
    display = CurveDisplay.from_estimator(given.own, given.rows.X, **options)
    y = display._limits()
    note = (
        f"{start}What a column {display.ylabel}, the most important columns first, "
        "with bands of 1.96 standard errors, and fainter where the expert is hardly "
        "asked; all pictures have the same axis of values. "
    )
    if len(given.outputs) > 1 and not given.own.is_classifier:
        note += "Of several outputs the first is drawn. "
    pictures = [Curves(own, y, display.ylabel) for own in display.panels]
    return [Pictures(pictures, note)]


# -- coefficients ----------------------------------------------------------------


def _linear(given):
    """Positions of the linear experts that are drawn."""
    experts = list(given.own.named_experts_.values())
    return [k for k in given.keys.drawn if traits(experts[k]).is_linear]


def _coefficients(given, linear):
    experts = list(given.own.named_experts_.values())
    names = {k: column_names_of(given, k, experts[k]) for k in linear}
    found = {k: coefficients_of(experts[k], given.own.is_classifier) for k in linear}
    parts = []
    for place, title in _outputs(given):
        rows = {k: min(place, len(level) - 1) for k, (_, level) in found.items()}
        coef = {k: found[k][0][row] for k, row in rows.items()}
        level = {k: found[k][1][row] for k, row in rows.items()}
        parts.append(_coefficient_table(given, names, coef, level, title))
    links = {own.link for own in given.model.likelihoods_}
    links = ["softmax"] if given.own.is_classifier else sorted(links)
    scales = " or ".join(SCALES[link] for link in links)
    note = (
        f"Coefficients on the scale of {scales}, per unit of the column; in "
        "brackets per standard deviation of the column, by which the columns are in "
        "order."
    )
    if given.own.is_classifier and len(given.model.classes_) > 2:
        note += " They are around the mean of all classes."
    if given.own.before:
        note += " Columns are those that the pipeline makes."
    return [*parts, Words(note)]


def coefficients_of(expert, is_classifier):
    """Coefficients (d, p) and intercepts (d,) of a linear expert.

    Of classes only differences count: of two it is that of the second from the first,
    of more they are around the mean of all.
    """
    coef, level = np.atleast_2d(expert.coef_), np.atleast_1d(expert.intercept_)
    if is_classifier and len(level) == 2:
        return np.diff(coef, axis=0), np.diff(level)
    if is_classifier:
        return coef - coef.mean(axis=0), level - level.mean()
    return coef, level


def _outputs(given):
    """Number and title of each output, or of each class, that has coefficients."""
    if not given.own.is_classifier:
        return list(enumerate(given.outputs))[:MOST_CLASSES]
    labels = given.model.classes_.tolist()
    found = [(j, f"class {label}") for j, label in enumerate(labels)]
    return found[-1:] if len(labels) == 2 else found[:MOST_CLASSES]


def column_names_of(given, k, expert):
    """Names of the columns that a linear expert sees."""
    size = np.atleast_2d(expert.coef_).shape[1]
    transformer = given.model.expert_features_[k]
    known = given.own.made if given.own.before else given.own.names(given.rows.X)
    if transformer is None and known is not None and len(known) == size:
        return [str(name) for name in known]
    named = getattr(transformer, "get_feature_names_out", None)
    return (
        [f"column {j}" for j in range(size)] if named is None else [*map(str, named())]
    )


def _coefficient_table(given, names, coef, level, title):
    experts = list(given.own.named_experts_.values())
    scaled = {
        k: dict(zip(names[k], coef[k] * experts[k].scale_, strict=True)) for k in coef
    }
    plain = {k: dict(zip(names[k], coef[k], strict=True)) for k in coef}
    columns = list(dict.fromkeys(name for own in names.values() for name in own))
    size = {n: max(abs(own.get(n, 0.0)) for own in scaled.values()) for n in columns}
    shown = sorted(columns, key=lambda name: -size[name])[:MOST_TERMS]
    rows = [["intercept", *(number(level[k]) for k in coef)]]
    for name in shown:
        each = (_coefficient(plain[k], scaled[k], name) for k in coef)
        rows.append([short(name, LONGEST), *each])
    heads = [None, *coef]
    header = [title, *(given.keys.names[k] for k in coef)]
    return Table(header, rows, heads=heads)


def _coefficient(plain, scaled, name):
    if name not in plain:
        return "–"
    if abs(scaled[name]) <= TINY * max(map(abs, scaled.values())):
        return "0"
    return f"{number(plain[name])} ({number(scaled[name])})"


# -- others ----------------------------------------------------------------------


def _moves(given, others):
    """How much the answers of experts move when a column is shuffled."""
    X = given.rows.X
    if sparse.issparse(X) or X.shape[1] > MOST_COLUMNS:
        return [
            Words("Of the other experts the table has too many columns to say more.")
        ]
    rows = given.rows.drawn(MOST_SHUFFLED, given.rng())
    names, rng = [str(name) for name in given.own.names(rows.X)], given.rng()
    base = given.own.predict_experts(rows.X, **rows.sizes)
    weight = rows.weight[:, None] * given.own.gate_proba(rows.X)
    weight = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
    moved = np.empty((len(names), weight.shape[1]))
    for j in range(len(names)):
        changed = _with_shuffled(rows.X, j, rng)
        step = np.abs(given.own.predict_experts(changed, **rows.sizes) - base)
        step = step if step.ndim == 2 else step.mean(axis=2)
        moved[j] = np.sum(weight * step, axis=0)
    order = np.argsort(-moved[:, others].max(axis=1), kind="stable")[:MOST_TERMS]
    shape = percent if given.own.is_classifier else number
    rows_of = [
        [short(names[j], LONGEST), *(shape(moved[j, k]) for k in others)] for j in order
    ]
    what = (
        "its probabilities" if given.own.is_classifier else "its answer, in units of y"
    )
    note = (
        f"Mean change of {what}, where the expert is asked, when the column is "
        f"shuffled ({len(rows.numbers)} rows)."
    )
    header = ["column", *(given.keys.names[k] for k in others)]
    return [Table(header, rows_of, heads=[None, *others]), Words(note)]
