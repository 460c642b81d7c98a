"""How stepwise EM begins: rows are kept until they are enough for good starts.

A step leads to the next optimum only, so that roles which a small first batch got wrong
would stay wrong.  Each time that the rows so far have doubled they are fitted anew,
until they are many for each coefficient, and the better of both fits is gone on with.
"""

from dataclasses import replace

import numpy as np

from ..._numerics.curves import CurveRows
from ..._warnings import unheard
from .._rows import is_numeric
from .batches import going_on, learned, remembered

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
    density, other = (going_on(trainer, own, x).mean_density() for x in (fit, again))
    if lost or other <= density:
        return replace(fit, state=state)
    sums = again.state
    state = replace(state, sums=sums.sums, weight=sums.weight, frame=sums.frame)
    names = "gate", "experts", "likelihoods", "load", "router", "before"
    found = {name: vars(again)[name] for name in names}
    return replace(fit, **found, state=state)


def with_rows(trainer, task, fit, rows):
    """The fit with the rows so far, without them once they are enough."""
    if rows is not None:
        batch, classes = going_on(trainer, task, fit), task.rows.classes
        lines = batch.n_experts * (1 if classes is None else len(classes) - 1)
        enough = WEIGHT_PER_COEFFICIENT * batch.per_expert * lines
        many = rows.weight.sum() >= enough or len(rows) >= MOST_ROWS
        rows = None if many or batch.n_experts == 1 else rows
    return replace(fit, state=replace(fit.state, first=rows))


def kept_rows(rows, unit):
    """Rows to keep, with weights in a unit."""
    # A constant gate may see what is no array, and does not look at it.
    gate = rows.gate_view if can_join(rows.gate_view) else rows.expert_views[0]
    weight = rows.weight * (rows.weight_unit / unit)
    return replace(
        rows, gate_view=gate, columns={}, weight=weight, weight_unit=float(unit)
    )


def can_join(view):
    """Whether rows of a view can be put together with others."""
    return is_numeric(view) or isinstance(view, CurveRows)


def joined_views(first, view):
    """The rows of both views of one part."""
    if isinstance(view, CurveRows):
        return first.followed_by(view)
    return np.concatenate([first, view])


def joined_sizes(first, rows):
    """Exposures or trials of the rows of both, one where they have none; or None."""
    if first.size is None and rows.size is None:
        return None
    both = first, rows
    return np.concatenate(
        [np.ones(len(own)) if own.size is None else own.size for own in both]
    )


def joined(first, rows):
    """The rows of both; parts that see the same of them go on to do so."""
    earlier = first.gate_view, *first.expert_views
    pairs = zip(earlier, (rows.gate_view, *rows.expert_views), strict=True)
    views, made = [], {}
    for before, view in pairs:
        if id(view) not in made:
            made[id(view)] = joined_views(before, view)
        views.append(made[id(view)])
    prior = rows.log_prior
    return replace(
        rows,
        gate_view=views[0],
        expert_views=views[1:],
        y=np.concatenate([first.y, rows.y]),
        labels=np.concatenate([first.labels, rows.labels]),
        weight=np.concatenate([first.weight, rows.weight]),
        size=joined_sizes(first, rows),
        log_prior=None if prior is None else np.concatenate([first.log_prior, prior]),
        columns={},
    )
