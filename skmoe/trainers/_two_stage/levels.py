"""Levels of the predictive distribution, put right by rows that were left out."""

import numpy as np

from ... import mixture
from ..._numerics.calibration import calibration
from ...routers._base import weights_at
from .._variances import Designs
from .gate_stage import fit_likelihoods

# Rows below which levels stay as they are: so few do not say where the ends are.
FEWEST_ROWS = 50


def calibrated_levels(stage, solution, posterior, blocks):
    """The ``Calibration`` of a mixture, or None where rows are few.

    Experts have not seen the rows that they predicted, and neither have the spreads by
    which a block is judged.  Gate and corrections are those of the mixture: others may
    share out the same mean in another way, which makes another distribution.

    Parameters
    ----------
    stage : GateStage
    solution : Solution
    posterior : what ``stage.posterior`` makes of it
    blocks : list of pairs of training and test rows
    """
    rows, recipe = stage.task.rows, stage.task.recipe
    if len(rows.y) < FEWEST_ROWS:
        return None
    gate, _, log_gate, log_prob = posterior
    resp = mixture.responsibilities(log_gate, log_prob)
    weight = rows.subjects.weight
    router = recipe.fitted_router(gate, rows.gate_rows, weight=weight)
    weights = weights_at(rows.gate_view, gate, router, recipe.n_experts)
    predictions = stage.corrected(solution.correction)
    reached, ratio = np.full((2, *rows.y.shape), np.nan)
    for train, test in blocks:
        known, own = stage.task.on_rows(train), rows.on_rows(test)
        at = [prediction[train] for prediction in predictions]
        found = fit_likelihoods(known, at, resp[train], Designs(known.rows.weight))
        components = mixture.Components(
            weights[test],
            np.stack([prediction[test] for prediction in predictions], axis=1),
            mixture.at_views(found, own.expert_views),
        )
        reached[test], ratio[test] = _judged(components, own.y)
    tested = np.isfinite(reached).all(axis=1)
    return calibration(reached[tested], rows.weight[tested], ratio[tested])


def _judged(components, y):
    """Distribution functions (n, d) at y, and squared errors in variances."""
    weights, means = components.weights, components.means()
    error = y - mixture.mean(weights, means)
    variance = mixture.variance(weights, means, components.variances())
    return mixture.cdf(y, components), error**2 / variance
