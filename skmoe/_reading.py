"""What gate, experts and shared expert see of X."""

import numpy as np
from sklearn.utils import get_tags

from . import _features
from ._columns import text_columns
from ._inputs import read_table
from ._resolve import resolve_gate
from ._shared import SHARED
from ._sklearn import safe_indexing
from .experts._base import reads_numbers


def reads_segments(gate):
    """Whether a gate, or those of a tree, reads known segments from a column."""
    return hasattr(getattr(gate, "gate", gate), "segments")


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
        gate_features = _features.resolve(self._gate_columns(gate), "gate_features")
        if gate_features is not None:
            gate_ok = self._view_allows(gate_features, what)
        elif hasattr(gate, "_resolved"):
            gate_ok = _features.allows(gate._resolved(), what)
        else:
            gate_ok = not gate.numeric or what == "sparse"
        named = self._and_shared(*self._named_experts())
        return gate_ok and all(
            self._expert_allows(name, expert, what) for name, expert in named.items()
        )

    def _expert_allows(self, name, expert, what):
        spec = _features.resolve(self._features_of(name), "expert_features")
        if spec is not None:
            return self._view_allows(spec, what)
        if reads_numbers(expert):
            return what == "sparse"
        return _features.allows(expert, what)

    def _view_allows(self, transformer, what):
        # Gaps may be filled, or be in columns that are left out; views are checked.
        return what == "allow_nan" or _features.allows(transformer, what)

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
        if self.gate_features is None and pool and not reads_segments(gate):
            return pool.encoding()
        return self.gate_features

    def _read(self, X, *, reset, gate=None, experts=None):
        """Validated table; ``experts`` maps names to unfitted experts."""
        gate = self.gate_ if gate is None else gate
        if experts is None:
            specs = [self.expert_features_[k] for k in self._kept]
            parts = [*zip(self.experts_, specs, strict=True)]
            parts.append((self.shared_expert_, self._shared_features))
        else:
            parts = [(e, self._features_of(name)) for name, e in experts.items()]
        numeric_gate = gate.numeric and self._gate_columns(gate) is None
        linear = any(reads_numbers(e) and spec is None for e, spec in parts)
        drops = reads_segments(gate)
        allow_text = not numeric_gate and (not linear or drops)
        if reset:
            self._allowed = self._what_all_allow()
        tags = get_tags(self).input_tags
        return read_table(self, X, reset=reset, allow_text=allow_text, tags=tags)

    def _fit_features(self, table, y, weight, gate, experts):
        """Fit the transformers of the gate and of ``experts``, a dict by name."""
        self._dropped = []
        built_in = any(reads_numbers(e) for e in experts.values())
        if table.numbers is None and built_in:
            # Built-in experts read numbers: they skip the text column of the gate.
            self._dropped = text_columns(table.raw)
        # Rows of weight zero must count for nothing, whatever a transformer takes.
        rows = np.flatnonzero(weight > 0)
        X = table.raw if len(rows) == len(weight) else safe_indexing(table.raw, rows)
        made = []

        def fitted(spec, name):
            """Equal specifications share one fitted transformer."""
            for earlier, transformer in made:
                if _features.same(earlier, spec):
                    return transformer
            transformer = _features.resolve(spec, name)
            if transformer is not None:
                self._seed_experts([name], [transformer])
            _features.fit_features(transformer, X, y[rows], weight[rows])
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
        self.gate_features_ = fitted(self._gate_columns(gate), "gate_features")
        found = {
            name: fitted(self._features_of(name), "expert_features") for name in experts
        }
        self._shared_features = found.pop(SHARED, None)
        self.expert_features_ = list(found.values())

    def _training_views(self, table, gate, experts):
        """Views of gate and experts; dense where a built-in part reads them."""
        gate_view = self._gate_view(table, gate)
        views = self._expert_views(table, experts, range(len(experts)))
        if gate.numeric:
            gate_view = table.dense(gate_view)
        views = [
            table.dense(view) if reads_numbers(expert) else view
            for expert, view in zip(experts, views, strict=True)
        ]
        return gate_view, views

    def _gate_view(self, table, gate=None):
        gate = self.gate_ if gate is None else gate
        if self.gate_features_ is None:
            return table.numbers if gate.numeric else table.raw
        view = table.view(self.gate_features_)
        return table.finite(view, self.gate_features_) if gate.numeric else view

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
