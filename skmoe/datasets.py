"""Synthetic data that come with the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.utils import check_random_state

from ._stamp import public

__all__ = ["make_gated_classification", "make_gated_regression", "make_regimes"]

public(__name__)


def make_regimes(
    n_samples: int = 1000,
    n_features: int = 5,
    *,
    noise: float = 0.5,
    random_state: int | RandomState | None = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Two linear regimes on either side of a hyperplane.

    Parameters
    ----------
    n_samples : int, default=1000
    n_features : int, default=5
        At least two.
    noise : float, default=0.5
        Standard deviation of the noise.
    random_state : int, RandomState or None, default=None
    return_truth : bool, default=False

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    truth : dict
        Only with ``return_truth``: ``regime`` (n,), ``mean`` (n,) noise-free target,
        ``coef`` (2, p), ``intercept`` (2,), ``normal`` (p,) of the hyperplane.

    Examples
    --------
    >>> from skmoe.datasets import make_regimes
    >>> X, y, truth = make_regimes(50, random_state=0, return_truth=True)
    >>> X.shape, sorted(set(truth["regime"].tolist()))
    ((50, 5), [0, 1])
    """
    rng = check_random_state(random_state)
    X = rng.normal(size=(n_samples, n_features))
    normal = rng.normal(size=n_features)
    coef = rng.normal(size=(2, n_features)) * 2.0
    intercept = np.array([-1.0, 1.0])
    regime = (X @ normal > 0).astype(int)
    mean = np.einsum("np,np->n", X, coef[regime]) + intercept[regime]
    y = mean + noise * rng.normal(size=n_samples)
    truth = {
        "regime": regime,
        "mean": mean,
        "coef": coef,
        "intercept": intercept,
        "normal": normal,
    }
    return (X, y, truth) if return_truth else (X, y)


def _gated(n_samples, n_features, n_experts, sharpness, rng):
    X = rng.normal(size=(n_samples, n_features))
    gate = sharpness * rng.normal(size=(n_experts, n_features))
    logits = X @ gate.T
    logits -= logits.max(axis=1, keepdims=True)
    proba = np.exp(logits)
    proba /= proba.sum(axis=1, keepdims=True)
    draws = rng.random_sample(n_samples)[:, None]
    expert = (draws > np.cumsum(proba, axis=1)).sum(axis=1)
    return X, gate, proba, np.minimum(expert, n_experts - 1)


def make_gated_regression(
    n_samples: int = 1000,
    n_features: int = 5,
    n_experts: int = 3,
    *,
    sharpness: float = 2.0,
    noise: float = 0.5,
    random_state: int | RandomState | None = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Draws from a mixture of linear experts under a softmax gate.

    Parameters
    ----------
    n_samples, n_features, n_experts : int
    sharpness : float, default=2.0
        Scale of the gate's coefficients.
    noise : float or array-like of shape (n_experts,), default=0.5
        Standard deviation of each expert.
    random_state : int, RandomState or None, default=None
    return_truth : bool, default=False

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    truth : dict
        Only with ``return_truth``: ``expert`` (n,), ``gate_proba`` (n, K),
        ``gate_coef`` (K, p), ``coef`` (K, p), ``intercept`` (K,), ``noise`` (K,),
        ``mean`` (n,).

    Examples
    --------
    >>> from skmoe.datasets import make_gated_regression
    >>> X, y = make_gated_regression(20, random_state=0)
    >>> X.shape, y.shape
    ((20, 5), (20,))
    """
    rng = check_random_state(random_state)
    X, gate, proba, expert = _gated(n_samples, n_features, n_experts, sharpness, rng)
    coef = 2.0 * rng.normal(size=(n_experts, n_features))
    intercept = 3.0 * rng.normal(size=n_experts)
    spread = np.broadcast_to(np.asarray(noise, dtype=float), n_experts)
    lines = X @ coef.T + intercept
    y = lines[np.arange(n_samples), expert]
    y = y + spread[expert] * rng.normal(size=n_samples)
    truth = {
        "expert": expert,
        "gate_proba": proba,
        "gate_coef": gate,
        "coef": coef,
        "intercept": intercept,
        "noise": spread,
        "mean": np.sum(proba * lines, axis=1),
    }
    return (X, y, truth) if return_truth else (X, y)


def make_gated_classification(
    n_samples: int = 1000,
    n_features: int = 5,
    n_experts: int = 3,
    n_classes: int = 2,
    *,
    sharpness: float = 2.0,
    random_state: int | RandomState | None = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Draws from a mixture of multinomial logistic experts under a softmax gate.

    Parameters
    ----------
    n_samples, n_features, n_experts, n_classes : int
    sharpness : float, default=2.0
        Scale of the coefficients of gate and experts.
    random_state : int, RandomState or None, default=None
    return_truth : bool, default=False

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    truth : dict
        Only with ``return_truth``: ``expert`` (n,), ``gate_proba`` (n, K),
        ``gate_coef`` (K, p), ``coef`` (K, n_classes, p), ``proba`` (n, n_classes).

    Examples
    --------
    >>> from skmoe.datasets import make_gated_classification
    >>> X, y = make_gated_classification(30, n_classes=3, random_state=0)
    >>> X.shape, y.shape
    ((30, 5), (30,))
    """
    rng = check_random_state(random_state)
    X, gate, weights, expert = _gated(n_samples, n_features, n_experts, sharpness, rng)
    coef = sharpness * rng.normal(size=(n_experts, n_classes, n_features))
    logits = np.einsum("np,kcp->nkc", X, coef)
    proba = np.exp(logits - logits.max(axis=2, keepdims=True))
    proba /= proba.sum(axis=2, keepdims=True)
    own = proba[np.arange(n_samples), expert]
    draws = rng.random_sample(n_samples)[:, None]
    y = np.minimum((draws > np.cumsum(own, axis=1)).sum(axis=1), n_classes - 1)
    truth = {
        "expert": expert,
        "gate_proba": weights,
        "gate_coef": gate,
        "coef": coef,
        "proba": np.einsum("nk,nkc->nc", weights, proba),
    }
    return (X, y, truth) if return_truth else (X, y)
