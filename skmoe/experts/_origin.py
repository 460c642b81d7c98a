"""Linear experts without an intercept."""

import numpy as np
from scipy import sparse

from .._numerics.design import Design, column_scale
from .._numerics.grams import weighted_grams
from .._numerics.linalg import solve_centred
from ._glm import GeneralizedLinearExpert, Newton
from ._linear import LinearExpert


def from_origin(design):
    """A design whose columns are not centred, and scaled by root mean squares.

    Columns that keep their scale keep it.
    """
    X, center, inverse = design
    if sparse.issparse(X):
        raise ValueError(
            "LinearExpert got sparse columns with fit_intercept=False, but expected "
            "dense ones; give X.toarray(), or use fit_intercept=True."
        )
    scale = column_scale(design)
    plain = np.all((scale == 0) | (scale == 1.0))
    square = (np.abs(center) > 0).astype(float) if plain else np.hypot(scale, center)
    square = np.where(scale > 0, scale, square) if plain else square
    inverse = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    return Design(X, np.zeros_like(center), inverse)


class OriginNewton(Newton):
    """Newton steps among coefficients (n_outputs, q) whose last is zero."""

    def __init__(self, expert, design, y, weight, size, unit):
        super().__init__(expert, design, y, weight, size, unit)
        self.flat = ~np.any(design.X[weight > 0] != 0, axis=0) | self.given.columns

    def start(self, earlier):
        """Coefficients of an earlier expert, or of least squares."""
        coef = super().start(earlier)
        coef[:, -1] = 0.0
        return coef

    def least_squares(self):
        """Coefficients of the family's predictors."""
        target = self.family.predictor(self.y, self.size)
        weights = np.repeat(self.weight[:, None], target.shape[1], axis=1)
        grams, right = self.given.left(
            *without_intercept(*weighted_grams(self.design, weights, weights * target))
        )
        flat = np.broadcast_to(self.flat, (len(grams), len(self.flat)))
        # What the columns do not tell apart starts at the least of its values.
        ridge = np.full(len(grams), max(self.penalty.ridge, 1e-8))
        return solve_centred(grams, right[:, :, None], ridge, flat)[:, :, 0]

    def without_flat(self, coef):
        """All coefficients: a column without spread is one like others."""
        return coef

    def system(self, coef, likelihood):
        """Curvature and slope of the log-likelihood, and a factor; none of the last."""
        grams, gradient, share = super().system(coef, likelihood)
        return *without_intercept(grams, gradient), share


def without_intercept(grams, right):
    """Grams (d, q, q) and right sides (d, q) apart from their last channel."""
    grams, right = grams.copy(), right.copy()
    grams[:, -1, :-1] = grams[:, :-1, -1] = 0.0
    right[:, -1] = 0.0
    return grams, right


class OriginExpert(GeneralizedLinearExpert):
    """:class:`LinearExpert` without an intercept, which takes this form itself.

    Parameters
    ----------
    alpha, l1_ratio, standardize, fit_intercept, common, fixed
        As in :class:`LinearExpert`.
    likelihood : likelihood, default=None
        None is :class:`~skmoe.likelihoods.Gaussian`.
    """

    streams = differentiable = reads_sparse = False
    _newton = OriginNewton

    def design_of(self, design):
        """Columns that are not centred."""
        return from_origin(design)

    def fit_design(self, design, y, weight, **given):
        """As :class:`GeneralizedLinearExpert`, on columns that are not centred."""
        return super().fit_design(from_origin(design), y, weight, **given)

    def renewed(self, design, y, weight, **given):
        """As :class:`GeneralizedLinearExpert`, on columns that are not centred."""
        return super().renewed(from_origin(design), y, weight, **given)


LinearExpert._origin = OriginExpert
