"""What a student is taught: true targets, and the teacher's answers to other rows."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.neighbors import NearestNeighbors

from .._sklearn import safe_indexing
from .._tables.columns import column_numbers, is_number_column
from .._tables.frames import (
    as_columns,
    column_labels,
    stacked,
    with_order,
    with_value,
)
from ..experts._encoding import numeric_encoding

# Rows that are made of each row, at most as many in all, of at most so many.
MADE_PER_ROW, MOST_MADE, MOST_ROWS = 8, 8000, 8000
# Rows next to a row, one of which is the other end of a line.
N_NEAR = 10
# Classes less probable than this are not taught.
LEAST_PROBA = 0.005


class Lesson(NamedTuple):
    """Rows, targets and weights to fit a student to."""

    rows: Any
    targets: np.ndarray
    weights: np.ndarray


def made_rows(X, weight, rng):
    """Rows between rows of X and near ones.

    Numbers are in between, whole ones rounded; of anything else, and where one of the
    two has a gap, either has its part.

    Parameters
    ----------
    X : table of shape (n, p), not sparse
    weight : ndarray of shape (n,)
        Rows are drawn in proportion to it.
    rng : numpy Generator

    Returns
    -------
    table of shape (m, p), and ndarray of shape (m,) with the number of the first row
    """
    some = np.arange(len(weight))
    if len(some) > MOST_ROWS:
        some = np.sort(rng.choice(some, MOST_ROWS, replace=False))
    chances = weight[some] / weight[some].sum()
    n_made = min(MADE_PER_ROW * len(some), MOST_MADE)
    own = rng.choice(len(some), size=n_made, p=chances)
    near = _neighbours(safe_indexing(X, some))
    other = near[own, rng.integers(near.shape[1], size=n_made)]
    first, second, share = some[own], some[other], rng.random(n_made)
    both = stacked([safe_indexing(X, first), safe_indexing(X, second)])
    columns = zip(column_labels(both), as_columns(both), strict=True)
    for label, column in list(columns):
        either = np.where(rng.random(n_made) < 0.5, 0, n_made) + np.arange(n_made)
        either = np.concatenate([either, either])
        if is_number_column(column):
            values = _between(column_numbers(column), share, either)
            both = with_value(both, label, values)
        else:
            both = with_order(both, label, either)
    return safe_indexing(both, np.arange(n_made)), first


def _neighbours(X):
    """Numbers of the rows nearest to each, itself apart if there are others."""
    numbers = numeric_encoding().fit_transform(X)
    n_near = min(N_NEAR + 1, len(numbers))
    near = NearestNeighbors(n_neighbors=n_near).fit(numbers)
    # Of equal rows any may come first.
    return near.kneighbors(numbers, return_distance=False)[:, min(1, n_near - 1) :]


def _between(values, share, either):
    """Numbers between those of the first half of some values and of the second."""
    first, second = np.split(values, 2)
    between = first + share * (second - first)
    known = values[np.isfinite(values)]
    if np.array_equal(known, np.round(known)):
        between = np.round(between)
    picked = values[either[: len(between)]]
    between = np.where(np.isfinite(between), between, picked)
    return np.concatenate([between, between])


def expand_classes(teacher, X):
    """Rows, labels and weights: every row once for each class."""
    proba = teacher.predict_proba(X)
    rows, codes = np.indices(proba.shape)
    return rows.ravel(), teacher.classes_[codes.ravel()], proba.ravel()


def make_lesson(teacher, X, y, weight, misses, hard_share, rng):
    """True targets of the rows of X, and the teacher's answers to rows made of them.

    A teacher's answers to the rows that it was fitted to are nearly their targets, and
    say little else; to rows that it has not seen they say what it has learned.

    Parameters
    ----------
    teacher : fitted estimator
    X : table of shape (n, p), not sparse
    y : ndarray of shape (n,) or (n, n_outputs)
    weight : ndarray of shape (n,)
        Positive.
    misses : ndarray of the shape of y, or None for classes
        By how much a teacher misses each row that it has not seen.  Its answers are
        taught twice, that much higher and lower, so that a student learns the spread.
    hard_share : float
        Weight of the true targets; more where there are few made rows to a row.
    rng : numpy Generator
    """
    made, first = made_rows(X, weight, rng)
    if is_classifier(teacher):
        rows, targets, soft = expand_classes(teacher, made)
        kept = soft > LEAST_PROBA
        rows, targets, soft = rows[kept], targets[kept], soft[kept]
    else:
        own = misses[first]
        answers = np.reshape(teacher.predict(made), own.shape)
        rows, soft = np.tile(np.arange(len(first)), 2), np.ones(2 * len(first))
        targets = np.concatenate([answers - own, answers + own])
    # In all they count as many rows as there are, of the mean weight.
    n, total = len(y), len(y) + len(first)
    share = max(hard_share, n / total)
    hard = weight * (share * total / weight.sum())
    soft = soft * ((1 - share) * total / soft.sum())
    return Lesson(
        stacked([X, safe_indexing(made, rows)]),
        np.concatenate([y, targets]),
        np.concatenate([hard, soft]),
    )
