"""Log-densities by the formulas of SciPy, for direct searches of a maximum."""

import numpy as np
from scipy import special, stats

# Log-densities by target, linear predictor, logarithm of a dispersion, and trials.
DENSITIES = {
    "gaussian": lambda y, at, s, n: stats.norm.logpdf(y, at, np.exp(s)),
    "poisson": lambda y, at, s, n: stats.poisson.logpmf(y, np.exp(at)),
    "binomial": lambda y, at, s, n: stats.binom.logpmf(y, n, special.expit(at)),
    "gamma": lambda y, at, s, n: stats.gamma.logpdf(y, np.exp(s), scale=np.exp(at - s)),
    "negative-binomial": lambda y, at, s, n: stats.nbinom.logpmf(
        y, np.exp(s), np.exp(s) / (np.exp(s) + np.exp(at))
    ),
}
# Attributes of the dispersions.
DISPERSIONS = {"gaussian": "sigma_", "gamma": "shape_", "negative-binomial": "theta_"}
