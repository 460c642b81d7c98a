"""A picture of one row: the terms of an answer, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._estimators.shown import CONSTANT_GATE
from .._typing import Table
from ._explanation import Explanation, explain, without_terms
from ._numbers import number, signed
from ._palette import FALLS, RISES
from ._plots import axes_for
from ._sentences import NEXT_TO_NOTHING, of_place, with_cell

# Where an answer stands, by the scale of its terms.
SCALES = {
    "identity": "{}",
    "log": "logarithm of {}",
    "logit": "logit of {}",
    "softmax": "logit of {} = {}, around the mean of all classes",
    "probability": "probability of {} = {}",
}
GATE_SCALES = {
    "softmax": "logit of the gate, around the mean of all experts",
    "probability": "gate weight",
}
OTHERS = "others"
# Share of the largest number below which a term is next to nothing beside any other.
NEARLY = 1e-5
# Letters of a line below the bars, of one above them, and of what stands beside one.
WIDTH, TITLE, LONGEST = 40, 50, 36
# Points from a bar to its number, and the share of the axis that numbers may take.
ASIDE, MOST_ROOM = 4, 0.35


class ExplanationDisplay:
    """The terms of an answer for one row, one after another, from its level.

    Parameters
    ----------
    names : list of str, length p + 1
        The level, and the terms in the order in which they are drawn, each with the
        value of its column.
    values : array-like of shape (p + 1,)
    title, xlabel : str

    Attributes
    ----------
    ax_, figure_, bars_ : matplotlib artists, after ``plot``
    total : float
        Where the terms lead.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import ExplanationDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> display = ExplanationDisplay.from_estimator(model, X[:1], X, plot=False)
    >>> len(display.names) == 1 + X.shape[1]
    True
    """

    def __init__(
        self, names: Sequence[str], values: ArrayLike, title: str, xlabel: str
    ) -> None:
        self.names = list(names)
        self.values = np.asarray(values, dtype=float)
        self.title, self.xlabel = title, xlabel

    @property
    def total(self) -> float:
        """Where the terms lead."""
        return float(self.values.sum())

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        background: Table | None = None,
        *,
        row: int = 0,
        expert: str | None = None,
        output: Any = None,
        part: str = "experts",
        n_terms: int = 10,
        plot: bool = True,
        ax: Any = None,
        **bar_kw: Any,
    ) -> Self:
        """Display for a row of ``X``; draws it unless ``plot=False``.

        Parameters
        ----------
        estimator : fitted mixture, or a search or pipeline around one
        X : array-like or data frame of shape (n, p)
        background : array-like or data frame of shape (m, p), default=None
            As :func:`explain` takes it.
        row, expert, output, part, n_terms, plot, ax, **bar_kw
            As in :meth:`from_explanation`.

        Returns
        -------
        ExplanationDisplay
        """
        return cls.from_explanation(
            explain(estimator, X, background),
            row=row,
            expert=expert,
            output=output,
            part=part,
            n_terms=n_terms,
            plot=plot,
            ax=ax,
            **bar_kw,
        )

    @classmethod
    def from_explanation(
        cls,
        explanation: Explanation,
        *,
        row: int = 0,
        expert: str | None = None,
        output: Any = None,
        part: str = "experts",
        n_terms: int = 10,
        plot: bool = True,
        ax: Any = None,
        **bar_kw: Any,
    ) -> Self:
        """Display for a row of what :func:`explain` returned.

        Parameters
        ----------
        explanation : Explanation
        row : int, default=0
            Counted from 0.
        expert : str, default=None
            The leading one of the row by default.
        output : int or class label, default=None
            Which of several outputs, by default the first; in a classifier the label,
            by default the most probable one of the expert.
        part : {"experts", "gate"}, default="experts"
            Whether the prediction of the expert is drawn, or why it was chosen.
        n_terms : int, default=10
            At most so many are drawn, the largest first; others are taken together.
        plot : bool, default=True
        ax : matplotlib axes, default=None
        **bar_kw
            For ``barh``.

        Returns
        -------
        ExplanationDisplay

        Raises
        ------
        ValueError
            If there is no such row, expert, output or part, or no terms.
        """
        chosen = _Chosen(explanation, row, expert, output)
        if part not in ("experts", "gate"):
            raise _wrong("part", part, "'experts' or 'gate'")
        names, values, title, xlabel = (
            chosen.answer() if part == "experts" else chosen.reason()
        )
        names, values = _largest(names, values, n_terms)
        display = cls(names, values, title, xlabel)
        return display.plot(ax=ax, **bar_kw) if plot else display

    def plot(self, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        size = 6.4, 1.5 + 0.32 * len(self.values)
        self.ax_ = axes_for(ax, "ExplanationDisplay", figsize=size)
        self.figure_ = self.ax_.figure
        ends = np.cumsum(self.values)
        places = np.arange(1, len(ends))
        self.bars_ = self.ax_.barh(
            places,
            self.values[1:],
            left=ends[:-1],
            color=[RISES if own >= 0 else FALLS for own in self.values[1:]],
            **{"height": 0.62, **bar_kw},
        )
        # From the end of each bar to the start of the next.
        low = np.arange(len(ends)) - 0.31
        self.ax_.vlines(ends, low, low + 1.62, "0.6", linewidth=0.8)
        self.ax_.axvline(ends[0], color="0.8", linewidth=0.8, linestyle=":", zorder=0)
        self._labels(ends)
        return self

    def _labels(self, ends):
        last = len(ends)
        names = [*self.names, "sum"]
        self.ax_.set_yticks(range(last + 1), [_short(own) for own in names])
        self.ax_.set_ylim(last + 0.6, -0.6)
        self.ax_.set_xlabel(fill(self.xlabel, WIDTH))
        self.ax_.set_title(fill(self.title, TITLE), fontsize="medium")
        for side in ("top", "right", "left"):
            self.ax_.spines[side].set_visible(False)
        self.ax_.tick_params(axis="y", length=0)
        self.ax_.ticklabel_format(axis="x", useOffset=False)
        self._make_room(ends, self._numbers(ends))

    def _make_room(self, ends, texts):
        """Ends of the axis that leave room for the numbers beside the bars."""
        if self.figure_.get_layout_engine() is not None:
            # Axes get their place when they are drawn.
            self.figure_.draw_without_rendering()
        widest = max(own.get_window_extent().width for own in texts)
        beside = (widest + 2 * ASIDE * self.figure_.dpi / 72) / self.ax_.bbox.width
        beside = min(beside, MOST_ROOM)
        least = 100.0 * NEARLY * np.abs(ends).max() + np.finfo(float).tiny
        span = max(np.ptp(ends), least) / (1.0 - 2.0 * beside)
        room = beside * span
        self.ax_.set_xlim(ends.min() - room, ends.max() + room)

    def _numbers(self, ends):
        """Each term at the end of its bar; level and sum in bold."""
        whole, moves = {"fontweight": "bold"}, self.values[1:]
        beside = np.abs(ends).max()
        marks = [(ends[0], 0, number(ends[0], beside=beside), True, whole)]
        least = NEXT_TO_NOTHING * np.abs(moves).max(initial=0.0)
        least = max(least, NEARLY * beside)
        marks += [
            (end, place, signed(move) if abs(move) > least else "≈ 0", move >= 0, {})
            for place, (end, move) in enumerate(zip(ends[1:], moves, strict=True), 1)
        ]
        total = number(self.total, beside=beside)
        marks.append((ends[-1], len(ends), total, True, whole))
        return [
            self.ax_.annotate(
                text,
                (end, place),
                xytext=(ASIDE if rises else -ASIDE, 0),
                textcoords="offset points",
                ha="left" if rises else "right",
                va="center",
                fontsize="small",
                **style,
            )
            for end, place, text, rises, style in marks
        ]


class _Chosen:
    """A row of an explanation, and one of its experts."""

    def __init__(self, explanation, row, expert, output):
        n_rows = len(explanation["gate"])
        if row not in range(n_rows):
            raise _wrong("row", row, f"an integer from 0 to {n_rows - 1}")
        self.own, self.row, self.output = explanation, row, output
        self.name = str(explanation["expert"][row]) if expert is None else expert
        if self.name not in explanation.names:
            raise _wrong("expert", expert, f"one of {explanation.names}")
        self.k = explanation.names.index(self.name)
        weight = explanation["gate"][row, self.k]
        shown = explanation.shown_names[self.k]
        self.who = f"row {row}: {shown} (weight {weight:.2f})"

    def answer(self):
        """Names and values of the terms of the prediction, with title and label."""
        terms = self.own.get("terms", {}).get(self.name)
        if terms is None:
            raise ValueError(without_terms(f"No part of the expert {self.name!r}"))
        value, prediction = terms["value"][self.row], self.own["prediction"][self.row]
        prediction = np.atleast_1d(prediction[self.k])
        place, value = self.place(prediction), np.atleast_2d(value)
        said = f"{self.who} predicts {number(prediction[place])}{self.whole(place)}"
        label = SCALES[terms.scale]
        if self.own.classes is None:
            label = label.format(self.own.targets[place])
            return self.named(terms), value[place], said, label
        name = self.own.classes[place]
        said = f"{self.who} says {name}: {prediction[place]:.2f}{self.whole(place)}"
        label = label.format(self.own.targets[0], name)
        return self.named(terms), of_place(terms, value, place), said, label

    def whole(self, place):
        """What all experts together answer, where that is something else."""
        answer = np.atleast_1d(self.own["contribution"][self.row].sum(axis=0))[place]
        alone = np.atleast_1d(self.own["prediction"][self.row, self.k])[place]
        shown = number if self.own.classes is None else "{:.2f}".format
        if shown(answer) == shown(alone):
            return ""
        return f"; the mixture answers {shown(answer)}"

    def place(self, prediction):
        """Number of the output, or of the class."""
        labels, output = self.own.classes, self.output
        known = list(range(len(prediction)) if labels is None else labels.tolist())
        if output is None:
            return 0 if labels is None else int(prediction.argmax())
        if output not in known:
            raise _wrong("output", output, f"one of {known}")
        return known.index(output)

    def reason(self):
        """The same of the gate's logit for the expert."""
        terms = self.own.gate_terms()
        value = of_place(terms, terms["value"][self.row], self.k)
        label = GATE_SCALES[terms.scale]
        said = f"gate of {self.who}"
        said = f"{said}; {CONSTANT_GATE}" if self.own.only_stacks else said
        return self.named(terms), value, said, label

    def named(self, terms):
        """Terms with the values of their columns."""
        return [
            with_cell(name, terms.cells, self.row, sign=" = ") for name in terms["term"]
        ]


def _short(text):
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _largest(names, values, n_terms):
    """The level, the largest terms, and the others as one."""
    order = 1 + np.argsort(-np.abs(values[1:]), kind="stable")
    # One that is left takes no more room than "others" would.
    n_shown = len(order) if len(order) == n_terms + 1 else n_terms
    shown, rest = order[:n_shown], order[n_shown:]
    names, kept = [names[j] for j in [0, *shown]], [values[0], *values[shown]]
    if len(rest):
        names.append(f"{len(rest)} {OTHERS}")
        kept.append(values[rest].sum())
    return names, kept


def _wrong(name, value, expected):
    return ValueError(
        f"ExplanationDisplay got {name}={value!r}, but expected {expected}."
    )
