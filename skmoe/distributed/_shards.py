"""Answers about Dask collections by experts that are on one worker each.

Rows are routed where they lie, sent to the workers of their experts, and what these say
is combined by the mixture itself, to which stand-ins repeat it.
"""

import copy
import pickle
from typing import NamedTuple

import numpy as np

from .. import mixture
from .._estimators.answers import read
from .._sklearn import safe_indexing
from ..experts._answers import aligned_proba, predicted_values
from ..experts._base import ExpertTraits, traits
from ._collections import dask
from ._lazy import joined


class Answers(ExpertTraits):
    """Stands for an expert that has answered already; says it again.

    Parameters
    ----------
    found : (m, d) predictions, or (m, C) probabilities in the order of the classes
    classes : class labels, or None
    is_smooth : bool, as of the expert
    """

    def __init__(self, found, classes, is_smooth):
        self.found, self.classes_, self.is_smooth = found, classes, is_smooth

    def predict(self, X):
        """Predictions of the rows that were asked."""
        return self.found

    def predict_proba(self, X):
        """Probabilities of the rows that were asked."""
        return self.found


class Absent(ExpertTraits):
    """Holds the place of an expert that is elsewhere."""


class Asked(NamedTuple):
    """Rows of a partition by the experts that are asked for them.

    Attributes
    ----------
    views : list of what each expert is to see, or None where it is not asked
    """

    views: list


def sharded(model, method, answers, partitions, options, routes):
    """What a method says of partitions, with each expert on one worker.

    Parameters
    ----------
    model : fitted mixture of rows in memory
    method, answers, partitions, options : as of :func:`~._lazy.lazily`
    routes : bool, whether the method asks the experts that rows are routed to only
    """
    (parts, sizes), library = partitions, dask()
    known = library.delayed(without_experts(model), traverse=False, pure=False)
    held = [_held(library, expert) for expert in model.experts_]
    told = model._learned.target.classes, model._learned.target.n_outputs
    split = library.delayed(rows_by_expert, pure=False)
    ask = library.delayed(asked_of_one, pure=False)
    own_rows = library.delayed(rows_of_one, pure=False)
    combine = library.delayed(combined, nout=len(answers), pure=False)
    found = []
    for own in parts:
        rows = split(known, own[0], routes)
        said = [ask(e, own_rows(rows, k), *told) for k, e in enumerate(held)]
        found.append(combine(known, method, answers, own, options, said))
    arrays = [
        joined([own[place] for own in found], sizes, answer)
        for place, answer in enumerate(answers)
    ]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def without_experts(model):
    """The mixture with empty places for its experts."""
    bare = copy.copy(model)
    bare.experts_ = [Absent() for _ in model.experts_]
    bare.named_experts_ = dict(zip(model.named_experts_, bare.experts_, strict=True))
    bare.experts = None
    bare._learned = model._learned._replace(state=None, before=None)
    for name in ("members_", "expert_pool_"):
        vars(bare).pop(name, None)
    return bare


def _held(library, expert):
    # Bytes, of which a task makes the expert: it is not a part of who asks it.
    text = pickle.dumps(expert, protocol=5)
    return library.delayed(pickle.loads, pure=False)(text)


def rows_by_expert(model, X, routes):
    """``Asked`` of the rows of a partition."""
    if not len(X):
        return Asked([None] * len(model.experts_))
    own, table = read(model, X)
    views = own.views.expert_views(table)
    if not routes or own.has_noise:
        return Asked(views)
    routing = own.route(own.views.gate_view(table))
    if routing.load.sum() >= len(routing.indices) * own.n_experts:
        return Asked(views)
    found = [None] * own.n_experts
    for k, rows, _ in mixture.dispatch(routing.indices, own.n_experts):
        found[k] = safe_indexing(views[k], rows)
    return Asked(found)


def rows_of_one(asked, k):
    """What the expert in position ``k`` is asked about."""
    return asked.views[k]


def asked_of_one(expert, view, classes, n_outputs):
    """``Answers`` of an expert; Absent where it is not asked."""
    if view is None:
        return Absent()
    with traits(expert).lent(expert) as own:
        if classes is None:
            return Answers(predicted_values(own, view, n_outputs), None, False)
        proba = aligned_proba(own, view, classes)
        return Answers(proba, classes, traits(own).is_smooth)


def combined(model, method, answers, rows, options, said):
    """A tuple of what a method says, given what the experts have said."""
    if not len(rows[0]):
        return tuple(np.empty((0, *own.tail), own.dtype) for own in answers)
    own = copy.copy(model)
    own.experts_ = said
    found = method(own, *rows, **options)
    return (found,) if len(answers) == 1 else found
