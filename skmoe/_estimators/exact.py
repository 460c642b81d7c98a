"""Experts that match y exactly: as it may be, or because there are too few rows."""

import numpy as np

from .. import mixture
from .._warnings import warn
from ..likelihoods._base import weighted_variance
from .answers import FittedMixture, Seen, of_subjects

# Residuals below this share of the spread of y are those of an exact fit.
EXACT = 5e-5
# Share of a standard deviation at its floor below which residuals are told of.
HELD = 0.9
# Rows below which an expert may well be a spike, which only the floor holds back.
FEW_ROWS = 30
# Share of a standard deviation below which a row counts as matched.
MATCHED = 1e-3


def warn_of_matching(rows, fits, n_columns):
    """Warn of y that is matched only because there are columns enough for it.

    Parameters
    ----------
    rows : Rows, no more of them than columns
    fits : list of Fit, one per member
    n_columns : int, of the expert that reads most of them
    """
    if not any(_matches(rows, fit) for fit in fits):
        return
    n_rows = np.count_nonzero(rows.weight)
    warn(
        f"{n_rows} rows of {n_columns} columns are matched exactly, as any other y "
        "would be, so that predictions for other rows and their intervals mean "
        "little; give more rows than columns, fewer columns, or a penalty such as "
        "experts=LinearExpert(alpha=1.0).",
        UserWarning,
    )


def _matches(rows, fit):
    """Whether some expert answers each row as it is, where y has any spread."""
    if not all(own.least_squares for own in fit.likelihoods):
        return False
    spread = weighted_variance(rows.y, rows.weight)
    if not spread.any():
        return False
    pairs = zip(fit.experts, fit.kept, strict=True)
    answers = [rows.answer_of(own, rows.expert_views[k]) for own, k in pairs]
    gaps = np.min([(rows.y - own) ** 2 for own in answers], axis=0)
    return bool(np.all(gaps[rows.weight > 0] <= MATCHED**2 * spread))


def held_up(model, rows, fit, names, numbers):
    """Variance of residuals, as a share of that of y, by the names of experts."""
    views = [rows.expert_views[k] for k in fit.kept]
    seen = Seen(rows.gate_view, views, rows.log_prior, rows.size)
    router = model.router_ if fit.router is None else fit.router
    own = FittedMixture(
        fit.gate,
        router.resized(len(fit.kept)),
        fit.experts,
        fit.likelihoods,
        views=None,
        shared=None,
        target=model._learned.target,
        n_jobs=model.n_jobs,
    )
    parts = of_subjects(*own.log_parts(seen, rows.y), rows.subjects)
    resp = rows.subjects.spread(mixture.responsibilities(*parts))
    spread = weighted_variance(rows.y, rows.weight)
    spread = np.where(spread > 0, spread, 1.0)
    found = {}
    for k in numbers:
        error = rows.y - rows.answer_of(fit.experts[k], views[k])
        weight = rows.weight * resp[:, k]
        share = weight @ error**2 / max(weight.sum(), np.finfo(float).tiny) / spread
        allowed = own.likelihoods[k].penalty_variance(rows.y.shape[1]) / spread
        held = (share > EXACT**2) & (share < HELD**2 * allowed)
        few = weight.sum() < FEW_ROWS * rows.weight.mean()
        if held.any() and not few:
            found[names[fit.kept[k]]] = float(share[held].min())
    return found
