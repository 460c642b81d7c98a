"""Pictures of a report: what is drawn, and how."""

from typing import NamedTuple

import numpy as np

from .._numbers import in_order, number
from .._palette import PALETTE
from .._panels import BAND, MOST_LEVELS, Panel, aside
from ._svg import GREY, Plot, date, marked, percent, ticks

# How dashed the lines of experts are, so that they differ without colours, too.
DASHES = ("", "6 3", "2 2", "8 3 2 3", "", "6 3", "2 2", "8 3 2 3")
# Opacities from which on a piece of a curve is drawn by the next of these.
FADED, OPACITIES = (0.0, 0.1, 0.35, 0.7), (0.12, 0.3, 0.6, 1.0)
# Share of an axis below which a value is not told from 0.
UNSEEN = 1e-4
# Places along a column that are labelled.
MOST_MARKS = 7


def spaced(values, most):
    """At most so many positions of values, evenly spaced."""
    n = len(values)
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)).tolist()


def pieces(opacity):
    """Slices of points that share an opacity, each up to the first of the next one."""
    steps = np.digitize((opacity[1:] + opacity[:-1]) / 2, FADED[1:])
    ends = [0, *(np.flatnonzero(np.diff(steps)) + 1), len(steps)]
    pairs = zip(ends[:-1], ends[1:], strict=True)
    return [(slice(a, b + 1), OPACITIES[steps[a]]) for a, b in pairs if b > a]


class Curves(NamedTuple):
    """The curves of the experts along one column.

    Attributes
    ----------
    panel : Panel, whose curves are by the names of experts
    y : (low, high), the range that all columns share
    y_label : str
    """

    panel: Panel
    y: tuple
    y_label: str

    def plot(self, keys):
        """The picture."""
        own = [(k, self.panel.curves.get(keys.names[k])) for k in keys.drawn]
        own = [(k, curve) for k, curve in own if curve is not None]
        if own[0][1].levels is not None:
            return self._levels(own, keys)
        return self._lines(own, keys)

    def _plot(self, x, marks):
        name = self.panel.feature
        return Plot(name, x, self.y, name, self.y_label, x_marks=marks)

    def _lines(self, own, keys):
        ends = [
            end for _, c in own if len(c.knots) for end in (c.knots[0], c.knots[-1])
        ]
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        gaps = any(not np.isnan(curve.gap) for _, curve in own)
        beyond = 0.14 * ((high - low) or 1.0) if gaps else 0.0
        marks = None
        if self.panel.is_time:
            marks = [(at, date(at)) for at in np.linspace(low, high, 3)]
        elif gaps:
            marks = marked(ticks(low, high))
        if gaps:
            marks = [*marks, (high + beyond, "gap")]
        plot = self._plot((low, high + 1.3 * beyond), marks)
        for k, curve in own:
            self._line(plot, k, curve, keys)
            self._gap(plot, high + beyond, k, curve, keys)
        return plot

    def _line(self, plot, k, curve, keys):
        """A line with its band, in pieces that are fainter where few ask for them."""
        error = BAND * np.nan_to_num(curve.standard_errors)
        x, low, high = curve.knots, curve.values - error, curve.values + error
        colour, dash = keys.colour(k), DASHES[keys.drawn.index(k)]
        for at, seen in pieces(self.panel.opacity(keys.names[k])):
            plot.band(x[at], low[at], high[at], colour, 0.16 * seen)
            plot.line(x[at], curve.values[at], colour, dash=dash, opacity=seen)

    def _gap(self, plot, x, k, curve, keys):
        if np.isnan(curve.gap):
            return
        error = BAND * np.nan_to_num(curve.gap_error)
        self._dot(plot, x, float(curve.gap), float(error), k, "gap", keys)

    def _dot(self, plot, x, value, error, k, level, keys):
        low, high = np.clip([value - error, value + error], *self.y)
        is_seen = abs(value) > UNSEEN * max(map(abs, self.y))
        shown = number(value) if is_seen else "≈ 0"
        said = f"{keys.names[k]}, {level}: {shown}"
        plot.dot(x, value, keys.colour(k), said=said, low=low, high=high)

    def _levels(self, own, keys):
        mean = {}
        for _, curve in own:
            for level, value in zip(curve.levels, curve.values, strict=True):
                mean.setdefault(level, []).append(value)
        mean = {level: float(np.mean(values)) for level, values in mean.items()}
        shown = sorted(mean, key=lambda level: -abs(mean[level]))[:MOST_LEVELS]
        shown = in_order(shown)
        gaps = any(not np.isnan(curve.gap) for _, curve in own)
        ticks = [*shown, "gap"] if gaps else shown
        marks = [(at, str(level)) for at, level in enumerate(ticks)]
        plot = self._plot((-0.6, len(ticks) - 0.4), marks)
        beside = aside(len(own), len(ticks))
        for (k, curve), shift in zip(own, beside, strict=True):
            errors = BAND * np.nan_to_num(curve.standard_errors)
            for level, value, error in zip(
                curve.levels, curve.values, errors, strict=True
            ):
                if level in shown:
                    at = shown.index(level) + shift
                    self._dot(plot, at, float(value), float(error), k, level, keys)
            self._gap(plot, len(shown) + shift, k, curve, keys)
        return plot


class Shares(NamedTuple):
    """Mean gate weights of the rows at each place of a column, stacked.

    Attributes
    ----------
    feature : str
    places : list of str
    shares : (places, K) ndarray
    mass : (places,) ndarray, share of the rows
    edges : list of str, ends of ranges; or None
    """

    feature: str
    places: list
    shares: np.ndarray
    mass: np.ndarray
    edges: list | None

    def plot(self, keys):
        """The picture."""
        size = len(self.places)
        shown = (self.edges, 0.0) if self.edges else (self.places, 0.5)
        marks = [(at + shown[1], shown[0][at]) for at in spaced(shown[0], MOST_MARKS)]
        label = self.feature
        y_label = "gate weight"
        plot = Plot(label, (0, size), (0, 1), label, y_label, 380, 200, marks)
        drawn = [(k, self.shares[:, k]) for k in keys.drawn]
        others = [k for k in keys.order if k not in keys.drawn]
        if others:
            drawn.append((others[0], self.shares[:, others].sum(axis=1)))
        below = np.zeros(size)
        for k, share in drawn:
            name = keys.names[k] if k in keys.drawn else "others"
            for at, own in enumerate(share):
                top = below[at] + own
                said = f"{self._place(at)}: {name} {percent(own)}"
                said += f" ({percent(self.mass[at])} of rows)"
                ends = at + 0.03, at + 0.97
                if own > 0.002:
                    plot.bar(*ends, below[at], top, keys.colour(k), said)
            below += share
        return plot

    def _place(self, at):
        return f"{self.feature} {self.places[at]}"


class Heights(NamedTuple):
    """A histogram of probability integral transforms.

    Attributes
    ----------
    title : str
    heights : (b,) ndarray, 1 where all is well
    margin : float, what chance alone makes of 1 in 95 of 100 bars
    """

    title: str
    heights: np.ndarray
    margin: float

    def plot(self, keys):
        """The picture."""
        size = len(self.heights)
        top = 1.1 * max(self.heights.max(), 1.0 + self.margin, 1.6)
        x_label = "probability of a smaller y"
        plot = Plot(self.title, (0, 1), (0, top), x_label, "rows / expected")
        for at, own in enumerate(self.heights):
            ends = (at + 0.04) / size, (at + 0.96) / size
            plot.bar(*ends, 0, own, PALETTE[5], f"{number(own)} of what is expected")
        x = np.array([0.0, 1.0])
        low = np.full(2, max(1 - self.margin, 0.0))
        plot.band(x, low, np.full(2, 1 + self.margin), GREY, 0.25)
        plot.line(x, np.ones(2), "#222", width=1.0, dash="4 3")
        return plot


class Reliability(NamedTuple):
    """How often a class came, against the probability that was said.

    Attributes
    ----------
    title : str
    said, came, mass : (b,) ndarrays, of the bins that have rows
    error : float, mean difference of the two
    """

    title: str
    said: np.ndarray
    came: np.ndarray
    mass: np.ndarray
    error: float

    def plot(self, keys):
        """The picture."""
        plot = Plot(self.title, (0, 1), (0, 1), "probability said", "share that came")
        ends = np.array([0.0, 1.0])
        plot.line(ends, ends, GREY, width=1.0, dash="4 3")
        plot.line(self.said, self.came, PALETTE[0])
        most = max(self.mass.max(), 1e-12)
        for said, came, mass in zip(self.said, self.came, self.mass, strict=True):
            text = (
                f"said {percent(said)}, came {percent(came)}, {percent(mass)} of rows"
            )
            plot.dot(
                said, came, PALETTE[0], size=2 + 4 * (mass / most) ** 0.5, said=text
            )
        return plot
