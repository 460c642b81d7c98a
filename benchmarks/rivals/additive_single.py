"""One additive model: a mixture of a single expert."""

from . import additive

NAME = "skmoe additive, n_experts=1"


def make(classify, seed, pool):
    """What regimes add is told by comparison with this."""
    return additive.make(classify, seed, pool).set_params(n_experts=1)
