"""Sums of curves, one per column: their rows, their penalties, their evidence.

A curve is linear between knots, or a step for each level: coefficients are its values
there.  Rows are kept as numbers of bins, and all sums over rows go through these.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from .._kernels.curves import add_hats, look_up, sum_bins, sum_grams

# Of the weight of all rows, what keeps empty knots from making a system singular.
LEAST_CURVATURE = 1e-9
# Strengths between which evidence looks for the best, in units of rows.
STRENGTHS = 1e-4, 1e7
# Where a trace ends, so that the product with a strength is a number.
LARGEST_TRACE = 1e290
# Where all strengths start.
START_STRENGTH = 10.0


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

    def linear(self, coef):
        """Sums (n, m) of curves with coefficients (m, q), last the intercepts."""
        raise NotImplementedError


class Block(NamedTuple):
    """A penalty ``w' S w`` of some of the coefficients of a curve.

    Attributes
    ----------
    slots : slice of the coefficients
    matrix : (b, b) ndarray, S
    rank : int, of S
    """

    slots: slice
    matrix: np.ndarray
    rank: int


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

    def penalised(self, coef, strengths):
        """Products ``P w`` (m, q) of coefficients with penalties (m, blocks)."""
        out = np.zeros_like(coef)
        for block, own in zip(self.blocks, strengths.T, strict=True):
            out[:, block.slots] += own[:, None] * (coef[:, block.slots] @ block.matrix)
        return out

    def add_penalty(self, gram, strengths, mass):
        """Add penalties, and hold curves at mean zero, in a matrix (q, q), in place.

        What is held there the intercept has, so that it costs no fit anything.
        """
        for block, strength in zip(self.blocks, strengths, strict=True):
            gram[block.slots, block.slots] += strength * block.matrix
        for slots in self.slots():
            gram[slots, slots] += mass / max(slots.stop - slots.start, 1)

    def held(self, coef, mass):
        """What ``add_penalty`` makes of the means of curves (m, q), for masses (m,)."""
        out = np.zeros_like(coef)
        for slots in self.slots():
            out[:, slots] = (mass * coef[:, slots].mean(axis=1))[:, None]
        return out

    def squares(self, coef):
        """``w' S w`` of each block, (m, blocks), of coefficients (m, q)."""
        each = [
            np.einsum("mi,ij,mj->m", own, block.matrix, own)
            for block in self.blocks
            for own in [coef[:, block.slots]]
        ]
        return np.array(each).reshape(len(self.blocks), len(coef)).T


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
        add_hats(self.slots, self.share, table, out)
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
        codes = np.ascontiguousarray(self.codes[:, index])
        hats = self.starts, self.slots, self.left, self.right
        return Bins(self.encoding, codes, *hats)

    def _touched(self):
        """Number of the coefficient that each bin touches, among all."""
        return self.slots + np.repeat(self.basis.first[:-1], np.diff(self.starts))

    def linear(self, coef):
        values, at = np.vstack([coef[:, :-1].T, np.zeros(len(coef))]), self._touched()
        table = self.left[:, None] * values[at] + self.right[:, None] * values[at + 1]
        out = np.repeat(coef[:, -1][None], self.shape[0], axis=0)
        look_up(self.codes, self.starts, table, out)
        return out

    def gather(self, values):
        """Sums (m, q) over rows of ``values`` (n, m) times hats and a one."""
        sums = np.zeros((self.starts[-1], values.shape[1]))
        sum_bins(self.codes, self.starts, np.ascontiguousarray(values), sums)
        out, at = np.zeros((self.basis.n_coef + 1, values.shape[1])), self._touched()
        np.add.at(out, at, self.left[:, None] * sums)
        np.add.at(out, at + 1, self.right[:, None] * sums)
        out[-1] = values.sum(axis=0)
        return out.T

    def grams(self, weights):
        """Weighted Gram matrices (m, q, q) of hats and a one, for weights (n, m).

        Only their lower triangles are filled.
        """
        n_channels = self.basis.n_coef + 1
        grams = np.zeros((weights.shape[1], n_channels, n_channels))
        weights = np.ascontiguousarray(weights)
        hats = self.slots, self.left, self.right
        sum_grams(self.codes, self.starts, *hats, self.basis.first, weights, grams)
        grams[:, -1] = self.gather(weights)
        return grams

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


class System:
    """Penalised curvatures of sets of curves, factorised.

    Parameters
    ----------
    basis : Basis
    grams : (m, q, q)
        Curvatures of the likelihood, lower triangles; overwritten.
    strengths : (m, blocks)
        Penalties in the units of the curvatures.
    """

    def __init__(self, basis, grams, strengths):
        self.basis, self.strengths = basis, strengths
        self._factors = [
            self._factor(gram, own) for gram, own in zip(grams, strengths, strict=True)
        ]

    def _factor(self, gram, strengths):
        """Factor of a penalised curvature, which is made regular."""
        mass = max(gram[-1, -1], np.finfo(float).tiny)
        self.basis.add_penalty(gram, strengths, mass)
        diagonal, more = np.diag(gram).copy(), LEAST_CURVATURE * mass
        while True:
            np.fill_diagonal(gram, diagonal + more)
            # Of a transpose LAPACK needs no copy.
            factor, failed = dpotrf(gram.T, lower=False, clean=False)
            if not failed:
                return factor
            more *= 1e2

    def solve(self, right):
        """Solutions (m, q) for right-hand sides (m, q)."""
        pairs = zip(self._factors, right, strict=True)
        return np.stack([dpotrs(factor, own, lower=False)[0] for factor, own in pairs])

    def covariances(self):
        """Inverses of the penalised curvatures, a list of upper triangles (q, q)."""
        return [dpotri(own, lower=False)[0] for own in self._factors]

    def effective(self, covariances):
        """Effective degrees of freedom (m, blocks), by the inverses."""
        spent = [
            block.rank - self.strengths[:, k] * _traces(covariances, block)
            for k, block in enumerate(self.basis.blocks)
        ]
        spent = np.array(spent).reshape(len(self.basis.blocks), len(covariances))
        return np.maximum(spent.T, 0.0)


def _traces(covariances, block):
    """Traces (m,) of the matrix of a penalty times covariances of its coefficients.

    What nothing determines may have a covariance beyond all numbers.
    """
    found = [np.vdot(_whole(own, block.slots), block.matrix) for own in covariances]
    return np.clip(np.nan_to_num(found), 0.0, LARGEST_TRACE)


def _whole(upper, slots):
    """A block on the diagonal of a symmetric matrix, of which one triangle is known."""
    block = upper[slots, slots]
    return np.triu(block) + np.triu(block, 1).T


def centred_variances(basis, covariances, mass):
    """Variances (m, q) of coefficients, those of curves around their mean over rows.

    Parameters
    ----------
    basis : Basis
    covariances : list of m upper triangles (q, q)
    mass : (q,) weight of the rows at each coefficient, last that of all
    """
    found = np.stack([np.diag(own) for own in covariances])
    share = mass / max(mass[-1], np.finfo(float).tiny)
    for slots in basis.slots():
        for variance, own in zip(found, covariances, strict=True):
            with_mean = _whole(own, slots) @ share[slots]
            variance[slots] += share[slots] @ with_mean - 2.0 * with_mean
    return np.maximum(found, 0.0)


def by_evidence(effective, squares, unit):
    """Strengths (m, blocks) at which the evidence has its maximum for these fits.

    Parameters
    ----------
    effective : (m, blocks)
        Effective degrees of freedom.
    squares : (m, blocks)
        ``w' S w`` of the coefficients.
    unit : (m, 1) or float
        Variance that the penalties are relative to.
    """
    tiny = np.finfo(float).tiny
    return np.clip(effective * unit / np.maximum(squares, tiny), *STRENGTHS)
