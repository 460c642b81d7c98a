"""What tests ask of the record of a fit."""

import numpy as np


def never_falls(model, slack=1e-9):
    """Whether the objective falls nowhere but where it becomes another one.

    That is where penalties are chosen anew, and where an expert was removed.
    """
    bounds, history = np.array(model.lower_bounds_), model.history_
    least = -slack * max(1.0, np.abs(bounds).max())
    falls = np.flatnonzero(np.diff(bounds) < least) + 1
    return set(falls) <= {*history["renewed"], *history["restart"]}
