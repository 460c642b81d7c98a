"""Which experts of a task are interchangeable."""

import numpy as np

from ..experts._foreign import is_frozen


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
    return _equal(task.recipe.experts[j], task.recipe.experts[k])


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
