"""Experts that serve next to nobody, and how they are left out."""

from dataclasses import replace

import numpy as np

from ..._warnings import warn
from ...exceptions import ExpertCollapseWarning
from .._em.drivers import least_load
from .record import of_experts


def without_idle(trainer, run, fit):
    """The fit of a run without the experts that ``min_load`` is too much for.

    Gate, router and optimiser go on as they are for the others; ``history`` says who
    is gone.

    Parameters
    ----------
    trainer : Gradient
    run : GradientRun that has ended, whose best epoch the fit is
    fit : Fit
    """
    if trainer.min_load is None or run.task.start.freeze is not None:
        return fit
    least = least_load(trainer.min_load, len(fit.load))
    # It is below an equal share, so that somebody is left.
    served = np.asarray(fit.load) >= least
    if served.all():
        return fit
    kept, names = np.flatnonzero(served).tolist(), run.task.recipe.names
    removed = [
        {
            "iteration": len(fit.lower_bounds),
            "expert": names[k],
            "load": float(fit.load[k]),
            "reason": f"responsible for less than {least:.2g} of the rows (min_load)",
        }
        for k in np.flatnonzero(~served)
    ]
    named = ", ".join(repr(own["expert"]) for own in removed)
    warn(
        f"Expert {named} lost its rows and was removed: n_experts_ says how many are "
        "left; use fewer experts, losses=[LoadBalancingLoss()], or a smaller "
        f"{type(trainer).__name__}(min_load=...).",
        ExpertCollapseWarning,
    )
    small = run.of_experts(kept).to_fit()
    parts = ("gate", "experts", "likelihoods", "router", "state", "load")
    found = {name: vars(small)[name] for name in (*parts, "log_likelihood")}
    history = of_experts(fit.history, kept, removed)
    return replace(fit, **found, kept=[fit.kept[k] for k in kept], history=history)
