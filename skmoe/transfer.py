"""Experts that were trained before the gate, on groups of rows or on other tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from ._estimators.parts import adapt_expert
from ._sklearn import safe_indexing
from ._stamp import public
from ._tables.table import row_weights
from ._typing import Table
from ._warnings import heard, tell
from .engines import run_calls
from .experts._base import reads_numbers
from .experts._foreign import fit_expert, warn_without_weight

__all__ = ["pretrain_experts"]

public(__name__)


def pretrain_experts(
    expert: BaseEstimator,
    X: Table,
    y: ArrayLike,
    groups: ArrayLike,
    *,
    classify: bool = False,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> list[tuple[str, Any]]:
    """Fit one expert per group of rows, for a mixture that only learns the gate.

    The first of two stages: experts are specialists of known groups (regions, machines,
    tasks), and the gate, trained afterwards on any rows, finds out where each is to be
    trusted, also for rows of unknown or new groups.

    Parameters
    ----------
    expert : estimator, or dict from group to estimator
        Cloned for each group. A built-in expert works too.
    X : array-like or data frame of shape (n, p)
    y : array-like of shape (n,) or (n, n_outputs)
    groups : array-like of shape (n,)
        Group of each row; groups become names of experts, in sorted order.
    classify : bool, default=False
        Whether a built-in expert is to predict classes.
    sample_weight : array-like of shape (n,), default=None
    n_jobs : int, default=None
        Groups fitted at a time, in threads.

    Returns
    -------
    list of (str, FrozenEstimator)
        For ``experts`` of a mixture.

    Raises
    ------
    ValueError
        If lengths differ, a dict lacks a group, or a group is missing, empty or, for
        classifiers, of one class.

    See Also
    --------
    skmoe.gates.GroupGate : a gate for groups that are known at prediction too.
    skmoe.MoERegressor.partial_fit : ``freeze`` keeps parts as they are on new rows.

    References
    ----------
    .. [1] Du, N. et al. (2022). GLaM: Efficient scaling of language models with
       mixture-of-experts. ICML.
    .. [2] Zoph, B. et al. (2022). ST-MoE: Designing stable and transferable sparse
       expert models. arXiv:2202.08906, section 4 (which parts to fine-tune).

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.transfer import pretrain_experts
    >>> X, y, truth = make_regimes(300, random_state=0, return_truth=True)
    >>> experts = pretrain_experts(Ridge(), X, y, truth["regime"])
    >>> model = MoERegressor(experts).fit(X, y)
    >>> list(model.named_experts_), bool(model.score(X, y) > 0.9)
    (['0', '1'], True)
    """
    y, groups = np.asarray(y), np.asarray(groups)
    check_consistent_length(X, y, groups)
    weight = row_weights(X, sample_weight)
    if any(group != group for group in groups.tolist()):
        raise ValueError(
            "pretrain_experts got missing values in groups, but expected the group of "
            "each row; leave rows without a group out."
        )
    labels = np.unique(groups)
    experts = {str(label): _expert_of(expert, label, classify) for label in labels}
    warn_without_weight(experts)
    views = _views(X, experts.values())

    def fitted(number, own, view):
        rows = np.flatnonzero((groups == labels[number]) & (weight > 0))
        _check_group(labels[number], y[rows], _has_proba(own))
        view = safe_indexing(view, rows)
        return fit_expert(own, view, y[rows], weight[rows], number)

    calls = zip(range(len(labels)), experts.values(), views, strict=True)
    pairs = run_calls(heard, [(fitted, *own) for own in calls], n_jobs)
    tell([said for _, said in pairs])
    named = zip(experts, pairs, strict=True)
    return [(name, FrozenEstimator(own)) for name, (own, _) in named]


def _views(X, experts):
    """X as each expert reads it: built-in ones want a float array."""
    numbers = None
    if any(reads_numbers(expert) for expert in experts):
        numbers = check_array(X, dtype=(np.float64, np.float32), order="C")
    X = np.asarray(X) if isinstance(X, (list, tuple)) else X
    return [numbers if reads_numbers(expert) else X for expert in experts]


def _check_group(label, y, classify):
    if len(y) == 0 or (classify and np.all(y == y[0])):
        what = "no row of positive weight" if len(y) == 0 else "rows of one class only"
        raise ValueError(
            f"pretrain_experts got group {str(label)!r} with {what}; merge it with "
            "another group, or leave its rows out."
        )


def _expert_of(expert, label, classify):
    if isinstance(expert, dict):
        if label not in expert:
            raise ValueError(
                f"pretrain_experts got an expert for each of {list(expert)}, but "
                f"groups contains {label!r}; add an expert for it."
            )
        expert = expert[label]
    classify = classify or _has_proba(expert)
    return adapt_expert(expert, str(label), classify, "pretrain_experts")


def _has_proba(expert):
    return hasattr(expert, "predict_proba")
