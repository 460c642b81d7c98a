"""skmoe: the same, with one expert per row."""

from . import two_stage

NAME = "skmoe two-stage, router=1"


def make(classify, seed, pool):
    """The mixture with a sparse gate."""
    return two_stage.make(classify, seed, pool).set_params(router=1)
