"""Additive experts: a sum of curves, one per column of a raw table."""

from __future__ import annotations

import copy

import numpy as np

from .._numerics.additive import (
    MOST_ROUNDS,
    ROUND_STEPS,
    LeastSquares,
    Regression,
    Softmax,
    stepped,
)
from .._numerics.design import target_scales
from .._numerics.multinomial import softmax_of
from .._numerics.systems import ROUGH
from ..likelihoods import Gaussian
from ..likelihoods._links import INVERSE_LINKS
from ._base import BuiltInExpert
from ._curved import CurvedPart, settled
from ._sums import CurveClasses, CurveValues
from ._terms import SumOfCurves

# Below this share of its best row, a row changes no curve.
NEGLIGIBLE = 1e-10


class AdditiveExpert(CurvedPart, SumOfCurves, BuiltInExpert):
    """Additive expert: one curve per numeric column, one level per category.

    It reads raw tables: numbers and times get curves that are straight between at most
    ``n_knots`` knots, text and categories a value per level, and gaps one of their own.
    Each curve has its own penalty, of differences between neighbouring knots or of
    levels from their mean, which is chosen so that the evidence (the marginal
    likelihood) has its maximum [1]_ [2]_; columns that do not matter become flat.  In a
    classifier there is a curve per class.

    Parameters
    ----------
    n_knots : int, default=32
        Knots of a numeric column, at quantiles; all its values if they are fewer.
    alpha : "evidence" or float, default="evidence"
        Penalty of each curve, in units of rows; ``0`` is maximum likelihood.
    ends : {"held", "linear"}, default="held"
        What a curve does beyond its last knots: stay level, or go on straight.

    Attributes
    ----------
    alpha_ : ndarray of shape (n_sets, n_penalties)
        Penalties of the curves; a set is an output, or a class.
    effective_ : ndarray of shape (n_sets, n_penalties)
        Effective degrees of freedom of each.
    intercept_ : float or ndarray
    n_parameters_ : float
        Effective degrees of freedom.

    References
    ----------
    .. [1] MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4.
    .. [2] Wood, S. N., Fasiolo, M. (2017). A generalized Fellner-Schall method for
       smoothing parameter optimization. Biometrics 73.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.experts import AdditiveExpert
    >>> X = np.linspace(-2, 2, 200).reshape(-1, 1)
    >>> expert = AdditiveExpert().fit(X, X[:, 0] ** 2)
    >>> bool(np.abs(expert.predict(X) - X[:, 0] ** 2).max() < 0.02)
    True
    """

    reads_numbers = False
    steps = renews = soft_start = scales_ridge = is_smooth = streams = True
    # Newton steps of an M-step that goes on from the last one.
    _steps_on = ROUND_STEPS
    #: The form of likelihoods whose M-step is no least squares; set beside it.
    _generalized = None

    def __init__(
        self, n_knots: int = 32, alpha: float | str = "evidence", ends: str = "held"
    ) -> None:
        self.n_knots = n_knots
        self.alpha = alpha
        self.ends = ends

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags

    def _family(self):
        return Gaussian()

    @property
    def link(self):
        """Name of the link between sums of curves and predictions."""
        return self._family().link

    @property
    def n_channels(self):
        """Effective degrees of freedom of a set, with the intercept."""
        known = "effective_" in vars(self)
        return 1 + (int(self.effective_.sum(axis=1).max()) if known else 0)

    def for_likelihood(self, likelihood):
        """The expert whose M-step is that of a likelihood."""
        if likelihood.models_variance:
            raise ValueError(
                f"{type(self).__name__} got likelihood={likelihood!r}, whose model of "
                "the variance reads no curves; use likelihood='gaussian', or "
                "LinearExpert()."
            )
        if likelihood.least_squares:
            return self.for_values()
        return self._generalized(
            self.n_knots, self.alpha, self.ends, likelihood=copy.copy(likelihood)
        )

    def fit(self, X, y, sample_weight=None):
        """Fit to weighted rows, until neither curves nor penalties gain.

        Parameters
        ----------
        X : data frame or array of shape (n, p)
        y : ndarray of shape (n,) or (n, n_outputs)
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self
        """
        self.check()
        bins, rows, weight = self._given(X, sample_weight)
        y = np.asarray(y, dtype=float).reshape(len(y), -1)[rows]
        family, known, previous = self._family(), None, None
        for _ in range(MOST_ROUNDS):
            model, coef, strengths = self._begin(bins, y, weight, known, None, previous)
            settled(self, model, coef, strengths, self._mass(bins, weight))
            before, previous = known, self
            prediction = INVERSE_LINKS[family.link](bins.linear(self._coef))
            (known,) = family.fit_dispersions(
                y,
                [prediction],
                weight[:, None],
                priors=[2.0 * self._paid()],
                previous=None if before is None else [before],
            )
            now, then = (
                own.log_prob(y, prediction) if own else -np.inf
                for own in (known, before)
            )
            if weight @ np.atleast_1d(now - then) <= 1e-6 * weight.sum():
                break
        return self

    def _given(self, X, sample_weight):
        """Bins of the rows that count, their numbers, and weights."""
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        weight = np.asarray(weight, dtype=float)
        rows = np.flatnonzero(weight > NEGLIGIBLE * weight.max(initial=0.0))
        bins = self._bins(X, weight)
        if len(rows) < len(weight):
            bins = bins.take(rows)
        return bins, rows, weight[rows]

    @staticmethod
    def _mass(bins, weight):
        return bins.gather(weight[:, None])[0]

    def _begin(self, bins, y, weight, likelihood, size, previous):
        """Model of the rows, and where a fit starts."""
        family = self._family()
        coef, strengths = self._begun(previous, bins, y.shape[1])
        if likelihood is None or family.least_squares:
            target = family.predictor(y, size)
            if likelihood is None:
                unit = target_scales(target, weight)[1] ** 2
            else:
                unit = likelihood.penalty_variance(y.shape[1])
            return LeastSquares(bins, target, weight, unit), coef, strengths
        inverse = INVERSE_LINKS[family.link]
        return Regression(bins, y, weight, likelihood, inverse, size), coef, strengths

    def step(self, view, y, weight, *, previous=None, **given):
        """One M-step to weighted rows, from an earlier fit if there is one.

        Parameters
        ----------
        view : CurveRows
        y : ndarray of shape (n,) or (n, n_outputs)
        weight : ndarray of shape (n,)
        previous : fitted expert, default=None
        **given
            ``likelihood``, fitted, and ``size`` of the rows, exposures or trials; of
            labels ``classes``, all of them, and ``offset`` (n, n_classes).

        Returns
        -------
        self
        """
        model, coef, strengths, mass = self._model(view, y, weight, previous, **given)
        n_steps, system = ROUND_STEPS, None
        if previous is not None:
            vars(self).update(previous._known(view.encoding))
            n_steps, system = self._steps_on, previous._known_system(view.encoding)
        coef, system = stepped(model, coef, strengths, n_steps, system, ROUGH)
        return self._keep(model, coef, strengths, mass, system)

    def _model(self, view, y, weight, previous, likelihood=None, size=None):
        """Model of the rows, where its fit starts, and the mass of their curves."""
        bins, rows, weight = self._given(view, weight)
        y = np.asarray(y, dtype=float).reshape(view.shape[0], -1)[rows]
        size = None if size is None else size[rows]
        if likelihood is not None:
            likelihood = likelihood.on_rows(rows)
        begun = self._begin(bins, y, weight, likelihood, size, previous)
        return *begun, self._mass(bins, weight)

    def renewed(self, view, y, weight, **given):
        """A copy with the penalties that the evidence asks for, and how far they moved.

        Parameters are those of ``step``.
        """
        own = copy.copy(self)
        model, *_ = own._model(view, y, weight, self, **given)
        return own, own._learn(model)

    def sums(self, X, weight, scales, output_scales):
        """By Newton steps of all curves together."""
        return CurveValues(self)

    def _known(self, encoding):
        """What the last evidence said, which steps keep; of other curves it is mute."""
        if encoding is not self.encoding_:
            return {}
        names = "effective_", "_variances", "n_parameters_"
        return {name: vars(self)[name] for name in names if name in vars(self)}

    def penalty(self, variance=1.0, unit=1.0):
        """Penalty in nats of the fitted curves."""
        return float(np.sum(self._paid() / variance))

    def noise_scatter(self, variance):
        """What residuals lack of the noise that the fit followed, (n_outputs,)."""
        return 2.0 * self._paid()

    @property
    def intercept_(self):
        """Prediction at the mean of all curves, through the link."""
        level = self.level
        return float(level[0]) if len(level) == 1 else level

    def predict(self, X):
        """Predictions, shape (n,) or (n, n_outputs)."""
        means = INVERSE_LINKS[self._family().link](self._sums(X))
        return means[:, 0] if means.shape[1] == 1 else means


class GeneralizedAdditiveExpert(AdditiveExpert):
    """Curves through a link; :class:`AdditiveExpert` takes this form itself.

    Parameters
    ----------
    n_knots, alpha, ends
        As in :class:`AdditiveExpert`.
    likelihood : likelihood, default=None
        None is :class:`~skmoe.likelihoods.Gaussian`.
    """

    follows_likelihood = True

    def __init__(self, n_knots=32, alpha="evidence", ends="held", likelihood=None):
        super().__init__(n_knots=n_knots, alpha=alpha, ends=ends)
        self.likelihood = likelihood

    def _family(self):
        return Gaussian() if self.likelihood is None else self.likelihood


class AdditiveClassifierExpert(AdditiveExpert):
    """Curves of class logits, as :class:`AdditiveExpert` in a classifier.

    Parameters
    ----------
    n_knots, alpha, ends
        As in :class:`AdditiveExpert`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    link = "softmax"
    _steps_on = 1

    def fit(self, X, y, sample_weight=None, offset=None):
        """Fit to weighted rows with labels ``y``.

        ``offset`` (n, n_classes) is added to the logits.
        """
        self.check()
        model, coef, strengths, mass = self._model(
            X, y, sample_weight, None, np.unique(y), offset
        )
        return settled(self, model, coef, strengths, mass)

    def _model(self, view, y, weight, previous, classes, offset=None):
        self.classes_ = classes
        bins, rows, weight = self._given(view, weight)
        targets = np.zeros((len(rows), len(classes)))
        codes = np.searchsorted(classes, np.asarray(y)[rows])
        targets[np.arange(len(rows)), codes] = weight
        model = Softmax(bins, targets, 0.0 if offset is None else offset[rows])
        begun = self._begun(previous, bins, len(classes))
        return model, *begun, self._mass(bins, weight)

    def sums(self, X, weight, scales, output_scales):
        """By Newton steps of all curves together."""
        return CurveClasses(self)

    def penalty(self, variance=1.0, unit=1.0):
        return float(np.sum(self._paid()))

    def predict_proba(self, X):
        """Class probabilities (n, n_classes)."""
        return softmax_of(self._sums(X))[0]

    def predict(self, X):
        """Most probable labels (n,)."""
        return self.classes_[self._sums(X).argmax(axis=1)]


AdditiveExpert._regressor = AdditiveExpert
AdditiveExpert._classifier = AdditiveClassifierExpert
AdditiveExpert._generalized = GeneralizedAdditiveExpert
