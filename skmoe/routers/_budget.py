"""Experts of unequal cost under a limit on the mean cost of a row."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._numerics.bisection import LARGEST, middle
from .._warnings import warn
from ..experts._noise import NOISE
from ._amounts import amounts, by_names
from ._base import (
    BaseRouter,
    best_first,
    check_positive,
    compacted,
    is_number,
    make_routing,
)

# Of the cost of all experts: for a budget below, a gate that was trained for one expert
# per row is the more accurate on most tables of benchmarks/budget.py.
SMALL_SHARE = 0.4
# Of the multiplier: rows between these ends count as one.
CLOSE = 1e-9
# Sums of many costs are off by no more, relative to the budget.
ROUNDING = 1e-12


class BudgetRouter(BaseRouter):
    """Keep the experts that are worth their cost, within a mean cost per row.

    A row has the set of experts S, of at least one, with the largest ::

        sum over k in S of g_k(x) - lambda * c_k,

    the gate's weight that they hold less a price for what they cost: all with
    ``g_k > lambda * c_k``, or the best one.  The price, one for all rows, is the
    smallest at which the training rows cost no more than the budget on average.
    Rows of which the gate is sure, or for which a cheap expert does, pay for others.
    Trained with all experts; sparse at prediction.  In two stages the gate is trained
    for one expert per row where the budget is below .4 of the cost of all experts, so
    that its weights say who is best by himself.

    Parameters
    ----------
    cost : float, array-like of shape (K,) or dict of str to float, default=1.0
        What it costs to ask each expert about a row, in any unit: seconds, as
        :func:`skmoe.inspection.measure_costs` has them, or money.  A dict is by names
        of experts, of which there may be more than are left; a number is the same for
        all, so that ``budget`` is the mean number of experts of a row.
    budget : float, default=1.5
        Largest mean cost of a row, at least that of the cheapest expert.  It is kept
        on the training rows; others cost as much if they are like them.

    Attributes
    ----------
    multiplier_ : float
        The price lambda of a unit of cost; zero where all experts are affordable.
    mean_cost_ : float
        Of the training rows.  It is far below the budget only where many rows have
        the same gate weights, and all or none of them can have an expert more.

    Notes
    -----
    The multiplier of the constraint is found by halving, as the cost falls while it
    rises.  FrugalML [1]_ and cost-aware cascades [2]_ solve the same problem for
    services that are called in turn, by thresholds on their confidence; here the
    gate's weights take the place of confidences, and no expert is asked in vain.

    References
    ----------
    .. [1] Chen, L., Zaharia, M., Zou, J. (2020). FrugalML: how to use ML prediction
       APIs more accurately and cheaply. NeurIPS.
    .. [2] Xu, Z., Kusner, M., Weinberger, K., Chen, M. (2013). Cost-sensitive tree of
       classifiers. ICML.
    .. [3] Everett, H. (1963). Generalized Lagrange multiplier method for solving
       problems of optimum allocation of resources. Operations Research 11, 399-417.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.routers import BudgetRouter
    >>> log_gate = np.log([[0.7, 0.3], [0.2, 0.8], [0.45, 0.55]])
    >>> router = BudgetRouter([1.0, 5.0], budget=3.0).fit(log_gate)
    >>> router.route(log_gate).indices.tolist()
    [[0, -1], [1, 0], [0, -1]]
    >>> round(router.mean_cost_, 3)
    2.667
    """

    soft_share = 1.0
    reads_weight = True

    def __init__(self, cost: Any = 1.0, budget: float = 1.5) -> None:
        self.cost = cost
        self.budget = budget

    @property
    def tells_apart(self):
        """Whether experts differ to it: by their costs."""
        return not is_number(self.cost)

    def check(self, n_experts):
        check_positive("BudgetRouter", "budget", self.budget)
        least = self._costs(n_experts).min()
        if self.budget < least:
            raise ValueError(
                f"BudgetRouter got budget={self.budget!r}, but the cheapest expert "
                f"costs {least:g}, and every row has one; raise the budget."
            )

    def of_experts(self, names):
        """A copy with the costs of experts of these names, in their order.

        Costs in an array are those of all experts, of which there are as many names.
        Noise, which has no cost of its own, is as cheap as the cheapest.
        """
        if is_number(self.cost):
            return self
        own = copy.deepcopy(self)
        return own.set_params(
            cost=by_names("BudgetRouter", "cost", self.cost, names, NOISE)
        )

    def resized(self, n_experts):
        own = copy.deepcopy(self)
        costs = own._costs(None)
        if is_number(own.cost) or len(costs) == n_experts:
            return own
        # Which ones are left is not known: the first.
        kept = costs[:n_experts]
        vars(own).pop("multiplier_", None)
        return own.set_params(cost=kept, budget=max(own.budget, float(kept.min())))

    def prefers_one(self, n_experts):
        small = self.budget < SMALL_SHARE * self._costs(n_experts).sum()
        return n_experts > 1 and bool(small)

    def fit(self, log_gate, X=None, sample_weight=None):
        """Find the multiplier at which the rows are within the budget."""
        weights, costs = np.exp(log_gate), self._costs(log_gate.shape[1])
        if sample_weight is None:
            sample_weight = np.ones(len(weights))
        share, budget = sample_weight / sample_weight.sum(), float(self.budget)
        if budget < costs.min():
            budget = float(costs.min())
            warn(
                f"BudgetRouter got budget={self.budget!r}, but the experts that are "
                f"left cost {budget:g} or more, and every row has the cheapest; raise "
                "the budget."
            )
        self.multiplier_ = multiplier(weights, costs, share, budget)
        own = row_costs(weights, costs, self.multiplier_)
        self.mean_cost_ = float(share @ own)
        return self

    def route(self, log_gate, *, X=None, rng=None, training=False):
        if training:
            order = best_first(log_gate)
            return make_routing(log_gate, order)
        check_is_fitted(self, "multiplier_")
        costs = self._costs(log_gate.shape[1])
        kept = worth(np.exp(log_gate), costs, self.multiplier_)
        return make_routing(log_gate, compacted(kept, log_gate))

    def _costs(self, n_experts):
        """Costs (K,), checked; of any number of experts if that is None."""
        return amounts("BudgetRouter", "cost", self.cost, n_experts)


def worth(weights, costs, price):
    """Mask (n, K) of the experts that are worth their cost, at least one per row.

    Parameters
    ----------
    weights : ndarray of shape (n, K)
    costs : ndarray of shape (K,)
    price : float
        Of a unit of cost, in weight.
    """
    kept = weights > price * costs
    alone = np.flatnonzero(~kept.any(axis=1))
    # Beyond the cheapest, so that a high price leaves the digits of its weight.
    best = (weights[alone] - price * (costs - costs.min())).argmax(axis=1)
    kept[alone, best] = True
    return kept


def row_costs(weights, costs, price):
    """Cost (n,) of the experts of each row."""
    return worth(weights, costs, price) @ costs


def multiplier(weights, costs, share, budget):
    """Smallest price, but for rounding, at which rows cost ``budget`` on average.

    Parameters
    ----------
    weights : ndarray of shape (n, K)
    costs : ndarray of shape (K,)
    share : ndarray of shape (n,)
        Of each row in the average.
    budget : float
        No less than the cheapest expert costs.
    """
    most = budget * (1.0 + ROUNDING)
    low, dear = 0.0, row_costs(weights, costs, 0.0)
    if share @ dear <= most:
        return 0.0
    high = 1.0 / costs.max()
    cheap = row_costs(weights, costs, high)
    while share @ cheap > most and high < LARGEST / 4.0:
        high *= 4.0
        cheap = row_costs(weights, costs, high)
    settled = 0.0
    while high > low * (1.0 + CLOSE):
        # A row that costs the same at both ends does so between them.
        moves = dear != cheap
        settled += share[~moves] @ cheap[~moves]
        weights, share = weights[moves], share[moves]
        dear, cheap = dear[moves], cheap[moves]
        price = float(middle(low, high)[0])
        cost = row_costs(weights, costs, price)
        if settled + share @ cost <= most:
            high, cheap = price, cost
        else:
            low, dear = price, cost
    # Rows at the end itself stay below it however they are rounded.
    return high * (1.0 + CLOSE)
