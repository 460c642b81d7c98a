"""What is told of a run: its objective, its loads, and who was removed on the way."""

import numpy as np


def removal(task, problem, run, position, least):
    """Record of an expert that is removed for its small load."""
    return {
        "iteration": len(run.bounds),
        "expert": task.recipe.names[problem.kept[position]],
        "load": float(problem.load(run.statistics)[position]),
        "reason": f"responsible for less than {least:.2g} of the rows (min_load)",
    }


def told(removed):
    """One line about an expert that was removed."""
    return (
        f"after {removed['iteration']} iterations of this run expert "
        f"{removed['expert']!r} is removed, {removed['reason']}"
    )


def after_soft_training(run, soft):
    """A run within the top k, with the record of the one over all experts before it.

    Its objective is another one, so that its bounds begin anew.
    """
    n_before = len(soft.bounds)
    own = [{**r, "iteration": r["iteration"] + n_before} for r in run.removed]
    run.soft_bounds, run.removed = soft.bounds, [*soft.removed, *own]
    run.rejected += soft.rejected
    # A brief refit is a fixed budget, so that it ends is not a failure.
    run.converged = soft.converged
    return run


def run_history(run, n_experts, jacobian=0.0):
    """Records per iteration, restarts, removals, and how many moves were refused.

    Parameters
    ----------
    run : Run
    n_experts : int
        Experts asked for: loads are zero for those that are gone.
    jacobian : float
        Nats per row from the objective to that on the scale of y.
    """
    loads = []
    for load, kept in zip(run.loads, run.kept, strict=True):
        loads.append(np.zeros(n_experts))
        loads[-1][kept] = load
    history = {
        "bound": [float(bound + jacobian) for bound in run.bounds],
        "load": loads,
        "restart": list(run.restarts),
        "removed": list(run.removed),
        "rejected": run.rejected,
    }
    if run.soft_bounds:
        history["soft_bound"] = [float(bound + jacobian) for bound in run.soft_bounds]
    return history
