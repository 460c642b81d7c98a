"""EM of linear experts under softmax gates: one fused pass per iteration.

A problem knows how to *evaluate* parameters (E-step: penalised objective and
sufficient statistics) and to *maximise* given the statistics (M-step).  Parameters
are one flat vector, so that accelerators can extrapolate them.
"""

from functools import partial

import numpy as np
from scipy.special import log_softmax

from ..._kernels.em import Rule, Statistics, gaussian_pass
from ..._numerics.design import FEW_COLUMNS, n_varying, read_only, take_rows
from ..._numerics.evidence import ridge_of_values
from ..._numerics.grams import weighted_grams
from ..._numerics.linalg import (
    MOST_SPENT,
    n_pairs,
    newton_direction,
    ridge_diagonal,
    solve_centred,
    solve_lasso,
    unpack_grams,
    without_bias,
)
from ..._numerics.multinomial import fit_multinomial
from ..._numerics.products import linear
from ...engines import map_rows
from ...mixture import e_step
from .penalties import NO_ROWS, NOTHING, ChosenPenalties, take_slots

# Newton steps that bring the gate near the starting responsibilities.
START_STEPS = 4
# With fewer rows per coefficient an expert may fit its rows exactly, and the
# likelihood is unbounded.
ROWS_PER_CHANNEL = 2
# And so many where its spread is next to nothing, as it is where y has no noise.
ROWS_IF_NARROW = 10


class LinearMixture(ChosenPenalties):
    """Linear experts and a tree of softmax gates on row blocks; see the two subclasses.

    Parameters
    ----------
    gate, expert : Design
        Equal objects if both see the same columns: they are then read once.
    target : ndarray
        Standardised outputs (n, d), or ``Labels``.
    weight : (n,) ndarray
    tree : Tree
        Its leaves are the experts; that of a flat gate has one node.
    gate_penalty, expert_penalty : Penalty
        On standardised coefficients; kept with a ridge for each slot of the tree, and
        for each expert.
    by_evidence : ByEvidence
    n_active : int
        Experts that stay active per row in the E-step.
    hard : bool
        One-hot responsibilities (classification EM).
    n_jobs : int or None
    """

    def __init__(
        self,
        gate,
        expert,
        target,
        weight,
        *,
        tree,
        gate_penalty,
        expert_penalty,
        by_evidence=NOTHING,
        n_active=None,
        hard=False,
        n_jobs=None,
    ):
        self.gate, self.expert = gate, expert
        self.target, self.weight = target, weight
        self.tree, self.kept = tree, list(range(tree.n_leaves))
        self.set_penalties(gate_penalty, expert_penalty, by_evidence)
        self.n_active = tree.n_leaves if n_active is None else n_active
        self.hard, self.n_jobs, self.settles = hard, n_jobs, False
        self.total_weight = weight.sum()
        self.gate_channels = gate.X.shape[1] + 1
        self.expert_channels = expert.X.shape[1] + 1

    @property
    def n_experts(self):
        """Number of leaves."""
        return self.tree.n_leaves

    #: What is known of the targets before the fit, (n, d), or zero.
    known = 0.0
    #: Whether the M-step of the experts is exact from any parameters.
    solves_experts = False

    @property
    def biased(self):
        """Whether a ridge has a share in coefficients and variances."""
        return False

    @property
    def keeps_flat(self):
        """Whether nothing pulls at coefficients of columns that become flat."""
        return False

    @property
    def extrapolates(self):
        """Whether moves may be extrapolated: zeros of a lasso would not survive it."""
        return self.gate_penalty.lasso == 0.0 and self.expert_penalty.lasso == 0.0

    def on_rows(self, rows):
        """The same problem, with the same standardisation, on some of the rows."""
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part.gate = take_rows(self.gate, rows)
        shared = self.expert is self.gate
        part.expert = part.gate if shared else take_rows(self.expert, rows)
        part.target = self._target_of(rows)
        part.weight = read_only(self.weight[rows])
        part.total_weight = part.weight.sum()
        return part

    def _target_of(self, rows):
        return read_only(self.target[rows])

    def with_rule(self, **changes):
        """The same problem with another ``n_active`` or ``hard``."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.__dict__.update(changes)
        return other

    def without(self, k):
        """The same problem without the expert in position ``k``."""
        tree, slots = self.tree.without(k)
        return self.with_rule(
            tree=tree,
            kept=self.kept[:k] + self.kept[k + 1 :],
            n_active=min(self.n_active, self.n_experts - 1),
            **self.penalties_without(k, slots),
        )

    def drop(self, theta, k):
        """Parameters of ``without(k)`` from those of this problem."""
        gate, *experts = self.unpack(theta)
        slots = self.tree.without(k)[1]
        keep = np.arange(self.n_experts) != k
        left = [part.reshape(self.n_experts, -1)[keep].ravel() for part in experts]
        return np.concatenate([take_slots(gate, slots).ravel(), *left])

    def stays(self):
        """Which experts may lose all their rows: none."""
        return np.zeros(self.n_experts, dtype=bool)

    # -- E-step ---------------------------------------------------------------

    def evaluate(self, theta):
        """Penalised log-likelihood per unit of weight, and the statistics."""
        statistics = self._accumulate(self.unpack(theta))
        return self.value(theta, statistics), statistics

    def value(self, theta, sums):
        """Penalised log-likelihood per unit of weight."""
        return (sums.total[0] - self._penalty(self.unpack(theta))) / self.total_weight

    def log_likelihood(self, statistics):
        """Weighted log-likelihood on the scale that the problem sees."""
        return statistics.total[0]

    def is_spike(self, theta, statistics):
        """Whether an expert owes its likelihood to hardly any rows."""
        return bool(np.any(statistics.mass < ROWS_PER_CHANNEL * n_varying(self.expert)))

    def load(self, statistics):
        """Share of the rows that each expert is responsible for."""
        return statistics.mass / self.total_weight

    def _accumulate(self, parts):
        add, n_rows = partial(self.add_rows, parts), len(self.weight)
        sums = map_rows(add, self._zero_statistics, n_rows, self.n_jobs)
        return self._split_grams(Statistics(*sums))

    def add_rows(self, parts, statistics, start, stop):
        """Add what rows ``start : stop`` say to a tuple of sums, in place."""
        shared = self.expert is self.gate
        self._kernel(
            self.gate,
            self.expert,
            self.target,
            self.weight,
            parts,
            Rule(self.n_active, self.hard, shared, self._exact_expert()),
            self.tree.branches(self.gate_channels),
            Statistics(*statistics),
            start,
            stop,
        )

    def _zero_statistics(self):
        shared = self.expert is self.gate
        gate_columns = self.tree.curves(self.gate_channels)[-1]
        own = self.n_experts * self._columns_per_expert()
        expert_shape = (0, 0) if shared else (n_pairs(self.expert_channels), own)
        outputs = self._n_rows_per_expert()
        return Statistics(
            np.zeros(1),
            np.zeros(self.n_experts),
            np.zeros((self.tree.n_slots, self.gate_channels)),
            np.zeros((n_pairs(self.gate_channels), gate_columns + own * shared)),
            np.zeros(expert_shape),
            np.zeros((self.n_experts * outputs, self.expert_channels)),
            np.zeros((self.n_experts, outputs)),
        )

    def _split_grams(self, statistics):
        if self.expert is not self.gate:
            return statistics
        columns = self.tree.curves(self.gate_channels)[-1]
        grams = statistics.gate_gram
        return statistics._replace(
            gate_gram=grams[:, :columns], expert_gram=grams[:, columns:]
        )

    # -- M-step ---------------------------------------------------------------

    def maximise(self, theta, statistics):
        """Exact or one Newton step for each block of parameters."""
        parts = self.unpack(theta)
        settles = self.settles
        gate = parts[0] if settles else self._update_gate(parts[0], statistics)
        return self.pack(gate, *self._update_experts(parts, statistics))

    def _update_gate(self, coef, statistics):
        if self.gate_channels == 1:
            return self._shares(statistics.mass)
        curves, updated = self.tree.curves(self.gate_channels), np.empty_like(coef)
        for node, slots in enumerate(self.tree.slots):
            updated[slots] = coef[slots] + newton_direction(
                statistics.gate_gradient[slots],
                statistics.gate_gram[:, curves[node] : curves[node + 1]],
                coef[slots],
                self.node_ridge(slots),
                self.gate_penalty.lasso,
            )
        return updated

    def _shares(self, mass):
        """Intercepts (S, 1) that give the leaves these masses."""
        logit = np.log(np.maximum(self.tree.beneath @ mass, np.finfo(float).tiny))
        for slots in self.tree.slots:
            logit[slots] -= logit[slots].mean()
        return logit[:, None]

    def damp(self, theta, mapped, step):
        """Shorten the Newton parts of the move from ``theta`` to ``mapped``."""
        old, new = self.unpack(theta), self.unpack(mapped)
        return self.pack(old[0] + step * (new[0] - old[0]), *new[1:])

    def start(self, responsibilities):
        """Parameters fitted to given responsibilities (n, K)."""
        targets = read_only(responsibilities, float)
        gate = self._start_gate(targets, self.weight)
        return self.pack(gate, *self._start_experts(targets))

    def _start_gate(self, targets, weight):
        """Gates near responsibilities (n, K) of the gate's rows, whose weights are."""
        least, mass = 1e-3 * weight.sum(), self.tree.to_slots(targets)
        gate = np.zeros((self.tree.n_slots, self.gate_channels))
        gate[:, -1:] = self._shares(np.maximum(weight @ targets, least))
        # Separable starts would send the gate to infinity without a penalty.
        ridge = max(self.gate_penalty.ridge.max(initial=0.0), least)
        for slots in self.tree.slots if self.gate_channels > 1 else ():
            given = self.gate, read_only(mass[:, slots]), weight, gate[slots], ridge
            steps = {"max_iter": START_STEPS, "n_jobs": self.n_jobs}
            gate[slots] = fit_multinomial(*given, **steps)[0]
        return gate

    def _gate_penalty(self, gate):
        ridge, lasso = self.gate_penalty
        slopes = gate[:, :-1]
        return 0.5 * ridge @ np.sum(slopes**2, axis=1) + lasso * np.abs(slopes).sum()

    def responsibilities(self, run):
        """Responsibilities (n, K) of all rows at the end of a run."""
        return e_step(*self._log_parts(run.theta), hard=self.hard)[1]

    def _log_parts(self, theta):
        """Log-weights and log-densities (n, K) of all rows."""
        gate, coef, *rest = self.unpack(theta)
        log_gate = linear(self.gate, gate)
        for slots in self.tree.slots:
            log_gate[:, slots] = log_softmax(log_gate[:, slots], axis=1)
        answers = linear(self.expert, coef)
        answers = answers.reshape(len(answers), self.n_experts, -1)
        return self.tree.to_leaves(log_gate), self._log_densities(answers, *rest)


class LinearGaussianMixture(LinearMixture):
    """Experts ``y = B x + noise`` with their own, or one shared, variance.

    Additional parameters
    ---------------------
    floor : float
        Smallest variance, as a fraction of the variance of y.
    shared_variance : bool
        One variance per output for all experts.
    """

    _kernel = staticmethod(gaussian_pass)
    solves_experts = True

    def __init__(self, *args, floor, shared_variance=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.log_floor, self.shared_variance = np.log(floor), shared_variance
        self.n_outputs = self.target.shape[1]

    @property
    def biased(self):
        """Whether a ridge has a share in coefficients and variances.

        Where columns are many it stays: sparse ones are solved without the matrices
        that tell its cost, and dense ones are to give the same model.
        """
        few = self.expert_channels - 1 <= FEW_COLUMNS
        pays = self.expert_penalty.ridge.any() and not self.expert_penalty.lasso
        return few and bool(pays) and not self.by_evidence.experts

    def _log_densities(self, answers, log_variance):
        squares = (self.target[:, None, :] - answers) ** 2
        return -0.5 * np.sum(squares * np.exp(-log_variance) + log_variance, axis=2)

    def _exact_expert(self):
        return False

    def _columns_per_expert(self):
        return 1

    def _n_rows_per_expert(self):
        return self.n_outputs

    def pack(self, gate, coef, log_variance):
        return np.concatenate([gate.ravel(), coef.ravel(), log_variance.ravel()])

    def unpack(self, theta):
        """Gates (S, q), experts (K * d, q), log variances (K, d)."""
        n, d = self.n_experts, self.n_outputs
        first = self.tree.n_slots * self.gate_channels
        second = first + n * d * self.expert_channels
        return (
            theta[:first].reshape(-1, self.gate_channels),
            theta[first:second].reshape(n * d, -1),
            theta[second:].reshape(n, d),
        )

    def is_spike(self, theta, statistics):
        """One with the least variance that is allowed must have many rows."""
        floored = (self.unpack(theta)[2] <= self.log_floor + 1e-6).any(axis=1)
        least = np.where(floored, ROWS_IF_NARROW, ROWS_PER_CHANNEL)
        return bool(np.any(statistics.mass < least * n_varying(self.expert)))

    def _penalty(self, parts):
        gate, coef, log_variance = parts
        norms = np.sum(coef[:, :-1] ** 2, axis=1).reshape(log_variance.shape)
        ridge, lasso = self.expert_penalty
        expert = 0.5 * ridge @ np.sum(norms * np.exp(-log_variance), axis=1)
        expert += lasso * np.abs(coef[:, :-1]).sum()
        return self._gate_penalty(gate) + expert

    def _update_experts(self, parts, statistics):
        _, coef, log_variance = parts
        grams = unpack_grams(statistics.expert_gram, self.expert_channels)
        return self._solve(
            grams,
            statistics.cross,
            statistics.square,
            statistics.mass,
            coef,
            log_variance,
        )

    def _solve(self, grams, cross, square, mass, start, log_variance):
        """Coefficients (K * d, q), given the variances if there is a lasso, and the
        variances (K, d) given the coefficients."""
        shape = (self.n_experts, self.n_outputs, self.expert_channels)
        ridge, lasso = self.expert_penalty
        right = cross.reshape(shape)
        if lasso > 0.0:
            diagonals = [ridge_diagonal(self.expert_channels, own) for own in ridge]
            grams = grams + np.stack([np.diag(own) for own in diagonals])
            coef = self._solve_lasso(grams, right, start.reshape(shape), log_variance)
            fitted = 2.0 * np.einsum("kdq,kdq->kd", coef, right)
            fitted -= np.einsum("kdq,kqr,kdr->kd", coef, grams, coef)
        else:
            # With the ridge term, which scales with the variance, this is the exact
            # maximiser of the penalised objective.
            right = right.transpose(0, 2, 1)
            coef = solve_centred(grams, right, ridge)
            fitted = np.einsum("kqd,kqd->kd", coef, right)
            if self.settles:
                coef, fitted = self._settled(
                    grams, right, square, coef, fitted, np.exp(log_variance)
                )
            coef = coef.transpose(0, 2, 1)
        coef = coef.reshape(-1, self.expert_channels)
        return coef, self._log_variances(square - fitted, mass, log_variance)

    def _log_variances(self, square, mass, before):
        """Logarithms (K, d) of mean squares; of experts without rows those before."""
        variance = np.maximum(square, 0.0)
        weight = np.broadcast_to(mass[:, None], variance.shape)
        if self.shared_variance:
            variance = np.broadcast_to(variance.sum(axis=0), variance.shape)
            weight = np.broadcast_to(weight.sum(axis=0), variance.shape)
        alive = weight > NO_ROWS * self.total_weight
        variance = np.divide(variance, weight, out=np.exp(before), where=alive)
        least = np.finfo(float).tiny
        return np.maximum(np.log(np.maximum(variance, least)), self.log_floor)

    def _expert_ridges(self, parts, statistics):
        """Penalties that the evidence of each expert asks for."""
        grams = unpack_grams(statistics.expert_gram, self.expert_channels)
        cross = statistics.cross.reshape(self.n_experts, self.n_outputs, -1)
        least = np.exp(self.log_floor)
        each = zip(grams, cross.transpose(0, 2, 1), statistics.square, strict=True)
        alive = statistics.mass > NO_ROWS * self.total_weight
        return [
            ridge_of_values(*own, least) if has_rows else None
            for own, has_rows in zip(each, alive, strict=True)
        ]

    def begun(self, coef):
        """Coefficients (K, d, q) of an earlier fit, to go on from."""
        return coef

    def _settled(self, grams, right, square, coef, fitted, variance):
        """Coefficients without the bias of the ridge, and what of the squares they
        explain, less the noise of ``variance`` (K, d) that they follow; for experts
        with rows enough to tell."""
        ridge = self.expert_penalty.ridge
        again, spent = without_bias(grams, right, ridge, coef)
        # One expert is the ridge regression that was asked for.
        again = again if self.n_experts > 1 else coef
        explained = np.einsum("kqd,kqd->kd", again, 2.0 * right - grams @ again)
        explained -= spent[:, None] * variance
        enough = (spent <= MOST_SPENT * grams[:, -1, -1])[:, None]
        coef = np.where(enough[:, None], again, coef)
        return coef, np.where(enough, explained, fitted)

    def _solve_lasso(self, grams, right, start, log_variance):
        """Coefficients (K, d, q); the quadratic counts for less with more variance."""
        lasso = self.expert_penalty.lasso * np.exp(log_variance)
        return np.stack(
            [
                [
                    solve_lasso(gram, own[None], strength, at[None])[0]
                    for own, strength, at in zip(*each, strict=True)
                ]
                for gram, *each in zip(grams, right, lasso, start, strict=True)
            ]
        )

    def _start_experts(self, targets):
        n, d = targets.shape[1], self.n_outputs
        weights = targets * self.weight[:, None]
        products = (weights[:, :, None] * self.target[:, None, :]).reshape(
            len(weights), n * d
        )
        grams, cross = weighted_grams(self.expert, weights, products, self.n_jobs)
        square = weights.T @ self.target**2
        coef, unit = np.zeros((n * d, self.expert_channels)), np.zeros((n, d))
        mass = weights.sum(axis=0)
        return self._solve(grams, cross, square, mass, coef, unit)
