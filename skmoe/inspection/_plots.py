"""What pictures share: axes, columns to draw along, and what they are called."""

from typing import NamedTuple

import numpy as np

from .._sklearn import check_matplotlib_support
from .._tables.columns import column_kind, column_numbers, column_text
from .._tables.frames import column_labels, one_column, with_order, with_value
from .._tables.values import Kind
from ..exceptions import did_you_mean
from ._numbers import in_order, numbers

# Different numbers up to which a column is drawn by bars, as nothing lies in between.
FEW_VALUES = 6
# Levels of a column of text that are drawn, the most frequent ones.
MOST_LEVELS = 12
MISSING = "missing"
# Letters that fit below an axis side by side, and of one label.
MOST_LETTERS, LONGEST = 40, 18
# Seconds of a day: matplotlib counts in days.
DAY = 86400.0


def axes_for(ax, owner, figsize=None):
    """The axes given, or those of a new figure."""
    check_matplotlib_support(f"{owner}.plot")
    import matplotlib.pyplot as plt

    if ax is not None:
        return ax
    return plt.subplots(figsize=figsize, layout="constrained")[1]


def panels_in(ax, n_panels):
    """A figure, and axes for panels that share their axis of values.

    They are in place of ``ax``, or on a new figure.
    """
    import matplotlib.pyplot as plt

    n_columns = min(3 if n_panels in (5, 6, 9) else 4, n_panels)
    n_rows = -(-n_panels // n_columns)
    if ax is None:
        size = 2.6 * n_columns + 0.6, 2.3 * n_rows + 0.5
        figure = plt.figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(n_rows, n_columns)
    else:
        ax.set_axis_off()
        figure = ax.figure
        grid = ax.get_subplotspec().subgridspec(
            n_rows, n_columns, hspace=0.9, wspace=0.15
        )
    axes = []
    for k in range(n_panels):
        share = axes[0] if axes else None
        axes.append(figure.add_subplot(grid[divmod(k, n_columns)], sharey=share))
        axes[-1].tick_params(labelleft=k % n_columns == 0, labelsize="small")
    return figure, axes


class Along(NamedTuple):
    """Places along a column of a table, at which something is drawn.

    Attributes
    ----------
    name : str, of the column
    values : (m,) ndarray, seconds of times; numbers of levels, where there are some
    levels : list of str, of text or of few numbers; or None
    is_time : bool
    label : what selects the column
    rows : (m,) int, rows that have the levels; or None
    """

    name: str
    values: np.ndarray
    levels: list | None
    is_time: bool
    label: object
    rows: np.ndarray | None

    def tables(self, X):
        """Tables that are X with the column set to one place after another."""
        if self.rows is None:
            return (with_value(X, self.label, value) for value in self.values)
        size = np.shape(X)[0]
        # Levels are taken from rows that have them, so that types stay as they are.
        return (with_order(X, self.label, np.full(size, row)) for row in self.rows)


def along(model, X, feature, owner, n_values, ends=(0.0, 1.0)):
    """Places along a column of a user's table.

    Parameters
    ----------
    model : Unwrapped
    X : table of n rows
    feature : int or str
    owner : str, for messages
    n_values : int, of a column of many numbers
    ends : quantiles between which these lie

    Returns
    -------
    Along

    Raises
    ------
    ValueError
        If there is no such column, or no value in it.
    """
    place = column_place(model, X, feature, owner)
    label, name = column_labels(X)[place], str(model.names(X)[place])
    column = one_column(X, label)
    kind = column_kind(column)
    if kind in (Kind.TEXT, Kind.CLOCKS):
        return _levels(name, label, column_text(column))
    own = column_numbers(column)
    known = np.unique(own[~np.isnan(own)])
    if not len(known):
        raise ValueError(
            f"{owner} got the column {name!r}, which is empty, but expected one with "
            "some values; choose another feature."
        )
    if len(known) <= FEW_VALUES and kind == Kind.NUMBERS:
        return _few(name, label, own, known)
    values = np.linspace(*np.nanquantile(own, ends), n_values)
    return Along(name, values, None, kind == Kind.TIMES, label, None)


def _levels(name, label, text):
    """Levels of a column of text, the most frequent ones in their order, gaps last."""
    gaps = np.array([own is None for own in text])
    known, first, count = np.unique(
        text[~gaps].astype(str), return_index=True, return_counts=True
    )
    often = np.argsort(-count, kind="stable")[:MOST_LEVELS]
    rows = dict(zip(known[often].tolist(), first[often], strict=True))
    shown = in_order(rows)
    rows = np.flatnonzero(~gaps)[[rows[own] for own in shown]]
    return _placed(name, label, shown, rows, gaps)


def _few(name, label, values, known):
    """Levels of a column of few numbers, in their order, gaps last."""
    rows = np.array([np.flatnonzero(values == value)[0] for value in known])
    return _placed(name, label, numbers(known, 6), rows, np.isnan(values))


def _placed(name, label, levels, rows, gaps):
    if gaps.any():
        levels, rows = [*levels, MISSING], np.append(rows, np.flatnonzero(gaps)[0])
    return Along(name, np.arange(float(len(levels))), levels, False, label, rows)


def column_place(model, X, feature, owner):
    """Position of a column of a user's table, by name or position.

    Raises ``ValueError`` where there is none.
    """
    labels, names = column_labels(X), [str(own) for own in model.names(X)]
    for known in (labels, names):
        if not isinstance(feature, (list, np.ndarray)) and feature in known:
            return known.index(feature)
    size = len(names)
    whole = isinstance(feature, (int, np.integer)) and not isinstance(feature, bool)
    if whole and -size <= feature < size:
        return int(feature) % size
    raise ValueError(
        f"{owner} got the column {feature!r}, but expected one of {_listed(names)}, or "
        f"a position from 0 to {size - 1}" + did_you_mean(feature, names)
    )


def _listed(names):
    if len(names) <= MOST_LEVELS:
        return str(names)
    shown = ", ".join(map(repr, names[:MOST_LEVELS]))
    return f"[{shown}, … {len(names) - MOST_LEVELS} more]"


def mark_levels(ax, levels):
    """Levels at the places 0, 1, … of the horizontal axis."""
    upright = sum(map(len, levels)) > MOST_LETTERS
    ax.set_xticks(
        range(len(levels)),
        [own if len(own) <= LONGEST else own[: LONGEST - 1] + "…" for own in levels],
        rotation=45 if upright else 0,
        ha="right" if upright else "center",
        rotation_mode="anchor",
    )
    ax.set_xlim(-0.6, len(levels) - 0.4)


def mark_dates(ax, most=6):
    """Dates instead of days on the horizontal axis."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=most)
    ax.xaxis_date()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def stacked_bars(ax, shares, names, colours, **bar_kw):
    """Bars of shares (m, K) on top of each other, one column per level."""
    below, bars = np.zeros(len(shares)), []
    for share, name, colour in zip(shares.T, names, colours, strict=True):
        style = {"width": 0.8, "edgecolor": "white", "linewidth": 0.5, **bar_kw}
        at = np.arange(len(shares))
        own = {"bottom": below, "label": name, "color": colour}
        bars.append(ax.bar(at, share, **own | style))
        below = below + share
    return bars


def legend_beside(ax, **options):
    """A legend to the right of axes that are full."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    ax.legend(**place, borderaxespad=0.0, frameon=False, **options)
