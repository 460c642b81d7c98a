"""A variance whose logarithm is linear in what an expert sees."""

import numpy as np
from scipy import sparse

from ..likelihoods import Gamma
from ._base import traits
from ._encoding import numeric_encoding
from ._glm import FIRST_STEPS, WARM_STEPS, GeneralizedLinearExpert, Newton
from ._linear import LinearExpert


class VarianceExpert(GeneralizedLinearExpert):
    """Predicts the variance of residuals, by a gamma regression of their squares.

    The squares of normal residuals follow a gamma density with shape 1/2 [1]_.

    Parameters
    ----------
    alpha, l1_ratio, standardize
        As in :class:`LinearExpert`.
    likelihood : likelihood, default=None
        Of no effect.

    References
    ----------
    .. [1] Aitkin, M. (1987). Modelling variance heterogeneity in normal regression
       using GLIM. Applied Statistics 36, section 2.
    """

    fits_squares = True
    #: Variance to which penalties of the location refer; None is that of all rows.
    reference_ = None

    def _family(self):
        return Gamma()

    #: Transformer of rows that hold more than finite numbers, or None.
    encoder_ = None

    def check_view(self, view):
        """Raise ``ValueError`` for a view that it cannot read."""
        as_numbers(view)

    def rows_of(self, designs, view):
        """What ``fit_squares`` is given of a view, whose encoder it keeps."""
        self.encoder_ = designs.encoder_of(view)
        return designs.of_numbers(view, self.standardize)

    def renewed_squares(self, rows, weight):
        """Itself, with the penalty that was given, which has not moved."""
        return self, 0.0

    def at_rest(self):
        """Itself: nothing is kept for the next step."""
        return self

    def predict(self, X):
        """Variances of rows, whatever holds them."""
        if self.encoder_ is not None:
            X = self.encoder_.transform(X)
        elif not sparse.issparse(X):
            X = np.asarray(X, dtype=float)
            # Rows that come later may have gaps where those of the fit had none.
            gaps = np.isnan(X)
            X = np.where(gaps, self.center_, X) if gaps.any() else X
        return super().predict(X)

    def fit_squares(self, design, squares, weight, prior, unit, start=None, **rest):
        """Fit to weighted squares (n, n_outputs).

        Parameters
        ----------
        design : Design
        squares : ndarray of shape (n, n_outputs)
        weight : ndarray of shape (n,)
        prior : ndarray of shape (n_outputs,)
            What the penalty of the location adds to the squares, at the geometric mean
            of the variance over all rows.
        unit : ndarray of shape (n_outputs,)
            Of the squares, so that nothing depends on the scale of y.
        start : fitted expert, default=None
        **rest
            ``settles``, of no effect: its penalty is given.

        Returns
        -------
        self
        """
        ones = np.ones(squares.shape[1])
        newton = SquaresNewton(self, design, squares / unit, weight, None, ones)
        newton.prior, newton.shift = prior / unit, np.log(unit)
        half = Gamma().with_shape(np.full(squares.shape[1], 0.5))
        steps = FIRST_STEPS if start is None else WARM_STEPS
        coef = newton.run(newton.start(start), half, steps)
        coef[:, -1] += newton.shift
        return self.set_standardised(coef, design)


class SquaresNewton(Newton):
    """Penalised likelihood of squares, with further ones at the center of columns.

    Columns are centered over all rows, so the intercept is the mean of the logarithm.
    """

    def __init__(self, *args):
        super().__init__(*args)
        # The further squares are part of the matrices.
        self.by_products = False

    def start(self, earlier):
        """Coefficients of an earlier model, or one variance for all rows."""
        if isinstance(earlier, VarianceExpert):
            coef = super().start(earlier)
            coef[:, -1] -= self.shift
            return coef
        coef = np.zeros((self.y.shape[1], self.design.X.shape[1] + 1))
        total = self.weight @ self.y + self.prior
        coef[:, -1] = np.log(total / self.weight.sum())
        return self.given.put(coef)

    def value(self, coef, likelihood):
        """Log-likelihood less penalties."""
        # A step too far has an infinite cost, and is not taken.
        with np.errstate(over="ignore", invalid="ignore"):
            share = self.prior * np.exp(-coef[:, -1])
        return super().value(coef, likelihood) - 0.5 * share.sum()

    def system(self, coef, likelihood):
        """Curvature and slope of the log-likelihood."""
        grams, gradient, share = super().system(coef, likelihood)
        prior = share * (0.5 * self.prior * np.exp(-coef[:, -1]))
        grams[:, -1, -1] += prior
        gradient[:, -1] += prior
        return grams, gradient, share


def as_numbers(view, weight=None):
    """What an expert sees as finite numbers, for models of its variance.

    Parameters
    ----------
    view : array, sparse matrix or data frame of n rows
    weight : (n,), default=None

    Returns
    -------
    numbers : array or sparse matrix of n rows
    encoder : fitted transformer of text and gaps, or None where there are none

    Raises
    ------
    ValueError
        For columns that hold infinity, or complex numbers.
    """
    if sparse.issparse(view):
        return view, None
    try:
        numbers = np.asarray(view)
        numbers = (
            numbers if numbers.dtype.kind == "f" else np.asarray(view, dtype=float)
        )
        if np.isfinite(numbers).all():
            return numbers, None
    except (TypeError, ValueError):
        # Text, times, or gaps of pandas.
        pass
    encoder = numeric_encoding().fit(view, None, weight)
    return encoder.transform(view), encoder


def variance_model(asked, expert, count):
    """What models the variance around an expert.

    Parameters
    ----------
    asked : regressor, or None for what goes with the expert
    expert : the expert
    count : callable, the number of columns that it sees, as numbers
    """
    if asked is None:
        # However many columns there are, the logarithm varies by about one a priori.
        lends = traits(expert).lends_form
        asked = expert if lends else LinearExpert(alpha=max(count(), 1))
    own = traits(asked).of_squares()
    return asked if own is None else own


LinearExpert._of_squares = VarianceExpert
