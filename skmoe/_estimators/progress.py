"""What is printed while a fit runs: how far it has come, and what is compiled."""

import math
import time

from numba.core import event

# Lines of the training of one member, about, however many steps it has.
MOST_LINES = 20


class Lines:
    """Tells of the first step, of every so many, and of the last.

    Parameters
    ----------
    say : callable, which prints a text
    every : bool, whether it tells of all steps
    """

    def __init__(self, say, every):
        self.say, self.every, self.kept = say, every, None

    def tell(self, text, done, total):
        """A step is done, which is one of so many, or None where nobody knows."""
        due = self.every or done == 1 or done % stride(done, total) == 0
        self.kept = None if due else text
        if due:
            self.say(text)

    def end(self):
        """Tell of the last step, if that is still to come."""
        if self.kept is not None:
            self.say(self.kept)
        self.kept = None


def stride(done, total):
    """How many steps there are for each that is told of.

    Where nobody knows how many there will be, each of the first ten, then every tenth
    up to a hundred, and so on.
    """
    if total is None:
        return 10 ** (len(str(done)) - 1)
    return math.ceil(total / (MOST_LINES - 2))


class Compiling(event.Listener):
    """Says so when a kernel is compiled, as happens once, and how long all took.

    A kernel that is read from the cache is no such event.
    """

    def __init__(self, name):
        self.name, self.depth, self.begun, self.seconds = name, 0, 0.0, 0.0

    def on_start(self, _):
        """A function begins to be compiled, perhaps for another one."""
        self.depth += 1
        if self.depth > 1:
            return
        self.begun = time.perf_counter()
        if not self.seconds:
            print(f"[{self.name}] compiling, once: later fits read it from a cache")

    def on_end(self, _):
        """A function is compiled."""
        self.depth -= 1
        if not self.depth:
            self.seconds += time.perf_counter() - self.begun

    def end(self):
        """Say how long it took, if anything was compiled."""
        if self.seconds:
            print(f"[{self.name}] compiled in {self.seconds:.1f} s")


def time_left(seconds, done, total):
    """Words for what is left after some of the steps, which take alike."""
    left = seconds / done * (total - done)
    return f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
