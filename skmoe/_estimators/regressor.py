"""``MoERegressor``."""

from __future__ import annotations

from typing import Any, Literal, Self, overload

from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import r2_score

from .. import mixture
from .._sklearn import HasMethods, StrOptions, available_if, with_callbacks
from .._tables.table import relative_weights
from .._typing import Columns, Experts, Part, Table
from . import answers
from .base import BaseMoE, can_partial_fit, checked
from .evaluation import check_in_memory
from .parts import CONSTANT
from .predictive import Predictive
from .sources import sized_in_batches
from .target import ValueTarget


class MoERegressor(RegressorMixin, Predictive, BaseMoE):
    """Mixture of experts for regression, p(y|x) = sum_k g_k(x) p_k(y|x).

    A gate decides how far each expert is responsible for a row; gate and experts are
    fitted together. The prediction is the mean of the mixture.

    Parameters
    ----------
    experts : {"linear", "additive", "mlp", "auto"}, estimator, or list of \
estimators or (name, estimator), default=None
        ``None`` and ``"linear"`` stand for :class:`~skmoe.experts.LinearExpert`,
        ``"additive"`` for :class:`~skmoe.experts.AdditiveExpert`, curves of raw tables,
        ``"mlp"`` for :class:`~skmoe.experts.MLPExpert`. One estimator is
        cloned ``n_experts`` times; a list may mix kinds, strings among them.
        ``"auto"`` is :class:`~skmoe.experts.AutoPool`, different experts for raw
        tables, made for
        ``trainer="two-stage"``.  What is set of a preset, as by
        ``set_params(experts__alpha=1.0)``, puts its object in its place, here and in
        the parameters below.
    n_experts : int or "auto", default="auto"
        Number of experts; ignored where ``experts`` is a list.  ``"auto"`` is as many
        as rows that are held out say they pay, at most four: one, unless log-densities
        (and squared errors, where the gate reads anything) of two or four are better
        by more than noise.  The fit is
        then that of this number, which ``history_["n_experts"]`` explains and
        ``warm_start`` keeps.  Responsibilities that are given, and features that are
        given to experts by name, settle the number; ``partial_fit`` chooses on the
        first batch under EM, and begins with four under a gradient.
    gate : {"softmax", "additive", "mlp", "sigmoid", "gaussian", "constant"}, gate or \
classifier, default="softmax"
        What weighs the experts for each row. A scikit-learn classifier is fitted to
        soft targets through sample weights;
        :class:`~skmoe.gates.GroupGate` takes known segments, ``"additive"``
        (:class:`~skmoe.gates.AdditiveGate`) curves of raw tables.
    router : int or router, default=None
        ``None`` is a dense mixture, an integer k keeps the k most probable experts
        of each row (:class:`~skmoe.routers.TopKRouter`).
    trainer : {"em", "hard-em", "gradient", "two-stage"} or trainer, default="em"
        How the parts are fitted together.
    likelihood : {"gaussian", "heteroscedastic", "student-t", "laplace", "poisson", \
"negative-binomial", "binomial", "gamma", "weibull", "log-normal", "inverse-gaussian", \
"tweedie", "beta", "ordinal"}, likelihood, list or dict, default="gaussian"
        Density of y around the prediction of an expert, from :mod:`skmoe.likelihoods`.
        All but the Gaussian need EM; two stages know the heteroscedastic one, too.  A
        list, or a dict by the names of the experts, gives each its own: families of one
        link, which take the same exposures, all of counts or none.
    noise : bool or "constant", default=False
        Whether a last component with constant density takes the rows that no expert
        explains; see :meth:`outlier_proba`. Point predictions leave it out. EM only.
        With True the gate gives noise its share, which may depend on x; with
        ``"constant"`` the share is the same for every row, and ``gate_`` is a tree with
        noise beside the gate of the experts. A sparse router keeps the most probable
        experts, of which noise is hardly ever one.
    zero_inflation : bool, default=False
        Whether a last component, named ``"zero"``, is zero for certain, with a share
        that the gate gives it: for counts with more zeros than their family has
        (``"poisson"``, ``"negative-binomial"``, ``"binomial"``), and for amounts whose
        family has none (``"gamma"``, ``"weibull"``, ``"log-normal"``,
        ``"inverse-gaussian"``, ``"beta"``), where it takes all zeros. It is a part of
        every prediction. EM only, without a router, and not beside ``noise``.
    shared_expert : {"linear", "additive", "mlp"} or estimator, default=None
        Active for every row. It is fitted first; the routed experts are trained on its
        out-of-fold residuals, and their predictions are added to its own. It may be a
        mixture itself: few experts first, more of them after (a pyramid). A
        ``FrozenEstimator`` is taken as fitted on other rows.
    gate_features : None, str, selector or transformer, default=None
        What the gate sees: ``None`` for X as it is (as numbers, where the experts are
        a pool); a list, slice, mask or callable
        that selects columns; a transformer, which is cloned and fitted once;
        ``"piecewise-linear"`` for continuous piecewise-linear columns.
    expert_features : None, str, selector, transformer or dict, default=None
        The same for the experts, or a dict from expert name to one of these;
        ``"shared_expert"`` in a dict names the shared one, which otherwise sees X as
        it is.
    n_members : int, default=1
        Number of independently started mixtures that are averaged; the average is
        one mixture of all their experts.
    n_init : int, default=1
        Starts; more than one adds random starts to the deterministic ones. Short
        runs choose the quarter of them that is run to the end.
    warm_start : bool, default=False
        Continue from the last fit, which must have read the same columns, outputs and
        classes.
    n_jobs : int, default=None
        Threads over rows (linear experts) or over experts (others). Results do not
        depend on it.
    random_state : int, RandomState or None, default=None
        Seeds random starts, resamples and unseeded experts.
    verbose : int, default=0
        Print how training comes on, in some twenty lines; 2 for each iteration.

    Attributes
    ----------
    gate_ : fitted gate
    router_ : router
    experts_ : list of fitted experts, length K
    named_experts_ : dict of str to fitted expert
    shared_expert_ : fitted estimator or None
    n_experts_ : int
        K, experts that are left after fitting.
    n_groups_ : int or None
        Groups of rows that were given to ``fit``, those of positive weight.
    likelihoods_ : list of fitted likelihoods
    n_parameters_ : int or None
        Free parameters; None if a part has no count.
    log_likelihood_ : float
        Weighted total over the training rows, in nats, of what was trained: with that
        of standardised x under a Gaussian gate, of the classification under hard EM, of
        the dense mixture under ``TopPRouter``.
    lower_bounds_ : list of float
        Penalised objective per unit of weight, per iteration of the winning start; it
        may fall where an expert is removed.
    n_iter_ : int
    converged_ : bool
    expert_load_ : ndarray of shape (K,)
        Share of the training rows that each expert is responsible for.
    history_ : dict
        Per iteration ``bound`` and ``load`` of the experts asked for; ``rejected``, the
        number of moves that were refused because they lowered the objective. Under EM
        ``removed`` says which ``expert`` was removed after which ``iteration``, at what
        ``load`` and for what ``reason``; ``restart`` has the iterations at which it
        went on without it, ``soft_bound`` the objective of soft training before a
        router limited the experts of a row, and ``prediction`` what
        ``EM(objective="prediction")`` did at the end.  With ``n_experts="auto"`` the
        entry ``n_experts`` is a dict of what was ``chosen`` out of which
        ``candidates``, the ``reason``, and what was ``compared``: for each number of
        experts whether it ``pays`` ``beside`` how many, how many were left
        (``n_left``), and what held-out rows gain by them, with standard errors, or
        why a trial was ``refused``.  A fit to a
        ``RowSource`` says how many ``rows`` it read in how many ``passes``.
    gate_features_ : fitted transformer or None
        What turns X into what the gate sees; None for X as it is.
    expert_features_ : list of fitted transformers or None, length K
        The same for each of ``experts_``.
    expert_pool_ : list of PoolMember
        Members of the pool, with the reason for each that was left out; with
        ``experts="auto"``.
    members_ : list of fitted estimators
        The parts of the average, with ``n_members > 1``.

    See Also
    --------
    MoEClassifier : the same for classes.

    References
    ----------
    .. [1] Jacobs, R. A., Jordan, M. I., Nowlan, S. J., Hinton, G. E. (1991). Adaptive
       mixtures of local experts. Neural Computation 3, 79-87.
    .. [2] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, 181-214.
    .. [3] Rajbhandari, S. et al. (2022). DeepSpeed-MoE. ICML, section 4.1 (residual
       and pyramid mixtures).

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> X, y = make_regimes(n_samples=500, noise=0.5, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> model.gate_proba(X[:3]).shape
    (3, 2)
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    _classify = False
    _target = ValueTarget
    _parameter_constraints = {
        **BaseMoE._parameter_constraints,
        "likelihood": [
            str,
            HasMethods(["log_prob", "at", "fit_dispersions"]),
            list,
            tuple,
            dict,
        ],
        "noise": ["boolean", StrOptions({CONSTANT})],
        "zero_inflation": ["boolean"],
    }

    def __init__(
        self,
        experts: Experts = None,
        n_experts: int | str = "auto",
        *,
        gate: Part = "softmax",
        router: int | BaseEstimator | None = None,
        trainer: Part = "em",
        likelihood: Part = "gaussian",
        noise: bool | str = False,
        zero_inflation: bool = False,
        shared_expert: Part | None = None,
        gate_features: Columns = None,
        expert_features: Columns = None,
        n_members: int = 1,
        n_init: int = 1,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.experts = experts
        self.n_experts = n_experts
        self.gate = gate
        self.router = router
        self.trainer = trainer
        self.likelihood = likelihood
        self.noise = noise
        self.zero_inflation = zero_inflation
        self.shared_expert = shared_expert
        self.gate_features = gate_features
        self.expert_features = expert_features
        self.n_members = n_members
        self.n_init = n_init
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @with_callbacks
    @checked
    def fit(
        self,
        X: Table,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        start: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Self:
        """Fit gate and experts together.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p), or RowSource
            A :class:`~skmoe.data.RowSource` holds all of these itself, and is read
            batch by batch, once per pass.
        y : array-like of shape (n,) or (n, n_outputs)
        sample_weight : array-like of shape (n,), default=None
            A weight of zero counts as no row, a weight of two as the row twice: exactly
            so under EM, but for routers that share out rows; nearly so where folds or
            batches are drawn by row (training by gradient, in two stages, or beside a
            shared expert).
        groups : array-like of shape (n,), default=None
            Rows of a group belong together. Under EM they share one expert, and the
            gate, whose columns must be constant within a group, sees them once; the
            weight of a group is the largest of its rows', beside which another row is
            so much less evidence. In two stages they share a fold; by gradient, which
            learns row by row, they are held out together.
        start : array-like of shape (n,) or (n, K), default=None
            Where EM or a gradient starts, in place of ``n_init`` starts of their own:
            labels, which are numbers or names of experts, or any others in sorted
            order; or responsibilities. Experts keep that order. With ``groups`` also
            one row per group.
        offset : array-like of shape (n,), default=None
            Logarithm of the exposure that y was counted in, for likelihoods with a log
            link: experts model the rate per unit of exposure.
        trials : array-like of shape (n,), default=None
            Numbers of trials of a binomial likelihood, one if not given; experts model
            the chance of success.
        **fit_params
            Routed to the experts where metadata routing is enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used; a model that was fitted
            before is left as it was.
        """
        sizes = {"offset": offset, "trials": trials}
        return self._fit(X, y, sample_weight, fit_params, sizes, start, groups)

    @available_if(can_partial_fit)
    @checked
    def partial_fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        freeze: str | list[str] | None = None,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> Self:
        """Learn from a further batch of rows: a step of EM, or a pass of the gradient.

        Under EM, which takes linear and additive experts of all families under softmax,
        additive, Gaussian or constant gates, the first call is a fit to its batch,
        which says how many experts pay if ``n_experts="auto"``. Each call after it adds
        the sums of its rows to those so far, which count for less and less
        (``step_exponent`` and ``step`` of :class:`~skmoe.trainers.EM`), and takes one
        M-step, which is a Newton step where it is no least squares, within the active
        experts of a ``router``; no expert is removed. Without a constant ``step`` the
        first rows, 150 for each coefficient of each expert and 20 000 at most, are kept
        and fitted anew each time they have doubled, so that a small first batch does
        not settle the roles of the experts.

        ``history_["log_density"]`` has the mean log-density of each of the last
        thousand batches before it was learned, which falls where the rows change,
        ``lower_bounds_`` the objective of the sums.

        The first call in which they have any spread fixes how columns and target are
        standardised; the first of all fits the shared expert, if there is one, and
        fixes the knots and levels of curves. Later
        calls should bring rows that it has not seen: what it leaves of its own rows is
        too small.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, n_outputs)
        sample_weight : array-like of shape (n,), default=None
        freeze : None, "experts", "gate" or list of str, default=None
            What stays as it is: all experts, the gate, or the experts named.
            Under EM not in the first call.
        offset, trials : array-like of shape (n,), default=None
            Of the rows of the batch, as in :meth:`fit`.

        Returns
        -------
        self

        Raises
        ------
        AttributeError
            Under a trainer that needs all rows at once, or for parts of which EM keeps
            no sums over rows.
        ValueError
            For rows or parameters that cannot be used, and under EM after a ``fit``
            that has kept no sums; the model is left as it was.

        References
        ----------
        .. [1] Cappé, O., Moulines, E. (2009). On-line expectation-maximization
           algorithm for latent data models. J. R. Stat. Soc. B 71, 593-613.
        """
        sizes = {"offset": offset, "trials": trials}
        return self._partial_fit(X, y, sample_weight, freeze, sizes=sizes)

    @overload
    def predict(
        self, X: Table, return_std: Literal[False] = False, **sizes: Any
    ) -> NDArray: ...

    @overload
    def predict(
        self, X: Table, return_std: Literal[True], **sizes: Any
    ) -> tuple[NDArray, NDArray]: ...

    @overload
    def predict(
        self, X: Table, return_std: bool, **sizes: Any
    ) -> NDArray | tuple[NDArray, NDArray]: ...

    @sized_in_batches
    def predict(
        self,
        X: Table,
        return_std: bool = False,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray | tuple[NDArray, NDArray]:
        """Mean of the mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p), or RowSource
            For a source the answer is an iterator over its batches.
        return_std : bool, default=False
            Also return the standard deviation of the mixture: the spread of each
            expert and the disagreement between them; after training in two stages
            scaled to the errors of rows left out.
        offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`; without them the mean is a rate, or a chance.

        Returns
        -------
        mean : ndarray of shape (n,) or (n, n_outputs)
        std : ndarray of the same shape
            Only with ``return_std=True``.
        """
        own, seen = answers.see(self, X, offset=offset, trials=trials)
        shaped = own.target.shaped
        if not return_std and not own.has_noise:
            return shaped(own.mean(seen))
        components = own.explained(seen)
        mean = shaped(mixture.mean(components.weights, components.means()))
        return (mean, shaped(own.std(components))) if return_std else mean

    def score(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> float:
        """Coefficient of determination of :meth:`predict`, R^2."""
        check_in_memory(self, X)
        predicted = self.predict(X, offset=offset, trials=trials)
        answers.tell_left_out(self, {"offset": offset, "trials": trials})
        if sample_weight is not None:
            sample_weight = relative_weights(predicted, sample_weight)
        return r2_score(y, predicted, sample_weight=sample_weight)

    def predict_experts(
        self,
        X: Table,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
        """Mean of every expert, shape (n, K) or (n, K, n_outputs).

        That of a noise component is the middle of its range.
        """
        own, seen = answers.see(self, X, offset=offset, trials=trials)
        means = own.components(seen).means()
        return means[:, :, 0] if own.target.n_dims == 1 else means
