"""The best dispersion, where no formula says it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize

from .._numerics.bisection import LARGEST

# Width of the narrowest bracket in which the logarithm of a dispersion is sought.
LEAST_BRACKET = 1e-3


def best_positive(
    loss: Callable[[float], float],
    log_bounds: tuple[float, float],
    before: float | None = None,
) -> float:
    """Positive number with the least ``loss``: a dispersion, say.

    Parameters
    ----------
    loss : callable
        Of the number.
    log_bounds : (float, float)
        Between which its logarithm is sought.
    before : float, default=None
        Kept if no better one is found.
    """

    def of_logarithm(value):
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            found = float(loss(np.exp(value)))
        return LARGEST if np.isnan(found) else min(found, LARGEST)

    (low, high), at = log_bounds, None
    start = 0.5 * (low + high) if before is None else np.log(before)
    while at is None or (of_logarithm(at) >= LARGEST and high - low > LEAST_BRACKET):
        if at is not None:
            # Beyond the range of numbers all are alike: look nearer to the start.
            low, high = 0.5 * (low + start), 0.5 * (high + start)
        at = optimize.minimize_scalar(
            of_logarithm, bounds=(low, high), method="bounded", options={"xatol": 1e-7}
        ).x
    # The search may end at a lesser of several optima: never below where it was.
    if before is not None and not of_logarithm(at) <= of_logarithm(start):
        return float(before)
    return float(np.exp(at))
