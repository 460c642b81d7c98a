"""From raw tables to curves: knots of numbers, levels of categories, gaps apart."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from .._kernels.bands import LEVELS, RIDGE, STEPS
from .._numerics.curves import Basis, Bins, Block, Places
from .._stamp import Stamped
from .._tables.frames import column_names
from ._encoding import ordinal_encoding

# Values of a column that are told apart in training, so that a cell is a byte.
MOST_BINS = 255
# Levels of a column that are told apart; rarer ones are taken together.
MOST_LEVELS = 60_000


class Column(NamedTuple):
    """How the values of a column are places on its curve.

    Attributes
    ----------
    name : str
    knots : (b,) values of the knots, or codes of the levels
    levels : list of names, or None for a column of numbers
    edges : ascending values that part the bins, or None where each has one value
    values : (bins,) what each bin stands for
    gaps : bool, whether gaps have a coefficient of their own, behind the knots
    """

    name: str
    knots: np.ndarray
    levels: list | None
    edges: np.ndarray | None
    values: np.ndarray
    gaps: bool

    @property
    def n_coef(self):
        """Number of coefficients."""
        return len(self.knots) + self.gaps

    def places(self, values, held):
        """Knots (n,) just below values, and how much of the way to the next they went.

        Minus one is nowhere: gaps and levels that training did not have.
        """
        gap, last = np.isnan(values), len(self.knots) - 1
        if self.levels is not None or last < 1:
            slots = np.clip(np.searchsorted(self.knots, values), 0, max(last, 0))
            same = self.knots[slots] == values if len(self.knots) else ~gap
            known = same if self.levels is not None else ~gap
            slots, share = np.where(known, slots, -1), np.zeros(len(values))
        else:
            inside = np.clip(values, self.knots[0], self.knots[-1]) if held else values
            inside = np.where(gap, self.knots[0], inside)
            slots = np.searchsorted(self.knots, inside, side="right") - 1
            slots = np.clip(slots, 0, last - 1)
            low, high = self.knots[slots], self.knots[slots + 1]
            share = np.where(gap, 0.0, (inside - low) / (high - low))
        slots = np.where(gap, len(self.knots) if self.gaps else -1, slots)
        return slots, share

    def codes(self, values):
        """Numbers (n,) of the bins of training values."""
        gap = np.isnan(values)
        if self.edges is not None:
            codes = np.searchsorted(self.edges, values, side="right")
        else:
            # Rows that were not there when knots were found may hold other values.
            most = max(len(self.values) - 1, 0)
            codes = np.minimum(np.searchsorted(self.values, values), most)
        return np.where(gap, len(self.values), codes)

    def as_read_by(self, other):
        """Values, as another column has them, of what has a coefficient here."""
        values = self.knots
        if self.levels is not None and other.levels is not None:
            places = {name: code for code, name in enumerate(other.levels)}
            names = [self.levels[int(code)] for code in self.knots]
            values = np.array([places.get(name, -1) for name in names], dtype=float)
        return np.append(values, [np.nan] * self.gaps)

    def blocks(self, first):
        """Penalties of the coefficients, which begin at ``first``."""
        # Numbers of Python, which skops writes down in slices.
        first, n, found = int(first), len(self.knots), []
        slots = slice(first, first + n)
        if n > 1 and self.levels is not None:
            found.append(Block(slots, LEVELS))
        elif n > 1:
            found.append(Block(slots, STEPS))
        if self.gaps:
            found.append(Block(slice(first + n, first + n + 1), RIDGE))
        return found


class CurveEncoding(Stamped):
    """Raw columns as places on curves.

    Numbers (times in seconds) get knots at quantiles, or at all their values where
    these are few; text and categories get levels, of which rare ones are one; gaps are
    a level of their own where training had some.

    Parameters
    ----------
    n_knots : int, default=32
    held : bool, default=True
        Whether curves stay level beyond the last knots, or go on straight.

    Attributes
    ----------
    columns_ : list of Column
    basis_ : Basis
    """

    def __init__(self, n_knots=32, held=True):
        self.n_knots = n_knots
        self.held = held

    def fit(self, X, sample_weight=None):
        """Find knots and levels of raw columns; returns self."""
        _refuse_sparse(X)
        self.encoder_ = ordinal_encoding(np.nan, MOST_LEVELS).fit(X)
        values = self.encoder_.transform(X)
        weight = np.ones(len(values)) if sample_weight is None else sample_weight
        counts, levels = weight > 0, self._levels()
        names = [str(column_names(X)[j]) for j in self._order(values.shape[1])]
        self.columns_ = [
            _column(name, own, column[counts], weight[counts], self.n_knots)
            for name, own, column in zip(names, levels, values.T, strict=True)
        ]
        first = np.cumsum([0, *(own.n_coef for own in self.columns_)])
        each = zip(self.columns_, first, strict=False)
        blocks = [block for own, at in each for block in own.blocks(at)]
        levels = [own.levels is not None for own in self.columns_]
        self.basis_ = Basis(first, blocks, levels)
        return self

    def _order(self, n_columns):
        """Positions of the columns as they are encoded: text first."""
        text = self.encoder_.text_
        return [*text, *(j for j in range(n_columns) if j not in text)]

    def _levels(self):
        """Names of the levels of each column, None for columns of numbers."""
        text, n_columns = self.encoder_.text_, len(self.encoder_.kinds_)
        levels = [None] * (n_columns - len(text))
        if not text:
            return levels
        own = self.encoder_.categories_
        rare = getattr(own, "infrequent_categories_", [None] * len(text))
        return [
            _level_names(*each) for each in zip(own.categories_, rare, strict=True)
        ] + levels

    def _values(self, X):
        """Columns of the table that was read before, as numbers and codes."""
        _refuse_sparse(X)
        names, known = column_names(X), [str(own) for own in self.encoder_.names_]
        turned = names != known and sorted(names) == sorted(known)
        if turned or len(names) != len(known):
            raise ValueError(
                f"Curves got the {len(names)} columns {names[:5]}, but expected the "
                f"{len(known)} of their fit, {known[:5]}, in that order; select them."
            )
        return self.encoder_.transform(X)

    def places(self, X):
        """Rows where they exactly are."""
        values = self._values(X)
        slots = np.empty(values.T.shape, dtype=np.int64)
        share = np.empty(values.T.shape)
        nowhere = self.basis_.n_coef
        for j, (own, column) in enumerate(zip(self.columns_, values.T, strict=True)):
            at, share[j] = own.places(column, self.held)
            slots[j] = np.where(at < 0, nowhere, at + self.basis_.first[j])
        return Places(self, slots, share)

    def carried(self, other, coef, strengths, start):
        """Coefficients and penalties of the curves of another encoding, on these.

        Curves keep their values at the knots, levels their names; what is new begins
        at nothing, and with the penalties ``start``.

        Parameters
        ----------
        other : CurveEncoding
        coef : ndarray of shape (m, q)
        strengths : ndarray of shape (m, n_penalties)
        start : ndarray of shape (m, n_penalties)

        Returns
        -------
        coef, strengths
        """
        basis, old = self.basis_, other.basis_
        known = {own.name: j for j, own in enumerate(other.columns_)}
        own_coef, own_strengths = np.zeros((len(coef), basis.n_coef + 1)), start.copy()
        own_coef[:, -1] = coef[:, -1]
        padded = np.append(coef[:, :-1], np.zeros((len(coef), 2)), axis=1)
        for column, slots in zip(self.columns_, basis.slots(), strict=True):
            j = known.get(column.name)
            if j is None or _unlike(column, other.columns_[j]):
                continue
            before, first = other.columns_[j], old.first[j]
            at, way = before.places(column.as_read_by(before), other.held)
            at = np.where(at < 0, old.n_coef, at + first)
            own_coef[:, slots] = (1.0 - way) * padded[:, at] + way * padded[:, at + 1]
        kinds = {key: k for k, key in enumerate(_block_kinds(old, other.columns_))}
        for k, key in enumerate(_block_kinds(basis, self.columns_)):
            if key in kinds:
                own_strengths[:, k] = strengths[:, kinds[key]]
        return own_coef, own_strengths

    def bins(self, X):
        """Training rows as numbers of bins."""
        return self.binned(self._values(X))

    def binned(self, values):
        """The same of columns (n, p) that ``encoder_`` has read."""
        columns, values = self.columns_, np.asarray(values, dtype=float)
        sizes = [len(own.values) + 1 for own in columns]
        kind = np.uint8 if max(sizes, default=0) <= 256 else np.uint16
        codes = np.empty(values.T.shape, dtype=kind)
        slots, share = [], []
        for j, (own, column) in enumerate(zip(columns, values.T, strict=True)):
            codes[j] = np.minimum(own.codes(column), sizes[j] - 1)
            at, way = own.places(np.append(own.values, np.nan), self.held)
            slots.append(at), share.append(way)
        empty = np.zeros(0)
        slots = np.concatenate([empty, *slots]).astype(np.int64)
        share = np.concatenate([empty, *share])
        # What is nowhere adds nothing to what it touches.
        there = slots >= 0
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Bins(
            self,
            codes,
            starts,
            np.where(there, slots, 0),
            np.where(there, 1.0 - share, 0.0),
            np.where(there, share, 0.0),
        )


def _refuse_sparse(X):
    if sparse.issparse(X):
        raise ValueError(
            f"Curves got a sparse table of shape {X.shape}, but expected a dense one; "
            "use X.toarray(), or experts and gates that read sparse tables, such as "
            "LinearExpert() and SoftmaxGate()."
        )


def _unlike(column, other):
    """Whether one column has levels and the other knots, or the other has neither."""
    return (column.levels is None) != (other.levels is None) or not other.n_coef


def _block_kinds(basis, columns):
    """Of each penalty: name of its column, whether of levels, whether of gaps."""
    found = []
    for block in basis.blocks:
        j = int(np.searchsorted(basis.first, block.slots.start, side="right")) - 1
        own = columns[j]
        gap = block.slots.start - basis.first[j] == len(own.knots)
        found.append((own.name, own.levels is not None, bool(gap)))
    return found


def _level_names(categories, rare):
    """Names of the codes that an ordinal encoder gives; of rare ones, a common one."""
    rare = set() if rare is None else set(rare)
    named = {own: "missing" if own is None else str(own) for own in categories}
    names = [name for own, name in named.items() if own not in rare]
    return names + ["other"] * bool(rare)


def _column(name, levels, values, weight, n_knots):
    """What is found of the values of a column in rows that count."""
    gap = np.isnan(values)
    values, weight = values[~gap], weight[~gap]
    distinct, place = np.unique(values, return_inverse=True)
    if levels is not None:
        return Column(name, distinct, levels, None, distinct, bool(gap.any()))
    mass = np.bincount(place, weights=weight, minlength=len(distinct))
    knots, edges, centers = distinct, None, distinct
    if len(distinct) > n_knots:
        knots = _quantiles(distinct, mass, np.linspace(0.0, 1.0, n_knots))
    if len(distinct) > MOST_BINS:
        inner = np.linspace(0.0, 1.0, MOST_BINS + 1)[1:-1]
        edges = _quantiles(distinct, mass, inner)
        bins = np.searchsorted(edges, distinct, side="right")
        at = np.flatnonzero(np.bincount(bins))
        # A quantile starts a bin, so that only the first one may be empty.
        edges, bins = edges[len(edges) - len(at) + 1 :], bins - at[0]
        total = np.bincount(bins, weights=mass)
        centers = np.bincount(bins, weights=mass * distinct) / total
    return Column(name, knots, None, edges, centers, bool(gap.any()))


def _quantiles(distinct, mass, levels):
    """Those of ascending values (m,) with ``mass`` where each of the levels is reached.

    Heavy values are taken once, and the smallest and largest always.
    """
    reached = np.cumsum(mass)
    at = np.searchsorted(reached, levels * reached[-1] * (1.0 - 1e-12))
    at = np.minimum(at, len(distinct) - 1)
    if levels[0] == 0.0:
        at[-1] = len(distinct) - 1
    return distinct[np.unique(at)]
