"""The pool's expert "neighbours" alone."""

from ._alone import expert_alone

NAME = "nearest neighbours"


def make(classify, seed, pool):
    """The expert."""
    return expert_alone(pool, "neighbours", classify)
