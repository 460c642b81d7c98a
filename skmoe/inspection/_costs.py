"""What it costs to ask each expert."""

from __future__ import annotations

import numbers
import time

from sklearn.base import BaseEstimator

from .._typing import Table
from ..experts._answers import predict_expert
from ._unwrap import unwrap

# Below what clocks tell apart: a cost is positive.
LEAST_SECONDS = 1e-12


def measure_costs(
    model: BaseEstimator, X: Table, n_repeats: int = 3
) -> dict[str, float]:
    """Seconds per row of each expert, as :class:`~skmoe.routers.BudgetRouter` reads it.

    Each expert is asked for all rows at once, one after the other, and the fastest of
    some times counts.  Give it as many rows as calls will have: an expert's time for a
    single row is mostly that of the call.

    Parameters
    ----------
    model : fitted mixture, search or pipeline
    X : array-like or data frame of shape (n, p)
    n_repeats : int, default=3

    Returns
    -------
    dict of str to float
        By names of experts.

    Raises
    ------
    ValueError
        If ``n_repeats`` is no positive integer.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.inspection import measure_costs
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor([("flat", Ridge(100.0)), ("steep", Ridge())]).fit(X, y)
    >>> list(measure_costs(model, X))
    ['flat', 'steep']
    """
    if not isinstance(n_repeats, numbers.Integral) or n_repeats < 1:
        raise ValueError(
            f"measure_costs got n_repeats={n_repeats!r}, but expected an integer >= 1."
        )
    model = unwrap(model)
    own, table = model.read(X)
    asked = own.target.classes, own.target.n_outputs
    pairs = zip(own.experts, own.see(table).experts, strict=True)
    seconds = [
        min(_seconds(expert, view, *asked) for _ in range(n_repeats))
        for expert, view in pairs
    ]
    per_row = [max(own / table.n_rows, LEAST_SECONDS) for own in seconds]
    return dict(zip(model.named_experts_, per_row, strict=True))


def _seconds(expert, view, *asked):
    started = time.perf_counter()
    predict_expert(expert, view, *asked)
    return time.perf_counter() - started
