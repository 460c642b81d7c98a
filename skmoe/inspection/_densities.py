"""Pictures of a predictive density, and of a search for the number of experts."""

import numpy as np

from .. import mixture
from .._sklearn import safe_indexing
from ._displays import axes_for, column_values, feature_name, with_value

# Central intervals whose ends bound the axis of y where none is given.
SHOWN = 0.99
# Share of that range that is added on either side.
MARGIN = 0.1


class PredictiveDensityDisplay:
    """The density of y along one column, the other columns as they are in the data.

    Each column of the picture averages the densities of the rows of ``X`` with the
    column set to the value on the axis, as partial dependence averages predictions; for
    a table of one column it is the density itself.

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

    Attributes
    ----------
    ax_, figure_, mesh_, lines_ : matplotlib artists, after ``plot``

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

    def __init__(self, values, targets, density, quantiles, levels, feature):
        self.values = np.asarray(values, dtype=float)
        self.targets = np.asarray(targets, dtype=float)
        self.density = np.asarray(density, dtype=float)
        self.quantiles = np.asarray(quantiles, dtype=float)
        self.levels = np.asarray(levels, dtype=float)
        self.feature = feature

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        feature,
        *,
        output=0,
        levels=(0.05, 0.5, 0.95),
        n_values=60,
        n_targets=200,
        max_rows=100,
        plot=True,
        ax=None,
        **mesh_kw,
    ):
        """Display of a fitted regressor.

        Parameters
        ----------
        estimator : fitted MoERegressor, HierarchicalMoERegressor or MoERegressorCV
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
        plot : bool, default=True
            Whether to draw.
        ax : matplotlib axes, default=None
        **mesh_kw
            For ``pcolormesh``.

        Returns
        -------
        PredictiveDensityDisplay
        """
        model = getattr(estimator, "best_estimator_", estimator)
        rows = _evenly_spaced(X, max_rows)
        column = column_values(X, feature)
        values = np.linspace(np.nanmin(column), np.nanmax(column), n_values)
        parts = [model._components(with_value(rows, feature, v)) for v in values]
        targets = _targets(parts, output, n_targets)
        columns = [_averaged(own, targets, output) for own in parts]
        density, below = (np.column_stack(own) for own in zip(*columns, strict=True))
        quantiles = [[np.interp(q, own, targets) for own in below.T] for q in levels]
        name = feature_name(feature)
        display = cls(values, targets, density, quantiles, levels, name)
        return display.plot(ax=ax, **mesh_kw) if plot else display

    def plot(self, ax=None, **mesh_kw):
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "PredictiveDensityDisplay")
        self.figure_ = self.ax_.figure
        style = {"cmap": "Blues", "shading": "nearest", **mesh_kw}
        # The root, so that wide branches can be seen beside narrow ones.
        root = np.sqrt(self.density)
        self.mesh_ = self.ax_.pcolormesh(self.values, self.targets, root, **style)
        self.lines_ = [
            self.ax_.plot(self.values, own, color="0.25", linewidth=1, label=f"{q:.0%}")
            for q, own in zip(self.levels, self.quantiles, strict=True)
        ]
        self.ax_.set(xlabel=self.feature, ylabel="y")
        return self


def _evenly_spaced(X, max_rows):
    """At most so many rows of X."""
    n_rows = np.shape(X)[0]
    rows = np.linspace(0, n_rows - 1, min(max_rows, n_rows)).astype(int)
    return safe_indexing(X, rows)


def _targets(parts, output, n_targets):
    """Values of y that hold nearly all of the densities; whole ones for counts."""
    ends = [(1 - SHOWN) / 2, (1 + SHOWN) / 2]
    low, high = (
        [mixture.quantile(level, own)[:, output] for own in parts] for level in ends
    )
    low, high = np.min(low), np.max(high)
    if parts[0].discrete:
        step = max(1, int((high - low) // n_targets))
        return np.arange(low, high + 1, step)
    margin = MARGIN * max(high - low, np.finfo(float).tiny)
    return np.linspace(low - margin, high + margin, n_targets)


def _averaged(components, targets, output):
    """Density and distribution function (n_targets,), averaged over rows."""
    n_rows, _, n_outputs = components.predictions.shape
    every = components.on_rows(np.repeat(np.arange(n_rows), len(targets)))
    t = np.repeat(np.tile(targets, n_rows)[:, None], n_outputs, axis=1)
    parts = mixture.marginal_density(t, every), mixture.cdf(t, every)
    return [own[:, output].reshape(n_rows, -1).mean(axis=0) for own in parts]


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
    >>> display.sizes, display.chosen
    (array([1, 2, 3, 4]), (0, 1))
    """

    def __init__(self, sizes, scores, errors, names, chosen, score_name):
        self.sizes = np.asarray(sizes)
        self.scores = np.asarray(scores, dtype=float)
        self.errors = None if errors is None else np.asarray(errors, dtype=float)
        self.names = list(names)
        self.chosen = chosen
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, estimator, *, plot=True, ax=None, **line_kw):
        """Display of a fitted ``MoERegressorCV`` or ``MoEClassifierCV``; draws it
        unless ``plot=False``."""
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

    def plot(self, ax=None, **line_kw):
        """Draw on ``ax``, or on a new figure; returns self."""
        self.ax_ = axes_for(ax, "SelectionDisplay")
        self.figure_ = self.ax_.figure
        style = {"marker": "o", "markersize": 4, "capsize": 3, **line_kw}
        self.lines_ = [
            self.ax_.errorbar(
                self.sizes,
                own,
                yerr=None if self.errors is None else self.errors[row],
                label=self.names[row],
                **style,
            )
            for row, own in enumerate(self.scores)
        ]
        row, size = self.chosen
        at = self.sizes[size], self.scores[row, size]
        ring = {"s": 120, "facecolors": "none", "edgecolors": "0.2", "zorder": 3}
        self.mark_ = self.ax_.scatter(*at, label="chosen", **ring)
        self.ax_.set_xticks(self.sizes)
        self.ax_.set(xlabel="number of experts", ylabel=self.score_name)
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
    return f"{search.scoring} of held-out rows"
