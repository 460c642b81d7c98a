"""Rows that a mixture of additive parts explains in words."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.base import BaseEstimator

from .._tables.values import is_gap
from .._typing import Table
from ._additive import (
    LEVEL,
    additive_terms,
    cells_of,
    curved_experts,
    curved_gate,
    missing,
)
from ._unwrap import unwrap

# Share of the largest term below which a term is not told.
NEXT_TO_NOTHING = 1e-3
# What the terms of a prediction are terms of.
SCALES = {"identity": "", "log": " log =", "logit": " logit =", "softmax": " logit ="}


def explain_text(
    model: BaseEstimator, X: Table, *, n_terms: int = 5, precision: int = 3
) -> list[str]:
    """A sentence per row: who answers for it, why, and of what the answer is made.

    Parameters
    ----------
    model : fitted mixture, search or pipeline with additive experts or gate
    X : array-like or data frame of shape (n, p)
    n_terms : int, default=5
        At most so many are named, the largest first; others are taken together.
    precision : int, default=3
        Digits.

    Returns
    -------
    list of str
        The leading expert, its gate weight and its prediction, or most probable class,
        as a sum of terms, each with the value of its column; behind "chosen for" those
        of an additive gate, as logits around the mean of all experts.

    Raises
    ------
    ValueError
        If neither gate nor experts are additive.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import explain_text
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor("additive", 2, random_state=0).fit(X, y)
    >>> explain_text(model, X[:1])[0].startswith("expert")
    True
    """
    writer = _Writer(unwrap(model), X, n_terms, precision)
    return [writer.sentence(i) for i in range(len(writer.gate))]


class _Writer:
    """Writes the sentences of rows."""

    def __init__(self, model, X, n_terms, precision):
        own, table = model.read(X)
        self.parts, gate = curved_experts(model, own), curved_gate(model, own)
        if not self.parts and gate is None:
            raise missing(model, "experts")
        self.classes, self.names = own.target.classes, list(model.named_experts_)
        self.n_terms, self.precision = n_terms, precision
        self.gate, self.prediction = model.gate_proba(X), model.predict_experts(X)
        self.terms, self.gate_terms = additive_terms(model, X)
        self.cells = {name: cells_of(p, table) for name, p in self.parts.items()}
        self.gate_cells = None if gate is None else cells_of(gate, table)

    def sentence(self, row):
        """What is said of a row."""
        k = int(self.gate[row].argmax())
        name, prediction = self.names[k], self.prediction[row, k]
        said = f"{name} ({self.gate[row, k]:.2f}) predicts "
        said += self.answer(name, prediction, row)
        if self.gate_terms is None or len(self.names) == 1:
            return said
        value = self.gate_terms["value"][row]
        why = value[k] - value.mean(axis=0)
        names = self.gate_terms["term"]
        return f"{said}; chosen for {self.listed(names, why, self.gate_cells, row)}"

    def answer(self, name, prediction, row):
        """A prediction, and its terms if there are any."""
        if self.classes is not None:
            best = int(prediction.argmax())
            shown = f"{self.classes[best]} ({prediction[best]:.2f})"
        else:
            shown = ", ".join(self.number(own) for own in np.atleast_1d(prediction))
        if name not in self.terms:
            return shown
        names, value = self.terms[name]["term"], self.terms[name]["value"][row]
        if self.classes is not None:
            # Logits say something only beside those of the other classes.
            value = (value - value.mean(axis=0))[best]
        scale = SCALES[self.parts[name].fitted.link]
        each = [
            self.listed(names, own, self.cells[name], row)
            for own in np.atleast_2d(value)
        ]
        return f"{shown}:{scale} {' | '.join(each)}"

    def listed(self, names, values, cells, row):
        """The level and the largest terms; of next to nothing nothing is said."""
        size = np.abs(values[1:])
        order = [j + 1 for j in np.argsort(-size, kind="stable")]
        least = NEXT_TO_NOTHING * np.abs(values).max()
        told = [j for j in order[: self.n_terms] if abs(values[j]) > least]
        shown = [f"{LEVEL} {self.number(values[0])}"]
        for j in told:
            shown.append(
                f"{self.what(names[j], cells, row)}: {values[j]:+.{self.precision}g}"
            )
        rest = values[[j for j in order if j not in told]].sum()
        if abs(rest) > least:
            shown.append(f"others: {rest:+.{self.precision}g}")
        return ", ".join(shown)

    def what(self, name, cells, row):
        """A column with its value."""
        return name if name not in cells else f"{name} {self.cell(cells[name][row])}"

    def number(self, value):
        """A number with some digits."""
        return f"{value:.{self.precision}g}"

    def cell(self, value):
        """The value of a column."""
        if is_gap(value):
            return "missing"
        if isinstance(value, np.datetime64):
            return str(np.datetime_as_string(value, unit="auto"))
        if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
            return f"{float(value):.{self.precision + 1}g}"
        return str(value)
