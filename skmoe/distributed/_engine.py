"""The engine of several machines: groups of partitions on Dask's workers.

Nothing is pinned to a worker, and all that workers hold is the result of a task, which
the scheduler has done again where it is lost.
"""

import pickle
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._estimators.first_pass import FirstPass
from ..engines import TreeSum, unit_rows
from ..trainers._streamed import Stream
from . import _tasks
from ._collections import SIZES, dask

# What the columns that a user gives are in a batch.
PLACES = {"sample_weight": "weight", **dict.fromkeys(SIZES, "size")}


def range_units(n_units, n_slots):
    """Units of a range: a power of two, with a range for each of the slots."""
    size = 1
    while size < n_units and -(-n_units // (2 * size)) >= n_slots:
        size *= 2
    return size


def moved_bytes(ranges, edges, sizes):
    """Bytes of rows that leave the worker where most of their range is.

    Parameters
    ----------
    ranges : list of Range
    edges : numbers of the first rows of groups, and of the row after the last
    sizes : bytes of each group
    """
    firsts, lasts, moved = edges[:-1], edges[1:], 0.0
    per_row = np.asarray(sizes) / np.maximum(lasts - firsts, 1)
    for own in ranges:
        rows = np.minimum(lasts, own.held) - np.maximum(firsts, own.first)
        parts = np.maximum(rows, 0) * per_row
        moved += parts.sum() - parts.max()
    return int(moved)


class Workers:
    """Rows that lie on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    parts : list of tuples of Delayed
        Of each partition what ``names`` say.
    names : list of str
        X, y, and perhaps sample_weight, then offset or trials.

    Attributes
    ----------
    size_name : "offset", "trials" or None, what rows bring along
    ranges : list of Range, one for each task of a pass
    rows : list of Future, the rows of each range
    sent, received, seconds : lists, bytes and seconds of each pass
    recut : int, bytes of rows that moved as ranges were made of partitions
    gathered : list of int, bytes of rows that each M-step brought to experts
    """

    def __init__(self, client, parts, names):
        sizes = [name for name in names if name in SIZES]
        self.size_name = sizes[0] if sizes else None
        places = [PLACES.get(name, name) for name in names]
        self.client, self.sent, self.received, self.seconds = client, [], [], []
        self.gathered, self.begun = [], time.perf_counter()
        client.wait_for_workers(1)
        self.n_workers = len(client.nthreads())
        # The only one may just have died; another will come.
        n_slots = max(sum(client.nthreads().values()), 1)
        step = -(-len(parts) // n_slots)
        packed = dask().delayed(_tasks.packed, pure=False)
        groups = [parts[k : k + step] for k in range(0, len(parts), step)]
        # Futures of what has a lineage: their inputs are read again where one is lost.
        held = client.compute([packed(places, own) for own in groups])
        told = client.gather([self.submit(_tasks.counted, own) for own in held])
        counts, sizes = zip(*told, strict=True)
        n_rows = sum(counts)
        self.unit = unit_rows(n_rows)
        size = self.unit * range_units(-(-n_rows // self.unit), n_slots)
        starts = range(0, max(n_rows, 1), size)
        limits = [(first, min(first + size, n_rows)) for first in starts]
        self.ranges = [_tasks.Range.of(*own, n_rows) for own in limits]
        edges = np.cumsum([0, *counts])
        self.rows = [self._range_of(held, edges, own) for own in self.ranges]
        self.recut = moved_bytes(self.ranges, edges, sizes)

    def _range_of(self, held, edges, where):
        """A future of the rows of a range, out of groups that begin at ``edges``."""
        pieces = [
            self.submit(_tasks.cut_rows, group, where.first - begin, where.held - begin)
            for group, begin, end in zip(held, edges[:-1], edges[1:], strict=True)
            if begin < where.held and end > where.first
        ]
        return self.submit(_tasks.assembled, *pieces)

    def first_pass(self, *asked):
        """``PartPass`` of all rows, merged by the workers in the one tree.

        ``asked`` are the first fields of ``Asked``.
        """
        asked = _tasks.Asked(*asked, self.size_name)
        found = [
            self.submit(_tasks.PartPass, asked, *own)
            for own in zip(self.rows, self.ranges, strict=True)
        ]
        made = [*found]
        while len(found) > 1:
            pairs = [found[k : k + 2] for k in range(0, len(found), 2)]
            found = [
                self.submit(_tasks.PartPass.extended, *own) if len(own) > 1 else own[0]
                for own in pairs
            ]
            made += found
        try:
            (whole,) = self.client.gather(found)
        finally:
            # One that failed has the frames of its failure, and so itself.
            for own in made:
                own.release()
        self._note(0, whole.sample.n_bytes if whole.n_rows else 0, self.begun)
        return whole

    def encode(self, *given):
        """Have all rows as training reads them; those that were read are let go.

        ``given`` are arguments of ``encoded``.
        """
        given = self.unit, self.size_name, *given
        self.rows = [
            self.submit(_tasks.encoded_units, *own, *given)
            for own in zip(self.rows, self.ranges, strict=True)
        ]

    def sums(self, accumulate, make_statistics):
        """Sum of ``accumulate(statistics, X, y, weight)`` by one pass over all rows."""
        begun = time.perf_counter()
        # A part of each task: elsewhere it could be lost, or be waited for.
        text = pickle.dumps((accumulate, make_statistics), protocol=5)
        found = [self.submit(_tasks.sums_over, text, own) for own in self.rows]
        total, n_bytes = TreeSum(), 0
        for number, own in enumerate(self.client.gather(found)):
            n_bytes += sum(part.nbytes for part in own)
            # What came from elsewhere may be of memory that is not to be written.
            total.add(number, tuple(np.array(part) for part in own))
        self._note(len(self.rows) * len(text), n_bytes, begun)
        return total.total()

    def passed(self, sent, received, begun):
        """Note a pass that was not one of :meth:`sums`."""
        self._note(sent, received, begun)

    def let_go(self):
        """Free the rows on the workers, whoever knows of them still."""
        self.n_tasks, self.rows = len(self.rows), []

    def submit(self, function, *arguments):
        """A future of a call, which is none of the same call before."""
        return self.client.submit(function, *arguments, pure=False)

    def _note(self, sent, received, begun):
        self.sent.append(sent)
        self.received.append(received)
        self.seconds.append(time.perf_counter() - begun)

    def communication(self):
        """Bytes and seconds of each pass, the first one included, after the last."""
        return {
            "workers": self.n_workers,
            "tasks": self.n_tasks,
            "sent": self.sent,
            "received": self.received,
            "seconds": self.seconds,
            "recut": self.recut,
            "gathered": self.gathered,
        }


@dataclass(frozen=True)
class WorkerStream(Stream):
    """A stream whose rows lie on workers.

    Attributes
    ----------
    workers : Workers
    noted : dict, of the pass that is going on
    """

    workers: Any = None
    noted: dict = field(default_factory=dict)

    def __post_init__(self):
        # Bytes that were sent and received since the last pass, and when it ended.
        self.noted.update(sent=0, received=0, begun=time.perf_counter())

    def sums(self, accumulate, make_statistics, n_jobs=None):
        """Sum of ``accumulate(statistics, X, y, weight)`` by one pass over the rows."""
        return self.workers.sums(accumulate, make_statistics)

    # -- for trainers whose statistics stay with the rows ---------------------------

    def each(self, function, common, lists=(), handles=()):
        """Handles of ``function(common, units, ...)`` for each range of rows.

        Parameters
        ----------
        function : callable
        common : first argument of all calls
        lists : lists of handles, one for each range
        handles : handles that all calls are given
        """
        text = self._text(function, common, len(self.workers.rows))
        columns = zip(self.workers.rows, *lists, strict=True)
        return [
            self.workers.submit(_tasks.applied, text, *own, *handles) for own in columns
        ]

    def call(self, function, *handles, common=None):
        """The handle of ``function(common, ...)`` of results."""
        text = self._text(function, common)
        return self.workers.submit(_tasks.applied, text, *handles)

    def held(self, value):
        """The handle of a value that is sent once."""
        text = cloudpickled(value)
        self.noted["sent"] += len(text)
        return self.workers.submit(_tasks.same, text)

    def told(self, handles):
        """What handles, in lists of any depth, stand for."""
        found = self.workers.client.gather(handles)
        self.noted["received"] += n_bytes(found)
        return found

    def brought(self, n_bytes):
        """Note the bytes of rows that an M-step has brought to experts."""
        self.workers.gathered.append(n_bytes)

    def passed(self):
        """Note that a pass has ended."""
        self.workers.passed(**self.noted)
        self.__post_init__()

    def _text(self, function, common, times=1):
        text = cloudpickled((function, common))
        self.noted["sent"] += times * len(text)
        return text


def cloudpickled(value):
    """A value as bytes; what a user's script defines, too."""
    # It comes with Dask.
    import cloudpickle

    return cloudpickle.dumps(value, protocol=5)


def n_bytes(found):
    """Bytes of the arrays in nested lists and tuples."""
    if isinstance(found, np.ndarray):
        return found.nbytes
    return sum(map(n_bytes, found)) if isinstance(found, (list, tuple)) else 0


class WorkerPass(FirstPass):
    """The first pass over rows that lie on workers."""

    def __init__(self, model, workers, likelihood, batches):
        # Workers ask a mixture for its kind only.
        whole = workers.first_pass(type(model)(), likelihood, batches)
        vars(self).update(vars(whole))
        self.model, self.workers, self.likelihood = model, workers, likelihood
        self._finish()

    def stream(self, target, code):
        """What training is given to read all rows again; ``code`` reads columns."""
        self.workers.encode(target, code, self.unit, self.likelihood)
        own = vars(super().stream(target, code))
        return WorkerStream(**own, workers=self.workers)
