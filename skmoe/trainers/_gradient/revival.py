"""Experts that serve nobody, and how they come back."""

import numpy as np

# Share of its even part of the rows below which an expert is idle.
LEAST_SHARE = 0.01
# Standard deviation of the difference of logits by which two experts part their rows.
APART = 2.0
# Noise of copied parameters, relative to their root mean square.
JITTER = 0.01
# Responsibilities, in rows, below which an expert serves nobody.
LEAST_ROWS = 0.5


def idle_names(names, load, n_rows):
    """Names of the experts that are responsible for no row, by their shares (K,)."""
    pairs = zip(names, load, strict=True)
    return [name for name, share in pairs if share * n_rows < LEAST_ROWS]


def revive(problem, theta, optimizer, rows, phase, rng):
    """Start idle experts anew, in place; returns how many there were.

    Each becomes a copy of the busiest one, and the gate parts the rows of the two along
    a random direction, half of them to each.

    Parameters
    ----------
    problem : GradientTask, whose gate is one network
    theta : parameters
    optimizer : Adam
    rows : (m,) by which experts are idle or busy
    phase : Phase
    rng : random generator
    """
    served, top = problem.served(theta, rows, phase)
    idle = np.flatnonzero(served < LEAST_SHARE * served.sum() / len(served))
    for k in idle:
        busy = int(served.argmax())
        copy_expert(problem, theta, k, busy, rng)
        own = rows[top == busy]
        part_rows(problem, theta, k, busy, own, phase.temperature, rng)
        optimizer.forget(problem.parameters_of(k))
        served, top = problem.served(theta, rows, phase)
    return len(idle)


def copy_expert(problem, theta, k, other, rng):
    """Let an expert be another one, next to; at random where that is of another kind.

    Their variances are the same.
    """
    where, source = problem.expert_slices[k], problem.expert_slices[other]
    if problem.are_alike(k, other):
        own = theta[source]
        spread = JITTER * np.sqrt(np.mean(own**2))
        theta[where] = own + spread * rng.normal(size=len(own))
    else:
        theta[where] = problem.start()[where]
    if problem.n_variances > 1:
        variances = theta[problem.variances].reshape(problem.n_variances, -1)
        variances[k] = variances[other]


def part_rows(problem, theta, k, other, rows, temperature, rng):
    """Let the gate give an expert half of the rows of another one."""
    n_experts, gate = problem.n_experts, problem.gate
    weights, bias = gate.network.layers(theta[: gate.n_parameters])[-1]
    for at in range(0, weights.shape[1], n_experts):
        weights[:, at + k], bias[at + k] = weights[:, at + other], bias[at + other]
    direction = rng.normal(size=len(weights))
    weights[:, k] += direction
    outputs = problem.gate_outputs(theta, rows, temperature)
    apart = outputs[:, k] - outputs[:, other]
    spread = apart.std() if len(apart) else 0.0
    factor = APART / spread if spread > 0 else 0.0
    weights[:, k] = weights[:, other] + factor * direction
    # Together they have the weight that the one had.
    bias[[k, other]] -= np.log(2.0) * temperature
    if factor:
        bias[k] -= factor * np.median(apart) * temperature
