"""What a router returns, and what every router does."""

from __future__ import annotations

import copy
import numbers
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from .._kernels.routing import TIE, RoutingFault, first_fault
from .._stamp import Stamped
from ..exceptions import did_you_mean

# What weights of a row may be off one by: those of single precision, and some more.
SUM_TOLERANCE = 1e-4
# Where a row goes in training that finds no expert.
OVERFLOW = ("next", "shared", "drop")


class Routing(NamedTuple):
    """Which experts serve which rows.

    Attributes
    ----------
    indices : ndarray of shape (n, k)
        Active experts of each row, best first; -1 where a slot is empty.
    weights : ndarray of shape (n, k)
        Their weights; rows sum to one, empty slots have weight zero.
    load : ndarray of shape (K,)
        Number of rows that each expert serves.
    overflow : int
        Requests that a full expert turned away, or rows that no expert chose; always
        zero at prediction.
    """

    indices: np.ndarray
    weights: np.ndarray
    load: np.ndarray
    overflow: int = 0

    def __repr__(self):
        n_rows, k = np.shape(self.indices)
        load = np.array2string(
            np.asarray(self.load), separator=", ", threshold=8, edgeitems=3
        )
        lost = f", {self.overflow} overflowed" if self.overflow else ""
        size = f"{n_rows} rows to {k} of {len(self.load)} experts"
        return f"Routing of {size}, load {load}{lost}"

    def dense(self, values=None):
        """The weights as an (n, K) array, zero for inactive experts.

        Or ``values`` (n, k) of the slots, in their place.
        """
        values = self.weights if values is None else values
        out = np.zeros((len(self.indices), len(self.load)))
        used = self.indices >= 0
        rows = np.broadcast_to(
            np.arange(len(self.indices))[:, None], self.indices.shape
        )
        out[rows[used], self.indices[used]] = values[used]
        return out


def stacked(parts):
    """Routing of the rows of several, one after another."""
    width = max(part.indices.shape[1] for part in parts)
    n_rows = sum(len(part.indices) for part in parts)
    indices, weights = np.full((n_rows, width), -1), np.zeros((n_rows, width))
    start = 0
    for part in parts:
        stop, own = start + len(part.indices), part.indices.shape[1]
        indices[start:stop, :own], weights[start:stop, :own] = part[:2]
        start = stop
    load = np.sum([part.load for part in parts], axis=0)
    return Routing(indices, weights, load, sum(part.overflow for part in parts))


class BaseRouter(Stamped):
    """Base of all routers: a pure policy on the array of gate log-weights.

    Only ``route`` is needed.  The other methods are for routers with noise, state, or
    a rule of their own in training.

    A router serves any number of experts: experts may be lost, merged or never grown
    after ``check`` has passed what the user asked for.  Where fewer than k are left,
    all of them are active.
    """

    #: Kinds of trainers whose steps make sense under this rule.
    trainers = ("em", "gradient", "two-stage")
    #: Whether EM restricts the experts of a row in its E-step, or routes afterwards.
    masks_training = False
    #: Whether the gate learns from the weights of the active experts as they sum to
    #: one, or from their probabilities in comparison with the fallback.  A row with
    #: one expert always does the latter (``rivals``).
    normalised = True
    #: Whether every row has all experts, by the weights of the gate.
    is_dense = False
    #: Whether prediction is plain top-k of the gate's weights, renormalised.
    plain_top_k = False
    #: Whether the gate decides; otherwise it gets no gradient from the weights.
    gated = True
    #: Whether experts that are alike otherwise differ to it, and keep their places.
    tells_apart = False
    #: Whether the mixture's shared expert is its first expert, trained with the others.
    takes_shared = False
    #: Share of the epochs of ``Gradient`` in which all experts stay active.
    soft_share = 0.0
    #: Whether ``fit`` learns something: where a class has one of its own.
    learns = False
    #: Whether ``fit`` takes ``sample_weight`` (n,) as well.
    reads_weight = False
    #: Whether training by gradient calls ``fit`` before the first batch, too: for what
    #: the rule learns of the rows, and not of the gate.
    fits_first = False
    #: Whether EM trains within the active experts from the start.
    sparse_training = False
    #: Whether EM trains with all experts and refits briefly within the active ones.
    soft_then_sparse = False
    #: Where a row goes in training that finds no expert: "next", "shared" or "drop".
    overflow = "next"
    #: Factor of the noise on the logits whose scale the gate learns; 0 for none.
    noise = 0.0

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.learns = cls.learns or "fit" in vars(cls)

    def check(self, n_experts):
        """Raise ``ValueError`` for parameters that do not fit ``n_experts``."""

    def resized(self, n_experts):
        """A copy for ``n_experts`` experts, for which ``check`` passes.

        By default a parameter ``k`` is no more than there are experts.
        """
        own = copy.deepcopy(self)
        k = own.get_params(deep=False).get("k")
        return own if k is None else own.set_params(k=min(k, n_experts))

    def only(self, kept):
        """A copy for the experts at these positions, the others being gone.

        With what it has learned of them; by default what ``resized`` leaves of that.
        """
        return self.resized(len(kept))

    def of_experts(self, names):
        """The router of experts of these names, where some may be lost.

        It is asked for before training, and before ``fit``; by default names are
        nothing to it.
        """
        return self

    def n_active(self, n_experts):
        """Experts that a row can have at prediction, of so many that there are."""
        return n_experts

    def prefers_one(self, n_experts):
        """Whether two stages train the gate as if every row had one expert only."""
        return self.n_active(n_experts) == 1 < n_experts

    def route(self, log_gate, *, X=None, rng=None, training=False):
        """Routing of rows with gate log-weights ``log_gate`` (n, K)."""
        raise NotImplementedError

    def gate_outputs(self, n_experts):
        """Outputs that the gate needs in training by gradient."""
        return n_experts

    def jitter(self, X, rng):
        """Standardised rows as the gate sees them in training."""
        return X

    def scale(self, raw):
        """Standard deviations (n, K) of learned noise, from the gate's last outputs."""
        raise NotImplementedError

    def perturb(self, outputs, rng):
        """Logits (n, K) for routing, and the way back from their gradient."""
        return outputs, lambda slope: slope

    def rivals(self, log_gate, indices):
        """Mask (n, K) of the experts that share a row's weight while the gate learns.

        What the active experts (``indices`` (n, k)) have of it is theirs, the rest
        is the fallback's.  Among itself a lone expert weighs one whatever the gate
        says, from which nothing is learned, so there it is all experts.
        """
        if not self.normalised or indices.shape[1] == 1:
            return np.ones(log_gate.shape, dtype=bool)
        active = active_mask(indices, log_gate.shape[1])
        return active | (active.sum(axis=1, keepdims=True) < 2)

    def observe(self, routing):
        """See the routing of a training batch; balancing state may change."""

    def fit(self, log_gate, X=None):
        """Learn what prediction needs from the log-weights of the training rows."""
        return self

    def fit_rows(self, log_gate, X, sample_weight):
        """``fit`` with what it reads of the training rows."""
        own = {"sample_weight": sample_weight} if self.reads_weight else {}
        return self.fit(log_gate, X=X, **own)


def routed(router, log_gate, **given):
    """Routing by a router, checked once: kernels trust the numbers of experts.

    Parameters
    ----------
    router : router
    log_gate : (n, K)
    **given
        Arguments of ``router.route``.
    """
    routing, owner = router.route(log_gate, **given), type(router).__name__
    if not isinstance(routing, Routing):
        raise ValueError(
            f"{owner} returned a {type(routing).__name__}, but expected a "
            "skmoe.routers.Routing; mend its method route."
        )
    routing = routing._replace(
        indices=np.asarray(routing.indices),
        weights=np.asarray(routing.weights),
        load=np.asarray(routing.load),
    )
    _check_shapes(routing, log_gate.shape, owner)
    wrong = _wrong(routing, log_gate.shape[1], given.get("training", False))
    if wrong:
        raise ValueError(f"{owner} returned {wrong}; mend its method route.")
    return routing


def _check_shapes(routing, shape, owner):
    (n_rows, n_experts), own = shape, routing.indices.shape
    shaped = len(own) == 2 and own[0] == n_rows and own[1] > 0
    alike = routing.weights.shape == own and routing.load.shape == (n_experts,)
    if not (shaped and alike):
        raise ValueError(
            f"{owner} returned indices of shape {own}, weights of shape "
            f"{routing.weights.shape} and load of shape {routing.load.shape}, but "
            f"expected ({n_rows}, k) twice and ({n_experts},), by the number of "
            "experts; mend its method route."
        )


def _wrong(routing, n_experts, training):
    """What is wrong with a routing, or None."""
    indices, weights = routing.indices, routing.weights
    if indices.dtype.kind not in "iu":
        first = indices.flat[0].item() if indices.size else indices.dtype.name
        return _outside(first, n_experts)
    if weights.dtype.kind not in "fiu":
        return "weights that are no finite numbers"
    # In training rows may be dropped, and weights be probabilities.
    fault, row, slot = first_fault(
        np.asarray(indices, dtype=np.int64),
        np.asarray(weights, dtype=np.float64),
        n_experts,
        np.inf if training else SUM_TOLERANCE,
    )
    if fault == RoutingFault.none:
        return None
    return {
        RoutingFault.outside: lambda: _outside(int(indices[row, slot]), n_experts),
        RoutingFault.infinite: lambda: "weights that are no finite numbers",
        RoutingFault.negative: lambda: (
            f"a weight of {weights[row, slot]:.3g}, but expected weights >= 0"
        ),
        RoutingFault.empty: lambda: (
            "a weight of an empty slot, but expected zero there"
        ),
        RoutingFault.twice: lambda: "an expert twice in a row, but expected each once",
        RoutingFault.total: lambda: (
            f"weights of a row that sum to {weights[row].sum():.3g}, but expected one"
        ),
    }[fault]()


def routed_by(view, gate, router, n_experts):
    """``Routing`` of rows by a fitted gate, which not every router asks."""
    if router.gated:
        return gate.route(view, router)
    shape = (view.shape[0], n_experts)
    log_gate = np.broadcast_to(-np.log(shape[1]), shape)
    return routed(router, log_gate, X=view)


def weights_at(view, gate, router, n_experts):
    """Weights (n, K) of all experts, zero for those that do not serve a row."""
    if router.gated:
        return gate.weights(view, router)
    return routed_by(view, gate, router, n_experts).dense()


def _outside(index, n_experts):
    return (
        f"{index!r} as an expert, but expected integers from 0 to {n_experts - 1}, or "
        "-1 for an empty slot"
    )


def active_mask(indices, n_experts):
    """Mask (n, K) of the experts in the slots (n, k) of a routing."""
    out = np.zeros((len(indices), n_experts), dtype=bool)
    rows, slots = np.nonzero(indices >= 0)
    out[rows, indices[rows, slots]] = True
    return out


def among(log_gate, rivals):
    """Log-weights (n, K) that sum to one over the ``rivals`` (n, K) of each row."""
    own = np.where(rivals, log_gate, -np.inf)
    total = logsumexp(own, axis=1, keepdims=True)
    return own - np.where(np.isfinite(total), total, 0.0)


def learned_from(router, log_gate, routing):
    """A routing with the weights from which the gate learns, and their log-weights.

    Returns
    -------
    Routing
    (n, K), minus infinity for experts that have no share of a row's weight.
    """
    rivals = router.rivals(log_gate, routing.indices)
    # Among all experts they sum to one as they are.
    reference = log_gate if rivals.all() else among(log_gate, rivals)
    weights = slot_weights(reference, routing.indices, normalised=False)
    return routing._replace(weights=weights), reference


def slot_weights(log_gate, indices, normalised=True):
    """Weights (n, k) of routed experts; empty slots have none."""
    used = indices >= 0
    chosen = np.take_along_axis(log_gate, np.where(used, indices, 0), axis=1)
    weights = np.where(used, np.exp(chosen), 0.0)
    if not normalised:
        return weights
    # From the logarithms, so that experts of tiny probability keep their ratio.
    peak = np.max(np.where(used, chosen, -np.inf), axis=1, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    weights = np.exp(np.where(used, chosen - peak, -np.inf))
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def make_routing(
    log_gate: NDArray, indices: NDArray, *, normalised: bool = True, overflow: str = 0
) -> Routing:
    """Routing with the gate's weights of the chosen experts.

    Parameters
    ----------
    log_gate : ndarray of shape (n, K)
        Log-weights of the gate.
    indices : ndarray of shape (n, k)
        Experts of each row, -1 where a slot is empty.
    normalised : bool, default=True
        Whether the weights of a row's experts sum to one.
    overflow : int, default=0
        Requests that found their expert full.

    Returns
    -------
    Routing
    """
    used = indices[indices >= 0]
    load = np.bincount(used, minlength=log_gate.shape[1])
    return Routing(
        indices, slot_weights(log_gate, indices, normalised), load, int(overflow)
    )


def best_first(log_gate):
    """Experts of each row by decreasing weight; of equal ones the first.

    Weights that differ by no more than rounding are equal, since a row in a batch and
    alone, in training and at prediction, is rounded in different ways.
    """
    order = np.argsort(-log_gate, axis=1, kind="stable")
    ranked = np.take_along_axis(log_gate, order, axis=1)
    with np.errstate(invalid="ignore"):
        falls = ranked[:, :-1] - ranked[:, 1:]
        near = (falls <= TIE * (1.0 + np.abs(ranked[:, :-1]))) & (falls > 0)
    if not near.any():
        return order
    rows = np.flatnonzero(near.any(axis=1))
    group = np.zeros((len(rows), order.shape[1]), dtype=np.int64)
    equal = near[rows] | (falls[rows] == 0)
    group[:, 1:] = np.cumsum(~equal, axis=1)
    order[rows] = np.take_along_axis(
        order[rows], np.lexsort((order[rows], group), axis=1), axis=1
    )
    return order


def compacted(keep, log_gate):
    """Indices (n, k) of the kept experts, best first, -1 behind them."""
    ranked = np.where(keep, log_gate, -np.inf)
    order = best_first(ranked)
    width = max(1, int(keep.sum(axis=1).max(initial=1)))
    kept = np.take_along_axis(keep, order, axis=1)
    return np.where(kept, order, -1)[:, :width]


def is_number(value):
    """Whether a parameter is a real number, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def is_integer(value):
    """Whether a parameter is an integer, and no truth value."""
    return is_number(value) and isinstance(value, numbers.Integral)


def check_k(owner, k, n_experts, name="k"):
    """Raise ``ValueError`` unless k experts can be active."""
    if not is_integer(k) or not 1 <= k <= n_experts:
        raise ValueError(
            f"{owner} got {name}={k!r}, but expected an integer between 1 and the "
            f"number of experts, {n_experts}."
        )


def is_count(router):
    """Whether a router is given by the number of experts that it keeps."""
    return isinstance(router, numbers.Integral) and not isinstance(router, bool)


def check_overflow(owner, overflow):
    """Raise ``ValueError`` for an unknown policy for rows that no expert takes."""
    if overflow not in OVERFLOW:
        raise ValueError(
            f"{owner} got overflow={overflow!r}, but expected one of {OVERFLOW}"
            + did_you_mean(overflow, OVERFLOW)
        )


def check_positive(owner, name, value):
    """Raise ``ValueError`` unless ``value`` is a positive finite number."""
    if not (is_number(value) and 0 < value < np.inf):
        raise ValueError(
            f"{owner} got {name}={value!r}, but expected a finite number > 0."
        )
