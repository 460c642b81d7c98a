"""``DaskMoERegressor`` and ``DaskMoEClassifier``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._estimators.classifier import MoEClassifier
from .._estimators.regressor import MoERegressor
from .._sklearn import StrOptions
from .._typing import Columns, Experts, Part, Table
from ._lazy import Answer
from ._mixture import CLIENT, PLACEMENT, PLACEMENTS, DaskMixture


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
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
        **given: Any,
    ) -> Self:
        """Fit gate and experts together.

        Parameters
        ----------
        X : dask array or data frame of shape (n, p)
            Partitions are cut over rows, may be uneven and empty.
        y : dask array, series or data frame of shape (n,) or (n, n_outputs)
        sample_weight : dask array or series of shape (n,), default=None
        offset, trials : dask array or series of shape (n,), default=None
            As in :meth:`skmoe.MoERegressor.fit`.
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
        sizes = {"offset": offset, "trials": trials}
        return super().fit(X, y, sample_weight, **sizes, **given)

    def predict(self, X: Table, return_std: bool = False, **sizes: Any) -> Any:
        """Mean of the mixture, shape (n,) or (n, n_outputs).

        Lazy for a Dask collection; with its standard deviation if that is asked for.
        ``sizes`` are ``offset`` or ``trials``, as of
        :meth:`skmoe.MoERegressor.predict`; Dask collections for those of Dask.
        """
        if not self._asked_lazily(X):
            return super().predict(X, return_std, **sizes)
        target = self._learned.target
        tail = () if target.n_dims == 1 else (target.n_outputs,)
        answers = (Answer(tail, np.dtype(float)),) * (1 + bool(return_std))
        options = {"return_std": True} if return_std else {}
        return self._lazily(self.local.predict, answers, {"X": X}, sizes, **options)


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
