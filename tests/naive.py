"""Readable twins of the kernels, in plain NumPy, one line per formula."""

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from skmoe._numerics.linalg import use_exact_newton
from skmoe.trainers._gradient import objectives


def standardise(design):
    """Standardised columns and a last column of ones."""
    Z = (design.X - design.center) * design.inverse_scale
    return np.column_stack([Z, np.ones(len(Z))])


def grams(Z, weights):
    """Lower triangles (pairs, m) of ``Z' diag(w_m) Z``."""
    rows, cols = np.tril_indices(Z.shape[1])
    return np.stack([(Z.T @ (w[:, None] * Z))[rows, cols] for w in weights.T], axis=1)


def coordinate_descent(hessian, right, lasso, coef, n_sweeps):
    """Soft thresholds of one coefficient after the other."""
    coef = coef.copy()
    for _ in range(n_sweeps):
        for j in np.flatnonzero(np.diag(hessian) > 0):
            pull = right[j] - hessian[j] @ coef + hessian[j, j] * coef[j]
            coef[j] = np.sign(pull) * max(abs(pull) - lasso[j], 0.0) / hessian[j, j]
    return coef


def mask_top(logits, n_active):
    """Minus infinity outside the largest entries of each row; the first wins ties."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :n_active]
    out = np.full_like(logits, -np.inf)
    np.put_along_axis(out, order, np.take_along_axis(logits, order, axis=1), axis=1)
    return out


def posterior(log_gate, log_prob, hard):
    """Responsibilities and row objective."""
    joint = log_gate + log_prob
    if hard:
        return np.eye(joint.shape[1])[joint.argmax(axis=1)], joint.max(axis=1)
    return softmax(joint, axis=1), logsumexp(joint, axis=1)


def tree_gate(logits, tree, n_active):
    """Probabilities (n, S) within each node, and log-weights (n, K) of leaves."""
    logs = np.hstack([log_softmax(logits[:, own], axis=1) for own in tree.slots])
    log_gate = np.stack([logs[:, path].sum(axis=1) for path in tree.paths], axis=1)
    if n_active < tree.n_leaves:
        log_gate = log_softmax(tree.on_beam(log_gate, n_active), axis=1)
    return np.exp(logs), log_gate


def tree_slopes(tree, proba, weighted, weight, q):
    """Slopes (n, S) of the slots' logits, and curvature columns of all nodes."""
    slopes, columns = [], []
    for own, above in zip(tree.slots, tree.parents, strict=True):
        mass = weighted @ tree.beneath[own].T
        total = weight if above < 0 else weighted @ tree.beneath[above]
        slopes.append(mass - total[:, None] * proba[:, own])
        if own.stop - own.start > 1:
            exact = use_exact_newton(own.stop - own.start, q)
            columns.append(curvature(proba[:, own], total, exact))
    return np.hstack(slopes), np.hstack(columns)


def curvature(proba, weight, exact):
    """Weight columns of the Hessian blocks of a softmax."""
    n_classes = proba.shape[1]
    if exact:
        pairs = zip(*np.triu_indices(n_classes, 1), strict=True)
        columns = [weight * proba[:, k] * proba[:, j] for k, j in pairs]
    else:
        columns = [weight * p * (1 - p) for p in proba.T]
    return np.stack(columns, axis=1)


def gaussian_statistics(gate, expert, Y, weight, theta, rule, tree, codes=None):
    """The statistics of ``gaussian_pass``; with ``codes`` (n,) those of subjects."""
    W, B, log_variance = theta
    Ze, (n_experts, d) = standardise(expert), log_variance.shape
    error = Y[:, None, :] - (Ze @ B.T).reshape(len(Y), n_experts, d)
    log_prob = -0.5 * np.sum(log_variance + error**2 / np.exp(log_variance), axis=2)
    weighted, sums = of_gate(gate, W, log_prob, weight, rule, tree, codes)
    targets = weighted[:, :, None] * Y[:, None, :]
    return sums | {
        "expert_gram": grams(Ze, weighted),
        "cross": targets.reshape(len(Y), -1).T @ Ze,
        "square": np.einsum("nkd,nd->kd", targets, Y),
    }


def of_gate(gate, W, log_prob, weight, rule, tree, codes=None):
    """Weighted responsibilities (n, K), and statistics of the E-step and the gate.

    Rows with one code are a subject, which is one row of the gate, weighs as much as
    its heaviest row, and has the sum of log-densities as its own, each by its weight.
    """
    codes = np.arange(len(weight)) if codes is None else codes
    member = codes == np.arange(codes.max() + 1)[:, None]
    heaviest = np.where(member, weight, 0.0).max(axis=1)
    share = (
        np.where(member, weight, 0.0) / np.where(heaviest > 0, heaviest, 1.0)[:, None]
    )
    Zg = standardise(gate)
    g, log_gate = tree_gate(Zg @ W.T, tree, rule.n_active)
    resp, each = posterior(log_gate, share @ log_prob, rule.hard)
    mass = heaviest[:, None] * resp
    slopes, columns = tree_slopes(tree, g, mass, heaviest, Zg.shape[1])
    weighted = weight[:, None] * resp[codes]
    return weighted, {
        "total": heaviest @ each,
        "mass": weighted.sum(axis=0),
        "subjects": mass.sum(axis=0),
        "gate_gradient": slopes.T @ Zg,
        "gate_gram": grams(Zg, columns),
    }


def categorical_statistics(
    gate, expert, labels, weight, theta, rule, tree, subjects=None
):
    """The statistics of ``categorical_pass``; ``subjects`` (n,) are codes of theirs."""
    W, B = theta
    codes, offset = labels
    n_experts, Ze = tree.n_leaves, standardise(expert)
    scores = (Ze @ B.T).reshape(len(codes), n_experts, -1)
    proba = softmax(scores + (offset[:, None] if len(offset) else 0.0), axis=2)
    log_prob = np.log(proba[np.arange(len(codes)), :, codes])
    weighted, sums = of_gate(gate, W, log_prob, weight, rule, tree, subjects)
    hit = np.eye(proba.shape[2])[codes]
    residual = weighted[:, :, None] * (hit[:, None, :] - proba)
    columns = [
        curvature(proba[:, k], weighted[:, k], rule.exact_expert)
        for k in range(n_experts)
    ]
    return sums | {
        "expert_gram": grams(Ze, np.hstack(columns)),
        "cross": residual.reshape(len(codes), -1).T @ Ze,
    }


def multinomial_statistics(design, targets, offset, weight, coef, exact):
    """The statistics of ``multinomial_pass``."""
    Z = standardise(design)
    scores = Z @ coef.T + (offset if len(offset) else 0.0)
    log_proba = scores - logsumexp(scores, axis=1, keepdims=True)
    proba, sums = np.exp(log_proba), targets.sum(axis=1)
    total = weight @ np.sum(targets * log_proba, axis=1)
    residual = weight[:, None] * (targets - sums[:, None] * proba)
    return total, residual.T @ Z, grams(Z, curvature(proba, weight * sums, exact))


def top_k(log_gate, k):
    """Indices and softmax of the k largest entries."""
    order = np.argsort(-log_gate, axis=1, kind="stable")[:, :k]
    return order, softmax(np.take_along_axis(log_gate, order, axis=1), axis=1)


def network(X, layers, activation, masks=None):
    """Outputs of a feed-forward network, and the values of every hidden layer."""
    values, hidden = X, []
    for number, (weights, bias) in enumerate(layers):
        values = values @ weights + bias
        if number < len(layers) - 1:
            if activation == 1:
                values = np.maximum(values, 0.0)
            elif activation == 2:
                values = np.tanh(values)
            if masks is not None:
                values = values * masks[number]
            hidden.append(values)
    return values, hidden


def network_gradient(X, layers, activation, delta, masks=None):
    """Gradients of weights and biases, and of X, given that of the outputs."""
    _, hidden = network(X, layers, activation, masks)
    inputs = [X, *hidden]
    found = []
    for number in reversed(range(len(layers))):
        found.append((inputs[number].T @ delta, delta.sum(axis=0)))
        delta = delta @ layers[number][0].T
        if number > 0:
            out = inputs[number]
            if masks is not None:
                mask = masks[number - 1]
                delta = delta * mask
                out = np.divide(out, mask, out=np.zeros_like(out), where=mask > 0)
            delta = delta * {0: 1.0, 1: out > 0, 2: 1 - out**2}[activation]
    return np.concatenate([np.r_[w.ravel(), b] for w, b in reversed(found)]), delta


def embedded(X, frequencies):
    """X, and sine and cosine of each column at each of its frequencies."""
    phase = 2 * np.pi * X[:, :, None] * frequencies
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=3)
    return np.hstack([X, waves.reshape(len(X), -1)])


def frequency_gradient(X, frequencies, inward):
    """Gradient (p, F) of the frequencies, given that of the embedded columns."""
    phase = 2 * np.pi * X[:, :, None] * frequencies
    inward = inward[:, X.shape[1] :].reshape(*phase.shape, 2)
    turn = np.cos(phase) * inward[..., 0] - np.sin(phase) * inward[..., 1]
    return np.sum(2 * np.pi * X[:, :, None] * turn, axis=0)


def within_capacity(choices, wanted, priority, capacity, take_next):
    """Experts of each slot, and the number of requests that were turned away."""
    n_rows, n_slots = wanted.shape
    served = dict.fromkeys(range(choices.max() + 1), 0)
    indices, overflow = np.full((n_rows, n_slots), -1), 0
    for s in range(n_slots):
        for row in priority:
            if not wanted[row, s]:
                continue
            mine = set(indices[row, :s])
            free = [e for e in choices[row, s:] if served[e] < capacity[e]]
            free = [e for e in free if e not in mine]
            first = choices[row, s]
            if not take_next and first not in mine:
                free = [e for e in free if e == first]
            if free:
                indices[row, s] = free[0]
                served[free[0]] += 1
            overflow += indices[row, s] != first
    return indices, overflow


def scrambled(value):
    """SplitMix64 with Python's unbounded integers."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def hashed_experts(bits, seed, n_experts, k):
    """Experts of one row by a hash of its bits."""
    key = scrambled(seed)
    for value in bits:
        key = scrambled(key ^ scrambled(int(value)))
    free, found = list(range(n_experts)), []
    for _ in range(k):
        key = scrambled(key)
        found.append(free.pop(key % len(free)))
    return found


def row_key(bits, seed):
    """Hash of a row's bits."""
    key = scrambled(seed)
    for value in bits:
        key = scrambled(key ^ scrambled(int(value)))
    return key


def dealt_out(frequencies, load, k):
    """Experts of each group: the k that have the fewest rows when its turn comes."""
    load, found = list(load), []
    for frequency in frequencies:
        least = sorted(range(len(load)), key=lambda e: (load[e], e))[:k]
        found.append(least)
        for expert in least:
            load[expert] += frequency
    return found, load


def filled_places(order, size, most, shape):
    """Pairs of row and expert in turn, then places that are left, by exchanges."""
    taken = np.zeros(shape, dtype=bool)
    for pair in order:
        row, expert = divmod(int(pair), shape[1])
        room = taken[:, expert].sum() < size and taken[row].sum() < most
        taken[row, expert] |= room
    for expert in range(shape[1]):
        for full in range(shape[0]):
            if taken[:, expert].sum() < size and not taken[full, expert]:
                row, other = next(
                    (row, other)
                    for row in range(shape[0])
                    for other in range(shape[1])
                    if taken[row].sum() < taken[full].sum()
                    and taken[full, other]
                    and not taken[row, other]
                )
                taken[full, [other, expert]] = False, True
                taken[row, other] = True
    return taken


def settled_prices(weights, size, most, n_rounds):
    """Prices of an auction, expert after expert."""
    weights, (n, k) = np.asarray(weights), np.shape(weights)
    prices = np.sort(weights, axis=0)[n - size]
    for _ in range(n_rounds):
        for own in range(k):
            others = np.delete(weights - prices, own, axis=1)
            given_up = -np.sort(-others, axis=1)[:, most - 1 : most]
            offers = weights[:, own]
            if given_up.size:
                offers = offers - np.maximum(given_up[:, 0], 0.0)
            ranked = -np.sort(-offers)
            last = ranked[size - 1]
            prices[own] = last if size == n else (last + ranked[size]) / 2
    return prices


def sparse_mean(Z, gate_coef, expert_coef, k):
    """Mean of the k most probable linear experts."""
    logits = Z @ gate_coef.T
    means = np.einsum("nq,kdq->nkd", Z, expert_coef)
    return np.einsum("nk,nkd->nd", np.exp(mask_and_normalise(logits, k)), means)


def mask_and_normalise(logits, k):
    """Log-weights of the k largest logits."""
    masked = mask_top(logits, k)
    return masked - logsumexp(masked, axis=1)[:, None]


def gaussian_log_prob(y, predictions, log_variance):
    """Log-densities (n, k) of rows ``y`` (n, d); ``log_variance`` (n, k, d)."""
    error = y[:, None, :] - predictions
    quadratic = error**2 * np.exp(-log_variance) + log_variance + np.log(2 * np.pi)
    return -0.5 * quadratic.sum(axis=2)


def gaussian_slots(y, row_weight, indices, weights, predictions, given, log_variance):
    """Negative log-likelihood of Gaussian experts; targets have mean 0, variance 1."""
    own = log_variance[indices]
    log_prob = gaussian_log_prob(y, predictions, own)
    fallback = -0.5 * np.sum(y**2 + np.log(2 * np.pi), axis=1)
    value, weighted, resp = objectives.likelihood_slope(
        weights, log_prob, fallback, row_weight, given
    )
    share = (row_weight / len(y))[:, None, None] * resp[:, :, None]
    precision = np.exp(-own)
    error = predictions - y[:, None, :]
    spread = 0.5 * share * (1.0 - error**2 * precision)
    slope = np.zeros_like(log_variance)
    np.add.at(slope, indices, np.where((indices >= 0)[:, :, None], spread, 0.0))
    return objectives.Slope(value, weighted, share * error * precision, slope, resp)


def slots_to_logits(weighted, indices, reference):
    """Gradient of the logits (n, K), given ``weighted`` of the routed experts."""
    used = indices >= 0
    weighted = np.where(used, weighted, 0.0)
    slope = -np.exp(reference) * weighted.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(len(used))[:, None], used.shape)
    np.add.at(slope, (rows[used], indices[used]), weighted[used])
    return slope


def mixture_curvature(codes, weight, resp, proba, logits, change, exact):
    """Curvature of experts' class logits times a move, and the weighted change of
    responsibilities, row by row."""
    out, changes = np.zeros_like(logits), np.zeros_like(change)
    for r, code in enumerate(codes):
        hit = np.eye(logits.shape[2])[code]
        gain = change[r] + np.array(
            [(hit - p) @ move for p, move in zip(proba[r], logits[r], strict=True)]
        )
        changes[r] = weight[r] * resp[r] * (gain - resp[r] @ gain)
        for k, p in enumerate(proba[r]):
            hessian = np.diag(p) - np.outer(p, p)
            out[r, k] = weight[r] * resp[r, k] * hessian @ logits[r, k]
            if exact:
                out[r, k] -= changes[r, k] * (hit - p)
    return out, changes


def first_fault(indices, weights, n_experts, tolerance):
    """Number of the first fault of a routing, its row and slot."""
    for i, (own, shares) in enumerate(zip(indices, weights, strict=True)):
        for slot, (expert, share) in enumerate(zip(own, shares, strict=True)):
            faults = [
                False,
                not -1 <= expert < n_experts,
                not np.isfinite(share),
                share < 0,
                expert == -1 and share != 0,
                expert >= 0 and expert in own[:slot],
            ]
            if any(faults):
                return faults.index(True), i, slot
        if abs(sum(shares) - 1) > tolerance:
            return 6, i, 0
    return 0, 0, 0


def hats(bins):
    """Columns (n, q) of hats, levels and a one that binned rows stand for."""
    first, starts = bins.basis.first, bins.starts
    out = np.zeros((bins.shape[0], bins.basis.n_coef + 1))
    out[:, -1] = 1.0
    for j, codes in enumerate(bins.codes):
        for i, code in enumerate(codes):
            bin_ = starts[j] + code
            slot = first[j] + bins.slots[bin_]
            out[i, slot] += bins.left[bin_]
            if bins.right[bin_]:
                out[i, slot + 1] += bins.right[bin_]
    return out


def penalised_system(Z, basis, weight, strengths):
    """Weighted Gram matrix of columns with penalties, curves held at mean zero."""
    eye, mass = np.eye(Z.shape[1]), weight.sum()
    H = Z.T @ (weight[:, None] * Z) + 1e-9 * mass * eye
    for block, strength in zip(basis.blocks, strengths, strict=True):
        H[block.slots, block.slots] += strength * block.matrix
    for slots in basis.slots():
        H[slots, slots] += mass / (slots.stop - slots.start)
    return H


def log_evidence(Z, basis, y, strengths, variance):
    """Log marginal likelihood of a regression on curves, up to a constant.

    Curves have mean zero over their coefficients, the intercept any value.
    """
    spaces = []
    for slots in basis.slots():
        n = slots.stop - slots.start
        center = np.eye(n) - 1.0 / n
        vectors = np.linalg.eigh(center)[1][:, 1:]
        own = np.zeros((Z.shape[1], n - 1))
        own[slots] = vectors
        spaces.append(own)
    one = np.zeros((Z.shape[1], 1))
    one[-1] = 1.0
    T = np.hstack([*spaces, one])
    P = np.diag(np.ones(Z.shape[1]))
    P = T.T @ basis.penalised(P, np.tile(strengths, (len(P), 1))) @ T / variance
    H = T.T @ Z.T @ Z @ T / variance + P
    right = T.T @ Z.T @ y / variance
    w = np.linalg.solve(H, right)
    rest = y - Z @ T @ w
    fit = -0.5 * (rest @ rest / variance + w @ P @ w)
    # The intercept is the last, and free.
    prior = np.linalg.slogdet(P[:-1, :-1])[1]
    return fit + 0.5 * prior - 0.5 * np.linalg.slogdet(H)[1]


def adam(theta, gradient, first, second, decay, rates, bounds, touched, steps, due):
    """Parameters and moments after a step of Adam of some segments."""
    theta, first, second = theta.copy(), first.copy(), second.copy()
    for s in touched:
        at = slice(*bounds[s])
        first[at] = 0.9 * first[at] + 0.1 * gradient[at]
        second[at] = 0.999 * second[at] + 0.001 * gradient[at] ** 2
        mean = first[at] / (1 - 0.9 ** (steps[s] + 1))
        spread = np.sqrt(second[at] / (1 - 0.999 ** (steps[s] + 1)))
        shrunk = due[s] * decay[at] * theta[at]
        theta[at] -= rates[s] * (mean / (spread + 1e-8) + shrunk)
    return theta, first, second


def penalties(theta, ridge, bounds, touched, due, scaled, n_outputs):
    """Gradient of ridge penalties, of which some are divided by variances."""
    gradient = np.zeros_like(theta)
    for s in touched:
        at = slice(*bounds[s])
        own = due[s] * ridge[at] * theta[at]
        if scaled[s] >= 0:
            where = slice(scaled[s], scaled[s] + n_outputs)
            own = own.reshape(-1, n_outputs) / np.exp(theta[where])
            pull = own * theta[at].reshape(-1, n_outputs)
            gradient[where] -= 0.5 * pull.sum(axis=0)
        gradient[at] += own.ravel()
    return gradient


def forest_mean(trees, X):
    """Mean over trees of scikit-learn of the leaf that each row falls into."""
    X = X.astype(np.float32)
    leaves = [tree.value[tree.apply(X)] for tree in trees]
    return np.mean(
        [own[:, 0] if own.shape[2] > 1 else own[:, :, 0] for own in leaves], axis=0
    )
