"""How many experts, and which penalties: ``MoERegressorCV`` and ``MoEClassifierCV``."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from operator import methodcaller
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    TransformerMixin,
    clone,
)
from sklearn.metrics import check_scoring
from sklearn.utils import indexable
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from .._estimators.base import transactional
from .._estimators.classifier import MoEClassifier
from .._estimators.parameters import Worded, refuse_classes
from .._estimators.regressor import MoERegressor
from .._estimators.subjects import labels_of
from .._sklearn import HasMethods, Interval, StrOptions, fit_context
from .._tables.table import row_weights
from .._typing import Table
from .._warnings import heard, tell, tells_once
from ..data import RowSource
from ._checks import (
    check_grid,
    check_mixture,
    check_rows,
    check_sizes,
    check_source,
    sharing,
    splits_of,
    suits,
)
from ._merging import CRITERIA, n_explaining, of_size, trainer_of
from ._path import (
    PATH_TOL,
    Path,
    scores_of_fold,
    simplest_within_error,
    smallest_of_equals,
)
from ._results import candidates, ranked
from ._rows import Rows, SourceRows

# Sizes that are tried if none are given.
DEFAULT_SIZES = (1, 2, 3, 4, 5, 6)
# A fold must have this many rows for each expert that is tried on it.
ROWS_PER_EXPERT = 2


def _delegated(name):
    """Method of the chosen mixture."""

    def method(self, *args: Any, **kwargs: Any) -> Any:
        check_is_fitted(self)
        return methodcaller(name, *args, **kwargs)(self.best_estimator_)

    method.__name__ = name
    method.__doc__ = f"``{name}`` of the chosen mixture, ``best_estimator_``."
    return method


class MixtureCV(MetaEstimatorMixin, TransformerMixin, Worded):
    """What both searches share."""

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "log_density"]), None],
        "n_experts": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
        "param_grid": [dict, list, None],
        "criterion": [StrOptions({"cv", *CRITERIA})],
        "scoring": [str, callable, None],
        "cv": ["cv_object"],
        "rule": [StrOptions({"best", "one-standard-error"})],
        "warm_start_path": ["boolean"],
        "n_jobs": [numbers.Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        n_experts: int | Sequence[int] = DEFAULT_SIZES,
        param_grid: dict[str, Sequence[Any]] | None = None,
        criterion: str = "cv",
        scoring: Any = None,
        cv: Any = None,
        rule: str = "one-standard-error",
        warm_start_path: bool = True,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_experts = n_experts
        self.param_grid = param_grid
        self.criterion = criterion
        self.scoring = scoring
        self.cv = cv
        self.rule = rule
        self.warm_start_path = warm_start_path
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _mixture(self):
        return self._default() if self.estimator is None else self.estimator

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters; those of the default mixture, too, where None stands for it."""
        params = super().get_params(deep=deep)
        if deep and self.estimator is None:
            own = self._default().get_params(deep=True)
            params.update({f"estimator__{key}": value for key, value in own.items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; one of the default mixture puts it in the place of None."""
        nested = any(key.startswith("estimator__") for key in params)
        if nested and params.get("estimator", self.estimator) is None:
            inner = {k: v for k, v in params.items() if k.startswith("estimator__")}
            names = {k.removeprefix("estimator__"): v for k, v in inner.items()}
            params = {k: v for k, v in params.items() if k not in inner}
            params["estimator"] = self._default().set_params(**names)
        return super().set_params(**params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = self._mixture().__sklearn_tags__()
        tags.input_tags, tags.target_tags = inner.input_tags, inner.target_tags
        return tags

    def _sizes(self, n_rows):
        """Sizes to try: those for which the rows of a fit suffice, ascending."""
        router, owner = self._mixture().router, type(self).__name__
        sizes = check_sizes(self.n_experts, owner)
        most = max(1, n_rows // ROWS_PER_EXPERT)
        tried = [n for n in sizes if n <= most and suits(router, n, owner)]
        return tried or sizes[:1]

    @transactional
    def fit(
        self,
        X: Table,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        **sizes: Any,
    ) -> Self:
        """Fit all candidates, choose one, and fit it to all rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p), or RowSource
            A :class:`~skmoe.data.RowSource` holds y and weights itself, and is for
            ``criterion="bic"``, ``"aic"`` or ``"icl"``: candidates share its first
            pass, and each starts anew.
        y : array-like of shape (n,) or (n, n_outputs)
        sample_weight : array-like of shape (n,), default=None
        groups : array-like of shape (n,), default=None
            Rows of a group share a fold and, under EM, an expert; but if they are for a
            splitter, and columns of the gate differ within them, a fold only.
        **sizes
            ``offset`` or ``trials``, as in ``fit`` of the mixture.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For sizes or penalties that make no sense, and a source with folds.
        """
        # Values of a grid are parameters of parts, which may take classes.
        refuse_classes(self, "estimator", self.estimator)
        refuse_classes(self, "cv", self.cv)
        return self._fit(X, y, sample_weight, groups, sizes)

    @fit_context(prefer_skip_nested_validation=False)
    @tells_once
    def _fit(self, X, y, sample_weight, groups, sizes):
        mixture, owner = self._mixture(), type(self).__name__
        if isinstance(X, RowSource):
            given = {"y": y, "sample_weight": sample_weight, "groups": groups, **sizes}
            return self._fit_source(X, given)
        X, y, sample_weight, groups = indexable(X, y, sample_weight, groups)
        if sample_weight is not None:
            sample_weight = row_weights(X, sample_weight)
        sizes = {name: own for name, own in sizes.items() if own is not None}
        check_consistent_length(X, *sizes.values())
        rows, labels = Rows(X, y, sample_weight, sizes), labels_of(groups, X, owner)
        if len(np.shape(X)) != 2 or not rows.n_rows or y is None:
            # The mixture says what is wrong with one column as a list, or no row.
            mixture.fit(X, y)
        check_rows(rows.n_rows, owner)
        grid = self._grid(mixture, owner)
        own = self.cv if self.criterion == "cv" else None
        rows = rows._replace(groups=sharing(mixture, rows, labels, own))
        if self.criterion == "cv":
            return self._by_folds(rows, grid, labels)
        return self._by_criterion(rows, grid)

    def _grid(self, mixture, owner):
        tried = check_sizes(self.n_experts, owner)
        check_mixture(mixture, tried, isinstance(self, ClassifierMixin), owner)
        return check_grid(self.param_grid, mixture, owner)

    def _fit_source(self, source, given):
        owner, mixture = type(self).__name__, self._mixture()
        check_source(self.criterion, given, owner)
        grid = self._grid(mixture, owner)
        rows = SourceRows(clone(mixture).set_params(**grid[0]), source)
        return self._by_criterion(rows, grid)

    def _by_folds(self, rows, grid, groups):
        classify, owner = isinstance(self, ClassifierMixin), type(self).__name__
        splits = splits_of(self.cv, rows, groups, classify, owner)
        sizes = self._sizes(min(rows.take(train).n_units for train, _ in splits))
        path = Path(self._mixture(), sizes, grid, self.warm_start_path)
        scorer = None
        if self.scoring is not None and rows.sizes:
            raise ValueError(
                f"{type(self).__name__} got scoring={self.scoring!r} with "
                f"{sorted(rows.sizes)}, which scorers do not pass on; use "
                "scoring=None, the log-density."
            )
        if self.scoring is not None:
            scorer = check_scoring(self._mixture(), scoring=self.scoring)
        found = Parallel(n_jobs=self.n_jobs, verbose=self.verbose)(
            delayed(heard)(scores_of_fold, path, rows, train, test, scorer)
            for train, test in splits
        )
        tell([said for _, said in found])
        scores, counts, left = zip(*(own for own, _ in found), strict=True)
        scores = np.stack(scores, axis=-1).reshape(-1, len(splits))
        counts = np.mean(counts, axis=0).ravel()
        details = {f"split{fold}_test_score": own for fold, own in enumerate(scores.T)}
        with np.errstate(invalid="ignore"):
            details["std_test_score"] = scores.std(axis=1)
        self.cv_results_ = {
            **candidates(sizes, grid),
            **details,
            **ranked(scores.mean(axis=1), counts, np.mean(left, axis=0).ravel()),
        }
        best = int(np.argmax(scores.mean(axis=1)))
        if self.rule == "one-standard-error":
            # Of other scores nobody knows the unit.
            slack = PATH_TOL if scorer is None else 0.0
            best = simplest_within_error(scores, counts, slack)
        return self._commit(best, self._refit(rows, best, path))

    def _refit(self, rows, best, path):
        """The chosen candidate on all rows, by the path again where that may help."""
        params = self.cv_results_["params"][best]
        whole = clone(self._mixture()).set_params(**params)
        walks = path.warm and whole.n_members == 1
        if not walks or not trainer_of(whole).starts_anywhere:
            return rows.fit(whole)
        again = Path(path.estimator, path.sizes, [path.grid[best % len(path.grid)]])
        found = {size: model for size, _, model in again.walk(rows)}
        return self._finish(rows, best, found[params["n_experts"]])

    def _finish(self, rows, best, model):
        """The chosen fit of the path, trained to the end."""
        as_it_is = not (self.warm_start_path and rows.restarts)
        if as_it_is and self._mixture().n_members == 1:
            return model
        params = self.cv_results_["params"][best]
        whole = clone(self._mixture()).set_params(**params)
        whole = of_size(whole, n_explaining(model))
        if whole.n_members > 1:
            return rows.fit(whole)
        return rows.fit(whole, rows.responsibilities(model))

    def _by_criterion(self, rows, grid):
        sizes = self._sizes(rows.n_units)
        warm = self.warm_start_path and rows.restarts
        path = Path(self._mixture(), sizes, grid, warm)
        models, values = {}, {}
        for size, number, model in path.walk(rows):
            at = sizes.index(size) * len(grid) + number
            models[at] = model
            values[at] = rows.criteria(model)
        order = sorted(models)
        columns = np.array([values[at] for at in order]).T
        details = dict(zip(CRITERIA, columns, strict=True))
        chosen = details[self.criterion]
        counts = np.array([models[at].n_parameters_ for at in order])
        left = np.array([float(n_explaining(models[at])) for at in order])
        self.cv_results_ = {
            **candidates(sizes, grid),
            **details,
            **ranked(-chosen, counts, left),
        }
        became = np.column_stack([left, np.array(order) % len(grid)])
        best = smallest_of_equals(chosen, became, rows.total_weight)
        return self._commit(best, self._finish(rows, best, models[best]))

    def score(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **sizes: Any,
    ) -> float:
        """``score`` of the chosen mixture, ``best_estimator_``."""
        check_is_fitted(self)
        return self.best_estimator_.score(X, y, sample_weight, **sizes)

    # ``set_output`` wraps the method only where the class defines it itself.
    def transform(self, X: Table) -> NDArray:
        """Gate weights of the chosen mixture as features."""
        check_is_fitted(self)
        return self.best_estimator_.gate_proba(X)

    def _commit(self, best, model):
        self.best_index_, self.best_estimator_ = best, model
        self.best_params_ = self.cv_results_["params"][best]
        self.best_score_ = float(self.cv_results_["mean_test_score"][best])
        self.n_experts_ = n_explaining(model)
        self.n_features_in_ = model.n_features_in_
        for name in ("feature_names_in_", "classes_"):
            vars(self).pop(name, None)
            if name in vars(model):
                vars(self)[name] = vars(model)[name]
        return self

    predict = _delegated("predict")
    predict_experts = _delegated("predict_experts")
    log_density = _delegated("log_density")
    responsibilities = _delegated("responsibilities")
    gate_proba = _delegated("gate_proba")
    route = _delegated("route")
    get_feature_names_out = _delegated("get_feature_names_out")
    aic = _delegated("aic")
    bic = _delegated("bic")
    icl = _delegated("icl")


class MoERegressorCV(RegressorMixin, MixtureCV):
    """Mixture for regression with the number of experts chosen from data.

    Parameters
    ----------
    estimator : MoERegressor, default=None
        The mixture whose ``n_experts`` is chosen; None is ``MoERegressor()``.
    n_experts : int or array-like of int, default=(1, 2, 3, 4, 5, 6)
        Sizes to try; an integer is all up to it. Those that would leave an expert fewer
        than two rows are left out.
    param_grid : dict or list of dict, default=None
        Penalties, or any other parameters of the mixture, to try with every size, as in
        :class:`~sklearn.model_selection.GridSearchCV`. Order them from strong to weak:
        each fit starts from the one before.
    criterion : {"cv", "aic", "bic", "icl"}, default="cv"
        Score of held-out rows, or a criterion of the training rows.
    scoring : str or callable, default=None
        Scorer of held-out rows; None is the log-density, in nats per row.
    cv : int, splitter or iterable, default=None
        Folds; None is five.
    rule : {"one-standard-error", "best"}, default="one-standard-error"
        Whether the candidate with fewest parameters within one standard error of the
        best is chosen, paired over folds, or the best.
    warm_start_path : bool, default=True
        Whether fits start from earlier ones, too, and the better of both is kept;
        otherwise each starts anew. Either way, a size whose fit is no gain over that of
        a smaller one, or owes its likelihood to a spike, is represented by the smaller
        one.
    n_jobs : int, default=None
        Folds that are fitted at a time.
    verbose : int, default=0

    Attributes
    ----------
    best_estimator_ : fitted MoERegressor
    best_params_ : dict
    best_index_ : int
        Its row of ``cv_results_``.
    best_score_ : float
    n_experts_ : int
        Experts of ``best_estimator_``, noise apart.
    cv_results_ : dict of arrays
        A row per candidate: ``params``, ``mean_test_score``, ``std_test_score``,
        ``split0_test_score`` and so on, ``n_parameters``, ``n_experts_left`` (those
        that kept their rows, the mean over folds), ``rank_test_score``; with a
        criterion ``aic``, ``bic`` and ``icl``.

    Raises
    ------
    ValueError
        For sizes below one, a mixture with a list of experts, or more folds than rows.

    References
    ----------
    .. [1] Biernacki, C., Celeux, G., Govaert, G. (2000). Assessing a mixture model for
       clustering with the integrated completed likelihood. IEEE PAMI 22 (ICL).
    .. [2] Breiman, L., Friedman, J., Olshen, R., Stone, C. (1984). Classification and
       regression trees, section 3.4.3 (one-standard-error rule).

    Examples
    --------
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.model_selection import MoERegressorCV
    >>> X, y = make_regimes(400, random_state=0)
    >>> search = MoERegressorCV(n_experts=4, criterion="bic").fit(X, y)
    >>> search.n_experts_
    2
    """

    def _default(self):
        return MoERegressor()

    # That of scikit-learn's mixin would come first.
    score = MixtureCV.score
    predict_quantile = _delegated("predict_quantile")
    predict_interval = _delegated("predict_interval")
    predict_mode = _delegated("predict_mode")
    sample_y = _delegated("sample_y")
    outlier_proba = _delegated("outlier_proba")


class MoEClassifierCV(ClassifierMixin, MixtureCV):
    """Mixture of classifiers with the number of experts chosen from data.

    Parameters
    ----------
    estimator : MoEClassifier, default=None
        The mixture whose ``n_experts`` is chosen; None is ``MoEClassifier()``.
    n_experts, param_grid, criterion, scoring, cv, rule, warm_start_path, n_jobs, \
verbose
        As in :class:`MoERegressorCV`; folds are stratified.

    Attributes
    ----------
    best_estimator_ : fitted MoEClassifier
    classes_ : ndarray of shape (n_classes,)
    best_params_, best_index_, best_score_, n_experts_, cv_results_
        As in :class:`MoERegressorCV`.

    See Also
    --------
    MoERegressorCV : the same for numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmoe.model_selection import MoEClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> search = MoEClassifierCV(n_experts=2, criterion="bic").fit(X, y)
    >>> search.n_experts_
    1
    """

    def _default(self):
        return MoEClassifier()

    # That of scikit-learn's mixin would come first.
    score = MixtureCV.score
    predict_proba = _delegated("predict_proba")
    predict_log_proba = _delegated("predict_log_proba")
