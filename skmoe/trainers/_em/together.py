"""The M-step of experts that have coefficients in common."""

import numpy as np
from sklearn.base import clone

from ...experts._stacked import fit_stacked


def fit_together(problem, shares, parts):
    """Experts fitted to responsibilities, all those that are no noise in one system.

    Each counts by the dispersion of the step before; at the start, by that of a fit
    of its own.

    Parameters
    ----------
    problem : RefitMixture
    shares : (n, K) responsibilities
    parts : Parts of the last M-step, or None
    """
    task, fits = problem.task, problem.fits
    noise, places = problem.stays(), np.flatnonzero(~problem.stays())
    experts, likelihoods = _apart(problem, shares, parts)
    numbers = [problem.kept[k] for k in places]
    asked, view = task.recipe.experts[numbers[0]], task.rows.expert_views[numbers[0]]
    own = [
        clone(task.recipe.experts[problem.kept[k]]).with_penalty_of(
            None if parts is None else parts.experts[k]
        )
        for k in places
    ]
    fitted = iter(
        fit_stacked(
            own,
            fits.designs.of(view, asked.standardize),
            task.rows.y,
            shares[:, places] * task.rows.weight[:, None],
            task.recipe.common,
            likelihoods=[likelihoods[k].at(view) for k in places],
            starts=[experts[k] for k in places],
            size=task.rows.size,
            unit=fits.units,
        )
    )
    return [experts[k] if noise[k] else next(fitted) for k in range(len(noise))]


def _apart(problem, shares, parts):
    """Experts and likelihoods by which the system is weighed."""
    if parts is not None:
        return parts.experts, parts.likelihoods
    pairs = zip(problem.kept, shares.T, strict=True)
    calls = [(number, share, None) for number, share in pairs]
    experts = problem.task.recipe.run_fits(problem.fits.fit, calls)
    return experts, problem.dispersions_of(experts, shares, None)
