"""Pictures in scikit-learn's Display style: arrays in, ``plot()`` draws."""

import numpy as np

from .._tables.frames import as_table, with_value
from ._plots import axes_for, column_values, feature_name
from ._tables import expert_usage
from ._unwrap import unwrap


class ConvergenceDisplay:
    """The objective of EM per iteration, and where experts were removed.

    Parameters
    ----------
    lower_bounds : array-like of shape (n_iter,)
        Penalised log-likelihood per unit of weight, in nats.
    removed : list of dict, default=()
        ``expert`` and ``iteration`` of each that was removed, as in
        ``history_["removed"]``; iterations are those of ``lower_bounds``.

    Attributes
    ----------
    ax_, figure_, line_, marks_ : matplotlib artists, after ``plot``

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import ConvergenceDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(model, plot=False)
    >>> len(display.lower_bounds) == model.n_iter_
    True
    """

    def __init__(self, lower_bounds, removed=()):
        self.lower_bounds = np.asarray(lower_bounds, dtype=float)
        self.removed = list(removed)

    @classmethod
    def from_estimator(cls, estimator, *, plot=True, ax=None, **line_kw):
        """Display of a fitted mixture; draws it unless ``plot=False``."""
        estimator = unwrap(estimator).mixture
        history = estimator.history_
        # Of the runs before the experts of a row were limited, nothing is drawn.
        before = len(history.get("soft_bound", ()))
        removed = [
            {**own, "iteration": own["iteration"] - before}
            for own in history.get("removed", ())
            if own["iteration"] >= before
        ]
        display = cls(estimator.lower_bounds_, removed)
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax=None, **line_kw):
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "ConvergenceDisplay")
        self.figure_ = self.ax_.figure
        iterations = np.arange(1, len(self.lower_bounds) + 1)
        style = {"marker": "o", "markersize": 3, **line_kw}
        (self.line_,) = self.ax_.plot(iterations, self.lower_bounds, **style)
        self.marks_ = [
            self.ax_.axvline(own["iteration"] + 0.5, color="0.6", linestyle="--")
            for own in self.removed
        ]
        for own in self.removed:
            self.ax_.annotate(
                f"{own['expert']} removed",
                (own["iteration"] + 0.5, 0.02),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                va="bottom",
                fontsize="small",
            )
        self.ax_.set(xlabel="iteration", ylabel="objective (nats per row)")
        return self


class ExpertUsageDisplay:
    """How many rows each expert serves, and how surely.

    Parameters
    ----------
    usage : dict
        As :func:`expert_usage` returns it.

    Attributes
    ----------
    ax_, figure_, bars_ : matplotlib artists, after ``plot``

    Examples
    --------
    >>> from skmoe.inspection import ExpertUsageDisplay
    >>> usage = {"expert": ["a", "b"], "load": [0.6, 0.4], "top": [0.7, 0.3]}
    >>> ExpertUsageDisplay(usage).usage["load"]
    [0.6, 0.4]
    """

    def __init__(self, usage):
        self.usage = usage

    @classmethod
    def from_estimator(
        cls, estimator, X, y=None, *, sizes=None, plot=True, ax=None, **bar_kw
    ):
        """Display for the rows of ``X``; draws it unless ``plot=False``.

        ``sizes`` is a dict of ``offset`` or ``trials``, as :func:`expert_usage` takes.
        """
        display = cls(expert_usage(estimator, X, y, **(sizes or {})))
        return display.plot(ax=ax, **bar_kw) if plot else display

    def plot(self, ax=None, **bar_kw):
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "ExpertUsageDisplay")
        self.figure_ = self.ax_.figure
        names = self.usage["expert"]
        rows = np.arange(len(names))
        columns = [c for c in ("load", "top", "responsible") if c in self.usage]
        height = 0.8 / len(columns)
        self.bars_ = [
            self.ax_.barh(
                rows + (i - (len(columns) - 1) / 2) * height,
                self.usage[column],
                height=height,
                label=LABELS[column],
                **bar_kw,
            )
            for i, column in enumerate(columns)
        ]
        self.ax_.set_yticks(rows, names)
        self.ax_.invert_yaxis()
        self.ax_.set(xlabel="share of rows")
        self.ax_.legend()
        return self


LABELS = {
    "load": "mean gate weight",
    "top": "largest gate weight",
    "responsible": "responsible given y",
}


class GateDisplay:
    """Gate weights along one column, the other columns as they are in the data.

    Each curve averages the weights over the rows of ``X`` with the column set to the
    value on the axis (partial dependence of the gate).

    Parameters
    ----------
    values : array-like of shape (n_values,)
    proba : array-like of shape (n_values, K)
    names : list of str, length K
    feature : str

    Attributes
    ----------
    ax_, figure_, lines_ : matplotlib artists, after ``plot``

    References
    ----------
    .. [1] Friedman, J. H. (2001). Greedy function approximation: a gradient boosting
       machine. Annals of Statistics 29, section 8.2.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import GateDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> display = GateDisplay.from_estimator(model, X, 0, n_values=7, plot=False)
    >>> display.proba.shape
    (7, 2)
    """

    def __init__(self, values, proba, names, feature):
        self.values = np.asarray(values)
        self.proba = np.asarray(proba)
        self.names = list(names)
        self.feature = feature

    @classmethod
    def from_estimator(
        cls, estimator, X, feature, *, n_values=50, plot=True, ax=None, **line_kw
    ):
        """Display for a column, by name or position; draws unless ``plot=False``."""
        estimator, X = unwrap(estimator), as_table(X)
        low, high = np.nanquantile(column_values(X, feature), [0.01, 0.99])
        values = np.linspace(low, high, n_values)
        proba = np.stack(
            [
                estimator.gate_proba(with_value(X, feature, value)).mean(axis=0)
                for value in values
            ]
        )
        names = list(estimator.named_experts_)
        display = cls(values, proba, names, feature_name(X, feature))
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax=None, **line_kw):
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "GateDisplay")
        self.figure_ = self.ax_.figure
        self.lines_ = [
            self.ax_.plot(self.values, column, label=name, **line_kw)[0]
            for column, name in zip(self.proba.T, self.names, strict=True)
        ]
        self.ax_.set(xlabel=self.feature, ylabel="mean gate weight", ylim=(-0.02, 1.02))
        self.ax_.legend()
        return self
