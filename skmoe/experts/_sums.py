"""Experts that gain from sums over rows that come in blocks."""

import copy
from typing import Any, NamedTuple

import numpy as np

from .._numerics.curve_sums import CurveShares, CurveSums
from .._numerics.design import from_data_scale, read_only
from .._numerics.evidence import ridge_of_slopes, ridge_of_softmax, ridge_of_values
from .._numerics.grams import weighted_grams
from .._numerics.linalg import Penalty, solve_centred
from .._numerics.part_sums import MultinomialSums, PartSums, widened_design


class ExpertRows(NamedTuple):
    """A block of rows as an expert takes part in it.

    Attributes
    ----------
    X : ndarray of shape (n, p)
    y : (n, d) outputs, or (n,) numbers of classes
    weight : (n,) responsibilities times weights
    prediction : what the expert predicts of them
    likelihood : its fitted likelihood
    size : (n,) exposures or trials, None for one
    """

    X: Any
    y: np.ndarray
    weight: np.ndarray
    prediction: np.ndarray
    likelihood: Any
    size: np.ndarray | None = None


class ExpertSums(PartSums):
    """``PartSums`` of an expert."""

    def add(self, sums, theta, rows):
        """Add what a block of ``ExpertRows`` says, in place."""
        raise NotImplementedError

    def moved(self, theta, sums, likelihood):
        """Parameters after one M-step, or one Newton step of it."""
        raise NotImplementedError

    def renewed(self, theta, sums, likelihood):
        """The same with penalties by evidence, and how far they moved."""
        return self, 0.0

    def rescaled(self, sums, ratio):
        """Sums when the variances (d,) around the expert, as a ridge stands against
        them, are another one's: by a ratio (d,) of before to now."""
        return sums


class NoSums(ExpertSums):
    """Sums of an expert without parameters."""

    def vector(self, expert):
        return np.zeros(0)

    def at(self, theta):
        return self.part

    def zeros(self):
        return ()

    def add(self, sums, theta, rows):
        """Nothing is learned of rows."""

    def moved(self, theta, sums, likelihood):
        return theta


class SlopeSums(ExpertSums):
    """One Newton step of a linear predictor of values through a link.

    Parameters
    ----------
    expert : fitted linear expert
    design : Design of the columns, of any rows
    center, unit : (d,) by which outputs of an identity link are standardised
    """

    def __init__(self, expert, design, center, unit):
        super().__init__(expert)
        self.design = design._replace(X=design.X[:0])
        self.center, self.unit = center, unit

    def vector(self, expert):
        coef = expert.standardised(self.design)
        coef[:, -1] -= self.center
        return (coef / self.unit[:, None]).ravel()

    def _coef(self, theta):
        coef = theta.reshape(len(self.unit), -1) * self.unit[:, None]
        coef[:, -1] += self.center
        return coef

    def at(self, theta):
        return copy.copy(self.part).set_standardised(self._coef(theta), self.design)

    def zeros(self):
        d, n_channels = len(self.unit), self.design.X.shape[1] + 1
        shape = d, n_channels, n_channels
        return np.zeros(shape), np.zeros(shape[:2]), np.zeros(d)

    def add(self, sums, theta, rows):
        slope, curvature = rows.likelihood.derivatives(
            rows.y, rows.prediction, rows.size
        )
        counts, weight = (rows.weight > 0)[:, None], rows.weight[:, None]
        curved = np.where(counts, weight * curvature, 0.0)
        slope = np.where(counts, weight * slope, 0.0)
        design = self.design._replace(X=read_only(rows.X))
        grams, products = weighted_grams(design, curved, slope)
        squares = np.where(counts, (rows.y - rows.prediction) ** 2, 0.0)
        squares = rows.weight @ squares / rows.likelihood.penalty_variance(len(grams))
        for total, own in zip(sums, (grams, products, squares), strict=True):
            total += own

    def carried(self, sums, theta, moved):
        grams, slope, squares = sums
        move = self._coef(moved) - self._coef(theta)
        change = np.einsum("dij,dj->di", grams, move)
        fallen = np.einsum("dj,dj->d", 2.0 * slope - change, move)
        return grams, slope - change, squares - fallen

    def rescaled(self, sums, ratio):
        grams, slope, squares = sums
        return grams * ratio[:, None, None], slope * ratio[:, None], squares * ratio

    def widened(self, X, seen, weight):
        other, own = copy.copy(self), (X, seen, weight)
        other.design = widened_design(self.design, self.part.standardize, *own)
        return other

    def moved(self, theta, sums, likelihood):
        grams, slope, _ = sums
        coef = self._coef(theta)
        ridge = Penalty.of(self.part).ridge / likelihood.penalty_variance(len(coef))
        right = np.einsum("dij,dj->di", grams, coef) + slope
        coef = solve_centred(grams, right[:, :, None], ridge)[:, :, 0]
        coef[:, -1] -= self.center
        return (coef / self.unit[:, None]).ravel()

    def renewed(self, theta, sums, likelihood):
        if not self.part.renews or not sums[0][0, -1, -1] > 0:
            return self, 0.0
        chosen = self._chosen(theta, sums, likelihood)
        expert, moved = self.part.moved_to(chosen)
        return self.with_part(expert), moved

    def _chosen(self, theta, sums, likelihood):
        coef = self._coef(theta)
        variance = likelihood.penalty_variance(len(coef))[:, None]
        grams = sums[0] * variance[:, :, None]
        return ridge_of_slopes(grams, coef / np.sqrt(variance), self.part.strength)


class LeastSquaresSums(SlopeSums):
    """The same of least squares, whose penalty settles its own variance."""

    def _chosen(self, theta, sums, likelihood):
        coef = theta.reshape(len(self.unit), -1)
        variance = likelihood.penalty_variance(len(coef))
        gram = sums[0][0] * variance[0]
        slope = sums[1] * (variance / self.unit)[:, None]
        right = coef @ gram + slope
        square = sums[2] * variance / self.unit**2
        square += np.einsum("dq,dq->d", coef, right + slope)
        return ridge_of_values(gram, right.T, square, 0.0)


class CurveValues(CurveSums, ExpertSums):
    """One Newton step of curves of values through a link."""

    def add(self, sums, theta, rows):
        slope, curvature = rows.likelihood.derivatives(
            rows.y, rows.prediction, rows.size
        )
        counts, weight = (rows.weight > 0)[:, None], rows.weight[:, None]
        curved = np.where(counts, weight * curvature, 0.0)
        slope = np.where(counts, weight * slope, 0.0)
        self.add_rows(sums, rows.X, curved, slope, rows.weight)

    def rescaled(self, sums, ratio):
        grams, slope, mass = sums
        return grams * ratio[:, None, None], slope * ratio[:, None], mass

    def moved(self, theta, sums, likelihood):
        unit = likelihood.penalty_variance(self.n_sets)
        return theta + self.step(theta, sums, unit).ravel()

    def renewed(self, theta, sums, likelihood):
        def spent(effective):
            return float(effective.sum() + len(effective))

        return self.told(theta, sums, likelihood.penalty_variance(self.n_sets), spent)


class CurveClasses(CurveShares, ExpertSums):
    """One Newton step of curves of class logits."""

    def add(self, sums, theta, rows):
        targets = rows.weight[:, None] * np.eye(self.n_sets)[rows.y]
        self.add_targets(sums, theta, rows.X, targets)

    def moved(self, theta, sums, likelihood):
        return self.moved_shares(theta, sums)

    def renewed(self, theta, sums, likelihood):
        return self.told_shares(theta, sums)


class ClassSums(MultinomialSums, ExpertSums):
    """One Newton step of a linear expert of classes."""

    def vector(self, expert):
        return from_data_scale(expert.coef_, expert.intercept_, self.design).ravel()

    def zeros(self):
        return self.zeros_of(len(self.part.classes_))

    def add(self, sums, theta, rows):
        targets = np.eye(len(self.part.classes_))[rows.y]
        self.add_targets(sums, theta, rows.X, targets, rows.weight)

    def moved(self, theta, sums, likelihood):
        return self.step(theta, sums, *self.part.class_penalty())

    def renewed(self, theta, sums, likelihood):
        if not self.part.renews:
            return self, 0.0
        ridge, _ = self.part.class_penalty()
        chosen = ridge_of_softmax(sums[1], self.coef(theta), ridge)
        if chosen is not None:
            share = self.part.strength / ridge if ridge else 1.0
            chosen = chosen._replace(ridge=chosen.ridge * share)
        expert, moved = self.part.moved_to(chosen)
        return self.with_part(expert), moved
