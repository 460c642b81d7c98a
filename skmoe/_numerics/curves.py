"""Sums of curves, one per column: their rows, their penalties, their evidence.

A curve is linear between knots, or a step for each level: coefficients are its values
there.  Rows are kept as numbers of bins, and all sums over rows go through these.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._kernels import bands
from .._kernels import curves as kernels


class CurveRows:
    """Base of rows as parts made of curves see them; rows are taken as of an array.

    Attributes
    ----------
    basis : Basis
    encoding : what made them of a table
    shape : (n, p)
    """

    def __getitem__(self, key):
        # As scikit-learn takes rows: rows[index, ...].
        return self.take(key[0] if isinstance(key, tuple) else key)

    def __len__(self):
        return self.shape[0]

    def take(self, index):
        """The same view of some of the rows."""
        raise NotImplementedError

    def followed_by(self, other):
        """The same view of these rows and others after them.

        Asked for of rows as training sees them.
        """
        raise NotImplementedError

    def linear(self, coef):
        """Sums (n, m) of curves with coefficients (m, q), last the intercepts."""
        raise NotImplementedError


class Block(NamedTuple):
    """A penalty ``w' S w`` of some of the coefficients of a curve.

    Attributes
    ----------
    slots : slice of the coefficients
    kind : STEPS between neighbours, LEVELS from their mean, or RIDGE
    """

    slots: slice
    kind: int

    @property
    def rank(self):
        """Rank of S."""
        n = self.slots.stop - self.slots.start
        return n if self.kind == bands.RIDGE else n - 1

    @property
    def matrix(self):
        """S, (b, b), which only tests need."""
        n = self.slots.stop - self.slots.start
        if self.kind == bands.STEPS:
            steps = np.diff(np.eye(n), axis=0)
            return steps.T @ steps
        return np.eye(n) - (1.0 / n if self.kind == bands.LEVELS else 0.0)


@dataclass(frozen=True)
class Basis:
    """Coefficients of the curves of all columns, and what penalises them.

    The coefficients of column j are ``first[j] : first[j + 1]``; the intercept follows
    behind the last.

    Attributes
    ----------
    first : (p + 1,) int ndarray
    blocks : list of Block
    levels : list of bool, of columns whose values have no order
    """

    first: np.ndarray
    blocks: list
    levels: list

    def slots(self):
        """Slices of the coefficients of each column."""
        return [
            slice(*own) for own in zip(self.first[:-1], self.first[1:], strict=True)
        ]

    @property
    def n_coef(self):
        """Coefficients of all curves, without the intercept."""
        return int(self.first[-1])

    @property
    def n_columns(self):
        """Number of columns."""
        return len(self.first) - 1

    @cached_property
    def penalties(self):
        """Where penalties begin and end, and their kinds, as kernels read them."""
        begins = np.array([own.slots.start for own in self.blocks], dtype=np.int64)
        ends = np.array([own.slots.stop for own in self.blocks], dtype=np.int64)
        return begins, ends, np.array([own.kind for own in self.blocks], dtype=np.int64)

    @cached_property
    def ranks(self):
        """Ranks (blocks,) of the penalties."""
        return np.array([own.rank for own in self.blocks], dtype=float)

    @cached_property
    def owners(self):
        """The column (blocks,) that a penalty is of."""
        begins = self.penalties[0]
        return np.searchsorted(self.first, begins, side="right") - 1

    def penalised(self, coef, strengths):
        """Products ``P w`` (m, q) of coefficients with penalties (m, blocks)."""
        out = np.zeros(coef.shape)
        coef, strengths = np.ascontiguousarray(coef), np.ascontiguousarray(strengths)
        bands.add_products(*self.penalties, strengths, coef, out)
        return out

    def held(self, coef, mass):
        """What holds the means of curves (m, q) at zero, by masses (m,).

        What is held there the intercept has, so that it costs no fit anything.
        """
        out = np.zeros(coef.shape)
        bands.add_means(self.first, mass, np.ascontiguousarray(coef), out)
        return out

    def squares(self, coef):
        """``w' S w`` of each block, (m, blocks), of coefficients (m, q)."""
        out = np.empty((len(coef), len(self.blocks)))
        bands.sum_squares(*self.penalties, np.ascontiguousarray(coef), out)
        return out


class Places(CurveRows):
    """Rows where they exactly are, as prediction sees them.

    Attributes
    ----------
    basis : Basis
    slots : (p, n) numbers of coefficients; the first behind the intercept is a zero
    share : (p, n) how much of the way to the next knot a value has gone
    """

    def __init__(self, encoding, slots, share):
        self.encoding, self.basis = encoding, encoding.basis_
        self.slots, self.share = slots, share
        self.shape = slots.shape[1], slots.shape[0]

    def take(self, index):
        return Places(self.encoding, self.slots[:, index], self.share[:, index])

    def linear(self, coef):
        out = np.repeat(coef[:, -1][None], self.shape[0], axis=0)
        table = np.zeros((coef.shape[1] + 1, len(coef)))
        table[: coef.shape[1] - 1] = coef[:, :-1].T
        kernels.add_hats(self.slots, self.share, table, out)
        return out


class Bins(CurveRows):
    """Rows as numbers of bins, as training sees them: a byte per cell.

    Attributes
    ----------
    basis : Basis
    codes : (p, n) numbers of bins within each column
    starts : (p + 1,) where the bins of each column begin
    slots, left, right : (bins,)
        The coefficient that a bin touches, within its column, how much of it, and how
        much of the next one.
    """

    def __init__(self, encoding, codes, starts, slots, left, right):
        self.encoding, self.basis = encoding, encoding.basis_
        self.codes, self.starts = codes, starts
        self.slots, self.left, self.right = slots, left, right
        self.shape = codes.shape[1], codes.shape[0]

    def take(self, index):
        return self._of(np.ascontiguousarray(self.codes[:, index]))

    def followed_by(self, other):
        return self._of(np.hstack([self.codes, other.codes]))

    def _of(self, codes):
        hats = self.starts, self.slots, self.left, self.right
        return Bins(self.encoding, codes, *hats)

    @cached_property
    def _hats(self):
        """What bins stand for, with the number of their coefficients among all."""
        touched = self.slots + np.repeat(self.basis.first[:-1], np.diff(self.starts))
        return touched, self.left, self.right

    def linear(self, coef):
        coef = np.ascontiguousarray(coef)
        table = np.empty((self.starts[-1], len(coef)))
        kernels.tables(*self._hats, coef, table)
        out = np.empty((self.shape[0], len(coef)))
        out[:] = coef[:, -1]
        kernels.look_up(self.codes, self.starts, table, out, 0, len(out))
        return out

    def gather(self, values):
        """Sums (m, q) over rows of ``values`` (n, m) times hats and a one."""
        sums = self._sums(values)
        out = np.zeros((values.shape[1], self.basis.n_coef + 1))
        kernels.untabled(*self._hats, sums, out)
        out[:, -1] = values.sum(axis=0)
        return out

    def multiplied(self, weights, coef):
        """Products (m, q) of Gram matrices by weights (n, m) with ``coef`` (m, q)."""
        coef, weights = np.ascontiguousarray(coef), np.ascontiguousarray(weights)
        table = np.empty((self.starts[-1], len(coef)))
        kernels.tables(*self._hats, coef, table)
        sums, total = np.zeros(table.shape), np.zeros(len(coef))
        kernels.multiply(
            self.codes,
            self.starts,
            table,
            np.ascontiguousarray(coef[:, -1]),
            weights,
            sums,
            total,
            0,
            self.shape[0],
        )
        out = np.zeros((len(coef), self.basis.n_coef + 1))
        kernels.untabled(*self._hats, sums, out)
        out[:, -1] = total
        return out

    def _sums(self, values):
        """Sums (bins, m) of rows of ``values`` (n, m)."""
        sums = np.zeros((self.starts[-1], values.shape[1]))
        values = np.ascontiguousarray(values)
        kernels.sum_bins(self.codes, self.starts, values, sums, 0, len(values))
        return sums

    def bands(self, weights):
        """Of Gram matrices for weights (n, m), what is on and beside the diagonal
        within each column, and the last row: three arrays (m, q)."""
        sums, shape = self._sums(weights), (weights.shape[1], self.basis.n_coef + 1)
        diagonal, above, last = (np.zeros(shape) for _ in range(3))
        kernels.bands(*self._hats, sums, diagonal, above)
        kernels.untabled(*self._hats, sums, last)
        last[:, -1] = diagonal[:, -1] = weights.sum(axis=0)
        return diagonal, above, last

    def grams(self, weights, columns=None):
        """Weighted Gram matrices (m, q, q) of hats and a one, for weights (n, m).

        Only their lower triangles are filled.

        Parameters
        ----------
        weights : (n, m)
        columns : ascending numbers of those whose hats are asked for; None for all
        """
        basis, n_sets = self.basis, weights.shape[1]
        if columns is None:
            columns = np.arange(basis.n_columns)
        sizes = np.diff(basis.first)
        first = np.concatenate([[0], np.cumsum(sizes[columns])])
        shift = np.zeros(basis.n_columns, dtype=np.int64)
        shift[columns] = first[:-1]
        places = self.slots + np.repeat(shift, np.diff(self.starts))
        pairs = np.column_stack([self.left, self.right])
        sum_column, own = kernels.sum_column, weights.T
        if n_sets > 2:
            sum_column, own = kernels.sum_column_by_four, _by_four(weights)
        hats, own = (self.slots, self.left, self.right), np.ascontiguousarray(own)
        n_grams = n_sets if own.ndim == 2 else 4 * len(own)
        grams = np.zeros((n_grams, first[-1] + 1, first[-1] + 1))
        known = self.codes, self.starts, hats, places, pairs, first, columns
        for a in range(len(columns)):
            sum_column(*known, a, own, grams)
        asked = np.repeat(np.isin(np.arange(basis.n_columns), columns), sizes)
        grams[:n_sets, -1] = self.gather(weights)[:, np.append(asked, True)]
        return grams[:n_sets]

    def random_slopes(self, weight, n_sets, rng):
        """Coefficients (n_sets, q) whose sums have about unit variance in the rows.

        Numbers rise or fall by their rank among the knots, levels are random.
        """
        basis, mass = self.basis, self.gather(np.reshape(weight, (-1, 1)))[0]
        coef = np.zeros((n_sets, basis.n_coef + 1))
        for slots, levels in zip(basis.slots(), basis.levels, strict=True):
            n, share = slots.stop - slots.start, mass[slots] / mass[-1]
            ranks = np.broadcast_to(np.arange(n), (n_sets, n))
            own = rng.normal(size=(n_sets, n)) if levels else ranks
            own = own - (own @ share)[:, None]
            spread = np.sqrt(np.maximum(own**2 @ share, 0.0))[:, None]
            unit = np.divide(own, spread, out=np.zeros(own.shape), where=spread > 0)
            coef[:, slots] = unit * rng.normal(size=(n_sets, 1))
        return coef / np.sqrt(max(basis.n_columns, 1))


def _by_four(weights):
    """Weights (n, m) as (m / 4, n, 4), four of which kernels add as one."""
    n_rows, n_sets = weights.shape
    out = np.zeros((-(-n_sets // 4), n_rows, 4))
    for k in range(n_sets):
        out[k // 4, :, k % 4] = weights[:, k]
    return out
