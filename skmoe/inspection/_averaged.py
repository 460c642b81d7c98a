"""Densities, averaged over the rows of a table, for pictures."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .. import mixture

# Central intervals whose ends bound the axis of y where none is given.
SHOWN = 0.99
# Share of that range that is added on either side.
MARGIN = 0.1
# Width of what smooths, in deviations of the medians of rows, by the fifth root of
# their number.
SMOOTHED = 0.5
# Distance of the quartiles of a normal distribution, in deviations.
QUARTILES = 1.349
# Halvings that find a quantile within the width of a line.
HALVINGS = 40


class Averaged:
    """One output of mixtures, averaged over the rows of each value of a column.

    Parameters
    ----------
    own : FittedMixture
    components : Components of all rows, value after value
    n_values, output : int
    """

    def __init__(self, own, components, n_values, output):
        self.own, self.components, self.output = own, components, output
        self.n_values, self.shape = n_values, components.predictions[:, 0].shape

    def _mean(self, rows):
        return rows[:, self.output].reshape(self.n_values, -1).mean(axis=1)

    def density(self, target):
        """Density (n_values,) at a number."""
        t = np.full(self.shape, target)
        return self._mean(mixture.marginal_density(t, self.components))

    def densities(self, targets):
        """Densities (n_targets, n_values), without stripes of single rows."""
        widths = self._widths()
        # Where levels were put right, only they are known.
        known = self.own.calibration is None and not widths.any()
        if self.components.discrete or known:
            found = np.array([self.density(target) for target in targets])
        else:
            # Peaks that are narrower than cells count in full, wherever they lie.
            step = targets[1] - targets[0]
            edges = np.append(targets - 0.5 * step, targets[-1] + 0.5 * step)
            below = np.array([self._below(edge) for edge in edges])
            found = np.diff(below, axis=0) / step
        for j in np.flatnonzero(widths) if len(targets) > 1 else ():
            width = widths[j] / (targets[1] - targets[0])
            found[:, j] = gaussian_filter1d(found[:, j], width, mode="reflect")
        return found

    def _widths(self):
        """By how much densities (n_values,) are smoothed along y; not at all where rows
        agree.

        Rows far from most others must not blur these: the narrower of two spreads.
        """
        medians = self._own(0.5)
        low, high = np.quantile(medians, [0.25, 0.75], axis=1)
        spread = np.minimum(medians.std(axis=1), (high - low) / QUARTILES)
        spread[spread <= 1e-9 * np.abs(medians).max()] = 0.0
        return SMOOTHED * spread * medians.shape[1] ** -0.2

    def _below(self, target):
        """Distribution function (n_values,) at a number."""
        t = np.full(self.shape, target)
        return self._mean(self.own.cdf(t, self.components))

    def _reaches(self, t, level):
        """Whether the distribution function at ``t`` (n_values,) reaches a level."""
        n_rows = self.shape[0] // self.n_values
        t = np.repeat(t, n_rows)[:, None] * np.ones(self.shape[1])
        # Rounding of the weights' sum must not push a level out of reach.
        least = level * (1.0 - 4.0 * np.finfo(float).eps)
        return self._mean(self.own.cdf(t, self.components)) >= least

    def _own(self, level):
        """Quantiles (n_values, n_rows) of the rows by themselves."""
        found = mixture.quantile(self.own.level(level), self.components)
        return found[:, self.output].reshape(self.n_values, -1)

    def quantile(self, level):
        """Where the averaged distribution function (n_values,) reaches a level."""
        own = self._own(level)
        low, high = own.min(axis=1), own.max(axis=1)
        if self.components.discrete:
            low, high = np.floor(low) - 1.0, np.ceil(high)
        for _ in range(HALVINGS):
            middle = low + 0.5 * (high - low)
            middle = np.floor(middle) if self.components.discrete else middle
            there = self._reaches(middle, level)
            low, high = np.where(there, low, middle), np.where(there, middle, high)
        return high

    def targets(self, n_targets):
        """Values of y that hold nearly all of the densities; whole ones for counts."""
        low, high = self._own((1 - SHOWN) / 2).min(), self._own((1 + SHOWN) / 2).max()
        if self.components.discrete:
            step = max(1, int((high - low) // n_targets))
            return np.arange(np.floor(low), high + 1, step)
        margin = MARGIN * max(high - low, np.finfo(float).tiny)
        least = 0.0 if self.components.likelihoods[0].link == "log" else -np.inf
        return np.linspace(max(low - margin, least), high + margin, n_targets)
