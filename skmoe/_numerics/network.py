"""Feed-forward networks as flat parameter vectors: shapes, starts, outputs, training.

Gates and experts that can follow a gradient are networks to the trainer; linear ones
have no hidden layers.
"""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import optimize
from sklearn.utils.validation import check_is_fitted

from .._kernels.network import (
    IDENTITY,
    RELU,
    TANH,
    adam_step,
    backward,
    forward,
    gather,
    squared_norm,
)
from ..exceptions import did_you_mean
from .design import CHUNK_ROWS, as_dense

ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "tanh": TANH}
# Scale of the starting weights, relative to one over the square root of the fan-in.
GAIN = {IDENTITY: 1.0, RELU: np.sqrt(2.0), TANH: 1.0}
BETAS = 0.9, 0.999
NO_MASK = np.zeros(0)
# Rows whose outputs are computed at a time.
BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Network:
    """Architecture: layer sizes, inputs first, and the activation between layers.

    Parameters
    ----------
    sizes : tuple of int
    activation : {"identity", "relu", "tanh"}
    n_frequencies : int
        Frequencies of each input, whose sines and cosines the first layer sees too.
    frequency_scale : float
        Standard deviation of the frequencies at the start.
    """

    sizes: tuple
    activation: str = "identity"
    n_frequencies: int = 0
    frequency_scale: float = 0.1

    @cached_property
    def n_parameters(self):
        """Length of the parameter vector."""
        return self._n_periodic + sum((a + 1) * b for a, b in self._shapes)

    @cached_property
    def _n_periodic(self):
        return self.sizes[0] * self.n_frequencies

    @cached_property
    def _shapes(self):
        """Fan-in and fan-out of each layer."""
        ins = (self.sizes[0] + 2 * self._n_periodic, *self.sizes[1:-1])
        return list(zip(ins, self.sizes[1:], strict=True))

    @cached_property
    def arguments(self):
        """Layer sizes and activation as the kernels take them."""
        sizes = (self._shapes[0][0], *self.sizes[1:])
        return np.array(sizes, dtype=np.int64), ACTIVATIONS[self.activation]

    def frequencies(self, theta):
        """View of the frequencies (p, n_frequencies), in cycles per unit."""
        return theta[: self._n_periodic].reshape(self.sizes[0], self.n_frequencies)

    def layers(self, theta):
        """Views of the weights (fan_in, fan_out) and biases of each layer."""
        views, at = [], self._n_periodic
        for a, b in self._shapes:
            weights = theta[at : at + a * b].reshape(a, b)
            at += a * b
            views.append((weights, theta[at : at + b]))
            at += b
        return views

    def narrow(self, spread):
        """The network of only the inputs with ``spread``, a mask (p,); None for all.

        Where none has any, as in a first batch of one row, all may come to have some.
        """
        if spread is None or np.all(spread) or not np.any(spread):
            return self
        return replace(self, sizes=(int(np.count_nonzero(spread)), *self.sizes[1:]))

    def widened(self, theta, spread):
        """Parameters of a ``narrow`` network as those of this; zeros for other inputs.

        So an input that says nothing takes no share of a random start.
        """
        narrow = self.narrow(spread)
        if narrow is self:
            return theta
        whole = np.zeros(self.n_parameters)
        if self.n_frequencies:
            self.frequencies(whole)[spread] = narrow.frequencies(theta)
        pairs = list(zip(self.layers(whole), narrow.layers(theta), strict=True))
        inputs = np.append(spread, np.repeat(spread, 2 * self.n_frequencies))
        pairs[0][0][0][inputs] = pairs[0][1][0]
        pairs[0][0][1][:] = pairs[0][1][1]
        for own, known in pairs[1:]:
            for part, values in zip(own, known, strict=True):
                part[:] = values
        return whole

    def start(self, rng, last=1.0, spread=None):
        """Random start (He et al. 2015); ``last`` scales the weights of the outputs.

        Inputs without ``spread``, a mask (p,), draw nothing.
        """
        if self.narrow(spread) is not self:
            return self.widened(self.narrow(spread).start(rng, last), spread)
        theta = np.zeros(self.n_parameters)
        if self.n_frequencies:
            own = self.frequencies(theta)
            own[:] = self.frequency_scale * rng.normal(size=own.shape)
        gain = GAIN[ACTIVATIONS[self.activation]]
        for weights, _ in self.layers(theta):
            width = max(len(weights), 1)
            weights[:] = rng.normal(size=weights.shape) * gain / np.sqrt(width)
        self.layers(theta)[-1][0][:] *= last / gain
        return theta

    def is_weight(self):
        """Mask of the weights, as opposed to biases, which are never decayed."""
        mask = np.zeros(self.n_parameters)
        for weights, _ in self.layers(mask):
            weights[:] = 1.0
        return mask

    def outputs(self, theta, X):
        """Outputs (n, d) for standardised rows."""
        X = np.ascontiguousarray(X, dtype=float)
        theta = np.ascontiguousarray(theta)
        out = np.empty((len(X), self.sizes[-1]))
        # Blocks, so that the hidden layers stay in cache.
        work = np.empty(min(len(X), BLOCK_ROWS) * sum(self.sizes[1:]))
        for start in range(0, len(X), BLOCK_ROWS):
            block = X[start : start + BLOCK_ROWS]
            out[start : start + len(block)] = forward(
                block, theta, *self.arguments, NO_MASK, work
            )
        return out


class Adam:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), by segments.

    A segment that a batch has nothing to say of stays as it is, with its moments: a
    step costs what it touches.  Its penalty and its decay are made up for when it is
    touched again.

    Parameters
    ----------
    decay : (m,) decay rate of each parameter.
    bounds : (S, 2) where the segments of the parameters start and stop.
    rates : (S,) learning rates of the segments.
    clip_norm : float or None
        Largest norm of a gradient.

    Attributes
    ----------
    moments : first and second ones, (m,) each
    steps : (S,) steps that each segment has made
    last : (S,) number of the step in which it made the last one
    now : int, number of the last step
    """

    def __init__(self, decay, bounds, rates, clip_norm=None):
        self.decay, self.bounds, self.clip_norm = decay, bounds, clip_norm
        self.rates, self.now = np.asarray(rates, dtype=float), 0
        self.moments = np.zeros_like(decay), np.zeros_like(decay)
        self.steps = np.zeros(len(bounds), dtype=np.int64)
        self.last = np.zeros(len(bounds), dtype=np.int64)

    @property
    def due(self):
        """How many steps (S,) have come since a segment made one, this included."""
        return (self.now + 1 - self.last).astype(float)

    def step(self, theta, gradient, rate, touched):
        """Move segments of ``theta`` in place against the gradient, which is reset.

        ``rate`` is a factor of all learning rates.
        """
        if self.clip_norm is not None:
            norm = np.sqrt(squared_norm(gradient, self.bounds, touched))
            if norm > self.clip_norm:
                gradient *= self.clip_norm / norm
        how = self.decay, rate * self.rates, BETAS
        where = self.bounds, touched, self.steps, self.due
        adam_step(theta, gradient, self.moments, *how, *where)
        self.now += 1
        self.last[touched] = self.now

    def go_on(self, other):
        """Take over what another one has learned of the same parameters."""
        for name in ("steps", "last", "now"):
            vars(self)[name] = copy.deepcopy(vars(other)[name])
        self.moments = tuple(own.astype(self.decay.dtype) for own in other.moments)

    def only(self, places, bounds, segments):
        """A copy for some of the parameters, by number, of some of the segments.

        ``bounds`` (S, 2) are where these start and stop then.
        """
        other = copy.copy(self)
        other.decay, other.bounds = self.decay[places], bounds
        other.moments = tuple(own[places] for own in self.moments)
        for name in ("rates", "steps", "last"):
            setattr(other, name, vars(self)[name][segments])
        return other

    def forget(self, where):
        """Let some parameters (mask) be as they were before the first step."""
        for own in self.moments:
            own[where] = 0.0
        whole = [where[low:high].all() for low, high in self.bounds]
        self.steps[whole] = 0


def batches(n_rows, batch_size, rng):
    """Shuffled row numbers, in batches."""
    order = rng.permutation(n_rows)
    for start in range(0, n_rows, batch_size):
        yield order[start : start + batch_size]


def standardised(X, center, inverse_scale):
    """Columns less their centres, times inverse scales, as a dense array."""
    return (as_dense(X) - center) * inverse_scale


def fit_network(network, design, slope, theta, alpha, max_iter):
    """Minimise a penalised loss of the outputs over all rows by L-BFGS.

    Deterministic, so that an M-step with it is a function of its data.

    Parameters
    ----------
    network : Network
    design : Design
        Rows, and how they are standardised.
    slope : callable(outputs, rows) -> loss, (b, d)
        Loss of some rows, and its gradient with respect to their outputs.
    theta : start
    alpha : float
        Ridge penalty of the weights, in units of the loss of a row.
    max_iter : int

    Returns
    -------
    theta, converged
    """
    penalty = alpha * network.is_weight()
    n_rows = len(design.X)

    def evaluate(at):
        value, gradient = 0.5 * penalty @ at**2, penalty * at
        for start in range(0, n_rows, CHUNK_ROWS):
            rows = np.arange(start, min(start + CHUNK_ROWS, n_rows))
            X = np.empty((len(rows), network.sizes[0]))
            gather(*design, rows, X)
            work = np.empty(len(rows) * sum(network.sizes[1:]))
            outputs = forward(X, at, *network.arguments, NO_MASK, work)
            loss, delta = slope(outputs, rows)
            value += loss
            delta = np.ascontiguousarray(delta)
            backward(X, at, *network.arguments, NO_MASK, 1.0, work, delta, gradient)
        return value / n_rows, gradient / n_rows

    found = optimize.minimize(
        evaluate, theta, jac=True, method="L-BFGS-B", options={"maxiter": max_iter}
    )
    return found.x, bool(found.success)


class NetworkPart:
    """What gates and experts with hidden layers share.

    Subclasses have the parameters ``hidden_layer_sizes``, ``activation``, ``alpha``,
    ``n_frequencies`` and ``frequency_scale``.
    """

    @property
    def penalty_rows(self):
        """How much weight of rows the penalty outweighs."""
        return self.alpha

    @property
    def strength(self):
        """Penalty of the weights, in units of rows."""
        return self.alpha

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        check_network(self)

    def network(self, n_inputs, n_outputs):
        """Architecture for so many columns and outputs."""
        sizes = (n_inputs, *self.hidden_layer_sizes, n_outputs)
        return Network(
            tuple(int(size) for size in sizes),
            self.activation,
            int(self.n_frequencies),
            float(self.frequency_scale),
        )

    def _keep(self, network, theta, design):
        self._network, self._theta, self._design = network, theta, design[1:]
        layers = network.layers(theta)
        self.frequencies_ = None
        if network.n_frequencies:
            self.frequencies_ = network.frequencies(theta)
        self.coefs_ = [weights for weights, _ in layers]
        self.intercepts_ = [bias for _, bias in layers]
        self.n_parameters_ = network.n_parameters
        self.n_features_in_ = network.sizes[0]
        return self

    def _outputs(self, X):
        check_is_fitted(self)
        return self._network.outputs(self._theta, standardised(X, *self._design))


def check_network(part):
    """Raise ``ValueError`` for sizes, activation or penalty that make no sense."""
    owner = type(part).__name__
    sizes = part.hidden_layer_sizes
    if not isinstance(sizes, (tuple, list)) or not all(
        isinstance(size, (int, np.integer)) and size > 0 for size in sizes
    ):
        raise ValueError(
            f"{owner} got hidden_layer_sizes={sizes!r}, but expected a tuple of "
            "positive integers such as (64,)."
        )
    if part.activation not in ("relu", "tanh"):
        raise ValueError(
            f"{owner} got activation={part.activation!r}, but expected one of "
            f"{sorted(set(ACTIVATIONS) - {'identity'})}"
            + did_you_mean(part.activation, ("relu", "tanh"))
        )
    frequencies = part.n_frequencies
    if not isinstance(frequencies, (int, np.integer)) or frequencies < 0:
        raise ValueError(
            f"{owner} got n_frequencies={frequencies!r}, but expected an integer >= 0; "
            "0 is for no periodic embedding."
        )
    for name in ("alpha", "frequency_scale"):
        check_non_negative(owner, name, vars(part)[name])


def check_non_negative(owner, name, value):
    """Raise ``ValueError`` unless ``value`` is a non-negative finite number."""
    if not (np.isscalar(value) and 0 <= value < np.inf):
        raise ValueError(
            f"{owner} got {name}={value!r}, but expected a finite number >= 0."
        )
