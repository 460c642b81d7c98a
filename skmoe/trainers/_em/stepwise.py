"""Stepwise EM: sums over rows that batches are added to, one M-step after each.

What came before counts for less with each batch, in the way of Cappé and Moulines
(2009).  The sums of linear Gaussian experts give their optimum at any parameters.
Those of a softmax are slope and curvature where a batch was read: they describe a
quadratic, whose slope is carried along when the parameters move.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..._kernels.em import Statistics
from ..._numerics.design import (
    column_scale,
    make_design,
    n_varying,
    weighted_moments,
    widened_scales,
)
from ..._numerics.linalg import curvature_products
from ..._warnings import warn
from .._rows import Rows
from .drivers import task_active
from .fused import ROWS_PER_CHANNEL
from .fused_task import FusedTask

# Batches of which there is a record.
MOST_RECORDS = 1000


class BatchScales(NamedTuple):
    """Means and standard deviations of the columns and outputs of the first batch.

    Attributes
    ----------
    gate, experts, outputs : pairs of arrays, or None where there is nothing to scale
    """

    gate: tuple | None
    experts: tuple
    outputs: tuple | None


class BatchRecords(NamedTuple):
    """What is told of the last batches.

    Attributes
    ----------
    density : tuple of float, mean log-densities of batches before they were learned
    bound : tuple of float, penalised objective of the sums, per unit of weight
    load : tuple of (n_asked,) arrays, shares of the experts in the sums
    """

    density: tuple = ()
    bound: tuple = ()
    load: tuple = ()

    def as_history(self):
        """The records as ``history_`` has them."""
        return {
            "bound": list(self.bound),
            "load": list(self.load),
            "log_density": list(self.density),
        }

    def followed_by(self, *values):
        """The records with those of one more batch."""
        pairs = zip(self, values, strict=True)
        return BatchRecords(*((*old, new)[-MOST_RECORDS:] for old, new in pairs))


@dataclass(frozen=True)
class Memory:
    """What stepwise EM goes on from.

    Attributes
    ----------
    sums : tuple of arrays, of ``Statistics`` or ``PassSums``, with slopes at the
        parameters
    weight : float, of the rows that the sums stand for
    seen : float, weight of all rows so far
    unit : float, what a weight of one stands for in units of the user's
    frame : BatchScales or PartsFrame, in terms of which they are sums
    n_batches : int
    records : BatchRecords
    first : Rows so far while they are too few for good starts, or None
    fitted : float, weight of the rows of the last whole fit
    """

    sums: tuple
    weight: float
    seen: float
    unit: float
    frame: Any
    n_batches: int = 1
    records: BatchRecords = BatchRecords()
    first: Rows | None = None
    fitted: float = 0.0

    def kept(self, weight, step, exponent):
        """Factor of the sums when a batch of some weight is added."""
        if step is not None:
            return 1.0 - step
        # Of equal batches the last one then has the share t ** -exponent in the sums.
        share = weight / (self.seen + weight)
        return (1.0 - share**exponent) / (1.0 - share) ** exponent


@dataclass(frozen=True)
class BatchRows(Rows):
    """Rows of a batch, standardised as the first ones.

    Attributes
    ----------
    scales : BatchScales
    """

    scales: BatchScales | None = None

    def scales_of(self, view):
        """Means and standard deviations (p,) of the columns of a view."""
        shared = view is self.shared_view
        return self.scales.experts if shared else self.scales.gate

    @property
    def output_scales(self):
        """Means and standard deviations (d,) of the outputs."""
        return self.scales.outputs


def scales_of(task):
    """``BatchScales`` of the rows of a task."""
    rows, columns = task.rows, task.recipe.gate.linear_form(task.rows.gate_view).columns

    def scales(view):
        design = make_design(view, rows.weight)
        return design.center, column_scale(design)

    return BatchScales(
        None if columns is None else scales(columns),
        scales(rows.shared_view),
        weighted_moments(rows.y, rows.weight) if rows.classes is None else None,
    )


class BaseBatch:
    """A batch of rows, with the parameters of the fit before.

    A subclass knows what its sums are, and by which step parameters follow from them.

    Parameters
    ----------
    trainer : EM
    task : Task, which goes on from a fit

    Attributes
    ----------
    weight : float, of the rows
    frame : what sums are told in: one that goes on from a ``Memory`` takes its frame
    n_experts, per_expert : int, experts, and coefficients of each
    """

    #: Kind of the ``frame``.
    frames = None
    #: Nats per row from the objective to that on the scale of y.
    log_jacobian = 0.0

    def __init__(self, trainer, task):
        self.trainer, self.task = trainer, task

    @classmethod
    def begun(cls, trainer, task):
        """The batch of a fit, which has no sums yet."""
        raise NotImplementedError

    @classmethod
    def going_on(cls, trainer, task, memory):
        """A batch whose rows are weighed in the unit of a ``Memory``."""
        raise NotImplementedError

    def sums(self):
        """Sums of the rows, a tuple of arrays."""
        raise NotImplementedError

    def total(self, sums):
        """Weighted log-likelihood of rows with such sums."""
        raise NotImplementedError

    def follow(self, sums, weight):
        """Move parameters, and the frame, to where sums over a weight of rows lead.

        Returns
        -------
        value : float, penalised objective per unit of weight before
        load : (K,) shares of the experts
        sums : tuple of arrays, carried to where parameters are now
        """
        raise NotImplementedError

    def found(self, sums):
        """Fitted gate, experts and likelihoods, and those at the objective's maximum
        where they are others, or None."""
        raise NotImplementedError

    def remembered(self, unit):
        """The ``Memory`` of a fit to the rows."""
        tell_if_few(self, self.weight)
        weight = self.weight
        frame, sums = self.frame, self.sums()
        return Memory(sums, weight, weight, unit, frame, fitted=weight)

    def mean_density(self):
        """Mean log-density of the rows."""
        return self.total(self.sums()) / self.weight + self.log_jacobian

    def step(self, memory):
        """The fit after one step from what is remembered."""
        trainer, weight, batch = self.trainer, self.weight, self.sums()
        kept = memory.kept(weight, trainer.step, trainer.step_exponent)
        sums = [kept * old + new for old, new in zip(memory.sums, batch, strict=True)]
        total = kept * memory.weight + weight
        tell_if_few(self, total)
        density = self.total(batch) / weight
        value, load, sums = self.follow(sums, total)
        told = (float(own + self.log_jacobian) for own in (density, value))
        memory = replace(
            memory,
            sums=tuple(sums),
            weight=total,
            seen=memory.seen + weight,
            frame=self.frame,
            n_batches=memory.n_batches + 1,
            records=memory.records.followed_by(*told, load),
        )
        return self._to_fit(memory)

    @property
    def _frozen(self):
        """Which experts (K,) stay as they are."""
        freeze, names = self.task.start.freeze, self.task.recipe.names
        own = [freeze == "experts" or name in (freeze or ()) for name in names]
        return np.array(own)

    def _to_fit(self, memory):
        records, warm = memory.records, self.task.start.warm
        parts, before = self.found(memory.sums)
        own = warm.experts, warm.likelihoods
        fit = self.task.made(
            *self._unfrozen(parts, own),
            log_likelihood=records.density[-1] * self.weight,
            lower_bounds=records.bound,
            load=records.load[-1],
            n_iter=memory.n_batches,
            converged=False,
            history=records.as_history(),
            state=memory,
        )
        if before is not None:
            fit.before = self._unfrozen(before, warm.objective_parts)[1:]
        return fit

    def _unfrozen(self, found, before):
        """Fitted gate, experts and likelihoods; those frozen are what they were."""
        gate, *found = found
        if self.task.start.freeze == "gate":
            gate = self.task.start.warm.gate
        each = [
            zip(self._frozen, *own, strict=True)
            for own in zip(before, found, strict=True)
        ]
        return gate, *(
            [old if stays else new for stays, old, new in own] for own in each
        )


class Batch(BaseBatch):
    """Rows of equal linear experts, whose sums are those of the fused pass.

    Parameters
    ----------
    trainer, task : as of any batch
    scales : BatchScales
    """

    frames = BatchScales

    def __init__(self, trainer, task, scales):
        rows = BatchRows(**task.rows.fields(), scales=scales)
        super().__init__(trainer, task.of_rows(rows))
        self.frame = scales
        self.fused = FusedTask(self.task, hard=trainer.hard)
        n_active = task_active(self.task, self.task.recipe.n_experts)
        problem = self.fused.problem.with_rule(n_active=n_active)
        self.problem = self.fused.going_on(problem, task.start.warm)
        self.theta = self.fused.from_fit(task.start.warm)
        self.weight = float(self.problem.total_weight)
        self.n_experts = self.problem.n_experts
        self.per_expert = n_varying(self.problem.expert)
        self.log_jacobian = self.fused.log_jacobian

    @classmethod
    def begun(cls, trainer, task):
        return cls(trainer, task, scales_of(task))

    @classmethod
    def going_on(cls, trainer, task, memory):
        rows = task.rows
        columns = task.recipe.gate.linear_form(rows.gate_view).columns
        views = columns, rows.shared_view, rows.y
        pairs, more = zip(memory.frame, views, strict=True), (memory.seen, rows.weight)
        scales = BatchScales(*(widened_scales(*own, *more) for own in pairs))
        return cls(trainer, task, scales)

    def sums(self):
        return tuple(self.problem.evaluate(self.theta)[1])

    def total(self, sums):
        return self.problem.log_likelihood(Statistics(*sums))

    def follow(self, sums, weight):
        sums, theta = Statistics(*sums), self.theta
        problem = self.problem.with_rule(total_weight=weight)
        moved = self._held(problem.maximise(theta, sums))
        value, load = problem.value(theta, sums), problem.load(sums)
        sums = carried(problem, sums, theta, moved)
        if problem.renews:
            problem = problem.renewed(moved, sums)[0]
        self.problem, self.theta = problem, moved
        return value, load, sums

    def found(self, sums):
        problem, theta = self.problem, self.theta
        parts = self.fused.parts(theta, problem)
        if not problem.biased:
            return parts, None
        own = problem.with_rule(settles=True)
        settled = self._held(own.maximise(theta, Statistics(*sums)))
        return self.fused.parts(settled, problem), parts

    def _held(self, theta):
        """New parameters, but those of before where parts are frozen."""
        pairs = zip(
            self.problem.unpack(self.theta), self.problem.unpack(theta), strict=True
        )
        (before, gate), *experts = pairs
        gate = before if self.task.start.freeze == "gate" else gate
        stays = self._frozen[:, None]
        left = [
            np.where(stays, *(own.reshape(len(stays), -1) for own in pair)).ravel()
            for pair in experts
        ]
        return np.concatenate([gate.ravel(), *left])


def carried(problem, sums, theta, moved):
    """Sums with the slopes that their quadratics have at parameters that moved."""
    old, new = problem.unpack(theta), problem.unpack(moved)
    gradient, move = sums.gate_gradient.copy(), new[0] - old[0]
    curves = problem.tree.curves(problem.gate_channels)
    for node, slots in enumerate(problem.tree.slots):
        grams = sums.gate_gram[:, curves[node] : curves[node + 1]]
        gradient[slots] -= curvature_products(grams, move[slots])
    sums = sums._replace(gate_gradient=gradient)
    if problem.solves_experts:
        return sums
    move = (new[1] - old[1]).reshape(problem.n_experts, -1, problem.expert_channels)
    change = curvature_products(sums.expert_gram, move)
    return sums._replace(cross=sums.cross - change.reshape(sums.cross.shape))


def tell_if_few(batch, weight):
    """Warn of a weight of rows that is too little to tell so many experts apart."""
    n_rows = weight / batch.task.rows.weight.mean()
    least = ROWS_PER_CHANNEL * batch.per_expert * batch.n_experts
    if batch.n_experts > 1 and n_rows < least:
        warn(
            f"partial_fit has sums of {n_rows:.0f} rows, but to tell apart "
            f"{batch.n_experts} experts of {batch.per_expert} coefficients each "
            f"expected at least {least}; begin with a larger batch, or use a smaller "
            "step or fewer experts.",
            UserWarning,
        )
