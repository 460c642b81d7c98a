"""Links between what an expert predicts and a linear predictor, and their ranges."""

import numpy as np
from scipy import special

# Linear predictors beyond this leave the range of doubles.
LARGEST_PREDICTOR = 700.0
# Least and largest means of a positive family. Units of y and of exposure are
# arbitrary, so only what would leave the range of doubles is out of it.
LEAST_MEAN, LARGEST_MEAN = np.exp(-LARGEST_PREDICTOR), np.exp(LARGEST_PREDICTOR)
# Chance nearest to one.
LARGEST_CHANCE = 1.0 - 0.5 * np.finfo(float).eps


def identity(value):
    """The value itself: the link of families on the whole line."""
    return value


def clipped_exp(predictor):
    """Exponential of a linear predictor that stays within the range of doubles."""
    return np.exp(np.clip(predictor, -LARGEST_PREDICTOR, LARGEST_PREDICTOR))


def positive(values):
    """Means of a positive family, brought into their range."""
    return np.clip(values, LEAST_MEAN, LARGEST_MEAN)


def chance(values):
    """Chances, kept away from zero and one."""
    return np.clip(values, LEAST_MEAN, LARGEST_CHANCE)


#: Linear predictors as functions of means.
LINKS = {"identity": identity, "log": np.log, "logit": special.logit}
#: Means as functions of linear predictors.
INVERSE_LINKS = {"identity": identity, "log": clipped_exp, "logit": special.expit}
#: Predictions within the range of means.
RANGES = {
    "identity": identity,
    "log": positive,
    "logit": chance,
    "softmax": identity,
}
