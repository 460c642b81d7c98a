"""Penalties of a fused problem that are chosen anew while EM runs."""

from typing import NamedTuple

import numpy as np

from ..._numerics.evidence import LEAST_EFFECTIVE, ridge_of_softmax

# Share of all rows below which an expert has none.
NO_ROWS = 1e-10


class ByEvidence(NamedTuple):
    """Whose penalties are chosen anew while EM runs."""

    gate: bool = False
    experts: bool = False


NOTHING = ByEvidence()


class ChosenPenalties:
    """The penalties of a linear mixture, of which evidence may choose some.

    Attributes
    ----------
    gate_penalty, expert_penalty : Penalty
        With a ridge for each slot of the tree, and for each expert.
    gate_spent, expert_spent : (S,) and (K,) arrays
        Effective coefficients, as the penalties were chosen; NaN before.
    by_evidence : ByEvidence
    """

    def set_penalties(self, gate, experts, by_evidence):
        """Set what penalties begin with, one ``Penalty`` for all slots or experts."""
        self.gate_penalty = spread_over(gate, self.tree.n_slots)
        self.expert_penalty = spread_over(experts, self.tree.n_leaves)
        self.gate_spent = np.full(self.tree.n_slots, np.nan)
        self.expert_spent = np.full(self.tree.n_leaves, np.nan)
        self.by_evidence = by_evidence

    def penalties_without(self, k, slots):
        """What ``with_rule`` takes to leave out an expert, the slots renumbered."""
        gate, expert = self.gate_penalty, self.expert_penalty
        # The slot of an only leaf is new, and has nothing to pay for.
        return {
            "gate_penalty": gate._replace(ridge=take_slots(gate.ridge, slots)),
            "gate_spent": take_slots(self.gate_spent, slots),
            "expert_penalty": expert._replace(ridge=np.delete(expert.ridge, k)),
            "expert_spent": np.delete(self.expert_spent, k),
        }

    #: Whether an iteration costs fits of estimators of other libraries.
    costly = False
    #: Move of the logarithms of penalties after which they stay.
    penalty_rest = 0.05
    #: The same problem on a sample of the rows, with the weight of all, where a pass
    #: over these is dear.
    sample = None

    @property
    def renews(self):
        """Whether penalties are chosen anew while it runs."""
        gate = self.by_evidence.gate and self.gate_channels > 1
        return gate or self.by_evidence.experts

    def node_ridge(self, slots):
        """Penalty of the gate of a node, by its slots."""
        return self.gate_penalty.ridge[slots.start]

    def gate_penalties(self, ridges, spent):
        """What ``with_rule`` takes to set penalties and effective coefficients of the
        gates, by node."""
        widths = self.tree.widths
        ridge = np.repeat(np.array(ridges, dtype=float), widths)
        share = np.repeat(np.array(spent, dtype=float) / widths, widths)
        penalty = self.gate_penalty._replace(ridge=ridge)
        return {"gate_penalty": penalty, "gate_spent": share}

    def revalued(self, theta, statistics):
        """What ``evaluate`` gives where only the penalties have changed."""
        total = self.log_likelihood(statistics)
        value = (total - self._penalty(self.unpack(theta))) / self.total_weight
        return value, statistics

    def renewed(self, theta, statistics):
        """The problem with the penalties that evidence asks for, its parameters, and
        how far the logarithms of the penalties moved."""
        parts, changes, moves = self.unpack(theta), {}, [0.0]
        if self.by_evidence.gate and self.gate_channels > 1:
            found = self._gate_ridges(parts[0], statistics)
            penalty, spent, moved = renewal(found, self.gate_penalty, self.gate_spent)
            changes |= {"gate_penalty": penalty, "gate_spent": spent}
            moves.append(moved)
        if self.by_evidence.experts:
            found = self._expert_ridges(parts, statistics)
            own = self.expert_penalty, self.expert_spent
            penalty, spent, moved = renewal(found, *own)
            changes |= {"expert_penalty": penalty, "expert_spent": spent}
            moves.append(moved)
        return self.with_rule(**changes), theta, max(moves)

    def _gate_ridges(self, coef, statistics):
        """Penalties that the evidence of each node asks for, by slot."""
        curves, found = self.tree.curves(self.gate_channels), []
        for node, slots in enumerate(self.tree.slots):
            chosen = ridge_of_softmax(
                statistics.gate_gram[:, curves[node] : curves[node + 1]],
                coef[slots],
                self.node_ridge(slots),
            )
            found += shared_by(chosen, slots)
        return found


def spread_over(penalty, n):
    """A penalty with its ridge for each of ``n``."""
    return penalty._replace(ridge=np.full(n, float(penalty.ridge)))


def shared_by(chosen, slots):
    """What evidence says of a node's gate, for each of its slots."""
    width = slots.stop - slots.start
    if chosen is None:
        return [None] * width
    return [chosen._replace(effective=chosen.effective / width)] * width


def renewal(found, penalty, spent):
    """A penalty and effective coefficients (m,) as evidence finds them, and how far the
    logarithms moved; where it finds nothing they stay."""
    ridge = penalty.ridge
    pairs = list(zip(ridge, spent, strict=True))
    after = [old if own is None else own for own, old in zip(found, pairs, strict=True)]
    new, effective = np.array(after).T.reshape(2, -1)
    # Of a penalty that leaves nothing it does not matter how large it is.
    counts = (effective > LEAST_EFFECTIVE) & (ridge > 0) & (new > 0)
    moves = np.abs(np.log(new[counts] / ridge[counts]))
    return penalty._replace(ridge=new), effective, float(moves.max(initial=0.0))


def take_slots(coef, slots):
    """Rows (S, ...) that belong to slots, for renumbered ones; zero for new ones."""
    slots = np.asarray(slots)
    taken = coef[slots]
    taken[slots < 0] = 0.0
    return taken
