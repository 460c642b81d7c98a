"""Levels of the predictive distribution, put right by rows that were left out."""

import numpy as np

from ... import mixture
from ..._numerics.calibration import calibration
from ...routers._base import weights_at
from .gate_stage import dispersions

# Rows below which levels stay as they are: so few do not say where the ends are.
FEWEST_ROWS = 50


def calibrated_levels(stage, solution, blocks):
    """The ``Calibration`` of a mixture, or None where rows are few.

    Experts have not seen the rows that they predicted, and neither have the spreads by
    which a block is judged.  Gate and corrections are those of the mixture: others may
    share out the same mean in another way, which makes another distribution.

    Parameters
    ----------
    stage : GateStage
    solution : Solution
    blocks : list of pairs of training and test rows
    """
    weight = stage.weight
    if len(weight) < FEWEST_ROWS:
        return None
    reached = np.full(stage.task.rows.y.shape, np.nan)
    ratio = reached.copy()
    for train, test in blocks:
        reached[test], ratio[test] = _judged(stage, solution, train, test)
    rows = np.isfinite(reached).all(axis=1)
    return calibration(reached[rows], weight[rows], ratio[rows])


def _judged(stage, solution, train, test):
    """Distribution functions (m, d) at y of test rows, and squared errors in variances,
    by what was fitted to training rows."""
    gate, known = stage.gate_of(solution), stage.task.on_rows(train)
    log_gate = gate.predict_log_proba(known.rows.gate_view)
    likelihoods, _ = dispersions(
        known, stage.corrected(solution.correction, train), log_gate
    )
    router = known.recipe.fitted_router(gate, known.rows.gate_view)
    rows = stage.task.rows.on_rows(test)
    components = mixture.Components(
        weights_at(rows.gate_view, gate, router, len(likelihoods)),
        np.stack(stage.corrected(solution.correction, test), axis=1),
        mixture.at_views(likelihoods, rows.expert_views),
    )
    weights, means = components.weights, components.means()
    error = rows.y - mixture.mean(weights, means)
    variance = mixture.variance(weights, means, components.variances())
    return mixture.cdf(rows.y, components), error**2 / variance
