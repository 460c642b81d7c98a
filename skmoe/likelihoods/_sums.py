"""Dispersions that gain from sums over rows that come in blocks."""

import numpy as np

# Step of the differences, in the logarithm of a dispersion: their error is a fourth
# power of it.
DIFFERENCE = 1e-2
# Weights of values at two steps below, one below, one above and two above, less the
# value itself, for a first and a second derivative.
STEPS = np.array([-2.0, -1.0, 1.0, 2.0])
FIRST = np.array([1.0, -8.0, 8.0, -1.0]) / 12.0
SECOND = np.array([-1.0, 16.0, 16.0, -1.0]) / 12.0


class DispersionSums:
    """Newton steps in the logarithms of the dispersions of one expert.

    Parameters
    ----------
    likelihood : fitted likelihood whose ``dispersions`` are told by name
    spread : (d,) variances of y, to which floors refer
    """

    def __init__(self, likelihood, spread):
        self.likelihood, self.n_outputs = likelihood, len(spread)
        self.low, self.high = likelihood.dispersion_limits(spread)

    @property
    def shape(self):
        """Dispersions by outputs."""
        return len(self.likelihood.dispersions), self.n_outputs

    def vector(self, likelihood):
        """Logarithms of the dispersions of a fitted likelihood."""
        values = [vars(likelihood)[name] for name in likelihood.dispersions]
        return np.log([np.broadcast_to(own, self.n_outputs) for own in values]).ravel()

    def at(self, theta):
        """The fitted likelihood of logarithms of dispersions."""
        logs = theta.reshape(self.shape)
        floored = bool(np.any(logs[:1] <= self.low[:1]))
        return self.likelihood.with_dispersions(np.exp(logs), floored)

    def zeros(self):
        """First and second derivatives of no rows."""
        return np.zeros(self.shape), np.zeros(self.shape)

    def add(self, sums, theta, rows):
        """Add derivatives of the log-likelihood of a block of ``ExpertRows``."""
        logs, y = theta.reshape(self.shape), rows.y
        if not len(logs):
            return
        prediction = self.likelihood.usable(rows.prediction)
        counts = (rows.weight > 0)[:, None]

        def total(at):
            own = self.likelihood.with_dispersions(np.exp(at), False)
            density = own.log_density(y, prediction, rows.size)
            return rows.weight @ np.where(counts, density, 0.0)

        here = total(logs)
        for number in range(len(logs)):
            values = []
            for step in STEPS:
                moved = logs.copy()
                moved[number] += step * DIFFERENCE
                values.append(total(moved) - here)
            sums[0][number] += FIRST @ values / DIFFERENCE
            sums[1][number] += SECOND @ values / DIFFERENCE**2

    def carried(self, sums, theta, moved):
        """Derivatives at logarithms that have moved, by those at the earlier ones."""
        first, second = sums
        move = (moved - theta).reshape(self.shape)
        # Where the log-likelihood curves upwards no quadratic leads back.
        return first + np.minimum(second, 0.0) * move, second

    def moved(self, theta, sums, prior):
        """Logarithms after one Newton step each, which is no longer than one.

        ``prior`` (d,) is what penalties add to the sums of squared residuals.
        """
        logs, (first, second) = theta.reshape(self.shape), sums
        if self.likelihood.scales_ridge and len(logs):
            # The penalty is -prior / 2 v, whose v is the square of the first of them.
            own = prior / self.at(theta).penalty_variance(self.n_outputs)
            first, second = first.copy(), second.copy()
            first[0] += own
            second[0] -= 2.0 * own
        bent = np.maximum(np.maximum(-second, np.abs(first)), np.finfo(float).tiny)
        return np.clip(logs + first / bent, self.low, self.high).ravel()
