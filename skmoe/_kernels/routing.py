"""Row-wise selection of experts, and grouping of rows by expert."""

from enum import IntEnum

import numpy as np

from ._jit import jit
from .door import check_range

# Constants of the SplitMix64 generator (Steele, Lea, Flood 2014).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_SHIFT, FIRST_FACTOR = np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)
SECOND_SHIFT, SECOND_FACTOR = np.uint64(27), np.uint64(0x94D049BB133111EB)
LAST_SHIFT = np.uint64(31)
# Of a log-weight, relative to one or itself: what rounding may make of equal ones.
TIE = 1e-12


class RoutingFault(IntEnum):
    """What can be wrong with a slot of a routing, or with a row of it."""

    none = 0
    outside = 1
    infinite = 2
    negative = 3
    empty = 4
    twice = 5
    total = 6


@jit
def first_fault(indices, weights, n_experts, tolerance):
    """The first fault of a routing, with its row and slot.

    Parameters
    ----------
    indices : int64 (n, k)
    weights : float64 (n, k)
    n_experts : int
    tolerance : float
        What the weights of a row may be off one by.

    Returns
    -------
    fault : RoutingFault
    row, slot : int
    """
    n_rows, n_slots = indices.shape
    last_row = np.full(n_experts, -1)
    for i in range(n_rows):
        total = 0.0
        for slot in range(n_slots):
            expert, weight = indices[i, slot], weights[i, slot]
            if expert < -1 or expert >= n_experts:
                return RoutingFault.outside, i, slot
            if not np.isfinite(weight):
                return RoutingFault.infinite, i, slot
            if weight < 0.0:
                return RoutingFault.negative, i, slot
            if expert < 0 and weight != 0.0:
                return RoutingFault.empty, i, slot
            if expert >= 0:
                if last_row[expert] == i:
                    return RoutingFault.twice, i, slot
                last_row[expert] = i
            total += weight
        if abs(total - 1.0) > tolerance:
            return RoutingFault.total, i, 0
    return RoutingFault.none, 0, 0


@jit
def exceeds(value, other):
    """Whether a log-weight is larger than another one by more than rounding."""
    return value > other and value - other > TIE * (1.0 + abs(value))


@jit
def _largest(values, taken):
    """Place of the largest entry that is not taken, the first of equal ones."""
    best = -1
    for k in range(values.size):
        if not taken[k] and (best < 0 or exceeds(values[k], values[best])):
            best = k
    return best


@jit
def top_k_rows(log_gate, indices, weights):
    """The k largest entries of each row, best first, and their softmax.

    ``indices`` and ``weights`` (n, k) are filled; of entries that are equal but for
    rounding the first wins.
    """
    n_rows, n_experts = log_gate.shape
    n_active = indices.shape[1]
    taken = np.zeros(n_experts, dtype=np.bool_)
    for i in range(n_rows):
        for slot in range(n_active):
            indices[i, slot] = _largest(log_gate[i], taken)
            taken[indices[i, slot]] = True
        total = 0.0
        for slot in range(n_active):
            weight = np.exp(log_gate[i, indices[i, slot]] - log_gate[i, indices[i, 0]])
            weights[i, slot] = weight
            total += weight
        for slot in range(n_active):
            weights[i, slot] /= total
            taken[indices[i, slot]] = False


def group_slots(indices, n_experts):
    """Counting sort of the filled slots of ``indices`` (n, k) by expert.

    Returns the slots (row * k + position) ordered by expert, rows ascending, and the
    boundaries (n_experts + 1,) of each expert's part.
    """
    check_range(indices, n_experts, "experts")
    return _group_slots(indices, n_experts)


@jit
def _group_slots(indices, n_experts):
    n_rows, n_slots = indices.shape
    bounds = np.zeros(n_experts + 1, dtype=np.int64)
    for i in range(n_rows):
        for s in range(n_slots):
            if indices[i, s] >= 0:
                bounds[indices[i, s] + 1] += 1
    for k in range(n_experts):
        bounds[k + 1] += bounds[k]
    cursor = bounds[:-1].copy()
    order = np.empty(bounds[n_experts], dtype=np.int64)
    for i in range(n_rows):
        for s in range(n_slots):
            k = indices[i, s]
            if k >= 0:
                order[cursor[k]] = i * n_slots + s
                cursor[k] += 1
    return order, bounds


@jit
def assign_within_capacity(choices, wanted, priority, capacity, take_next, indices):
    """Fill the slots of each row without exceeding the capacity of any expert.

    Slot 0 of all rows comes before slot 1, and so on; within a slot rows come in the
    order of ``priority``.

    Parameters
    ----------
    choices : (n, m) experts of each row, best first.
    wanted : (n, k) whether the row asks for the slot.
    priority : (n,) row numbers.
    capacity : (K,) rows of each expert.
    take_next : bool
        Whether a row that finds an expert full goes to its next choice.
    indices : (n, k) filled; -1 where a slot stays empty.

    Returns
    -------
    Number of requests that the chosen expert could not serve.
    """
    n_slots = indices.shape[1]
    free = capacity.copy()
    overflow = 0
    indices[:] = -1
    for s in range(n_slots):
        for row in priority:
            if not wanted[row, s]:
                continue
            found = -1
            for c in range(s, choices.shape[1]):
                expert = choices[row, c]
                taken = False
                for earlier in range(s):
                    taken = taken or indices[row, earlier] == expert
                if free[expert] > 0 and not taken:
                    found = expert
                    break
                if not take_next and not taken:
                    break
            if found != choices[row, s]:
                overflow += 1
            if found >= 0:
                free[found] -= 1
                indices[row, s] = found
    return overflow


@jit
def fill_places(order, size, most, taken):
    """Give every expert ``size`` rows, and no row more than ``most`` experts.

    Pairs of row and expert come in turn; where an expert then lacks rows although
    some have room, a full row takes it and leaves another expert to a row with room.

    Parameters
    ----------
    order : (n * K,) pairs, row * K + expert
    size, most : int, with size * K <= most * n
    taken : (n, K) of False, filled
    """
    n_rows, n_experts = taken.shape
    load, count = np.zeros(n_experts, np.int64), np.zeros(n_rows, np.int64)
    for pair in order:
        row, expert = pair // n_experts, pair % n_experts
        if load[expert] < size and count[row] < most:
            taken[row, expert] = True
            load[expert] += 1
            count[row] += 1
    for expert in range(n_experts):
        for full in range(n_rows):
            if load[expert] == size:
                break
            if not taken[full, expert]:
                _make_room(full, expert, count, taken)
                load[expert] += 1


@jit
def _make_room(full, expert, count, taken):
    """Let a full row have an expert, and a row with room one of its others."""
    for row in range(count.size):
        if count[row] >= count[full]:
            continue
        for other in range(taken.shape[1]):
            if taken[full, other] and not taken[row, other]:
                taken[full, other], taken[row, other] = False, True
                taken[full, expert] = True
                count[row] += 1
                return


@jit
def _ranked(values, rank):
    """The largest value, the second largest, ...; ``values`` are used up."""
    found = -np.inf
    for _ in range(rank):
        best = np.argmax(values)
        found = values[best]
        values[best] = -np.inf
    return found


@jit
def settle_prices(weights, size, most, n_rounds, close, prices):
    """Prices (K,) at which each expert has ``size`` rows, and a row ``most`` experts.

    Each expert in turn sets the price at which it gets its rows while others keep
    theirs: between the last bid that it takes and the first that it does not.  A bid
    is the weight, less what a full row would give up for one more expert.

    Parameters
    ----------
    weights : (n, K)
    size, most : int
    n_rounds : int, at most
    close : float, prices that move by no more are settled
    prices : (K,) to begin with, changed
    """
    n_rows, n_experts = weights.shape
    offers, gains = np.empty(n_rows), np.empty(n_experts)
    for _ in range(n_rounds):
        moved = 0.0
        for own in range(n_experts):
            for i in range(n_rows):
                offers[i] = weights[i, own]
                if most < n_experts:
                    for k in range(n_experts):
                        gains[k] = weights[i, k] - prices[k]
                    gains[own] = -np.inf
                    offers[i] -= max(_ranked(gains, most), 0.0)
            ranked = np.partition(offers, n_rows - size)
            price = ranked[n_rows - size]
            if size < n_rows:
                price = 0.5 * (price + ranked[: n_rows - size].max())
            moved = max(moved, abs(price - prices[own]))
            prices[own] = price
        if moved <= close:
            break


@jit
def scrambled(value):
    """Scramble the bits of a 64-bit integer (SplitMix64)."""
    value = value + GOLDEN
    value = (value ^ (value >> FIRST_SHIFT)) * FIRST_FACTOR
    value = (value ^ (value >> SECOND_SHIFT)) * SECOND_FACTOR
    return value ^ (value >> LAST_SHIFT)


@jit
def _row_key(bits, start):
    """Hash of a row's bits, from that of the seed."""
    key = start
    for j in range(bits.size):
        key = scrambled(key ^ scrambled(bits[j]))
    return key


@jit
def row_keys(bits, seed):
    """Hashes (n,) of rows, by which equal rows are known.

    Parameters
    ----------
    bits : (n, p) unsigned integers, what the row holds
    seed : unsigned integer
    """
    keys = np.empty(bits.shape[0], dtype=np.uint64)
    start = scrambled(seed)
    for i in range(bits.shape[0]):
        keys[i] = _row_key(bits[i], start)
    return keys


@jit
def deal_out(frequencies, load, indices):
    """Give each group of rows, in turn, to the experts that have the fewest rows.

    Of equal ones the first gets it.

    Parameters
    ----------
    frequencies : (m,) rows of each group
    load : (K,) rows that experts have already, added to
    indices : (m, k) filled with experts
    """
    taken = np.zeros(load.size, dtype=np.bool_)
    for i in range(frequencies.size):
        for slot in range(indices.shape[1]):
            least = -1
            for k in range(load.size):
                if not taken[k] and (least < 0 or load[k] < load[least]):
                    least = k
            taken[least] = True
            indices[i, slot] = least
        for slot in range(indices.shape[1]):
            load[indices[i, slot]] += frequencies[i]
            taken[indices[i, slot]] = False


@jit
def hash_to_experts(bits, seed, n_experts, indices):
    """Distinct experts of each row, uniform among all sets of that size.

    Parameters
    ----------
    bits : (n, p) unsigned integers, what the row holds
    seed : unsigned integer
    n_experts : int
    indices : (n, k) filled
    """
    start = scrambled(seed)
    for i in range(bits.shape[0]):
        key = _row_key(bits[i], start)
        for slot in range(indices.shape[1]):
            key = scrambled(key)
            chosen = np.int64(key % np.uint64(n_experts - slot))
            # The chosen-th of those experts that the row does not have yet.
            passed = -1
            for _ in range(slot):
                smallest = n_experts
                for earlier in range(slot):
                    taken = indices[i, earlier]
                    if passed < taken < smallest:
                        smallest = taken
                if chosen >= smallest:
                    chosen += 1
                passed = smallest
            indices[i, slot] = chosen
