"""A bootstrap test of the number of experts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import check_random_state

from .._tables.table import row_weights
from .._typing import Table
from ..inspection._unwrap import unwrap


class BootstrapTest(NamedTuple):
    """Result of :func:`bootstrap_test`.

    Attributes
    ----------
    statistic : float
        Twice the gain of one more expert in log-likelihood.
    p_value : float
    distribution : ndarray of shape (n_boot,)
        The statistic where the smaller mixture is true.
    n_experts : int
        Of the smaller mixture.
    alternative : fitted mixture
        With one more expert.
    """

    statistic: float
    p_value: float
    distribution: np.ndarray
    n_experts: int
    alternative: object

    def __str__(self):
        return (
            f"{self.n_experts} against {self.n_experts + 1} experts: twice the gain in "
            f"log-likelihood {self.statistic:.4g}, p = {self.p_value:.3g} by "
            f"{len(self.distribution)} draws under {self.n_experts}"
        )

    def __repr__(self):
        return str(self)

    def plot(self, ax=None):
        """Draw the distribution, and where the statistic is.

        Parameters
        ----------
        ax : matplotlib Axes, default=None

        Returns
        -------
        matplotlib Axes
        """
        from matplotlib import pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        ax.hist(self.distribution, bins="auto", color="#56B4E9", edgecolor="white")
        ax.axvline(self.statistic, color="#D55E00", linewidth=2)
        ax.annotate(
            f"observed {self.statistic:.3g}, p = {self.p_value:.3g}",
            (self.statistic, 0.95),
            xycoords=("data", "axes fraction"),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            color="#D55E00",
        )
        ax.set_xlabel("Twice the gain in log-likelihood (nats)")
        ax.set_ylabel("Draws")
        ax.set_title(f"{self.n_experts} against {self.n_experts + 1} experts")
        return ax


def bootstrap_test(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike,
    n_boot: int = 99,
    sample_weight: ArrayLike | None = None,
    *,
    random_state: Any = 0,
    n_jobs: int | None = None,
    **sizes: ArrayLike | None,
) -> BootstrapTest:
    """Test whether one more expert fits better than by chance [1]_.

    Targets are drawn from the fitted mixture; to each draw the mixture, and one with
    one more expert, are fitted from the same kind of starts.

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier, or a pipeline or search around one
    X : array-like or data frame of shape (n, p)
        The rows that it was fitted to.
    y : array-like of shape (n,)
    n_boot : int, default=99
        Draws; 99 tell p-values of .01 apart.
    sample_weight : array-like of shape (n,), default=None
    random_state : int or RandomState, default=0
    n_jobs : int, default=None
        Draws at a time.
    **sizes
        ``offset`` or ``trials`` as in ``fit``.

    Returns
    -------
    BootstrapTest
        ``p_value`` is the share of draws, the rows themselves included, whose gain is
        at least that of the rows.

    Raises
    ------
    ValueError
        For a tree, a list of experts, or several outputs.

    References
    ----------
    .. [1] McLachlan, G. J. (1987). On bootstrapping the likelihood ratio test statistic
       for the number of components in a normal mixture. Applied Statistics 36.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import LinearExpert
    >>> from skmoe.inference import bootstrap_test
    >>> X = np.linspace(-1, 1, 60).reshape(-1, 1)
    >>> y = np.abs(X[:, 0]) + 0.05 * np.sin(40 * X[:, 0])
    >>> model = MoERegressor(LinearExpert(alpha=0), 1).fit(X, y)
    >>> bootstrap_test(model, X, y, n_boot=9).p_value
    0.1
    """
    inner = unwrap(model)
    _check_can_grow(inner.mixture)
    X, mixture = inner.seen(X), inner.mixture
    weight = row_weights(X, sample_weight)
    options = {"sample_weight": weight, **sizes}
    wider = clone(mixture).set_params(n_experts=mixture.n_experts_ + 1)
    alternative = wider.fit(X, y, **options)
    smaller = clone(mixture).set_params(n_experts=mixture.n_experts_, n_jobs=1)
    pair = smaller, clone(wider).set_params(n_jobs=1)
    rng = check_random_state(random_state)
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_boot)
    found = Parallel(n_jobs=n_jobs)(
        delayed(_drawn)(mixture, pair, X, int(seed), options) for seed in seeds
    )
    statistic = _gain(mixture, alternative, X, y, options)
    distribution = np.array(found)
    extreme = 1 + int(np.count_nonzero(distribution >= statistic))
    p_value = extreme / (n_boot + 1)
    return BootstrapTest(
        statistic, p_value, distribution, mixture.n_experts_, alternative
    )


def _check_can_grow(mixture):
    """Raise ``ValueError`` unless an expert can be added by number."""
    asked = mixture.get_params(deep=False)
    if "n_experts" not in asked:
        raise ValueError(
            f"bootstrap_test got a {type(mixture).__name__}, but expected a flat "
            "mixture, which takes one more expert; use MoERegressor or MoEClassifier."
        )
    if isinstance(asked["experts"], (list, tuple)):
        raise ValueError(
            "bootstrap_test got a list of experts, but expected one kind of expert, of "
            "which one more is added; give experts=LinearExpert(alpha=0), say."
        )


def _drawn(mixture, pair, X, seed, options):
    """Gain of one more expert on targets drawn from the mixture."""
    y = _draw(mixture, X, seed, options)
    smaller, wider = (clone(own).fit(X, y, **options) for own in pair)
    return _gain(smaller, wider, X, y, options)


def _draw(mixture, X, seed, options):
    """Targets of rows, from the mixture's density."""
    if is_classifier(mixture):
        proba = np.cumsum(mixture.predict_proba(X), axis=1)
        level = check_random_state(seed).uniform(size=(len(proba), 1))
        place = np.minimum((level >= proba).sum(axis=1), proba.shape[1] - 1)
        return mixture.classes_[place]
    sizes = {name: own for name, own in options.items() if name != "sample_weight"}
    return mixture.sample_y(X, random_state=seed, **sizes)[..., 0]


def _gain(smaller, wider, X, y, options):
    """Twice the gain in log-likelihood, which is none where a fit fell behind."""
    sizes = {name: own for name, own in options.items() if name != "sample_weight"}
    one, more = (own.log_density(X, y, **sizes) for own in (smaller, wider))
    return max(0.0, 2.0 * float(options["sample_weight"] @ (more - one)))
