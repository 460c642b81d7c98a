"""Experts that were trained before the gate, and mixtures that move to other rows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ._estimators.base import BaseMoE, after_fit, check_freeze
from ._estimators.common import with_common
from ._estimators.fitted import commit, settled
from ._estimators.parts import adapt_expert
from ._estimators.training import given_rows, training_size
from ._sklearn import safe_indexing
from ._stamp import public
from ._tables.table import row_weights
from ._typing import Table
from ._warnings import heard, tell
from .engines import run_calls
from .experts._base import reads_numbers, traits
from .experts._foreign import fit_expert, warn_without_weight

__all__ = ["fine_tune", "pretrain_experts"]

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
    .. [1] Sukhbaatar, S. et al. (2024). Branch-Train-MiX: mixing expert LLMs into a
       mixture-of-experts LLM. COLM, section 3 (experts are trained apart, the router
       after them).

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


def fine_tune(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike,
    *,
    freeze: str | list[str] | None = None,
    l2_sp: float = 0.0,
    sample_weight: ArrayLike | None = None,
) -> BaseEstimator:
    """Train a fitted mixture on further rows, from where it is.

    All iterations of EM, or all epochs of a gradient with early stopping, from the
    parameters that it has: for another site, machine or season that has few rows of its
    own.  Parts may stay as they are, to the last bit, and the others may be held near
    what they were.

    Under EM any part may stay, and linear experts and softmax gates may be held near;
    where either is asked for, penalties by evidence stay as they were chosen, and no
    expert is removed.  Without both it is a plain fit that starts where the old one
    ended.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
        Trained by EM or hard EM, or by gradient with experts that are networks.  It is
        left as it is.
    X : array-like or data frame of shape (n, p)
        Rows with the columns that the mixture was fitted to.
    y : array-like of shape (n,) or (n, n_outputs)
    freeze : None, "experts", "gate" or list of str, default=None
        What stays: all experts, the gate, or experts of these names.
    l2_sp : float, default=0.0
        Penalty of the squared distance of the parameters from where they start, in
        units of rows, as ``alpha`` of the parts is one of their distance from zero:
        those of columns that are standardised as in the first fit, intercepts too.
    sample_weight : array-like of shape (n,), default=None

    Returns
    -------
    fitted mixture

    Raises
    ------
    ValueError
        If the mixture was trained in another way, has several members, ``freeze`` or
        ``l2_sp`` make no sense, or a part that moves cannot be held near.

    See Also
    --------
    skmoe.MoERegressor.partial_fit : one pass over further rows.
    skmoe.trainers.Gradient : ``learning_rate`` may be a dict of rates by part.

    References
    ----------
    .. [1] Li, X., Grandvalet, Y., Davoine, F. (2018). Explicit inductive bias for
       transfer learning with convolutional networks. ICML, section 3 (L2-SP).
    .. [2] Zoph, B. et al. (2022). ST-MoE: designing stable and transferable sparse
       expert models. arXiv:2202.08906, section 4 (which parts to fine-tune).

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.transfer import fine_tune
    >>> X, y = make_regimes(300, random_state=0)
    >>> model = MoERegressor(n_experts=2, trainer="gradient", random_state=0).fit(X, y)
    >>> moved = fine_tune(model, X[:50], y[:50] + 1.0, freeze="gate", l2_sp=10.0)
    >>> bool((moved.gate_proba(X) == model.gate_proba(X)).all())
    True
    """
    _check_tuned(model, l2_sp)
    own = copy.deepcopy(model)
    parts, _ = settled(own, own._resolve(), goes_on=True)
    check_freeze(freeze, parts.names, "fine_tune")
    (previous,) = own._previous(parts)
    learned = own._learned
    table = learned.views.read(own, X)
    read = own._target.read_batch(y, table, sample_weight, own, learned.target, None)
    given = given_rows(table, *read)
    size = training_size(parts, given, {})
    parts, task, learned = after_fit(own, parts, previous, given, size)
    if any(traits(expert).shares for expert in parts.experts):
        task = with_common(own, task, parts.experts, learned.views.experts)
    rng = check_random_state(own.random_state)
    task = task.with_recipe(seed=int(rng.randint(2**31 - 1)))
    task = task.with_start(freeze=freeze, pull=float(l2_sp))
    # Of those that are left, where some experts were lost.
    left = task.going_on(previous)
    fit = parts.trainer.fit(left.rows, left.recipe, left.start, left.report)
    commit(own, learned, task, [left.numbered(fit)])
    return own


def _check_tuned(model, l2_sp):
    """Raise ``ValueError`` unless a mixture can be tuned."""
    if not isinstance(model, BaseMoE):
        raise ValueError(
            f"fine_tune got model={model!r}, but expected a fitted mixture of skmoe."
        )
    check_is_fitted(model)
    if not (np.isscalar(l2_sp) and 0 <= l2_sp < np.inf):
        raise ValueError(
            f"fine_tune got l2_sp={l2_sp!r}, but expected a finite number >= 0."
        )
    trainer = model._resolve().trainer
    if not trainer.tunes or model.n_members > 1:
        raise ValueError(
            f"fine_tune got a mixture with trainer={model.trainer!r} and "
            f"n_members={model.n_members}, but expected one member that was trained by "
            "EM or by gradient; fit it so, or wrap its experts in FrozenEstimator and "
            "fit a new gate to them."
        )


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
