"""What gate, experts and shared expert see of X."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .._numerics.design import stays_sparse
from .._sklearn import safe_indexing
from .._tables import features
from .._tables.flat import FlatColumns, find_flat
from .._tables.plain import plain_table
from .._tables.table import has_text, opened, read_table, refuse_text
from ..experts._base import FOREIGN, reads_numbers, reads_sparse, traits
from ..experts._curves import CurveEncoding
from ..experts._encoding import numeric_encoding, weighted_median
from ..experts._foreign import holds_frozen, needs_values, seed_experts
from .parts import SHARED, resolve_gate

# Who reads numbers, and what says of which columns, where it is not known.
PART = "A part that reads numbers", "gate_features"
# Why a fitted mixture refuses text where it has learned from numbers.
HELD_NUMBERS = "it held numbers in training; give numbers there, or fit again and"


class Allowed(NamedTuple):
    """What X may have, by the input tags of scikit-learn."""

    nan: bool
    sparse: bool


NOTHING = Allowed(nan=False, sparse=False)


class Reading:
    """Who reads what of X, as the user wrote it.

    Parameters
    ----------
    asked : Asked
    gate : resolved gate, of a tree that of its nodes
    """

    def __init__(self, asked, gate):
        self.asked, self.gate = asked, gate
        readers = (n for n, e in asked.by_name.items() if self._reads_all(n, e))
        # The first expert that reads all columns as numbers, or None.
        self.numbers_reader = next(readers, None)
        self.gate_columns = asked.gate_features
        own = asked.gate_features is not None or gate.reads_segments
        if asked.pool is not None and not own:
            self.gate_columns = asked.pool.encoding()
        # Columns that the gate cannot read are encoded for it, where all experts read
        # the table as it is, or columns of their own.
        self.may_encode = not own and self.numbers_reader is None

    def _reads_all(self, name, expert):
        return reads_numbers(expert) and self.asked.features_of(name) is None

    @cached_property
    def allowed(self):
        """What all parts allow; nothing where one of them is not as it should be."""
        try:
            return Allowed(self._all_allow("allow_nan"), self._all_allow("sparse"))
        except (TypeError, ValueError, AttributeError):
            return NOTHING

    def _all_allow(self, what):
        if self.gate_columns is not None:
            gate_ok = _view_allows(self.gate_columns, "gate_features", what)
        elif what == "allow_nan" and self.may_encode:
            gate_ok = True
        else:
            gate_ok = self.gate.allows(what)
        named = self.asked.by_name.items()
        return gate_ok and all(self._expert_allows(*own, what) for own in named)

    def _expert_allows(self, name, expert, what):
        columns = self.asked.features_of(name)
        if columns is not None:
            return _view_allows(columns, "expert_features", what)
        if reads_numbers(expert):
            return what == "sparse"
        return features.allows(expert, what)

    def lets_text_in(self):
        """Whether no part reads all columns as numbers."""
        encoded = self.gate_columns is not None or self.may_encode
        if self.gate.numeric and not encoded:
            return False
        return self.gate.reads_segments or self.numbers_reader is None

    def why_numbers(self):
        """Who reads numbers only, for messages: an expert, or the gate."""
        who = f"gate {type(self.gate.node_gate).__name__}"
        name = self.numbers_reader
        if name is not None:
            # As the user gave it: experts take another class from their task.
            who = f"expert {name!r} ({type(self.asked.by_name[name]).__name__})"
        return f"the {who} reads numbers only;"

    def read(self, estimator, X):
        """Validated table; names and counts of columns are set on ``estimator``."""
        X = opened(X, estimator)
        return read_table(
            estimator,
            X,
            reset=True,
            text=self.lets_text_in() and has_text(X),
            allow_nan=self.allowed.nan,
            sparse=self.allowed.sparse,
            why=self.why_numbers,
        )


def what_all_allow(asked):
    """What X may have; nothing where a parameter is not as it should be."""
    try:
        reading = Reading(asked, resolve_gate(asked.gate, asked.owner))
    except (TypeError, ValueError, AttributeError):
        return NOTHING
    return reading.allowed


def _view_allows(columns, name, what):
    transformer = features.resolve(columns, name)
    # Gaps may be filled, or be in columns that are left out; views are checked.
    return what == "allow_nan" or features.allows(transformer, what)


class View(NamedTuple):
    """How one part sees X.

    Attributes
    ----------
    transformer : fitted transformer, or None for X as it is
    numbers : bool, whether the part reads numbers only
    dropped : text columns that it skips
    fill : (p,) values in place of gaps that training did not have, or None
    flat : FlatColumns, what stands where training had no spread, or None
    curves : CurveEncoding, by which the part sees places on curves, or None
    part : who it is, and the parameter that says which columns it sees
    """

    transformer: object
    numbers: bool
    dropped: tuple | list = ()
    fill: np.ndarray | None = None
    flat: FlatColumns | None = None
    curves: CurveEncoding | None = None
    part: tuple = PART

    def of(self, table):
        """What the part sees of a table."""
        seen = self.whole(table)
        if self.curves is not None:
            return table.made_of(seen, self.curves.places)
        return seen if self.flat is None else table.without_spread(seen, self.flat)

    def training(self, table):
        """What the part is trained on: as ``of``, but curves in bins."""
        if self.curves is None:
            return self.of(table)
        return table.made_of(self.whole(table), self.curves.bins)

    def whole(self, table):
        """The columns that the part sees, before they become places on curves."""
        if self.transformer is not None:
            seen = table.view(self.transformer)
            if not self.numbers:
                return seen
            return table.finite(seen, self.transformer, self.part)
        gaps = table.gaps() if self.fill is not None else None
        if gaps is not None:
            return np.where(gaps, self.fill, table.numbers)
        if not self.numbers:
            return table.raw
        if self.dropped:
            return table.finite(table.without(self.dropped), None, self.part)
        return table.numbers


class Views(NamedTuple):
    """From a validated table to what the parts of a fitted mixture see.

    Attributes
    ----------
    gate : View
    experts : list of View, one per expert
    shared : View or None
    text : bool, whether X is a table with columns that are no numbers
    allowed : Allowed
    """

    gate: View
    experts: list
    shared: View | None
    text: bool
    allowed: Allowed

    def read(self, estimator, X):
        """Validated table of rows that are like those of ``fit``."""
        plain = None if self.text else plain_table(estimator, X, self.allowed.nan)
        if plain is not None:
            return plain
        return read_table(
            estimator,
            opened(X, estimator),
            reset=False,
            text=self.text,
            allow_nan=self.allowed.nan,
            sparse=self.allowed.sparse,
            why=lambda: HELD_NUMBERS,
        )

    def gate_view(self, table):
        """What the gate sees."""
        return self.gate.of(table)

    def expert_views(self, table):
        """What each expert sees; equal transformers are applied once."""
        return [view.of(table) for view in self.experts]

    def trained_on(self, table):
        """What gate and experts are trained on."""
        return self.gate.training(table), [v.training(table) for v in self.experts]

    def shared_view(self, table):
        """What the shared expert sees."""
        return self.shared.of(table)

    def only(self, kept):
        """The views of some of the experts, by number."""
        return self._replace(experts=[self.experts[k] for k in kept])

    def plain(self):
        """The views of experts that are given all columns as numbers, as they are."""
        plain = [own._replace(flat=None, numbers=True) for own in self.experts]
        return self._replace(experts=plain)

    def spread(self, kept, n_experts):
        """Views for as many experts as were asked for, of which ``kept`` are left.

        Those that are lost see what the first one does: nobody trains them.
        """
        place = {number: k for k, number in enumerate(kept)}
        return self.only([place.get(number, 0) for number in range(n_experts)])


def fit_views(reading, experts, given, random_state):
    """Fit the transformers of all parts; equal specifications share one.

    Parameters
    ----------
    reading : Reading
    experts : dict of unfitted experts by name, the shared one included
    given : Given
        Rows of weight zero count for nothing, whatever a transformer takes.
    random_state : seeds transformers

    Returns
    -------
    Views
        Of all experts asked for.
    """
    asked, table, weight = reading.asked, given.table, given.weight
    dropped = _skipped(reading, table)
    rows = np.flatnonzero(weight > 0)
    X = table.raw if len(rows) == len(weight) else safe_indexing(table.raw, rows)
    y, weight_left, made = given.labels[rows], weight[rows], []

    def fitted(columns, name, asked_for=True):
        if columns is None:
            return None
        for earlier, transformer in made:
            if features.same(earlier, columns):
                return transformer
        transformer = features.resolve(columns, name)
        seed_experts(random_state, [name], [transformer])
        # What the user has not given has no parameter to name.
        features.fit_features(
            transformer, X, y, weight_left, name if asked_for else None
        )
        made.append((columns, transformer))
        return transformer

    _check_names(asked, experts)
    columns, fill = _gate_columns(reading, table, rows, weight)
    asked_for = columns is asked.gate_features
    gate_columns = fitted(columns, "gate_features", asked_for)
    who = "The gate, which reads numbers,", "gate_features"
    gate = View(gate_columns, reading.gate.numeric, fill=fill, part=who)
    views = {
        name: View(
            fitted(asked.features_of(name), "expert_features"),
            reads_numbers(expert),
            dropped,
            part=(f"Expert {name!r}, which reads numbers,", "expert_features"),
        )
        for name, expert in experts.items()
    }
    gate, views = _as_parts_read(reading, experts, given, gate, views)
    shared = views.pop(SHARED, None)
    text = table.numbers is None
    return Views(gate, [*views.values()], shared, text, reading.allowed)


def _as_parts_read(reading, experts, given, gate, views):
    """Views as places on curves for additive parts, blind for those of others."""
    curved = Curved(given.table, given.weight)
    gate = curved.made(gate, reading.gate.curves)
    views = {n: curved.made(v, traits(experts[n]).curves) for n, v in views.items()}
    blind = Blindness(given.table, given.weight)
    gate, model = blind.made(gate, reading.gate.foreign), reading.asked.variance_model
    return gate, {n: blind.made(v, experts[n], model) for n, v in views.items()}


class Curved:
    """Makes views places on curves; parts with equal parameters share their knots.

    Parameters
    ----------
    table : Table
    weight : ndarray of shape (n,)
    """

    def __init__(self, table, weight):
        self.table, self.weight, self._made = table, weight, []

    def made(self, view, encoding):
        """The view, of curves by an unfitted encoding if there is one."""
        if encoding is None:
            return view
        seen = view.of(self.table)
        for earlier, known, fitted in self._made:
            if earlier is seen and repr(known) == repr(encoding):
                return view._replace(curves=fitted)
        fitted = clone(encoding).fit(seen, self.weight)
        self._made.append((seen, encoding, fitted))
        return view._replace(curves=fitted)


class Blindness:
    """Makes views blind to columns without spread in the rows that count.

    Built-in parts are blind by themselves; what is frozen, or holds what is, has
    learned from other rows.

    Parameters
    ----------
    table : Table
    weight : ndarray of shape (n,)
    """

    def __init__(self, table, weight):
        self.table, self.weight, self._known = table, weight, {}

    def made(self, view, *readers):
        """The view, blind where a reader is an estimator of another library."""
        foreign = [own for own in readers if own is not None and traits(own) is FOREIGN]
        if not foreign or any(map(holds_frozen, foreign)):
            return view
        own, zeroed = self._of(view.of(self.table))
        return view._replace(flat=own if any(map(needs_values, foreign)) else zeroed)

    def _of(self, seen):
        """Flat columns of what a part sees, as they are and as zeros; or None."""
        if id(seen) not in self._known:
            found = find_flat(seen, self.weight)
            zeroed = None if found is None else found.zeroed()
            self._known[id(seen)] = found, zeroed, seen
        return self._known[id(seen)][:2]


def _skipped(reading, table):
    """Text columns of the gate, which experts that read numbers skip."""
    if table.numbers is not None or reading.numbers_reader is None:
        return []
    dropped = reading.gate.text_columns(table.raw)
    refuse_text(table.raw, reading.why_numbers(), skipped=dropped)
    return dropped


def _check_names(asked, experts):
    if not isinstance(asked.expert_features, dict):
        return
    # Members that a pool has left out may be named, too.
    unknown = sorted(set(asked.expert_features) - {*experts, *asked.named[0]})
    if unknown:
        raise ValueError(
            f"expert_features names {unknown}, but the experts are {list(experts)}."
        )


def _gate_columns(reading, table, rows, weight):
    """What the gate sees of a table whose columns it may not be able to read.

    Returns the specification, and what fills gaps that may come later.
    """
    columns, gate, numbers = reading.gate_columns, reading.gate, table.numbers
    if columns is not None or not reading.may_encode:
        return columns, None
    if numbers is not None and not isinstance(numbers, np.ndarray):
        return None, None
    if numbers is None or np.isnan(numbers[rows]).any():
        return None if gate.reads(table.raw) else numeric_encoding(), None
    medians = [weighted_median(column, weight[rows]) for column in numbers[rows].T]
    return None, np.array(medians)


def training_views(views, table, parts):
    """Views of gate and experts; dense where a built-in part cannot read others."""
    keeps_sparse = parts.trainer.keeps_sparse

    def read(view, sparse_too):
        sparse_too = sparse_too and keeps_sparse and stays_sparse(view)
        return view if sparse_too else table.dense(view)

    gate_view, expert_views = views.trained_on(table)
    if parts.gate.numeric:
        gate_view = read(gate_view, parts.gate.reads_sparse)
    expert_views = [
        read(view, reads_sparse(expert)) if reads_numbers(expert) else view
        for expert, view in zip(parts.experts, expert_views, strict=True)
    ]
    return gate_view, expert_views
