"""skmoe: the pool of different experts, as it comes."""

from skmoe import MoEClassifier, MoERegressor

NAME = "skmoe pool"


def make(classify, seed, pool):
    """What ``experts="auto"`` makes; it settles its members by itself."""
    kind = MoEClassifier if classify else MoERegressor
    return kind("auto", trainer="two-stage", random_state=seed)
