"""Explanations of rows in words."""

import numbers

import numpy as np

from .._estimators.shown import CONSTANT_GATE
from .._tables.values import is_gap
from ._numbers import number, signed
from ._terms import LEVEL

# Share of the largest term below which a term is not told.
NEXT_TO_NOTHING = 1e-3
# What the terms of a prediction are terms of.
SCALES = {
    "identity": "",
    "log": " log =",
    "logit": " logit =",
    "softmax": " logit =",
    "probability": "",
}


class Writer:
    """Writes the sentences of rows.

    Parameters
    ----------
    explanation : Explanation
    n_terms : int
        At most so many are named.
    precision : int
        Digits.
    """

    def __init__(self, explanation, n_terms, precision):
        self.own, self.terms = explanation, explanation.get("terms", {})
        self.gate_terms = explanation.get("gate_terms")
        self.classes, self.names = explanation.classes, explanation.names
        self.shown_names = explanation.shown_names
        self.n_terms, self.precision = n_terms, precision

    def sentence(self, row):
        """What is said of a row."""
        gate = self.own["gate"][row]
        k = int(gate.argmax())
        name, prediction = self.names[k], self.own["prediction"][row, k]
        answer, shown = self.answer(name, prediction, row), self.shown_names[k]
        said = f"{shown} ({gate[k]:.2f}) predicts {answer}"
        if len(self.names) == 1:
            return said
        if self.own.only_stacks:
            said += f"; {CONSTANT_GATE}"
        elif self.gate_terms is not None:
            value = of_place(self.gate_terms, self.gate_terms["value"][row], k)
            said += f"; chosen for {self.listed(self.gate_terms, value, row)}"
        whole = answer_in_words(self.own, row, precision=self.precision)
        if whole == answer_in_words(self.own, row, k, self.precision):
            return said
        return f"{said}; the mixture answers {whole}"

    def answer(self, name, prediction, row):
        """A prediction, and its terms if there are any."""
        best = None if self.classes is None else int(prediction.argmax())
        shown = in_words(prediction, self.classes, self.precision)
        if name not in self.terms:
            return shown
        terms = self.terms[name]
        value = terms["value"][row]
        if best is not None:
            value = of_place(terms, value, best)
        each = [self.listed(terms, own, row) for own in np.atleast_2d(value)]
        return f"{shown}:{SCALES[terms.scale]} {' | '.join(each)}"

    def listed(self, terms, values, row):
        """The level and the largest terms; of next to nothing nothing is said."""
        names, size = terms["term"], np.abs(values[1:])
        order = [j + 1 for j in np.argsort(-size, kind="stable")]
        beside = np.abs(values).max()
        least = NEXT_TO_NOTHING * beside
        told = [j for j in order[: self.n_terms] if abs(values[j]) > least]
        shown = [f"{LEVEL} {number(values[0], self.precision, beside)}"]
        for j in told:
            what = with_cell(names[j], terms.cells, row, self.precision)
            shown.append(f"{what}: {signed(values[j], self.precision)}")
        rest = values[[j for j in order if j not in told]].sum()
        if abs(rest) > least:
            shown.append(f"others: {signed(rest, self.precision)}")
        return ", ".join(shown)


def answer_in_words(explanation, row, k=None, precision=3):
    """What an expert answers, by its position; or all of them together."""
    if k is None:
        answer = explanation["contribution"][row].sum(axis=0)
    else:
        answer = explanation["prediction"][row, k]
    return in_words(answer, explanation.classes, precision)


def in_words(answer, classes=None, precision=3):
    """Numbers, or the most probable class with its probability."""
    if classes is None:
        return ", ".join(number(own, precision) for own in np.atleast_1d(answer))
    best = int(answer.argmax())
    return f"{classes[best]} ({answer[best]:.2f})"


def of_place(terms, value, place):
    """Terms of a class, or of an expert in the gate, of (K, terms).

    Logits are around the mean of all, since only their differences count.
    """
    centred = value - value.mean(axis=0) if terms.scale == "softmax" else value
    return centred[place]


def with_cell(name, cells, row, precision=3, sign=" "):
    """A column with its value."""
    if name not in cells:
        return name
    return f"{name}{sign}{cell(cells[name][row], precision)}"


def cell(value, precision=3):
    """The value of a column as a reader wants it."""
    if is_gap(value):
        return "missing"
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value, unit="auto"))
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        return number(value, precision + 1)
    return str(value)
