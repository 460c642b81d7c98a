"""What parts that gain from sums over rows have in common."""

import copy

import numpy as np

from .design import column_scale, read_only, widened_scales
from .linalg import curvature_columns, curvature_products, n_pairs, newton_direction
from .multinomial import multinomial_statistics


class PartSums:
    """How a fitted part of a mixture gains from sums over rows that come in blocks.

    Parameters of the part are a vector of numbers of about unit size.  It is sent to
    where blocks are, so that it holds no rows.

    Attributes
    ----------
    part : fitted gate or expert, with the penalties as they stand
    """

    #: The ``CurveEncoding`` by which the part reads rows; None as they are.
    encoding = None

    def __init__(self, part):
        self.part = part

    def vector(self, part):
        """Parameters of a fitted part."""
        raise NotImplementedError

    def at(self, theta):
        """The fitted part of parameters."""
        raise NotImplementedError

    def zeros(self):
        """Sums of no rows, a tuple of arrays."""
        raise NotImplementedError

    def with_part(self, part):
        """The same sums for the part with other penalties."""
        other = copy.copy(self)
        other.part = part
        return other

    def carried(self, sums, theta, moved):
        """Sums as they are when parameters have moved: here they are of none.

        Slopes are those of the quadratics of which they came with the curvature.
        """
        return sums

    def widened(self, X, seen, weight):
        """The same with a scale for columns that have some spread only in rows X
        (n, p), after others of weight ``seen``; here they stay without one."""
        return self


def widened_design(design, standardize, X, seen, weight):
    """A design with a scale for columns without spread so far, as ``widened`` says."""
    if np.all(design.inverse_scale > 0):
        return design
    known = design.center, column_scale(design)
    _, scale = widened_scales(known, X, seen, weight)
    late = (scale > 0) & (design.inverse_scale == 0)
    unit = scale if standardize else np.ones(len(scale))
    inverse = design.inverse_scale.copy()
    inverse[late] = 1.0 / unit[late]
    return design._replace(inverse_scale=inverse)


class MultinomialSums(PartSums):
    """Newton steps of multinomial logistic regressions.

    Parameters
    ----------
    part : fitted, with ``coef_`` and ``intercept_``
    design : Design of the columns, of any rows
    """

    def __init__(self, part, design):
        super().__init__(part)
        self.design = design._replace(X=design.X[:0])

    def coef(self, theta):
        """Coefficients (C, q) of standardised columns."""
        return theta.reshape(-1, self.design.X.shape[1] + 1)

    def at(self, theta):
        return copy.copy(self.part).set_standardised(self.coef(theta), self.design)

    def zeros_of(self, n_classes):
        """Sums of no rows: slope (C, q) and curvature."""
        n_channels = self.design.X.shape[1] + 1
        columns = curvature_columns(n_classes, n_channels)
        return (
            np.zeros((n_classes, n_channels)),
            np.zeros((n_pairs(n_channels), columns)),
        )

    def add_targets(self, sums, theta, X, targets, weight):
        """Add slope and curvature of rows with soft targets (n, C), in place."""
        coef = self.coef(theta)
        _, *found = multinomial_statistics(
            self.design._replace(X=read_only(X)),
            read_only(targets, float),
            read_only(weight, float),
            coef,
            read_only(np.zeros((0, len(coef)))),
        )
        for total, own in zip(sums, found, strict=True):
            total += own

    def carried(self, sums, theta, moved):
        slope, grams = sums
        move = self.coef(moved) - self.coef(theta)
        return slope - curvature_products(grams, move), grams

    def widened(self, X, seen, weight):
        other, own = copy.copy(self), (X, seen, weight)
        other.design = widened_design(self.design, self.part.standardize, *own)
        return other

    def step(self, theta, sums, ridge, lasso=0.0):
        """Parameters after one Newton step."""
        coef = self.coef(theta)
        return (coef + newton_direction(*sums, coef, ridge, lasso)).ravel()
