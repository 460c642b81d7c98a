"""What tests ask of the record of a fit."""

import numpy as np


def never_falls(model, slack=1e-9):
    """Whether the objective falls nowhere but where it becomes another one.

    That is where penalties are chosen anew, and where a run goes on with an expert less.
    """
    bounds, history = np.array(model.lower_bounds_), model.history_
    falls = (
        np.flatnonzero(np.diff(bounds) < -slack * max(1.0, np.abs(bounds).max())) + 1
    )
    return set(falls) <= {*history["renewed"], *history["restart"]}
