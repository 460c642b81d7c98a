"""The pool's expert "linear" alone."""

from ._alone import expert_alone

NAME = "ridge / logistic"


def make(classify, seed, pool):
    """The expert."""
    return expert_alone(pool, "linear", classify)
