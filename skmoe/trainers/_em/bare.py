"""How a component without an expert, noise or zeros, begins."""

import numpy as np
from scipy.special import expit

from ...mixture import log_density, log_prob
from .matching import Matcher, by_name
from .refit import RefitMixture


def possible_start(task):
    """Responsibilities that are given, but for what is certain, or impossible."""
    bare, discrete = task.recipe.experts[-1], task.recipe.likelihood.discrete
    return bare.possible(task.start.resp, task.rows.y, discrete)


def with_bare(task, resp, density, start_share):
    """Responsibilities (n, K + 1) with what a brief fit cannot explain as the last.

    Parameters
    ----------
    task : Task of the experts alone
    resp : (n, K) responsibilities
    density : fitted likelihood of the component without an expert
    start_share : float, share of the rows that it has if all are equally likely
    """
    problem = RefitMixture(task)
    # The gate speaks of all components, so it is asked when the last has its rows.
    resp = Matcher(problem, by_gate=False)(by_name(task, resp))
    parts = problem.refit(None, resp)
    predictions, y = problem.predictions(parts), task.rows.y
    densities = log_prob(problem.at_rows(parts), y, predictions, task.rows.size)
    with np.errstate(divide="ignore"):
        explained = log_density(np.log(resp), densities) + np.log1p(-start_share)
    unexplained = np.log(start_share) + density.log_prob(y, np.zeros(y.shape))
    share = expit(unexplained - explained)[:, None]
    return np.hstack([resp * (1.0 - share), share])
