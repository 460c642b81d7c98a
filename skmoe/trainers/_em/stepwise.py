"""Stepwise EM: sums over rows that batches are added to, one M-step after each.

What came before counts for less with each batch, in the way of Cappé and Moulines
(2009).  The sums of linear Gaussian experts give their optimum at any parameters.
Those of a softmax are slope and curvature where a batch was read: they describe a
quadratic, whose slope is carried along when the parameters move.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..._kernels.em import Statistics
from ..._numerics.design import (
    Moments,
    block_moments,
    column_scale,
    make_design,
    merged_moments,
    n_varying,
    powers_above,
    weighted_moments,
)
from ..._numerics.linalg import curvature_products
from ..._warnings import warn
from ...engines import single_threaded_blas
from .._rows import Rows
from .drivers import task_active
from .fused import ROWS_PER_CHANNEL
from .fused_task import FusedTask, are_linear, fits_fused

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
    sums : tuple of the arrays of ``Statistics``, with slopes at the parameters
    weight : float, of the rows that the sums stand for
    seen : float, weight of all rows so far
    unit : float, what a weight of one stands for in units of the user's
    scales : BatchScales
    n_batches : int
    records : BatchRecords
    first : Rows so far while they are too few for good starts, or None
    fitted : float, weight of the rows of the last whole fit
    """

    sums: tuple
    weight: float
    seen: float
    unit: float
    scales: BatchScales
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


def refused(trainer, parts):
    """What keeps no sums over rows, and the remedy; None if nothing."""
    if trainer.objective == "prediction":
        return (
            f"trainer={trainer!r}, whose objective asks for all rows at once; use "
            "objective='likelihood'"
        )
    if are_linear(parts) and parts.gate.linear_form(None) is not None:
        return None
    return (
        f"experts {parts.experts!r}, gate={parts.gate!r}, router={parts.router!r} and "
        f"likelihood={parts.likelihood!r}, of which {type(trainer).__name__} keeps no "
        "sums over rows; use equal LinearExperts of a Gaussian or of classes, "
        "gate='softmax' or 'constant', and a router such as TopKRouter, or call fit"
    )


def check_columns(task):
    """Raise ``ValueError`` for columns of which too much would have to be kept."""
    if not fits_fused(task) or FusedTask(task).is_wide():
        raise ValueError(
            "partial_fit got columns of which the sums over rows would be too large, "
            "or that its parts do not share; under EM give all experts the same dense "
            "columns, and fewer of them, or call fit."
        )


def keeps_sums(trainer, task):
    """Whether the M-step takes sums over rows, and no more."""
    plain = refused(trainer, task.recipe) is None and not task.rows.streamed
    return plain and fits_fused(task) and not FusedTask(task).is_wide()


def remembered(trainer, task, fit):
    """A fit with the sums over its rows, to go on from."""
    task = task.going_on(fit)
    scales = scales_of(task)
    with single_threaded_blas():
        batch = Batch(trainer, task, scales)
        _, sums = batch.problem.evaluate(batch.theta)
    weight = float(batch.problem.total_weight)
    tell_if_few(batch, weight)
    unit = task.rows.weight_unit
    memory = Memory(tuple(sums), weight, weight, unit, scales, fitted=weight)
    return replace(fit, state=memory)


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


def widened(scales, values, seen, weight):
    """Scales by which columns without spread so far have that of ``values`` (n, p).

    Their centres stay: all rows before were just there, and are zeros in every sum.
    """
    if scales is None or np.all(scales[1] > 0):
        return scales
    center, scale = scales[0], scales[1].copy()
    flat = scale == 0
    at = center[flat]
    before = Moments(seen, at, np.zeros(len(at)), powers_above(np.abs(at)))
    moments = merged_moments(before, block_moments(values[:, flat], weight))
    scale[flat] = moments.scales(values.dtype)[1]
    return center, scale


def learned(trainer, task):
    """The fit after one step with a batch of rows.

    Raises
    ------
    ValueError
        Where the fit before has not kept its sums.
    """
    memory = task.start.warm.state
    if not isinstance(memory, Memory):
        raise ValueError(
            "partial_fit goes on from sums over rows, which the fit before has not "
            f"kept; use trainer={type(trainer).__name__}(step=...) in it, or clone the "
            "estimator and begin with partial_fit."
        )
    rows, seen = task.rows, memory.seen
    weight = rows.weight * (rows.weight_unit / memory.unit)
    columns = task.recipe.gate.linear_form(rows.gate_view).columns
    views = columns, rows.shared_view, rows.y
    pairs = zip(memory.scales, views, strict=True)
    scales = BatchScales(*(widened(*own, seen, weight) for own in pairs))
    with single_threaded_blas():
        batch = Batch(trainer, task.with_rows(weight=weight), scales)
        fit = batch.step(memory)
    # Units of weights may differ from batch to batch.
    total = fit.log_likelihood * (memory.unit / rows.weight_unit)
    return replace(fit, log_likelihood=total)


class Batch:
    """The problem of a batch of rows, with the parameters of the fit before.

    Parameters
    ----------
    trainer : EM
    task : Task, which goes on from a fit
    scales : BatchScales
    """

    def __init__(self, trainer, task, scales):
        rows = BatchRows(**vars(task.rows), scales=scales)
        self.trainer, self.task = trainer, task.of_rows(rows)
        self.fused = FusedTask(self.task, hard=trainer.hard)
        n_active = task_active(self.task, self.task.recipe.n_experts)
        problem = self.fused.problem.with_rule(n_active=n_active)
        self.problem = self.fused.going_on(problem, task.start.warm)
        self.theta = self.fused.from_fit(task.start.warm)

    def step(self, memory):
        """The fit after one step from what is remembered."""
        trainer, weight = self.trainer, float(self.problem.total_weight)
        _, batch = self.problem.evaluate(self.theta)
        kept = memory.kept(weight, trainer.step, trainer.step_exponent)
        sums = [kept * old + new for old, new in zip(memory.sums, batch, strict=True)]
        sums, total = Statistics(*sums), kept * memory.weight + weight
        tell_if_few(self, total)
        problem = self.problem.with_rule(total_weight=total)
        theta = self._held(problem.maximise(self.theta, sums))
        told = batch.total[0] / weight, problem.value(self.theta, sums)
        sums = carried(problem, sums, self.theta, theta)
        if problem.renews:
            problem = problem.renewed(theta, sums)[0]
        jacobian = self.fused.log_jacobian
        told = *(float(own + jacobian) for own in told), problem.load(sums)
        memory = replace(
            memory,
            sums=tuple(sums),
            weight=total,
            seen=memory.seen + weight,
            scales=self.task.rows.scales,
            n_batches=memory.n_batches + 1,
            records=memory.records.followed_by(*told),
        )
        return self._to_fit(problem, theta, memory)

    @property
    def _frozen(self):
        """Which experts (K,) stay as they are."""
        freeze, names = self.task.start.freeze, self.task.recipe.names
        own = [freeze == "experts" or name in (freeze or ()) for name in names]
        return np.array(own)

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

    def _to_fit(self, problem, theta, memory):
        warm, records, settled = self.task.start.warm, memory.records, theta
        if problem.biased:
            own = problem.with_rule(settles=True)
            settled = self._held(own.maximise(theta, Statistics(*memory.sums)))
        gate, *parts = self._parts(settled, problem, (warm.experts, warm.likelihoods))
        fit = self.task.made(
            gate,
            *parts,
            log_likelihood=records.density[-1] * self.problem.total_weight,
            lower_bounds=records.bound,
            load=records.load[-1],
            n_iter=memory.n_batches,
            converged=False,
            history=records.as_history(),
            state=memory,
        )
        if settled is not theta:
            fit.before = self._parts(theta, problem, warm.objective_parts)[1:]
        return fit

    def _parts(self, theta, problem, before):
        """Fitted gate, experts and likelihoods; those frozen are what they were."""
        gate, *found = self.fused.parts(theta, problem)
        if self.task.start.freeze == "gate":
            gate = self.task.start.warm.gate
        each = [
            zip(self._frozen, *own, strict=True)
            for own in zip(before, found, strict=True)
        ]
        return gate, *(
            [old if stays else new for stays, old, new in own] for own in each
        )


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
    problem, rows = batch.problem, batch.task.rows
    n_rows = weight / rows.weight.mean()
    per_expert = n_varying(problem.expert)
    least = ROWS_PER_CHANNEL * per_expert * problem.n_experts
    if problem.n_experts > 1 and n_rows < least:
        warn(
            f"partial_fit has sums of {n_rows:.0f} rows, but to tell apart "
            f"{problem.n_experts} experts of {per_expert} coefficients each expected "
            f"at least {least}; begin with a larger batch, or use a smaller step or "
            "fewer experts.",
            UserWarning,
        )
