"""Quantiles of positive amounts by Newton's method within a bracket."""

import numpy as np

from .._numerics.bisection import middle
from ..mixture import narrowed

# Where quantiles are sought: below the end of the doubles.
HIGHEST = 1e300
# Steps, and those after which it is bits that are halved.
MOST_STEPS, FIRST_STEPS = 200, 60


def positive_quantiles(cdf, log_density, level, start, arguments):
    """Positive amounts (n,) where the distribution function is ``level``.

    Parameters
    ----------
    cdf, log_density : callables
        Of amounts and ``arguments``, all of shape (n,).
    level, start : ndarray of shape (n,)
    arguments : list of ndarrays of shape (n,)
    """
    low, high = np.zeros(len(level)), np.full(len(level), HIGHEST)
    t, rows = np.clip(start, 1e-300, HIGHEST), np.arange(len(level))
    tolerance = 1e-13 * np.minimum(level, 1.0 - level) + 4e-16 * level
    for number in range(MOST_STEPS):
        if not len(rows):
            break
        own = [x[rows] for x in arguments]
        excess = cdf(t[rows], *own) - level[rows]
        slope = np.exp(np.minimum(log_density(t[rows], *own), 700.0))
        moved = narrowed(
            *(
                x[rows, None]
                for x in (
                    low,
                    high,
                    t,
                )
            ),
            excess[:, None],
            slope[:, None],
            tolerance[rows, None],
            _halfway if number < FIRST_STEPS else middle,
        )
        low[rows], high[rows], t[rows] = (x[:, 0] for x in moved[:3])
        rows = rows[~moved[3]]
    return t


def _halfway(low, high):
    """Between two amounts of about one size, else of orders of magnitude."""
    return np.where(high > 4.0 * low + 1e-300, middle(low, high), 0.5 * (low + high))
