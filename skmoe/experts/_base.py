"""What is asked of any expert, and what the built-in ones share."""

from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, murmurhash3_32

from .._stamp import Stamped


class ExpertTraits:
    """What trainers ask of an expert; for an estimator of another library it is no."""

    #: Whether it reads numbers only, and gets a float array.
    reads_numbers = False
    #: Whether training reads sparse columns as they are.
    reads_sparse = False
    #: Whether it is a component without an expert, noise or zeros, which has nothing to
    #: learn and may lose all its rows.
    is_bare = False
    #: Whether it is linear in standardised columns: ``fit_design``, and
    #: ``set_standardised``, after which there are ``coef_`` and ``intercept_``.
    is_linear = False
    #: Means (p,) of the columns, around which a fitted linear expert is read.
    center_ = 0.0
    #: Whether it is linear without an intercept.
    through_origin = False
    #: Whether ``fit_design`` takes the likelihood that it maximises, with its ``size``,
    #: ``unit`` and ``start``; otherwise it minimises squares, or the log-loss.
    follows_likelihood = False
    #: Whether an M-step goes on from the last one: ``step``.
    steps = False
    #: Whether it chooses its penalties anew while EM runs: ``renewed``.
    renews = False
    #: Whether it gains from sums over rows that come in blocks: ``sums``.
    streams = False
    #: The unfitted ``CurveEncoding`` by which it sees the table, if it does;
    #: fitted, it then has ``curves_``, ``level``, ``terms`` and ``link``.
    curves = None
    #: Whether it models variances by the likelihood of squares: ``rows_of``,
    #: ``fit_squares``, ``renewed_squares``, ``at_rest``; others are fitted to squares.
    fits_squares = False
    #: Whether the variance around it has its form, unless another is asked for.
    lends_form = False
    #: Whether its penalties, as a model of variances, are chosen anew while EM runs.
    renews_squares = False
    #: Whether regimes are told apart best from a start with nearly equal shares.
    soft_start = False
    #: Whether it is a network that a gradient can train: ``network``, ``set_network``.
    differentiable = False
    #: Whether the ridge stands against the variance of its residuals, as in EM.
    scales_ridge = False
    #: Whether the ridge has a share in what it predicts that EM can take out again.
    biased_by_ridge = False
    #: Whether class probabilities stay away from zero by themselves.
    is_smooth = False
    #: Whether it is fitted near to what it was: ``fit_near``, ``way_from``.
    stays_near = False
    #: How much weight of rows the penalty outweighs: for a network, its ridge penalty.
    penalty_rows = 0.0
    #: Whether a share of the penalty is a lasso, which only EM fits.
    has_lasso = False
    #: Whether some of its coefficients are those of all experts of its mixture, which
    #: are fitted together: ``common``, and of a fitted one ``n_common_``, which
    #: ``n_parameters_`` leaves out.
    shares = False
    n_common_ = 0
    #: Whether some of its coefficients are given, and not fitted: ``fixed``.
    holds = False
    #: Columns with some spread, and intercept, of a fitted linear expert; its fit is to
    #: at least so many rows, or owed to few.
    n_channels = 0
    #: Whether a fitted one says, by rows that it has not seen, how long training serves
    #: them: ``settled``.
    settles = False
    #: Whether others are asked first, because it has to be fetched.
    waits = False
    #: Coefficients (K, d, p + 1) of all experts of its mixture, where these are linear
    #: regressions that are not at hand themselves.
    stack = None

    def lent(self, expert):
        """A context that gives the expert itself for the time of an answer."""
        return nullcontext(expert)

    def penalty(self, variance=1.0, unit=1.0):
        """Penalty in nats of a fitted expert.

        Parameters
        ----------
        variance : ndarray of shape (n_outputs,)
            Of each output around the expert.
        unit : ndarray of shape (n_outputs,)
            Of each output, to which a lasso refers.
        """
        return 0.0

    def fit_near(self, anchor, pull, previous, X, y, weight, **given):
        """Fit to rows under a penalty of the way from a fitted expert; returns self."""
        raise NotImplementedError

    def way_from(self, anchor):
        """Squared distances (n_outputs,) of its parameters from a fitted expert's."""
        raise NotImplementedError

    def of_squares(self):
        """The form in which it models variances, or None for itself."""
        return None

    def sums(self, X, weight, scales, output_scales):
        """The ``ExpertSums`` of the expert, which was fitted to a sample of the rows.

        Asked for where it ``streams``.

        Parameters
        ----------
        X, weight : columns (n, p) and weights (n,) of the sample
        scales : means and standard deviations (p,) of the columns of all rows
        output_scales : those of the outputs (d,); None for classes
        """
        raise NotImplementedError

    def with_classes(self, classes, n_rows):
        """A copy that knows all ``classes``, where it was fitted to ``n_rows`` rows
        that lack some.  Asked for where it ``streams``."""
        return self

    def seen(self, X):
        """What the fitted expert reads of rows as a stream has them."""
        return X

    def noise_scatter(self, variance):
        """What residuals lack of the noise that the fit followed, (n_outputs,)."""
        return np.zeros_like(variance)


#: Answers of estimators of other libraries.
FOREIGN = ExpertTraits()


def traits(expert):
    """What answers for an expert: itself, or what is true of any other estimator."""
    return expert if isinstance(expert, ExpertTraits) else FOREIGN


class BuiltInExpert(ExpertTraits, Stamped):
    """Base of experts that read numbers and take their task from the mixture.

    A subclass gives ``fit(X, y, sample_weight=None)`` and ``predict(X)``, for classes
    ``predict_proba(X)`` and ``classes_``, and ``n_parameters_`` if it has a count.
    That is enough for EM and for training in two stages.  More is declared:

    ``differentiable``, ``network``, ``set_network``
        for an expert that ``trainer="gradient"`` trains.
    ``for_classes``, ``for_values``, ``for_likelihood``
        for one that takes another class by its task.
    ``reads_sparse``
        for one that reads sparse columns.
    """

    reads_numbers = True
    #: Free parameters of a fitted expert; None if they have no count.
    n_parameters_ = None

    #: Classes that serve numbers and class labels; set beside them, where there are.
    _regressor = None
    _classifier = None
    #: Class that models variances by the likelihood of squares, if there is one.
    _of_squares = None

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the expert was fitted to."""
        return self.n_parameters_

    def network(self, n_inputs, n_outputs):
        """The :class:`~skmoe.gates.Network` whose outputs are values or logits.

        Asked for where the expert is ``differentiable``.
        """
        raise NotImplementedError

    def set_network(self, network, theta, design, center=0.0, scale=1.0):
        """Set the parameters of a network of standardised columns; returns self.

        Predictions are its outputs times ``scale``, plus ``center``.
        """
        raise NotImplementedError

    def for_classes(self):
        """The classification expert with the same parameters."""
        if self._classifier is None:
            raise ValueError(
                f"{type(self).__name__} predicts numbers only; use LinearExpert, "
                "MLPExpert or a scikit-learn classifier."
            )
        return self._classifier(**self.get_params())

    def for_likelihood(self, likelihood):
        """The regression expert for a likelihood."""
        if likelihood.is_latent:
            raise ValueError(
                f"{type(self).__name__} predicts values of y, but {likelihood!r} needs "
                "experts that follow it; use LinearExpert or AdditiveExpert."
            )
        if likelihood.link != "identity":
            raise ValueError(
                f"{type(self).__name__} predicts any number, but {likelihood!r} needs "
                f"means through a {likelihood.link} link; use LinearExpert, or a "
                "scikit-learn estimator that predicts such means."
            )
        return self.for_values()

    def of_squares(self):
        """The model of variances with the same parameters, or None for itself."""
        if self._of_squares is None:
            return None
        own = self._of_squares()
        taken, given = own.get_params(deep=False), self.get_params(deep=False)
        return own.set_params(**{k: v for k, v in given.items() if k in taken})

    def for_values(self):
        """The regression expert with the same parameters."""
        kind = type(self) if self._regressor is None else self._regressor
        return kind(**self.get_params())


class CommonCoefficients:
    """What a linear expert says of its ``common`` coefficients.

    They are fitted together with those of the other experts, by who trains the
    mixture, and pay no penalty.

    Attributes
    ----------
    common_ : ndarray of shape (c,)
        Their positions among the columns that the expert sees.
    n_common_ : int
        How many of them are free parameters, of all experts together.
    """

    common = None
    common_ = np.zeros(0, dtype=int)
    n_common_ = 0

    @property
    def shares(self):
        """Whether some of its coefficients are those of all experts."""
        return self.common is not None and len(self.common) > 0

    @property
    def streams(self):
        """Whether it gains from sums over rows, as it does by itself."""
        return not self.shares

    def check_common(self):
        """Raise ``ValueError`` for columns that make no sense, and for a lasso."""
        if self.common is None:
            return
        listed = isinstance(self.common, (list, tuple, np.ndarray))
        if not listed or not all(
            isinstance(own, (str, int, np.integer)) and not isinstance(own, bool)
            for own in self.common
        ):
            raise ValueError(
                f"LinearExpert got common={self.common!r}, but expected None or a list "
                "of names or positions of columns, such as ['age']; correct it."
            )
        if self.l1_ratio > 0 and self.shares:
            raise ValueError(
                f"LinearExpert got common={self.common!r} with "
                f"l1_ratio={self.l1_ratio!r}, but common coefficients are fitted "
                "without a lasso; use l1_ratio=0."
            )

    def for_classes(self):
        """The classification expert with the same parameters; it has no common ones."""
        if self.shares:
            raise ValueError(
                f"LinearExpert got common={self.common!r} in a classifier, but only "
                "regressors have common coefficients; for two classes use "
                "MoERegressor(likelihood='binomial'), or common=None."
            )
        return super().for_classes()

    def unpenalised(self, n_columns):
        """Positions of the columns whose coefficients pay no penalty."""
        return self.common_

    def varying(self, coef):
        """Slopes (n_outputs, p) of coefficients (n_outputs, q), zero where they pay no
        penalty."""
        slopes = coef[:, :-1].copy()
        slopes[:, self.unpenalised(slopes.shape[1])] = 0.0
        return slopes

    def varying_channels(self, n_channels):
        """Positions of slopes that pay a penalty, and of the intercept."""
        return np.delete(np.arange(n_channels), self.unpenalised(n_channels - 1))

    def penalty_scale(self):
        """Spread of each column (p,) that the penalty refers to; 0 where it is none."""
        scale = np.array(super().penalty_scale())
        scale[self.unpenalised(len(scale))] = 0.0
        return scale

    def count_varying(self, slopes, rank):
        """Free slopes of its own, of all that are not zero, up to the columns' rank."""
        shared = np.count_nonzero(slopes[:, self.common_], axis=1)
        self.n_common_ = int(np.minimum(shared, rank).sum())
        return int(np.minimum(np.count_nonzero(slopes, axis=1), rank).sum()) - (
            self.n_common_
        )


class FixedCoefficients(CommonCoefficients):
    """What a linear expert says of its ``fixed`` coefficients, which are given.

    Their keys are positions once a mixture has looked up the names of its columns.
    """

    fixed = None

    @property
    def holds(self):
        """Whether some of its coefficients are given."""
        return bool(self.fixed)

    @property
    def differentiable(self):
        """Whether it is a network, whose coefficients are all free."""
        return not self.holds

    def check_fixed(self):
        """Raise ``ValueError`` for columns, or values, that make no sense."""
        if self.fixed is None:
            return
        known = isinstance(self.fixed, Mapping) and all(
            isinstance(at, (str, int, np.integer)) and not isinstance(at, bool)
            for at in self.fixed
        )
        if not known or not all(map(_are_finite, self.fixed.values())):
            raise ValueError(
                f"LinearExpert got fixed={self.fixed!r}, but expected None or a dict "
                "of finite numbers (or one for each output) by names or positions of "
                "columns, such as {'age': 0.0}; correct it."
            )

    def held_at(self, n_columns):
        """Positions (f,) of given coefficients, of so many.

        Raises
        ------
        ValueError
            For a name, and a position that there is not.
        """
        keys = list(self.fixed or ())
        if any(isinstance(at, str) for at in keys):
            raise ValueError(
                f"LinearExpert got fixed={self.fixed!r}, but only the experts of a "
                "mixture know names of columns; give positions, such as {0: 1.0}."
            )
        if any(not -n_columns <= at < n_columns for at in keys):
            raise ValueError(
                f"LinearExpert got fixed={self.fixed!r} for {n_columns} columns; give "
                f"positions from 0 to {n_columns - 1}."
            )
        return np.array([at % n_columns for at in keys], dtype=int)

    def held(self, n_outputs, n_columns):
        """Given coefficients (n_outputs, n_columns); zero where they are fitted."""
        values = np.zeros((n_outputs, n_columns))
        if not self.holds:
            return values
        pairs = zip(self.held_at(n_columns), self.fixed.values(), strict=True)
        for at, value in pairs:
            if np.size(value) not in (1, n_outputs):
                raise ValueError(
                    f"LinearExpert got fixed={self.fixed!r} for {n_outputs} outputs; "
                    "give one number, or one for each output."
                )
            values[:, at] = np.ravel(value)
        return values

    def unpenalised(self, n_columns):
        if not self.holds:
            return super().unpenalised(n_columns)
        return np.union1d(self.common_, self.held_at(n_columns)).astype(int)

    def with_held(self, slopes, intercepts, center):
        """Slopes (n_outputs, p) with those that are given, exactly, and intercepts, in
        which columns without spread have their share."""
        if not self.holds:
            return slopes, intercepts
        at, level = self.held_at(slopes.shape[1]), intercepts + slopes @ center
        slopes[:, at] = self.held(*slopes.shape)[:, at]
        return slopes, level - slopes @ center

    def count_varying(self, slopes, rank):
        slopes = slopes.copy()
        slopes[:, self.held_at(slopes.shape[1])] = 0.0
        return super().count_varying(slopes, rank)

    def for_classes(self):
        """The classification expert with the same parameters; it holds none."""
        if self.holds:
            raise ValueError(
                f"LinearExpert got fixed={self.fixed!r} in a classifier, but only "
                "regressors have fixed coefficients; for two classes use "
                "MoERegressor(likelihood='binomial'), or fixed=None."
            )
        return super().for_classes()


def _are_finite(value):
    """Whether a value is a number, or several, without NaN and infinities."""
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return False
    return numbers.ndim <= 1 and numbers.size > 0 and bool(np.isfinite(numbers).all())


class CorrectedExpert(Stamped):
    """Base of fitted experts whose answers are corrected."""


def is_frozen(expert):
    """Whether an expert is taken as fitted and only gated."""
    return isinstance(expert, FrozenEstimator)


def seed_unseeded(estimator, rng):
    """Draw each ``random_state`` of an estimator and its parts that is None."""
    unseeded = [
        key
        for key, value in sorted(estimator.get_params(deep=True).items())
        if key.split("__")[-1] == "random_state" and value is None
    ]
    return estimator.set_params(
        **{key: int(rng.randint(np.iinfo(np.int32).max)) for key in unseeded}
    )


def seed_experts(random_state, names, experts, member=0):
    """Seed unseeded experts by name, so that neither order nor chance matters.

    Returns the seeds of the resamples of experts that take no weights.
    """
    rng = check_random_state(random_state)
    base = int(rng.randint(np.iinfo(np.int32).max, size=member + 1)[-1])
    seeds = [murmurhash3_32(name, seed=base, positive=True) for name in names]
    for seed, expert in zip(seeds, experts, strict=True):
        if not is_frozen(expert):
            seed_unseeded(expert, np.random.RandomState(seed))
    return [int(seed) for seed in seeds]


def reads_numbers(expert):
    """Whether an expert is a built-in one, frozen or not, which reads float arrays."""
    return traits(_innermost(expert)).reads_numbers


def reads_sparse(expert):
    """Whether a built-in expert is trained on sparse columns as they are."""
    return traits(_innermost(expert)).reads_sparse


def _innermost(expert):
    while isinstance(expert, (FrozenEstimator, CorrectedExpert)):
        expert = expert.estimator
    return expert
