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
# A priori the logarithms of neighbouring knots, or of levels, differ by about one: with
# less of a penalty a few rows that are met exactly take a level for themselves.
LEAST_STRENGTH = 1.0
# Beyond this an excess of a square over its variance counts no more.
LARGEST_EXCESS = 1e6


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
    overdispersion_ : ndarray of shape (n_outputs,)
        How much more squares scatter than those of normal residuals, if they do.
        Penalties by evidence are so many times larger [2]_, or a few rows far out would
        pass for a variance that changes quickly.
    reference_ : ndarray of shape (n_outputs,)
        Variance to which penalties of the location refer: the harmonic mean over the
        rows of the expert, about.  Elsewhere its curves are nobody's, and may be
        anywhere; and what the location follows of the noise of a row grows with its
        precision.

    References
    ----------
    .. [1] Aitkin, M. (1987). Modelling variance heterogeneity in normal regression
       using GLIM. Applied Statistics 36, section 2.
    .. [2] McCullagh, P., Nelder, J. A. (1989). Generalized linear models, section 9.2,
       on quasi-likelihood.
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
        squares, mass = squares[rows] / unit, self._mass(bins, weight)
        coef, strengths = self._begun(earlier, bins, len(unit))
        coef = coef.copy()
        if earlier is None:
            one = (weight @ squares + prior / unit) / weight.sum()
            coef[:, -1], self.reference_ = np.log(one), unit * one
        else:
            coef[:, -1] -= np.log(unit)
            self.reference_ = earlier.reference_
            vars(self).update(earlier._known(bins.encoding))
            system = earlier._known_system(bins.encoding)
        before = _level(bins, coef, weight)
        # All rows have the same share of the penalty, relative to a reference that
        # moves with their mean precision.
        more = prior / weight.sum() * (before / self.reference_)
        model = SquaresRegression(bins, squares + more, weight)
        if settles and earlier is None:
            settled(self, model, coef, strengths, mass)
        else:
            coef, system = stepped(model, coef, strengths, ROUND_STEPS, system, ROUGH)
            self._keep(model, coef, strengths, mass, system)
            self.overdispersion_ = model.overdispersion(coef)
            if settles:
                self._learn(model)
        self.reference_ = self.reference_ * (_level(bins, self._coef, weight) / before)
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
        known = self.overdispersion_
        model = SquaresRegression(bins, INVERSE_LINKS["log"](sums), weight, known)
        own.reference_ = _level(bins, self._coef, weight)
        return own, own._learn(model)

    def _learn(self, model):
        self.overdispersion_ = model.overdispersion(self._coef)
        return super()._learn(model)

    def _take(self, found):
        scatter = self.overdispersion_[:, None]
        strengths = np.maximum(found.strengths * scatter, LEAST_STRENGTH)
        variances = found.variances * scatter
        return super()._take(found._replace(strengths=strengths, variances=variances))


def _level(bins, coef, weight):
    """Harmonic mean (n_outputs,) of the variances of weighted rows."""
    return weight.sum() / (weight @ INVERSE_LINKS["log"](-bins.linear(coef)))


class SquaresRegression(Regression):
    """Weighted log-likelihood of squares in the logarithm of their variance.

    Parameters
    ----------
    bins : Bins
    squares : (n, n_outputs)
    weight : (n,), positive
    known : (n_outputs,) overdispersion, if that is known
    """

    def __init__(self, bins, squares, weight, known=None):
        half = Gamma().with_shape(np.full(squares.shape[1], 0.5))
        super().__init__(bins, squares, weight, half, INVERSE_LINKS["log"])
        self._known = known

    def overdispersion(self, coef):
        """Variance (n_outputs,) of squares over that of normal residuals, if above."""
        if self._known is not None:
            return self._known
        # Of a normal residual it is twice the square of the mean.
        excess = self.y / self.inverse(self.bins.linear(coef)) - 1.0
        found = self.weight @ np.minimum(excess, LARGEST_EXCESS) ** 2
        return np.maximum(0.5 * found / self.weight.sum(), 1.0)

    def derivatives(self, sums):
        curved, slope = super().derivatives(sums)
        # A slope is half the weight, times what the ratio is above one.
        ratio = 1.0 + 2.0 * slope / self.weight[:, None]
        return curved * np.maximum(ratio / FAR, 1.0), slope


AdditiveExpert._of_squares = VarianceCurves
