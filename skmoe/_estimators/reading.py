"""What gate, experts and shared expert see of X."""

import numpy as np
from sklearn.utils import get_tags

from .._numerics.design import stays_sparse
from .._sklearn import safe_indexing
from .._tables import features
from .._tables.table import read_table, refuse_text
from ..experts._base import reads_numbers, reads_sparse
from ..experts._encoding import numeric_encoding, weighted_median
from .presets import resolve_gate
from .shared import SHARED


class Reading:
    """Validation of X, and the view of each part."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # A fitted mixture is asked several times per prediction.
        allowed = getattr(self, "_allowed", None) or self._what_all_allow()
        tags.input_tags.allow_nan, tags.input_tags.sparse = allowed
        return tags

    def _what_all_allow(self):
        """Whether all parts allow NaN, and sparse matrices."""
        try:
            return self._all_allow("allow_nan"), self._all_allow("sparse")
        except (TypeError, ValueError, AttributeError):
            # Tags are asked for before parameters are validated.
            return False, False

    def _all_allow(self, what):
        gate = resolve_gate(self.gate, type(self).__name__)
        gate_features = features.resolve(self._gate_columns(gate), "gate_features")
        if gate_features is not None:
            gate_ok = self._view_allows(gate_features, what)
        elif what == "allow_nan" and self._may_encode(gate):
            gate_ok = True
        else:
            gate_ok = gate.allows(what)
        named = self._and_shared(*self._named_experts())
        return gate_ok and all(
            self._expert_allows(name, expert, what) for name, expert in named.items()
        )

    def _expert_allows(self, name, expert, what):
        spec = features.resolve(self._features_of(name), "expert_features")
        if spec is not None:
            return self._view_allows(spec, what)
        if reads_numbers(expert):
            return what == "sparse"
        return features.allows(expert, what)

    def _view_allows(self, transformer, what):
        # Gaps may be filled, or be in columns that are left out; views are checked.
        return what == "allow_nan" or features.allows(transformer, what)

    def _features_of(self, name):
        """Specification of the columns of a named expert, or of the shared one.

        A specification for all is one for the routed experts: the shared expert sees
        X as it is, unless a dict names it.
        """
        if isinstance(self.expert_features, dict):
            return self.expert_features.get(name)
        return None if name == SHARED else self.expert_features

    def _gate_columns(self, gate):
        """Specification of what the gate sees: numbers, where the experts are a pool.

        A gate of known segments reads its column as it is.
        """
        pool = self._pool()
        if self.gate_features is None and pool and not gate.reads_segments:
            return pool.encoding()
        return self.gate_features

    def _may_encode(self, gate):
        """Whether columns that the gate cannot read are encoded for it.

        They are where all experts read the table as it is, or columns of their own.
        """
        named = self._and_shared(*self._named_experts())
        own = self.gate_features is not None or gate.reads_segments
        return not own and self._numbers_reader(named) is None

    def _numbers_reader(self, experts):
        """Name of the first expert that reads all columns as numbers, or None."""
        return next((n for n, e in experts.items() if self._reads_all(n, e)), None)

    def _reads_all(self, name, expert):
        return reads_numbers(expert) and self._features_of(name) is None

    def _read(self, X, *, reset, gate=None, experts=None):
        """Validated table; ``experts`` maps names to unfitted experts."""
        allow_text = reset and self._lets_text_in(gate, experts)
        if reset:
            self._allowed = self._what_all_allow()

        def why():
            if reset:
                return self._reads_numbers_only(gate, experts)
            return "it held numbers in training; give numbers there, or fit again and"

        tags = get_tags(self).input_tags
        return read_table(
            self, X, reset=reset, allow_text=allow_text, tags=tags, why=why
        )

    def _reads_numbers_only(self, gate, experts):
        """Who reads numbers only, for messages: an expert, or the gate."""
        who = f"gate {type(gate.node_gate).__name__}"
        name = self._numbers_reader(experts)
        if name is not None:
            # As the user gave it: experts take another class from their task.
            kind = type(self._and_shared(*self._named_experts())[name]).__name__
            who = f"expert {name!r} ({kind})"
        return f"the {who} reads numbers only;"

    def _lets_text_in(self, gate, experts):
        """Whether no part reads all columns as numbers."""
        encoded = self._gate_columns(gate) is not None or self._may_encode(gate)
        if gate.numeric and not encoded:
            return False
        return gate.reads_segments or self._numbers_reader(experts) is None

    def _gate_encoding(self, table, gate, rows, weight):
        """What the gate sees of a table whose columns it may not be able to read."""
        self._gate_fill = None
        spec = self._gate_columns(gate)
        if spec is not None or not self._may_encode(gate):
            return spec
        numbers = table.numbers
        if numbers is None:
            return None if gate.reads(table.raw) else numeric_encoding()
        if not isinstance(numbers, np.ndarray):
            return None
        if np.isnan(numbers[rows]).any():
            return None if gate.reads(table.raw) else numeric_encoding()
        # Gaps may come later.
        self._gate_fill = np.array(
            [weighted_median(column, weight[rows]) for column in numbers[rows].T]
        )
        return None

    def _fit_features(self, table, y, weight, gate, experts):
        """Fit the transformers of the gate and of ``experts``, a dict by name."""
        self._dropped = []
        built_in = self._numbers_reader(experts) is not None
        if table.numbers is None and built_in:
            # Built-in experts read numbers: they skip the text column of the gate.
            self._dropped = gate.text_columns(table.raw)
            why = self._reads_numbers_only(gate, experts)
            refuse_text(table.raw, why, skipped=self._dropped)
        # Rows of weight zero must count for nothing, whatever a transformer takes.
        rows = np.flatnonzero(weight > 0)
        X = table.raw if len(rows) == len(weight) else safe_indexing(table.raw, rows)
        made = []

        def fitted(spec, name):
            """Equal specifications share one fitted transformer."""
            for earlier, transformer in made:
                if features.same(earlier, spec):
                    return transformer
            transformer = features.resolve(spec, name)
            if transformer is not None:
                self._seed_experts([name], [transformer])
            features.fit_features(transformer, X, y[rows], weight[rows], name)
            made.append((spec, transformer))
            return transformer

        if isinstance(self.expert_features, dict):
            known = {*experts, *(self._named_experts()[0] if self._pool() else ())}
            unknown = sorted(set(self.expert_features) - known)
            if unknown:
                raise ValueError(
                    f"expert_features names {unknown}, but the experts are "
                    f"{list(experts)}."
                )
        encoding = self._gate_encoding(table, gate, rows, weight)
        self.gate_features_ = fitted(encoding, "gate_features")
        found = {
            name: fitted(self._features_of(name), "expert_features") for name in experts
        }
        self._shared_features = found.pop(SHARED, None)
        self.expert_features_ = list(found.values())

    def _training_views(self, table, gate, experts, keeps_sparse):
        """Views of gate and experts; dense where a built-in part cannot read others.

        ``keeps_sparse`` says whether the trainer takes sparse views.
        """
        gate_view = self._gate_view(table, gate)
        views = self._expert_views(table, experts, range(len(experts)))

        def read(view, sparse_too):
            sparse_too = sparse_too and keeps_sparse and stays_sparse(view)
            return view if sparse_too else table.dense(view)

        if gate.numeric:
            gate_view = read(gate_view, gate.reads_sparse)
        views = [
            read(view, reads_sparse(expert)) if reads_numbers(expert) else view
            for expert, view in zip(experts, views, strict=True)
        ]
        return gate_view, views

    def _gate_view(self, table, gate=None):
        gate = self.gate_ if gate is None else gate
        if self.gate_features_ is None:
            return self._plain_gate_view(table, gate)
        view = table.view(self.gate_features_)
        return table.finite(view, self.gate_features_) if gate.numeric else view

    def _plain_gate_view(self, table, gate):
        """What a gate sees of a table that it can read, but for gaps that are new."""
        numbers, fill = table.numbers, self._gate_fill
        if fill is not None and table.has_gaps and np.isnan(numbers).any():
            return np.where(np.isnan(numbers), fill, numbers)
        return numbers if gate.numeric else table.raw

    def _expert_views(self, table, experts=None, kept=None):
        """What each expert sees; equal transformers are applied once."""
        experts = self.experts_ if experts is None else experts
        kept = self._kept if kept is None else kept
        return [
            self._expert_view(table, expert, self.expert_features_[k])
            for expert, k in zip(experts, kept, strict=True)
        ]

    def _expert_view(self, table, expert, transformer):
        if transformer is not None:
            view = table.view(transformer)
            return table.finite(view, transformer) if reads_numbers(expert) else view
        if not reads_numbers(expert):
            return table.raw
        if self._dropped:
            return table.finite(table.without(self._dropped))
        return table.numbers

    def _shared_view(self, table, expert):
        """What the shared expert sees."""
        return self._expert_view(table, expert, self._shared_features)
