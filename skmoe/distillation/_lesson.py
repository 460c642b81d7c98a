"""What a student is taught: true targets, and the teacher's answers to other rows."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier

from .._sklearn import safe_indexing
from .._tables.frames import column_labels, stacked, with_order

# Rows that are made of each row, and in all.
MADE_PER_ROW, MOST_MADE = 4, 20_000
# Chance of a column to be that of the other row.
SWAPPED = 0.5
# Classes less probable than this are not taught.
LEAST_PROBA = 0.005


class Lesson(NamedTuple):
    """Rows, targets and weights to fit a student to."""

    rows: Any
    targets: np.ndarray
    weights: np.ndarray


def made_rows(X, weight, rng):
    """Rows each of which has some columns of one row of X, the others of another.

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
    n_made = min(MADE_PER_ROW * len(weight), MOST_MADE)
    first = rng.choice(len(weight), size=n_made, p=weight / weight.sum())
    made, own = safe_indexing(X, first), np.arange(n_made)
    partner = rng.permutation(n_made)
    for label in column_labels(made):
        order = np.where(rng.random(n_made) < SWAPPED, partner, own)
        made = with_order(made, label, order)
    return made, first


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
        answers, own = np.asarray(teacher.predict(made)), misses[first]
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
