"""The pool's expert "network" alone."""

from ._alone import expert_alone

NAME = "networks"


def make(classify, seed, pool):
    """The expert."""
    return expert_alone(pool, "network", classify)
