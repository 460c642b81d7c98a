"""Which expert starts with which group of rows; the listing decides nothing."""

import copy
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..._numerics.tree import n_leaves
from .._order import kinds_of
from .refit import RefitMixture

# A gain without bound says no more than a large one.
LARGEST_GAIN = 1e12


def by_name(task, resp):
    """Columns of ``resp`` (n, K) dealt out in the order of the experts' names.

    Experts that are alike but for their seeds get the same groups in any listing.
    """
    n = task.recipe.n_experts - task.recipe.has_bare
    return np.hstack([resp[:, ranks(task.recipe.names[:n])], resp[:, n:]])


def ranks(names):
    """Place of each name among all, shorter names first, so that x2 precedes x10."""
    order = sorted(range(len(names)), key=lambda k: (len(names[k]), names[k]))
    return np.argsort(order)


class Matcher:
    """Gives starting groups to the experts, and places of the gate, that suit them.

    Each kind of expert is fitted to each group, a gate that prefers some experts before
    it has learned anything is asked, and groups are assigned so that the total
    log-likelihood is largest.

    Parameters
    ----------
    problem : RefitMixture
    by_gate : bool
        Whether to ask the gate.
    """

    def __init__(self, problem, *, by_gate=True):
        self.task = problem.task
        self.by_gate = by_gate and not self.task.recipe.gate.exchangeable
        task = self.task.without_bare() if self.task.recipe.has_bare else self.task
        self.problem = RefitMixture(task) if self.task.recipe.has_bare else problem
        self.kinds = kinds_of(task)
        self.places = ranks(task.recipe.names)

    def __call__(self, resp):
        """Columns of ``resp`` (n, K) in the order of the experts that suit them best.

        Noise, if there is any, keeps the last column.
        """
        if len(set(self.kinds)) == 1 and not self.by_gate:
            return resp
        n = len(self.kinds)
        gain = self._explained(resp[:, :n])
        if self.by_gate:
            subjects = self.task.rows.subjects
            mass = subjects.weight[:, None] * subjects.mean(resp)
            gain += (self._preference.T @ mass)[:n, :n]
        return np.hstack([resp[:, self._order(gain)], resp[:, n:]])

    def _explained(self, resp):
        """Log-likelihood (K, K) of each group under each expert fitted to it."""
        if len(set(self.kinds)) == 1:
            return np.zeros((len(self.kinds), len(self.kinds)))
        fits = {k: self.problem.group_log_likelihood(k, resp) for k in {*self.kinds}}
        # An empty group has no likelihood: it says nothing about who should have it.
        gain = np.nan_to_num([fits[kind] for kind in self.kinds])
        return np.clip(gain, -LARGEST_GAIN, LARGEST_GAIN)

    @cached_property
    def _preference(self):
        """Log-weights (S, K) of the gate where all belong to all experts alike."""
        recipe, rows = self.task.recipe, self.task.rows
        shape = len(rows.subjects), recipe.n_experts
        equal = np.full(shape, 1.0 / recipe.n_experts)
        gate = copy.deepcopy(recipe.gate)
        gate = gate.fit(rows.gate_rows, equal, rows.subjects.weight)
        return gate.predict_log_proba(rows.gate_rows)

    def _order(self, gain):
        gate = self.problem.task.recipe.gate
        if gate.tree_for(len(gain)).depth > 1:
            return np.array(best_turn(gate.tree_for(len(gain)).shape, gain)[1])
        return self._in_order_of_names(linear_sum_assignment(-gain)[1], gain)

    def _in_order_of_names(self, order, gain):
        """The same assignment; alike experts share their groups out by name."""
        order = order.copy()
        for kind in set(self.kinds):
            own = np.flatnonzero(np.equal(self.kinds, kind))
            if np.ptp(gain[own], axis=0).max() == 0.0:
                own = own[np.argsort(self.places[own])]
                groups = order[own]
                order[own] = groups[np.argsort(self.places[groups])]
        return order


def best_turn(shape, gain, leaf=0, group=0):
    """Gain and order of groups under which a tree keeps its shape: siblings turn.

    Parameters
    ----------
    shape : nested tuples, None for a leaf
    gain : (K, K) array, of each leaf for each group
    leaf, group : int
        First leaf and first group beneath the node.
    """
    if shape is None:
        return gain[leaf, group], [group]
    starts = np.cumsum([0, *(n_leaves(child) for child in shape)])
    n = len(shape)
    found = {
        (i, j): best_turn(shape[i], gain, leaf + starts[i], group + starts[j])
        for i in range(n)
        for j in range(n)
        if shape[i] == shape[j]
    }
    value = np.full((n, n), -n * LARGEST_GAIN * len(gain))
    for place, (own, _) in found.items():
        value[place] = own
    chosen = linear_sum_assignment(-value)[1]
    parts = [found[i, j] for i, j in enumerate(chosen)]
    return sum(own for own, _ in parts), [g for _, own in parts for g in own]
