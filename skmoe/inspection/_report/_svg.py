"""Small pictures as inline SVG: axes, lines, areas, bars and dots, as text."""

from html import escape
from typing import NamedTuple

import numpy as np

from .._numbers import number, numbers

GREY, FAINT = "#767676", "#e2e2e2"
# Room around a picture, for what stands at its axes.
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 22, 36
# What the name of the axis takes of that on the left, and a letter beside it.
BESIDE, LETTER = 20, 6.5
# More of it for slanted words.
SLANTED = 34
# Letters that fit below an axis side by side.
MOST_LETTERS = 26


def percent(value):
    """A share in percent."""
    if value != value:
        return "–"
    return f"{100 * value:.3g} %" if value >= 5e-5 else "0 %"


def date(value):
    """The day of a time in seconds since 1970."""
    return str(np.datetime64(int(value), "s").astype("datetime64[D]"))


def short(text, most=14):
    """A text that fits at an axis."""
    text = str(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def ticks(low, high, most=5):
    """Round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(size * own for own in (1, 2, 5, 10) if size * own >= raw * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(own * step) for own in np.arange(first, last + 1)]


def marked(values):
    """Places on an axis with what stands there."""
    return list(zip(values, numbers(values), strict=True))


class Scale(NamedTuple):
    """From values to places on the page."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value):
        """Places of values."""
        width = (self.high - self.low) or 1.0
        share = (np.asarray(value, dtype=float) - self.low) / width
        return self.start + share * (self.end - self.start)


class Plot:
    """A picture that grows by marks, in units of the data.

    Parameters
    ----------
    title : str
    x, y : (low, high), ranges of the axes
    x_label, y_label : str
    width, height : int, in pixels
    x_marks : list of (value, str), or None for round numbers
    """

    def __init__(
        self, title, x, y, x_label="", y_label="", width=280, height=190, x_marks=None
    ):
        if x_marks is None:
            x_marks = marked(ticks(*x))
        slanted = sum(len(short(text)) for _, text in x_marks) > MOST_LETTERS
        height += SLANTED * slanted
        self.title, self.width, self.height = title, width, height
        room = TOP, height - BOTTOM - SLANTED * slanted
        y_marks = marked(ticks(*y))
        widest = max(len(text) for _, text in y_marks)
        left = max(LEFT, BESIDE + LETTER * widest)
        self.x, self.y = Scale(*x, left, width - RIGHT), Scale(*y, room[1], room[0])
        self.marks, self.inner, self.dots = [], [], []
        self.labels(x_label, y_label)
        for value, text in y_marks:
            self.grid(value, text)
        for value, text in x_marks:
            self.x_mark(value, text, slanted)

    def labels(self, x_label, y_label):
        """Title and names of the axes."""
        middle = (self.y.start + self.y.end) / 2
        self.text(self.x.start, 13, short(self.title, 44), weight="600")
        self.text(self.x.end, self.height - 4, x_label, anchor="end", colour=GREY)
        self.marks.append(
            f'<text transform="translate(10 {middle:.0f}) rotate(-90)" '
            f'text-anchor="middle" fill="{GREY}">{escape(y_label)}</text>'
        )

    def grid(self, value, text):
        """A horizontal line with its number."""
        at = self.y.at(value)
        self.segment(self.x.start, at, self.x.end, at, FAINT)
        self.text(self.x.start - 4, at + 3, text, anchor="end", colour=GREY)

    def x_mark(self, value, text, slanted):
        """What stands at a place of the x axis."""
        at, y = float(self.x.at(value)), self.y.start
        self.segment(at, y, at, y + 3, GREY)
        if slanted:
            self.marks.append(
                f'<text transform="translate({at + 3:.1f} {y + 10:.0f}) rotate(-42)" '
                f'text-anchor="end" fill="{GREY}">{escape(short(text, 11))}</text>'
            )
        else:
            self.text(at, y + 13, short(text), anchor="middle", colour=GREY)

    def text(self, x, y, text, *, anchor="start", colour="#222", weight="400"):
        """Words at a place on the page."""
        self.marks.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{escape(text)}</text>'
        )

    def segment(self, *place, width=1.0):
        """A line between two places on the page."""
        self.marks.append(_segment(*place, width))

    def _points(self, x, y):
        pairs = zip(self.x.at(x), self.y.at(y), strict=True)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)

    def line(self, x, y, colour, *, width=1.8, dash="", opacity=1.0):
        """A line through points."""
        self.inner.append(
            f'<polyline points="{self._points(x, y)}" fill="none" stroke="{colour}" '
            f'stroke-width="{width:.2g}" stroke-opacity="{opacity:.2g}" '
            f'stroke-linejoin="round"{_dashed(dash)}/>'
        )

    def _inside(self):
        """Marks that are cut off at the axes."""
        x, y = self.x.start, self.y.end
        width, height = self.x.end - x, self.y.start - y
        place = f"{x:g} {y:g} {width:g} {height:g}"
        return (
            f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            f'viewBox="{place}" overflow="hidden">{"".join(self.inner)}</svg>'
        )

    def band(self, x, low, high, colour, opacity=0.16):
        """An area between two lines."""
        around = np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]])
        self.inner.append(
            f'<polygon points="{self._points(*around)}" fill="{colour}" '
            f'fill-opacity="{opacity:.2g}"/>'
        )

    def bar(self, x0, x1, y0, y1, colour, said=""):
        """A rectangle, which says something where it is pointed at."""
        left, right = self.x.at([x0, x1])
        bottom, top = self.y.at([y0, y1])
        self.inner.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(bottom - top, 0):.1f}" fill="{colour}">{_said(said)}</rect>'
        )

    def dot(self, x, y, colour, *, size=3.0, said="", low=None, high=None):
        """A dot, with a bar from ``low`` to ``high`` if they are given.

        Beyond the axis it is a triangle at the end, with its number.
        """
        at = float(self.x.at(x))
        if not self.y.low <= y <= self.y.high:
            self._beyond(at, y, colour, said)
            return
        if low is not None:
            ends = self.y.at([low, high])
            self.dots.append(_segment(at, ends[0], at, ends[1], colour, 1.4))
        self.dots.append(
            f'<circle cx="{at:.1f}" cy="{float(self.y.at(y)):.1f}" r="{size:.2g}" '
            f'fill="{colour}">{_said(said)}</circle>'
        )

    def _beyond(self, at, y, colour, said):
        """A triangle at the end of the axis, with the number that lies beyond it."""
        above = y > self.y.high
        end, way = (self.y.end, 1) if above else (self.y.start, -1)
        base = end + 7 * way
        points = f"{at - 4:.1f},{base:.1f} {at + 4:.1f},{base:.1f} {at:.1f},{end:.1f}"
        self.dots.append(
            f'<polygon points="{points}" fill="{colour}">{_said(said)}</polygon>'
        )
        place = end + (18 if above else -10)
        self.text(at, place, number(y), anchor="middle", colour=colour)

    def svg(self):
        """The picture."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label="{escape(self.title)}">'
            f"{''.join(self.marks)}{self._inside()}{''.join(self.dots)}</svg>"
        )


def _segment(x0, y0, x1, y1, colour, width):
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
        f'stroke="{colour}" stroke-width="{width:.2g}"/>'
    )


def _dashed(dash):
    return f' stroke-dasharray="{dash}"' if dash else ""


def _said(text):
    return f"<title>{escape(text)}</title>" if text else ""
