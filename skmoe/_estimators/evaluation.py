"""What a fitted mixture answers, whatever its task: densities, routes, criteria."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from .. import mixture
from .._numerics.design import evidence
from .._sklearn import check_names_in
from .._typing import Table
from .._warnings import warn
from ..data import RowSource
from ..exceptions import did_you_mean
from ..experts._counts import expert_parameters
from ..routers import Routing
from . import answers
from .parts import SHARED
from .sources import densities, refuse_sizes, source_parts

# What criteria may count.
COUNTS = "groups", "rows"


class Evaluation:
    """Methods that only read fitted attributes."""

    named_experts_: dict[str, Any]
    # None where an expert has no count, which criteria refuse.
    n_parameters_: Any

    def gate_proba(self, X: Table) -> NDArray:
        """Gate weights after routing.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n, K)
            Rows sum to one; experts that do not serve a row have weight zero.
        """
        return answers.route(self, X).dense()

    def route(self, X: Table) -> Routing:
        """Active experts of each row, and their weights.

        Returns
        -------
        skmoe.routers.Routing
        """
        return answers.route(self, X)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Names of the columns of :meth:`transform`: those of the experts.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X, only to be checked against those of ``fit``.
        """
        check_is_fitted(self)
        check_names_in(self, input_features, generate_names=False)
        return np.asarray(list(self.named_experts_), dtype=object)

    @densities(mixture.log_density)
    def log_density(
        self, X: Table, y: ArrayLike, groups: ArrayLike | None = None, **sizes: Any
    ) -> NDArray:
        """Natural logarithm of p(y_i | x_i), in units of y, shape (n,).

        Normalising constants are included.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p), or RowSource
            For a source, which holds y, the answer is an iterator over its batches,
            of groups if it has any.
        y : array-like of shape (n,) or (n, n_outputs)
        groups : array-like of shape (n,), default=None
            Rows of a group share one expert, and the answer is their joint density:
            one value per group, (n_groups,), in order of first appearance.
        **sizes
            ``offset`` or ``trials`` as in ``fit`` of a regressor.

        Raises
        ------
        ValueError
            For rows that cannot be used, and groups within which the gate's weights
            differ.
        """
        given = {"groups": groups, **sizes}
        return mixture.log_density(*answers.log_parts(self, X, y, **given))

    @densities(mixture.responsibilities)
    def responsibilities(
        self, X: Table, y: ArrayLike, groups: ArrayLike | None = None, **sizes: Any
    ) -> NDArray:
        """Posterior probability of each expert given x and y, shape (n, K).

        Parameters are those of :meth:`log_density`; with ``groups`` there is one row
        per group, (n_groups, K), in order of first appearance.  Where no expert finds y
        possible, they are the gate's weights.
        """
        given = {"groups": groups, **sizes}
        return mixture.responsibilities(*answers.log_parts(self, X, y, **given))

    def aic(
        self,
        X: Table,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        **sizes: Any,
    ) -> float:
        """Akaike's criterion on the given data; lower is better.

        A :class:`~skmoe.data.RowSource` in place of X holds y, weights and groups.
        Rows of a group, if ``groups`` (n,) are given, share one expert.
        """
        found = judged(self, X, y, sample_weight, sizes, groups)
        return found.criteria(self.n_parameters_)[0]

    def bic(
        self,
        X: Table,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        count: str = "groups",
        **sizes: Any,
    ) -> float:
        """Bayesian information criterion on the given data; lower is better.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p), or RowSource
            A :class:`~skmoe.data.RowSource` holds y, weights and groups itself.
        y : array-like of shape (n,) or (n, n_outputs)
        sample_weight : array-like of shape (n,), default=None
        groups : array-like of shape (n,), default=None
            Rows of a group share one expert.
        count : {"groups", "rows"}, default="groups"
            What is counted where there are groups: these, since they are what is
            independent, or rows, as flexmix does.
        **sizes
            ``offset`` or ``trials`` as in ``fit`` of a regressor.
        """
        found = judged(self, X, y, sample_weight, sizes, groups, count)
        return found.criteria(self.n_parameters_)[1]

    def icl(
        self,
        X: Table,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        count: str = "groups",
        **sizes: Any,
    ) -> float:
        """Integrated completed likelihood: BIC plus twice the entropy of who serves.

        Each row, or group of rows, counts with all its responsibilities.  flexmix
        counts the largest one
        only: its ICL is BIC less twice the sum of their logarithms, which is no more.
        Parameters are those of :meth:`bic`.
        """
        found = judged(self, X, y, sample_weight, sizes, groups, count)
        return found.criteria(self.n_parameters_)[2]


class Judged(NamedTuple):
    """What criteria are made of.

    Attributes
    ----------
    deviance : float, minus twice the log-likelihood
    entropy : float, uncertainty about who serves whom
    n_rows : float, rows, or groups of them, that the weights stand for
    """

    deviance: float
    entropy: float
    n_rows: float

    def criteria(self, n_parameters):
        """AIC, BIC and ICL."""
        penalty = n_parameters * np.log(self.n_rows)
        bic = self.deviance + penalty
        return [self.deviance + 2 * n_parameters, bic, bic + 2 * self.entropy]


def judged(model, X, y, sample_weight, sizes, groups=None, count="groups"):
    """The ``Judged`` of a fitted mixture on rows, or on those of a source."""
    check_is_fitted(model)
    if model.n_parameters_ is None:
        raise ValueError(
            f"{uncounted(model)} has no count of parameters, which the criterion "
            "needs; use linear models, give it an attribute n_parameters_, or "
            "compare models by cross-validation."
        )
    if count not in COUNTS:
        raise ValueError(
            f"{type(model).__name__} got count={count!r}, but expected one of {COUNTS}"
            + did_you_mean(count, COUNTS)
        )
    if isinstance(X, RowSource):
        refuse_sizes(model, {"groups": groups, **sizes})
        return judged_source(model, X, count)
    rows = answers.log_parts(model, X, y, **sizes)
    if model.n_groups_ is not None and groups is None:
        warn(
            f"{type(model).__name__} was fitted with groups, but the criterion got "
            "none, so that rows count as independent; pass groups as in fit."
        )
    subjects = answers.given_subjects(model, rows[0], groups, sample_weight)
    weight = subjects.weight
    # In units in which the penalties of the criteria are none of a fraction of a row.
    relative = weight / weight.max()
    weight = relative * (evidence(weight) / relative.sum())
    found = _deviance_and_entropy(*answers.of_subjects(*rows, subjects), weight)
    counted = weight.sum()
    if count == "rows":
        counted = subjects.spread(weight) @ subjects.share
    return Judged(*found, counted)


def check_in_memory(model, X):
    """Raise ``ValueError`` for a source of rows, which has its own y."""
    if isinstance(X, RowSource):
        raise ValueError(
            f"{type(model).__name__}.score got a RowSource, but expected rows in "
            "memory; score a table of some of them, or each batch that predict yields."
        )


def judged_source(model, source, count="groups"):
    """The same by one pass over the rows of a source."""
    total, of_rows, n_rows, sums = 0.0, 0.0, 0, np.zeros(2)
    each = source_parts(model, source)
    for log_gate, log_prob, subjects in each:
        weight = subjects.weight
        counts = weight > 0
        own = log_gate[counts], log_prob[counts], weight[counts]
        sums += _deviance_and_entropy(*own)
        total, n_rows = total + float(weight.sum()), n_rows + np.count_nonzero(counts)
        of_rows += float(subjects.spread(weight) @ subjects.share)
    stands_for = max(total, float(n_rows))
    counted = stands_for * of_rows / total if count == "rows" else stands_for
    return Judged(*(sums * (stands_for / total)), counted)


def _deviance_and_entropy(log_gate, log_prob, weight):
    resp = mixture.responsibilities(log_gate, log_prob)
    density = mixture.log_density(log_gate, log_prob)
    return -2 * float(weight @ density), mixture.entropy(resp, weight)


def uncounted(model):
    """Name and class of the first part, expert or other, without a count."""
    parts = {**model.named_experts_, SHARED: model.shared_expert_}
    for name, expert in parts.items():
        if expert is not None and expert_parameters(expert) is None:
            return f"The {type(expert).__name__} {name!r}"
    for likelihood in model.likelihoods_:
        if likelihood.n_parameters_ is None:
            return f"The model of the variance, {type(likelihood.model_).__name__},"
    return f"The gate {model.gate!r}"
