"""The unfitted parts of a mixture, and the fit that is made of them."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._warnings import heard, of_author, of_trainer, tell
from ..engines import run_calls
from ..experts._base import traits
from ..experts._counts import expert_parameters


@dataclass
class Fit:
    """A fitted mixture.

    Attributes
    ----------
    gate, experts, likelihoods : fitted parts
    kept : numbers of the experts that are left of those asked for
    log_likelihood : float, weighted, over the training rows, on the scale of y
    lower_bounds : penalised objective per unit of weight, per iteration
    load : (K,) share of the rows per expert
    n_iter : int
    converged : bool
    history : dict of per-iteration lists
    router : the router with what it learned
    state : what the trainer needs to continue, or None
    before : experts and likelihoods at the maximum of the penalised objective, where
        those of the fit are without what the penalty put into them; or None
    """

    gate: Any
    experts: list
    likelihoods: list
    kept: list
    log_likelihood: float
    lower_bounds: list
    load: np.ndarray
    n_iter: int
    converged: bool
    history: dict
    router: Any = None
    state: Any = None
    before: Any = None

    @property
    def objective_parts(self):
        """Experts and likelihoods from which the objective can be climbed on."""
        return self.before or (self.experts, self.likelihoods)


@dataclass(frozen=True)
class Recipe:
    """Unfitted parts of one mixture.

    Attributes
    ----------
    gate, router, likelihood : strategy objects
    experts : list of unfitted estimators, length K
    names : list of str, of the experts
    seed : int
    expert_seeds : list of int, one per expert, independent of their order
    n_jobs : int or None
    has_shared : bool, whether the mixture has a shared expert
    pooled : bool, whether the experts are members of a pool
    named : bool, whether the experts have names that the user gave
    """

    gate: Any
    router: Any
    likelihood: Any
    experts: list
    names: list
    seed: int = 0
    expert_seeds: list = field(default_factory=list)
    n_jobs: int | None = None
    has_shared: bool = False
    pooled: bool = False
    named: bool = False

    @property
    def n_experts(self):
        """Number of experts asked for."""
        return len(self.experts)

    @property
    def has_noise(self):
        """Whether the last expert is the noise component."""
        return traits(self.experts[-1]).is_noise

    def seed_of(self, number):
        """Seed of what is fitted for one expert."""
        return self.expert_seeds[number] if self.expert_seeds else number

    def run_fits(self, function, arguments):
        """Results of calls that fit experts; a pool's keep their warnings back."""
        calls = [(function, *own) for own in arguments]
        pairs = run_calls(heard, calls, self.n_jobs)
        said = [found for _, found in pairs]
        tell(said, of_author if self.pooled else of_trainer)
        return [result for result, _ in pairs]

    def of_experts(self, kept):
        """The recipe of some of the experts, by number."""
        lists = "names", "experts", "expert_seeds"
        parts = {name: vars(self)[name] for name in lists}
        parts = {k: [own[i] for i in kept] for k, own in parts.items() if own}
        return replace(self, gate=self.gate.only(kept), **parts)

    def fitted_router(self, gate, view):
        """The router with what it learns from the gate's log-weights of all rows."""
        router = copy.deepcopy(self.router)
        if not router.learns:
            return router
        return router.fit(gate.predict_log_proba(view), X=view)


def counts_of(rows, fit):
    """Free parameters of the gate, experts and likelihoods of a fit.

    None stands for one that has no count.
    """
    counts = [fit.gate.count(rows.columns_of(rows.gate_view))]
    for number, expert in zip(fit.kept, fit.experts, strict=True):
        columns = rows.columns_of(rows.expert_views[number])
        counts.append(expert_parameters(expert, columns))
    return counts + [own.n_parameters_ for own in fit.likelihoods]
