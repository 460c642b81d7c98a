"""What mixtures on Dask collections have in common."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .._estimators.batches import batches_for
from .._estimators.routed import are_linear
from .._estimators.sources import fit_after, refuse_others, serves_sums
from .._estimators.target import check_given, check_takes
from .._estimators.views import Reading
from .._tables.frames import is_collection
from .._typing import Table
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
        given = {"start": start, "groups": groups, **fit_params}
        if parts.trainer.spreads:
            return self._fit_spread(parts, rows, {**given, **sizes})
        refuse_others(self, parts, given, "Dask collections", can_train)
        rows |= given_sizes(self, parts.likelihood, sizes)
        batches = batches_for(Reading(parts.asked, parts.gate.node_gate))
        workers = Workers(client_of(self), partitions(self, **rows)[0], list(rows))
        try:
            first = WorkerPass(self, workers, parts.support, batches)
            fit_after(self, parts, first, X)
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

    def _lazily(self, method, answers, collections, sizes=None, **options):
        sizes = given_sizes(self, self.likelihoods_[0], sizes or {})
        rows, local = partitions(self, **collections, **sizes), self.to_local()
        routes = method in self._routed and not options
        if sizes:
            method = partial(with_sizes, method, [*sizes])
        if self.placement == "replicate" or are_linear(self.experts_):
            return lazily(local, method, answers, rows, options)
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
        refuse_given(self, {"groups": groups})
        asked = self.local.responsibilities, self._per_expert()
        return self._lazily(*asked, {"X": X, "y": y}, sizes)

    def log_density(
        self, X: Table, y: ArrayLike, groups: ArrayLike | None = None, **sizes: Any
    ) -> Any:
        """Natural logarithm of p(y_i | x_i), in units of y, shape (n,).

        Lazy for Dask collections.
        """
        if not self._asked_lazily(X):
            return super().log_density(X, y, groups, **sizes)
        refuse_given(self, {"groups": groups})
        answers = (Answer((), np.dtype(float)),)
        return self._lazily(self.local.log_density, answers, {"X": X, "y": y}, sizes)


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


def given_sizes(model, likelihood, sizes):
    """Offsets or trials that are given, by name, for a likelihood that takes them."""
    given = {name: own for name, own in sizes.items() if own is not None}
    check_takes(likelihood, type(model).__name__, given)
    return given


def with_sizes(method, names, model, *rows, **options):
    """What a method says of rows, of which the last arrays are arguments by name."""
    n_rows = len(rows) - len(names)
    sizes = dict(zip(names, rows[n_rows:], strict=True))
    return method(model, *rows[:n_rows], **sizes, **options)
