"""From a good solution to a better one: perturbed restarts, the best of which stays."""

from .. import _partitions

# Tolerance of runs whose results are only compared, and of their first stretch.
LOOSE_TOL, FIRST_TOL = 1e-5, 1e-3
# A first stretch that ends further below the best, in nats per unit of weight, is given
# up: what becomes the best was nearer by then on all known answers.
BEHIND = 0.02


def rank(problem, run):
    """Sound solutions before spikes, then by objective."""
    return not problem.is_spike(run.theta, run.statistics), run.value


def hop(problem, runs, start, go_on, n_hops, points, rng):
    """Runs from perturbed copies of the best so far: the best, and the first of before.

    The second one is there in case the first turns out to be a spike at the end.

    Rows are first dealt out anew from each of the runs, from which one step leads to
    the same place nearly always.

    Parameters
    ----------
    problem : LinearMixture or RefitMixture
    runs : list of Run, best first
    start : callable(responsibilities) -> theta
    go_on : callable(theta, tol) -> Run
    n_hops : int
    points : tuple of arrays (n, p), (n, d) and (n,)
        Standardised columns and targets, by which rows are told apart, and weights.
    rng : RandomState
    """
    best = runs[0]
    for run in runs:
        resp = _partitions.drawn(problem.responsibilities(run), *points, rng)
        best = _better(problem, best, start(resp), go_on)
    source, resp = None, None
    for number in range(n_hops - len(runs)):
        if best is not source:
            source, resp = best, problem.responsibilities(best)
        move = _partitions.MOVES[number % len(_partitions.MOVES)]
        theta = start(move(resp, *points, rng))
        best = _better(problem, best, theta, go_on)
    return [best] if best is runs[0] else [best, runs[0]]


def _better(problem, best, theta, go_on):
    """The better one of a run and the run from other parameters."""
    run = go_on(theta, FIRST_TOL)
    if run.value < best.value - BEHIND:
        return best
    run = go_on(run.theta, LOOSE_TOL)
    return max(best, run, key=lambda own: rank(problem, own))
