"""Penalised curvatures of sets of curves, their solutions, and what evidence asks.

Columns that the data determine are solved for together, by a Cholesky factor.  The rest
meet nearly nobody but themselves: bands, one per column, are as good as their inverse.
Conjugate gradients make one of the two, and of curvatures that have moved a little.
"""

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from .._kernels import bands

# Of the weight of all rows, what keeps empty knots from making a system singular.
LEAST_CURVATURE = 1e-9
# Strengths between which evidence looks for the best, in units of rows.
STRENGTHS = 1e-4, 1e7
# Where all strengths start.
START_STRENGTH = 10.0
# Where a trace ends, so that the product with a strength is a number.
LARGEST_TRACE = 1e290
# Coefficients that are always solved for together, and the most that are: the time of
# a factor grows with the third power.
FEW_TOGETHER, MOST_TOGETHER = 100, 1200
# Effective degrees of freedom from which a column is solved for with the others.
LOOSE = 0.3
# A factor serves until the weights of coefficients have moved by this share of them, in
# the mean; a coefficient that has less than such a share of all rows counts less.
LEAST_SHARE = 1e-3
NEAR = 0.1
# Conjugate gradients end at a share of the first residual: of a step that others
# follow, of what is wanted as it is, and of probes; or after so many products.
ROUGH, TIGHT, PROBED, MOST_PRODUCTS = 1e-1, 1e-8, 1e-2, 200
# Random signs by which traces are estimated where not all are solved for together.
N_PROBES = 8
# Bytes of Gram matrices that are kept for other penalties.
MOST_KEPT = 2**26


class Curvature:
    """Weighted Gram matrices of curves, as far as systems ask for them.

    Parameters
    ----------
    bins : Bins
    weights : (n, m)

    Attributes
    ----------
    diagonal, above, last : (m, q)
        What is on and beside the diagonals within columns, and the rows of the
        intercept, which are sums of weights.
    """

    def __init__(self, bins, weights):
        self.diagonal, self.above, self.last = bins.bands(weights)
        self.columns, self.grams = None, None

    @property
    def mass(self):
        """Sum of the weights (m,) of each set."""
        return np.maximum(self.last[:, -1], np.finfo(float).tiny)

    def is_near(self, last):
        """Whether weights, by their sums (m, q), are nearly those that were."""
        # Of each coefficient alike: most rows may have the same few values.
        most = np.maximum(np.maximum(last, self.last), LEAST_SHARE * self.mass[:, None])
        return bool(np.all(np.mean(np.abs(last - self.last) / most, axis=1) <= NEAR))

    def holds(self, columns):
        """Whether the Gram matrices of some columns are known."""
        return self.grams is not None and np.isin(columns, self.columns).all()

    def add(self, bins, weights, columns):
        """Sum up the Gram matrices of some columns."""
        self.columns, self.grams = columns, bins.grams(weights, columns)

    def part(self, m, basis, columns):
        """Gram matrix of set ``m`` of some columns and the intercept, to be changed."""
        if len(columns) == len(self.columns):
            return self.grams[m].copy()
        sizes = np.diff(basis.first)[self.columns]
        chosen = np.repeat(np.isin(self.columns, columns), sizes)
        own = np.flatnonzero(np.append(chosen, True))
        return self.grams[m][np.ix_(own, own)]


def system_for(known, bins, weights, strengths):
    """A system for weighted rows, and whether it is of exactly these weights.

    Parameters
    ----------
    known : System or None
        Which serves if weights have hardly moved, with other penalties, too.
    bins : Bins
    weights : (n, m)
    strengths : (m, blocks)
    """
    # Of a curve that nothing determines there may be more than there are numbers.
    with np.errstate(over="ignore", invalid="ignore"):
        if known is None or not known.curvature.is_near(bins.gather(weights)):
            return System(bins, Curvature(bins, weights), strengths, weights), True
        if np.array_equal(known.strengths, strengths):
            return known, False
        return System(bins, known.curvature, strengths, weights), False


class System:
    """Penalised curvatures of sets of curves, factorised.

    Parameters
    ----------
    bins : Bins
    curvature : Curvature
    strengths : (m, blocks)
        Penalties in the units of the curvatures.
    weights : (n, m)
        By which Gram matrices are summed up that the curvature does not have yet.
    """

    def __init__(self, bins, curvature, strengths, weights):
        self.basis, self.strengths = bins.basis, np.ascontiguousarray(strengths)
        self._factor_bands(curvature)
        tied = self._tied()
        columns = np.flatnonzero(tied.any(axis=0))
        if not curvature.holds(columns):
            curvature = Curvature(bins, weights)
            curvature.add(bins, weights, columns)
            self._factor_bands(curvature)
        self.curvature, self.whole = curvature, bool(tied.all())
        self._dense = [self._factor(m, own) for m, own in enumerate(tied)]
        if curvature.grams.nbytes > MOST_KEPT:
            curvature.grams = None

    def __reduce__(self):
        # What a fit works with is no part of what it has found.
        return type(None), ()

    # -- factors ----------------------------------------------------------------------

    def _factor_bands(self, curvature):
        """Factors of the bands, solutions for ones, and what each curve spends."""
        basis, self.mass = self.basis, curvature.mass
        diagonal = curvature.diagonal + LEAST_CURVATURE * self.mass[:, None]
        above = curvature.above.copy()
        bands.factor_bands(*basis.penalties, self.strengths, diagonal, above)
        ones = np.ones(diagonal.shape)
        bands.solve_bands(diagonal, above, ones)
        self._bands, self._ones = (diagonal, above), ones
        variances, beside = np.empty(diagonal.shape), np.empty(diagonal.shape)
        bands.invert_bands(diagonal, above, variances, beside)
        bands.hold_inverse(basis.first, self.mass, ones, variances, beside)
        self._variances = variances
        self._traces = np.empty(self.strengths.shape)
        totals = self._totals()
        bands.traces_bands(*basis.penalties, variances, beside, totals, self._traces)

    def _totals(self):
        """Sums (m, blocks) of the inverses of the bands, of levels."""
        basis, out = self.basis, np.zeros(self.strengths.shape)
        for k in np.flatnonzero(basis.penalties[2] == bands.LEVELS):
            column = slice(*basis.first[basis.owners[k] :][:2])
            own = self._ones[:, basis.blocks[k].slots].sum(axis=1)
            part = self.mass / (column.stop - column.start)
            whole = self._ones[:, column].sum(axis=1)
            out[:, k] = own - part * own**2 / (1.0 + part * whole)
        return out

    def _tied(self):
        """Which columns (m, p) are solved for together."""
        basis, sizes = self.basis, np.diff(self.basis.first)
        self._meets = False
        if basis.n_coef <= FEW_TOGETHER:
            return np.ones((len(self.strengths), basis.n_columns), dtype=bool)
        spent = np.zeros((len(self.strengths), basis.n_columns))
        for k, j in enumerate(basis.owners):
            spent[:, j] += self._spent(self._traces)[:, k]
        order = np.argsort(-spent, axis=1, kind="stable")
        fits = np.cumsum(sizes[order], axis=1) <= MOST_TOGETHER
        tied = np.zeros(spent.shape, dtype=bool)
        np.put_along_axis(tied, order, fits, axis=1)
        tied &= spent >= LOOSE
        # Whether some that is solved for apart has much to do with the rest.
        self._meets = bool(np.any(spent[~tied] >= LOOSE))
        return tied

    def _factor(self, m, tied):
        """Where the coefficients of tied columns are, and their factor."""
        basis, strengths = self.basis, self.strengths[m]
        chosen = np.append(np.repeat(tied, np.diff(basis.first)), True)
        index, places = np.flatnonzero(chosen), np.full(len(chosen), -1)
        places[index] = np.arange(len(index))
        gram = self.curvature.part(m, basis, np.flatnonzero(tied))
        gram[-1] = self.curvature.last[m, index]
        bands.add_dense(*basis.penalties, strengths, places, gram)
        bands.hold_dense(basis.first, places, self.mass[m], gram)
        diagonal, more = np.diag(gram).copy(), LEAST_CURVATURE * self.mass[m]
        while True:
            np.fill_diagonal(gram, diagonal + more)
            # Of a transpose LAPACK needs no copy.
            factor, failed = dpotrf(gram.T, lower=False, clean=False)
            if not failed:
                return index, places, factor
            more *= 1e2

    # -- solutions --------------------------------------------------------------------

    def solve(self, right, bins, weights, fresh=True, tolerance=TIGHT):
        """Solutions (m, q) for right-hand sides (m, q), of curvatures by ``weights``.

        They are those of the system if it is ``fresh``, or else near.
        """
        move = self._nearly(right)
        if fresh and self.whole:
            return move
        # Of a set without any weight there may be more than there are numbers.
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._by_products(right, move, bins, weights, tolerance)
        return np.where(np.isfinite(found), found, move)

    def _nearly(self, right):
        """Solutions in which loose columns meet nobody."""
        out = np.array(right)
        if not self.whole:
            bands.solve_bands(*self._bands, out)
            bands.solve_held(self.basis.first, self.mass, self._ones, out)
        for m, (index, _, factor) in enumerate(self._dense):
            out[m, index] = dpotrs(factor, right[m, index], lower=False)[0]
        return out

    def _by_products(self, right, ahead, bins, weights, tolerance):
        """Conjugate gradients, with what is nearly the solution as preconditioner."""
        mass, weights = weights.sum(axis=0), np.ascontiguousarray(weights)
        out, rest = np.zeros(right.shape), np.array(right)
        direction, near = ahead, np.sum(right * ahead, axis=1)
        enough, tiny = tolerance**2 * near, np.finfo(float).tiny
        for _ in range(MOST_PRODUCTS):
            product = bins.multiplied(weights, direction)
            product += self.basis.penalised(direction, self.strengths)
            product += self.basis.held(direction, mass)
            product += (LEAST_CURVATURE * mass)[:, None] * direction
            curved = np.sum(direction * product, axis=1)
            length = (near / np.maximum(curved, tiny))[:, None]
            out += length * direction
            rest -= length * product
            ahead, before = self._nearly(rest), near
            near = np.sum(rest * ahead, axis=1)
            if np.all(near <= enough):
                break
            direction = ahead + (near / np.maximum(before, tiny))[:, None] * direction
        return out

    # -- evidence ---------------------------------------------------------------------

    def _spent(self, traces):
        """Effective degrees of freedom (m, blocks), by traces of ``S C``."""
        traces = np.clip(np.nan_to_num(traces), 0.0, LARGEST_TRACE)
        return np.maximum(self.basis.ranks - self.strengths * traces, 0.0)

    def spent(self, bins, weights, mass):
        """Effective degrees of freedom (m, blocks), and variances (m, q).

        Those of curves are around their means over rows of masses (q,).
        """
        traces, variances = self._traces.copy(), self._variances.copy()
        share = mass / max(mass[-1], np.finfo(float).tiny)
        for m, (index, places, factor) in enumerate(self._dense):
            covariance = dpotri(factor, lower=False)[0]
            variances[m, index] = np.diag(covariance)
            for slots in self.basis.slots():
                if places[slots.start] >= 0:
                    mean = _mean_of(covariance, places[slots], share[slots])
                    variances[m, slots] += mean
            bands.traces_dense(*self.basis.penalties, places, covariance, traces[m])
        if self._meets:
            traces += self._beyond(bins, weights)
        return self._spent(traces), variances

    def _beyond(self, bins, weights):
        """What traces (m, blocks) have that columns apart do not tell, by probes.

        Of random signs with the penalties as covariances the traces are products with
        solutions; what columns apart say of the same signs is taken out.
        """
        basis, rng = self.basis, np.random.default_rng(0)
        shape, total = self.curvature.last.shape, np.zeros(self.strengths.shape)
        for _ in range(N_PROBES):
            probe = np.zeros(shape)
            for block in basis.blocks:
                n = block.slots.stop - block.slots.start
                signs = rng.choice([-1.0, 1.0], size=(shape[0], n))
                if block.kind == bands.STEPS:
                    signs = np.diff(signs[:, 1:], axis=1, prepend=0.0, append=0.0)
                elif block.kind == bands.LEVELS:
                    signs = signs - signs.mean(axis=1, keepdims=True)
                probe[:, block.slots] = signs
            apart = self._nearly(probe)
            whole = self._by_products(probe, apart, bins, weights, PROBED)
            differs = probe * (whole - apart)
            total += np.add.reduceat(differs, basis.penalties[0], axis=1)
        return total / N_PROBES


def _mean_of(covariance, places, share):
    """What variances change by if the mean over rows is taken out of a curve.

    The upper triangle of the covariance is known.
    """
    own = slice(places[0], places[-1] + 1)
    block = np.triu(covariance[own, own])
    with_mean = (block + np.triu(block, 1).T) @ share
    return share @ with_mean - 2.0 * with_mean


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
