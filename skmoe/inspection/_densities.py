"""Pictures of a predictive density, and of a search for the number of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._estimators.answers import see
from .._sklearn import safe_indexing
from .._tables.frames import stacked
from .._typing import Table
from ._averaged import Averaged
from ._palette import line
from ._plots import DAY, along, axes_for, mark_dates, mark_levels
from ._unwrap import rows_of, unwrap

# Colours end at so many times the typical peak.
PEAK = 4.0
# Words at the ends of lines are apart by this share of the axis.
ROOM = 0.04


class PredictiveDensityDisplay:
    """The density of y along one column, the other columns as they are in the data.

    Each column of the picture averages the densities of the rows of ``X`` with the
    column set to the value on the axis, as partial dependence averages predictions.
    What the choice of these rows leaves uneven is smoothed along y, by a normal
    distribution whose deviation is half that between the medians of the rows (of most
    of them, where a few are far away), divided by the fifth root of their number; for a
    table of one column it is the density itself.  Colours end at four times the typical
    peak.

    Parameters
    ----------
    values : array-like of shape (n_values,)
    targets : array-like of shape (n_targets,)
        In units of y.
    density : array-like of shape (n_targets, n_values)
        Per unit of y; probabilities for counts.
    quantiles : array-like of shape (n_levels, n_values)
    levels : array-like of shape (n_levels,)
        Probabilities of ``quantiles``.
    feature : str
    target : str, default="y"
    categories : list of str, length n_values, default=None
        Of a column that is drawn level by level.
    is_time : bool, default=False
        Whether ``values`` are seconds.
    discrete : bool, default=False
        Whether y is a count.

    Attributes
    ----------
    ax_, figure_, mesh_, lines_, bar_ : matplotlib artists, after ``plot``

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import PredictiveDensityDisplay
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2).fit(X, y)
    >>> display = PredictiveDensityDisplay.from_estimator(model, X, 0, plot=False)
    >>> display.density.shape
    (200, 60)
    """

    def __init__(
        self,
        values: ArrayLike,
        targets: list[str],
        density: ArrayLike,
        quantiles: ArrayLike,
        levels: ArrayLike,
        feature: int | str,
        target: str = "y",
        categories: Sequence[str] | None = None,
        is_time: bool = False,
        discrete: bool = False,
    ) -> None:
        self.values = np.asarray(values, dtype=float)
        self.targets = np.asarray(targets, dtype=float)
        self.density = np.asarray(density, dtype=float)
        self.quantiles = np.asarray(quantiles, dtype=float)
        self.levels = np.asarray(levels, dtype=float)
        self.feature = feature
        self.target = target
        self.categories = categories
        self.is_time = is_time
        self.discrete = discrete

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Table,
        feature: int | str,
        *,
        output: int | str | None = 0,
        levels: Sequence[float] = (0.05, 0.5, 0.95),
        n_values: int = 60,
        n_targets: int = 200,
        max_rows: int = 100,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
        plot: bool = True,
        ax: Any = None,
        **mesh_kw: Any,
    ) -> Self:
        """Display of a fitted regressor.

        Parameters
        ----------
        estimator : fitted mixture for regression, or a search or pipeline around it
        X : array or data frame of shape (n, p)
            At most ``max_rows`` of its rows, evenly spaced, are averaged over.
        feature : int or str
            Column along which the density is drawn.
        output : int, default=0
            Which of several outputs.
        levels : sequence of float, default=(0.05, 0.5, 0.95)
            Probabilities of the quantiles that are drawn.
        n_values, n_targets : int, default=60 and 200
            Points along the column, and along y.
        max_rows : int, default=100
        offset, trials : float, default=None
            Of every row, for likelihoods that take them.
        plot : bool, default=True
            Whether to draw.
        ax : matplotlib axes, default=None
        **mesh_kw
            For ``pcolormesh``.

        Returns
        -------
        PredictiveDensityDisplay

        Raises
        ------
        ValueError
            For a classifier, or where there is no such column or output.
        """
        model, X = _regressor(estimator), rows_of(X, cls.__name__)
        place = along(model, X, feature, cls.__name__, n_values)
        every = stacked(_tables(place, X, max_rows))
        sizes = {
            name: None if own is None else np.full(every.shape[0], own)
            for name, own in (("offset", offset), ("trials", trials))
        }
        own, seen = see(model.mixture, model.seen(every), **sizes)
        _check_output(output, own.target.n_outputs)
        averaged = Averaged(own, own.components(seen), len(place.values), output)
        targets = averaged.targets(n_targets)
        density = averaged.densities(targets)
        quantiles = [averaged.quantile(level) for level in levels]
        display = cls(
            place.values,
            targets,
            density,
            quantiles,
            levels,
            place.name,
            model.target_name(output),
            place.levels,
            place.is_time,
            averaged.components.discrete,
        )
        return display.plot(ax=ax, **mesh_kw) if plot else display

    def plot(self, ax: Any = None, **mesh_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        from matplotlib.colors import PowerNorm

        self.ax_ = axes_for(ax, "PredictiveDensityDisplay")
        self.figure_ = self.ax_.figure
        style = {"cmap": "Blues", "shading": "nearest", **mesh_kw}
        if not {"norm", "vmin", "vmax"} & set(mesh_kw):
            # By the root, so that wide branches can be seen beside narrow ones.
            # A narrow stretch with a high peak must not take all of the colours.
            typical = float(np.median(self.density.max(axis=0)))
            most, top = float(self.density.max()), PEAK * typical
            style["norm"] = PowerNorm(0.5, vmin=0.0, vmax=min(top or most, most))
        at = self.values / DAY if self.is_time else self.values
        self.mesh_ = self.ax_.pcolormesh(at, self.targets, self.density, **style)
        label = f"density per unit of {self.target}"
        label = f"probability of {self.target}" if self.discrete else label
        cut = "max" if self.density.max() > (self.mesh_.norm.vmax or 0.0) else "neither"
        self.bar_ = self.figure_.colorbar(
            self.mesh_, ax=self.ax_, label=label, extend=cut
        )
        self.lines_ = self._quantiles(at)
        title = f"Density of {self.target} along {self.feature}, averaged over rows"
        self.ax_.set(xlabel=self.feature, ylabel=self.target, title=title)
        return self

    def _quantiles(self, at):
        """Lines of quantiles, or marks at levels, each with its probability."""
        is_level = self.categories is not None
        from matplotlib.patheffects import withStroke

        halo = [withStroke(linewidth=2.5, foreground="white", alpha=0.7)]
        style = {"color": "0.15", "linewidth": 1, "path_effects": halo}
        if is_level:
            mark_levels(self.ax_, self.categories)
            style |= {"linestyle": "none", "marker": "_", "markersize": 18}
        elif self.is_time:
            mark_dates(self.ax_)
        lines = []
        for level, own in zip(self.levels, self.quantiles, strict=True):
            said = f"{100 * level:.3g} %"
            lines.append(self.ax_.plot(at, own, label=said, **style))
            if self._has_room(own[-1]):
                self._said(said, at[-1], own[-1], "center" if is_level else "right")
        return lines

    def _has_room(self, y):
        """Whether nothing is written so near to ``y`` at the end of the lines."""
        near = ROOM * np.ptp(self.targets)
        return all(abs(own.xy[1] - y) > near for own in self.ax_.texts)

    def _said(self, text, x, y, side):
        """A probability just above the end of its line, that can be read on any hue."""
        from matplotlib.patheffects import withStroke

        self.ax_.annotate(
            text,
            (x, y),
            xytext=(0 if side == "center" else -3, 2),
            textcoords="offset points",
            ha=side,
            va="bottom",
            fontsize="small",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _tables(place, X, max_rows):
    """At most so many rows of X, evenly spaced, with the column at each place."""
    n_rows = np.shape(X)[0]
    rows = np.linspace(0, n_rows - 1, min(max_rows, n_rows)).astype(int)
    if place.rows is None:
        return [*place.tables(safe_indexing(X, rows))]
    # Rows that levels are taken from need not be among those.
    return [safe_indexing(own, rows) for own in place.tables(X)]


def _check_output(output, n_outputs):
    if output not in range(n_outputs):
        raise ValueError(
            f"PredictiveDensityDisplay got output={output!r}, but expected one of "
            f"{list(range(n_outputs))}."
        )


def _regressor(estimator):
    """The mixture that is drawn."""
    model = unwrap(estimator)
    if model.is_classifier:
        raise ValueError(
            f"PredictiveDensityDisplay got {type(model.mixture).__name__}, but "
            "expected a regressor; draw the classes with ClassProbabilityDisplay."
        )
    return model


class SelectionDisplay:
    """Scores of a search for the number of experts, and what it chose.

    Parameters
    ----------
    sizes : array-like of shape (n_sizes,)
        Numbers of experts.
    scores : array-like of shape (n_grid, n_sizes)
        A row for each setting of other parameters.
    errors : array-like of shape (n_grid, n_sizes), or None
        Standard errors over folds.
    names : list of str, length n_grid
    chosen : (int, int)
        Row and column of the candidate that was chosen.
    score_name : str

    Attributes
    ----------
    ax_, figure_, lines_, mark_ : matplotlib artists, after ``plot``

    Examples
    --------
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import SelectionDisplay
    >>> from skmoe.model_selection import MoERegressorCV
    >>> X, y = make_regimes(400, random_state=0)
    >>> search = MoERegressorCV(n_experts=4, criterion="bic").fit(X, y)
    >>> display = SelectionDisplay.from_estimator(search, plot=False)
    >>> display.sizes, display.scores.shape
    (array([1, 2, 3, 4]), (1, 4))
    """

    def __init__(
        self,
        sizes: ArrayLike | None,
        scores: Any,
        errors: Any,
        names: Sequence[str],
        chosen: Any,
        score_name: str,
    ) -> None:
        self.sizes = np.asarray(sizes)
        self.scores = np.asarray(scores, dtype=float)
        self.errors = None if errors is None else np.asarray(errors, dtype=float)
        self.names = list(names)
        self.chosen = chosen
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display of a fitted ``MoERegressorCV`` or ``MoEClassifierCV``; draws it
        unless ``plot=False``."""
        check_is_fitted(estimator)
        table = estimator.cv_results_
        sizes = np.unique(np.array(table["param_n_experts"], dtype=int))
        shape = len(sizes), len(table["params"]) // len(sizes)
        by_folds = estimator.criterion == "cv"
        scores = table["mean_test_score"] if by_folds else table[estimator.criterion]
        errors = None
        if by_folds:
            folds = np.array([v for k, v in table.items() if k.startswith("split")])
            errors = (
                folds.std(axis=0, ddof=1) if len(folds) > 1 else np.zeros(len(scores))
            )
            errors = (errors / np.sqrt(len(folds))).reshape(shape).T
        names = [_named(params) for params in table["params"][: shape[1]]]
        size, row = divmod(int(estimator.best_index_), shape[1])
        label = _score_name(estimator)
        scores = np.reshape(scores, shape).T
        display = cls(sizes, scores, errors, names, (row, size), label)
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "SelectionDisplay")
        self.figure_ = self.ax_.figure
        style = {"marker": "o", "markersize": 4, "capsize": 3}
        title = "Search for the number of experts"
        self.lines_ = [
            self.ax_.errorbar(
                self.sizes,
                own,
                yerr=None if self.errors is None else self.errors[row],
                **{"label": self.names[row], **line(row), **style, **line_kw},
            )
            for row, own in enumerate(self.scores)
        ]
        row, size = self.chosen
        at = self.sizes[size], self.scores[row, size]
        ring = {"s": 120, "facecolors": "none", "edgecolors": "0.2", "zorder": 3}
        self.mark_ = self.ax_.scatter(*at, label="chosen", **ring)
        self.ax_.set_xticks(self.sizes)
        self.ax_.set(xlabel="number of experts", ylabel=self.score_name, title=title)
        self.ax_.legend()
        return self


def _named(params):
    """Parameters other than the number of experts, in words."""
    others = {k: v for k, v in params.items() if k != "n_experts"}
    return ", ".join(f"{k}={v}" for k, v in others.items()) or "all sizes"


def _score_name(search):
    """What the scores of a search are."""
    if search.criterion != "cv":
        return f"{search.criterion.upper()} (nats; lower is better)"
    if search.scoring is None:
        return "log-density of held-out rows (nats per row)"
    scoring = search.scoring
    name = (
        scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    )
    return f"{name} of held-out rows"
