"""How stepwise EM begins: rows are kept until they are enough for good starts.

A step leads to the next optimum only, so that roles which a small first batch got wrong
would stay wrong.  Each time that the rows so far have doubled they are fitted anew,
until they are many for each coefficient, and the better of both fits is gone on with.
"""

from dataclasses import replace

import numpy as np

from ..._numerics.design import n_varying
from ..._warnings import unheard
from .._rows import is_numeric
from .stepwise import Batch, learned, remembered

# Weight for each coefficient of an expert that is enough, and so many rows are at any
# rate.
WEIGHT_PER_COEFFICIENT, MOST_ROWS = 150, 20_000


def begun(trainer, task, fit):
    """The fit to a first batch, with its rows where more of them are of use."""
    fit = remembered(trainer, task, fit)
    # Under a constant step rows of before are of another kind.
    rows = None if trainer.step is not None else kept_rows(task.rows, fit.state.unit)
    return with_rows(trainer, task, fit, rows)


def gone_on(trainer, task):
    """The fit after a further batch: by a step, or anew where that is better."""
    fit, before = learned(trainer, task), task.start.warm.state
    if before.first is None:
        return fit
    if task.start.freeze is not None or trainer.step is not None:
        return replace(fit, state=replace(fit.state, first=None))
    rows = joined(before.first, kept_rows(task.rows, before.unit))
    fit = with_rows(trainer, task, fit, rows)
    weight = float(rows.weight.sum())
    if fit.state.first is not None and weight < 2 * before.fitted:
        return fit
    state = replace(fit.state, fitted=weight)
    own = task.of_rows(rows).with_start(warm=None)
    with unheard():
        # It is only tried.
        again = trainer.fit(own.rows, own.recipe, own.start, own.report)
        again = remembered(trainer, own, again)
    lost = len(again.kept) < len(fit.kept)
    if lost or likelihood(trainer, own, again) <= likelihood(trainer, own, fit):
        return replace(fit, state=state)
    sums = again.state
    state = replace(state, sums=sums.sums, weight=sums.weight, scales=sums.scales)
    names = "gate", "experts", "likelihoods", "load", "router", "before"
    found = {name: vars(again)[name] for name in names}
    return replace(fit, **found, state=state)


def with_rows(trainer, task, fit, rows):
    """The fit with the rows so far, without them once they are enough."""
    if rows is not None:
        own = task.going_on(fit)
        problem = Batch(trainer, own, fit.state.scales).problem
        classes = task.rows.classes
        lines = problem.n_experts * (1 if classes is None else len(classes) - 1)
        enough = WEIGHT_PER_COEFFICIENT * n_varying(problem.expert) * lines
        many = rows.weight.sum() >= enough or len(rows) >= MOST_ROWS
        rows = None if many or problem.n_experts == 1 else rows
    return replace(fit, state=replace(fit.state, first=rows))


def likelihood(trainer, task, fit):
    """Mean log-density of the rows of a task under a fit."""
    batch = Batch(trainer, task.going_on(fit), fit.state.scales)
    _, sums = batch.problem.evaluate(batch.theta)
    mean = batch.problem.log_likelihood(sums) / batch.problem.total_weight
    return mean + batch.fused.log_jacobian


def kept_rows(rows, unit):
    """Rows to keep, with weights in a unit."""
    # A constant gate may see what is no array, and does not look at it.
    gate = rows.gate_view if is_numeric(rows.gate_view) else rows.shared_view
    weight = rows.weight * (rows.weight_unit / unit)
    return replace(
        rows, gate_view=gate, columns={}, weight=weight, weight_unit=float(unit)
    )


def joined(first, rows):
    """The rows of both; parts that see the same of them go on to do so."""
    shared, gate = rows.shared_view, rows.gate_view
    view = np.concatenate([first.shared_view, shared])
    same = gate is shared
    prior = rows.log_prior
    return replace(
        rows,
        gate_view=view if same else np.concatenate([first.gate_view, gate]),
        expert_views=[view] * len(rows.expert_views),
        y=np.concatenate([first.y, rows.y]),
        labels=np.concatenate([first.labels, rows.labels]),
        weight=np.concatenate([first.weight, rows.weight]),
        log_prior=None if prior is None else np.concatenate([first.log_prior, prior]),
        columns={},
    )
