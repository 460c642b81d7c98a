"""``DaskMoERegressor`` and ``DaskMoEClassifier``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .._estimators.classifier import MoEClassifier
from .._estimators.regressor import MoERegressor
from .._estimators.routed import are_linear
from .._estimators.sources import fit_after, refuse_others, serves_sums
from .._estimators.target import check_given
from .._sklearn import StrOptions
from .._tables.frames import is_collection
from .._typing import Columns, Experts, Part, Table
from ..trainers._em.gathered import can_gather
from ._collections import check_collections, client_of, partitions
from ._engine import WorkerPass, Workers
from ._lazy import Answer, lazily
from ._shards import sharded
from ._spread import Crew, SpreadTwoStage, brought

CLIENT, PLACEMENT = "client", "placement"
# What a mixture of rows in memory has no use for.
OWN = CLIENT, PLACEMENT
PLACEMENTS = "replicate", "shard"


class DaskMixture:
    """Training on partitions, and lazy answers; a mixin of estimators.

    A subclass gives ``local``, the estimator of rows in memory that it is otherwise.
    """

    local: Any = None
    # Methods that ask an expert for the rows that are routed to it.
    _routed = ()

    # -- the client ----------------------------------------------------------------

    def __getstate__(self):
        return {**super().__getstate__(), CLIENT: None}

    def __sklearn_clone__(self):
        # A client can be neither copied nor pickled; a shallow copy is without it.
        bare = object.__new__(type(self))
        vars(bare).update({**vars(self), CLIENT: None})
        other = BaseEstimator.__sklearn_clone__(bare)
        other.client = self.client
        return other

    def to_local(self) -> Any:
        """The same fitted mixture as an estimator of rows in memory.

        Returns
        -------
        MoERegressor or MoEClassifier
            Predicts the same to the last bit.
        """
        other = self._unfitted()
        vars(other).update(fitted_state(self))
        return other

    def _unfitted(self):
        """The estimator of rows in memory with the same parameters."""
        parameters = self.get_params(deep=False).items()
        own = {k: clone(v, safe=False) for k, v in parameters if k not in OWN}
        return self.local(**own)

    # -- fitting -------------------------------------------------------------------

    def _fit(self, X, y, sample_weight, fit_params, sizes, start=None, groups=None):
        check_given(y, type(self).__name__)
        rows = {"X": X, "y": y, "sample_weight": sample_weight}
        rows = {name: own for name, own in rows.items() if own is not None}
        check_collections(self, **rows)
        parts = self._resolve()
        given = {"start": start, "groups": groups, **sizes, **fit_params}
        if parts.trainer.spreads:
            return self._fit_spread(parts, rows, given)
        refuse_others(self, parts, given, "Dask collections", can_train)
        workers = Workers(client_of(self), partitions(self, **rows)[0])
        try:
            fit_after(self, parts, WorkerPass(self, workers, parts.support), X)
        finally:
            workers.let_go()
        self.history_["communication"] = workers.communication()
        return self

    def _fit_spread(self, parts, rows, given):
        """Fit as the local estimator does, with the fits of experts on workers."""
        refuse_given(self, given)
        client = client_of(self)
        crew = Crew(client)
        local = self._unfitted()
        local.set_params(trainer=SpreadTwoStage.of(parts.trainer, crew))
        local.fit(**dict(zip(rows, self._brought(client, rows), strict=True)))
        vars(self).update(fitted_state(local))
        self.history_["communication"] = crew.communication()
        return self

    def _brought(self, client, rows):
        """All rows of collections in this process."""
        return brought(client, partitions(self, **rows)[0])

    # -- answers -------------------------------------------------------------------

    def _asked_lazily(self, X):
        """Whether rows are of Dask, for which the mixture has to be fitted."""
        lazy = is_collection(X)
        if lazy:
            check_is_fitted(self)
        return lazy

    def _lazily(self, method, answers, collections, **options):
        rows, local = partitions(self, **collections), self.to_local()
        if self.placement == "replicate" or are_linear(self.experts_):
            return lazily(local, method, answers, rows, options)
        routes = method in self._routed and not options
        return sharded(local, method, answers, rows, options, routes)

    def _per_expert(self):
        return (Answer((self.n_experts_,), np.dtype(float)),)

    def gate_proba(self, X: Table) -> Any:
        """Gate weights after routing, shape (n, K); lazy for a Dask collection."""
        if not self._asked_lazily(X):
            return super().gate_proba(X)
        return self._lazily(self.local.gate_proba, self._per_expert(), {"X": X})

    def responsibilities(
        self, X: Table, y: ArrayLike, groups: ArrayLike | None = None, **sizes: Any
    ) -> Any:
        """Posterior probability of each expert given x and y, shape (n, K).

        Lazy for Dask collections.
        """
        if not self._asked_lazily(X):
            return super().responsibilities(X, y, groups, **sizes)
        refuse_sizes(self, {"groups": groups, **sizes})
        rows = {"X": X, "y": y}
        return self._lazily(self.local.responsibilities, self._per_expert(), rows)

    def log_density(
        self, X: Table, y: ArrayLike, groups: ArrayLike | None = None, **sizes: Any
    ) -> Any:
        """Natural logarithm of p(y_i | x_i), in units of y, shape (n,).

        Lazy for Dask collections.
        """
        if not self._asked_lazily(X):
            return super().log_density(X, y, groups, **sizes)
        refuse_sizes(self, {"groups": groups, **sizes})
        answers = (Answer((), np.dtype(float)),)
        return self._lazily(self.local.log_density, answers, {"X": X, "y": y})


def can_train(parts):
    """Whether experts gain from sums, or can be refitted one by one."""
    return serves_sums(parts) or can_gather(parts)


def fitted_state(model):
    """All that a fitted mixture has besides its parameters."""
    left_out = {*OWN, *model.get_params(deep=False)}
    return {name: own for name, own in vars(model).items() if name not in left_out}


def refuse_given(model, given):
    """Raise ``ValueError`` for arguments of ``fit`` that are no columns of X or y."""
    for name, own in given.items():
        if own is not None:
            raise ValueError(
                f"{type(model).__name__} got Dask collections with {name}=..., but "
                f"expected X, y and sample_weight; use {type(model).local.__name__} "
                "with the rows as arrays."
            )


def refuse_sizes(model, sizes):
    """Raise ``ValueError`` for exposures or trials of rows that are of Dask."""
    given = [name for name, own in sizes.items() if own is not None]
    if given:
        raise ValueError(
            f"{type(model).__name__} got {given[0]} with a Dask collection, for which "
            "it expects None; use X.map_partitions with model.to_local()."
        )


class DaskMoERegressor(DaskMixture, MoERegressor):
    """``MoERegressor`` on Dask arrays and data frames.

    The rows stay on the workers.  Each pass of training sends the parameters to them,
    and adds up the sums that come back in one fixed tree: neither partitions nor the
    number of workers nor the loss of one changes a bit of the result, which is that of
    a fit to a :class:`~skmoe.data.RowSource` of the same rows.  The same parts train
    as from a ``RowSource``, and estimators of other libraries as experts: each is
    refitted on one worker, to which its rows are brought.  With two stages the rows
    are brought to the client, and experts are fitted to folds by the workers.  Other
    parts are refused by name.

    Parameters
    ----------
    experts, n_experts, gate, router, trainer, likelihood, noise, \
zero_inflation, shared_expert, gate_features, expert_features, n_members, n_init, \
warm_start, n_jobs, random_state, verbose
        As of :class:`~skmoe.MoERegressor`; ``n_jobs`` are threads of the client, for
        starts on the sample of rows.  Workers have threads of their own.
    client : distributed.Client, default=None
        Whose workers train; None for the client that is there when ``fit`` is called.
        It is neither copied nor pickled with the estimator.
    placement : {"replicate", "shard"}, default="replicate"
        Where experts are when lazy answers are computed: all of them on each worker, or
        each on one, to which rows are sent.  Linear ones are always on each.

    Attributes
    ----------
    history_ : dict
        As of :class:`~skmoe.MoERegressor`.  In it ``communication`` is a dict of lists
        with an entry per pass, the first one included: bytes ``sent`` to the workers
        and ``received`` from them, and ``seconds``; also the number of ``workers`` and
        ``tasks`` of a pass, bytes of rows that moved before the first one (``recut``),
        and that each M-step brought to experts of other libraries (``gathered``).

    See Also
    --------
    skmoe.MoERegressor : the other attributes, and all parameters.

    Notes
    -----
    The rows that training reads are held by the workers, spilled to disk as Dask does;
    they should fit into the memory of all of them.

    References
    ----------
    .. [1] Rocklin, M. (2015). Dask: parallel computation with blocked algorithms and
       task scheduling. SciPy.
    .. [2] Chu, C.-T. et al. (2007). Map-reduce for machine learning on multicore. NIPS.

    Examples
    --------
    >>> import dask.array as da  # doctest: +SKIP
    >>> from distributed import Client  # doctest: +SKIP
    >>> from skmoe.distributed import DaskMoERegressor
    >>> client = Client(processes=False)  # doctest: +SKIP
    >>> X = da.random.normal(size=(10_000, 3), chunks=2_500)  # doctest: +SKIP
    >>> y = abs(X[:, 0])  # doctest: +SKIP
    >>> model = DaskMoERegressor(n_experts=2).fit(X, y)  # doctest: +SKIP
    >>> model.predict(X).compute().shape  # doctest: +SKIP
    (10000,)
    >>> local = model.to_local()  # doctest: +SKIP
    """

    local = MoERegressor
    _routed = (MoERegressor.predict,)
    _parameter_constraints = {
        **MoERegressor._parameter_constraints,
        CLIENT: "no_validation",
        PLACEMENT: [StrOptions({*PLACEMENTS})],
    }

    def __init__(
        self,
        experts: Experts = None,
        n_experts: int | str = "auto",
        *,
        client: Any = None,
        placement: str = "replicate",
        gate: Part = "softmax",
        router: int | BaseEstimator | None = None,
        trainer: Part = "em",
        likelihood: Part = "gaussian",
        noise: bool | str = False,
        zero_inflation: bool = False,
        shared_expert: BaseEstimator | None = None,
        gate_features: Columns = None,
        expert_features: Columns = None,
        n_members: int = 1,
        n_init: int = 1,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            experts,
            n_experts,
            gate=gate,
            router=router,
            trainer=trainer,
            likelihood=likelihood,
            noise=noise,
            zero_inflation=zero_inflation,
            shared_expert=shared_expert,
            gate_features=gate_features,
            expert_features=expert_features,
            n_members=n_members,
            n_init=n_init,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.client = client
        self.placement = placement

    def fit(
        self,
        X: Table,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        **given: Any,
    ) -> Self:
        """Fit gate and experts together.

        Parameters
        ----------
        X : dask array or data frame of shape (n, p)
            Partitions are cut over rows, may be uneven and empty.
        y : dask array, series or data frame of shape (n,) or (n, n_outputs)
        sample_weight : dask array or series of shape (n,), default=None
        **given
            What :meth:`skmoe.MoERegressor.fit` takes besides is refused by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used; a model that was fitted
            before is left as it was.
        """
        return super().fit(X, y, sample_weight, **given)

    def predict(self, X: Table, return_std: bool = False, **sizes: Any) -> Any:
        """Mean of the mixture, shape (n,) or (n, n_outputs).

        Lazy for a Dask collection; with its standard deviation if that is asked for.
        ``sizes`` are of rows in memory, as of :meth:`skmoe.MoERegressor.predict`.
        """
        if not self._asked_lazily(X):
            return super().predict(X, return_std, **sizes)
        refuse_sizes(self, sizes)
        target = self._learned.target
        tail = () if target.n_dims == 1 else (target.n_outputs,)
        answers = (Answer(tail, np.dtype(float)),) * (1 + bool(return_std))
        options = {"return_std": True} if return_std else {}
        return self._lazily(self.local.predict, answers, {"X": X}, **options)


class DaskMoEClassifier(DaskMixture, MoEClassifier):
    """``MoEClassifier`` on Dask arrays and data frames.

    See :class:`DaskMoERegressor`.

    Parameters
    ----------
    experts, n_experts, gate, router, trainer, class_weight, shared_expert, \
gate_features, expert_features, n_members, n_init, warm_start, n_jobs, random_state, \
verbose
        As of :class:`~skmoe.MoEClassifier`.
    client : distributed.Client, default=None
        Whose workers train; None for the client that is there when ``fit`` is called.
        It is neither copied nor pickled with the estimator.
    placement : {"replicate", "shard"}, default="replicate"
        Where experts are when lazy answers are computed: all of them on each worker, or
        each on one, to which rows are sent.  Linear ones are always on each.

    Attributes
    ----------
    history_ : dict
        With ``communication`` as of :class:`DaskMoERegressor`.

    See Also
    --------
    skmoe.MoEClassifier : the other attributes, and all parameters.

    Examples
    --------
    >>> from skmoe.distributed import DaskMoEClassifier
    >>> model = DaskMoEClassifier(n_experts=2)
    >>> model.fit(X, y).predict_proba(X)  # doctest: +SKIP
    """

    local = MoEClassifier
    _routed = MoEClassifier.predict, MoEClassifier.predict_proba
    _parameter_constraints = {
        **MoEClassifier._parameter_constraints,
        CLIENT: "no_validation",
        PLACEMENT: [StrOptions({*PLACEMENTS})],
    }

    def __init__(
        self,
        experts: Experts = None,
        n_experts: int | str = "auto",
        *,
        client: Any = None,
        placement: str = "replicate",
        gate: Part = "softmax",
        router: int | BaseEstimator | None = None,
        trainer: Part = "em",
        class_weight: dict[Any, float] | str | None = None,
        shared_expert: BaseEstimator | None = None,
        gate_features: Columns = None,
        expert_features: Columns = None,
        n_members: int = 1,
        n_init: int = 1,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            experts,
            n_experts,
            gate=gate,
            router=router,
            trainer=trainer,
            class_weight=class_weight,
            shared_expert=shared_expert,
            gate_features=gate_features,
            expert_features=expert_features,
            n_members=n_members,
            n_init=n_init,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.client = client
        self.placement = placement

    def fit(
        self,
        X: Table,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        **given: Any,
    ) -> Self:
        """Fit gate and experts together; see :meth:`DaskMoERegressor.fit`.

        Parameters
        ----------
        X : dask array or data frame of shape (n, p)
        y : dask array or series of shape (n,)
        sample_weight : dask array or series of shape (n,), default=None
        **given
            What :meth:`skmoe.MoEClassifier.fit` takes besides is refused by name.

        Returns
        -------
        self
        """
        return super().fit(X, y, sample_weight, **given)

    def predict_proba(self, X: Table) -> Any:
        """Class probabilities, shape (n, n_classes); lazy for a Dask collection."""
        if not self._asked_lazily(X):
            return super().predict_proba(X)
        answers = (Answer(self.classes_.shape, np.dtype(float)),)
        return self._lazily(self.local.predict_proba, answers, {"X": X})

    def predict(self, X: Table) -> Any:
        """Most probable label, shape (n,); lazy for a Dask collection."""
        if not self._asked_lazily(X):
            return super().predict(X)
        answers = (Answer((), self.classes_.dtype),)
        return self._lazily(self.local.predict, answers, {"X": X})
