"""How a component without an expert, noise or zeros, begins."""

import numpy as np
from scipy.special import expit

from ...mixture import log_density, log_prob
from .matching import Matcher, by_name
from .refit import RefitMixture


def possible_start(task):
    """Responsibilities that are given, but for what is certain, or impossible."""
    bare, discrete = task.recipe.experts[-1], task.recipe.likelihood.discrete
    subjects, y = task.rows.subjects, np.abs(task.rows.y)
    # What is impossible for a row is so for all rows of its subject.
    return bare.possible(task.start.resp, subjects.spread(subjects.total(y)), discrete)


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
    subjects, likelihoods = task.rows.subjects, problem.at_rows(parts)
    own = subjects.evidence(log_prob(likelihoods, y, predictions, task.rows.size))
    with np.errstate(divide="ignore"):
        log_gate = np.log(subjects.mean(resp))
    explained = log_density(log_gate, own) + np.log1p(-start_share)
    bare = subjects.evidence(density.log_prob(y, np.zeros(y.shape)))
    share = expit(np.log(start_share) + bare - explained)
    share = subjects.spread(share)[:, None]
    return np.hstack([resp * (1.0 - share), share])
