"""Rows by which training by gradient stops: drawn, chosen by a splitter, or given."""

import numbers
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .._folds import is_splitter
from .task import is_differentiable

EXPECTED = (
    "None, a share in (0, 1), a splitter, a mask or an array of row numbers, or a "
    "tuple (X, y) or (X, y, sample_weight)"
)


class Split(NamedTuple):
    """Rows of a task, by number.

    Attributes
    ----------
    training : (m,)
    held_out : (h,) by which training stops, or None
    n_own : int
        Rows of the mixture; those behind them only judge.
    """

    training: np.ndarray
    held_out: np.ndarray | None
    n_own: int


class ChosenRows:
    """A splitter of one fold, whose test rows somebody has chosen.

    Parameters
    ----------
    rows : mask (n,) or row numbers (m,)
    """

    def __init__(self, rows):
        self.rows = np.asarray(rows)

    def __repr__(self):
        return f"{self.rows.dtype} of shape {self.rows.shape}"

    def split(self, X, y=None, groups=None):
        """The other rows, and the chosen ones."""
        n_rows, rows = len(X), self.rows
        if rows.dtype == bool and len(rows) != n_rows:
            raise ValueError(
                f"Gradient got validation as a mask of {len(rows)} rows, but X has "
                f"{n_rows}; give it a value for each of them."
            )
        chosen = np.flatnonzero(rows) if rows.dtype == bool else np.unique(rows)
        if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < n_rows:
            worst = chosen[0] if chosen[0] < 0 else chosen[-1]
            raise ValueError(
                f"Gradient got validation with row {worst}, but X has {n_rows} rows; "
                f"give numbers from 0 to {n_rows - 1}, or a mask."
            )
        others = np.setdiff1d(np.arange(n_rows), chosen)
        check_split(others, chosen, "validation")
        return [(others, chosen)]


def check_split(training, held_out, shown):
    """Raise ``ValueError`` where nothing is held out, or next to nothing is left."""
    few = "holds out no row" if not len(held_out) else None
    few = few or ("leaves fewer than two rows to train on" if len(training) < 2 else "")
    if few:
        raise ValueError(
            f"Gradient got {shown}, which {few}; give it other rows, or "
            "early_stopping=False to hold out none."
        )


def is_share(value):
    """Whether validation is a share of the rows."""
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def are_rows(value):
    """Whether validation is a tuple of X, y and perhaps weights."""
    return isinstance(value, tuple) and len(value) in (2, 3)


def splitter_of(value):
    """What splits the rows as the parameter ``validation`` says; None if nothing."""
    if value is None or is_share(value) or isinstance(value, (tuple, str)):
        return None
    return value if is_splitter(value) else chosen_rows(value)


def chosen_rows(value):
    """``ChosenRows`` of a mask or row numbers; None for what is neither."""
    try:
        rows = np.asarray(value)
    except (TypeError, ValueError):
        return None
    named = rows.ndim == 1 and (rows.dtype.kind in "biu" or not rows.size)
    return ChosenRows(rows.astype(int) if not rows.size else rows) if named else None


def makes_sense(value):
    """Whether ``validation`` is one of what is expected."""
    if value is None or are_rows(value):
        return True
    if is_share(value):
        return 0 < value < 1
    return not isinstance(value, type) and splitter_of(value) is not None


# -- the rows of a task -------------------------------------------------------------


def split_rows(trainer, task, rng):
    """The task with all rows that training sees, and its :class:`Split`."""
    rows, n_own = task.rows, len(task.rows)
    if rows.judges is not None:
        everything = np.arange(n_own + len(rows.judges))
        split = Split(everything[:n_own], everything[n_own:], n_own)
        # Experts that are no networks are fitted to, and asked of, either apart.
        return with_judges(task) if is_differentiable(task) else task, split
    if rows.folds:
        # The last is the latest one of splits in time.
        training, held_out = rows.folds[-1]
        check_split(training, held_out, f"validation={trainer.validation!r}")
        both = np.intersect1d(training, held_out)
        if len(both):
            raise ValueError(
                f"Gradient got validation={trainer.validation!r}, which trains on row "
                f"{both[0]} and holds it out; give a splitter that parts the rows."
            )
        return task, Split(np.sort(training), np.sort(held_out), n_own)
    return task, Split(*drawn(trainer.held_share, rows, rng), n_own)


def drawn(share, rows, rng):
    """Training rows, and held-out rows or None; classes as evenly as they allow."""
    n_rows = len(rows)
    n_held = int(np.ceil(share * n_rows))
    if n_held < 1 or n_rows - n_held < 2:
        return np.arange(n_rows), None
    order = rng.permutation(n_rows)
    held = order[:n_held]
    if rows.classes is not None:
        held = _spread_over(rows.y, order, n_held)
    is_held = np.zeros(n_rows, dtype=bool)
    is_held[held] = True
    return np.flatnonzero(~is_held), np.sort(held)


def _spread_over(codes, order, n_held):
    """Every n-th of the rows sorted by class; a class of one row is not held out."""
    ranked = order[np.argsort(codes[order], kind="stable")]
    places = (np.arange(n_held) + 0.5) * len(order) / n_held
    held = ranked[places.astype(int)]
    alone = np.bincount(codes)[codes[held]] == np.bincount(codes[held])[codes[held]]
    return held if alone.all() else held[~alone]


def with_judges(task, experts=True):
    """The task with the rows that only judge behind its own, if there are any.

    Without ``experts`` these keep what they see of their own rows.
    """
    rows, judges = task.rows, task.rows.judges
    if judges is None:
        return task
    pairs = [(rows.gate_view, judges.gate_view)]
    if experts:
        pairs += zip(rows.expert_views, judges.expert_views, strict=True)
    made = {}
    for own, other in pairs:
        if id(own) not in made:
            made[id(own)] = np.concatenate([own, other])
    parts = {
        name: np.concatenate([vars(rows)[name], vars(judges)[name]])
        for name in ("y", "labels", "weight", "log_prior")
        if vars(rows)[name] is not None
    }
    views = rows.expert_views
    whole = replace(
        rows,
        gate_view=made[id(rows.gate_view)],
        expert_views=[made[id(view)] for view in views] if experts else views,
        columns={},
        judges=None,
        **parts,
    )
    resp = task.start.resp
    if resp is not None:
        even = np.full((len(judges), resp.shape[1]), 1.0 / resp.shape[1])
        task = task.with_start(resp=np.concatenate([resp, even]))
    return task.of_rows(whole)
