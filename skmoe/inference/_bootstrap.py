"""Refits of a mixture to rows, or subjects, that are drawn again."""

import copy

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils import check_random_state

from .._tables.table import row_weights
from .._warnings import warn
from ._layout import layout_of

# Share of refits that may come to another kind of model without a word.
LARGEST_LOSS = 0.05


def bootstrapped(model, layout, units, rows, draws):
    """Estimates (n_boot, P) of refits.

    Each goes on from where the fit ended, so that components keep their names.

    Parameters
    ----------
    model : Unwrapped
    layout : Layout
    units : Units
    rows : tuple of X as the mixture sees it, y, sample_weight, groups, sizes
    draws : tuple of n_boot, random_state, n_jobs
    """
    X, y, sample_weight, groups, sizes = rows
    n_boot, random_state, n_jobs = draws
    weight = row_weights(X, sample_weight)
    share = np.full(units.n_units, 1.0 / units.n_units)
    drawn = check_random_state(random_state).multinomial(units.n_units, share, n_boot)
    given = sizes if groups is None else {**sizes, "groups": groups}
    found = Parallel(n_jobs=n_jobs)(
        delayed(_refit)(model, X, y, weight * _of_rows(own, units), layout, given)
        for own in drawn
    )
    kept = np.array([own for own in found if own is not None])
    _check_lost(len(kept), n_boot)
    return kept


def _of_rows(drawn, units):
    """How often each row (n,) was drawn, given how often its unit was."""
    times = np.empty(len(units.order))
    times[units.order] = np.repeat(drawn, np.diff(units.starts))
    return times


def _refit(model, X, y, weight, layout, given):
    """Parameters of one refit; None where it has others than the first fit."""
    mixture = copy.deepcopy(model.mixture)
    mixture.set_params(warm_start=True, n_jobs=1)
    try:
        mixture.fit(X, y, sample_weight=weight, **given)
    except ValueError:
        # A draw may lack a class.
        return None
    found = layout_of(model._replace(mixture=mixture))
    return found.estimate if found.terms == layout.terms else None


def _check_lost(n_kept, n_boot):
    """Warn of refits that came to other parameters; ValueError if most did."""
    if n_kept < max(2, n_boot // 2):
        raise ValueError(
            f"{n_boot - n_kept} of {n_boot} refits lost an expert, a class or a "
            "column, but expected at most half; use fewer experts, or "
            "kind='observed'."
        )
    if n_kept < (1.0 - LARGEST_LOSS) * n_boot:
        warn(
            f"{n_boot - n_kept} of {n_boot} refits lost an expert, a class or a "
            "column, and are left out, so that errors may be too small."
        )
