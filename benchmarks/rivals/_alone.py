"""One of the pool's experts as a model of its own."""

from skmoe import MoEClassifier, MoERegressor
from skmoe.gates import SoftmaxGate


def expert_alone(pool, name, classify):
    """The expert with this name."""
    mixture = MoEClassifier if classify else MoERegressor
    names, experts = pool.members(classify, mixture, SoftmaxGate)
    return experts[names.index(name)]
