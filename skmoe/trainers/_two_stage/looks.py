"""What members of a pool make of one fold, and what blends of them are worth."""

import pickle
import time
from typing import Any, NamedTuple

import numpy as np

from ..._numerics.blend import log_losses, square_losses
from ..._sklearn import safe_indexing
from ...experts._base import traits
from .._folds import answer_of_fold, fit_to_fold
from .corrections import corrections_for


class PoolTerms(NamedTuple):
    """What members of a pool cost, and what they may cost together.

    Attributes
    ----------
    prices : dict of str to float, CPU time of a fit, in units of boosted trees
    finals : dict of str to dict, parameters of members after the first look
    always : tuple of str, members that no budget leaves out
    max_time : float or None, CPU seconds of the whole fit
    max_memory : float or None, megabytes of the experts, pickled
    max_latency : float or None, CPU milliseconds of a row that is asked by itself
    """

    prices: dict
    finals: dict = {}
    always: tuple = ()
    max_time: float | None = None
    max_memory: float | None = None
    max_latency: float | None = None

    @property
    def is_bounded(self):
        """Whether there is any budget."""
        return self.is_small or self.max_time is not None

    @property
    def is_small(self):
        """Whether what is kept has to be small, or quick."""
        return self.max_memory is not None or self.max_latency is not None


class Look(NamedTuple):
    """What a member makes of one fold.

    Attributes
    ----------
    answer : (m, d), of the test rows
    expert : the unfitted expert, which trains as long as serves the test rows
    seconds : float, CPU time of the fit
    memory : float, megabytes of the fitted expert
    latency : float, CPU milliseconds of a row by itself
    """

    answer: np.ndarray
    expert: Any
    seconds: float
    memory: float = 0.0
    latency: float = 0.0


def looked(is_small, fold, classes, expert, view, labels, weight, seed, fit_params):
    """A ``Look`` of one member, whose size is measured where it ``is_small``."""
    begun = time.process_time()
    known = {"classes": classes, "seed": seed, "fit_params": fit_params}
    fitted = fit_to_fold(expert, view, labels, weight, fold, **known)
    seconds = time.process_time() - begun
    look = Look(answer_of_fold(fitted, view, labels, fold, classes), expert, seconds)
    if fitted is None:
        return look
    if traits(expert).settles:
        test = fold[1]
        own = fitted.settled(safe_indexing(view, test), labels[test], weight[test])
        look = look._replace(expert=own)
    if not is_small:
        return look
    alone = fold[0], fold[1][:1]
    times = []
    for _ in range(3):
        begun = time.process_time()
        answer_of_fold(fitted, view, labels, alone, classes)
        times.append(1e3 * (time.process_time() - begun))
    return look._replace(memory=1e-6 * len(pickle.dumps(fitted)), latency=min(times))


class Blend:
    """The loss of the best blend of some experts, on rows that were left out."""

    def __init__(self, seen):
        rows, self.answers, _ = seen.answers()
        task, self.known = seen.task.on_rows(rows), {}
        self.rows = task.rows
        if task.rows.classes is not None:
            self.answers = tempered(task, self.answers)

    def loss(self, numbers):
        """Mean loss of the blend of experts, by number."""
        numbers = tuple(numbers)
        if numbers not in self.known:
            self.known[numbers] = self._loss(self.answers[:, list(numbers)])
        return self.known[numbers]

    def _loss(self, answers):
        rows = self.rows
        if rows.classes is None:
            losses = square_losses(answers, rows.y, rows.weight)
        else:
            came = answers[np.arange(len(rows.y)), :, rows.y]
            losses = log_losses(came, rows.weight)
        return float(np.average(losses, weights=rows.weight))


def tempered(task, answers):
    """Class probabilities (n, K, C), each member's as sure as it has reason to be.

    Forests and neighbours are less sure than they could be, and would earn too little.
    """
    corrections = corrections_for(task, answers, offsets=False)
    weight = np.tile(task.rows.weight[:, None], answers.shape[1])
    best = corrections.best(weight, slice(None), corrections.identity)
    return corrections.predictions(best, slice(None))
