"""Pictures of fit: counts as the mixture has them, and how surely rows are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._estimators import answers
from .._sklearn import check_matplotlib_support
from .._tables.frames import as_table
from .._tables.table import row_weights
from .._typing import Table
from ._palette import OTHERS, colour, line
from ._plots import axes_for, panels_in
from ._unwrap import unwrap

# Counts that are told apart; larger ones are drawn as one.
MOST_COUNTS = 40
# Responsibilities below are those of experts who have nothing to do with a row.
LEAST = 1e-4
N_BINS = 20


class RootogramDisplay:
    """Counts that came, hung from those that the mixture expects [1]_.

    Heights are square roots, so that rare counts show.  A bar that stays above the
    ground is too short: the count came less often than expected; one that goes below
    came more often.

    Parameters
    ----------
    observed : array-like of shape (m,)
        Rows whose count is 0, 1, …, m - 1.
    expected : array-like of shape (m, K)
        Rows that each expert is expected to give such a count.
    names : list of str, length K
    target : str, default="y"
    is_open : bool, default=False
        Whether the last place stands for all counts from m - 1 on.

    Attributes
    ----------
    ax_, figure_ : matplotlib artists, after ``plot``
    bars_ : container of bars
    line_ : line of what is expected
    lines_ : lines of the parts of the experts, if there are several

    References
    ----------
    .. [1] Kleiber, C. & Zeileis, A. (2016). Visualizing count data regressions using
       rootograms. The American Statistician 70.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inspection import RootogramDisplay
    >>> X = np.linspace(0, 1, 80).reshape(-1, 1)
    >>> y = np.arange(80) % 4
    >>> model = MoERegressor("linear", 1, likelihood="poisson").fit(X, y)
    >>> display = RootogramDisplay.from_estimator(model, X, y, plot=False)
    >>> display.observed
    array([20., 20., 20., 20.])
    """

    def __init__(
        self,
        observed: ArrayLike,
        expected: ArrayLike,
        names: Sequence[str],
        target: str = "y",
        is_open: bool = False,
    ) -> None:
        self.observed = np.asarray(observed, dtype=float)
        self.expected = np.asarray(expected, dtype=float)
        self.names = list(names)
        self.target = target
        self.is_open = is_open

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
        most: int | None = None,
        plot: bool = True,
        ax: Any = None,
        **bar_kw: Any,
    ) -> Self:
        """Display of a fitted mixture of counts.

        Parameters
        ----------
        estimator : fitted MoERegressor, or a search or pipeline around one
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,)
            Counts.
        sample_weight : array-like of shape (n,), default=None
        offset, trials : array-like of shape (n,), default=None
            As in ``fit``.
        most : int, default=None
            Counts from here on are drawn as one; the largest of y, and at most 40, if
            None.
        plot : bool, default=True
        ax : matplotlib axes, default=None
        **bar_kw
            For ``bar``.

        Returns
        -------
        RootogramDisplay

        Raises
        ------
        ValueError
            For classes, measured values and several outputs.
        """
        model, X = unwrap(estimator), as_table(X)
        sizes = {"offset": offset, "trials": trials}
        own, seen, components = _of_counts(model, X, sizes, cls.__name__)
        came = own.target.encode(own.target.check(y, seen.gate, model.mixture))[:, 0]
        weight = row_weights(came, sample_weight)
        top = int(came.max())
        last = min(top, MOST_COUNTS) if most is None else most
        observed = np.bincount(np.minimum(came, last).astype(int), weight, last + 1)
        expected = _expected(components, weight, last)
        is_open = last < top
        if is_open:
            shares = (weight @ components.weights) - expected[:-1].sum(axis=0)
            expected[-1] = np.maximum(shares, 0.0)
        names = model.shown_names
        display = cls(observed, expected, names, model.target_name(), is_open)
        return display.plot(ax=ax, **bar_kw) if plot else display

    def plot(self, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "RootogramDisplay")
        self.figure_ = self.ax_.figure
        counts = np.arange(len(self.observed))
        whole = np.sqrt(self.expected.sum(axis=1))
        height = np.sqrt(self.observed)
        style = {"color": OTHERS, "edgecolor": "white", "width": 0.9, **bar_kw}
        style = {"label": "observed", **style}
        self.bars_ = self.ax_.bar(counts, height, bottom=whole - height, **style)
        self.ax_.axhline(0, color="0.2", linewidth=1)
        marks = {"marker": "o", "markersize": 4, "color": "0.2"}
        (self.line_,) = self.ax_.plot(counts, whole, label="expected", **marks)
        parts = enumerate(np.sqrt(self.expected).T if len(self.names) > 1 else ())
        self.lines_ = [
            self.ax_.plot(counts, own, label=f"of {self.names[k]}", **line(k))[0]
            for k, own in parts
        ]
        self.ax_.set(
            xlabel=self.target,
            ylabel="√ rows",
            title=f"Counts of {self.target}, hung from those expected",
        )
        self._mark(counts)
        self.ax_.legend(fontsize="small", frameon=False)
        return self

    def _mark(self, counts):
        """Whole numbers below, and a sign where the last stands for more."""
        step = max(1, len(counts) // 12)
        shown = counts[::step]
        if self.is_open:
            # What stands for more is always said, and nothing is written upon it.
            shown = np.append(shown[shown <= counts[-1] - step], counts[-1])
        words = [str(own) for own in shown]
        if self.is_open:
            words[-1] += "+"
        self.ax_.set_xticks(shown, words)


def _of_counts(model, X, sizes, owner):
    """The parts of a mixture of counts, what they see of rows, and its components."""
    if not model.is_classifier:
        answers.tell_left_out(model.mixture, sizes)
        own, seen = answers.see(model.mixture, model.seen(X), **sizes)
        components = own.components(seen)
        n_outputs = components.predictions.shape[2]
        if components.discrete and n_outputs == 1:
            return own, seen, components
    raise ValueError(
        f"{owner} got {model.mixture!r}, but expected counts of one output; use "
        "PredictiveDensityDisplay for measured values and ExpertCalibrationDisplay for "
        "classes."
    )


def _expected(components, weight, last):
    """Rows (last + 1, K) that each expert is expected to give a count."""
    own, size = components.likelihoods, components.size
    predictions = list(np.moveaxis(components.predictions, 1, 0))
    out = np.empty((last + 1, len(own)))
    for count in range(last + 1):
        y = np.full((len(weight), 1), float(count))
        parts = zip(own, predictions, strict=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            chance = np.exp([each.log_prob(y, at, size) for each, at in parts]).T
        if own[0].takes == "trials" and size is not None:
            chance[size < count] = 0.0
        out[count] = weight @ (components.weights * chance)
    return out


class PosteriorDisplay:
    """How surely rows are given to each expert: histograms of responsibilities.

    Where regimes are told apart, rows stand at the right end, or nowhere;
    many in the middle are rows that two experts explain alike.  The scale is of square
    roots; rows that an expert has the most of have its colour, others are grey; rows
    with responsibilities below .0001 are left out, as in flexmix [1]_.

    Parameters
    ----------
    responsibilities : array-like of shape (n, K)
    names : list of str, length K
    sample_weight : array-like of shape (n,), default=None
    unit : str, default="rows"
        What there are n of.

    Attributes
    ----------
    figure_ : matplotlib figure, after ``plot``
    axes_ : list of axes, one per expert
    bars_ : list of pairs of containers of bars, own rows and others

    References
    ----------
    .. [1] Leisch, F. (2004). FlexMix: a general framework for finite mixture models and
       latent class regression in R. Journal of Statistical Software 11(8).

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import PosteriorDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> display = PosteriorDisplay.from_estimator(model, X, y, plot=False)
    >>> display.responsibilities.shape
    (200, 2)
    """

    def __init__(
        self,
        responsibilities: ArrayLike,
        names: Sequence[str],
        sample_weight: ArrayLike | None = None,
        unit: str = "rows",
    ) -> None:
        self.responsibilities = np.asarray(responsibilities, dtype=float)
        self.names = list(names)
        self.sample_weight = sample_weight
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
        plot: bool = True,
        ax: Any = None,
        **bar_kw: Any,
    ) -> Self:
        """Display of a fitted mixture.

        Parameters
        ----------
        estimator : fitted mixture, or a search or pipeline around one
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, n_outputs)
        groups : array-like of shape (n,), default=None
            As in ``fit``: groups are counted in place of rows.
        sample_weight : array-like of shape (n,), default=None
        offset, trials : array-like of shape (n,), default=None
            As in ``fit``.
        plot : bool, default=True
        ax : matplotlib axes, default=None
            Divided among the experts.
        **bar_kw
            For ``bar``.

        Returns
        -------
        PosteriorDisplay
        """
        model = unwrap(estimator)
        given = {"groups": groups, "offset": offset, "trials": trials}
        given = {name: own for name, own in given.items() if own is not None}
        resp = model.responsibilities(X, y, **given)
        weight = row_weights(X, sample_weight)
        subjects = answers.given_subjects(model.mixture, weight, groups, weight)
        unit = "rows" if groups is None else "groups"
        display = cls(resp, model.shown_names, subjects.weight, unit)
        return display.plot(ax=ax, **bar_kw) if plot else display

    def plot(self, ax: Any = None, **bar_kw: Any) -> Self:
        """Draw on panels in place of ``ax``, or on a new figure; returns self."""
        check_matplotlib_support("PosteriorDisplay.plot")
        self.figure_, self.axes_ = panels_in(ax, len(self.names))
        resp, edges = self.responsibilities, np.linspace(0, 1, N_BINS + 1)
        weight, best = row_weights(resp, self.sample_weight), resp.argmax(axis=1)
        style = {"width": 1 / N_BINS, "align": "edge", "edgecolor": "white"}
        style |= {"linewidth": 0.5, **bar_kw}
        self.bars_ = []
        for k, (axes, name) in enumerate(zip(self.axes_, self.names, strict=True)):
            shown = resp[:, k] >= LEAST
            own, others = (
                np.histogram(resp[rows, k], edges, weights=weight[rows])[0]
                for rows in (shown & (best == k), shown & (best != k))
            )
            mine = {"bottom": others, "color": colour(k), **style}
            grey = {"color": OTHERS, "label": "more by others", **style}
            self.bars_.append(
                (
                    axes.bar(edges[:-1], own, **mine),
                    axes.bar(edges[:-1], others, **grey),
                )
            )
            axes.set_yscale("function", functions=(_root, np.square))
            share = weight @ resp[:, k] / weight.sum()
            axes.set(
                xlabel="responsibility", title=f"{name} ({share:.0%})", xlim=(0, 1)
            )
        self._mark()
        self.axes_[0].set_ylabel(f"{self.unit}, on a scale of roots")
        # Above the tallest bar.
        self.axes_[0].set_ylim(top=1.35 * self.axes_[0].dataLim.y1)
        self.axes_[0].legend(fontsize="small", frameon=False, loc="upper center")
        if ax is None:
            self.figure_.suptitle(f"How surely {self.unit} are given to each expert")
        return self

    def _mark(self):
        """Whole numbers of rows, which a scale of roots would leave out below."""
        axes = self.axes_[0]
        top = axes.dataLim.y1
        places = [a * 10**b for b in range(9) for a in (1, 2.5, 5) if a * 10**b <= top]
        whole = [own for own in places if own == int(own)]
        axes.set_yticks([0, *whole[-5:]], [f"{own:.0f}" for own in (0, *whole[-5:])])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)


def _root(values):
    """Square roots; of what is drawn below zero, as margins are, zero."""
    return np.sqrt(np.maximum(values, 0.0))
