"""Unfitted parts of a mixture: gate, experts, noise, trainer, router, likelihood."""

from typing import NamedTuple

from .._numerics.tree import Tree
from ..experts._noise import NOISE, NoiseExpert
from ..gates._tree import NoiseTreeGate
from .presets import (
    TRAINERS,
    adapt_expert,
    check_names,
    preset,
    resolve_gate,
    resolve_router,
)
from .shared import SHARED

# Value of ``noise`` by which its share is the same for every row.
CONSTANT = "constant"
# Name of the trainer's splitter in metadata routing, beside those of the experts.
SPLITTER = "splitter"


class ResolvedParts(NamedTuple):
    """Unfitted parts of a mixture, as objects."""

    gate: object
    names: list
    experts: list
    trainer: object
    router: object
    likelihood: object
    shared: object

    def by_name(self):
        """Experts by name, the shared one included."""
        named = dict(zip(self.names, self.experts, strict=True))
        return named if self.shared is None else {**named, SHARED: self.shared}


class Parts:
    """From parameters to unfitted parts, noise included.

    The estimator gives ``_named_experts``, ``_pool``, ``_make_likelihood`` and
    ``_resolve_shared``.
    """

    def _resolve_parts(self):
        """Objects for what the user wrote, checked and cloned."""
        owner = type(self).__name__
        gate = resolve_gate(self.gate, owner)
        if self._pool() is not None:
            self._pool().check()
            if self._has_noise():
                raise ValueError(
                    f"{owner} got experts={self.experts!r} with noise={self.noise!r}, "
                    "but a pool is made for two stages, which fit no noise; list the "
                    "experts instead."
                )
        names, experts = self._named_experts()
        if not names:
            raise ValueError(f"{owner} got experts=[], but expected at least one.")
        likelihood = self._make_likelihood()
        check_names(names, {*self._get_param_names(), SPLITTER}, owner)
        experts = [
            adapt_expert(e, name, self._classify, owner, likelihood)
            for name, e in zip(names, experts, strict=True)
        ]
        trainer = preset(self.trainer, TRAINERS, "trainer", owner)
        router = resolve_router(self.router, len(experts), owner)
        gate = self._whole_gate(gate, len(experts))
        names, experts = self._and_noise(names, experts)
        shared = self._resolve_shared(names, experts, owner)
        return ResolvedParts(gate, names, experts, trainer, router, likelihood, shared)

    def _has_noise(self):
        """Whether a noise component is asked for."""
        return bool(getattr(self, "noise", False))

    def _constant_noise(self):
        """Whether noise has the same share of every row."""
        return getattr(self, "noise", False) == CONSTANT

    def _whole_gate(self, gate, n_experts):
        """The gate over experts, and over noise where its share is constant."""
        if not self._constant_noise():
            return gate
        return NoiseTreeGate(gate, Tree(((None,) * n_experts, None)))

    def _and_noise(self, names, experts):
        """Names and experts, and the noise component if there is one."""
        if not self._has_noise():
            return names, experts
        return [*names, NOISE], [*experts, NoiseExpert()]
