"""Checks that third parties can run on their own parts.

Each takes a part, unfitted, and raises ``AssertionError`` where it breaks the protocol:
what its base class asks, and what the part declares of itself.  A part that passes
serves every trainer that it says it serves.
"""

from .._stamp import public
from ._estimators import all_estimators
from ._experts import check_expert
from ._gates import check_gate
from ._likelihoods import check_likelihood
from ._losses import check_loss
from ._routers import check_router
from ._trainers import check_trainer

__all__ = [
    "all_estimators",
    "check_expert",
    "check_gate",
    "check_likelihood",
    "check_loss",
    "check_router",
    "check_trainer",
]

public(
    __name__,
    all_estimators,
    check_expert,
    check_gate,
    check_likelihood,
    check_loss,
    check_router,
    check_trainer,
)
