"""What is told of a run by gradient, epoch by epoch."""

import copy

import numpy as np

# What ``history_`` has of each epoch, beside the auxiliary losses by name.
RECORDED = (
    "bound",
    "load",
    "overflow",
    "switched",
    "task_loss",
    "held_out_loss",
    "gate_load",
    "gate_entropy",
    "phase",
    "revived",
    "kept",
)
# Loss, in nats per row and epoch, that is no gain any more.
LEAST_GAIN = 1e-4


class Record:
    """Lists with an entry for each epoch, by name.

    Parameters
    ----------
    names : list of str
        Of the auxiliary losses.
    """

    def __init__(self, names):
        self.names = names
        self.lists = {name: [] for name in (*RECORDED, *names)}

    def __len__(self):
        return len(self.lists["bound"])

    def __getitem__(self, name):
        return self.lists[name]

    def add(self, **values):
        """Note an epoch."""
        for name, value in values.items():
            self.lists[name].append(value)

    def watched(self):
        """The losses (n,) by which training stops: of held-out rows, if there are."""
        held_out = np.array(self["held_out_loss"], dtype=float)
        training = -np.array(self["bound"], dtype=float)
        return training if np.isnan(held_out).all() else held_out

    def waited(self, first):
        """Epochs since the least loss of those from the first on."""
        own = self.watched()[first:]
        return len(own) - 1 - int(np.nanargmin(own))

    def has_settled(self, first, n_epochs):
        """Whether the last epochs gained next to nothing over those since the first."""
        own = self.watched()[first:]
        if len(own) <= n_epochs:
            return False
        gain = np.nanmin(own[:-n_epochs]) - np.nanmin(own)
        return bool(gain < LEAST_GAIN * n_epochs)

    def history(self, best, earlier=None):
        """Copies of the lists, with the epoch whose parameters were kept, the ``best``.

        Behind those of an ``earlier`` run that this one goes on from, if there is one.
        """
        own = copy.deepcopy(self.lists)
        at = -1 if best is None else best.epoch
        own["kept"] = [epoch == at for epoch in range(len(self))]
        return own if earlier is None else joined(earlier, own)


def in_rounds(histories, best):
    """One history of several rounds, of which only one is kept, by its number."""
    found = {name: [] for name in histories[0]}
    for number, own in enumerate(histories):
        for name, values in own.items():
            kept = name != "kept" or number == best
            found[name].extend(values if kept else [False] * len(values))
    return found


def of_experts(history, kept, removed):
    """A history with the loads of some of the experts, by number, and who is gone."""
    found = dict(history)
    for name in ("load", "gate_load"):
        # Of a run before, loads may not be known.
        found[name] = [
            np.take(own, kept) if np.ndim(own) else own for own in found[name]
        ]
    return {**found, "removed": removed}


def joined(earlier, later):
    """The history of two runs; what only one has is not known of the other.

    Experts that the earlier one has removed are none of the later's.
    """
    earlier = {name: own for name, own in earlier.items() if name != "removed"}
    sizes = len(earlier.get("bound", ())), len(later["bound"])
    lists = {name: own for name, own in earlier.items() if _by_epoch(own, sizes[0])}
    found = {}
    for name in {**later, **lists}:
        before = lists.get(name, [np.nan] * sizes[0])
        found[name] = [*before, *later.get(name, [np.nan] * sizes[1])]
    found["kept"] = [False] * sizes[0] + found["kept"][sizes[0] :]
    return found


def _by_epoch(values, n_epochs):
    return isinstance(values, list) and len(values) == n_epochs
