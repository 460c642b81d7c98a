"""EM of estimators of other libraries, on rows that lie with workers.

An M-step fits each expert where its rows are brought together; responsibilities and
predictions stay with the rows, of which only sums are told.
"""

import copy
import time
from typing import NamedTuple

import numpy as np

from ..._warnings import of_trainer, tell
from ...engines import TreeSum
from ...experts._base import FOREIGN, is_frozen, traits
from .drivers import has_cheap_refits
from .gathered_rows import (
    Refitted,
    Told,
    answers_of,
    bytes_of,
    found_in,
    own_rows,
    refitted_to,
    squares_in,
    sums_of,
)
from .loop import Plain
from .penalties import NO_ROWS
from .refit import Parts
from .streamed import FIRST_ROWS, spread_rows
from .streamed_parts import PartsDriver


def can_gather(parts):
    """Whether all experts are of other libraries.

    Raises ``ValueError`` for those whose spreads are no sums of squares, for gates that
    read more than numbers, which are all that workers hold, and for routers.
    """
    if not all(traits(expert) is FOREIGN for expert in parts.experts):
        return False
    likelihood = parts.likelihood
    squares = likelihood.least_squares and likelihood.dispersions == ("sigma_",)
    if not (parts.asked.classify or squares):
        raise ValueError(
            f"{parts.asked.owner} got Dask collections with likelihood={likelihood!r} "
            "for experts of other libraries, whose spreads are found there by sums of "
            "squares; use 'gaussian', or give the rows as arrays."
        )
    if not parts.gate.numeric:
        raise ValueError(
            f"{parts.asked.owner} got Dask collections with gate={parts.asked.gate!r} "
            "for experts of other libraries, but expected one that reads numbers; use "
            "'softmax' or 'gaussian', or give the rows as arrays."
        )
    if parts.asked.chooses_columns:
        raise ValueError(
            f"{parts.asked.owner} got Dask collections with gate_features or "
            "expert_features for experts of other libraries, which read all columns "
            "there; choose the columns of the collection, or give the rows as arrays."
        )
    router = parts.router
    if router.soft_then_sparse or router.sparse_training:
        raise ValueError(
            f"{parts.asked.owner} got Dask collections with "
            f"router={parts.asked.router!r} for experts of other libraries, which are "
            "trained there with all experts active; use router=None, or give the rows "
            "as arrays."
        )
    return True


class GatheredParts(NamedTuple):
    """Parts of which the experts are with workers.

    Attributes
    ----------
    gate : vector of its parameters
    experts : list of handles of ``Refitted``
    likelihoods : list of fitted likelihoods
    predictions : lists of handles, by expert those of each range of rows
    """

    gate: np.ndarray
    experts: list
    likelihoods: list
    predictions: list

    def without(self, k, gate):
        """The parts without the expert in position ``k``, and another gate."""
        lists = (own[:k] + own[k + 1 :] for own in self[1:])
        return GatheredParts(gate, *lists)


class GatheredEStep(NamedTuple):
    """What an E-step has found.

    Attributes
    ----------
    found : list of handles of ``Found``, one for each range of rows
    total : float, weighted log-likelihood
    mass : (K,) weighted responsibilities
    gate : sums of the gate
    largest : (K,) largest responsibilities
    """

    found: list
    total: float
    mass: np.ndarray
    gate: tuple
    largest: np.ndarray


class GatheredMixture:
    """Gate and experts, seen by the loop as one problem whose rows are elsewhere.

    Parameters
    ----------
    task : Task, of a sample of the rows
    gate : GateSums
    kept : numbers of the experts that are left
    hard : bool

    Attributes
    ----------
    passes : list of float, seconds of the E-steps so far
    """

    sample, settles, biased, costly = None, False, False, True
    penalty_rest = 0.05

    def __init__(self, task, gate, kept, hard):
        self.task, self.gate, self.kept, self.hard = task, gate, list(kept), hard
        self.stream, rows = task.rows.stream, task.rows
        self.total_weight = self.stream.columns.weight
        self.told = Told(rows.classes, rows.n_outputs, rows.labels.shape[1:])
        self.passes = []

    def with_rule(self, **changes):
        """The same problem with other attributes."""
        other = copy.copy(self)
        other.__dict__.update(changes)
        return other

    def without(self, k):
        """The same problem without the expert in position ``k``."""
        gate, theta = self.gate.without(self.gate.vector(self.gate.part), k)
        gate = gate.with_part(gate.at(theta))
        return self.with_rule(gate=gate, kept=self.kept[:k] + self.kept[k + 1 :])

    def drop(self, theta, k):
        """Parts of ``without(k)`` from those of this problem."""
        return theta.without(k, self.gate.without(theta.gate, k)[1])

    def begun(self, fit):
        """Parts of a fit, with experts sent to workers."""
        held = [self.stream.held(Refitted(own, {}, 0)) for own in fit.experts]
        asked = [self._answers(own) for own in held]
        return GatheredParts(self.gate.vector(fit.gate), held, fit.likelihoods, asked)

    def _answers(self, expert):
        """Handles of what an expert, by its handle, says of each range of rows."""
        told = self.told
        width = told.n_outputs if told.classes is None else len(told.classes)
        return self.stream.each(answers_of, (told, width), handles=[expert])

    # -- E-step ---------------------------------------------------------------

    def evaluate(self, theta):
        """Penalised log-likelihood per unit of weight, and the ``GatheredEStep``."""
        begun = time.perf_counter()
        common = self.gate, theta.gate, theta.likelihoods, self.hard
        found = self.stream.each(found_in, common, theta.predictions)
        told = self.stream.told([self.stream.call(sums_of, own) for own in found])
        self.passes.append(time.perf_counter() - begun)
        self.stream.passed()
        tree = TreeSum()
        for number, (sums, _) in enumerate(told):
            tree.add(number, tuple(map(np.array, sums)))
        total, mass, *gate = tree.total()
        largest = np.max([own for _, own in told], axis=0)
        statistics = GatheredEStep(found, float(total[0]), mass, tuple(gate), largest)
        return self._value(theta, statistics), statistics

    def _value(self, theta, statistics):
        paid = self.gate.at(theta.gate).penalty()
        return (statistics.total - paid) / self.total_weight

    def revalued(self, theta, statistics):
        """What ``evaluate`` gives where only the penalties have changed."""
        return self._value(theta, statistics), statistics

    def load(self, statistics):
        """Share of the rows that each expert is responsible for."""
        return statistics.mass / self.total_weight

    def log_likelihood(self, statistics):
        """Weighted log-likelihood of all rows."""
        return statistics.total

    def stays(self):
        """Which experts may lose all their rows: none."""
        return np.zeros(len(self.kept), dtype=bool)

    # -- M-step ---------------------------------------------------------------

    def maximise(self, theta, statistics):
        """Refit each expert on one worker, then move dispersions and gate."""
        experts, predictions = [], []
        for k in range(len(self.kept)):
            experts.append(self._refitted(k, theta.experts[k], statistics))
            same = experts[k] is theta.experts[k]
            own = theta.predictions[k] if same else self._answers(experts[k])
            predictions.append(own)
        sizes = self.stream.told([self.stream.call(bytes_of, own) for own in experts])
        self.stream.brought(int(sum(sizes)))
        likelihoods = self._dispersions(theta, statistics, predictions)
        gate = self.gate.moved(theta.gate, statistics.gate)
        return GatheredParts(gate, experts, likelihoods, predictions)

    def _refitted(self, k, before, statistics):
        recipe, number = self.task.recipe, self.kept[k]
        expert, stream = recipe.experts[number], self.stream
        if is_frozen(expert):
            return before
        common = k, statistics.largest[k]
        rows = stream.each(own_rows, common, [statistics.found])
        common = expert, recipe.seed_of(number), self.told, stream.n_rows
        return stream.call(refitted_to, before, *rows, common=common)

    def _dispersions(self, theta, statistics, predictions):
        """Likelihoods with the mean squares of residuals, of experts that have rows."""
        if self.told.classes is not None:
            return theta.likelihoods
        handles = [statistics.found, *predictions]
        told = self.stream.told(self.stream.each(squares_in, None, handles))
        tree = TreeSum()
        for number, own in enumerate(told):
            tree.add(number, tuple(map(np.array, own)))
        (squares,) = tree.total()
        spread = self.task.rows.output_scales[1] ** 2
        alive = statistics.mass > NO_ROWS * self.total_weight
        return [
            with_variance(own, squares[k] / statistics.mass[k], spread)
            if alive[k]
            else own
            for k, own in enumerate(theta.likelihoods)
        ]

    def damp(self, theta, mapped, step):
        """There is nothing between two fits: a move is taken whole or not at all."""
        return mapped

    @property
    def renews(self):
        """Whether the penalty of the gate is chosen anew while it runs."""
        return self.gate.part.renews

    def renewed(self, theta, statistics):
        """The problem with the penalty that evidence asks for, its parts, and how far
        the logarithm of the penalty moved."""
        gate, moved = self.gate.renewed(theta.gate, statistics.gate)
        return self.with_rule(gate=gate), theta, moved


def with_variance(likelihood, variance, spread):
    """A fitted likelihood with other variances (d,), no smaller than its floor."""
    (low,), _ = likelihood.dispersion_limits(spread)
    least = np.exp(2.0 * low)
    values = np.sqrt(np.maximum(variance, least))
    return likelihood.with_dispersions(values[None], bool(np.any(variance <= least)))


class GatheredDriver(PartsDriver):
    """EM of estimators of other libraries on rows that lie with workers.

    They are fitted to the first rows of the sample in this process, and go on from
    there over all rows.
    """

    def best(self):
        """The run over all rows, and its problem."""
        rows = self.task.rows
        first = self.task.on_rows(spread_rows(len(rows), FIRST_ROWS))
        fit = self._fit_in_memory(first)
        share = rows.weight * (first.rows.weight.sum() / rows.weight.sum())
        gate = fit.gate.sums(
            rows.gate_view,
            share,
            rows.scales_of(rows.X),
            rows.stream.columns.weight,
        )
        problem = GatheredMixture(self.task, gate, fit.kept, self.trainer.hard)
        problem.passes = self.passes
        theta = problem.begun(fit)
        run, problem = self._run(problem, theta, self._most_iterations(problem))
        run.removed = [*fit.history["removed"], *run.removed]
        return run, problem

    def _most_iterations(self, problem):
        cheap = has_cheap_refits(self.task.recipe.experts)
        return self.trainer.max_iter if cheap else self.trainer.max_refits

    def _without(self, problem, run, k):
        return problem.drop(run.theta, k)

    def _accelerator(self, problem):
        return Plain()

    def _parts(self, theta, problem):
        found = problem.stream.told(theta.experts)
        tell([own.said for own in found], of_trainer)
        gate = problem.gate.at(theta.gate).at_rest()
        return Parts(gate, [own.expert for own in found], theta.likelihoods)
