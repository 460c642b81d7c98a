"""What workers do with rows; kernels come with the imports.

Rows of positive weight are numbered through all partitions, and cut anew into ranges,
one for each task of a pass.  A range is as many units of rows as a power of two, so
that its sum is a branch of the tree over all units.
"""

import pickle
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_consistent_length

from .._estimators.batches import NumberBatches
from .._estimators.sources import FirstPass, encoded, joined_spans, row_numbers
from .._numerics.design import CHUNK_ROWS, merged_moments
from .._sklearn import safe_indexing
from ..data import RowSource
from ..engines import TreeSum, recut, single_threaded_blas, sum_blocks

# Why rows on workers should be numbers.
ON_WORKERS = "parts that train on Dask collections read numbers only;"


class Range(NamedTuple):
    """Numbers of the rows that a task holds.

    Attributes
    ----------
    first, last : rows that are its own
    held : last row that it holds besides, for moments of chunks that begin in its own
    """

    first: int
    last: int
    held: int

    @classmethod
    def of(cls, first, last, n_rows):
        """A range of all rows, with those that whole chunks need."""
        whole = -(-last // CHUNK_ROWS) * CHUNK_ROWS
        return cls(first, last, min(whole, n_rows))


class Batches(RowSource):
    """Batches of rows that a worker holds."""

    def __init__(self, held):
        self.held = held

    def batches(self):
        """Iterator of the batches."""
        return iter(self.held)


def cut_rows(batches, first, last):
    """Some of the rows of batches (X, y, weight), by their numbers."""
    found, begin = [], 0
    for X, y, weight in batches:
        own = slice(max(first - begin, 0), max(min(last - begin, len(X)), 0))
        begin += len(X)
        if own.start < own.stop:
            parts = (
                None if a is None else safe_indexing(a, own) for a in (X, y, weight)
            )
            found.append(tuple(parts))
    return found


def packed(parts):
    """Rows of positive weight of some partitions, each a batch (X, y, weight)."""
    return [counting(*own) for own in parts]


def counting(X, y, weight=None):
    """A partition as a batch without the rows of weight zero."""
    check_consistent_length(X, y, weight)
    if weight is None or not len(X):
        return X, y, weight
    counts = row_numbers(weight, X) > 0
    if counts.all():
        return X, y, weight
    rows = np.flatnonzero(counts)
    return tuple(safe_indexing(own, rows) for own in (X, y, weight))


def counted(batches):
    """How many rows batches have, and how many bytes."""
    from dask.sizeof import sizeof

    n_bytes = sum(sizeof(part) for own in batches for part in own if part is not None)
    return sum(len(own[0]) for own in batches), n_bytes


def assembled(*pieces):
    """Batches of several pieces as those of one."""
    return [own for piece in pieces for own in piece]


class PartPass(FirstPass):
    """What the first pass finds in the rows of a range.

    Parameters
    ----------
    model : mixture, of which the kind is asked
    rows : list of batches, all that the range holds
    where : Range
    likelihood : likelihood, which checks targets
    """

    def __init__(self, model, rows, where, likelihood):
        first, last, held = where
        own = Batches(cut_rows(rows, 0, last - first))
        self._begin(model, own, likelihood, NumberBatches(None, ON_WORKERS))
        begins = -(-first // CHUNK_ROWS)
        known = [*self._read(), *read_besides(model, rows, where, likelihood)]
        known = cut_rows(known, begins * CHUNK_ROWS - first, held - first)
        for number, block in enumerate(recut(known, CHUNK_ROWS), begins):
            self._add_moments(number, *block)
        self.model = self.source = self.likelihood = None

    def __getstate__(self):
        trees = {name: vars(self)[name].branches() for name in ("columns", "outputs")}
        return {**vars(self), **trees}

    def __setstate__(self, state):
        vars(self).update(state)
        for name in ("columns", "outputs"):
            vars(self)[name] = tree_of(state[name])

    def extended(self, later):
        """What is found in these rows and in those after them."""
        if not (self.n_rows and later.n_rows):
            return self if self.n_rows else later
        self._check_alike(later)
        both = object.__new__(PartPass)
        vars(both).update(vars(self))
        both.sample = self.sample.extended(later.sample)
        for name in ("columns", "outputs"):
            trees = [vars(own)[name].branches() for own in (self, later)]
            vars(both)[name] = tree_of(trees[0] + trees[1])
        both.n_rows = self.n_rows + later.n_rows
        both.lightest = min(self.lightest, later.lightest)
        both.heaviest = max(self.heaviest, later.heaviest)
        both.batches = self.batches.joined(later.batches)
        if self.span is not None:
            both.span = joined_spans(self.span, later.span)
        if self.classes is not None:
            both.classes = np.union1d(self.classes, later.classes)
        return both

    def _check_alike(self, later):
        """Raise ``ValueError`` for partitions of other columns or outputs."""
        own, other = (
            (p.batches.n_columns, p.batches.names, p.n_dims) for p in (self, later)
        )
        if own != other:
            raise ValueError(
                f"A partition has {other[0]} columns ({other[1]}) and outputs of shape "
                f"{other[2]}, but one before it {own[0]} ({own[1]}) and {own[2]}; give "
                "all the same columns and outputs."
            )


def read_besides(model, rows, where, likelihood):
    """Batches that a range holds besides its own, as the first pass reads them."""
    first, last, held = where
    other = object.__new__(PartPass)
    besides = Batches(cut_rows(rows, last - first, held - first))
    other._begin(model, besides, likelihood, NumberBatches(None, ON_WORKERS))
    return other._read()


def tree_of(branches):
    """A tree of moments of which branches are known."""
    tree = TreeSum(merged_moments)
    for own in branches:
        tree.add(*own)
    return tree


def encoded_units(rows, where, target, code, unit, size):
    """Own rows of a range as training reads them, in units of ``size`` rows."""
    own = Batches(cut_rows(rows, 0, where.last - where.first))
    return list(recut(encoded(own, target, code, unit), size))


def sums_over(text, units):
    """Sum of the statistics of units of rows, by what a pass has sent."""
    accumulate, make_statistics = pickle.loads(text)
    with single_threaded_blas():
        return tuple(sum_blocks(accumulate, make_statistics, iter(units)))


def applied(text, *results):
    """What a function, sent with what it is told first, makes of results."""
    function, common = pickle.loads(text)
    with single_threaded_blas():
        return function(common, *results)


def same(text):
    """What was sent."""
    return pickle.loads(text)
