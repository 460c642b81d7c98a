"""scikit-learn's plain average of the same experts."""

from functools import partial

from sklearn.ensemble import VotingClassifier, VotingRegressor

from ._experts import over_pool

NAME = "voting"


def make(classify, seed, pool):
    """The average over the pool."""
    build = partial(VotingClassifier, voting="soft") if classify else VotingRegressor
    return over_pool(classify, build, pool)
