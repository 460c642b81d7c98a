"""Boosted trees with seeds of their own: two for each expert of the pool.

One stands for the expert, one for its local correction.

The control of every mixture: an ensemble of the same size without a gate.
"""

from sklearn.base import clone
from sklearn.ensemble import VotingClassifier, VotingRegressor

from ._experts import over_pool

NAME = "ensemble of equal size"


def make(classify, seed, pool):
    """An average of boosted trees."""

    def build(experts):
        boosting = dict(experts).get("boosting", experts[0][1])
        copies = []
        for number in range(2 * len(experts)):
            copy = clone(boosting)
            free = [k for k in copy.get_params() if k.endswith("random_state")]
            copies.append(
                (f"copy{number}", copy.set_params(**dict.fromkeys(free, number)))
            )
        return (
            VotingClassifier(copies, voting="soft")
            if classify
            else VotingRegressor(copies)
        )

    return over_pool(classify, build, pool)
