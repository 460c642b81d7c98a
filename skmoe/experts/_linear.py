"""Linear experts: ridge regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from .._numerics.design import (
    column_scale,
    from_data_scale,
    make_design,
    target_scales,
    to_data_scale,
)
from .._numerics.evidence import (
    RidgePart,
    probed_values,
    ridge_of_values,
)
from .._numerics.grams import Columns, weighted_grams
from .._numerics.linalg import (
    MOST_SPENT,
    Penalty,
    check_penalty,
    solve_centred,
    use_products,
    without_bias,
)
from .._numerics.network import Network
from .._numerics.products import regress
from .._sklearn import check_fitted
from ..likelihoods import Gaussian
from ._base import BuiltInExpert, FixedCoefficients
from ._sums import LeastSquaresSums, SlopeSums


class LinearStatistics(NamedTuple):
    """Sufficient statistics of a weighted linear regression; additive over rows."""

    grams: np.ndarray
    cross: np.ndarray


class LinearExpert(FixedCoefficients, RidgePart, BuiltInExpert):
    """Linear expert with sufficient statistics.

    In a regressor it is ridge regression on standardised columns, for any number of
    outputs; in a classifier it is multinomial logistic regression.  Mixtures of these
    under a softmax gate are trained by the fused EM, in one pass over the rows per
    iteration.

    Parameters
    ----------
    alpha : float or "evidence", default="evidence"
        Penalty on standardised coefficients, in units of rows, as in
        :class:`sklearn.linear_model.Ridge`.  ``0`` is maximum likelihood.
        ``"evidence"`` chooses it for each expert, while EM runs, so that the marginal
        likelihood has its maximum [3]_, as :class:`sklearn.linear_model.BayesianRidge`
        does; trainers by gradient, models of a variance and a lasso take 1.
    l1_ratio : float, default=0.0
        Share of the penalty that is a lasso, which sets coefficients to zero:
        ``alpha * l1_ratio * sum |b|`` nats, where b are coefficients of standardised
        columns and, where the link is the identity, a standardised target [2]_.
    standardize : bool, default=True
        Whether penalties refer to standardised columns (and target), or to the data as
        they are.
    fit_intercept : bool, default=True
        Whether the linear predictor has an intercept, which is free of the penalty.
        Without, columns are scaled by their root mean squares, and a constant one is
        a column like others; EM and two stages fit it, in regressors.
    common : list of str or int, default=None
        Columns, by name or position, whose coefficients all experts of a regression
        have in common; intercepts and other columns vary.  They pay no penalty, and
        EM fits them [4]_.
    fixed : dict, default=None
        Values of coefficients that are not fitted, in units of the data, by names or
        positions of columns: ``{"age": 0.0}`` leaves a column out of this expert,
        ``{"log_exposure": 1.0}`` is an offset of this expert alone.  A value is a
        number, or one for each output.  They pay no penalty and are no parameters; in
        regressors.

    Attributes
    ----------
    coef_ : ndarray of shape (p,), (n_outputs, p) or (n_classes, p)
        Coefficients on the scale of the data.  Two classes have two rows.
    intercept_ : float or ndarray
    center_, scale_ : ndarray of shape (p,)
        Means and standard deviations of the columns in training.
    alpha_ : float
        The penalty, given or chosen.
    n_parameters_ : int or float
        With ``alpha="evidence"``, effective degrees of freedom.

    See Also
    --------
    sklearn.linear_model.Ridge : the same penalty, on columns as they are.

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, eq. 24.
    .. [2] Chamroukhi, F., Huynh, B. T. (2019). Regularized maximum likelihood
       estimation and feature selection in mixtures-of-experts models. Journal de la
       SFdS 160.
    .. [3] MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4.
    .. [4] Grün, B., Leisch, F. (2008). FlexMix version 2: finite mixtures with
       concomitant variables and varying and constant parameters. J. Stat. Softw. 28.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.experts import LinearExpert
    >>> X = np.arange(6.0).reshape(-1, 1)
    >>> expert = LinearExpert(alpha=0).fit(X, 2 * X[:, 0] + 1)
    >>> expert.coef_.round(6), round(float(expert.intercept_), 6)
    (array([2.]), 1.0)
    """

    is_linear = is_smooth = reads_sparse = scales_ridge = True
    #: The form of likelihoods whose M-step is no least squares; set beside it.
    _generalized = None
    #: What fits it near to an earlier one; set beside it.
    _near = None
    #: The form without an intercept; set beside it.
    _origin = None

    def __init__(
        self,
        alpha: float | str = "evidence",
        l1_ratio: float = 0.0,
        standardize: bool = True,
        fit_intercept: bool = True,
        common: Sequence[str | int] | None = None,
        fixed: Mapping[str | int, Any] | None = None,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.standardize = standardize
        self.fit_intercept = fit_intercept
        self.common = common
        self.fixed = fixed

    @property
    def through_origin(self):
        """Whether it has no intercept."""
        return not self.fit_intercept

    @property
    def penalty_rows(self):
        """How much weight of rows the penalty outweighs."""
        return self.strength

    @property
    def renews(self):
        """Whether the penalty is chosen anew while EM runs."""
        return self.by_evidence

    @property
    def has_lasso(self):
        """Whether a share of the penalty is a lasso."""
        return self.l1_ratio > 0

    @property
    def biased_by_ridge(self):
        """Whether the ridge has a share in what it predicts."""
        ridge = not self.by_evidence and self.l1_ratio == 0 and self.strength > 0
        return ridge and not self.shares

    @property
    def n_channels(self):
        """Columns with some spread, and intercept, of the fitted expert."""
        return self.fit_intercept + np.count_nonzero(self.scale_)

    @property
    def is_plain(self):
        """Whether all of its coefficients, and an intercept, are fitted by itself."""
        return self.fit_intercept and not self.shares and not self.holds

    @property
    def stays_near(self):
        """Whether it is fitted near to what it was: all of it, and not by a lasso."""
        return self.is_plain and not self.has_lasso

    def way_from(self, anchor):
        """Squared distances (n_outputs,), on columns standardised as the anchor's."""
        slopes = np.atleast_2d(self.coef_) - np.atleast_2d(anchor.coef_)
        levels = np.atleast_1d(self.intercept_) - np.atleast_1d(anchor.intercept_)
        levels = levels + slopes @ anchor.center_
        return np.sum((slopes * anchor.scale_) ** 2, axis=1) + levels**2

    def _family(self):
        """The likelihood that it maximises: other forms have others."""
        return Gaussian()

    def fit_near(
        self, anchor, pull, previous, X, y, weight, *, likelihood, size=None, unit=1.0
    ):
        """By Newton steps, of which squares need one."""
        self.with_penalty_of(previous)
        steps = self._near(self, anchor, pull, X, y, weight, size, unit)
        return self.set_standardised(steps.from_(previous, likelihood), steps.design)

    def check(self):
        """Raise ``ValueError`` for penalties that make no sense."""
        check_penalty(self)
        self.check_common()
        self.check_fixed()

    def for_likelihood(self, likelihood):
        """The expert whose M-step is that of a likelihood: least squares, if it is."""
        if likelihood.least_squares and self.l1_ratio == 0 and self.is_plain:
            return self.for_values()
        own = LinearExpert.get_params(self)
        own.pop("likelihood", None)
        kind = self._generalized if self.fit_intercept else self._origin
        return kind(**own, likelihood=clone(likelihood))

    def for_values(self):
        """The expert of least squares."""
        if self.holds or not self.fit_intercept:
            return self.for_likelihood(Gaussian())
        return super().for_values()

    def for_classes(self):
        """The multinomial logistic regression with the same parameters."""
        if not self.fit_intercept:
            raise ValueError(
                f"LinearExpert got fit_intercept={self.fit_intercept!r} in a "
                "classifier, but only regressors have it; use fit_intercept=True."
            )
        return super().for_classes()

    def network(self, n_inputs, n_outputs):
        """Architecture for trainers that follow a gradient: no hidden layers."""
        return Network((n_inputs, n_outputs))

    def set_network(self, network, theta, design, center=0.0, scale=1.0):
        """Set parameters of standardised columns; outputs times ``scale``, plus
        ``center``."""
        weights, bias = network.layers(theta)[0]
        coef = np.column_stack([weights.T, bias]) * np.reshape(scale, (-1, 1))
        coef[:, -1] += center
        return self.set_standardised(coef, design)

    def accumulate(self, design, y, weight):
        """Statistics of a row block; ``design`` fixes the standardisation."""
        weight = np.reshape(weight, (-1, 1))
        targets = weight * np.reshape(y, (len(weight), -1))
        return LinearStatistics(*weighted_grams(design, weight, targets))

    def solve(self, statistics, design):
        """Set the coefficients from accumulated statistics; returns self."""
        ridge, right = Penalty.of(self).ridge, statistics.cross.T[None]
        coef = solve_centred(statistics.grams, right, ridge)[0].T
        return self.set_standardised(coef, design)

    def settle(self, statistics, design, free):
        """As ``solve``, with the cost of the coefficients, and without the bias of the
        ridge if ``free``; where there are rows enough to tell."""
        ridge, right = Penalty.of(self).ridge, statistics.cross.T[None]
        coef = solve_centred(statistics.grams, right, ridge)
        again, spent = without_bias(statistics.grams, right, ridge, coef)
        enough = spent[0] <= MOST_SPENT * statistics.grams[0, -1, -1]
        self.set_standardised((again if free and enough else coef)[0].T, design)
        self._spent = spent if enough else None
        return self

    def set_standardised(self, coef, design):
        """Set the coefficients (n_outputs, q) of standardised columns."""
        own = self.varying(coef)
        self._squared_norms, self._spent = np.sum(own**2, axis=1), None
        self._absolute_norms = np.sum(np.abs(own), axis=1)
        scaled = to_data_scale(coef, design)
        slopes, intercepts = self.with_held(*scaled, design.center)
        self.coef_, self.intercept_ = self._shaped(slopes, intercepts)
        self.center_, self.scale_ = design.center, column_scale(design)
        self.alpha_, self.n_features_in_ = float(self.strength), slopes.shape[1]
        self.n_parameters_ = self._count(slopes)
        return self

    def _shaped(self, slopes, intercepts):
        if len(slopes) == 1:
            return slopes[0], float(intercepts[0])
        return slopes, intercepts

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the expert was fitted to.

        A column without a coefficient, or that others sum to, is none.
        """
        slopes = self.coef_.reshape(np.size(self.intercept_), -1)
        if self.holds:
            free = np.delete(np.arange(slopes.shape[1]), self.held_at(slopes.shape[1]))
            columns = columns.through(lambda X: X[:, free])
        rank = columns.rank(centred=self.fit_intercept)
        self.n_parameters_ = self._count(slopes, rank)
        return self.n_parameters_

    def _count(self, slopes, rank=np.inf):
        free = self.count_varying(slopes, rank)
        free = self.effective_ if self.counts_effective else free
        return free + len(slopes) * self.fit_intercept

    def fit(self, X, y, sample_weight=None):
        """Fit to weighted rows.

        Parameters
        ----------
        X : ndarray or sparse array of shape (n, p)
        y : ndarray of shape (n,) or (n, n_outputs)
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self
        """
        if self.holds or not self.fit_intercept:
            return self._taken(self.for_values().fit(X, y, sample_weight))
        return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight):
        self.check()
        self.forget_penalty()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        rows = make_design(X, weight, self.standardize), y, weight
        self.fit_design(*rows)
        refit = partial(self.fit_design, *rows)
        self.settle_penalty(partial(self.renewed, *rows), refit)
        self.count(Columns(X, weight))
        return self

    def renewed(self, design, y, weight, *, likelihood=None, size=None):
        """A copy with the penalty by the evidence of weighted rows, and how far its
        logarithm moved.

        Parameters
        ----------
        design, y, weight
            As in ``fit_design``.
        likelihood : fitted likelihood, default=None
            None for one that is fitted here.
        size : ndarray of shape (n,), default=None
            Exposures or trials.
        """
        y = np.asarray(y, dtype=float).reshape(len(weight), -1)
        shift, unit = target_scales(y, weight)
        if use_products(design.X):
            coef = self.standardised(design) / np.reshape(unit, (-1, 1))
            own = design, (y - shift) / unit, weight, coef, self.strength
            return self.moved_to(probed_values(*own))
        y = (y - shift) / unit
        statistics = self.accumulate(design, y, weight)
        square = weight @ y**2
        right = statistics.cross.T
        return self.moved_to(ridge_of_values(statistics.grams[0], right, square, 0.0))

    def standardised(self, design):
        """Coefficients (n_outputs, q) of standardised columns."""
        slopes, intercepts = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        return from_data_scale(slopes, intercepts, design)

    def fit_design(self, design, y, weight, *, settle=None):
        """``fit`` with the standardisation of ``design``, which the penalty refers to.

        In a mixture all experts are penalised on the scale of all rows, not on that
        of the rows that each is responsible for.  ``settle`` is None, or whether the
        bias of the ridge is taken out, as at the end of EM.
        """
        y = np.asarray(y, dtype=float)
        if self.l1_ratio > 0:
            return self._like(self.for_likelihood(Gaussian()), design, y, weight)
        # Centring y keeps the products accurate when y sits far from zero.
        shift, _ = target_scales(y.reshape(len(weight), -1), weight)
        shift = shift.reshape(y.shape[1:])
        if use_products(design.X):
            targets = np.reshape(y - shift, (len(weight), -1)) * weight[:, None]
            weights = np.repeat(weight[:, None], targets.shape[1], axis=1)
            start = np.zeros((targets.shape[1], design.X.shape[1] + 1))
            coef = regress(design, weights, targets, Penalty.of(self), start)
            self.set_standardised(coef, design)
        elif settle is None:
            self.solve(self.accumulate(design, y - shift, weight), design)
        else:
            statistics = self.accumulate(design, y - shift, weight)
            self.settle(statistics, design, settle)
        self.intercept_ = self.intercept_ + shift
        return self

    def _like(self, expert, design, y, weight):
        """Take over what another linear expert learns."""
        return self._taken(expert.fit_design(design, y, weight))

    def _taken(self, fitted):
        """What another fitted linear expert has learned."""
        params = self.get_params()
        self.__dict__.update({**vars(fitted), **params})
        return self

    def _linear(self, X):
        check_fitted(self, "coef_")
        return X @ self.coef_.T + self.intercept_

    def predict(self, X):
        """Fitted values, shape (n,) or (n, n_outputs)."""
        return self._linear(X)

    def sums(self, X, weight, scales, output_scales):
        """By Newton steps, which are the solution of least squares."""
        design = make_design(X, weight, self.standardize, scales)
        center, unit = output_scales
        if self.follows_likelihood and self._family().link != "identity":
            return SlopeSums(self, design, np.zeros(len(unit)), np.ones(len(unit)))
        unit = np.where(unit > 0, unit, 1.0)
        kind = SlopeSums if self.follows_likelihood else LeastSquaresSums
        return kind(self, design, center, unit)

    def prior_scatter(self):
        """What the penalty adds to the residual sums of squares, (n_outputs,)."""
        return Penalty.of(self).ridge * self._squared_norms

    def noise_scatter(self, variance):
        """What residuals lack of the noise that coefficients follow, (n_outputs,)."""
        return self.prior_scatter() if self._spent is None else self._spent * variance

    def penalty(self, variance=1.0, unit=1.0):
        """Penalty in nats, given variances and units of the outputs."""
        lasso = Penalty.of(self).lasso * self._absolute_norms
        lasso = lasso / unit if self.standardize else lasso
        return float(np.sum(0.5 * self.prior_scatter() / variance + lasso))


LinearExpert._regressor = LinearExpert
