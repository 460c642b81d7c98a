"""Single rows that a reader can choose, each explained."""

import json
from html import escape
from typing import NamedTuple

import numpy as np

from ..._sklearn import safe_indexing
from ..._tables.frames import as_columns
from ..._tables.values import is_gap
from .._numbers import number
from .._sentences import in_words
from ._parts import Section, Words
from ._said import sentences
from ._svg import short

# Rows that can be chosen, columns and experts that are shown of each.
MOST_CHOSEN, MOST_COLUMNS, MOST_EXPERTS = 200, 60, 5
LONGEST_VALUE, LONGEST_TEXT = 60, 1500


class Chooser(NamedTuple):
    """Rows by groups, of which a script shows one.

    Attributes
    ----------
    groups : list of (str, list of int), positions in ``rows``
    rows : list of dict of texts and numbers
    columns : list of str, names of the columns that are shown
    """

    groups: list
    rows: list
    columns: list

    def html(self, keys):
        """HTML of the part; the script writes text only, never HTML."""
        own = {
            "columns": self.columns,
            "names": [short(name, LONGEST_VALUE) for name in keys.names],
            "colours": [keys.colour(k) for k in range(len(keys.names))],
            "rows": self.rows,
        }
        data = json.dumps(own, separators=(",", ":"), ensure_ascii=False)
        for mark, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
            data = data.replace(mark, code)
        options = "".join(self._group(title, rows) for title, rows in self.groups)
        return (
            '<p><label for="chooser">Row: </label>'
            f'<select id="chooser">{options}</select></p>'
            '<div id="chosen" aria-live="polite"></div>'
            "<noscript><p>Rows are shown by a script of this page, which this viewer "
            "does not run.</p></noscript>"
            f'<script type="application/json" id="rows">{data}</script>'
        )

    def _group(self, title, rows):
        inner = "".join(
            f'<option value="{i}">{escape(self.rows[i]["title"])}</option>'
            for i in rows
        )
        return f'<optgroup label="{escape(title)}">{inner}</optgroup>'


def chosen_section(given):
    """Rows explained: the largest, the smallest, the worst, the least sure, others."""
    groups = _groups(given)
    size = max(1, MOST_CHOSEN // len(groups))
    groups = [(title, rows[:size]) for title, rows in groups]
    every = np.unique(np.concatenate([rows for _, rows in groups]))
    columns = [str(name) for name in given.own.names(given.rows.X)][:MOST_COLUMNS]
    place = {int(i): at for at, i in enumerate(every)}
    groups = [(title, [place[int(i)] for i in rows]) for title, rows in groups]
    note = "Rows are counted from 0, as they were given."
    rows = _rows(given, every, len(columns))
    return Section("Single rows", [Words(note), Chooser(groups, rows, columns)])


def _groups(given):
    """Titles, and positions of rows, those that show most first."""
    found, n_rows = [], len(given.rows.numbers)
    if given.own.is_classifier:
        value = given.prediction.max(axis=1)
        names = "most certain", "least certain"
    else:
        value = given.prediction[:, 0]
        names = "largest predictions", "smallest predictions"
    order = np.argsort(-value, kind="stable")
    found += [(names[0], order), (names[1], order[::-1])]
    if given.rows.y is not None:
        error = _error(given)
        worst = np.argsort(-error, kind="stable")
        found.append(("largest errors", worst))
    if len(given.keys.names) > 1:
        torn = np.argsort(given.gate.max(axis=1), kind="stable")
        found.append(("between experts", torn))
    found.append(("at random", given.rng().permutation(n_rows)))
    return found


def _error(given):
    if given.own.is_classifier:
        return -given.prediction[np.arange(len(given.target)), given.target]
    return np.abs(given.target - given.prediction).mean(axis=1)


def _rows(given, every, n_columns):
    """What is shown of rows, as texts and numbers."""
    cells = [
        [_cell(value) for value in column]
        for column in _first_columns(safe_indexing(given.rows.X, every), n_columns)
    ]
    said = sentences(given, every)
    return [
        {
            "title": _title(given, i),
            "cells": [column[at] for column in cells],
            "experts": _experts(given, i),
            "said": said[at][:LONGEST_TEXT],
        }
        for at, i in enumerate(every)
    ]


def _first_columns(X, n_columns):
    if hasattr(X, "toarray"):
        X = X[:, :n_columns].toarray()
    return [np.asarray(own, dtype=object) for own in as_columns(X)[:n_columns]]


def _cell(value):
    if is_gap(value):
        return "missing"
    if isinstance(value, (float, np.floating)):
        return number(value, 5)
    return short(value, LONGEST_VALUE)


def _title(given, i):
    answer = _answer(given, given.prediction[i])
    text = f"row {given.rows.numbers[i]}: predicts {answer}"
    if given.rows.y is None:
        return text
    y = given.target[i]
    came = given.model.classes_[y] if given.own.is_classifier else in_words(y)
    return f"{text}, y is {came}"


def _answer(given, prediction):
    classes = given.model.classes_ if given.own.is_classifier else None
    return in_words(prediction, classes)


def _experts(given, i):
    """Positions, gate weights and answers of the experts with most weight."""
    gate = given.gate[i]
    shown = np.argsort(-gate, kind="stable")[:MOST_EXPERTS]
    return [
        [
            int(k),
            round(float(gate[k]), 4),
            _answer(given, np.atleast_1d(given.each[i, k])),
        ]
        for k in shown
        if gate[k] > 0
    ]
