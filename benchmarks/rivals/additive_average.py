"""The average of five mixtures of additive experts, which is one mixture."""

from . import additive

NAME = "skmoe additive, n_members=5"


def make(classify, seed, pool):
    """Five starts of the same mixture."""
    return additive.make(classify, seed, pool).set_params(n_members=5)
