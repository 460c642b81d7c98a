"""Normal densities whose variance depends on x."""

from __future__ import annotations

import copy

import numpy as np
from scipy import special
from sklearn.base import BaseEstimator, clone

from .._kernels.objectives import LOG_2PI
from .._numerics.bisection import bounded
from .._tables.answers import answered_values
from ._base import Likelihood, located, rounding_variance, unboxed

# Share of an expert's rows at the floor from which the floor is what bounds it.
MOST_FLOORED = 0.01
# Squared residuals below this share of the floor count as that much.
LEAST_SQUARE = 1e-3
# Smallest square and variance: their logarithms and ratios must stay finite.
SMALLEST = 1e-307
# Variances are squares already, and need only be numbers.
LARGEST = np.finfo(float).max
# Largest weight of a row for its variance, relative to the others.
MOST_PRECISE = 1e150


def relative_precision(reference, variance):
    """What a variance makes a row count, in the unit of ``reference``; a number."""
    with np.errstate(over="ignore"):
        return np.minimum(reference / variance, MOST_PRECISE)


class HeteroscedasticGaussian(Likelihood):
    """Normal density whose variance is modelled within each expert, too.

    The logarithm of the variance is linear in what the expert sees, around an additive
    expert a sum of curves, or the variance is whatever ``model`` predicts.  An M-step
    fits the location by least squares, each row weighted by its precision, and then the
    variance to the squared residuals, whose likelihood is that of a gamma density with
    shape 1/2 [1]_.  Experts of other libraries weigh the rows of several outputs by the
    mean of their precisions, so that there EM may end below the maximum.

    Parameters
    ----------
    model : regressor, default=None
        Predicts positive numbers, and is fitted to squared residuals: a
        :class:`~skmoe.experts.LinearExpert`, which takes the form of a gamma regression
        with log link, or an estimator such as
        ``HistGradientBoostingRegressor(loss="poisson")``, whose steps, other than those
        of ``loss="gamma"``, stay bounded where squares are near zero.  With several
        outputs the model must predict all.  An :class:`~skmoe.experts.AdditiveExpert`
        takes the form of curves of the log-variance, which read text and gaps; beside
        additive experts no other model will do, and it has the knots of theirs.  None
        is that, with the parameters of the expert, around an additive expert, and
        around others ``LinearExpert(alpha=p)`` for p columns, by which the log-variance
        differs by about one between rows a priori, however many columns there are.  It
        reads any table: text is one-hot encoded, gaps are filled and marked.
    floor : float, default=1e-6
        Smallest variance of a row, as a fraction of the variance of y.

    Attributes
    ----------
    model_ : fitted regressor
        Variance given what the expert sees, in squared units of y.
    sigma_ : float or ndarray of shape (n_outputs,)
        Root mean square of the residuals, in units of y.
    reference_ : ndarray of shape (n_outputs,)
        Variance to which penalties of the expert refer: the geometric mean over all
        rows, or of a sum of curves the harmonic mean over those of the expert.
    n_parameters_ : float or None
        Those of the model of the variance; None if it has no count.
    floored_ : bool
        Whether the floor holds more than a hundredth of the expert's rows.
    range_ : ndarray of shape (2, n_outputs)
        Least and largest variance of the training rows, within which those of all other
        rows are held: an exponential of columns far out would be anything.

    References
    ----------
    .. [1] Aitkin, M. (1987). Modelling variance heterogeneity in normal regression
       using GLIM. Applied Statistics 36, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 3, size=(500, 1))
    >>> y = X[:, 0] + np.exp(X[:, 0] - 2) * rng.normal(size=500)
    >>> model = MoERegressor(n_experts=1, likelihood="heteroscedastic").fit(X, y)
    >>> _, std = model.predict([[0.0], [3.0]], return_std=True)
    >>> bool(std[1] > 10 * std[0])
    True
    """

    models_variance = scales_ridge = is_parabola = True
    _penalty = 0.0
    range_ = np.array([[0.0], [np.inf]])

    def __init__(self, model: BaseEstimator | None = None, floor: float = 1e-6) -> None:
        self.model = model
        self.floor = floor

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        if not 0 < self.floor < 1:
            raise ValueError(
                f"HeteroscedasticGaussian got floor={self.floor!r}, but expected a "
                "fraction of the variance of y in (0, 1); the default is 1e-6."
            )
        wanted = self.model is None or hasattr(self.model, "predict")
        if isinstance(self.model, type) or not wanted:
            raise ValueError(
                f"HeteroscedasticGaussian got model={self.model!r}, but expected a "
                "regressor that predicts positive numbers, such as "
                "HistGradientBoostingRegressor(loss='poisson'), or None."
            )

    def fit_one(self, y, prediction, weight, *, prior, size, previous, spread):
        """One variance for all rows, until a model is fitted to what is left."""
        mass = max(weight.sum(), np.finfo(float).tiny)
        square = (weight @ (y - prediction) ** 2 + prior) / mass
        # Residuals within the rounding of y say nothing of its variance.
        spread = np.maximum(spread, rounding_variance(y) / self.floor)
        return self.with_sigma(np.sqrt(square), spread)

    def with_sigma(self, sigma, spread):
        """Fitted copy with standard deviations (n_outputs,) that are the same in all
        rows, where y has the variances ``spread`` (n_outputs,)."""
        fitted = clone(self)
        fitted.unit_ = np.maximum(spread, SMALLEST)
        least = np.sqrt(fitted._least())
        fitted.floored_ = bool(np.any(sigma < least))
        fitted.sigma_ = unboxed(np.maximum(sigma, least))
        fitted.reference_ = np.square(np.maximum(sigma, least))
        fitted.n_parameters_ = float(np.size(sigma))
        return fitted

    def squares(self, y, prediction):
        """What the variance is fitted to, (n, n_outputs): squared residuals.

        They are kept above a share of the floor, or an expert that fits rows exactly
        would have rounding errors for its variance.
        """
        least = np.maximum(LEAST_SQUARE * self._least(), SMALLEST)
        return np.maximum((y - prediction) ** 2, least)

    def _least(self):
        """The smallest variances (n_outputs,); their inverses are numbers."""
        return np.maximum(self.floor * self.unit_, SMALLEST)

    def with_model(
        self,
        model,
        n_parameters,
        view,
        weight,
        all_weight,
        penalty=0.0,
        reference=None,
    ):
        """Copy whose variance is what a fitted model predicts.

        Parameters
        ----------
        model : fitted regressor
        n_parameters : int or None
        view : what the expert sees of the training rows
        weight, all_weight : ndarray of shape (n,)
            Weights of the rows with and without the responsibility for them.
        penalty : float, default=0.0
            In nats, that the model pays.
        reference : ndarray of shape (n_outputs,), default=None
            ``reference_``, if it is not the geometric mean over all rows.
        """
        fitted = self.holding(model, n_parameters, penalty, reference)
        variance, least = fitted._variances(view), self._least()
        floored = np.any(variance < least, axis=1)
        fitted.floored_ = bool(np.average(floored, weights=weight) > MOST_FLOORED)
        variance = np.maximum(variance, least)
        fitted.range_ = np.stack([variance.min(axis=0), variance.max(axis=0)])
        if reference is None:
            logarithm = np.average(np.log(variance), axis=0, weights=all_weight)
            fitted.reference_ = np.exp(logarithm)
        # In this unit: sums of precisions themselves may leave the range of numbers.
        precision = relative_precision(fitted.reference_, variance)
        fitted._precision = np.average(precision, axis=0, weights=weight)
        return fitted

    def holding(self, model, n_parameters, penalty, reference=None):
        """Copy whose model predicts the same, with another penalty, in nats, and
        ``reference_`` if one is given."""
        fitted = copy.copy(self)
        fitted.model_, fitted.n_parameters_ = model, n_parameters
        fitted._penalty = penalty
        if reference is not None:
            fitted.reference_ = np.maximum(reference, self._least())
        return fitted

    def _variances(self, view):
        """Variances (n, n_outputs) that the model predicts, in any range."""
        answer, n_rows = self.model_.predict(view), view.shape[0]
        n_outputs = np.size(self.unit_)
        return answered_values(self.model_, answer, n_rows, n_outputs, LARGEST)

    def penalty(self):
        """Penalty in nats of the model of the variance."""
        return self._penalty

    def at(self, view):
        """The density of the rows of a view, each with its own ``sigma_``."""
        if self.model_ is None:
            return self
        bound = copy.copy(self)
        variance = np.clip(self._variances(view), *self.range_)
        bound.sigma_ = np.sqrt(np.maximum(variance, self._least()))
        return bound

    def on_rows(self, rows):
        """The density of some of the rows of a view."""
        if np.ndim(self.sigma_) < 2:
            return self
        bound = copy.copy(self)
        bound.sigma_ = self.sigma_[rows]
        return bound

    def row_weight(self, y, prediction):
        """Precision of each row relative to the mean over rows; that over outputs."""
        if np.ndim(self.sigma_) < 2:
            return None
        precision = relative_precision(self.reference_, np.square(self.sigma_))
        return np.mean(precision / self._precision, axis=1)

    def penalty_variance(self, n_outputs):
        """Geometric mean of the variance over rows, (n_outputs,)."""
        return np.broadcast_to(self.reference_, n_outputs)

    def variance_of(self, prediction, size=None):
        """Variance of y, (n, n_outputs)."""
        return np.broadcast_to(np.square(self.sigma_), prediction.shape)

    def log_density(self, y, prediction, size=None):
        with np.errstate(over="ignore"):
            square = ((y - prediction) / self.sigma_) ** 2
        return -0.5 * (square + LOG_2PI) - np.log(self.sigma_)

    def derivatives(self, y, prediction, size=None):
        """Slope and curvature of the log-density in the location, output by output."""
        precision = np.broadcast_to(1.0 / np.square(self.sigma_), y.shape)
        return (y - prediction) * precision, precision

    def cdf(self, y, prediction, size=None):
        """P(Y <= y) of each output by itself, (n, n_outputs)."""
        with np.errstate(over="ignore"):
            return special.ndtr((y - prediction) / self.sigma_)

    def quantile(self, level, prediction, size=None):
        """Where the distribution function of each output reaches ``level``."""
        return located(level, prediction, special.ndtri(level), self.sigma_)

    def sample(self, prediction, rng, size=None):
        """One draw per row, of all outputs together."""
        noise = rng.standard_normal(prediction.shape) * self.sigma_
        return bounded(prediction + noise)
