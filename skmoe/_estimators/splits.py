"""Rows that trainers hold out: their folds, and rows that only judge."""

from .._tables.table import row_weights
from ..trainers._rows import Rows
from .training import with_shared
from .views import training_views


def splitting(parts, split_params, groups=None):
    """What makes the trainer's folds, its arguments, and the parameter that has it.

    None if the trainer makes its own.  Asked for where there are groups or a splitter.
    """
    splitter, name = parts.trainer.splitter, parts.trainer.split_by
    if groups is not None and not parts.trainer.shares_experts:
        split_params = {"groups": groups.labels[groups.codes], **split_params}
        if splitter is None and parts.trainer.cv is not None:
            return parts.trainer.cv, split_params, name
    if splitter is None:
        return None
    if parts.shared is not None:
        raise ValueError(
            f"{parts.asked.owner} got shared_expert with {name}={splitter!r}, but a "
            "shared expert is fitted to random folds, which would part groups; "
            f"give {name} as a number, or the expert as one of the others."
        )
    return splitter, split_params, name


def with_judges(model, task, parts, target, views, shared):
    """The task with the rows of their own by which its trainer stops.

    Parameters
    ----------
    model : mixture, which reads them as it would to predict
    task : Task
    parts : ResolvedParts
    target : ValueTarget or ClassTarget
    views : Views
    shared : SharedExpert or None
    """
    try:
        table, *read = _read_judges(model, target, views, *parts.trainer.judges)
    except ValueError as error:
        name = type(parts.trainer).__name__, parts.trainer.split_by
        raise ValueError(
            "{} got {} as rows of their own, which cannot be read: {}".format(
                *name, error
            )
        ) from error
    labels, encoded, weight = read
    seen = training_views(views, table, parts)
    rows = Rows(*seen, encoded, labels, target.classes, weight)
    offset = None if shared is None else shared.contribution(views.shared_view(table))
    own = with_shared(task.of_rows(rows), offset).rows
    return task.with_rows(judges=own)


def _read_judges(model, target, views, X, y, sample_weight=None):
    """The table of some rows, their labels, these as numbers, and weights."""
    table = views.read(model, X)
    labels = target.check(y, table.raw, model)
    weight = row_weights(table.raw, sample_weight)
    return table, labels, target.encode(labels), weight
