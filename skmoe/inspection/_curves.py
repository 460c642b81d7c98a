"""A picture of curves: one panel per column, one colour per expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator

from .._estimators.answers import fitted_mixture
from .._sklearn import check_matplotlib_support
from .._tables.columns import declared_levels
from .._tables.frames import as_columns, column_names
from .._typing import Table
from ._additive import (
    curve_importance,
    curved_experts,
    curved_gate,
    missing,
    presence,
)
from ._numbers import numbers
from ._palette import colour
from ._panels import BAND, Drawing, Panel
from ._plots import panels_in
from ._unwrap import unwrap

# What a curve adds to, by its link.
ADDS = {
    "identity": "adds to {}",
    "log": "adds to the log of {}",
    "logit": "adds to the logit of {}",
}
# What it is where the level of its expert is in it.
ANSWERS = {"identity": "{}", "log": "log of {}", "logit": "logit of {}"}
# Share of the largest importance below which a column is flat.
FLAT = 1e-3
# Opacity below which a curve has no say in the limits of the picture.
HARDLY_SEEN = 0.2
# By how much of itself the axis grows at an end for points of such curves.
GROWTH = 0.8
# Letters of a label beyond which labels stand below each other, beside the panels.
LONG_LABEL = 30


class CurveDisplay:
    """Curves of additive experts, or of an additive gate, in a panel per column.

    Bands and bars are values plus and minus 1.96 standard errors.  Numbers have lines,
    with ticks at the bottom where their knots are; categories have points in one order,
    that of their numbers or of the alphabet; gaps have a point to the right of a line.
    All panels share their axis of values, so that columns that matter are seen to;
    where an expert is hardly asked, the axis may end before its points, which are
    then triangles at the end, with their numbers.  Lines are as wide as their expert
    has load.  Where rows are given, a curve fades where its expert is hardly asked.

    Parameters
    ----------
    panels : list of Panel
        In the order in which they are drawn.
    labels : dict of str by expert
        For the legend.
    ylabel : str
    level : bool, default=False
        Whether the level of each expert is in its curves.
    experts : list of str, default=None
        All experts of the mixture, by whose places they have their colours; those of
        ``labels`` if None.

    Attributes
    ----------
    ax_ : matplotlib axes that hold the panels, or None, after ``plot``
    axes_ : list of matplotlib axes, one per panel
    figure_ : matplotlib figure

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import CurveDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor("additive", 2, random_state=0).fit(X, y)
    >>> display = CurveDisplay.from_estimator(model, plot=False)
    >>> len(display.panels) == X.shape[1], list(display.labels)
    (True, ['expert0', 'expert1'])
    """

    def __init__(
        self,
        panels: Sequence[Any],
        labels: dict[str, Any],
        ylabel: str,
        level: bool = False,
        experts: Sequence[str] | None = None,
    ) -> None:
        self.panels = list(panels)
        self.labels = dict(labels)
        self.ylabel = ylabel
        self.level = level
        self.experts = list(self.labels if experts is None else experts)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table | None = None,
        features: Any = None,
        *,
        part: str = "experts",
        output: int | str | None = None,
        labels: dict[str, Any] | Sequence[str] | None = None,
        level: bool = False,
        max_panels: int = 12,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display of a fitted mixture.

        Parameters
        ----------
        estimator : fitted mixture, or a search or pipeline around one
        X : array or data frame of shape (n, p), default=None
            Rows by which columns are ordered, as in :func:`curve_importance`, and by
            which curves fade, with levels in the order in which columns declare them;
            without them the spread of a curve over its knots and levels says.
        features : list of int or str, or one of them, default=None
            Columns that are drawn, in this order; by default the ``max_panels`` most
            important ones, without those that are flat.
        part : {"experts", "gate"}, default="experts"
        output : int or class label, default=None
            Which of several outputs of a regressor, by default the first.  In a
            classifier the label whose logits are drawn, around the mean of all
            classes, by default the last.
        labels : dict of str by expert, or list of str, default=None
            What experts are called in the legend, in this order; a list has one for
            each expert of the mixture, such as ``regimes(model, X)["regime"]``.
        level : bool, default=False
            Whether curves of experts begin at what their expert answers where all
            others have their mean, rather than at zero.
        max_panels : int, default=12
        plot : bool, default=True
            Whether to draw.
        ax : matplotlib axes, default=None
            Whose place the panels take.
        **line_kw
            For the lines of the curves.

        Returns
        -------
        CurveDisplay

        Raises
        ------
        ValueError
            If no such part is made of curves, a column or output is unknown, or there
            is not one label for each expert.
        """
        if part not in ("experts", "gate"):
            raise ValueError(
                f"CurveDisplay got part={part!r}, but expected 'experts' or 'gate'."
            )
        model = unwrap(estimator)
        own = fitted_mixture(model.mixture)
        labels = _labels(labels, list(model.named_experts_))
        level = level and part == "experts"
        found = _found(model, own, part, output, level)
        importance, faded, declared = _spreads(found.curves), {}, {}
        if X is not None:
            own, table = model.read(X)
            declared = _declared(table.raw)
            importance |= _over_rows(model, X, part)
            faded = _faded(model, own, table, model.gate_proba(X), part)
        chosen = _chosen(model, importance, features, max_panels)
        times = _times(own, part, model)
        panels = [
            Panel(
                name,
                importance[name],
                found.raised(name) if level else found.curves[name],
                name in times,
                _widths(found.loads),
                faded.get(name),
            ).ordered(declared.get(name))
            for name in chosen
        ]
        named, experts = found.named(labels, level), list(model.named_experts_)
        display = cls(panels, named, found.ylabel, level, experts)
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw in the place of ``ax``, or on a new figure; returns self."""
        check_matplotlib_support("CurveDisplay.plot")
        self.ax_ = ax
        self.figure_, self.axes_ = panels_in(ax, len(self.panels))
        colours = {name: colour(k) for k, name in enumerate(self.experts)}
        limits = self._limits()
        for axes, panel in zip(self.axes_, self.panels, strict=True):
            Drawing(axes, panel, colours, line_kw, limits).draw()
        self.axes_[0].set_ylim(*limits)
        for axes in self.axes_:
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel(self.ylabel)
        self._legend(colours)
        return self

    def _limits(self):
        """Range of all curves, with a margin.

        Wide bands are cut off, and so are far points that are hardly seen.
        """
        seen = [
            (curve, panel.opacity(name) > HARDLY_SEEN)
            for panel in self.panels
            for name, curve in panel.curves.items()
        ]
        values = [np.append(own.values[kept], own.gap) for own, kept in seen]
        errors = [BAND * own.standard_errors[kept] for own, kept in seen]
        values = np.concatenate([np.zeros(1 - self.level), *values])
        low, high = np.nanmin(values), np.nanmax(values)
        typical = np.nan_to_num(np.concatenate([np.zeros(1), *errors]))
        margin = 0.08 * (high - low) + np.quantile(typical, 0.9)
        margin = margin if margin > 0 else 1.0
        low, high = low - margin, high + margin
        # What is hardly seen is shown where the axis does not have to grow much.
        each = [own.values[~kept] for own, kept in seen if own.levels is not None]
        others, room = np.concatenate([np.zeros(0), *each]), GROWTH * (high - low)
        near = others[(others > low - room) & (others < high + room)]
        ends = np.concatenate([[low, high], near - 0.5 * margin, near + 0.5 * margin])
        return ends.min(), ends.max()

    def _legend(self, colours):
        from matplotlib.lines import Line2D

        handles = [
            Line2D([], [], color=colours[name], marker="o", markersize=4, label=label)
            for name, label in self.labels.items()
        ]
        options = {"ncols": min(len(handles), 4), "frameon": False, "handles": handles}
        if self.ax_ is None and max(map(len, self.labels.values())) > LONG_LABEL:
            options |= {"ncols": 1, "fontsize": "small"}
            self.figure_.legend(loc="outside right upper", **options)
        elif self.ax_ is None:
            self.figure_.legend(loc="outside upper center", **options)
        else:
            place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.06)}
            self.ax_.legend(fontsize="small", **place, **options)


class _Found(NamedTuple):
    """What is drawn.

    Attributes
    ----------
    curves : dict of dict of Curve, by column and expert
    loads : dict of float by expert
    levels : dict of float by expert, empty of gates and classes
    ylabel : str, what the curves add to
    """

    curves: dict
    loads: dict
    levels: dict
    ylabel: str

    def raised(self, name):
        """Curves of a column at the levels of their experts."""
        each = self.curves[name].items()
        return {expert: _raised(own, self.levels[expert]) for expert, own in each}

    def named(self, labels, level):
        """Labels of the experts."""
        known = [name for name in labels if name in self.loads]
        named = {
            name: f"{labels.get(name, name)} ({self.loads[name]:.0%})"
            for name in dict.fromkeys([*known, *self.loads])
        }
        if level:
            return named
        levels = zip(self.levels, numbers(self.levels.values()), strict=True)
        ends = {name: f", level {own}" for name, own in levels}
        return {name: own + ends.get(name, "") for name, own in named.items()}


def _raised(curve, level):
    return curve._replace(values=curve.values + level, gap=curve.gap + level)


def _labels(labels, names):
    """Labels by expert of what a user gave."""
    if labels is None or isinstance(labels, dict):
        return labels or {}
    is_list = isinstance(labels, (list, tuple, np.ndarray))
    if is_list and len(labels) == len(names):
        return dict(zip(names, map(str, labels), strict=True))
    raise ValueError(
        f"CurveDisplay got labels={labels!r}, but expected a dict of labels by expert, "
        f"or a list of one label for each of {names}, such as "
        "regimes(model, X)['regime']."
    )


def _found(model, own, part, output, level):
    """The ``_Found`` of a part, with levels of classes where they are to be drawn."""
    names = list(model.named_experts_)
    loads = dict(zip(names, map(float, model.mixture.expert_load_), strict=True))
    curves, levels = {}, {}
    if part == "gate":
        gate = curved_gate(model, own)
        if gate is None:
            raise missing(model, part)
        for curve in map(_centred, gate.curves):
            own = (_of_set(curve, k) for k in range(len(names)))
            curves[curve.name] = dict(zip(names, own, strict=True))
        note = "\n(constant: linear stacking)" if model.only_stacks else ""
        return _Found(curves, loads, {}, f"adds to gate logit{note}")
    parts = curved_experts(model, own)
    if not parts:
        raise missing(model, part)
    is_class = own.target.classes is not None
    for name, each in parts.items():
        place = _place(own.target.classes, each.fitted, output)
        levels[name] = float(each.fitted.level[place])
        if is_class:
            levels[name] -= float(np.mean(each.fitted.level))
        for curve in map(_centred, each.curves) if is_class else each.curves:
            curves.setdefault(curve.name, {})[name] = _of_set(curve, place)
    loads = {name: loads[name] for name in parts}
    first = next(iter(parts.values())).fitted
    if not is_class:
        link, name = first.link, model.target_name(place)
        ylabel = ANSWERS[link] if level else ADDS[link]
        return _Found(curves, loads, levels, ylabel.format(name))
    name = f"logit of {first.classes_[place]}"
    ylabel = name if level else f"adds to {name}"
    return _Found(curves, loads, levels if level else {}, ylabel)


def _widths(loads):
    """Widths of lines, in points, by the loads of experts."""
    most = max(loads.values())
    return {name: 1.0 + 2.5 * own / most for name, own in loads.items()}


def _faded(model, own, table, proba, part):
    """How much each expert is asked along a column, by column and expert."""
    found = {}
    experts, gate = curved_experts(model, own), curved_gate(model, own)
    for k, name in enumerate(model.named_experts_):
        seen = gate if part == "gate" else experts.get(name)
        if seen is None:
            continue
        for column, share in presence(seen, table, proba[:, k]).items():
            most = max(share.max(initial=0.0), np.finfo(float).tiny)
            found.setdefault(column, {})[name] = share / most
    return found


def _declared(raw):
    """Levels in the order in which the columns of a table declare them, by column."""
    each = zip(column_names(raw), as_columns(raw), strict=True)
    return {name: declared_levels(column) for name, column in each}


def _times(own, part, model):
    """Names of the columns of times."""
    parts = (
        [curved_gate(model, own)]
        if part == "gate"
        else curved_experts(model, own).values()
    )
    return set().union(*(each.times for each in parts))


def _place(classes, fitted, output):
    """Number of the output, or of the class, that is drawn."""
    n_sets = len(fitted.level)
    if classes is None:
        output = 0 if output is None else output
        if output not in range(n_sets):
            raise ValueError(
                f"CurveDisplay got output={output!r}, but expected one of "
                f"{list(range(n_sets))}."
            )
        return output
    labels = fitted.classes_.tolist()
    if output is None:
        return n_sets - 1
    if output in labels:
        return labels.index(output)
    raise ValueError(
        f"CurveDisplay got output={output!r}, but expected one of the labels {labels}."
    )


def _centred(curve):
    """Curves of a softmax around their mean, since only differences count."""
    if np.ndim(curve.gap) == 0:
        return curve
    values, gap = curve.values, curve.gap
    return curve._replace(values=values - values.mean(axis=0), gap=gap - gap.mean())


def _of_set(curve, k):
    """One of several curves of a column."""
    if np.ndim(curve.gap) == 0:
        return curve
    return curve._replace(
        values=curve.values[k],
        standard_errors=curve.standard_errors[k],
        gap=float(curve.gap[k]),
        gap_error=float(curve.gap_error[k]),
    )


def _spreads(curves):
    """Largest standard deviation over knots and levels, by column."""
    return {
        name: max(float(np.std(own.values)) if len(own.values) else 0.0 for own in each)
        for name, each in ((name, own.values()) for name, own in curves.items())
    }


def _over_rows(model, X, part):
    """Largest standard deviation over rows of what is drawn, by column."""
    table = curve_importance(model, X)
    names, gate = table.pop("feature"), table.pop("gate", None)
    each = [gate] if part == "gate" else list(table.values())
    # A column that none of them sees has none.
    largest = np.nan_to_num(each, nan=-1.0).max(axis=0)
    known = zip(names, largest, strict=True)
    return {name: float(own) for name, own in known if own >= 0}


def _chosen(model, importance, features, max_panels):
    """Names of the columns that are drawn."""
    if features is None:
        least = FLAT * max(importance.values())
        ranked = sorted(importance, key=lambda name: -importance[name])
        return [own for own in ranked if importance[own] >= least][:max_panels]
    names = model.made
    if names is None:
        names = model.names(np.empty((0, model.mixture.n_features_in_)))
    chosen = []
    for feature in [features] if np.ndim(features) == 0 else features:
        whole = isinstance(feature, (int, np.integer))
        name = names[feature] if whole and 0 <= feature < len(names) else feature
        if name not in importance:
            raise ValueError(
                f"CurveDisplay got the feature {feature!r}, but expected one of "
                f"{list(importance)}, which have curves."
            )
        chosen.append(name)
    return chosen
