"""What auxiliary losses see of a batch, and what they give back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._numerics.tree import Tree
from .._stamp import Stamped
from ..routers import Routing
from ..routers._base import is_number


class GateBatch(NamedTuple):
    """What the gate and the router made of a batch.

    Attributes
    ----------
    outputs : (n, K) or (n, 2 K) outputs of the gate, before noise.
    logits : (n, K) logits that were routed, with noise.
    routing : Routing
    router : router
    tree : Tree or None
        Shape of a tree of gates, whose leaves are the experts; None for a flat gate.
    """

    outputs: np.ndarray
    logits: np.ndarray
    routing: Routing
    router: object
    tree: Tree | None = None


class Slopes(NamedTuple):
    """Gradient of a loss; zero where None.

    Attributes
    ----------
    outputs : as ``GateBatch.outputs``
    logits : (n, K)
    weights : (n, k), with respect to the weights of the routing
    """

    outputs: np.ndarray | None = None
    logits: np.ndarray | None = None
    weights: np.ndarray | None = None


class NoEffect(NamedTuple):
    """Why a loss changes nothing, in words that follow "with", and what to do.

    Attributes
    ----------
    why : str
    remedy : str
    by_size : bool
        Whether that is so by numbers only, of experts or of those of a row, by which
        a search may pass: training warns.  What can never act is refused.
    """

    why: str
    remedy: str
    by_size: bool = False


class BaseLoss(Stamped):
    """Base of auxiliary losses; subclasses give ``value_and_slopes``.

    A loss that has no effect on some gates and routers says so in ``no_effect``, which
    training asks before it begins.

    Parameters
    ----------
    weight : float
        What the loss is multiplied by before it is added to the objective.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def check(self):
        """Raise ``ValueError`` for a weight that is not a non-negative number."""
        if not (is_number(self.weight) and 0 <= self.weight < np.inf):
            raise ValueError(
                f"{type(self).__name__} got weight={self.weight!r}, but expected a "
                "finite number >= 0."
            )

    def no_effect(self, gate, router, n_experts):
        """The :class:`NoEffect` of the loss beside these parts; None if it has some.

        By default losses act on any gate that is asked, among more than one expert.
        """
        if not router.gated:
            return NoEffect(
                f"router={router!r}, which asks no gate, so that the loss has nothing "
                "to change",
                "leave the loss out, or use another router",
            )
        if n_experts == 1:
            return NoEffect(
                "one expert, which has all rows whatever the gate says",
                "leave the loss out, or use more experts",
                by_size=True,
            )
        return None

    def value_and_slopes(self, batch):
        """Value of the loss of a :class:`GateBatch`, and its :class:`Slopes`."""
        raise NotImplementedError


def through_softmax(slope, proba):
    """Gradient of the logits, given that of their softmax."""
    return proba * (slope - np.sum(slope * proba, axis=1, keepdims=True))
