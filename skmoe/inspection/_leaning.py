"""Where curves are high, in words."""

import numpy as np

from ._numbers import number

# Levels that are named; of more, those with the highest values.
MOST_NAMED = 3


def leanings(curves, place, n_columns, precision=3):
    """The columns that move one of several curves most, and where it is the highest.

    Parameters
    ----------
    curves : list of Curve
    place : int
        Which of the sets of curves: a child of a gate, against the mean of all.
    n_columns, precision : int

    Returns
    -------
    list of (str, str)
        Columns and places, such as ``("hour", "8–18")``, what moves it most first.
    """
    own = [(curve, _against_others(curve, place)) for curve in curves]
    ranked = sorted(own, key=lambda pair: -_spread(pair[1]))[:n_columns]
    most = _spread(ranked[0][1]) if ranked else 0.0
    return [
        (curve.name, _where(curve, values, precision))
        for curve, values in ranked
        if _spread(values) > 1e-3 * most
    ]


def moving(curves, n_columns):
    """Names of the columns whose curves, of one expert, spread most."""
    spread = {own.name: _spread(np.atleast_2d(own.values).T) for own in curves}
    ranked = sorted(spread, key=lambda name: -spread[name])[:n_columns]
    return [name for name in ranked if spread[name] > 0]


def _spread(values):
    return float(np.max(np.std(values, axis=0))) if np.size(values) else 0.0


def _against_others(curve, place):
    values = np.atleast_2d(curve.values)
    return values[place] - values.mean(axis=0)


def _where(curve, values, precision):
    """Levels, or the range between knots, of the values above their middle."""
    above = values > 0.5 * (values.min() + values.max())
    if curve.levels is not None:
        order = [k for k in np.argsort(-values, kind="stable") if above[k]]
        named = [str(curve.levels[k]) for k in sorted(order[:MOST_NAMED])]
        return ", ".join([*named, "…"] if len(order) > MOST_NAMED else named)
    low, high = _widest(above, curve.knots)
    ends = number(curve.knots[low], precision), number(curve.knots[high], precision)
    if high == len(above) - 1:
        return f"above {ends[0]}"
    return f"below {ends[1]}" if low == 0 else f"{ends[0]}–{ends[1]}"


def _widest(above, knots):
    """First and last place of the widest stretch of places that are above."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], above, [0]])))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return max(pairs, key=lambda pair: knots[pair[1]] - knots[pair[0]])
