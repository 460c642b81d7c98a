"""Fitting to a source of rows, and what a fitted mixture answers of one."""

from __future__ import annotations

import functools
from typing import cast

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .._numerics.design import (
    CHUNK_ROWS,
    NEGLIGIBLE_WEIGHT,
    block_moments,
    merged_moments,
    weight_unit,
)
from .._numerics.sample import ContentSample, label_numbers, row_keys
from .._tables.names import text_names
from .._tables.table import check_units, weights_in_range
from .._typing import Method
from .._warnings import quietly
from ..data import RowSource
from ..engines import TreeSum, recut
from ..experts._base import traits
from ..experts._foreign import warn_without_weight
from ..routers import DenseRouter
from ..trainers import EM
from ..trainers._streamed import Stream, StreamedRows
from . import answers
from .batches import batches_for
from .choice import sized
from .fitted import Learned, fit_and_commit, settled
from .target import (
    ClassTarget,
    ValueTarget,
    checked_labels,
    checked_numbers,
    plain_labels,
)
from .training import (
    Given,
    check_size,
    make_task,
    told_by,
    warn_of_light_weights,
    weighted_parts,
    widths_of,
)
from .views import Reading, fit_views, training_views

# Cells of the sample that starts and a first run are made on, and its rows.
SAMPLE_CELLS, LEAST_SAMPLE, LARGEST_SAMPLE = 1 << 22, 20_000, 200_000


def sample_rows(n_columns):
    """Rows of the sample for so many columns."""
    rows = SAMPLE_CELLS // max(n_columns, 1)
    return min(max(rows, LEAST_SAMPLE), LARGEST_SAMPLE)


def fit_source(model, source, **given):
    """Fit a mixture to a ``RowSource``; returns the mixture.

    ``given`` are arguments of ``fit`` that a source holds itself, or that it cannot
    have.
    """
    parts = model._resolve()
    refuse_others(model, parts, given)
    return fit_after(model, parts, first_pass(model, parts, source), source)


def fit_after(model, parts, first, source):
    """Fit a mixture to rows of which the first pass is made; returns the mixture.

    ``source`` is what callbacks are told.
    """
    reading = Reading(parts.asked, parts.gate.node_gate)
    batches = first.batches
    weight, numbers, words, labels = first.sample.rows()
    X = batches.table(numbers, words)
    table, target = reading.read(model, X), first.target()
    if batches.names is not None:
        model.feature_names_in_ = np.asarray(batches.names, dtype=object)
    encoded = target.encode(labels)
    own = Given(table, target, labels, encoded, weight / first.unit, first.unit)
    parts, is_open = settled(model, parts, goes_on=False)
    check_size(parts, first.n_rows)
    views = fit_views(reading, parts.by_name(), own, model.random_state)
    if not serves_sums(parts):
        # A sample does not know which columns have no spread in all rows.
        views = views.plain()
    seen = training_views(views, table, parts)
    widths = widths_of(parts.names, seen)
    task, choice = make_task(model, parts, own, seen), None
    code = batches.coding(views)
    stream, X = first.stream(target, code), code(X)
    if is_open:
        parts, task, views, choice = sized(model, parts, task, views, target)
    warn_without_weight(weighted_parts(parts, own.weight))
    warn_of_light_weights(parts, first.total, first.n_rows)
    task = task.of_rows(StreamedRows(**task.rows.fields(), stream=stream, X=X))
    learned = Learned(views, target, None, widths, choice=choice)
    return fit_and_commit(model, parts, task, None, learned, source, None)


def first_pass(model, parts, source):
    """The ``FirstPass`` over a source for the parts of a mixture."""
    reading = Reading(parts.asked, parts.gate.node_gate)
    batches = batches_for(reading, source)

    def read():
        return FirstPass(model, source, parts.support, batches)

    return source.remembered((type(batches), repr(parts.support)), read)


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
        self.source, self.names, self._known = source, source.names, {}

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
    sums = likelihood.dispersions is not None and likelihood.takes != "trials"
    fused = _is_fused(parts)
    ends = isinstance(trainer, EM) and trainer.objective != "prediction"
    return [
        (
            f"experts={asked.experts!r}",
            not served,
            "use LinearExpert or AdditiveExpert",
        ),
        (
            f"gate={asked.gate!r}",
            not (gate.streams or fused),
            "use gate='softmax', 'additive', 'gaussian' or 'constant'; in a tree "
            "'softmax', with linear experts of values or classes",
        ),
        (
            f"likelihood={parts.likelihood!r}",
            not (sums or fused),
            "use a family whose dispersions are told by name, such as 'gaussian', "
            "'poisson' or 'student-t'",
        ),
        (
            f"router={asked.router!r}",
            type(parts.router) is not DenseRouter,
            "use router=None",
        ),
        (
            f"trainer={asked.trainer!r}",
            not ends,
            "use trainer='em' with the likelihood as its objective",
        ),
    ]


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
        "gate_features": (None, "use gate_features=None"),
        "expert_features": (None, "use expert_features=None"),
        "class_weight": (None, "give the source weights of the rows"),
        "n_members": (1, "use n_members=1"),
        "warm_start": (False, "use warm_start=False"),
    }
    values = {name: vars(model).get(name, own[0]) for name, own in remedies.items()}
    return [
        (f"{name}={value!r}", _differs(value, remedies[name][0]), remedies[name][1])
        for name, value in values.items()
    ]


def _differs(value, default):
    return value is not None if default is None else value != default


class FirstPass:
    """All that training asks of a source before EM, in one pass over its rows.

    Attributes
    ----------
    n_rows, total : rows of positive weight, and the sum of their weights
    span : (2, d) least and largest outputs, None of classes
    unit : float, what a weight of one stands for in training
    sample : ContentSample of weights, numbers, words and targets
    """

    def __init__(self, model, source, likelihood, batches):
        self._begin(model, source, likelihood, batches)
        for number, block in enumerate(recut(self._read(), CHUNK_ROWS)):
            self._add_moments(number, *block)
        self._finish()

    def _begin(self, model, source, likelihood, batches):
        self.model, self.source, self.likelihood = model, source, likelihood
        self.batches, self.n_dims, self.classes = batches, None, None
        self.sample, self.n_rows, self.span = None, 0, None
        self.lightest, self.heaviest = np.inf, 0.0
        self.columns, self.outputs = TreeSum(merged_moments), TreeSum(merged_moments)

    def _add_moments(self, number, X, y, weight):
        """Take the moments of a block of rows by its number among those of all rows."""
        self.columns.add(number, block_moments(X, weight))
        if not self.model._classify:
            own = block_moments(y.reshape(len(y), -1), weight)
            self.outputs.add(number, own)

    def _finish(self):
        """Check what was found of all rows, and find the unit of their weights."""
        if not self.n_rows:
            raise ValueError(
                "The source has no rows of positive weight, but expected some; the "
                "factory must return a fresh iterator each time."
            )
        self.columns, self.outputs = self.columns.total(), self.outputs.total()
        self.total = float(self.columns.weight)
        weights_in_range(np.array([self.total]), "sample_weight of the source")
        if self.lightest <= NEGLIGIBLE_WEIGHT * self.heaviest:
            raise ValueError(
                f"sample_weight of the source goes from {self.lightest:.3g} to "
                f"{self.heaviest:.3g}, beside which a row is lost; give the lightest "
                "rows a weight of zero."
            )
        self.unit = weight_unit(self.total / self.n_rows)

    def _read(self):
        """Validated rows of positive weight, of which the sample is drawn."""
        for X, y, weight in self.source.batches():
            if not len(X):
                continue
            rows = *self.batches.read(X), self._labels(y, X), row_numbers(weight, X)
            counts = rows[-1] > 0
            if not counts.any():
                continue
            if not counts.all():
                rows = [own[counts] for own in rows]
            yield self._taken(*rows)

    def _taken(self, X, words, y, weight):
        """Rows that count, of which the sample takes its share."""
        if not self.model._classify:
            self.likelihood.check_target(y.reshape(len(y), -1))
        if self.sample is None:
            self.sample = ContentSample(sample_rows(X.shape[1]))
        self._count(weight, y)
        numbers = label_numbers(y) if self.model._classify else y
        keys = row_keys(np.column_stack([X, numbers]))
        self.sample.add(keys, weight, X, words, y)
        return self.batches.measured(X), y, weight

    def _labels(self, y, X):
        """A batch of y as ``fit`` takes it."""
        if self.model._classify:
            y = checked_labels(y, X)
            check_classification_targets(y)
            return y
        y = checked_numbers(y, X, self.model)
        if self.n_dims is None:
            self.n_dims = y.shape[1:]
        if y.shape[1:] != self.n_dims:
            raise ValueError(
                f"A batch has y of shape {y.shape}, but the first one has "
                f"{('n', *self.n_dims)}; give the same outputs each time."
            )
        check_units(y.reshape(len(y), -1), ["y"] * y[:1].size, small=True)
        return y

    def _count(self, weight, y):
        self.n_rows += len(weight)
        self.lightest = min(self.lightest, float(weight.min()))
        self.heaviest = max(self.heaviest, float(weight.max()))
        if self.model._classify:
            known = np.unique(y)
            before = known if self.classes is None else self.classes
            self.classes = np.union1d(before, known)
            return
        ends = y.reshape(len(y), -1)
        self.span = joined_spans(ends if self.span is None else self.span, ends)

    def target(self):
        """The target, by all rows."""
        if self.model._classify:
            return ClassTarget(self.classes)
        return ValueTarget(1 + len(self.n_dims), int(np.prod(self.n_dims)))

    def stream(self, target, code):
        """What training is given to read all rows again; ``code`` reads columns."""
        tell = told_by(self.model)
        n_sample = len(self.sample.rows()[0])
        tell(f"first pass: {self.n_rows} rows, {n_sample} different ones in the sample")

        def read():
            return encoded(self.source, target, code, self.unit)

        return Stream(
            read=read,
            n_rows=self.n_rows,
            columns=self.columns._replace(weight=self.total / self.unit),
            outputs=None if self.model._classify else self.outputs,
            span=self.span,
            dtype=self.batches.dtype,
            whole=self.sample.whole,
            tell=tell,
        )


def joined_spans(one, other):
    """Least and largest outputs (2, d) of the rows of both."""
    low = np.minimum(one.min(axis=0), other.min(axis=0))
    return np.stack([low, np.maximum(one.max(axis=0), other.max(axis=0))])


def encoded(source, target, code, unit):
    """Rows of positive weight as training reads them, which were checked before."""
    for X, y, weight in source.batches():
        if not len(X):
            continue
        X = code(X)
        own = np.asarray(y, dtype=float) if target.classes is None else plain_labels(y)
        y = target.encode(own if own.ndim == 1 or target.classes is None else own[:, 0])
        weight = row_numbers(weight, X) / unit
        counts = weight > 0
        yield (X, y, weight) if counts.all() else (X[counts], y[counts], weight[counts])


def row_numbers(weight, X):
    """Weights (n,) of the rows of a batch, ones for None."""
    n_rows = len(X)
    if weight is None:
        return np.ones(n_rows)
    weight = np.asarray(weight, dtype=np.float64)
    if weight.shape != (n_rows,) or not np.all(np.isfinite(weight) & (weight >= 0.0)):
        raise ValueError(
            f"A batch of {n_rows} rows has sample_weight of shape {weight.shape}, but "
            "expected a finite number >= 0 for each row; leave out rows without one."
        )
    return weight


def in_batches(method: Method, reads_target: bool = False) -> Method:
    """A method of rows that answers a ``RowSource`` by an iterator over its batches."""

    @functools.wraps(method)
    def wrapped(self, X, *args, **kwargs):
        if not isinstance(X, RowSource):
            return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        check_source_names(self, X)
        batches = ((own, y) for own, y, _ in X.batches() if len(own))
        return (
            answered(self, method, *own[: 1 + reads_target], *args, **kwargs)
            for own in batches
        )

    return cast(Method, wrapped)


#: The same for a method of rows and their target, which a source holds.
densities = functools.partial(in_batches, reads_target=True)


def source_parts(model, source):
    """Log gate weights and log-densities (n, K), and weights (n,), batch by batch."""
    check_source_names(model, source)
    for X, y, weight in source.batches():
        if len(X):
            own = answered(model, answers.log_parts, X, y)
            yield *own, row_numbers(weight, X)


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
