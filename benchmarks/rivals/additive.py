"""A mixture of additive experts under an additive gate."""

from skmoe import MoEClassifier, MoERegressor

NAME = "skmoe additive"


def make(classify, seed, pool):
    """Four experts on the raw table."""
    kind = MoEClassifier if classify else MoERegressor
    return kind("additive", 4, gate="additive", random_state=seed)
