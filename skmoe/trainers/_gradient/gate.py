"""Gates as networks: the logits or log-weights of the experts, and the way back."""

from dataclasses import replace

import numpy as np
from sklearn.base import clone

from ..._kernels.network import backward, forward
from ..._numerics.multinomial import log_weights
from ..._numerics.network import NO_MASK

# Scale of the last layer at the start.
START_GAIN = 0.1


def gate_network(gate, n_inputs, n_experts, n_outputs):
    """The gate of a task as one network, or as one per node of its tree."""
    if gate.follows_paths:
        return TreeNetworks(gate, n_inputs, n_outputs)
    return GateNetwork(gate, n_inputs, n_experts, n_outputs)


class Room:
    """Arrays that each batch uses again, since new ones cost more than sums in them."""

    def __init__(self):
        self._arrays = {}

    def of(self, name, size, dtype=float):
        """An array (size,) of anything, the one of the last call if it is as large."""
        known = self._arrays.get(name)
        if known is None or len(known) < size or known.dtype != dtype:
            known = self._arrays[name] = np.empty(size, dtype=dtype)
        return known[:size]


class GateNetwork:
    """A gate that is one network.

    Parameters
    ----------
    gate : gate
    n_inputs : int
    n_experts : int
    n_outputs : int
        Logits of the experts, and what the router needs besides.
    """

    #: Shape of the tree of gates, where there is one.
    tree = None

    def __init__(self, gate, n_inputs, n_experts, n_outputs):
        self.gate, self.n_experts, self.alpha = gate, n_experts, gate.strength
        self.network = gate.network(n_inputs, n_outputs)
        self.n_parameters = self.network.n_parameters

    def networks(self, theta):
        """Networks of the gate, each with a view of its parameters."""
        return [(self.network, theta)]

    def forward(self, X, theta, temperature, room=None):
        """Outputs (n, n_outputs) over the temperature, and what ``backward`` needs.

        They are in arrays that ``room``, a ``Room``, holds for the next call, if given.
        """
        size = len(X) * sum(self.network.sizes[1:])
        room = Room() if room is None else room
        work = room.of("gate", size, theta.dtype)
        raw = forward(X, theta, *self.network.arguments, NO_MASK, work)
        outputs = raw if temperature == 1.0 else raw / temperature
        plain = outputs[:, : self.n_experts]
        own, factor = self.gate.link(plain)
        if own is plain:
            return outputs, (work, None)
        outputs[:, : self.n_experts] = own
        return outputs, (work, factor)

    def backward(self, X, theta, kept, slope, temperature, gradient):
        """Add to ``gradient`` that of the parameters, given that of the outputs."""
        work, factor = kept
        delta = np.ascontiguousarray(slope, dtype=theta.dtype)
        if temperature != 1.0 or factor is not None:
            delta = delta / temperature
        if factor is not None:
            delta[:, : self.n_experts] *= factor
        arguments = self.network.arguments
        backward(X, theta, *arguments, NO_MASK, 1.0, work, delta, gradient)

    def reached(self, log_gate, n_active):
        """Log-weights of the experts that prediction compares: all of them."""
        return log_gate

    def is_weight(self):
        """Mask of the parameters that decay."""
        return self.network.is_weight()

    def places(self, kept):
        """Numbers of the parameters that are those of the gate of some experts."""
        numbers = np.arange(self.n_parameters)
        weights, bias = self.network.layers(numbers)[-1]
        columns = np.arange(len(bias))
        columns = columns[np.isin(columns % self.n_experts, kept)]
        last = weights[:, columns].ravel(), bias[columns]
        before = self.n_parameters - weights.size - bias.size
        return np.concatenate([numbers[:before], *last])

    def start(self, seed, draws, spread=None):
        """Nearly equal weights at first: the experts decide who is good at what.

        ``draws`` are the random generators of the experts, ``spread`` (p,) says which
        columns have some.
        """
        network = self.network.narrow(spread)
        theta = network.start(np.random.default_rng(seed))
        weights, _ = network.layers(theta)[-1]
        weights[:] = 0.0
        for k, rng in enumerate(draws):
            weights[:, k] = START_GAIN * rng.normal(size=len(weights))
        weights /= np.sqrt(max(len(weights), 1))
        return self.network.widened(theta, spread)

    def set_log_weights(self, theta, log_weights):
        """Let the weights at the start be these, nearly."""
        bias = self.network.layers(theta)[-1][1]
        bias[: self.n_experts] = self.gate.unlink(log_weights)

    def fitted(self, theta, temperature, design):
        """The gate with its parameters, the temperature among them."""
        theta = theta.copy()
        for part in self.network.layers(theta)[-1]:
            part /= temperature
        network, own = first_outputs(self.network, theta, self.n_experts)
        return clone(self.gate).set_network(network, own, design)


class TreeNetworks:
    """A tree whose nodes are networks; what it gives are log-weights of the leaves.

    Parameters
    ----------
    gate : TreeGate
    n_inputs, n_outputs : int
        What the router needs besides the log-weights comes from a network of its own.
    """

    def __init__(self, gate, n_inputs, n_outputs):
        self.gate, self.tree, self.alpha = gate, gate.tree, gate.gate.strength
        self.n_experts = self.tree.n_leaves
        widths = [(width, width) for width in self.tree.widths]
        if n_outputs > self.n_experts:
            widths.append((0, n_outputs - self.n_experts))
        self.nodes = [GateNetwork(gate.gate, n_inputs, *width) for width in widths]
        ends = np.cumsum([0, *(node.n_parameters for node in self.nodes)])
        self.places = [slice(*pair) for pair in zip(ends[:-1], ends[1:], strict=True)]
        self.n_parameters = ends[-1]

    def _each(self):
        return zip(self.nodes, self.places, strict=True)

    def networks(self, theta):
        """Networks of the gate, each with a view of its parameters."""
        return [(node.network, theta[place]) for node, place in self._each()]

    def forward(self, X, theta, temperature, room=None):
        """Log-weights (n, K) of the leaves, and what else the router needs."""
        found = [
            node.forward(X, theta[place], temperature) for node, place in self._each()
        ]
        works = [work for _, work in found]
        logs = [log_weights(own) for own, _ in found[: self.tree.n_nodes]]
        rest = [own for own, _ in found[self.tree.n_nodes :]]
        outputs = self.tree.to_leaves(np.hstack(logs))
        return np.hstack([outputs, *rest]), (works, logs)

    def backward(self, X, theta, kept, slope, temperature, gradient):
        """Add to ``gradient`` that of the parameters, given that of the outputs."""
        works, logs = kept
        paths = self.tree.to_slots(slope[:, : self.n_experts])
        slopes = []
        for own, slots in zip(logs, self.tree.slots, strict=True):
            total = paths[:, slots].sum(axis=1, keepdims=True)
            slopes.append(paths[:, slots] - np.exp(own) * total)
        slopes.append(slope[:, self.n_experts :])
        for (node, place), work, own in zip(self._each(), works, slopes, strict=False):
            node.backward(X, theta[place], work, own, temperature, gradient[place])

    def reached(self, log_gate, n_active):
        """Log-weights of the experts that prediction compares, on the best paths."""
        return self.tree.on_beam(log_gate, n_active)

    def is_weight(self):
        """Mask of the parameters that decay."""
        return np.concatenate([node.is_weight() for node in self.nodes])

    def start(self, seed, draws, spread=None):
        """Nearly equal weights at first; inner slots have generators of their own."""
        leaf_draws = dict(zip(self.tree.leaves, draws, strict=True))
        draws = [
            leaf_draws.get(slot, np.random.default_rng([seed, slot]))
            for slot in range(self.tree.n_slots)
        ]
        own = [draws[slots] for slots in self.tree.slots]
        own += [[]] * (len(self.nodes) - self.tree.n_nodes)
        # The root's seed is that of a flat gate; hidden layers differ between nodes.
        seeds = [seed, *([seed, number] for number in range(1, len(self.nodes)))]
        return np.concatenate(
            [
                node.start(*pair, spread)
                for node, *pair in zip(self.nodes, seeds, own, strict=True)
            ]
        )

    def set_log_weights(self, theta, log_weights):
        """Let the weights of the leaves at the start be these, nearly."""
        mass = self.tree.to_slots(np.exp(log_weights)[None])[0]
        pairs = list(self._each())[: self.tree.n_nodes]
        for (node, place), slots in zip(pairs, self.tree.slots, strict=True):
            node.set_log_weights(theta[place], np.log(mass[slots]))

    def fitted(self, theta, temperature, design):
        """The gates with their parameters, the temperature among them."""
        gate = self.gate.on(self.tree)
        pairs = list(self._each())[: self.tree.n_nodes]
        gate.gates_ = [
            node.fitted(theta[place], temperature, design) for node, place in pairs
        ]
        return gate


def expert_draws(task):
    """Random generators of the experts, by the seeds of their names."""
    seeds = [task.recipe.seed_of(k) for k in range(task.recipe.n_experts)]
    return [np.random.default_rng([task.recipe.seed, seed]) for seed in seeds]


def first_outputs(network, theta, n_outputs):
    """The network with only its first outputs, and its parameters."""
    if network.sizes[-1] == n_outputs:
        return network, theta
    smaller = replace(network, sizes=(*network.sizes[:-1], n_outputs))
    own = theta[: smaller.n_parameters].copy()
    for (w, b), (wide, bias) in zip(
        smaller.layers(own), network.layers(theta.copy()), strict=True
    ):
        w[:], b[:] = wide[:, : w.shape[1]], bias[: len(b)]
    return smaller, own
