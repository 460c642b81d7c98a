"""Pictures of classifiers: probabilities along a column, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._tables.table import relative_weights
from .._typing import Table
from ._displays import shares_along
from ._palette import OTHERS, line
from ._plots import along, axes_for
from ._unwrap import rows_of, unwrap

# Bins of probabilities, of the same width.
N_BINS = 10


class ClassProbabilityDisplay:
    """Class probabilities along one column, the other columns as they are in the data.

    Each probability is the mean over the rows of ``X`` with the column set to the value
    on the axis (partial dependence).  Columns of text, and of six numbers or fewer,
    have bars; others have lines.

    Parameters
    ----------
    values : array-like of shape (n_values,)
        Seconds of times; numbers of levels, where there are some.
    proba : array-like of shape (n_values, n_classes)
    classes : list of length n_classes
        Labels.
    feature : str
    title : str, default=""
    categories : list of str, length n_values, default=None
        Of a column that is drawn by bars.
    is_time : bool, default=False

    Attributes
    ----------
    ax_, figure_ : matplotlib artists, after ``plot``
    lines_ : lines, or containers of bars, one per class

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmoe import MoEClassifier
    >>> from skmoe.inspection import ClassProbabilityDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = MoEClassifier(n_experts=2, random_state=0).fit(X, y)
    >>> feature = "petal width (cm)"
    >>> display = ClassProbabilityDisplay.from_estimator(model, X, feature, plot=False)
    >>> display.proba.shape
    (50, 3)
    """

    def __init__(
        self,
        values: ArrayLike,
        proba: ArrayLike,
        classes: Any,
        feature: int | str,
        title: str = "",
        categories: Sequence[str] | None = None,
        is_time: bool = False,
    ) -> None:
        self.values = np.asarray(values)
        self.proba = np.asarray(proba)
        self.classes = list(classes)
        self.feature = feature
        self.title = title
        self.categories = categories
        self.is_time = is_time

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        feature: int | str,
        *,
        expert: str | None = None,
        n_values: int = 50,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display of a fitted classifier.

        Parameters
        ----------
        estimator : fitted mixture for classification, or a search or pipeline around it
        X : array-like or data frame of shape (n, p)
        feature : int or str
            Column along which probabilities are drawn.
        expert : str, default=None
            Whose probabilities; those of the mixture if None.
        n_values : int, default=50
            Points along the column.
        plot : bool, default=True
        ax : matplotlib axes, default=None
        **line_kw
            For ``plot``, or ``bar``.

        Returns
        -------
        ClassProbabilityDisplay

        Raises
        ------
        ValueError
            For a regressor, or where there is no such column or expert.
        """
        owner = cls.__name__
        X = rows_of(X, owner)
        model = classifier_of(estimator, owner)
        answer = _answer(model, expert, owner)
        place = along(model, X, feature, owner, n_values, (0.01, 0.99))
        proba = np.stack([answer(own).mean(axis=0) for own in place.tables(X)])
        shown = dict(zip(model.named_experts_, model.shown_names, strict=True))
        who = "" if expert is None else f" by {shown[expert]}"
        title = f"Classes of {model.target_name()} along {place.name}{who}"
        axis = place.values, proba, model.mixture.classes_.tolist(), place.name
        display = cls(*axis, title, place.levels, place.is_time)
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "ClassProbabilityDisplay")
        self.figure_ = self.ax_.figure
        styles = [line(k) for k in range(len(self.classes))]
        names = [str(own) for own in self.classes]
        self.lines_ = shares_along(self, self.ax_, names, styles, line_kw)
        self.ax_.set(ylabel="mean probability", title=self.title)
        return self


def classifier_of(estimator, owner):
    """The ``Unwrapped`` of a classifier; raises ``ValueError`` for a regressor."""
    model = unwrap(estimator)
    if not model.is_classifier:
        raise ValueError(
            f"{owner} got {type(model.mixture).__name__}, but expected a classifier; "
            "draw a regressor with PredictiveDensityDisplay."
        )
    return model


def _answer(model, expert, owner):
    """What returns probabilities (n, C) of a table."""
    if expert is None:
        return lambda X: model.mixture.predict_proba(model.seen(X))
    names = list(model.named_experts_)
    if expert not in names:
        raise ValueError(f"{owner} got expert={expert!r}, but expected one of {names}.")
    k = names.index(expert)
    return lambda X: model.predict_experts(X)[:, k]


class ExpertCalibrationDisplay:
    """How often a class came against the probability that was said, by expert.

    There is a line for all rows, and one for those that each expert leads, in its
    colour: on the diagonal both agree, below it the expert is too sure.  Points grow
    with their rows.

    Parameters
    ----------
    curves : dict of dict
        By who is drawn: ``said``, ``came`` and ``mass`` of the bins that have rows, and
        ``error``, their mean difference by mass.
    label : str
        Of what the probability is.
    experts : list of str
        All experts of the mixture, by whose places they have their colours.

    Attributes
    ----------
    ax_, figure_, lines_ : matplotlib artists, after ``plot``

    References
    ----------
    .. [1] DeGroot, M. H. & Fienberg, S. E. (1983). The comparison and evaluation of
       forecasters. The Statistician 32.
    .. [2] Guo, C. et al. (2017). On calibration of modern neural networks. ICML.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skmoe import MoEClassifier
    >>> from skmoe.inspection import ExpertCalibrationDisplay
    >>> X, y = make_classification(300, random_state=0)
    >>> model = MoEClassifier(n_experts=2, random_state=0).fit(X[:200], y[:200])
    >>> display = ExpertCalibrationDisplay.from_estimator(
    ...     model, X[200:], y[200:], plot=False
    ... )
    >>> list(display.curves)
    ['all rows', 'expert0', 'expert1']
    """

    def __init__(
        self, curves: dict[str, Any], label: str, experts: Sequence[str]
    ) -> None:
        self.curves = curves
        self.label = label
        self.experts = list(experts)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        y: ArrayLike,
        *,
        output: Any = None,
        n_bins: int = N_BINS,
        sample_weight: ArrayLike | None = None,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display of a fitted classifier.

        Parameters
        ----------
        estimator : fitted mixture for classification, or a search or pipeline around it
        X : array-like or data frame of shape (n, p)
            Best rows that the mixture was not fitted to.
        y : array-like of shape (n,)
        output : class label, default=None
            Whose probability is drawn.  By default that of the second of two classes;
            of more classes the largest probability, against how often it is right.
        n_bins : int, default=10
        sample_weight : array-like of shape (n,), default=None
        plot : bool, default=True
        ax : matplotlib axes, default=None
        **line_kw
            For the lines.

        Returns
        -------
        ExpertCalibrationDisplay

        Raises
        ------
        ValueError
            For a regressor, or an unknown label.
        """
        model = classifier_of(estimator, cls.__name__)
        X, y = rows_of(X, cls.__name__), np.asarray(y)
        proba = model.mixture.predict_proba(model.seen(X))
        said, came, label = _told(model, proba, y, output, cls.__name__)
        weight = relative_weights(proba, sample_weight)
        leader = model.gate_proba(X).argmax(axis=1)
        curves = {"all rows": binned(said, came, weight, n_bins)}
        names = model.shown_names
        for k, name in enumerate(names):
            own = weight * (leader == k)
            if own.sum() > 0:
                curves[name] = binned(said, came, own, n_bins)
        display = cls(curves, label, names)
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "ExpertCalibrationDisplay")
        self.figure_ = self.ax_.figure
        self.ax_.plot([0, 1], [0, 1], color=OTHERS, linestyle="--", linewidth=1)
        whole = self.curves["all rows"]["mass"].sum()
        self.lines_ = []
        for name, own in self.curves.items():
            style = {"color": "0.2", "linewidth": 2.4, "zorder": 1.5}
            if name in self.experts:
                style = {**line(self.experts.index(name)), "linewidth": 1.3}
            share = own["mass"].sum() / whole
            style["label"] = f"{name} ({share:.0%}), error {own['error']:.3f}"
            style |= line_kw
            (drawn,) = self.ax_.plot(own["said"], own["came"], **style)
            size = 10.0 + 60.0 * own["mass"] / whole
            self.ax_.scatter(
                own["said"], own["came"], size, drawn.get_color(), zorder=3
            )
            self.lines_.append(drawn)
        self.ax_.set(
            xlabel=f"probability said, of {self.label}",
            ylabel="share of rows where it came",
            title="Calibration by leading expert",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
        )
        self.ax_.legend(fontsize="small", loc="upper left")
        return self


def _told(model, proba, y, output, owner):
    """Probabilities (n,) of something, whether it came, and what it is."""
    labels = model.mixture.classes_
    if output is None and len(labels) > 2:
        best = proba.argmax(axis=1)
        return proba.max(axis=1), labels[best] == y, "the most probable class"
    if output is None:
        output = labels[-1]
    if output not in labels.tolist():
        raise ValueError(
            f"{owner} got output={output!r}, but expected one of the labels "
            f"{labels.tolist()}."
        )
    place = labels.tolist().index(output)
    name = model.target_name()
    return proba[:, place], y == output, f"{name} = {output}"


def binned(said, came, weight, n_bins=N_BINS):
    """Means of what was said and what came, by bins of what was said.

    Parameters
    ----------
    said : (n,) probabilities
    came : (n,) bool
    weight : (n,)
    n_bins : int

    Returns
    -------
    dict of ``said``, ``came`` and ``mass`` (b,) of the bins that have rows, and
    ``error``, the mean difference by mass
    """
    codes = np.minimum((said * n_bins).astype(int), n_bins - 1)
    mass = np.bincount(codes, weight, n_bins)
    kept = mass > 0
    means = [
        np.bincount(codes, weight * own, n_bins)[kept] / mass[kept]
        for own in (said, came)
    ]
    error = float(mass[kept] @ np.abs(means[0] - means[1]) / mass.sum())
    return {"said": means[0], "came": means[1], "mass": mass[kept], "error": error}
