"""What a router is told of each expert: one number for all, an array, or by names."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._base import check_positive, is_number


def amounts(owner: str, name: str, given: Any, n_experts: int | None) -> np.ndarray:
    """Positive numbers (K,), of any number of experts if ``n_experts`` is None.

    Parameters
    ----------
    owner, name : str
        Router and parameter, for messages.
    given : float, array-like of shape (K,) or dict of str to float
    n_experts : int or None

    Raises
    ------
    ValueError
        Where there are not as many numbers, or one is not positive and finite.
    """
    if is_number(given):
        check_positive(owner, name, given)
        return np.full(n_experts or 1, float(given))
    listed = list(given.values()) if isinstance(given, dict) else given
    try:
        found = np.asarray(listed, dtype=float)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    counted = n_experts is None or isinstance(given, dict)
    fits = found.ndim == 1 and (counted or len(found) == n_experts)
    if not fits or not len(found) or not np.all((found > 0) & (found < np.inf)):
        wanted = "" if counted else f"{n_experts} "
        raise ValueError(
            f"{owner} got {name}={given!r}, but expected a finite number > 0, "
            f"{wanted}of them (one per expert), or a dict of them by the names of "
            "experts."
        )
    return found


def by_names(
    owner: str, name: str, given: Any, names: list[str], bare: str
) -> dict[str, float]:
    """Amounts of experts of these names, of an array or a dict.

    An array has those of all experts, of which there are as many names.  What stands
    for no expert (``bare``) has the smallest.

    Raises
    ------
    ValueError
        Where an expert has none.
    """
    if not isinstance(given, dict):
        asked = [own for own in names if own != bare]
        found = amounts(owner, name, given, len(asked)).tolist()
        given = dict(zip(asked, found, strict=True))
    missing = [own for own in names if own not in given and own != bare]
    if missing:
        raise ValueError(
            f"{owner} got {name} of {list(given)}, but there are experts {missing}; "
            "give that of each of them."
        )
    least = min((given[own] for own in names if own in given), default=1.0)
    return {own: given.get(own, least) for own in names}
