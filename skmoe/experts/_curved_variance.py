"""A variance whose logarithm is a sum of curves."""

import copy

import numpy as np

from .._numerics.additive import ROUND_STEPS, Regression, stepped
from .._numerics.systems import ROUGH
from ..likelihoods import Gamma
from ..likelihoods._links import INVERSE_LINKS
from ._additive import AdditiveExpert
from ._curved import settled

# From so many times its variance a square curves as much as it pulls: Newton steps on
# the logarithm go no further.
FAR = 10.0


class VarianceCurves(AdditiveExpert):
    """Curves of the logarithm of a variance, by a gamma regression of squares.

    The squares of normal residuals follow a gamma density with shape 1/2 [1]_;
    :class:`AdditiveExpert` takes this form itself.

    Parameters
    ----------
    n_knots, alpha, ends
        As in :class:`AdditiveExpert`; beside additive experts knots and ends are
        theirs.

    Attributes
    ----------
    reference_ : ndarray of shape (n_outputs,)
        Variance to which penalties of the location refer: the geometric mean over the
        rows of the expert.  Elsewhere its curves are nobody's, and may be anywhere.

    References
    ----------
    .. [1] Aitkin, M. (1987). Modelling variance heterogeneity in normal regression
       using GLIM. Applied Statistics 36, section 2.
    """

    fits_squares = True

    def _family(self):
        return Gamma()

    def check_view(self, view):
        """Any view has curves."""

    def rows_of(self, designs, view):
        """What ``fit_squares`` is given of a view."""
        return designs.of_curves(view, self.curves)

    def fit_squares(
        self, bins, squares, weight, prior, unit, start=None, settles=False
    ):
        """Fit to weighted squares.

        Parameters
        ----------
        bins : Bins
        squares : ndarray of shape (n, n_outputs)
        weight : ndarray of shape (n,)
        prior : ndarray of shape (n_outputs,)
            What the penalty of the location adds to the squares, at ``reference_``.
        unit : ndarray of shape (n_outputs,)
            Of the squares, so that nothing depends on the scale of y.
        start : fitted expert, default=None
        settles : bool, default=False
            Whether penalties are chosen, too, where nothing renews them later.

        Returns
        -------
        self
        """
        bins, rows, weight = self._given(bins, weight)
        earlier, system = start if isinstance(start, VarianceCurves) else None, None
        model = SquaresRegression(bins, squares[rows] / unit, weight)
        coef, strengths = self._begun(earlier, bins, len(unit))
        coef, mass = coef.copy(), self._mass(bins, weight)
        if earlier is None:
            coef[:, -1] = np.log(model.mean_square(prior / unit))
            self.reference_ = unit * np.exp(coef[:, -1])
        else:
            coef[:, -1] -= np.log(unit)
            self.reference_ = earlier.reference_
            vars(self).update(earlier._known(bins.encoding))
            system = earlier._known_system(bins.encoding)
        before = model.add_prior(prior / self.reference_, coef)
        if settles:
            settled(self, model, coef, strengths, mass)
        else:
            coef, system = stepped(model, coef, strengths, ROUND_STEPS, system, ROUGH)
            self._keep(model, coef, strengths, mass, system)
        self.reference_ = self.reference_ * np.exp(model.level(self._coef) - before)
        self._coef = self._coef.copy()
        self._coef[:, -1] += np.log(unit)
        return self

    def renewed_squares(self, bins, weight):
        """A copy with the penalties that the evidence asks for, and how far they moved.

        Its ``reference_`` is that of these rows.
        """
        bins, _, weight = self._given(bins, weight)
        own, sums = copy.copy(self), bins.linear(self._coef)
        # Expected curvatures are the same whatever the squares are.
        model = SquaresRegression(bins, INVERSE_LINKS["log"](sums), weight)
        own.reference_ = np.exp(model.level(self._coef))
        return own, own._learn(model)


class SquaresRegression(Regression):
    """Weighted log-likelihood of squares in the logarithm of their variance.

    Parameters
    ----------
    bins : Bins
    squares : (n, n_outputs)
    weight : (n,), positive
    """

    def __init__(self, bins, squares, weight):
        half = Gamma().with_shape(np.full(squares.shape[1], 0.5))
        super().__init__(bins, squares, weight, half, INVERSE_LINKS["log"])
        self.shares, self.prior = weight / weight.sum(), np.zeros(squares.shape[1])

    def mean_square(self, prior):
        """One variance for all rows, (n_outputs,), with further squares."""
        return (self.weight @ self.y + prior) / self.weight.sum()

    def level(self, coef):
        """Mean (n_outputs,) of the logarithm over the rows."""
        return self.shares @ self.bins.linear(coef)

    def add_prior(self, ratio, coef):
        """Count a penalty relative to a reference, which moves with the level.

        Parameters
        ----------
        ratio : (n_outputs,), of the penalty to the reference
        coef : (n_outputs, q), of the curves that the reference belongs to

        Returns
        -------
        ndarray of shape (n_outputs,)
            Their level.
        """
        level = self.level(coef)
        self.prior = ratio * np.exp(level)
        return level

    def _further(self, sums):
        """What the penalty costs, (n_outputs,), in nats."""
        # A step too far has an infinite cost, and is not taken.
        with np.errstate(over="ignore"):
            return 0.5 * self.prior * np.exp(-(self.shares @ sums))

    def value(self, sums):
        return super().value(sums) - self._further(sums).sum()

    def derivatives(self, sums):
        curved, slope = super().derivatives(sums)
        # A slope is half the weight, times what the ratio is above one.
        ratio = 1.0 + 2.0 * slope / self.weight[:, None]
        further = self.shares[:, None] * self._further(sums)
        return curved * np.maximum(ratio / FAR, 1.0) + further, slope + further


AdditiveExpert._of_squares = VarianceCurves
