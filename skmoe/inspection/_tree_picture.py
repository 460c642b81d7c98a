"""Trees of gates as pictures whose boxes never overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from ._palette import colour, tint
from ._plots import axes_for
from ._trees import described, notes_of
from ._unwrap import unwrap

# Room between boxes of one level, and between levels, in heights of letters.
BESIDE, BETWEEN = 1.0, 3.0
# Around the words of a box, in heights of letters.
PAD = 0.4
# Widths of branches, in heights of letters: least, and by share of the rows.
THIN, THICK = 0.08, 0.6
# Points that a title takes, which may come when the tree has been drawn.
TITLE = 24.0
# By how much letters shrink where a tree does not fit, so that rounding matters not.
SHRINK = 0.97
SMALLEST, FONT = 1.0, 9.0
MOST_TRIALS = 20


def plot_tree(
    model: BaseEstimator,
    *,
    feature_names: Sequence[str] | None = None,
    max_depth: int | None = None,
    n_features: int = 2,
    precision: int = 3,
    ax: Any = None,
    fontsize: float | None = None,
) -> list[Any]:
    """Draw a fitted tree of gates.

    Branches are as wide as their share of the rows, and leaves have the colours that
    their experts have in all pictures; otherwise as :func:`export_text`.  A tree grows
    down or to the right, whichever fits better.

    Parameters
    ----------
    model, feature_names, max_depth, n_features, precision
        As in :func:`export_text`.
    ax : matplotlib axes, default=None
        If None a new figure, which is as large as the tree needs.
    fontsize : float, default=None
        In points, 9 if None.  In axes that are given letters are smaller where boxes
        would overlap.

    Returns
    -------
    list of matplotlib annotations

    Examples
    --------
    >>> from skmoe import HierarchicalMoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import plot_tree
    >>> X, y = make_regimes(300, random_state=0)
    >>> model = HierarchicalMoERegressor(branching=(2,), random_state=0).fit(X, y)
    >>> boxes = plot_tree(model)  # doctest: +SKIP
    """
    root = described(model, feature_names, n_features, precision).only(max_depth)
    notes = notes_of(root, unwrap(model).only_stacks)
    return drawn(root, notes, ax, FONT if fontsize is None else fontsize)


def drawn(root, notes, ax=None, fontsize=FONT):
    """Draw a root ``Node`` with notes below; returns the annotations of its nodes."""
    given = ax is not None
    ax = axes_for(ax, "plot_tree")
    ax.set_axis_off()
    if given and ax.figure.get_layout_engine() is not None:
        # Axes get their place when they are drawn.
        ax.figure.draw_without_rendering()
    nodes = _listed(root, None, [])
    boxes = [_box(ax, own.node) for own in nodes]
    note = ax.annotate("\n".join(notes), (0, 0), ha="left", va="bottom", color="0.35")
    room = _room(ax, TITLE) if given else None
    plan = _fitted(nodes, boxes, note, room, fontsize)
    if not given:
        room = plan.size
        ax.figure.set_layout_engine("none")
        ax.figure.set_size_inches((room + 16.0) / 72.0)
        ax.set_position([0.0, 0.0, 1.0, 1.0])
        room = room + 16.0
    _placed(ax, nodes, boxes, note, plan, np.maximum(plan.size, room))
    return boxes


class _Place(NamedTuple):
    """A node, its level, and the number of its parent."""

    node: object
    depth: int
    parent: int | None


def _listed(node, parent, found, depth=0):
    """Nodes of a tree, each behind its parent."""
    number = len(found)
    found.append(_Place(node, depth, parent))
    for child in node.children:
        _listed(child, number, found, depth + 1)
    return found


def _box(ax, node):
    """An annotation of a node, not yet in its place and without its words."""
    style = {"boxstyle": f"round,pad={PAD}", "facecolor": "white", "edgecolor": "0.45"}
    if node.leaf is not None:
        style |= {"facecolor": tint(node.leaf), "edgecolor": colour(node.leaf)}
    return ax.annotate("", (0, 0), ha="center", va="center", bbox=style, zorder=2)


def _words(node, down):
    """What is said of a node: narrow where boxes stand side by side, or else flat."""
    lines = [f"[{node.cut}]"] if node.cut else []
    named = [node.name, f"load {node.load:.2f}"]
    lines += named if down else [", ".join(named)]
    # One output fits below the other only where there is one.
    between = "\n" if down and len(node.formulas) == 1 else " "
    return "\n".join([*lines, *(between.join(terms) for terms in node.formulas)])


def _room(ax, above):
    """Width and height of axes in points, with some left for a title to come."""
    box = ax.get_window_extent()
    room = np.array([box.width, box.height]) * 72.0 / ax.figure.dpi
    return room - np.array([0.0, 0.0 if ax.get_title() else min(above, 0.1 * room[1])])


class _Plan(NamedTuple):
    """Where everything stands, in points, from the upper left corner.

    Attributes
    ----------
    centres : (n, 2) ndarray
    boxes : (n, 2) ndarray, widths and heights
    rows : (levels, 2) ndarray, where levels begin and end
    size : (2,) ndarray, of the whole
    down : bool, whether the tree grows down, or else to the right
    font : float, height of letters
    """

    centres: np.ndarray
    boxes: np.ndarray
    rows: np.ndarray
    size: np.ndarray
    down: bool
    font: float


def _fitted(nodes, boxes, note, room, font):
    """The ``_Plan`` in letters that are small enough for the room, if it is given."""
    aim = np.array([4.0, 3.0]) if room is None else room
    for _ in range(MOST_TRIALS):
        plans = [_planned(nodes, boxes, note, font, down) for down in (True, False)]
        plan = max(plans, key=lambda own: np.min(aim / own.size))
        share = 1.0 if room is None else np.min(room / plan.size)
        if share >= 1.0 or font <= SMALLEST:
            break
        font = max(font * share * SHRINK, SMALLEST)
    # Words and letters are those of the plan that was measured last.
    return _planned(nodes, boxes, note, plan.font, plan.down)


def _measured(texts, font):
    """Widths and heights (n, 2) of words, in points."""
    found = []
    for own in texts:
        own.set_fontsize(font)
        box = own.get_window_extent()
        found.append((box.width, box.height))
    return np.array(found) * 72.0 / texts[0].figure.dpi


def _planned(nodes, boxes, note, font, down):
    """A plan in letters of a height, with the note below."""
    for own, box in zip(nodes, boxes, strict=True):
        box.set_text(_words(own.node, down))
    sizes = _measured(boxes, font) + 2.0 * PAD * font
    below = _measured([note], font * 0.9)[0]
    along, across = (0, 1) if down else (1, 0)
    reach = _reaches(nodes, sizes[:, along] + BESIDE * font)
    depth = np.array([own.depth for own in nodes])
    deep = np.array([sizes[depth == d, across].max() for d in range(depth.max() + 1)])
    starts = np.concatenate([[0.0], np.cumsum(deep + BETWEEN * font)[:-1]])
    centres = np.empty((len(nodes), 2))
    centres[:, along] = _middles(nodes, reach)
    centres[:, across] = (starts + 0.5 * deep)[depth]
    size = np.empty(2)
    size[along], size[across] = reach[0], starts[-1] + deep[-1]
    size = np.array([max(size[0], below[0]), size[1] + below[1] + font])
    rows = np.column_stack([starts, starts + deep])
    return _Plan(centres, sizes, rows, size, down, font)


def _reaches(nodes, widths):
    """What a node and all beneath it take of the room along their level, (n,)."""
    beneath, reach = np.zeros(len(nodes)), np.empty(len(nodes))
    for k in range(len(nodes) - 1, -1, -1):
        reach[k] = max(widths[k], beneath[k])
        if nodes[k].parent is not None:
            beneath[nodes[k].parent] += reach[k]
    return reach


def _middles(nodes, reach):
    """Where nodes stand along their level: each in the middle of what it takes."""
    start, beneath = np.zeros(len(nodes)), np.zeros(len(nodes))
    for k, own in enumerate(nodes):
        if own.parent is not None:
            beneath[own.parent] += reach[k]
    # Narrow children stand below the middle of a wide parent.
    free = 0.5 * (reach - np.where(beneath > 0, beneath, reach))
    for k, own in enumerate(nodes):
        if own.parent is not None:
            start[k] = start[own.parent] + free[own.parent]
            free[own.parent] += reach[k]
    return start + 0.5 * reach


def _placed(ax, nodes, boxes, note, plan, room):
    """Move the boxes to their places in axes of some room, and draw the branches."""
    shift = 0.5 * (room - plan.size)
    for box, centre in zip(boxes, plan.centres, strict=True):
        box.xy = tuple(centre + shift)
        box.set_position(box.xy)
    at = shift[0], shift[1] + plan.size[1]
    note.xy = at
    note.set_position(at)
    for k, own in enumerate(nodes):
        if own.parent is not None:
            path = _branch(plan, k, own) + shift
            width = plan.font * (THIN + THICK * own.node.load)
            style = {"color": "0.65", "zorder": 1, "solid_joinstyle": "round"}
            ax.plot(*path.T, linewidth=width, solid_capstyle="butt", **style)
    ax.set(xlim=(0.0, room[0]), ylim=(room[1], 0.0))


def _branch(plan, k, own):
    """Points of the branch to a node: between the levels, where no boxes are."""
    along, across = (0, 1) if plan.down else (1, 0)
    parent = own.parent
    ends = plan.centres[[parent, parent, k, k]].copy()
    half = 0.5 * plan.boxes[:, across]
    ends[0, across] += half[parent]
    ends[1, across] = plan.rows[own.depth - 1, 1]
    ends[2, across] = plan.rows[own.depth, 0]
    ends[3, across] -= half[k]
    return ends
