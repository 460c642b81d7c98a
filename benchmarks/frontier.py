"""What a lower loss costs: a picture of all models of stored results.

    python benchmarks/frontier.py [--results FILE ...] [--out docs/frontier.png]

FILES are results of tables.py or tables_autogluon.py, each with the baseline, boosted
trees at their defaults, on the same folds.  Losses (RMSE, log-loss) are relative to the
baseline's, and so are CPU seconds of a fit, since machines and days differ in speed;
both are geometric means over tables, of means over folds.  Seconds are then those of
the file, of all tables, in which the baseline was fastest.  Models that lack a table
are left out of the picture and named.  The line is the least loss of a mixture for so
much time or less.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from matplotlib.transforms import Bbox

HERE = Path(__file__).parent
NAMES = ("tables", "additive", "pool", "autogluon")
PICTURE = HERE.parent / "docs" / "frontier.png"
BASELINE, OURS = "HistGradientBoosting", "skmoe "
LOSS, SECONDS = "loss", "fit_seconds"
#: Blue for ours, grey for others, which also differ in shape.
BLUE, GREY = "#0072b2", "#5f5f5f"
# Of a mark, in pixels.
RADIUS = 6
#: Where a label may stand, in points from its mark, the best places first.
PLACES = [
    (gap * x, gap * y, side)
    for gap in (7, 12, 20, 30, 42)
    for x, y, side in (
        (1, 0, "left"),
        (0.7, 1.2, "left"),
        (0.7, -1.2, "left"),
        (-1, 0, "right"),
        (-0.7, 1.2, "right"),
        (-0.7, -1.2, "right"),
        (0, 1.6, "center"),
        (0, -1.6, "center"),
    )
]


def beside_baseline(results):
    """Loss and seconds (table, model) over those of the baseline on the same folds."""
    results = results[results.error.isna()]
    keys, figures = ["table", "fold"], [LOSS, SECONDS]
    base = results[results.model == BASELINE][[*keys, *figures]]
    both = results.merge(base, on=keys, suffixes=("", " of baseline"))
    means = both.groupby(["table", "model"]).mean(numeric_only=True)
    found = {own: means[own] / means[f"{own} of baseline"] for own in figures}
    found["own seconds"] = means[f"{SECONDS} of baseline"]
    return pd.DataFrame(found)


def geometric(values):
    """Geometric mean."""
    return float(np.exp(np.log(values).mean()))


def points(files):
    """Loss and seconds of each model with all tables, and the names of the others.

    Parameters
    ----------
    files : list of DataFrame

    Returns
    -------
    shown : DataFrame
        By model, the fastest first: "loss", "seconds" and whether it is "ours".
    left : list of str
    speed : float
        Seconds of the baseline.
    """
    ratios = [beside_baseline(own) for own in files]
    # The first file that has a model counts.
    every = pd.concat(ratios)
    every = every[~every.index.duplicated()].reset_index()
    n_tables = every.table.nunique()
    base = [own.xs(BASELINE, level="model")["own seconds"] for own in ratios]
    speed = min(geometric(own) for own in base if len(own) == n_tables)
    shown, left = {}, []
    for model, own in every.groupby("model"):
        if len(own) < n_tables:
            left.append(f"{model} ({len(own)} of {n_tables} tables)")
            continue
        shown[model] = {
            "loss": geometric(own[LOSS]),
            "seconds": speed * geometric(own[SECONDS]),
            "ours": model.startswith(OURS),
        }
    shown = pd.DataFrame.from_dict(shown, orient="index").sort_values("seconds")
    return shown, left, speed


def envelope(shown):
    """Those of ours that no faster one of ours equals in loss."""
    own = shown[shown.ours]
    return own[own.loss < own.loss.cummin().shift(fill_value=np.inf)]


def covered(box, others, frame):
    """Area of a label that other things cover, or that is outside of the frame."""
    shared = [Bbox.intersection(box, other) for other in others]
    inside = Bbox.intersection(box, frame)
    outside = box.width * box.height - (inside.width * inside.height if inside else 0)
    return outside + sum(own.width * own.height for own in shared if own)


def boxes(axes, shown):
    """Boxes, in pixels, of the marks and of the line."""
    marks = axes.transData.transform(shown[["seconds", "loss"]].to_numpy())
    found = [Bbox.from_extents(*(own - RADIUS), *(own + RADIUS)) for own in marks]
    best = envelope(shown)[["seconds", "loss"]].to_numpy()
    for (left, top), (right, bottom) in pairwise(best):
        ends = [(left, top), (right, top), (right, bottom)]
        for start, end in pairwise(axes.transData.transform(ends)):
            low, high = np.minimum(start, end) - 2, np.maximum(start, end) + 2
            found.append(Bbox.from_extents(*low, *high))
    return found


def place_labels(axes, shown):
    """Write the names beside the marks, where they hide nothing and no other name."""
    axes.figure.canvas.draw()
    renderer = axes.figure.canvas.get_renderer()
    frame, taken = axes.get_window_extent(), boxes(axes, shown)
    for model, own in shown.iterrows():
        words = model.removeprefix(OURS)
        label = axes.annotate(
            words, (own.seconds, own.loss), (0, 0), textcoords="offset points"
        )
        label.set(fontsize=9, va="center", color=BLUE if own.ours else GREY)

        def move(place, label=label):
            label.xyann, side = place[:2], place[2]
            label.set_ha(side)
            return label.get_window_extent(renderer)

        place = min(PLACES, key=lambda own: covered(move(own), taken, frame))
        taken.append(move(place))


def draw(shown, n_tables, speed):
    """A figure of all models, with the line of ours."""
    figure = Figure(figsize=(10, 5.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    best = envelope(shown)
    axes.step(best.seconds, best.loss, where="post", color=BLUE, lw=1, alpha=0.6)
    for ours, name in ((True, "skmoe"), (False, "others")):
        own = shown[shown.ours == ours]
        look = (
            {"marker": "o", "color": BLUE} if ours else {"marker": "s", "color": GREY}
        )
        axes.scatter(own.seconds, own.loss, s=36 if ours else 24, label=name, **look)
    axes.set(xscale="log", yscale="log")
    # Room for names to the right of the slowest.
    seconds = shown.seconds.to_numpy()
    axes.set_xlim(seconds.min() / 2, seconds.max() * 5)
    axes.margins(y=0.08)
    axes.set_xlabel(
        "CPU seconds of a fit, geometric mean, on a machine where boosted trees take "
        f"{speed:.2g} s"
    )
    axes.set_ylabel("loss over that of boosted trees")
    axes.set_title(
        f"What a lower loss costs: {n_tables} tables, RMSE or log-loss, nothing tuned",
        loc="left",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(FixedLocator(np.arange(0.6, 2.0, 0.1)))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", frameon=False)
    FigureCanvasAgg(figure)
    place_labels(axes, shown)
    return figure


def stored():
    """Results that are kept."""
    paths = [HERE / "results" / f"{name}.parquet" for name in NAMES]
    return [path for path in paths if path.exists()]


def read(path):
    """Results of a file; stops where nothing tells how fast its machine was."""
    found = pd.read_parquet(path)
    if not (found.model == BASELINE).any():
        raise SystemExit(
            f"frontier.py got {path}, but expected results of {BASELINE} there, by "
            "which files compare; run it on the same folds into the same file."
        )
    return found


def main():
    """Print the figures, and save the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, nargs="*", default=stored())
    parser.add_argument("--out", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    files = [read(path) for path in arguments.results]
    shown, left, speed = points(files)
    print(shown[["loss", "seconds"]].round(3).to_string())
    print(f"\nThe line: {', '.join(envelope(shown).index)}")
    print(f"Left out: {', '.join(left) or 'none'}")
    n_tables = pd.concat(files).table.nunique()
    draw(shown, n_tables, speed).savefig(arguments.out)
    print(f"Picture saved as {arguments.out}")


if __name__ == "__main__":
    main()
