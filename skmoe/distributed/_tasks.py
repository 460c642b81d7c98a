"""What workers do with rows; kernels come with the imports.

Rows of positive weight are numbered through all partitions, and cut anew into ranges,
one for each task of a pass.  A range is as many units of rows as a power of two, so
that its sum is a branch of the tree over all units.
"""

import copy
import pickle
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_consistent_length

from .._estimators.first_pass import FirstPass, encoded, joined_spans, row_numbers
from .._numerics.design import CHUNK_ROWS, merged_moments
from .._sklearn import safe_indexing
from ..data import RowSource
from ..engines import TreeSum, recut, single_threaded_blas, sum_blocks


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

    def __init__(self, held, size_name):
        self.held, self.size_name = held, size_name

    def batches(self):
        """Iterator of the batches."""
        return iter(self.held)


def cut_rows(batches, first, last):
    """Some of the rows of batches, tuples of arrays or None, by their numbers."""
    found, begin = [], 0
    for batch in batches:
        n_rows = len(batch[0])
        own = slice(max(first - begin, 0), max(min(last - begin, n_rows), 0))
        begin += n_rows
        if own.start < own.stop:
            found.append(tuple(_indexed(part, own) for part in batch))
    return found


def _indexed(part, rows):
    return None if part is None else safe_indexing(part, rows)


def packed(names, parts):
    """Rows of positive weight of some partitions, each a batch of a source.

    ``names`` says what each of the arrays is: X, y, weight or size.
    """
    return [counting(**dict(zip(names, own, strict=True))) for own in parts]


def counting(X, y, weight=None, size=None):
    """A partition as a batch without the rows of weight zero."""
    batch = (X, y, weight) if size is None else (X, y, weight, size)
    check_consistent_length(*batch)
    if weight is None or not len(X):
        return batch
    counts = row_numbers(weight, X) > 0
    if counts.all():
        return batch
    rows = np.flatnonzero(counts)
    return tuple(_indexed(own, rows) for own in batch)


def counted(batches):
    """How many rows batches have, and how many bytes."""
    from dask.sizeof import sizeof

    n_bytes = sum(sizeof(part) for own in batches for part in own if part is not None)
    return sum(len(own[0]) for own in batches), n_bytes


def assembled(*pieces):
    """Batches of several pieces as those of one."""
    return [own for piece in pieces for own in piece]


class Asked(NamedTuple):
    """What the first pass is told of a fit.

    Attributes
    ----------
    model : mixture, of which the kind is asked
    likelihood : likelihood, which checks targets
    batches : Batches of the estimators, which read none yet
    size_name : what rows bring along besides weights, or None
    """

    model: Any
    likelihood: Any
    batches: Any
    size_name: str | None

    def begun(self, found, rows):
        """A pass over some rows, which is yet to be made."""
        own = Batches(rows, self.size_name)
        found._begin(self.model, own, self.likelihood, copy.copy(self.batches))
        return found


class PartPass(FirstPass):
    """What the first pass finds in the rows of a range.

    Parameters
    ----------
    asked : Asked
    rows : list of batches, all that the range holds
    where : Range
    """

    def __init__(self, asked, rows, where):
        first, last, held = where
        asked.begun(self, cut_rows(rows, 0, last - first))
        begins = -(-first // CHUNK_ROWS)
        known = [*self._read(), *read_besides(asked, rows, where)]
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
        text = self.batches.text, later.batches.text
        if text[0] != text[1]:
            raise ValueError(
                f"A partition has text in the columns {text[1]} by number, but one "
                f"before it in {text[0]}; give the same types in all."
            )
        own, other = (
            (p.batches.n_columns, p.batches.names, p.n_dims) for p in (self, later)
        )
        if own != other:
            raise ValueError(
                f"A partition has {other[0]} columns ({other[1]}) and outputs of shape "
                f"{other[2]}, but one before it {own[0]} ({own[1]}) and {own[2]}; give "
                "all the same columns and outputs."
            )


def read_besides(asked, rows, where):
    """Batches that a range holds besides its own, as the first pass reads them."""
    first, last, held = where
    besides = cut_rows(rows, last - first, held - first)
    return asked.begun(object.__new__(PartPass), besides)._read()


def tree_of(branches):
    """A tree of moments of which branches are known."""
    tree = TreeSum(merged_moments)
    for own in branches:
        tree.add(*own)
    return tree


def encoded_units(rows, where, n_rows, size_name, *given):
    """Own rows of a range as training reads them, in units of ``n_rows`` rows.

    ``given`` are further arguments of ``encoded``.
    """
    own = Batches(cut_rows(rows, 0, where.last - where.first), size_name)
    return list(recut(encoded(own, *given), n_rows))


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
