"""Linear experts of likelihoods whose M-step is no least squares."""

import numpy as np

from .._numerics.design import (
    column_scale,
    from_data_scale,
    known_design,
    target_scales,
)
from .._numerics.evidence import probed, ridge_of_slopes
from .._numerics.given import Given
from .._numerics.grams import flat_columns, weighted_grams, without_flat
from .._numerics.linalg import (
    MOST_SPENT,
    Penalty,
    effective,
    ridge_diagonal,
    solve_centred,
    solve_lasso,
    solve_symmetric,
    use_products,
)
from .._numerics.products import gather, linear, regress
from ..likelihoods import Gaussian
from ..likelihoods._links import INVERSE_LINKS
from ._linear import LinearExpert

# Newton steps of a fit from scratch, and of one that starts from an earlier one.
FIRST_STEPS, WARM_STEPS = 50, 2
SMALLEST_STEP = 2.0**-20
# Gain per unit of weight that ends the steps.
SMALLEST_GAIN = 1e-12
# Curvatures up to 2^900 are summed as they are.
CURVATURE_BITS = 900
# Alternations of coefficients and dispersion outside a mixture.
ALTERNATIONS = 100


class GeneralizedLinearExpert(LinearExpert):
    """Linear predictor through a link; :class:`LinearExpert` takes this form itself.

    Coefficients maximise the expected log-likelihood by Newton steps with expected
    information, or a quadratic bound, in place of the Hessian; steps that do not
    raise it are halved.

    Parameters
    ----------
    alpha, l1_ratio, standardize, fit_intercept, common, fixed
        As in :class:`LinearExpert`.
    likelihood : likelihood, default=None
        None is :class:`~skmoe.likelihoods.Gaussian`.

    References
    ----------
    .. [1] McCullagh, P., Nelder, J. A. (1989). Generalized linear models, ch. 2.
    """

    follows_likelihood = True

    def __init__(
        self,
        alpha="evidence",
        l1_ratio=0.0,
        standardize=True,
        fit_intercept=True,
        common=None,
        fixed=None,
        likelihood=None,
    ):
        super().__init__(alpha, l1_ratio, standardize, fit_intercept, common, fixed)
        self.likelihood = likelihood

    @property
    def _newton(self):
        return Newton

    def design_of(self, design):
        """Standardised columns as its Newton steps take them."""
        return design

    def _family(self):
        return Gaussian() if self.likelihood is None else self.likelihood

    def fit(self, X, y, sample_weight=None):
        """Fit to weighted rows, as :class:`LinearExpert`."""
        return self._fit(X, y, sample_weight)

    def predict(self, X):
        """Means; locations for Student's t, medians for Laplace."""
        return INVERSE_LINKS[self._family().link](self._linear(X))

    def fit_design(
        self,
        design,
        y,
        weight,
        *,
        likelihood=None,
        size=None,
        unit=None,
        start=None,
        settle=None,
    ):
        """Fit to weighted rows, alternating with the dispersion if that is not given.

        Parameters
        ----------
        design : Design
        y : ndarray of shape (n,) or (n, n_outputs)
        weight : ndarray of shape (n,)
        likelihood : fitted likelihood, default=None
        size : ndarray of shape (n,), default=None
            Exposures or trials.
        unit : ndarray of shape (n_outputs,), default=None
            Units of the target, to which a lasso refers.
        start : fitted expert, default=None
        settle : bool, default=None
            Given a likelihood, whether the bias of the ridge is taken out.

        Returns
        -------
        self
        """
        Y = np.asarray(y, dtype=float).reshape(len(weight), -1)
        if unit is None:
            unit = target_units(self._family(), Y, weight)
        newton = self._newton(self, design, Y, weight, size, unit)
        coef = newton.start(start)
        if likelihood is not None:
            steps = FIRST_STEPS if start is None else WARM_STEPS
            coef, spent = newton.run(coef, likelihood, steps), None
            if settle is not None and not newton.by_products:
                coef, spent = newton.settled(coef, likelihood, settle)
            self.set_standardised(coef, design)
            self._spent = spent
            return self
        fitted, value = None, -np.inf
        for _ in range(ALTERNATIONS):
            self.set_standardised(coef, design)
            fitted = newton.dispersion(coef, fitted, self.prior_scatter())
            coef = newton.run(coef, fitted, FIRST_STEPS)
            before, value = value, newton.value(coef, fitted)
            if value - before <= SMALLEST_GAIN * weight.sum():
                break
        return self.set_standardised(coef, design)

    def renewed(self, design, y, weight, *, likelihood=None, size=None):
        """As in :class:`LinearExpert`, by the curvature of the likelihood."""
        Y = np.asarray(y, dtype=float).reshape(len(weight), -1)
        newton = self._newton(self, design, Y, weight, size, np.ones(Y.shape[1]))
        coef = self.standardised(design)
        if likelihood is None:
            newton.unit = target_units(self._family(), Y, weight)
            likelihood = newton.dispersion(coef, None, self.prior_scatter())
        return self.moved_to(newton.chosen(coef, likelihood, self.strength))


class Newton:
    """Penalised log-likelihood of one expert in its coefficients (n_outputs, q)."""

    def __init__(self, expert, design, y, weight, size, unit):
        self.expert, self.family = expert, expert._family()
        self.penalty = Penalty.of(expert)
        self.design, self.y, self.weight, self.size = design, y, weight, size
        self.lasso = self.penalty.lasso / (unit if expert.standardize else np.ones(1))
        self.lasso = np.broadcast_to(self.lasso, y.shape[1])
        self.rows, self.unit = weight > 0, np.broadcast_to(unit, y.shape[1])
        self.by_products = use_products(design.X)
        # By weight, not by curvature: a row far out in a tail has none.
        self.flat = flat_columns(design, weight[:, None])[0]
        # Where the ridge pulls slopes to.
        self.center = 0.0
        self.given = given_to(expert, design, y.shape[1])
        self.flat = self.flat | self.given.columns

    def start(self, earlier):
        """Coefficients of an earlier expert, or of least squares."""
        if earlier is None:
            return self.without_flat(self.given.put(self.least_squares()))
        slopes = np.atleast_2d(earlier.coef_)
        intercepts = np.atleast_1d(earlier.intercept_)
        coef = self.given.put(from_data_scale(slopes, intercepts, self.design))
        return self.without_flat(coef)

    def least_squares(self):
        """Coefficients of the family's predictors, less what is given of them."""
        target = self.family.predictor(self.y, self.size)
        target = target - self.given.share(self.design)
        design = self.given.design(self.design)
        own = LinearExpert(alpha=self.penalty.ridge)
        own.fit_design(design, target, self.weight)
        return own.standardised(design)

    def without_flat(self, coef):
        """The same values without coefficients of columns that became flat: no step
        would gain what such a column has still to lose."""
        left = self.given.taken(coef)
        return self.given.put(without_flat(left, self.design, self.weight))

    def predictions(self, coef):
        """Predictions (n, d)."""
        X, center, inverse_scale = self.design
        slopes = coef[:, :-1] * inverse_scale
        linear = X @ slopes.T + (coef[:, -1] - slopes @ center)
        return INVERSE_LINKS[self.family.link](linear)

    def dispersion(self, coef, previous, prior):
        """Fitted likelihood at the coefficients."""
        (fitted,) = self.family.fit_dispersions(
            self.y,
            [self.predictions(coef)],
            self.weight[:, None],
            priors=[np.broadcast_to(prior, self.y.shape[1])],
            size=self.size,
            previous=None if previous is None else [previous],
            spread=self.unit**2,
        )
        return fitted

    def value(self, coef, likelihood):
        """Log-likelihood less penalties."""
        rows = likelihood.log_prob(self.y, self.predictions(coef), self.size)
        slopes = self.expert.varying(coef)
        variance = likelihood.penalty_variance(len(coef))
        # A step too far has an infinite cost, and is not taken.
        with np.errstate(over="ignore"):
            squares = np.sum((slopes - self.center) ** 2, axis=1)
            paid = 0.5 * self.penalty.ridge * squares / variance
        paid = paid + self.lasso * np.abs(slopes).sum(axis=1)
        return self.weight[self.rows] @ rows[self.rows] - paid.sum()

    def rows_of_system(self, coef, likelihood):
        """Weighted curvature and slope (n, d) of each row's log-likelihood, a factor.

        Both are multiplied by it, so that rows in any unit of y can be summed.
        """
        slope, curvature = likelihood.derivatives(
            self.y, self.predictions(coef), self.size
        )
        weigh = np.where(self.rows, self.weight, 0.0)[:, None]
        slope = np.where(self.rows[:, None], slope, 0.0)
        largest = np.max(curvature, where=self.rows[:, None], initial=1.0)
        share = 2.0 ** -max(np.frexp(largest)[1] - CURVATURE_BITS, 0)
        return weigh * (curvature * share), weigh * (slope * share), share

    def system(self, coef, likelihood):
        """Curvature (d, q, q) and slope (d, q) of the log-likelihood, and a factor."""
        weights, slope, share = self.rows_of_system(coef, likelihood)
        return *weighted_grams(self.design, weights, slope), share

    def target_by_products(self, coef, likelihood):
        """What ``target`` gives, without a matrix of curvature."""
        weights, slope, share = self.rows_of_system(coef, likelihood)
        left, design = self.given.taken(coef), self.given.design(self.design)
        targets = slope + weights * linear(design, left)
        ridge = self.penalty.ridge / likelihood.penalty_variance(len(coef))
        penalty = Penalty(share * ridge, share * self.lasso)
        return self.given.put(regress(design, weights, targets, penalty, left))

    def target(self, coef, likelihood):
        """Where the quadratic model around ``coef`` has its maximum."""
        if self.by_products:
            return self.target_by_products(coef, likelihood)
        grams, gradient, share = self.system(coef, likelihood)
        variance = likelihood.penalty_variance(len(coef))
        right = np.einsum("dij,dj->di", grams, coef) + gradient
        grams, right = self.given.left(grams, right)
        if self.penalty.lasso > 0:
            ridge = ridge_diagonal(coef.shape[1], self.penalty.ridge)
            left = self.given.taken(coef)
            own = [np.diag(share * (ridge / v)) for v in variance]
            matrices, lasso = grams + np.stack(own), share * self.lasso
            each = zip(matrices, right[:, None], lasso, left[:, None], strict=True)
            return self.given.put(np.vstack([solve_lasso(*own) for own in each]))
        flat = np.broadcast_to(self.flat, (len(coef), len(self.flat)))
        ridge = share * (self.penalty.ridge / variance)
        right[:, :-1] += ridge[:, None] * self.center
        found = solve_centred(grams, right[:, :, None], ridge, flat)[:, :, 0]
        return self.given.put(found)

    def chosen(self, coef, likelihood, near):
        """Penalty by the evidence of a quadratic model around ``coef``."""
        variance = likelihood.penalty_variance(len(coef))
        if self.by_products:
            weights, _, share = self.rows_of_system(coef, likelihood)
            weights = weights * (variance / share)
            design, left = self.given.design(self.design), self.given.taken(coef)

            def apply(move):
                return gather(design, weights * linear(design, move))

            return probed(apply, weights.sum(axis=0), near, left, variance)
        grams, _, share = self.system(coef, likelihood)
        # In units of the variance, so that outputs have one penalty.
        variance = np.reshape(variance, (-1, 1))
        grams = grams * (variance / share)[:, :, None]
        own = self.expert.varying_channels(coef.shape[1])
        grams, coef = grams[:, own][:, :, own], coef[:, own]
        return ridge_of_slopes(grams, coef / np.sqrt(variance), near)

    def settled(self, coef, likelihood, free):
        """Coefficients without the bias of the ridge if ``free``, and their cost."""
        grams, _, share = self.system(coef, likelihood)
        ridge = share * (self.penalty.ridge / likelihood.penalty_variance(len(coef)))
        spent = effective(self.given.left(grams, coef)[0], ridge)
        if np.any(spent > MOST_SPENT * self.weight.sum()):
            return coef, None
        coef = self.run(coef, likelihood, FIRST_STEPS)
        if free:
            self.center = self.expert.varying(coef)
            coef = self.run(coef, likelihood, FIRST_STEPS)
        return coef, spent

    def run(self, coef, likelihood, max_steps):
        """Coefficients after Newton steps, none of which lowers the objective."""
        value = self.value(coef, likelihood)
        for _ in range(max_steps):
            target, step = self.target(coef, likelihood), 1.0
            trial = self.value(target, likelihood)
            while not trial >= value and step > SMALLEST_STEP:
                step /= 2
                trial = self.value(coef + step * (target - coef), likelihood)
            if not trial >= value:
                return coef
            coef = coef + step * (target - coef) if step < 1.0 else target
            gain, value = trial - value, trial
            if gain <= SMALLEST_GAIN * self.weight.sum():
                return coef
        return coef


class NearNewton(Newton):
    """Newton steps under a second penalty, of the way from an earlier expert.

    It is in units of rows, as the ridge, and that of all coefficients, of columns that
    are standardised as they were for that expert.  So a column without spread in the
    new rows keeps its coefficient.

    Parameters
    ----------
    expert : LinearExpert
    anchor : the same, fitted before
    pull : float
    X, y, weight, size, unit
        As for :class:`Newton`; X are columns (n, p).
    """

    def __init__(self, expert, anchor, pull, X, y, weight, size, unit):
        design = known_design(X, anchor)
        y = np.asarray(y, dtype=float).reshape(len(weight), -1)
        super().__init__(expert, design, y, weight, size, unit)
        self.anchor, self.pull = anchor.standardised(design), pull

    def from_(self, previous, likelihood):
        """Coefficients after some steps from those of the last M-step."""
        return self.run(previous.standardised(self.design), likelihood, WARM_STEPS)

    def value(self, coef, likelihood):
        variance = likelihood.penalty_variance(len(coef))
        away = np.sum((coef - self.anchor) ** 2, axis=1) / variance
        return super().value(coef, likelihood) - 0.5 * self.pull * away.sum()

    def target(self, coef, likelihood):
        grams, slope, share = self.system(coef, likelihood)
        variance = np.reshape(likelihood.penalty_variance(len(coef)), (-1, 1))
        ridge = np.append(np.full(coef.shape[1] - 1, self.penalty.ridge), 0.0)
        slope = slope - share / variance * (
            ridge * coef + self.pull * (coef - self.anchor)
        )
        both = share / variance * (ridge + self.pull)
        np.einsum("dii->di", grams)[:] += both
        return coef + solve_symmetric(grams, slope[:, :, None])[:, :, 0]


def given_to(expert, design, n_outputs):
    """Standardised coefficients that are given to an expert."""
    n_columns = design.X.shape[1]
    at = np.zeros(n_columns + 1, dtype=bool)
    at[expert.held_at(n_columns)] = True
    values = expert.held(n_outputs, n_columns) * column_scale(design)
    return Given(at, np.column_stack([values, np.zeros(n_outputs)]))


def target_units(likelihood, y, weight):
    """Units (n_outputs,) of coefficients: spreads of y, or one for log and logit."""
    if likelihood.link != "identity":
        return np.ones(y.shape[1])
    return target_scales(y, weight)[1]


LinearExpert._generalized = GeneralizedLinearExpert
LinearExpert._near = NearNewton
