"""Tables as dictionaries of columns: ``pandas.DataFrame(table)`` shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, shuffle

from .._tables.frames import column_labels, with_order
from .._tables.table import relative_weights
from .._typing import Table
from ..trainers._rows import numbered
from ._unwrap import rows_of, unwrap

# Decimals of shares.
DIGITS = 12


def expert_usage(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    **sizes: ArrayLike | None,
) -> dict[str, list[Any]]:
    """How much, and how surely, each expert serves the rows.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like of shape (n, p)
    y : array-like of shape (n,), default=None
        Adds the share by posterior responsibility, and the error of each expert on
        the rows it answers for.
    sample_weight : array-like of shape (n,), default=None
    groups : array-like of shape (n,), default=None
        Rows of a group share one expert: responsibilities are those of the groups.
    **sizes
        ``offset`` or ``trials`` as in ``fit`` of a regressor.

    Returns
    -------
    dict of lists of length K
        ``expert``; ``load``, mean gate weight; ``top``, share of rows where the
        expert has the largest weight; ``certainty``, mean gate weight on those rows, 0
        where there are none; with ``y`` also ``responsible``, and ``error``: root mean
        squared error, or misclassification rate, weighted by responsibility.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import expert_usage
    >>> X, y = make_regimes(200, random_state=0)
    >>> usage = expert_usage(MoERegressor(n_experts=2).fit(X, y), X, y)
    >>> list(usage), round(sum(usage["load"]), 6)
    (['expert', 'load', 'top', 'certainty', 'responsible', 'error'], 1.0)
    """
    model, X = unwrap(model), rows_of(X, "expert_usage")
    proba = model.gate_proba(X)
    n_rows, n_experts = proba.shape
    weight = relative_weights(proba, sample_weight)
    weight = weight / weight.sum()
    best = proba.argmax(axis=1)
    top = np.bincount(best, weights=weight, minlength=n_experts)
    sure = np.bincount(
        best, weights=weight * proba[np.arange(n_rows), best], minlength=n_experts
    )
    certainty = np.divide(sure, top, out=np.zeros(n_experts), where=top > 0)
    table = {
        "expert": model.shown_names,
        "load": shares(weight @ proba),
        "top": shares(top),
        "certainty": shares(certainty),
    }
    if y is not None:
        resp = model.responsibilities(X, y, groups=groups, **sizes)
        if groups is not None:
            resp = resp[numbered(groups)[0]]
        resp = resp * weight[:, None]
        table["responsible"] = shares(resp.sum(axis=0))
        table["error"] = _errors(model, X, y, resp, sizes).tolist()
    return table


def shares(values):
    """Shares as a list, without what rounding of sums has left in their last digits."""
    return np.clip(np.round(values, DIGITS), 0.0, 1.0).tolist()


def _errors(model, X, y, resp, sizes):
    predictions = model.predict_experts(X, **sizes)
    y = np.asarray(y)
    mass = np.maximum(resp.sum(axis=0), np.finfo(float).tiny)
    if model.is_classifier:
        labels = model.mixture.classes_[predictions.argmax(axis=2)]
        return np.sum(resp * (labels != y[:, None]), axis=0) / mass
    error = (predictions - y[:, None]) ** 2
    error = error.mean(axis=2) if error.ndim == 3 else error
    return np.sqrt(np.sum(resp * error, axis=0) / mass)


def gate_importance(
    model: BaseEstimator, X: Table, *, n_repeats: int = 5, random_state: Any = None
) -> dict[str, list[Any]]:
    """How much the gate's decision depends on each column, by permutation.

    The importance of a column is the mean total variation distance (in [0, 1])
    between the gate weights and those after the column is shuffled.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like or data frame of shape (n, p)
    n_repeats : int, default=5
    random_state : int, RandomState or None, default=None

    Returns
    -------
    dict of lists of length p
        ``feature``, ``importance``, ``std`` over repeats; most important first.

    References
    ----------
    .. [1] Breiman, L. (2001). Random forests. Machine Learning 45, section 10.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import gate_importance
    >>> X, y, truth = make_regimes(300, random_state=0, return_truth=True)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> table = gate_importance(model, X, random_state=0)
    >>> table["feature"][0] == f"x{abs(truth['normal']).argmax()}"
    True
    """
    rng = check_random_state(random_state)
    model, X = unwrap(model), rows_of(X, "gate_importance")
    base = model.gate_proba(X)
    names = model.names(X)
    drops = np.empty((len(names), n_repeats))
    for j in range(len(names)):
        for repeat in range(n_repeats):
            changed = _with_shuffled(X, j, rng)
            distance = 0.5 * np.abs(model.gate_proba(changed) - base).sum(axis=1)
            drops[j, repeat] = distance.mean()
    order = np.argsort(-drops.mean(axis=1), kind="stable")
    return {
        "feature": [names[j] for j in order],
        "importance": shares(drops.mean(axis=1)[order]),
        "std": shares(drops.std(axis=1)[order]),
    }


def _with_shuffled(X, j, rng):
    """X with one column in another order."""
    label = column_labels(X)[j]
    return with_order(X, label, shuffle(np.arange(X.shape[0]), random_state=rng))
