"""Whether an expert keeps its promises."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_classifier

from .._estimators.parts import adapt_expert
from .._numerics.design import make_design
from .._typing import Table
from ..experts._base import is_frozen, reads_numbers, traits
from ..experts._counts import expert_parameters
from ..experts._foreign import fit_expert, takes_weight
from ._common import by_rows, check_count, check_fit_leaves, check_parameters, close


def check_expert(
    expert: BaseEstimator,
    X: Table | None = None,
    y: ArrayLike | None = None,
    classes: bool = False,
) -> None:
    """Raise ``AssertionError`` where an expert breaks the protocol.

    An expert must be clonable, treat each row on its own, and, where it takes weights,
    count a weight of two as two rows and a weight of zero as none.  For classes its
    probabilities must sum to one.  What it declares must hold: that it is linear in
    standardised columns, that it is a network.

    Parameters
    ----------
    expert : estimator
        Of scikit-learn's kind, or a subclass of
        :class:`skmoe.experts.BuiltInExpert`.
    X : array-like of shape (n, p), default=None
        Rows to fit to; 60 rows of 3 normal columns by default.
    y : array-like of shape (n,), default=None
        Targets; positive numbers, or three classes, by default.
    classes : bool, default=False
        Whether the expert is for :class:`skmoe.MoEClassifier`; classifiers always are.

    Examples
    --------
    >>> from skmoe.experts import LinearExpert
    >>> from skmoe.testing import check_expert
    >>> check_expert(LinearExpert())
    >>> check_expert(LinearExpert(), classes=True)
    """
    classes = classes or is_classifier(expert)
    check_parameters(expert)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) if X is None else np.asarray(X)
    if y is None:
        score = X.sum(axis=1) + rng.normal(size=len(X))
        y = np.digitize(score, [-1.0, 1.0]) if classes else np.exp(0.3 * score)
    own = adapt_expert(expert, "expert", classes, "check_expert")
    weight = rng.integers(1, 4, size=len(X)).astype(float)
    if takes_weight(own) and not is_frozen(own):
        check_fit_leaves(own, lambda part: part.fit(X, y, sample_weight=weight))
    fitted = fit_expert(own, X, y, weight, 0)
    answer = _answer_of(fitted, y, classes)
    found = answer(X)
    assert np.isfinite(found).all(), "answers are numbers"
    close(by_rows(answer, X), found, "the answer to a row depends on that row alone")
    check_count(expert_parameters(fitted))
    assert np.all(np.isfinite(traits(fitted).penalty())), "the penalty is a number"
    if takes_weight(own) and not is_frozen(own):
        _check_weights(own, X, y, weight, classes)
    if reads_numbers(own):
        _check_linear(own, X, y, classes)
        _check_network(own, X, y, classes)


def _answer_of(fitted, y, classes):
    """Callable that gives predictions, or class probabilities, (n, d) of rows."""
    if not classes:
        return lambda X: np.asarray(fitted.predict(X)).reshape(len(X), -1)
    np.testing.assert_array_equal(
        fitted.classes_, np.unique(y), "classes_ are the labels, in order"
    )

    def proba(X):
        found = np.asarray(fitted.predict_proba(X))
        assert found.shape == (len(X), len(fitted.classes_)), "a column per class"
        close(found.sum(axis=1), 1, "probabilities of a row sum to one", 1e-6)
        return found

    return proba


def _check_weights(expert, X, y, weight, classes):
    """Whether weights are numbers of rows, for experts without randomness."""
    seeds = [k for k in expert.get_params() if k.split("__")[-1] == "random_state"]
    expert = clone(expert).set_params(**dict.fromkeys(seeds, 0))
    first = _answer_of(fit_expert(expert, X, y, weight, 0), y, classes)(X)
    times = weight.astype(int)
    repeated = np.repeat(X, times, axis=0), np.repeat(y, times)
    fitted = clone(expert).fit(*repeated)
    what = "a weight of two is two rows"
    close(_answer_of(fitted, y, classes)(X), first, what, 1e-2, 1e-2)


def _check_linear(expert, X, y, classes):
    """Whether coefficients of standardised columns are what the expert predicts by."""
    if not traits(expert).is_linear:
        return
    design = make_design(np.ascontiguousarray(X, dtype=float), np.ones(len(X)))
    fitted = clone(expert).fit_design(design, y, np.ones(len(X)))
    assert np.shape(np.atleast_2d(fitted.coef_))[1] == X.shape[1], "coef_ has columns"
    n_channels = X.shape[1] + (not traits(fitted).through_origin)
    assert fitted.n_channels == n_channels, "n_channels: columns and intercept"
    if not classes and not traits(fitted).follows_likelihood:
        linear = X @ np.atleast_2d(fitted.coef_).T + fitted.intercept_
        found = np.reshape(fitted.predict(X), linear.shape)
        close(found, linear, "is_linear: predictions are coef_ and intercept_")


def _check_network(expert, X, y, classes):
    """Whether a network's parameters are what the expert then predicts by."""
    if not traits(expert).differentiable:
        return
    labels = np.unique(y)
    n_outputs = len(labels) if classes else 1
    network = expert.network(X.shape[1], n_outputs)
    assert (network.sizes[0], network.sizes[-1]) == (X.shape[1], n_outputs), (
        "the network has as many inputs as columns and as many outputs as asked for"
    )
    theta = network.start(np.random.default_rng(2))
    design = make_design(np.ascontiguousarray(X, dtype=float), np.ones(len(X)))
    scale = (0.0, 1.0) if classes else (np.array([3.0]), np.array([2.0]))
    fitted = clone(expert)
    if classes:
        fitted.classes_ = labels
    fitted.set_network(network, theta.copy(), design, *scale)
    outputs = network.outputs(theta, (X - design.center) * design.inverse_scale)
    expected = scale[0] + scale[1] * outputs
    if classes:
        expected = np.exp(outputs - np.logaddexp.reduce(outputs, axis=1)[:, None])
    found = _answer_of(fitted, y, classes)(X)
    close(found, expected, "set_network: answers are the outputs, scaled", 1e-6, 1e-8)
