"""As many models as the pool has experts, all boosted trees with seeds of their own.

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
        for number in range(len(experts)):
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
