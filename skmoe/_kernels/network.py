"""Feed-forward networks on row blocks, and many small ones on the rows routed to them.

A network is a flat parameter vector and its layer sizes, so that one compiled function
serves every depth and width, and a linear map is a network without hidden layers.  For
each layer the vector holds the weights (fan_in, fan_out), row by row, and the biases.
Where the first layer is wider than the data, sines and cosines of each column stand
beside it; their frequencies (p, F) come first in the vector.
"""

import numpy as np

from ._jit import jit

IDENTITY, RELU, TANH = 0, 1, 2


@jit
def activate(values, activation):
    """Apply the activation in place."""
    flat = values.reshape(-1)
    if activation == RELU:
        for i in range(flat.size):
            flat[i] = flat[i] if flat[i] > 0.0 else 0.0
    elif activation == TANH:
        for i in range(flat.size):
            flat[i] = np.tanh(flat[i])


@jit
def apply_mask(values, mask, first):
    """Multiply by ``mask`` from ``first`` on; an empty one changes nothing."""
    if mask.size == 0:
        return
    flat = values.reshape(-1)
    for i in range(flat.size):
        flat[i] *= mask[first + i]


@jit
def damp_delta(delta, values, activation, kept):
    """Multiply ``delta`` by the derivative of the activation with ``values`` out.

    ``kept`` is the share of units that dropout keeps, by which values were divided.
    """
    gradient, out = delta.reshape(-1), values.reshape(-1)
    if activation == RELU:
        for i in range(gradient.size):
            gradient[i] = gradient[i] if out[i] > 0.0 else 0.0
    elif activation == TANH:
        for i in range(gradient.size):
            value = out[i] * kept
            gradient[i] *= 1.0 - value * value


@jit
def n_frequency_parameters(sizes, n_columns):
    """Frequencies of all columns; each has a sine and a cosine."""
    return (sizes[0] - n_columns) // 2


@jit
def embed(X, theta, width):
    """Columns (n, width): X, then sine and cosine of each column at its frequencies."""
    n_rows, p = X.shape
    n_frequencies = (width // p - 1) // 2
    out = np.empty((n_rows, width), dtype=X.dtype)
    for r in range(n_rows):
        at = p
        for j in range(p):
            out[r, j] = X[r, j]
            for f in range(n_frequencies):
                phase = 2.0 * np.pi * theta[j * n_frequencies + f] * X[r, j]
                out[r, at] = np.sin(phase)
                out[r, at + 1] = np.cos(phase)
                at += 2
    return out


@jit
def embed_slope(X, embedded, delta, gradient):
    """Add the gradient of the frequencies, given that of the embedded columns."""
    n_rows, p = X.shape
    n_frequencies = (embedded.shape[1] // p - 1) // 2
    for r in range(n_rows):
        at = p
        for j in range(p):
            for f in range(n_frequencies):
                turn = embedded[r, at + 1] * delta[r, at]
                turn -= embedded[r, at] * delta[r, at + 1]
                gradient[j * n_frequencies + f] += 2.0 * np.pi * X[r, j] * turn
                at += 2


@jit
def forward(X, theta, sizes, activation, mask, work):
    """Outputs (n, d); ``work`` receives the values of all layers, one after another.

    ``mask`` multiplies the values of the hidden layers (dropout), in the same order;
    an empty one changes nothing.
    """
    n_rows = X.shape[0]
    below, done = X, 0
    at = n_frequency_parameters(sizes, X.shape[1])
    if at > 0:
        below = embed(X, theta, sizes[0])
    n_layers = sizes.size - 1
    for layer in range(n_layers):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        weights = theta[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
        at += fan_in * fan_out
        values = work[done : done + n_rows * fan_out].reshape(n_rows, fan_out)
        done += n_rows * fan_out
        np.dot(below, weights, values)
        for r in range(n_rows):
            for j in range(fan_out):
                values[r, j] += theta[at + j]
        at += fan_out
        if layer < n_layers - 1:
            activate(values, activation)
            apply_mask(values, mask, done - n_rows * fan_out)
        below = values
    return below


@jit
def backward(X, theta, sizes, activation, mask, kept, work, delta, gradient):
    """Add the gradient of the parameters, given that of the outputs, ``delta``.

    ``work`` holds the values that ``forward`` left with the same ``mask``, whose
    entries are zero or one over ``kept``.
    """
    n_rows = X.shape[0]
    at, done = theta.size, 0
    bottom = X
    if n_frequency_parameters(sizes, X.shape[1]) > 0:
        bottom = embed(X, theta, sizes[0])
    for layer in range(1, sizes.size):
        done += n_rows * sizes[layer]
    for layer in range(sizes.size - 2, -1, -1):
        fan_in, fan_out = sizes[layer], sizes[layer + 1]
        at -= fan_out
        for r in range(n_rows):
            for j in range(fan_out):
                gradient[at + j] += delta[r, j]
        at -= fan_in * fan_out
        done -= n_rows * fan_out
        start = done - n_rows * fan_in
        below = bottom
        if layer > 0:
            below = work[start : start + n_rows * fan_in].reshape(n_rows, fan_in)
        slope = gradient[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
        slope += np.dot(below.T, delta)
        if layer > 0:
            weights = theta[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
            delta = np.dot(delta, weights.T)
            damp_delta(delta, below, activation, kept)
            apply_mask(delta, mask, start)
        elif at > 0:
            weights = theta[at : at + fan_in * fan_out].reshape(fan_in, fan_out)
            embed_slope(X, bottom, np.dot(delta, weights.T), gradient)


@jit
def gather(X, center, inverse_scale, rows, out):
    """Standardise the given rows of ``X`` into ``out``."""
    for i in range(rows.size):
        for j in range(X.shape[1]):
            out[i, j] = (X[rows[i], j] - center[j]) * inverse_scale[j]


@jit
def network_size(sizes, n_columns):
    """Number of parameters, and of the values of all layers for a row."""
    n_parameters, values_per_row = n_frequency_parameters(sizes, n_columns), 0
    for layer in range(sizes.size - 1):
        n_parameters += (sizes[layer] + 1) * sizes[layer + 1]
        values_per_row += sizes[layer + 1]
    return n_parameters, values_per_row


@jit
def experts_forward(
    X, slots, bounds, offsets, sizes, activation, theta, masks, inputs, work, outputs
):
    """Outputs of several networks, each for the rows routed to it only.

    Parameters
    ----------
    X : (n, p) standardised rows.
    slots : (s,) slots row * k + j, grouped by network.
    bounds : (K + 1,) where the group of each network starts in ``slots``.
    offsets : (K,) where the parameters of each network start in ``theta``; negative
        for experts that another call serves.
    masks : (s * sum(sizes[1:-1]),) dropout of the hidden units, or empty.
    inputs : (s, p), work : (s * sum(sizes[1:]),) scratch that ``backward`` reads.
    outputs : (n, k, d) written at the slots.
    """
    n_slots, width = outputs.shape[1], outputs.shape[2]
    n_parameters, values_per_row = network_size(sizes, X.shape[1])
    n_hidden = values_per_row - sizes[-1]
    for e in range(offsets.size):
        low, high = bounds[e], bounds[e + 1]
        if offsets[e] < 0 or low == high:
            continue
        for i in range(low, high):
            row = slots[i] // n_slots
            for j in range(X.shape[1]):
                inputs[i, j] = X[row, j]
        own = theta[offsets[e] : offsets[e] + n_parameters]
        part = work[low * values_per_row : high * values_per_row]
        mask = masks[low * n_hidden : high * n_hidden] if masks.size else masks
        out = forward(inputs[low:high], own, sizes, activation, mask, part)
        for i in range(low, high):
            row, slot = slots[i] // n_slots, slots[i] % n_slots
            for j in range(width):
                outputs[row, slot, j] = out[i - low, j]


@jit
def experts_backward(
    slots,
    bounds,
    offsets,
    sizes,
    activation,
    theta,
    masks,
    kept,
    inputs,
    work,
    deltas,
    gradient,
):
    """Add the gradients of several networks, given those of their outputs (n, k, d)."""
    n_slots, width = deltas.shape[1], deltas.shape[2]
    n_parameters, values_per_row = network_size(sizes, inputs.shape[1])
    n_hidden = values_per_row - sizes[-1]
    for e in range(offsets.size):
        low, high = bounds[e], bounds[e + 1]
        if offsets[e] < 0 or low == high:
            continue
        delta = np.empty((high - low, width), dtype=theta.dtype)
        for i in range(low, high):
            row, slot = slots[i] // n_slots, slots[i] % n_slots
            for j in range(width):
                delta[i - low, j] = deltas[row, slot, j]
        first, last = offsets[e], offsets[e] + n_parameters
        part = work[low * values_per_row : high * values_per_row]
        backward(
            inputs[low:high],
            theta[first:last],
            sizes,
            activation,
            masks[low * n_hidden : high * n_hidden] if masks.size else masks,
            kept,
            part,
            delta,
            gradient[first:last],
        )


@jit
def squared_norm(gradient, bounds, touched):
    """Sum of squares of some segments of a vector, ``bounds`` (S, 2) of all of them."""
    total = 0.0
    for s in touched:
        for i in range(bounds[s, 0], bounds[s, 1]):
            total += gradient[i] * gradient[i]
    return total


@jit
def add_penalty(theta, ridge, bounds, touched, due, scaled, n_outputs, gradient):
    """Add the gradient of ridge penalties to that of some segments.

    Parameters
    ----------
    theta, ridge, gradient : (m,)
    bounds : (S, 2) where segments start and stop.
    touched : numbers of segments.
    due : (S,) how many times the penalty of a segment counts.
    scaled : (S,) place of the first log-variance by which the penalty of a segment is
        divided, one for each of ``n_outputs``; negative for none.
    """
    for s in touched:
        low, high = bounds[s]
        if scaled[s] < 0:
            for i in range(low, high):
                gradient[i] += due[s] * ridge[i] * theta[i]
            continue
        for d in range(n_outputs):
            precision, spread = np.exp(-theta[scaled[s] + d]), 0.0
            for i in range(low + d, high, n_outputs):
                pull = due[s] * ridge[i] * theta[i] * precision
                gradient[i] += pull
                spread += 0.5 * pull * theta[i]
            gradient[scaled[s] + d] -= spread


@jit
def adam_step(
    theta, gradient, moments, decay, rates, betas, bounds, touched, steps, due
):
    """One step of Adam with decoupled weight decay for some segments, in place.

    Their gradient is zero afterwards.

    Parameters
    ----------
    theta, gradient, decay : (m,)
    moments : first and second ones, (m,) each.
    rates : (S,) of the segments.
    betas : pair of floats
    bounds : (S, 2), touched : numbers of segments.
    steps : (S,) steps that each segment has made.
    due : (S,) how many times the decay of a segment counts.
    """
    first, second = moments
    # Constants of the precision of the parameters, or sums would be in double.
    kind = theta.dtype.type
    beta1, beta2 = kind(betas[0]), kind(betas[1])
    rest1, rest2 = kind(1.0 - betas[0]), kind(1.0 - betas[1])
    least = kind(1e-8)
    for s in touched:
        steps[s] += 1
        up1 = kind(1.0 / (1.0 - betas[0] ** steps[s]))
        up2 = kind(1.0 / (1.0 - betas[1] ** steps[s]))
        rate, shrunk = kind(rates[s]), kind(rates[s] * due[s])
        for i in range(bounds[s, 0], bounds[s, 1]):
            g = gradient[i]
            gradient[i] = 0.0
            first[i] = beta1 * first[i] + rest1 * g
            second[i] = beta2 * second[i] + rest2 * g * g
            move = (first[i] * up1) / (np.sqrt(second[i] * up2) + least)
            theta[i] -= rate * move + shrunk * decay[i] * theta[i]
