"""Pictures in scikit-learn's Display style: arrays in, ``plot()`` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._estimators.shown import CONSTANT_GATE
from .._typing import Table
from ._palette import PALETTE, colour, line
from ._plots import (
    DAY,
    along,
    axes_for,
    legend_beside,
    mark_dates,
    mark_levels,
    stacked_bars,
)
from ._tables import expert_usage
from ._unwrap import rows_of, unwrap


class ConvergenceDisplay:
    """The objective of EM per iteration, and where experts were removed.

    Parameters
    ----------
    lower_bounds : array-like of shape (n_iter,)
        Penalised log-likelihood per unit of weight, in nats.
    removed : list of dict, default=()
        ``expert`` and ``iteration`` of each that was removed, as in
        ``history_["removed"]``; iterations are those of ``lower_bounds``.

    Attributes
    ----------
    ax_, figure_, line_, marks_ : matplotlib artists, after ``plot``

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import ConvergenceDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(model, plot=False)
    >>> len(display.lower_bounds) == model.n_iter_
    True
    """

    def __init__(self, lower_bounds: Any, removed: Sequence[Any] = ()) -> None:
        self.lower_bounds = np.asarray(lower_bounds, dtype=float)
        self.removed = list(removed)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display of a fitted mixture; draws it unless ``plot=False``."""
        estimator = unwrap(estimator).mixture
        history = estimator.history_
        # Of the runs before the experts of a row were limited, nothing is drawn.
        before = len(history.get("soft_bound", ()))
        removed = [
            {**own, "iteration": own["iteration"] - before}
            for own in history.get("removed", ())
            if own["iteration"] >= before
        ]
        display = cls(estimator.lower_bounds_, removed)
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "ConvergenceDisplay")
        self.figure_ = self.ax_.figure
        iterations = np.arange(1, len(self.lower_bounds) + 1)
        style = {"color": PALETTE[0], "marker": "o", "markersize": 3, **line_kw}
        (self.line_,) = self.ax_.plot(iterations, self.lower_bounds, **style)
        self.marks_ = [
            self.ax_.axvline(own["iteration"] + 0.5, color="0.6", linestyle="--")
            for own in self.removed
        ]
        for own in self.removed:
            self.ax_.annotate(
                f"{own['expert']} removed",
                (own["iteration"] + 0.5, 0.02),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                va="bottom",
                fontsize="small",
            )
        self.ax_.set(
            xlabel="iteration",
            ylabel="objective (nats per row)",
            title="Objective of the training, by iteration",
        )
        return self


class ExpertUsageDisplay:
    """How many rows each expert serves, and how surely.

    Parameters
    ----------
    usage : dict
        As :func:`expert_usage` returns it.

    Attributes
    ----------
    ax_, figure_, bars_ : matplotlib artists, after ``plot``

    Examples
    --------
    >>> from skmoe.inspection import ExpertUsageDisplay
    >>> usage = {"expert": ["a", "b"], "load": [0.6, 0.4], "top": [0.7, 0.3]}
    >>> ExpertUsageDisplay(usage).usage["load"]
    [0.6, 0.4]
    """

    def __init__(self, usage: Any) -> None:
        self.usage = usage

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        y: ArrayLike | None = None,
        *,
        sizes: dict[str, Any] | None = None,
        plot: bool = True,
        ax: Any = None,
        **bar_kw: Any,
    ) -> Self:
        """Display for the rows of ``X``; draws it unless ``plot=False``.

        ``sizes`` is a dict of ``offset`` or ``trials``, as :func:`expert_usage` takes.
        """
        display = cls(expert_usage(estimator, X, y, **(sizes or {})))
        return display.plot(ax=ax, **bar_kw) if plot else display

    def plot(self, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "ExpertUsageDisplay")
        self.figure_ = self.ax_.figure
        names = self.usage["expert"]
        rows = np.arange(len(names))
        columns = [c for c in ("load", "top", "responsible") if c in self.usage]
        height, colours = 0.8 / len(columns), [colour(k) for k in rows]
        self.bars_ = [
            self.ax_.barh(
                rows + (i - (len(columns) - 1) / 2) * height,
                self.usage[column],
                height=height,
                **{"color": colours, "alpha": SHADES[column], **bar_kw},
            )
            for i, column in enumerate(columns)
        ]
        self.ax_.set_yticks(rows, names)
        self.ax_.invert_yaxis()
        self.ax_.set(xlabel="share of rows", title="How many rows each expert serves")
        self._legend(columns)
        return self

    def _legend(self, columns):
        """Measures in greys, for each expert has a colour of its own."""
        from matplotlib.patches import Patch

        if len(columns) > 1:
            handles = [
                Patch(color="0.2", alpha=SHADES[own], label=LABELS[own], linewidth=0)
                for own in columns
            ]
            legend_beside(self.ax_, handles=handles)


LABELS = {
    "load": "mean gate weight",
    "top": "largest gate weight",
    "responsible": "responsible given y",
}
SHADES = {"load": 1.0, "top": 0.6, "responsible": 0.3}


class GateDisplay:
    """Gate weights along one column, the other columns as they are in the data.

    Each weight is the mean over the rows of ``X`` with the column set to the value on
    the axis (partial dependence of the gate).  Columns of text, and of six numbers or
    fewer, have bars; others have lines.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        Seconds of times; numbers of levels, where there are some.
    proba : array-like of shape (n_values, K)
    names : list of str, length K
    feature : str
    categories : list of str, length n_values, default=None
        Of a column that is drawn by bars.
    is_time : bool, default=False
    is_constant : bool, default=False
        Whether the gate says the same of every row, which the title tells.

    Attributes
    ----------
    ax_, figure_ : matplotlib artists, after ``plot``
    lines_ : lines, or containers of bars, one per expert

    References
    ----------
    .. [1] Friedman, J. H. (2001). Greedy function approximation: a gradient boosting
       machine. Annals of Statistics 29, section 8.2.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import GateDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> display = GateDisplay.from_estimator(model, X, 0, n_values=7, plot=False)
    >>> display.proba.shape
    (7, 2)
    """

    def __init__(
        self,
        values: ArrayLike,
        proba: ArrayLike,
        names: Sequence[str],
        feature: int | str,
        categories: Sequence[str] | None = None,
        is_time: bool = False,
        is_constant: bool = False,
    ) -> None:
        self.values = np.asarray(values)
        self.proba = np.asarray(proba)
        self.names = list(names)
        self.feature = feature
        self.categories = categories
        self.is_time = is_time
        self.is_constant = is_constant

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        feature: int | str,
        *,
        n_values: int = 50,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display for a column, by name or position; draws unless ``plot=False``.

        Raises ``ValueError`` where there is no such column.
        """
        estimator, X = unwrap(estimator), rows_of(X, cls.__name__)
        place = along(estimator, X, feature, cls.__name__, n_values, (0.01, 0.99))
        proba = [estimator.gate_proba(own).mean(axis=0) for own in place.tables(X)]
        axis = place.values, np.stack(proba), estimator.shown_names, place.name
        display = cls(
            *axis,
            categories=place.levels,
            is_time=place.is_time,
            is_constant=estimator.only_stacks,
        )
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "GateDisplay")
        self.figure_ = self.ax_.figure
        styles = [line(k) for k in range(len(self.names))]
        self.lines_ = shares_along(self, self.ax_, self.names, styles, line_kw)
        title = f"Gate along {self.feature}"
        title = f"{title}\n({CONSTANT_GATE})" if self.is_constant else title
        self.ax_.set(ylabel="mean gate weight", title=title)
        return self


def shares_along(display, ax, names, styles, line_kw):
    """Lines or bars of shares (m, K) along a column.

    Parameters
    ----------
    display : has ``values``, ``proba``, ``feature``, ``categories`` and ``is_time``
    ax : matplotlib axes
    names : list of str, length K
    styles : list of dict with ``color`` and ``linestyle``
    line_kw : dict, for all lines or bars

    Returns
    -------
    list of lines, or of containers of bars
    """
    ax.set(xlabel=display.feature, ylim=(-0.02, 1.02))
    if display.categories is not None:
        colours = [own["color"] for own in styles]
        bars = stacked_bars(ax, display.proba, names, colours, **line_kw)
        mark_levels(ax, display.categories)
        # In the order of the bars on top of each other.
        legend_beside(ax, reverse=True)
        return bars
    at = display.values / DAY if display.is_time else display.values
    lines = [
        ax.plot(at, column, **{"label": name, **style, **line_kw})[0]
        for column, name, style in zip(display.proba.T, names, styles, strict=True)
    ]
    if display.is_time:
        mark_dates(ax)
    ax.legend()
    return lines
