"""Experts on disk: fetched when they are asked, least recently asked ones let go."""

import numbers
import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import NamedTuple

from ..experts._base import ExpertTraits
from ._folder import check_all, read_expert, read_stack, stored_experts


class ShelfUse(NamedTuple):
    """How an offloaded mixture was used since it was opened.

    Attributes
    ----------
    asked : int, times that an expert was asked for rows
    loads : int, times that it had to be loaded for that
    drops : int, times that one was let go for another
    n_held : int, experts in memory now
    n_bytes : int, of their files
    """

    asked: int
    loads: int
    drops: int
    n_held: int
    n_bytes: int


class Shelf:
    """The experts of a folder, of which some are in memory.

    Threads may ask at the same time: an expert is let go only when nobody uses it, and
    who needs room waits until there is some.

    Parameters
    ----------
    folder : Path
    contents : dict, as ``read_contents`` gives it
    budget : int or None
        Bytes of the files of experts in memory, no fewer than the largest has.

    Attributes
    ----------
    stored : list of Stored
    stack : (K, d, p + 1) map of the coefficients of linear experts, or None
    """

    def __init__(self, folder, contents, budget):
        self.folder, self.contents, self.budget = folder, contents, budget
        self.stored = stored_experts(contents)
        self.stack = read_stack(folder, contents)
        self._changed = threading.Condition()
        # By number, the least recently asked first; users of each; loads under way.
        self._held, self._users, self._coming = OrderedDict(), {}, set()
        self._n_bytes = self._asked = self._loads = self._drops = 0

    @property
    def use(self):
        """``ShelfUse`` up to now."""
        with self._changed:
            counts = self._asked, self._loads, self._drops
            return ShelfUse(*counts, len(self._held), self._n_bytes)

    def holds(self, number):
        """Whether an expert is in memory."""
        return number in self._held

    def read(self, number):
        """An expert of the caller's own."""
        return read_expert(self.folder, self.stored[number].file, self.contents)

    def check(self):
        """Raise ``ValueError`` unless all files are as they were written."""
        check_all(self.folder, self.contents)

    @contextmanager
    def lent(self, number):
        """An expert for some time, in which it is not let go."""
        with self._changed:
            self._asked += 1
            self._changed.wait_for(lambda: self._ready(number))
            here = number in self._held
            if here:
                self._held.move_to_end(number)
                self._users[number] += 1
            else:
                # Its room is taken before it comes.
                self._coming.add(number)
                self._n_bytes += self.stored[number].size
        if not here:
            self._fetch(number)
        try:
            yield self._held[number]
        finally:
            with self._changed:
                self._users[number] -= 1
                self._changed.notify_all()

    def _ready(self, number):
        """Whether an expert is here, or has been given room to come."""
        if number in self._held:
            return True
        return number not in self._coming and self._make_room(self.stored[number].size)

    def _make_room(self, size):
        """Let go of unused experts to have ``size`` bytes; whether these are free."""
        if self.budget is None:
            return True
        for number in [k for k in self._held if not self._users[k]]:
            if self._n_bytes + size <= self.budget:
                break
            del self._held[number]
            self._n_bytes -= self.stored[number].size
            self._drops += 1
        return self._n_bytes + size <= self.budget

    def _fetch(self, number):
        expert = None
        try:
            expert = self.read(number)
        finally:
            with self._changed:
                self._coming.discard(number)
                if expert is None:
                    self._n_bytes -= self.stored[number].size
                else:
                    self._held[number], self._users[number] = expert, 1
                    self._loads += 1
                self._changed.notify_all()


class StoredExpert(ExpertTraits):
    """The place of an expert that is on disk, in a mixture that is in memory.

    Parameters
    ----------
    shelf : Shelf
    number : int
        Of its file on the shelf.
    """

    def __init__(self, shelf, number):
        self.shelf, self.number = shelf, number

    @property
    def waits(self):
        """Whether it has to be loaded before it answers."""
        return not self.shelf.holds(self.number)

    @property
    def stack(self):
        """Coefficients of all experts, where these are linear regressions."""
        return self.shelf.stack

    @property
    def added(self):
        """What a correction adds to its answers, in words."""
        return self.shelf.stored[self.number].added

    @property
    def marks(self):
        """What else there is to say of its answers, in words."""
        return self.shelf.stored[self.number].marks

    def lent(self, expert):
        """A context that gives the expert, loaded if need be."""
        return self.shelf.lent(self.number)

    def load(self):
        """The expert itself, a copy beyond the budget."""
        return self.shelf.read(self.number)

    def __repr__(self):
        own = self.shelf.stored[self.number]
        return f"StoredExpert({' = '.join(own.names)}, {own.size} bytes)"


def check_budget(budget):
    """Raise ``ValueError`` unless a budget is a number of bytes, or None."""
    whole = isinstance(budget, numbers.Integral) and not isinstance(budget, bool)
    if budget is not None and not (whole and budget > 0):
        raise ValueError(
            f"An offloaded mixture got budget={budget!r}, but expected a positive "
            "number of bytes, such as 400_000_000, or None for no limit."
        )


def check_largest(stored, budget):
    """Raise ``ValueError`` unless every expert has room by itself."""
    largest = max(stored, key=lambda own: own.size)
    if budget is not None and budget < largest.size:
        raise ValueError(
            f"An offloaded mixture got budget={budget!r}, but its largest expert, "
            f"{largest.names[0]!r}, has {largest.size} bytes; raise the budget to that."
        )
