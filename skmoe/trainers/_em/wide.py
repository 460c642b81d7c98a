"""EM of linear experts on many columns, or on sparse ones, by products with them.

The same problems as in ``fused``, with the same parameters and objective.  Where a pass
would fill a matrix of curvature for every expert, systems are solved by conjugate
gradients, whose products cost as much as a prediction.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from ..._kernels.multinomial import mixture_curvature
from ..._numerics.evidence import probed, probed_softmax
from ..._numerics.iterative import conjugate_gradients, preconditioner
from ..._numerics.linalg import Penalty, ridge_diagonals, shortened
from ..._numerics.multinomial import MOST_CONTRASTS, ByProducts, contrasts, log_weights
from ..._numerics.products import gather, linear, regress
from .fused import LinearGaussianMixture
from .fused_classes import LinearCategoricalMixture
from .penalties import shared_by

# Share of the slope that a joint Newton step leaves: the curvature is not worth more.
NEWTON_RESIDUAL = 0.3
# Share of its slope that a gate's Newton step leaves, where experts are solved exactly.
GATE_RESIDUAL = 1e-8


@lru_cache(maxsize=16)
def stacked_contrasts(*widths):
    """Contrasts within each of several softmaxes, side by side; all logits of many."""
    if sum(widths) > MOST_CONTRASTS:
        return sparse.eye_array(sum(widths), format="csr")
    return block_diag(*map(contrasts, widths))


class Answers(NamedTuple):
    """What an E-step leaves: arrays over rows.

    Attributes
    ----------
    total : (1,) weighted log-likelihood
    mass : (K,) weighted responsibilities
    resp : (n, K) responsibilities
    slots : (n, S) probabilities of the slots, given their node
    experts : (n, K * C) class probabilities, or (n, K * d) means
    """

    total: np.ndarray
    mass: np.ndarray
    resp: np.ndarray
    slots: np.ndarray
    experts: np.ndarray


class WideMixture:
    """What replaces the passes of a ``LinearMixture`` that fill matrices."""

    def _accumulate(self, parts):
        gate, expert = self._linear(parts[0], parts[1])
        slots = np.empty_like(gate)
        for own in self.tree.slots:
            slots[:, own] = log_weights(gate[:, own])
        log_prob, experts = self._densities(expert, parts)
        joint = self._routed(self.tree.to_leaves(slots)) + log_prob
        best = joint.max(axis=1, keepdims=True)
        resp = np.exp(joint - best)
        norm = resp.sum(axis=1, keepdims=True)
        if self.hard:
            resp = np.eye(self.n_experts)[joint.argmax(axis=1)]
            norm = np.ones_like(norm)
        else:
            resp /= norm
        rows = (best + np.log(norm))[:, 0]
        counted = self.weight > 0
        total = np.array([self.weight[counted] @ rows[counted]])
        return Answers(total, self.weight @ resp, resp, np.exp(slots), experts)

    def _routed(self, log_gate):
        """Log-weights (n, K) within the experts that stay active."""
        if self.n_active >= self.n_experts:
            return log_gate
        return log_weights(self.tree.on_beam(log_gate, self.n_active))

    def _linear(self, gate, expert):
        """Products of both designs, in one go where they are the same.

        What all children of a node have in common changes nothing, so that a product
        is one of contrasts.
        """
        bases = self._bases()
        gate, expert = bases[0].T @ gate, bases[1].T @ expert
        if self.gate is self.expert:
            both = linear(self.gate, np.vstack([gate, expert]), self.n_jobs)
            rows = both[:, : len(gate)], both[:, len(gate) :]
        else:
            parts = (self.gate, gate), (self.expert, expert)
            rows = [linear(*part, self.n_jobs) for part in parts]
        return rows[0] @ bases[0].T, rows[1] @ bases[1].T

    def _gather(self, gate, expert):
        """Sums of rows times columns, the transpose of ``_linear``."""
        bases = self._bases()
        gate, expert = gate @ bases[0], expert @ bases[1]
        if self.gate is self.expert:
            both = gather(self.gate, np.hstack([gate, expert]), self.n_jobs)
            sums = both[: gate.shape[1]], both[gate.shape[1] :]
        else:
            parts = (self.gate, gate), (self.expert, expert)
            sums = [gather(*part, self.n_jobs) for part in parts]
        return bases[0] @ sums[0], bases[1] @ sums[1]

    def _bases(self):
        """What gates and experts are contrasts of: (S, S'), (m, m')."""
        return stacked_contrasts(*self.tree.widths), self._expert_basis()

    # -- the gate ---------------------------------------------------------------

    def _gate_rows(self, mass, rows):
        """Weighted mass (n, S) of slots less what their nodes expect of them."""
        out = np.empty_like(mass)
        for own, above in zip(self.tree.slots, self.tree.parents, strict=True):
            total = self.weight if above < 0 else mass[:, above]
            out[:, own] = mass[:, own] - total[:, None] * rows[:, own]
        return out

    def _gate_curvature(self, mass, slots, move):
        """Curvature of the gates' softmaxes times logits (n, S), and the gates' part in
        the change of each leaf's log-weight."""
        curved, shifted = np.empty_like(move), np.empty_like(move)
        for own, above in zip(self.tree.slots, self.tree.parents, strict=True):
            total = self.weight if above < 0 else mass[:, above]
            p, d = slots[:, own], move[:, own]
            d = d - np.einsum("nk,nk->n", p, d)[:, None]
            curved[:, own] = total[:, None] * p * d
            shifted[:, own] = d
        return curved, self.tree.to_leaves(shifted)

    def _gate_spread(self, mass, slots):
        """Sum over rows of the diagonal of the gates' curvature, (S,)."""
        spread = np.empty(mass.shape[1])
        for own, above in zip(self.tree.slots, self.tree.parents, strict=True):
            total = self.weight if above < 0 else mass[:, above]
            p = slots[:, own]
            spread[own] = total @ (p * (1.0 - p))
        return spread

    def _update_gate(self, coef, statistics):
        if self.gate_channels == 1:
            return self._shares(statistics.mass)
        mass = self.tree.to_slots(self.weight[:, None] * statistics.resp)
        updated = np.empty_like(coef)
        for own, above in zip(self.tree.slots, self.tree.parents, strict=True):
            total = self.weight if above < 0 else mass[:, above]
            model = ByProducts(self.gate, mass[:, own], total, n_jobs=self.n_jobs)
            updated[own] = coef[own] + model.direction(
                statistics.slots[:, own],
                coef[own],
                self.node_ridge(own),
                self.gate_penalty.lasso,
                GATE_RESIDUAL,
            )
        return updated

    def _gate_ridges(self, coef, statistics):
        """Penalties that the evidence of each node asks for, by slot."""
        mass, found = self.tree.to_slots(self.weight[:, None] * statistics.resp), []
        for own, above in zip(self.tree.slots, self.tree.parents, strict=True):
            total = self.weight if above < 0 else mass[:, above]
            model = ByProducts(self.gate, mass[:, own], total, n_jobs=self.n_jobs)
            chosen = probed_softmax(
                model, statistics.slots[:, own], coef[own], self.node_ridge(own)
            )
            found += shared_by(chosen, own)
        return found


class WideGaussianMixture(WideMixture, LinearGaussianMixture):
    """Least squares of experts by conjugate gradients from the coefficients before."""

    #: What a ridge costs is not known without its matrices: its share stays.
    biased = False

    def _densities(self, means, parts):
        """Log-densities (n, K) up to ``log(2 pi)``, and means (n, K, d)."""
        log_variance = parts[2]
        means = means.reshape(-1, self.n_experts, self.n_outputs)
        error = self.target[:, None, :] - means
        squares = np.einsum("nkd,kd->nk", error**2, np.exp(-log_variance))
        return -0.5 * (squares + log_variance.sum(axis=1)), means

    def _expert_basis(self):
        return sparse.eye_array(self.n_experts * self.n_outputs, format="csr")

    def _update_experts(self, parts, statistics):
        weights = self.weight[:, None] * statistics.resp
        return self._regress(weights, parts[1], parts[2])

    def _expert_ridges(self, parts, statistics):
        """Penalties that the evidence of each expert asks for."""
        _, coef, log_variance = parts
        coef = coef.reshape(self.n_experts, self.n_outputs, -1)
        found = []
        each = zip(coef, np.exp(log_variance), self.expert_penalty.ridge, strict=True)
        for k, (own, variance, ridge) in enumerate(each):
            weight = self.weight * statistics.resp[:, k]
            found.append(
                probed(self._products(weight), weight.sum(), ridge, own, variance)
            )
        return found

    def _products(self, weight):
        """Weighted products with the experts' columns, of moves (d, q)."""

        def apply(move):
            rows = linear(self.expert, move, self.n_jobs)
            return gather(self.expert, weight[:, None] * rows, self.n_jobs)

        return apply

    def _start_experts(self, targets):
        n, d = targets.shape[1], self.n_outputs
        coef, unit = np.zeros((n * d, self.expert_channels)), np.zeros((n, d))
        return self._regress(targets * self.weight[:, None], coef, unit)

    def _regress(self, weights, start, log_variance):
        """Coefficients (K * d, q), and variances (K, d) given them."""
        ridge, lasso = self.expert_penalty
        ridge = np.repeat(ridge, self.n_outputs)
        shape = len(weights), self.n_experts, self.n_outputs
        targets = weights[:, :, None] * self.target[:, None, :]
        coef = regress(
            self.expert,
            np.repeat(weights, self.n_outputs, axis=1),
            targets.reshape(len(weights), -1),
            Penalty(ridge, lasso * np.exp(log_variance).ravel()),
            start,
            self.n_jobs,
        )
        error = self.target[:, None, :] - linear(
            self.expert, coef, self.n_jobs
        ).reshape(shape)
        square = np.einsum("nk,nkd->kd", weights, error**2)
        paid = ridge * np.sum(coef[:, :-1] ** 2, axis=1)
        square += paid.reshape(square.shape)
        return coef, self._log_variances(square, weights.sum(axis=0), log_variance)


class WideCategoricalMixture(WideMixture, LinearCategoricalMixture):
    """Newton steps of gates and experts at once, by conjugate gradients.

    The curvature is that of the likelihood itself: what EM leaves out of it, that rows
    change hands, is why EM is slow where experts are flexible.  Where that curvature is
    not positive, the one of EM's bound is used.
    """

    def _densities(self, logits, parts):
        """Log-probabilities (n, K) of the labels, and of all classes."""
        codes, offset = self.target
        logits = logits.reshape(len(codes), self.n_experts, self.n_classes)
        if len(offset):
            logits = logits + offset[:, None, :]
        log_proba = log_weights(logits.reshape(-1, self.n_classes))
        log_proba = log_proba.reshape(logits.shape)
        found = np.take_along_axis(log_proba, codes[:, None, None], axis=2)[:, :, 0]
        return found, np.exp(log_proba)

    def _expert_basis(self):
        return stacked_contrasts(*[self.n_classes] * self.n_experts)

    def _update_experts(self, parts, statistics):
        coef = parts[1].reshape(self.n_experts, self.n_classes, -1)
        ridge, lasso = self.class_penalty
        moves = [
            model.direction(proba, own, strength, lasso)
            for (model, proba), own, strength in zip(
                self._each_expert(statistics), coef, ridge, strict=True
            )
        ]
        return (parts[1] + np.concatenate(moves),)

    def _each_expert(self, statistics):
        """The regression of each expert, and its class probabilities (n, C)."""
        indicators = np.eye(self.n_classes)[self.target.codes]
        for k in range(self.n_experts):
            mass = self.weight * statistics.resp[:, k]
            targets = indicators * mass[:, None]
            model = ByProducts(self.expert, targets, mass, n_jobs=self.n_jobs)
            yield model, np.ascontiguousarray(statistics.experts[:, k])

    def _expert_ridges(self, parts, statistics):
        """Penalties that the evidence of each expert asks for."""
        coef = parts[1].reshape(self.n_experts, self.n_classes, -1)
        each = zip(
            self._each_expert(statistics), coef, self.class_penalty.ridge, strict=True
        )
        return [
            self._of_one_class(probed_softmax(*model, own, near))
            for model, own, near in each
        ]

    def maximise(self, theta, statistics):
        """One Newton step from the parameters."""
        if self.gate_penalty.lasso or self.class_penalty.lasso:
            # Of a lasso each block has its own steps, which end in zeros.
            return super().maximise(theta, statistics)
        parts, step = self.unpack(theta), NewtonStep(self, statistics)
        slope = step.slope(*parts)
        move = None
        if not self.hard and self.n_active == self.n_experts:
            move = step.solve(slope, exact=True)
        if move is None:
            move = step.solve(slope, exact=False)
        return theta + self.pack(*step.shortened(move))


class NewtonStep:
    """Slope and curvature of a categorical mixture at an E-step."""

    def __init__(self, problem, rows):
        self.problem, self.rows = problem, rows
        self.weighted = problem.weight[:, None] * rows.resp
        self.mass = problem.tree.to_slots(self.weighted)
        ridge = np.repeat(problem.class_penalty.ridge, problem.n_classes)
        self.penalties = (
            ridge_diagonals(problem.gate_channels, problem.gate_penalty.ridge),
            ridge_diagonals(problem.expert_channels, ridge),
        )

    def slope(self, gate, expert):
        """Gradient of the penalised log-likelihood."""
        own = self.problem
        rows = -self.weighted[:, :, None] * self.rows.experts
        codes = own.target.codes
        rows[np.arange(len(codes)), :, codes] += self.weighted
        gates = own._gate_rows(self.mass, self.rows.slots)
        parts = own._gather(gates, rows.reshape(len(rows), -1))
        pairs = zip(parts, self.penalties, (gate, expert), strict=True)
        return own.pack(*(part - penalty * at for part, penalty, at in pairs))

    def apply(self, move, exact):
        """Curvature, of the likelihood or of EM's bound, times a move."""
        own, rows = self.problem, self.rows
        gate, expert = own.unpack(move)
        slots, logits = own._linear(gate, expert)
        curved, change = own._gate_curvature(self.mass, rows.slots, slots)
        inner = np.empty_like(rows.experts)
        mixture_curvature(
            own.target.codes,
            self.weighted,
            rows.resp,
            rows.experts,
            logits.reshape(inner.shape),
            change,
            exact,
            inner,
        )
        if exact:
            curved -= self._gate_change(change)
        parts = own._gather(curved, inner.reshape(len(inner), -1))
        pairs = zip(parts, self.penalties, (gate, expert), strict=True)
        return own.pack(*(part + penalty * at for part, penalty, at in pairs))

    def _gate_change(self, change):
        """Slopes of the gates that come with rows that change hands."""
        own = self.problem
        mass = own.tree.to_slots(change)
        out = np.empty_like(mass)
        for slots, above in zip(own.tree.slots, own.tree.parents, strict=True):
            total = 0.0 if above < 0 else mass[:, [above]]
            out[:, slots] = mass[:, slots] - total * self.rows.slots[:, slots]
        return out

    def solve(self, slope, exact):
        """The move, or None where the curvature is not positive at once."""
        own, rows = self.problem, self.rows
        spread = np.einsum(
            "nk,nkc->kc", self.weighted, rows.experts * (1 - rows.experts)
        )
        spreads = own._gate_spread(self.mass, rows.slots), spread.ravel()
        pairs = zip(spreads, self.penalties, strict=True)
        diagonal = own.pack(*(preconditioner(*pair) for pair in pairs))
        return conjugate_gradients(
            lambda move: self.apply(move, exact), slope, diagonal, NEWTON_RESIDUAL
        )

    def shortened(self, move):
        """Gates' and experts' parts of a move, neither too long."""
        gate, expert = self.problem.unpack(move)
        return shortened(gate[None])[0], shortened(expert[None])[0]
