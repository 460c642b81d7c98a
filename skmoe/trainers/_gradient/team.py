"""Threads that share the experts of a batch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from joblib import effective_n_jobs

# Products below which it costs more to wake a thread than to do its part.
LEAST_WORK = 1 << 21


class Team:
    """Calls of a kernel, each for some of the experts, at once.

    Experts write to places of their own, so that nothing depends on how many there are.

    Parameters
    ----------
    n_jobs : int or None
    """

    def __init__(self, n_jobs):
        self.size, self._pool = effective_n_jobs(n_jobs), None

    def __enter__(self):
        if self.size > 1:
            self._pool = ThreadPoolExecutor(self.size)
        return self

    def __exit__(self, *error):
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None

    def run(self, call, offsets, work):
        """Call ``call(offsets)`` for the experts of each thread.

        Parameters
        ----------
        call : callable
        offsets : (K,) where parameters start; negative for experts of other calls.
        work : int, products that the whole takes
        """
        if self._pool is None or work < LEAST_WORK:
            call(offsets)
            return
        turn = np.cumsum(offsets >= 0) % self.size
        shares = [np.where(turn == t, offsets, -1) for t in range(self.size)]
        for done in [self._pool.submit(call, own) for own in shares]:
            done.result()
