"""How loads, losses and overflow went while a mixture was trained by gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from .._sklearn import check_matplotlib_support
from ..trainers._gradient.record import RECORDED
from ._palette import FALLS, OTHERS, RISES, line
from ._plots import legend_beside
from ._unwrap import unwrap

# Height of a panel in inches, the first of which is taller; width of the figure.
TALL, LOW, WIDTH = 2.4, 1.5, 7.2
# Experts up to which each is named in the legend.
MOST_NAMED = 16
STAGES = {
    "guided": "by the linear start",
    "soft": "all experts",
    "sparse": "active experts",
}
TITLE = "Balance and losses of the training, by epoch"


class BalanceDisplay:
    """Loads of the experts, losses and overflow of training by gradient, per epoch.

    Solid lines are the mean weights that the gate gives each expert, dotted ones the
    shares of the slots that were dispatched to it, which are even while all experts are
    active.  Vertical lines are between the stages of training.

    Parameters
    ----------
    history : dict of lists, as ``history_`` of a mixture that was trained by gradient
    names : list of str, of the K experts

    Attributes
    ----------
    figure_ : matplotlib figure, after ``plot``
    axes_ : dict of matplotlib axes, after ``plot``
        ``"load"``, ``"loss"``, ``"switched"``, and where there were any ``"auxiliary"``
        losses and ``"overflow"``.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import BalanceDisplay
    >>> from skmoe.trainers import Gradient
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, trainer=Gradient(max_epochs=5)).fit(X, y)
    >>> display = BalanceDisplay.from_estimator(model, plot=False)
    >>> len(display.history["gate_load"])
    5
    """

    def __init__(self, history: dict[str, Any], names: Sequence[str]) -> None:
        self.history = history
        self.names = list(names)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        plot: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> Self:
        """Display of a fitted mixture; draws it unless ``plot=False``.

        Of an average the member with the best likelihood is shown.

        Raises
        ------
        ValueError
            For a mixture that another trainer has trained.
        """
        model = unwrap(estimator).mixture
        history = model.history_
        if not history.keys() >= {*RECORDED}:
            raise ValueError(
                f"BalanceDisplay got {type(model).__name__} with "
                f"trainer={model.trainer!r}, but only training by gradient records "
                "balance by epoch; use trainer='gradient', or ConvergenceDisplay."
            )
        n_experts = len(history["gate_load"][-1])
        names = list(model.named_experts_)[:n_experts]
        display = cls(history, [own.removeprefix("member0_") for own in names])
        return display.plot(ax=ax, **line_kw) if plot else display

    def plot(self, ax: Any = None, **line_kw: Any) -> Self:
        """Draw panels in place of ``ax``, or on a new figure; returns self."""
        check_matplotlib_support("BalanceDisplay.plot")
        panels = {
            "load": self._draw_loads,
            "loss": self._draw_losses,
            "auxiliary": self._draw_auxiliary,
            "overflow": self._draw_overflow,
            "switched": self._draw_switched,
        }
        if not self._auxiliary():
            del panels["auxiliary"]
        if not np.any(self.history["overflow"]):
            del panels["overflow"]
        self.figure_, axes = panels_below(ax, len(panels))
        self.axes_ = dict(zip(panels, axes, strict=True))
        for name, draw in panels.items():
            draw(self.axes_[name], line_kw)
            self._mark_stages(self.axes_[name], named=name == "load")
        axes[-1].set_xlabel("epoch")
        if ax is None:
            self.figure_.suptitle(TITLE, fontsize="large")
        else:
            axes[0].set_title(TITLE)
        return self

    @property
    def epochs(self) -> Any:
        """Numbers of the epochs, from one on."""
        return np.arange(1, len(self.history["bound"]) + 1)

    def _auxiliary(self):
        """Names of the auxiliary losses."""
        n_epochs = len(self.history["bound"])
        lists = {k for k, own in self.history.items() if isinstance(own, list)}
        full = {k for k in lists if len(self.history[k]) == n_epochs}
        return sorted(full - {*RECORDED})

    def _draw_loads(self, ax, line_kw):
        own = np.array(self.history["gate_load"])
        sent = np.array(self.history["load"])
        for k, name in enumerate(self.names):
            colour = line(k)["color"]
            ax.plot(self.epochs, own[:, k], **{**line(k), "label": name, **line_kw})
            dotted = {"color": colour, "linestyle": ":", "linewidth": 0.9}
            ax.plot(self.epochs, sent[:, k], **{**dotted, **line_kw})
        ax.axhline(1 / len(self.names), color=OTHERS, linewidth=0.8, zorder=0)
        ax.plot([], [], color="0.3", label="of the gate")
        ax.plot([], [], color="0.3", linestyle=":", label="as dispatched")
        ax.set(ylabel="share of the rows", ylim=(0, None))
        if len(self.names) <= MOST_NAMED:
            legend_beside(ax, fontsize="small")

    def _draw_losses(self, ax, line_kw):
        for name, label, colour in (
            ("task_loss", "training rows", RISES),
            ("held_out_loss", "held-out rows", FALLS),
        ):
            values = np.array(self.history[name], dtype=float)
            if np.isfinite(values).any():
                style = {"color": colour, "label": label, **line_kw}
                ax.plot(self.epochs, values, **style)
        for epoch in np.flatnonzero(self.history["kept"]):
            style = {"color": "0.2", "linestyle": "none", "label": "kept"}
            shown = self.history["held_out_loss"][epoch]
            shown = shown if np.isfinite(shown) else self.history["task_loss"][epoch]
            ax.plot(epoch + 1, shown, marker="o", markersize=4, **style)
        ax.set_ylabel("loss (nats per row)")
        legend_beside(ax, fontsize="small")

    def _draw_auxiliary(self, ax, line_kw):
        for k, name in enumerate(self._auxiliary()):
            style = {**line(k), "label": name, **line_kw}
            ax.plot(self.epochs, self.history[name], **style)
        ax.set_ylabel("loss of the gate")
        legend_beside(ax, fontsize="small")

    def _draw_overflow(self, ax, line_kw):
        style = {"color": FALLS, **line_kw}
        ax.plot(self.epochs, self.history["overflow"], **style)
        ax.set(ylabel="turned away\n(requests)", ylim=(0, None))

    def _draw_switched(self, ax, line_kw):
        # In the first epoch there is none before, of which rows could have another.
        style = {"color": RISES, **line_kw}
        ax.plot(self.epochs[1:], self.history["switched"][1:], **style)
        ax.set(ylabel="share of rows\nthat switched", ylim=(0, None))

    def _mark_stages(self, ax, named):
        """Lines between the stages of training, and what these are called."""
        first = 0.5
        for stage, epochs in groupby(self.history["phase"]):
            if first > 1:
                ax.axvline(first, color="0.6", linestyle="--", linewidth=0.8)
            if named:
                ax.annotate(
                    STAGES.get(stage, stage),
                    (first, 0.97),
                    xytext=(3, 0),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    fontsize="x-small",
                    va="top",
                    rotation=90,
                    color="0.3",
                    bbox={"color": "white", "alpha": 0.7, "pad": 0.5},
                )
            first += len(list(epochs))


def panels_below(ax, n_panels):
    """A figure, and axes one below the other that share the axis of epochs.

    They are in place of ``ax``, or on a new figure.
    """
    import matplotlib.pyplot as plt

    heights = [TALL] + [LOW] * (n_panels - 1)
    if ax is None:
        size = WIDTH, sum(heights) + 0.4
        figure = plt.figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(n_panels, 1, height_ratios=heights)
    else:
        ax.set_axis_off()
        figure = ax.figure
        grid = ax.get_subplotspec().subgridspec(n_panels, 1, height_ratios=heights)
    axes = []
    for k in range(n_panels):
        share = axes[0] if axes else None
        axes.append(figure.add_subplot(grid[k], sharex=share))
        axes[-1].tick_params(labelbottom=k == n_panels - 1)
    return figure, axes
