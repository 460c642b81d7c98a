"""Redundant experts as one: by their responsibilities, and by a criterion."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .._estimators.base import BaseMoE
from .._estimators.parts import has_own_names, preset
from .._estimators.presets import TRAINERS
from .._tables.table import row_weights
from .._typing import Table
from .._warnings import quietly
from ..exceptions import ExpertCollapseWarning, did_you_mean
from ..routers._base import BaseRouter
from ._rows import Rows

CRITERIA = ("aic", "bic", "icl")


def overlap(resp, weight=None):
    """Cosines (K, K) between the responsibilities of experts, zero on the diagonal."""
    weighted = resp if weight is None else resp * (weight / np.max(weight))[:, None]
    products = weighted.T @ resp
    norms = np.sqrt(np.maximum(np.diag(products), np.finfo(float).tiny))
    cosines = products / np.outer(norms, norms)
    np.fill_diagonal(cosines, 0.0)
    return cosines


def merged(resp, n_left, weight=None, n_fixed=0):
    """Responsibilities (n, n_left) after merging the experts that overlap most.

    Parameters
    ----------
    resp : (n, K)
    n_left : int
    weight : (n,), default=None
    n_fixed : int
        Last columns that are never merged: noise, or zeros.
    """
    while resp.shape[1] > n_left:
        first, second = nearest_pair(resp[:, : resp.shape[1] - n_fixed], weight)
        resp = resp.copy()
        resp[:, first] += resp[:, second]
        resp = np.delete(resp, second, axis=1)
    return resp


def nearest_pair(resp, weight=None):
    """Numbers of the two experts that overlap most; the two smallest if none do."""
    cosines = overlap(resp, weight)
    if not cosines.max() > 0.0:
        mass = np.average(resp, axis=0, weights=weight)
        return np.sort(np.argsort(mass, kind="stable")[:2])
    return np.unravel_index(cosines.argmax(), cosines.shape)


def n_bare(model):
    """Number of components without an expert of a fitted mixture."""
    return sum(own.is_bare for own in model.likelihoods_)


def n_explaining(model):
    """Number of experts of a fitted mixture, noise and zeros apart."""
    return model.n_experts_ - n_bare(model)


def check_mergeable(model):
    """Raise ``ValueError`` for what cannot go on with fewer experts as it is."""
    owner = type(model).__name__
    if not isinstance(model, BaseMoE):
        raise ValueError(
            f"merge_experts got {owner}, but expected a fitted MoERegressor or "
            "MoEClassifier; of a search pass best_estimator_."
        )
    if "n_experts" not in model.get_params(deep=False):
        raise ValueError(
            f"merge_experts got {owner}, whose tree says how many experts there are; "
            "give it a smaller branching, or branching='grow'."
        )
    if has_own_names(model.experts):
        raise ValueError(
            f"merge_experts got experts={model.experts!r}, each of which is one of its "
            "own; pass a mixture of one estimator that is cloned, or leave experts out "
            "by hand."
        )
    if not trainer_of(model).starts_anywhere:
        raise ValueError(
            f"merge_experts got trainer={model.trainer!r}, which does not start from "
            "given responsibilities; use trainer='em', or fit with fewer experts."
        )
    check_is_fitted(model)
    if model.n_members > 1:
        raise ValueError(
            f"merge_experts got a mixture with n_members={model.n_members}, but "
            "expected one; merge the members_ one by one."
        )


def trainer_of(model):
    """The trainer of a mixture, as an object."""
    return preset(model.trainer, TRAINERS, "trainer", type(model).__name__)


def of_size(model, n_experts):
    """An unfitted clone with another number of experts, to which its router is cut."""
    router = model.router
    if isinstance(router, numbers.Integral):
        router = min(router, n_experts)
    elif isinstance(router, BaseRouter):
        router = router.resized(n_experts)
    return clone(model).set_params(n_experts=n_experts, router=router)


def merge_experts(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    criterion: str = "bic",
    **sizes: Any,
) -> BaseEstimator:
    """Merge redundant experts of a fitted mixture while a criterion falls.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        Left as it is.
    X, y, sample_weight
        Training rows.
    criterion : {"bic", "aic", "icl"}, default="bic"
    **sizes
        ``offset`` or ``trials``, as in ``fit`` of a regressor.

    Returns
    -------
    fitted mixture
        A clone with fewer experts, or the model itself if none is redundant.

    Raises
    ------
    ValueError
        For another criterion, or a mixture whose number of experts is fixed.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.model_selection import merge_experts
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, size=(200, 1))
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=200)
    >>> model = MoERegressor(n_experts=4, random_state=0).fit(X, y)
    >>> merge_experts(model, X, y).n_experts_
    2
    """
    if criterion not in CRITERIA:
        raise ValueError(
            f"merge_experts got criterion={criterion!r}, but expected one of "
            f"{CRITERIA}" + did_you_mean(criterion, CRITERIA)
        )
    check_mergeable(model)
    if sample_weight is not None:
        sample_weight = row_weights(X, sample_weight)
    rows = Rows(X, y, sample_weight, sizes)
    best, best_value = model, rows.criteria(model)[CRITERIA.index(criterion)]
    while n_explaining(best) > 1:
        n_fixed = n_bare(best)
        resp = rows.responsibilities(best)
        resp = merged(resp, best.n_experts_ - 1, rows.weight, n_fixed)
        smaller = of_size(model, resp.shape[1] - n_fixed)
        quietly(rows.fit, smaller, resp, kinds=ExpertCollapseWarning)
        value = rows.criteria(smaller)[CRITERIA.index(criterion)]
        if value >= best_value:
            break
        best, best_value = smaller, value
    return best
