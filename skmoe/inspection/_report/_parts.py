"""What a page is made of: pure data, each kind of which knows its HTML."""

from html import escape
from typing import NamedTuple

from .._palette import OTHERS, PALETTE


class Keys(NamedTuple):
    """Experts, and their colours in all tables and pictures.

    Attributes
    ----------
    names : list of str
    order : list of int, positions of the experts, the one with most load first
    """

    names: list
    order: list

    @property
    def drawn(self):
        """Positions of the experts that have a colour of their own."""
        return self.order[: len(PALETTE)]

    def colour(self, k):
        """Colour of an expert by its position; of many by its load."""
        if len(self.order) <= len(PALETTE):
            return PALETTE[k]
        return PALETTE[self.order.index(k)] if k in self.drawn else OTHERS

    def swatch(self, k):
        """Its name behind a spot of its colour."""
        return f'<i style="background:{self.colour(k)}"></i>{escape(self.names[k])}'

    def legend(self):
        """The experts that are drawn."""
        others = len(self.order) - len(self.drawn)
        each = [f"<span>{self.swatch(k)}</span>" for k in self.drawn]
        if others:
            each.append(
                f'<span><i style="background:{OTHERS}"></i>{others} more</span>'
            )
        return f'<p class="legend">{" ".join(each)}</p>'


class Words(NamedTuple):
    """A paragraph."""

    text: str

    def html(self, keys):
        """HTML of the part."""
        return f"<p>{escape(self.text)}</p>"


class Lines(NamedTuple):
    """Text as it is, line by line."""

    text: str

    def html(self, keys):
        """HTML of the part."""
        return f"<pre>{escape(self.text)}</pre>"


class Table(NamedTuple):
    """A table of texts.

    Attributes
    ----------
    header : list of str
    rows : list of lists of str
    experts : list of int or None, one per row, whose first cell is then the expert
    heads : list of int or None, one per column, whose head is then the expert
    bars : int or None, column whose texts begin with a share in percent
    """

    header: list
    rows: list
    experts: list | None = None
    bars: int | None = None
    heads: list | None = None

    def html(self, keys):
        """HTML of the part."""
        heads = self.heads or [None] * len(self.header)
        head = "".join(
            f'<th scope="col">{_named(text, k, keys)}</th>'
            for text, k in zip(self.header, heads, strict=True)
        )
        experts = self.experts or [None] * len(self.rows)
        body = "".join(
            f"<tr>{self._row(row, k, keys)}</tr>"
            for row, k in zip(self.rows, experts, strict=True)
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="wide">{table}</div>'

    def _row(self, row, k, keys):
        cells = [f'<th scope="row">{_named(row[0], k, keys)}</th>']
        for j, text in enumerate(row[1:], start=1):
            has_bar = j == self.bars
            start = f'<td class="bar">{self._bar(text)}' if has_bar else "<td>"
            cells.append(f"{start}{escape(text)}</td>")
        return "".join(cells)

    def _bar(self, text):
        share = min(max(float(text.split()[0]), 0.0), 100.0)
        return f'<b style="width:{0.5 * share:.1f}px"></b>'


def _named(text, k, keys):
    return escape(text) if k is None else keys.swatch(k)


class Pictures(NamedTuple):
    """Pictures side by side, with what they show.

    Attributes
    ----------
    pictures : list of parts with ``plot(keys)``
    note : str
    legend : bool, whether the colours are those of the experts
    """

    pictures: list
    note: str
    legend: bool = True

    def html(self, keys):
        """HTML of the part."""
        legend = keys.legend() if self.legend else ""
        drawn = "".join(own.plot(keys).svg() for own in self.pictures)
        note = f"<figcaption>{escape(self.note)}</figcaption>"
        return f'<figure>{legend}<div class="pictures">{drawn}</div>{note}</figure>'


class Section(NamedTuple):
    """A heading, and what stands beneath."""

    title: str
    parts: list

    def html(self, keys):
        """HTML of the section."""
        inner = "".join(own.html(keys) for own in self.parts)
        return f"<section><h2>{escape(self.title)}</h2>{inner}</section>"
