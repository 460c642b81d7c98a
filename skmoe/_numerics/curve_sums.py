"""Sums of curves that gain from sums over rows that come in blocks."""

import numpy as np

from .additive import Evidence, Softmax
from .linalg import shortened
from .part_sums import PartSums
from .systems import by_evidence


def penalty_matrix(basis, strengths, mass):
    """Penalties (q, q) of one set of curves, whose means are held by a ``mass``."""
    unit = np.eye(basis.n_coef + 1)
    own = basis.penalised(unit, np.tile(strengths, (len(unit), 1)))
    return own + basis.held(unit, np.full(len(unit), mass))


def whole(lower):
    """A symmetric matrix of its lower triangle."""
    return np.tril(lower) + np.tril(lower, -1).T


def inverse(matrix):
    """Inverse of a symmetric matrix; of directions without curvature it is nothing."""
    try:
        factor = np.linalg.inv(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        return np.linalg.pinv(matrix, hermitian=True)
    return factor.T @ factor


def traces(basis, covariance):
    """``tr(S V)`` (blocks,) of each penalty."""
    found = []
    for block in basis.blocks:
        own = covariance[block.slots, block.slots]
        found.append(np.einsum("ij,ji->", block.matrix, own))
    return np.array(found)


def around_means(basis, covariance, mass):
    """Variances (q,) of coefficients around the mean of their curve."""
    variances = np.diag(covariance).copy()
    for slots in basis.slots():
        share = mass[slots] / max(mass[-1], np.finfo(float).tiny)
        own = covariance[slots, slots] @ share
        variances[slots] += share @ own - 2.0 * own
    return variances


class CurveSums(PartSums):
    """Newton steps of curves; sums are curvatures, slopes, and masses of the knots.

    Parameters
    ----------
    part : fitted additive part
    """

    #: Whether sets of curves are mirrored, so that the first one tells both.
    mirrored = False

    def __init__(self, part):
        super().__init__(part)
        self.encoding = part.encoding_

    @property
    def basis(self):
        """Coefficients of the curves, and what penalises them."""
        return self.encoding.basis_

    @property
    def n_sets(self):
        """Sets of curves."""
        return len(self.part.alpha_)

    def vector(self, part):
        return part.knot_values.ravel()

    def coef(self, theta):
        """Coefficients (m, q) of the curves."""
        return theta.reshape(self.n_sets, -1)

    def at(self, theta):
        return self.part.with_knot_values(self.coef(theta))

    def zeros(self):
        solved, q = 1 if self.mirrored else self.n_sets, self.basis.n_coef + 1
        return np.zeros((solved, q, q)), np.zeros((solved, q)), np.zeros(q)

    def add_rows(self, sums, bins, curved, slope, weight):
        """Add rows with weighted curvatures and slopes (n, m), in place."""
        sums[0][:] += bins.grams(np.ascontiguousarray(curved))
        sums[1][:] += bins.gather(np.ascontiguousarray(slope))
        sums[2][:] += bins.gather(np.ascontiguousarray(weight[:, None]))[0]

    def carried(self, sums, theta, moved):
        """Of several classes the curvature between them is left out, as in a step."""
        grams, slope, mass = sums
        move = (self.coef(moved) - self.coef(theta))[: len(grams)]
        pairs = zip(grams, move, strict=True)
        change = np.stack([whole(gram) @ own for gram, own in pairs])
        return grams, slope - change, mass

    def _systems(self, coef, sums, unit):
        """Penalised curvature, penalty and slope of each set that is solved for."""
        for number, (gram, slope) in enumerate(zip(*sums[:2], strict=True)):
            strengths = self.part.alpha_[number] / unit[number]
            paid = penalty_matrix(self.basis, strengths, gram[-1, -1])
            yield whole(gram) + paid, slope - paid @ coef[number]

    def step(self, theta, sums, unit):
        """Moves (m, q) of one Newton step of the sets that are solved for.

        ``unit`` (m,) is what penalties are divided by to become nats.
        """
        coef = self.coef(theta)
        systems = self._systems(coef, sums, unit)
        return np.stack([inverse(matrix) @ slope for matrix, slope in systems])

    def evidence(self, theta, sums, unit):
        """The ``Evidence`` of curves for their penalties."""
        coef, effective, variances = self.coef(theta), [], []
        for number, (matrix, _) in enumerate(self._systems(coef, sums, unit)):
            covariance = inverse(matrix)
            strengths = self.part.alpha_[number] / unit[number]
            left = self.basis.ranks - strengths * traces(self.basis, covariance)
            effective.append(np.maximum(left, 0.0))
            variances.append(around_means(self.basis, covariance, sums[2]))
        times = self.n_sets // len(effective)
        effective, variances = (np.repeat(x, times, 0) for x in (effective, variances))
        squares, unit = self.basis.squares(coef), np.reshape(unit, (-1, 1))
        with np.errstate(over="ignore"):
            found = by_evidence(effective, squares, unit)
        return Evidence(found, effective, variances)

    def told(self, theta, sums, unit, spent):
        """The same of the part with the penalties by evidence, and how far they moved.

        ``spent`` makes free parameters of effective degrees of freedom.
        """
        found = self.evidence(theta, sums, unit)
        part, moved = self.at(theta).told(found, spent(found.effective), sums[2])
        return self.with_part(part), moved


class CurveShares(CurveSums):
    """The same of the logits of a softmax."""

    @property
    def mirrored(self):
        """Whether there are two classes."""
        return self.n_sets == 2

    def add_targets(self, sums, theta, bins, targets):
        """Add rows with weighted targets (n, m), in place."""
        model = Softmax(bins, np.ascontiguousarray(targets))
        curved, slope = model.derivatives(bins.linear(self.coef(theta)))
        self.add_rows(sums, bins, curved, slope, model.mass[:, 0])

    def moved_shares(self, theta, sums):
        """Parameters after one Newton step, none of which is too far."""
        move = self.step(theta, sums, np.ones(self.n_sets))
        if self.mirrored:
            move = np.vstack([move, -move])
        else:
            move = move - move.mean(axis=0)
        return (self.coef(theta) + shortened(move[None])[0]).ravel()

    def told_shares(self, theta, sums):
        """As ``told``; only differences of the logits count."""
        n = self.n_sets

        def spent(effective):
            return float((n - 1) / n * effective.sum() + n - 1)

        return self.told(theta, sums, np.ones(n), spent)
