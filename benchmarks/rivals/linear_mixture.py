"""The pool's expert "mixture" alone."""

from ._alone import expert_alone

NAME = "skmoe linear mixture"


def make(classify, seed, pool):
    """The expert."""
    return expert_alone(pool, "mixture", classify)
