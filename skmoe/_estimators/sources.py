"""Fitting to a source of rows, and what a fitted mixture answers of one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._tables.features import is_choice
from .._tables.names import text_names
from .._typing import Method
from .._warnings import quietly
from ..data import RowSource
from ..data._source import BATCH_ROWS
from ..engines import recut_whole
from ..experts._base import traits
from ..experts._foreign import warn_without_weight
from ..trainers import EM
from ..trainers._rows import numbered_along, subjects_of
from ..trainers._streamed import CODES, StreamedRows
from . import answers
from .batches import batches_for
from .choice import sized
from .common import with_fixed
from .first_pass import FirstPass, one_size, row_numbers
from .fitted import Learned, fit_and_commit, settled
from .grouped_pass import GroupedPass
from .subjects import Numbering, check_served
from .training import (
    Given,
    check_size,
    make_task,
    warn_of_light_weights,
    weighted_parts,
    widths_of,
)
from .views import Reading, fit_views, training_views


def fit_source(model, source, **given):
    """Fit a mixture to a ``RowSource``; returns the mixture.

    ``given`` are arguments of ``fit`` that a source holds itself, or that it cannot
    have.
    """
    parts = model._resolve()
    refuse_others(model, parts, given)
    if source.has_groups:
        check_served(parts)
    return fit_after(model, parts, first_pass(model, parts, source), source)


def fit_after(model, parts, first, source):
    """Fit a mixture to rows of which the first pass is made; returns the mixture.

    ``source`` is what callbacks are told.
    """
    reading = Reading(parts.asked, parts.gate.node_gate)
    batches = first.batches
    weight, numbers, words, labels, sizes, *codes = first.sample.rows()
    X = batches.table(numbers, words, parts.asked.chooses_columns)
    table, target = reading.read(model, X), first.target()
    if batches.names is not None:
        model.feature_names_in_ = np.asarray(batches.names, dtype=object)
    encoded = target.encode(labels)
    own = Given(table, target, labels, encoded, weight / first.unit, first.unit)
    parts, is_open = settled(model, parts, goes_on=False)
    check_size(parts, first.n_rows)
    if first.n_groups is not None:
        check_size(parts, first.n_groups, "groups")
    views = fit_views(reading, parts.by_name(), own, model.random_state)
    if not serves_sums(parts):
        # A sample does not know which columns have no spread in all rows.
        views = views.plain()
    if first.n_groups is not None:
        first.check_gate(*read_by_gate(parts, views, table, batches))
    if _holds(parts):
        parts = with_fixed(model, parts, views, table)
    seen = training_views(views, table, parts)
    widths = widths_of(parts.names, seen)
    task, choice = make_task(model, parts, own, seen), None
    numbers = numbered_along(*codes) if codes else None
    task = task.with_rows(size=one_size(sizes), groups=numbers)
    code = batches.coding(views)
    stream, X = first.stream(target, code), code(X)
    if is_open:
        parts, task, views, choice = sized(model, parts, task, views, target)
    warn_without_weight(weighted_parts(parts, own.weight))
    warn_of_light_weights(parts, first.total, first.n_rows)
    own = {"stream": stream, "X": X, "chosen": chosen_columns(views, batches)}
    task = task.of_rows(StreamedRows(**task.rows.fields(), **own))
    learned = Learned(views, target, None, widths, choice=choice)
    learned = learned._replace(n_groups=first.n_groups)
    return fit_and_commit(model, parts, task, None, learned, source, None)


def read_by_gate(parts, views, table, batches):
    """Numbers of the columns that the gate reads, and names of all."""
    names = batches.names or [f"x{j}" for j in range(batches.n_columns)]
    seen, (chosen, *_) = views.gate.whole(table), chosen_columns(views, batches)
    read = parts.gate.node_gate.columns_read(seen)
    chosen = np.arange(batches.n_columns) if chosen is None else chosen
    return chosen if read is None else [chosen[j] for j in read], names


def chosen_columns(views, batches):
    """Numbers of the columns that gate and experts see, or None where they see all."""
    names = batches.names or [f"x{j}" for j in range(batches.n_columns)]
    chosen = [own.transformer for own in (views.gate, *views.experts)]
    return [
        None
        if own is None
        else np.array([names.index(name) for name in own.get_feature_names_out()])
        for own in chosen
    ]


def first_pass(model, parts, source):
    """The ``FirstPass`` over a source for the parts of a mixture."""
    check_target(model, source)
    reading = Reading(parts.asked, parts.gate.node_gate)
    batches = batches_for(reading, source.names)

    def read():
        kind = GroupedPass if source.has_groups else FirstPass
        return kind(model, source, parts.support, batches)

    return source.remembered((type(batches), repr(parts.support)), read)


def check_target(model, source):
    """Raise ``ValueError`` for a source without the target that is asked for."""
    if not source.has_target:
        raise ValueError(
            f"{type(model).__name__} got a RowSource without a target, of which it can "
            "predict only; name the column of y by target=."
        )


def first_look(model, source):
    """What the first pass of ``fit`` finds, for who is to fit several mixtures."""
    parts = model._resolve()
    refuse_others(model, parts, {})
    return first_pass(model, parts, source)


class Remembered(RowSource):
    """A source whose first pass is made once, by what reads it.

    Parameters
    ----------
    source : RowSource
    """

    def __init__(self, source):
        self.source, self._known = source, {}
        self.names, self.size_name = source.names, source.size_name
        self.has_groups, self.has_target = source.has_groups, source.has_target

    def batches(self):
        return self.source.batches()

    def remembered(self, key, make):
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]


def serves_sums(parts):
    """Whether all experts gain from sums over rows."""
    return all(traits(expert).streams for expert in parts.experts)


def refuse_others(model, parts, given, what="a RowSource", serves=serves_sums):
    """Raise ``ValueError`` for what does not train from a source, with the remedy.

    ``serves`` says of parts whether their experts can be trained there.
    """
    problems = [
        (f"{name}=...", own is not None, "a source holds y and weights itself")
        for name, own in given.items()
    ]
    grows = vars(model).get("branching") == "grow"
    problems += [("branching='grow'", grows, "use a shape such as (2, 2)")]
    served = serves(parts)
    found = [*problems, *_refused_parts(parts, served), *_refused_parameters(model)]
    found += _refused_features(model)
    for other, is_there, remedy in found:
        if is_there:
            raise ValueError(
                f"{parts.asked.owner} got {what} with {other}; {remedy}, or give "
                "the rows as arrays."
            )


def _refused_parts(parts, served):
    """What the user wrote, whether it is not read in batches, and the remedy."""
    asked, gate, trainer = parts.asked, parts.gate, parts.trainer
    likelihood = parts.likelihood
    sums = likelihood.dispersions is not None
    fused = _is_fused(parts)
    ends = isinstance(trainer, EM) and trainer.objective != "prediction"
    return [
        *_refused_experts(parts, served, fused),
        (
            f"gate={asked.gate!r}",
            not (gate.streams or fused),
            "use gate='softmax', 'additive', 'gaussian' or 'constant'; in a tree not "
            "'gaussian'",
        ),
        (
            f"likelihood={parts.likelihood!r}",
            not (sums or fused),
            "use a family whose dispersions are told by name, such as 'gaussian', "
            "'poisson' or 'student-t'",
        ),
        (
            f"router={asked.router!r}",
            parts.router.masks_training or parts.router.learns,
            "use an integer, TopKRouter or None",
        ),
        (
            f"trainer={asked.trainer!r}",
            not ends,
            "use trainer='em' with the likelihood as its objective",
        ),
    ]


def _refused_experts(parts, served, fused):
    """What the user wrote of experts, whether it is not read, and the remedy."""
    asked, likelihood = f"experts={parts.asked.experts!r}", parts.likelihood
    return [
        (
            asked,
            any(traits(expert).shares for expert in parts.experts),
            "use common=None",
        ),
        (
            f"{asked} and likelihood={likelihood!r}",
            _holds(parts) and not fused,
            "use fixed=None, or equal experts with likelihood='gaussian'",
        ),
        (asked, not served, "use LinearExpert or AdditiveExpert"),
    ]


def _holds(parts):
    """Whether some coefficients of experts are given."""
    return any(traits(expert).holds for expert in parts.experts)


def _is_fused(parts):
    """Whether one compiled pass knows gate, a tree as well, and experts, all alike."""
    own = [traits(expert) for expert in parts.experts]
    linear = all(e.is_linear and not e.through_origin for e in own)
    alike = len({repr(expert) for expert in parts.experts}) == 1
    known = parts.gate.linear_form(None) is not None
    return linear and alike and known and parts.likelihood.has_fused_pass


def _refused_parameters(model):
    """Parameters of the mixture that must be as they are by default."""
    remedies = {
        "shared_expert": (None, "use shared_expert=None"),
        "class_weight": (None, "give the source weights of the rows"),
        "n_members": (1, "use n_members=1"),
        "warm_start": (False, "use warm_start=False"),
    }
    values = {name: vars(model).get(name, own[0]) for name, own in remedies.items()}
    return [
        (f"{name}={value!r}", _differs(value, remedies[name][0]), remedies[name][1])
        for name, value in values.items()
    ]


def _refused_features(model):
    """Features that are not columns of X as they are."""
    for name in ("gate_features", "expert_features"):
        value = vars(model)[name]
        each = value.values() if isinstance(value, dict) else [value]
        transforms = any(own is not None and not is_choice(own) for own in each)
        remedy = "choose columns, or give the source columns that are transformed"
        yield f"{name}={value!r}", transforms, remedy


def _differs(value, default):
    return value is not None if default is None else value != default


def in_batches(
    method: Method, reads_target: bool = False, sized: bool = False
) -> Method:
    """A method of rows that answers a ``RowSource`` by an iterator over its batches.

    ``sized`` says whether it takes ``offset`` and ``trials``, which a source holds.
    """

    @functools.wraps(method)
    def wrapped(self, X, *args, **kwargs):
        if not isinstance(X, RowSource):
            return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        check_source_names(self, X)
        refuse_sizes(self, kwargs)
        if reads_target:
            check_target(self, X)

        def answer(own, y, size):
            known = {**kwargs, **(sizes_in(X, size) if sized else {})}
            rows = (own, y)[: 1 + reads_target]
            return answered(self, method, *rows, *args, **known)

        batches = ((own, y, size) for own, y, _, size in X.with_sizes() if len(own))
        return (answer(*own) for own in batches)

    return cast(Method, wrapped)


#: The same for a method that takes sizes.
sized_in_batches = functools.partial(in_batches, sized=True)


def densities(of: Callable[..., Any]) -> Callable[[Method], Method]:
    """What makes a method of rows and their target one that answers a ``RowSource``.

    Where the source has groups, that is ``of`` their log-weights and log-densities.
    """

    def decorated(method):
        by_rows = in_batches(method, reads_target=True, sized=True)

        @functools.wraps(method)
        def wrapped(self, X, *args, **kwargs):
            if not (isinstance(X, RowSource) and X.has_groups):
                return by_rows(self, X, *args, **kwargs)
            check_is_fitted(self)
            check_source_names(self, X)
            refuse_sizes(self, kwargs)
            return (of(*own) for *own, _ in source_parts(self, X, weighted=False))

        return wrapped

    return decorated


def sizes_in(source, size):
    """Arguments that a method takes for the sizes of a batch of a source."""
    return {} if source.size_name is None else {source.size_name: size}


def refuse_sizes(model, given):
    """Raise ``ValueError`` for offsets, trials or groups beside a source."""
    for name in ("offset", "trials", "groups"):
        if given.get(name) is not None:
            raise ValueError(
                f"{type(model).__name__} got a RowSource with {name}=..., but a source "
                f"holds what rows bring along; make it with {name}=..., or loop over "
                "source.batches()."
            )


def source_parts(model, source, weighted=True):
    """Log gate weights and log-densities (S, K) of rows, or of groups of them, and
    their ``Singles`` or ``Subjects``, some at a time.

    ``weighted`` says whether weights of the source count.
    """
    check_source_names(model, source)
    check_target(model, source)
    rows = _row_parts(model, source)
    if source.has_groups:
        rows = recut_whole(rows, BATCH_ROWS, CODES)
    for *parts, weight, codes in rows:
        weight = weight if weighted else np.ones(len(weight))
        numbers = numbered_along(codes) if source.has_groups else None
        own = subjects_of(numbers, weight)
        yield *answers.of_subjects(*parts, own), own


def _row_parts(model, source):
    """The same of rows, their weights, and numbers of their groups, by batches."""
    numbering, codes = Numbering(type(model).__name__), None
    for X, y, weight, size, groups in source.with_groups():
        if not len(X):
            continue
        own = answered(model, answers.log_parts, X, y, **sizes_in(source, size))
        if source.has_groups:
            codes = numbering.numbered(groups, len(X))[0]
        yield *own, row_numbers(weight, X), codes


def check_source_names(model, source):
    """Raise ``ValueError`` for a source whose columns are others than in training."""
    known = vars(model).get("feature_names_in_")
    if source.names is None or known is None:
        return
    if list(known) != source.names:
        raise ValueError(
            f"The source has the columns {source.names}, but {type(model).__name__} "
            f"was fitted with {list(known)}; name those in columns=."
        )


def answered(model, method, *args, **kwargs):
    """What a method says of one batch, which is an array where the source has names."""
    own = functools.partial(method, model, *args, **kwargs)
    return quietly(own, kinds=UserWarning) if text_names(args[0]) is None else own()
