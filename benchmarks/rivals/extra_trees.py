"""The pool's expert "forest" alone."""

from ._alone import expert_alone

NAME = "extra trees"


def make(classify, seed, pool):
    """The expert."""
    return expert_alone(pool, "forest", classify)
