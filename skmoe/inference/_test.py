"""A bootstrap test of the number of experts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import check_random_state

from .. import mixture as functions
from .._estimators import answers
from .._estimators.predictive import chosen, drawn
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
    groups: ArrayLike | None = None,
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
    groups : array-like of shape (n,), default=None
        As in ``fit``: rows of a group share one expert, in the draws and in both fits,
        and the gain is that of the groups' joint densities.
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
        For a tree, a list of experts, or groups within which the gate's weights differ.

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
    rows = _Rows(X, groups, row_weights(X, sample_weight), sizes)
    wider = clone(mixture).set_params(n_experts=mixture.n_experts_ + 1)
    alternative = rows.fitted(wider, y)
    smaller = clone(mixture).set_params(n_experts=mixture.n_experts_, n_jobs=1)
    pair = smaller, clone(wider).set_params(n_jobs=1)
    rng = check_random_state(random_state)
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_boot)
    found = Parallel(n_jobs=n_jobs)(
        delayed(_drawn)(mixture, pair, rows, int(seed)) for seed in seeds
    )
    statistic = rows.gain(mixture, alternative, y)
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


def _drawn(mixture, pair, rows, seed):
    """Gain of one more expert on targets drawn from the mixture."""
    y = rows.draw(mixture, seed)
    smaller, wider = (rows.fitted(clone(own), y) for own in pair)
    return rows.gain(smaller, wider, y)


class _Rows(NamedTuple):
    """Rows, which of them belong together, and their sizes.

    Attributes
    ----------
    X : table of n rows
    groups : (n,) labels, or None
    weight : (n,) weights
    sizes : dict of ``offset`` or ``trials``
    """

    X: Any
    groups: Any
    weight: np.ndarray
    sizes: dict

    def _subjects(self, model):
        return answers.given_subjects(model, self.weight, self.groups, self.weight)

    def fitted(self, model, y):
        """A mixture fitted to targets of the rows."""
        given = {"sample_weight": self.weight, **self.sizes}
        return model.fit(self.X, y, groups=self.groups, **given)

    def gain(self, smaller, wider, y):
        """Twice the gain in log-likelihood, which is none where a fit fell behind."""
        subjects = self._subjects(smaller)
        one, more = (
            functions.log_density(*answers.of_subjects(*parts, subjects))
            for parts in (
                answers.log_parts(own, self.X, y, **self.sizes)
                for own in (smaller, wider)
            )
        )
        return max(0.0, 2.0 * float(subjects.weight @ (more - one)))

    def draw(self, mixture, seed):
        """Targets from the density of a mixture, with one expert for each group."""
        rng = check_random_state(seed)
        subjects = self._subjects(mixture)
        level = subjects.spread(rng.uniform(size=len(subjects)))
        expert = chosen(mixture.gate_proba(self.X), level)
        if is_classifier(mixture):
            proba = mixture.predict_experts(self.X)[np.arange(len(expert)), expert]
            return mixture.classes_[chosen(proba, rng.uniform(size=len(expert)))]
        own, seen = answers.see(mixture, self.X, **self.sizes)
        return own.target.shaped(drawn(own.components(seen), expert, rng))
