"""One panel of a picture of curves: lines, levels and gaps of all experts."""

from typing import NamedTuple

import numpy as np

from ._numbers import in_order, number
from ._plots import mark_dates

# Standard errors on either side of a curve: 95 % of a normal distribution.
BAND = 1.96
# Levels of a column that are shown; of more, those that differ most from the mean.
MOST_LEVELS = 12
# Letters of levels that fit beneath a panel side by side.
ROOM_FOR_TICKS = 16
# Opacity of a curve where its expert is not asked at all.
FAINTEST = 0.04
# How far apart points of experts are at the gap, in widths of its place; and those at
# one level, in shares of a panel.
SPREAD, STEP = 0.5, 0.06
# Least opacities of points, and of those that lie beyond the axis.
POINT, BEYOND = 0.25, 0.6


def aside(n_experts, n_levels):
    """Places (n_experts,) of the points at a level, closer than levels are."""
    step = min(STEP * n_levels, 1.0 / (n_experts + 1))
    return step * (np.arange(n_experts) - 0.5 * (n_experts - 1))


class Panel(NamedTuple):
    """The curves of one column.

    Attributes
    ----------
    feature : str
    importance : float, standard deviation of the curves
    curves : dict of Curve by expert, each of one output
    is_time : bool, whether knots are seconds since 1970
    widths : dict of float by expert, of lines, in points; or None
    faded : dict of (b,) ndarray by expert, from 0 to 1, opacity of its curve; or None
    """

    feature: str
    importance: float
    curves: dict
    is_time: bool = False
    widths: dict | None = None
    faded: dict | None = None

    def ordered(self, declared):
        """With levels in the order in which a column declares them, others last."""
        levels = next(iter(self.curves.values())).levels
        if levels is None:
            return self
        declared = in_order(levels) if declared is None else declared
        places = {level: k for k, level in enumerate(declared)}
        order = sorted(range(len(levels)), key=lambda k: places.get(levels[k], np.inf))
        curves = {
            name: curve._replace(
                levels=[curve.levels[k] for k in order],
                values=curve.values[order],
                standard_errors=curve.standard_errors[order],
            )
            for name, curve in self.curves.items()
        }
        faded = self.faded and {name: own[order] for name, own in self.faded.items()}
        return self._replace(curves=curves, faded=faded)

    def width(self, name):
        """Width of the line of an expert, in points."""
        return 1.6 if self.widths is None else self.widths[name]

    def opacity(self, name):
        """Opacities (b,) of its curve."""
        if self.faded is None:
            return np.ones(len(self.curves[name].values))
        return FAINTEST + (1.0 - FAINTEST) * self.faded[name] ** 2


class Drawing:
    """Draws a panel.

    Parameters
    ----------
    axes : matplotlib axes
    panel : Panel
    colours : dict of colours by expert
    line_kw : dict, for lines
    limits : (low, high), of the axis of values
    """

    def __init__(self, axes, panel, colours, line_kw, limits):
        self.axes, self.panel, self.colours = axes, panel, colours
        self.line_kw, self.limits = line_kw, limits
        names = list(panel.curves)
        room = np.linspace(-0.5, 0.5, len(names)) if len(names) > 1 else np.zeros(1)
        self.aside = dict(zip(names, SPREAD * room, strict=True))

    def draw(self):
        """Draw all curves."""
        axes, panel = self.axes, self.panel
        axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        first = next(iter(panel.curves.values()))
        if first.levels is not None:
            self.levels()
        else:
            self.lines()
        axes.set_title(panel.feature, fontsize="medium")
        axes.annotate(
            f"sd over rows {number(panel.importance, 2)}",
            (0.98, 0.97),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize="x-small",
            color="0.4",
        )
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)

    def lines(self):
        """Lines with bands, ticks at knots, and gaps to the right of them."""
        low, high = np.inf, -np.inf
        for name, curve in self.panel.curves.items():
            x, colour = curve.knots, self.colours[name]
            if self.panel.is_time:
                # In days, as matplotlib has them.
                x = x / 86400.0
            if not len(x):
                continue
            low, high = min(low, x[0]), max(high, x[-1])
            self.line(name, x, colour)
            self.axes.plot(
                x,
                np.zeros(len(x)),
                "|",
                color="0.5",
                markersize=5,
                transform=self.axes.get_xaxis_transform(),
                clip_on=False,
            )
        if self.panel.is_time:
            mark_dates(self.axes, most=5)
        gaps = {n: c for n, c in self.panel.curves.items() if not np.isnan(c.gap)}
        if gaps and low <= high:
            self.gaps(gaps, low, high)

    def line(self, name, x, colour):
        """A line with its band, both fainter where the expert is hardly asked."""
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgba

        curve, opacity = self.panel.curves[name], self.panel.opacity(name)
        width = BAND * np.nan_to_num(curve.standard_errors)
        low, high = curve.values - width, curve.values + width
        style = {"color": colour, "linewidth": self.panel.width(name), **self.line_kw}
        band = {"color": colour, "alpha": 0.18, "linewidth": 0}
        if self.panel.faded is None or len(x) < 2:
            self.axes.fill_between(x, low, high, **band)
            self.axes.plot(x, curve.values, **style)
            return
        # A line has one opacity: this one is drawn in pieces.
        (line,) = self.axes.plot(x, curve.values, **style, visible=False)
        alpha = (opacity[1:] + opacity[:-1]) / 2
        points = np.column_stack([x, curve.values])
        self.axes.add_collection(
            LineCollection(
                np.stack([points[:-1], points[1:]], axis=1),
                colors=[to_rgba(line.get_color(), own) for own in alpha],
                linewidths=line.get_linewidth(),
                linestyles=line.get_linestyle(),
                capstyle="butt",
                zorder=line.get_zorder(),
            )
        )
        for j, own in enumerate(alpha):
            at = slice(j, j + 2)
            band["alpha"] = 0.18 * own
            self.axes.fill_between(x[at], low[at], high[at], **band)

    def gaps(self, gaps, low, high):
        """Values of gaps, apart from those of numbers."""
        unit = 0.12 * ((high - low) or 1.0)
        self.axes.axvline(high + 0.5 * unit, color="0.8", linewidth=0.8, linestyle=":")
        for name, curve in gaps.items():
            x = high + (1.1 + self.aside[name]) * unit
            self.gap(name, x, curve)
        self.axes.annotate(
            "gap",
            (high + 1.1 * unit, 0.02),
            xycoords=self.axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize="x-small",
            color="0.4",
        )

    def levels(self):
        """Points with bars, by level."""
        mean = {}
        for curve in self.panel.curves.values():
            for level, value in zip(curve.levels or (), curve.values, strict=True):
                mean.setdefault(level, []).append(value)
        mean = {level: np.mean(own) for level, own in mean.items()}
        most = sorted(mean, key=lambda level: -abs(mean[level]))[:MOST_LEVELS]
        shown = [level for level in mean if level in most]
        gaps = any(not np.isnan(c.gap) for c in self.panel.curves.values())
        places = {level: x for x, level in enumerate(shown)}
        names = list(self.panel.curves)
        self.aside = dict(zip(names, aside(len(names), len(shown) + gaps), strict=True))
        for x in range(1, len(shown) + gaps):
            self.axes.axvline(x - 0.5, color="0.92", linewidth=0.8, zorder=0)
        for name, curve in self.panel.curves.items():
            self.points(name, curve, places)
        ticks = [*shown, "gap"] if gaps else shown
        upright = sum(map(len, map(str, ticks))) > ROOM_FOR_TICKS
        self.axes.set_xticks(
            range(len(ticks)),
            [own if len(own) <= 14 else own[:13] + "…" for own in ticks],
            rotation=60 if upright else 0,
            ha="right" if upright else "center",
            rotation_mode="anchor",
            fontsize="x-small" if upright else "small",
        )
        self.axes.set_xlim(-0.6, len(ticks) - 0.4)
        if len(mean) > len(shown):
            note = f"{len(shown)} of {len(mean)} levels"
            self.axes.set_xlabel(note, fontsize="x-small", color="0.4")

    def points(self, name, curve, places):
        """Points of one expert."""
        kept = [j for j, own in enumerate(curve.levels) if own in places]
        x = np.array([places[curve.levels[j]] for j in kept], dtype=float)
        x += self.aside[name]
        errors = BAND * np.nan_to_num(curve.standard_errors[kept])
        opacity = self.panel.opacity(name)[kept]
        each = zip(x, curve.values[kept], errors, opacity, strict=True)
        for at, value, error, alpha in each:
            self.point(name, at, value, error, "o", float(alpha))
        if not np.isnan(curve.gap):
            self.gap(name, len(places) + self.aside[name], curve)

    def gap(self, name, x, curve):
        """The point of gaps of one expert."""
        self.point(name, x, curve.gap, BAND * np.nan_to_num(curve.gap_error), "D", 1.0)

    def point(self, name, x, value, error, marker, alpha):
        """A point with its bar, or what says that it lies beyond the axis."""
        low, high = self.limits
        style = {"color": self.colours[name], "markersize": 4, "linewidth": 1.2}
        if low <= value <= high:
            self.axes.errorbar(
                x, value, error, fmt=marker, alpha=max(alpha, POINT), **style
            )
            return
        end, sign, at = (high, -1, "top") if value > high else (low, 1, "bottom")
        style |= {"alpha": max(alpha, BEYOND), "clip_on": False, "markersize": 5}
        self.axes.plot(x, end, "^" if value > high else "v", **style)
        self.axes.annotate(
            number(value),
            (x, end),
            xytext=(0, 5 * sign),
            textcoords="offset points",
            ha="center",
            va=at,
            fontsize="x-small",
            color=self.colours[name],
        )
