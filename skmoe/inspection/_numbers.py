"""Numbers and levels as readers want them: one rule for texts, tables and pictures."""

import re

import numpy as np

# Share of what a number stands beside below which it is left by rounding, or by a
# penalty without bounds; and the same of a number that stands alone.
DUST, ALONE = 1e-9, 1e-12
# Digits by which values are told apart at most.
MOST_DIGITS = 9
# From here on powers of ten are read more easily.
WHOLE = 1e9
# What begins a range that is open below, or above.
OPEN = {"<": -1, "≤": -1, ">": 1, "≥": 1}


def number(value, digits=3, beside=None):
    """A number with some digits: thousands in full, and next to nothing is 0.

    Parameters
    ----------
    value : float
    digits : int
    beside : float, default=None
        Size of the numbers that it stands beside.

    Returns
    -------
    str, a dash for NaN
    """
    value = float(value)
    if np.isnan(value):
        return "–"
    if abs(value) <= (ALONE if beside is None else DUST * beside):
        return "0"
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < WHOLE else text


def signed(value, digits=3, beside=None):
    """A number with its sign, if it has one."""
    text = number(value, digits, beside)
    return text if text[0] in "-–" or text == "0" else f"+{text}"


def numbers(values, digits=3):
    """Numbers with as many digits, the same for all, as tell different ones apart."""
    values = np.asarray(list(values), dtype=float)
    known = values[np.isfinite(values)]
    beside = np.abs(known).max(initial=0.0)
    tried = [
        [number(own, more, beside) for own in values]
        for more in range(digits, max(MOST_DIGITS, digits) + 1)
    ]
    most = len(set(tried[-1]))
    return next(texts for texts in tried if len(set(texts)) == most)


def without_dust(values):
    """Numbers (..., n), 0 where rounding has left next to nothing beside others."""
    values = np.asarray(values, dtype=float)
    largest = np.abs(values).max(axis=-1, keepdims=True, initial=0.0)
    return np.where(np.abs(values) <= ALONE * largest, 0.0, values)


def in_order(levels):
    """Names of levels in one order, whatever is drawn of them.

    By the numbers that they begin with, as ages or ranges do, where ``<1`` comes before
    ``1<=X<4`` and ``>=7`` after ``4<=X<7``; others follow by the alphabet.
    """
    return sorted(levels, key=_place)


def _place(level):
    text = str(level)
    found = re.match(r"\D{0,2}?(-?\d+\.?\d*)", text)
    if found is None:
        return np.inf, 0, text.casefold(), text
    return float(found[1]), OPEN.get(text[0], 0), text.casefold(), text
