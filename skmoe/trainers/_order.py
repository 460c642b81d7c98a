"""Which experts are interchangeable, and a stable order of those."""

from dataclasses import replace

import numpy as np

from ..experts._base import is_frozen

# Loads that differ by less are taken as equal: rounding must not decide.
SAME_LOAD = 1e-3
# What ``history_`` has of each expert.
PER_EXPERT = {"load", "gate_load"}


def kinds_of(task):
    """A number per expert, the same for those that would fit any rows alike.

    They are of one class with equal parameters, seeds apart, see the same columns and
    are given the same arguments.  What is frozen is alike to itself only.
    """
    kinds = []
    for k in range(task.recipe.n_experts):
        same = (j for j in range(k) if kinds[j] == j and _interchangeable(task, j, k))
        kinds.append(next(same, k))
    return kinds


def _interchangeable(task, j, k):
    if task.rows.expert_views[j] is not task.rows.expert_views[k]:
        return False
    if task.rows.fit_params and not _equal(
        task.rows.fit_params[j], task.rows.fit_params[k]
    ):
        return False
    families = [task.recipe.likelihood.of_expert(number) for number in (j, k)]
    return _equal(*families) and _equal(task.recipe.experts[j], task.recipe.experts[k])


def _equal(first, second):
    """Whether two parameters, or estimators, are the same."""
    if first is second:
        return True
    if type(first) is not type(second) or is_frozen(first):
        return False
    if hasattr(first, "get_params") and not isinstance(first, type):
        return _equal(_without_seed(first), _without_seed(second))
    if isinstance(first, dict):
        keys = first.keys() == second.keys()
        return keys and all(_equal(own, second[key]) for key, own in first.items())
    if isinstance(first, (list, tuple)):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_equal(a, b) for a, b in pairs)
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    try:
        return bool(first == second) or bool(first != first and second != second)
    except (TypeError, ValueError):
        # What has no plain answer, such as a frame, is taken as different.
        return False


def _without_seed(estimator):
    params = estimator.get_params(deep=False)
    return {key: own for key, own in params.items() if key != "random_state"}


def by_load(task, fit):
    """The fit with interchangeable experts in order of their load, largest first.

    Loads that are almost the same are ordered by the mean of what the experts predict,
    which for linear ones is the prediction at the mean row.  Experts that were named or
    started on rows of their own, places in a tree, and experts whose places a frozen
    gate or a router tells apart stay where they are.
    """
    fresh = task.start.warm is None and task.start.resp is None
    router, gate = task.recipe.router, task.recipe.gate
    alike = router.gated and not router.tells_apart and gate.exchangeable
    if not (fresh and alike and not task.recipe.named):
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
    numbers = [(fit.experts[k], fit.kept[k]) for k in places[order]]
    means = [task.rows.mean_answer(*own) for own in numbers]
    return order[np.lexsort((means, runs))]


def _reordered(task, fit, gate, order):
    history = dict(fit.history)
    for name in PER_EXPERT & history.keys():
        history[name] = [moved(load, fit.kept, order) for load in history[name]]
    router = fit.router
    if router is not None:
        rows = task.rows
        given = rows.gate_rows, fit.kept, rows.subjects.weight
        router = task.recipe.fitted_router(gate, *given)
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


def moved(load, kept, order):
    """Loads of all experts asked for, with those that are left in another order."""
    load, kept = load.copy(), np.asarray(kept)
    load[kept] = load[kept[order]]
    return load
