"""skmoe: a dense mixture of the pool's experts."""

from skmoe import MoEClassifier, MoERegressor
from skmoe.trainers import TwoStage

from ._experts import folds

NAME = "skmoe two-stage"


def make(classify, seed, pool):
    """The mixture with the folds of stacking."""
    kind = MoEClassifier if classify else MoERegressor
    return kind(pool, trainer=TwoStage(cv=folds(classify, seed)), random_state=seed)
