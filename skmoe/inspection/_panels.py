"""One panel of a picture of curves: lines, levels and gaps of all experts."""

from typing import NamedTuple

import numpy as np

# Standard errors on either side of a curve: 95 % of a normal distribution.
BAND = 1.96
# Levels of a column that are shown; of more, those that differ most from the mean.
MOST_LEVELS = 12
# How far apart points of experts are, in distances of levels.
SPREAD = 0.5


class Panel(NamedTuple):
    """The curves of one column.

    Attributes
    ----------
    feature : str
    importance : float, standard deviation of the curves
    curves : dict of Curve by expert, each of one output
    is_time : bool, whether knots are seconds since 1970
    """

    feature: str
    importance: float
    curves: dict
    is_time: bool = False


class Drawing:
    """Draws a panel.

    Parameters
    ----------
    axes : matplotlib axes
    panel : Panel
    colours : dict of colours by expert
    line_kw : dict, for lines
    """

    def __init__(self, axes, panel, colours, line_kw):
        self.axes, self.panel, self.colours = axes, panel, colours
        self.line_kw = line_kw
        names = list(panel.curves)
        room = np.linspace(-0.5, 0.5, len(names)) if len(names) > 1 else np.zeros(1)
        self.aside = dict(zip(names, SPREAD * room, strict=True))

    def draw(self):
        """Draw all curves."""
        axes, panel = self.axes, self.panel
        axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        first = next(iter(panel.curves.values()))
        if first.levels is not None:
            self.levels(first)
        else:
            self.lines()
        axes.set_title(panel.feature, fontsize="medium")
        axes.annotate(
            f"sd {panel.importance:.2g}",
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
            width = BAND * np.nan_to_num(curve.standard_errors)
            band = curve.values - width, curve.values + width
            self.axes.fill_between(x, *band, color=colour, alpha=0.18, linewidth=0)
            style = {"color": colour, "linewidth": 1.6, **self.line_kw}
            self.axes.plot(x, curve.values, **style)
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
            self.dates()
        gaps = {n: c.gap for n, c in self.panel.curves.items() if not np.isnan(c.gap)}
        if gaps and low <= high:
            self.gaps(gaps, low, high)

    def dates(self):
        """Dates instead of days on the axis."""
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=2, maxticks=5)
        self.axes.xaxis_date()
        self.axes.xaxis.set_major_locator(locator)
        self.axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))

    def gaps(self, gaps, low, high):
        """Values of gaps, apart from those of numbers."""
        unit = 0.12 * ((high - low) or 1.0)
        self.axes.axvline(high + 0.5 * unit, color="0.8", linewidth=0.8, linestyle=":")
        for name, value in gaps.items():
            x = high + (1.1 + self.aside[name]) * unit
            self.axes.plot(x, value, "D", color=self.colours[name], markersize=4)
        self.axes.annotate(
            "gap",
            (high + 1.1 * unit, 0.02),
            xycoords=self.axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize="x-small",
            color="0.4",
        )

    def levels(self, first):
        """Points with bars, the levels in the order of their values."""
        mean = {}
        for curve in self.panel.curves.values():
            for level, value in zip(curve.levels or (), curve.values, strict=True):
                mean.setdefault(level, []).append(value)
        mean = {level: np.mean(own) for level, own in mean.items()}
        shown = sorted(mean, key=lambda level: -abs(mean[level]))[:MOST_LEVELS]
        shown.sort(key=lambda level: mean[level])
        gaps = any(not np.isnan(c.gap) for c in self.panel.curves.values())
        places = {level: x for x, level in enumerate(shown)}
        for name, curve in self.panel.curves.items():
            self.points(name, curve, places)
        ticks = [*shown, "gap"] if gaps else shown
        upright = sum(map(len, map(str, ticks))) > 24
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
        style = {"color": self.colours[name], "markersize": 4, "linewidth": 1.2}
        errors = BAND * np.nan_to_num(curve.standard_errors[kept])
        aside = self.aside[name]
        self.axes.errorbar(x + aside, curve.values[kept], errors, fmt="o", **style)
        if not np.isnan(curve.gap):
            self.axes.plot(len(places) + aside, curve.gap, "D", **style)
