"""A stable order of experts that nothing but their places tells apart."""

from dataclasses import replace

import numpy as np

from ..experts._answers import predict_expert
from ._kinds import kinds_of

# Loads that differ by less are taken as equal: rounding must not decide.
SAME_LOAD = 1e-3


def by_load(task, fit):
    """The fit with interchangeable experts in order of their load, largest first.

    Loads that are almost the same are ordered by the mean of what the experts predict,
    which for linear ones is the prediction at the mean row.  Experts that were named or
    started on rows of their own, places in a tree, and experts whose places a frozen
    gate or a router tells apart stay where they are.
    """
    fresh = task.start.warm is None and task.start.resp is None
    movable = fresh and not task.recipe.named and task.recipe.router.gated
    if not (movable and task.recipe.gate.exchangeable):
        return fit
    order = _order(task, fit)
    if np.array_equal(order, np.arange(len(order))):
        return fit
    gate = fit.gate.reordered(order)
    return fit if gate is None else _reordered(task, fit, gate, order)


def _order(task, fit):
    """Position in the fit of the expert for each place."""
    kinds = np.array(kinds_of(task))[fit.kept]
    order = np.arange(len(kinds))
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        if len(places) > 1:
            order[places] = places[_ranked(task, fit, places)]
    return order


def _ranked(task, fit, places):
    """Order of the experts in some places: by load, then by mean prediction."""
    load = fit.load[places]
    order = np.argsort(-load, kind="stable")
    equal = -np.diff(load[order]) < SAME_LOAD
    if not equal.any():
        return order
    runs = np.cumsum(np.r_[True, ~equal])
    means = [_mean_prediction(task, fit, places[k]) for k in order]
    return order[np.lexsort((means, runs))]


def _mean_prediction(task, fit, place):
    """Mean over the rows of the first output, or of the last class's probability."""
    view = task.rows.expert_views[fit.kept[place]]
    answer = predict_expert(
        fit.experts[place], view, task.rows.classes, task.rows.log_prior
    )
    return np.average(
        answer[:, 0 if task.rows.classes is None else -1], weights=task.rows.weight
    )


def _reordered(task, fit, gate, order):
    history = dict(fit.history)
    if "load" in history:
        history["load"] = [_moved(load, fit.kept, order) for load in history["load"]]
    router = fit.router
    if router is not None:
        router = task.recipe.fitted_router(gate, task.rows.gate_view)
    return replace(
        fit,
        gate=gate,
        experts=[fit.experts[k] for k in order],
        likelihoods=[fit.likelihoods[k] for k in order],
        load=fit.load[order],
        history=history,
        router=router,
        before=fit.before and tuple([own[k] for k in order] for own in fit.before),
    )


def _moved(load, kept, order):
    """Loads of all experts asked for, with those that are left in another order."""
    load, kept = load.copy(), np.asarray(kept)
    load[kept] = load[kept[order]]
    return load
