"""Gates that gain from sums over rows that come in blocks."""

import copy

import numpy as np

from .._numerics.curve_sums import CurveShares
from .._numerics.design import from_data_scale, read_only
from .._numerics.evidence import ridge_of_softmax
from .._numerics.linalg import Penalty
from .._numerics.part_sums import MultinomialSums, PartSums


class GateSums(PartSums):
    """``PartSums`` of a gate."""

    def add(self, sums, theta, X, resp, weight):
        """Add what a block of rows with responsibilities (n, K) says, in place."""
        raise NotImplementedError

    def moved(self, theta, sums):
        """Parameters after one M-step."""
        raise NotImplementedError

    def renewed(self, theta, sums):
        """The same with penalties by evidence, and how far they moved."""
        return self, 0.0

    def of_total(self, theta, total):
        """The same for rows of another weight together, and its parameters there."""
        return self, theta

    def without(self, theta, k):
        """The same, and its parameters, without the expert in position ``k``."""
        left = np.delete(theta.reshape(self.n_experts, -1), k, axis=0)
        other = copy.copy(self)
        other.n_experts = self.n_experts - 1
        return other, left.ravel()


class SoftmaxSums(MultinomialSums, GateSums):
    """One Newton step of a softmax gate."""

    def __init__(self, gate, design):
        super().__init__(gate, design)
        self.n_experts = len(gate.coef_)

    def vector(self, gate):
        return from_data_scale(gate.coef_, gate.intercept_, self.design).ravel()

    def zeros(self):
        return self.zeros_of(self.n_experts)

    def add(self, sums, theta, X, resp, weight):
        self.add_targets(sums, theta, X, resp, weight)

    def moved(self, theta, sums):
        return self.step(theta, sums, *Penalty.of(self.part))

    def renewed(self, theta, sums):
        if not self.part.renews:
            return self, 0.0
        chosen = ridge_of_softmax(sums[1], self.coef(theta), self.part.strength)
        gate, moved = self.part.moved_to(chosen)
        return self.with_part(gate), moved


class CurveGateSums(CurveShares, GateSums):
    """One Newton step of an additive gate."""

    def __init__(self, gate):
        super().__init__(gate)
        self.n_experts = self.n_sets

    def add(self, sums, theta, X, resp, weight):
        self.add_targets(sums, theta, X, resp * weight[:, None])

    def moved(self, theta, sums):
        return self.moved_shares(theta, sums)

    def renewed(self, theta, sums):
        return self.told_shares(theta, sums)

    def without(self, theta, k):
        gate = self.at(theta).dropped(k)
        return type(self)(gate), self.vector(gate)


class ConstantSums(GateSums):
    """Proportions of all rows."""

    def __init__(self, gate):
        super().__init__(gate)
        self.n_experts = len(gate.intercept_)

    def vector(self, gate):
        return gate.intercept_ - gate.intercept_.mean()

    def at(self, theta):
        return copy.copy(self.part).set_standardised(theta[:, None], None)

    def zeros(self):
        return (np.zeros(self.n_experts),)

    def add(self, sums, theta, X, resp, weight):
        sums[0][:] += weight @ resp

    def moved(self, theta, sums):
        logits = np.log(np.maximum(sums[0] / sums[0].sum(), np.finfo(float).tiny))
        return logits - logits.mean()


class GaussianSums(GateSums):
    """Second moments of the columns by expert, of which a Gaussian gate is made.

    Parameters
    ----------
    gate : GaussianGate, fitted to rows with ``mass``
    design : Design
    mass : float, weight of the rows that it was fitted to
    total : float, weight of all rows
    """

    def __init__(self, gate, design, mass, total):
        super().__init__(gate)
        self.design = design._replace(X=design.X[:0])
        self.mass, self.total = mass, total
        self.n_experts = len(gate.weights_)

    def of_total(self, theta, total):
        other = copy.copy(self)
        other.mass = other.total = total
        return other, other.vector(self.at(theta))

    def vector(self, gate):
        return (gate.moments(self.design, self.mass) / self.mass).ravel()

    def _moments(self, theta):
        n_channels = self.design.X.shape[1] + 1
        return theta.reshape(self.n_experts, n_channels, n_channels)

    def at(self, theta):
        moments = self._moments(theta) * self.total
        return copy.copy(self.part).solve(moments, self.design)

    def zeros(self):
        n_channels = self.design.X.shape[1] + 1
        return (np.zeros((self.n_experts, n_channels, n_channels)),)

    def add(self, sums, theta, X, resp, weight):
        design = self.design._replace(X=read_only(X))
        sums[0][:] += self.part.accumulate(design, resp, weight)

    def moved(self, theta, sums):
        return (sums[0] / self.total).ravel()
