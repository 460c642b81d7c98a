"""EM of parts that gain from sums, on rows that are read anew in each pass.

One pass is the E-step of all rows and the sums of one step of each part: gate, experts
and dispersions move together, and the loop sees to it that the objective never falls.
"""

import copy
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ..._numerics.linalg import use_products
from ...engines import single_threaded_blas
from ...experts._answers import predict_expert
from ...experts._base import traits
from ...experts._sums import ExpertRows
from ...likelihoods._sums import DispersionSums
from ...mixture import e_step, log_prob
from .._rows import is_numeric
from .._streamed import HeldRows
from .drivers import Driver, RefitDriver
from .loop import Plain
from .penalties import NO_ROWS
from .refit import ROWS_IF_NARROW, ROWS_PER_CHANNEL, Parts
from .sampled import SampleNewton
from .streamed import FIRST_ROWS, ROWS_PER_SAMPLED, spread_rows, timed_sums


class PassSums(NamedTuple):
    """What a pass adds up.

    Attributes
    ----------
    total : (1,) weighted log-likelihood
    mass : (K,) weighted responsibilities
    gate : tuple of arrays
    experts, dispersions : lists of tuples of arrays, by expert
    """

    total: np.ndarray
    mass: np.ndarray
    gate: tuple
    experts: list
    dispersions: list


class PartsMixture:
    """Parts that gain from sums, as a problem of one vector of parameters.

    Attributes
    ----------
    gate : GateSums
    experts : list of ExpertSums
    dispersions : list of DispersionSums
    kept : numbers of the experts that are left
    stream : Stream, or HeldRows
    sample : the same problem on fewer rows, with the weight of all; or None
    passes : list of float, seconds of the passes so far
    """

    settles = biased = costly = False

    def __init__(self, gate, experts, dispersions, kept, task, hard):
        self.gate, self.experts, self.dispersions = gate, experts, dispersions
        self.kept, self.hard = kept, hard
        self.classes, self.n_outputs = task.rows.classes, task.rows.n_outputs
        self.n_jobs, self.stream, self.sample = task.recipe.n_jobs, None, None
        self.passes, self.total_weight = [], task.rows.stream.columns.weight

    def with_rule(self, **changes):
        """The same problem with other attributes, which hold for its sample, too."""
        other = copy.copy(self)
        other.__dict__.update(changes)
        if other.sample is not None and "sample" not in changes:
            other.sample = other.sample.with_rule(**changes)
        return other

    def over(self, stream, sample=None, passes=None):
        """The same problem on other rows."""
        own = copy.copy(self)
        own.stream, own.sample = stream, sample
        own.passes = [] if passes is None else passes
        return own

    def kernel(self):
        """The problem without its rows, as it may be sent to where blocks are."""
        return self.over(None)

    @property
    def n_experts(self):
        """Experts that are left."""
        return len(self.kept)

    # -- parameters -----------------------------------------------------------

    def pack(self, parts):
        """Parameters of fitted parts."""
        vectors = [self.gate.vector(parts.gate)]
        others = [*self.experts, *self.dispersions]
        fitted = [*parts.experts, *parts.likelihoods]
        pairs = zip(others, fitted, strict=True)
        vectors += [own.vector(part) for own, part in pairs]
        return np.concatenate(vectors)

    def split(self, theta):
        """Parameters of the gate, of each expert, and of each of its dispersions."""
        sizes = [len(own) for own in self._vectors()]
        own = np.split(theta, np.cumsum(sizes)[:-1])
        return own[0], own[1 : 1 + self.n_experts], own[1 + self.n_experts :]

    def _vectors(self):
        """Parameters of the parts as the sample left them."""
        parts = [self.gate.part, *(own.part for own in self.experts)]
        pairs = zip([self.gate, *self.experts], parts, strict=True)
        vectors = [own.vector(part) for own, part in pairs]
        return vectors + [own.vector(own.likelihood) for own in self.dispersions]

    def parts(self, theta):
        """Fitted gate, experts and likelihoods of parameters."""
        gate, experts, dispersions = self.split(theta)
        return Parts(
            self.gate.at(gate),
            fitted_at(self.experts, experts),
            fitted_at(self.dispersions, dispersions),
        )

    def damp(self, theta, mapped, step):
        """A shorter move."""
        return theta + step * (mapped - theta)

    def without(self, k):
        """The same problem without the expert in position ``k``."""
        keep = [j for j in range(self.n_experts) if j != k]
        gate, _ = self.gate.without(self.gate.vector(self.gate.part), k)
        gate = gate.with_part(gate.at(_))
        return self.with_rule(
            gate=gate,
            experts=[self.experts[j] for j in keep],
            dispersions=[self.dispersions[j] for j in keep],
            kept=[self.kept[j] for j in keep],
        )

    def drop(self, theta, k):
        """Parameters of ``without(k)`` from those of this problem."""
        gate, experts, dispersions = self.split(theta)
        left = [self.gate.without(gate, k)[1]]
        for own in (experts, dispersions):
            left += [vector for j, vector in enumerate(own) if j != k]
        return np.concatenate(left)

    # -- E-step ---------------------------------------------------------------

    def evaluate(self, theta):
        """Penalised log-likelihood per unit of weight, and the ``PassSums``."""
        parts, kernel = self.parts(theta), self.kernel()
        vectors = self.split(theta)
        add = partial(kernel.add_block, parts, vectors)
        sums = timed_sums(self.stream, self.passes, add, kernel.zeros, self.n_jobs)
        statistics = self.named(sums)
        return self._value(parts, statistics), statistics

    def revalued(self, theta, statistics):
        """What ``evaluate`` gives where only the penalties have changed."""
        return self._value(self.parts(theta), statistics), statistics

    def _value(self, parts, statistics):
        paid = parts.gate.penalty()
        for expert, likelihood in zip(parts.experts, parts.likelihoods, strict=True):
            paid += likelihood.penalty()
            variance = 1.0
            if self.classes is None:
                variance = likelihood.penalty_variance(self.n_outputs)
            paid += traits(expert).penalty(variance)
        return float(statistics.total[0] - paid) / self.total_weight

    def zeros(self):
        """Sums of no rows, one array after the other."""
        sums = [np.zeros(1), np.zeros(self.n_experts), *self.gate.zeros()]
        for own in [*self.experts, *self.dispersions]:
            sums += own.zeros()
        return tuple(sums)

    def named(self, sums):
        """The arrays of sums by what they are of."""
        left = iter(sums)

        def taken(own):
            return tuple(next(left) for _ in own.zeros())

        return PassSums(
            next(left),
            next(left),
            taken(self.gate),
            [taken(own) for own in self.experts],
            [taken(own) for own in self.dispersions],
        )

    def add_block(self, parts, vectors, sums, X, y, weight):
        """Add what a block of rows says to a tuple of sums, in place."""
        told, statistics = (self.classes, self.n_outputs), self.named(sums)
        gate_view, *views = seen_by([self.gate, *self.experts], X)
        pairs = zip(parts.experts, views, strict=True)
        predictions = [predict_expert(own, view, *told) for own, view in pairs]
        densities = log_prob(parts.likelihoods, y, predictions)
        row, resp = e_step(parts.gate.log_joint(gate_view), densities, hard=self.hard)
        statistics.total[0] += weight @ row
        statistics.mass[:] += weight @ resp
        gate, experts, dispersions = vectors
        self.gate.add(statistics.gate, gate, gate_view, resp, weight)
        for k, likelihood in enumerate(parts.likelihoods):
            share = weight * resp[:, k]
            rows = ExpertRows(views[k], y, share, predictions[k], likelihood)
            self.experts[k].add(statistics.experts[k], experts[k], rows)
            self.dispersions[k].add(statistics.dispersions[k], dispersions[k], rows)

    def load(self, statistics):
        """Share of the rows that each expert is responsible for."""
        return statistics.mass / self.total_weight

    def log_likelihood(self, statistics):
        """Weighted log-likelihood of all rows."""
        return float(statistics.total[0])

    def stays(self):
        """Which experts may lose all their rows: noise."""
        return np.array([traits(own.part).is_noise for own in self.experts])

    def is_spike(self, theta, statistics):
        """Whether an expert owes its likelihood to hardly any rows."""
        parts = self.parts(theta)
        each = zip(statistics.mass, parts.experts, parts.likelihoods, strict=True)
        return any(
            mass
            < (ROWS_IF_NARROW if own.floored_ else ROWS_PER_CHANNEL)
            * max(traits(expert).n_channels, own.floored_)
            for mass, expert, own in each
        )

    # -- M-step ---------------------------------------------------------------

    def maximise(self, theta, statistics):
        """One step of the gate, of each expert with rows, and of its dispersions."""
        gate, experts, dispersions = self.split(theta)
        moved = [self.gate.moved(gate, statistics.gate)]
        likelihoods = fitted_at(self.dispersions, dispersions)
        alive = statistics.mass > NO_ROWS * self.total_weight
        for k, own in enumerate(self.experts):
            step = own.moved(experts[k], statistics.experts[k], likelihoods[k])
            moved.append(step if alive[k] else experts[k])
        for k, own in enumerate(self.dispersions):
            prior = self._prior(self.experts[k].at(experts[k]), likelihoods[k])
            step = own.moved(dispersions[k], statistics.dispersions[k], prior)
            moved.append(step if alive[k] else dispersions[k])
        return np.concatenate(moved)

    def _prior(self, expert, likelihood):
        """What an expert's penalty adds to the sums of squared residuals."""
        if self.classes is not None:
            return None
        return traits(expert).noise_scatter(likelihood.penalty_variance(self.n_outputs))

    @property
    def penalty_rest(self):
        """Move of the logarithms of penalties after which they stay, as in memory."""
        parts = [self.gate, *self.experts]
        return 0.2 if any(own.encoding is not None for own in parts) else 0.05

    @property
    def renews(self):
        """Whether penalties are chosen anew while it runs."""
        own = any(traits(each.part).renews for each in self.experts)
        return own or self.gate.part.renews

    def renewed(self, theta, statistics):
        """The problem with the penalties that evidence asks for, its parameters, and
        how far the logarithms of the penalties moved."""
        gate, experts, dispersions = self.split(theta)
        gate, moved = self.gate.renewed(gate, statistics.gate)
        own, moves = [], [moved]
        likelihoods = fitted_at(self.dispersions, dispersions)
        for k, each in enumerate(self.experts):
            known = experts[k], statistics.experts[k], likelihoods[k]
            found, moved = each.renewed(*known)
            own.append(found)
            moves.append(moved)
        return self.with_rule(gate=gate, experts=own), theta, max(moves)


def seen_by(parts, X):
    """What each of the parts reads of a block of rows; made once for equal curves."""
    made = {}
    for own in parts:
        encoding = own.encoding
        if encoding is not None and id(encoding) not in made:
            made[id(encoding)] = encoding.binned(X)
    return [made.get(id(own.encoding), X) for own in parts]


def fitted_at(sums, vectors):
    """The fitted parts of their parameters."""
    return [own.at(vector) for own, vector in zip(sums, vectors, strict=True)]


def check_penalties(task):
    """Raise ``ValueError`` for penalties, and columns, that no step of sums serves."""
    recipe, rows = task.recipe, task.rows
    ridge = rows.classes is None and recipe.likelihood.scales_ridge
    for expert in map(traits, recipe.experts):
        if expert.has_lasso or (ridge and expert.biased_by_ridge):
            raise ValueError(
                f"A RowSource came with {expert!r} under {recipe.gate!r} and "
                f"{recipe.likelihood!r}, whose penalty takes all rows at once; use "
                "alpha='evidence' or alpha=0, or give the rows as arrays."
            )
    if recipe.gate.has_lasso:
        raise ValueError(
            f"A RowSource came with {recipe.gate!r}, whose lasso is for linear experts "
            "of Gaussian values, or classes; use l1_ratio=0."
        )
    for view in (rows.gate_view, *rows.expert_views):
        if is_numeric(view) and use_products(view, recipe.n_experts):
            raise ValueError(
                f"The source has {view.shape[1]} columns, for which training takes "
                "many passes per iteration; give fewer columns, or the rows as arrays."
            )


class PartsDriver(Driver):
    """EM of parts that gain from sums, on the rows of a stream.

    The parts are fitted to the first rows of the sample by the EM of any parts, then
    brought on over all of the sample, and over all rows.
    """

    def __init__(self, trainer, task):
        super().__init__(trainer, task)
        self.passes = []
        check_penalties(task)

    def fit(self):
        with single_threaded_blas():
            if self.task.rows.stream.whole:
                return self._counted(self._fit_in_memory(self.task))
            return self._counted(super().fit())

    def _fit_in_memory(self, task):
        own = task.of_rows(task.rows.in_memory())
        return RefitDriver(self.trainer, own).fit()

    def _counted(self, fit):
        # The pass that came before EM counts, too.
        read = {"rows": self.task.rows.stream.n_rows, "passes": 1 + len(self.passes)}
        return replace(fit, history={**fit.history, **read})

    def best(self):
        """The run over all rows, and its problem."""
        rows = self.task.rows
        few = spread_rows(len(rows), FIRST_ROWS)
        first = self.task.on_rows(few)
        fit = self._fit_in_memory(first)
        problem = self._problem_of(fit, first.rows.weight.sum())
        parts = Parts(fit.gate, *fit.objective_parts)
        theta, total = problem.pack(parts), problem.total_weight
        held = HeldRows.of(rows.X, rows.y, rows.weight, total)
        small = held.on_rows(few)
        earlier = None
        if len(held) > len(small):
            sampled = problem.over(held, problem.over(small))
            earlier, problem = self._run(sampled, theta, self.trainer.max_iter)
            theta = earlier.theta
        n_rows = max(rows.stream.n_rows // ROWS_PER_SAMPLED, FIRST_ROWS)
        adviser = problem.over(held.on_rows(spread_rows(len(held), n_rows)))
        whole = problem.over(rows.stream, adviser, self.passes)
        run, problem = self._run(whole, theta, self.trainer.max_iter)
        before = fit.history["removed"] + ([] if earlier is None else earlier.removed)
        run.removed = [*before, *run.removed]
        return run, problem

    def _problem_of(self, fit, mass):
        """The problem of what was fitted to rows of the sample with a ``mass``."""
        task, rows = self.task, self.task.rows
        scales, outputs = rows.scales_of(rows.X), None
        if rows.classes is None:
            outputs = rows.output_scales
        share = rows.weight * (mass / rows.weight.sum())
        view, total = rows.gate_view, rows.stream.columns.weight
        gate = fit.gate.sums(view, share, scales, total)
        views = [rows.expert_views[k] for k in fit.kept]
        experts, likelihoods = fit.objective_parts
        sums = [
            own.sums(view, share, scales, outputs)
            for own, view in zip(experts, views, strict=True)
        ]
        spread = np.ones(1) if outputs is None else outputs[1] ** 2
        own = [DispersionSums(self._over_all(each), spread) for each in likelihoods]
        return PartsMixture(gate, sums, own, list(fit.kept), task, self.trainer.hard)

    def _over_all(self, likelihood):
        """A fitted likelihood, that of noise over the range of all rows."""
        if not likelihood.is_noise:
            return likelihood
        discrete = self.task.recipe.likelihood.discrete
        return likelihood.with_range(self.task.rows.stream.span, discrete)

    def _parts(self, theta, problem):
        return problem.parts(theta).at_rest()

    def _without(self, problem, run, k):
        return problem.drop(run.theta, k)

    def _accelerator(self, problem):
        fast = self.trainer.accelerate and not problem.hard
        return SampleNewton(problem.sample) if fast else Plain()
