"""Training in two stages whose fits, of experts and folds, are tasks of workers."""

import io
import pickle
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn import config_context, get_config

from .._warnings import heard, of_author, of_trainer, tell
from ..engines import single_threaded_blas
from ..trainers import TwoStage
from ..trainers._task import Recipe, Report
from ._engine import n_bytes

# How often rows are sent again where all workers that held them have died.
MOST_TRIALS = 5
# What stands for a part of a call that workers know, or need not know.
REPORT = "report"


class Crew:
    """Workers that hold the rows of a fit, and make calls on them.

    Parameters
    ----------
    client : distributed.Client

    Attributes
    ----------
    sent, received, seconds : lists, bytes and seconds of each batch of calls
    """

    def __init__(self, client):
        self.client, self.rows, self.numbers = client, [], {}
        self.sent, self.received, self.seconds = [], [], []
        self.n_tasks, self._held = 0, None

    def take(self, rows):
        """Let calls refer to the arrays of ``Rows``, which workers are to hold."""
        parts = rows.gate_view, *rows.expert_views, rows.y, rows.labels, rows.weight
        self.rows = list({id(own): own for own in parts}.values())
        self.numbers = {id(own): number for number, own in enumerate(self.rows)}
        self._held = None

    def run(self, function, arguments):
        """Results of calls and their warnings, as ``heard`` returns them, in order."""
        begun, config = time.perf_counter(), get_config()
        texts = [self._text((config, function, own)) for own in arguments]
        for trial in range(MOST_TRIALS):
            try:
                found = self._told(texts)
                break
            except CancelledError:
                # The rows have no lineage; who held them has died.
                self._held = None
                if trial == MOST_TRIALS - 1:
                    raise
        self.n_tasks += len(texts)
        self.received.append(n_bytes(found))
        self.seconds.append(time.perf_counter() - begun)
        return found

    def _told(self, texts):
        sent = sum(map(len, texts))
        self.client.wait_for_workers(1)
        if self._held is None:
            self._held = self.client.scatter([self.rows], broadcast=True, hash=False)
            sent += sum(map(size_of, self.rows)) * len(self.client.nthreads())
        asked = [
            self.client.submit(called, *self._held, text, pure=False) for text in texts
        ]
        found = self.client.gather(asked)
        self.sent.append(sent)
        return found

    def _text(self, call):
        """A call as bytes, with the numbers of arrays in their places."""
        import cloudpickle

        numbers = self.numbers

        class Pickler(cloudpickle.Pickler):
            def persistent_id(self, thing):
                return REPORT if isinstance(thing, Report) else numbers.get(id(thing))

        stream = io.BytesIO()
        Pickler(stream, protocol=5).dump(call)
        return stream.getvalue()

    def communication(self):
        """Bytes and seconds of each batch of calls."""
        return {
            "workers": len(self.client.nthreads()),
            "tasks": self.n_tasks,
            "sent": self.sent,
            "received": self.received,
            "seconds": self.seconds,
        }


def size_of(rows):
    """Bytes of an array, or a data frame."""
    from dask.sizeof import sizeof

    return sizeof(rows)


class _Unpickler(pickle.Unpickler):
    """Reads calls that refer to rows."""

    def persistent_load(self, number):
        """What stands for a part of a call."""
        return Report() if number == REPORT else self.rows[number]


def called(rows, text):
    """Result of a call that refers to rows, and its warnings."""
    reader = _Unpickler(io.BytesIO(text))
    reader.rows = rows
    config, function, arguments = reader.load()
    with config_context(**config), single_threaded_blas():
        return heard(function, *arguments)


@dataclass(frozen=True)
class SpreadRecipe(Recipe):
    """A recipe whose fits are tasks of workers; elsewhere it is any other.

    Attributes
    ----------
    crew : Crew
    """

    crew: Any = None

    def __reduce__(self):
        own = {name.name: vars(self)[name.name] for name in fields(Recipe)}
        return _recipe, (own,)

    def run_fits(self, function, arguments, done=None):
        """Results of calls that fit experts; a pool's keep their warnings back."""
        pairs = self.crew.run(function, arguments)
        for number in range(len(pairs) if done is not None else 0):
            done(number)
        tell([said for _, said in pairs], of_author if self.pooled else of_trainer)
        return [result for result, _ in pairs]


def _recipe(own):
    return Recipe(**own)


class SpreadTwoStage(TwoStage):
    """Two stages whose experts are fitted by workers.

    Attributes
    ----------
    crew : Crew
    """

    crew = None

    @classmethod
    def of(cls, trainer, crew):
        """A trainer with the parameters of another one."""
        own = cls(**trainer.get_params(deep=False))
        own.crew = crew
        return own

    def __getstate__(self):
        return {k: v for k, v in super().__getstate__().items() if k != "crew"}

    def __sklearn_clone__(self):
        return self.of(super().__sklearn_clone__(), self.crew)

    def fit(self, rows, recipe, start, report):
        """Train the parts of a recipe on rows; returns a ``Fit``."""
        self.crew.take(rows)
        recipe = SpreadRecipe(**vars(recipe), crew=self.crew)
        return super().fit(rows, recipe, start, report)


def brought(client, parts):
    """All rows of partitions, which are tuples of Delayed, in this process."""
    found = client.gather(client.compute([own for part in parts for own in part]))
    width = len(parts[0])
    return [_whole(found[place::width]) for place in range(width)]


def _whole(parts):
    if all(isinstance(own, np.ndarray) for own in parts):
        return np.concatenate(parts)
    import pandas as pd

    return pd.concat(parts, ignore_index=True)
