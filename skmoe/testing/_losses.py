"""Whether an auxiliary loss keeps its promises."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, clone

from ..losses import BaseLoss, GateBatch, Slopes
from ..routers import NoisyTopKRouter
from ._common import check_parameters, close

N_ROWS, STEP = 12, 1e-6


def check_loss(
    loss: Any, router: int | BaseEstimator | None = None, n_experts: int = 4
) -> None:
    """Raise ``AssertionError`` where an auxiliary loss breaks the protocol.

    The value must be a number in proportion to ``weight``, and the slopes its
    gradient, by finite differences, in each of what they are given for: outputs,
    logits and weights, the others held.

    Parameters
    ----------
    loss : loss
    router : router, default=None
        ``NoisyTopKRouter(2)`` by default, which every loss can be used with.
    n_experts : int, default=4

    Examples
    --------
    >>> from skmoe.losses import RouterZLoss
    >>> from skmoe.testing import check_loss
    >>> check_loss(RouterZLoss())
    """
    assert isinstance(loss, BaseLoss), "a loss derives from skmoe.losses.BaseLoss"
    check_parameters(loss)
    loss.check()
    batch = _batch(NoisyTopKRouter(2) if router is None else router, n_experts)
    value, slopes = loss.value_and_slopes(batch)
    assert np.ndim(value) == 0, "the value is a number"
    assert np.isfinite(value), "the value is finite"
    assert isinstance(slopes, Slopes), "the gradient comes as Slopes"
    double = clone(loss).set_params(weight=2.0 * loss.weight)
    twice = double.value_and_slopes(batch)[0]
    close(twice, 2.0 * value, "the value is in proportion to weight")
    for name in Slopes._fields:
        _check_slope(loss, batch, name, slopes._asdict()[name])


def _batch(router, n_experts):
    """A batch of random outputs, routed as in training."""
    rng = np.random.default_rng(0)
    router = clone(router)
    outputs = rng.normal(size=(N_ROWS, router.gate_outputs(n_experts)))
    logits, _ = router.perturb(outputs, rng)
    routing = router.route(log_softmax(logits, axis=1), rng=rng, training=True)
    return GateBatch(outputs, logits, routing, router)


def _moved(batch, name, values):
    """The batch with other outputs, logits or weights."""
    if name != "weights":
        return batch._replace(**{name: values})
    return batch._replace(routing=batch.routing._replace(weights=values))


def _check_slope(loss, batch, name, slope):
    at = batch.routing.weights if name == "weights" else batch._asdict()[name]
    given = np.zeros(at.shape) if slope is None else np.asarray(slope)
    assert given.shape == at.shape, f"the slope of {name} has their shape"
    found = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        values = [at.copy(), at.copy()]
        values[0][place] += STEP
        values[1][place] -= STEP
        up, down = (loss.value_and_slopes(_moved(batch, name, v))[0] for v in values)
        found[place] = (up - down) / (2.0 * STEP)
    if name == "weights":
        # Nobody stands in an empty slot.
        found = np.where(batch.routing.indices >= 0, found, 0.0)
    close(given, found, f"the slope of {name} is that of the value", 1e-4, 1e-7)
