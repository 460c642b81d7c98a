"""Which members of a pool are trained, and on how many folds: what each one earns.

All members look at one fold.  Those without which the best blend would err hardly more,
for what they cost, are spared the others; so are folds once the gate has rows enough.
"""

import pickle
import time
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ..._numerics.blend import log_losses, square_losses
from ..._sklearn import safe_indexing
from ...experts._base import traits
from .._folds import answer_of_fold, fit_to_fold, is_splitter
from .corrections import corrections_for
from .out_of_fold import OutOfFold, arguments, check_finite

# Share of the loss that a member has to save for each unit of its price: to be fitted
# to more folds than the first, and to be kept.
FIRST_GAIN, LAST_GAIN = 1e-3, 2.5e-4
# Rows that a first look trains on, and is judged by, at most.
MOST_LOOKED_AT = 5000
# Rows left out by which gate and corrections are fitted well: of values, and of
# classes, which say less; and folds that this takes at least.
ENOUGH_VALUES, ENOUGH_CLASSES, FEWEST_FOLDS = 1800, 4000, 2
# Share of a budget of time that is left for the gate.
RESERVE = 0.15
# Boosted trees that correct an answer, over those that give one, in CPU time.
CORRECTION_PRICE = 0.5
IDLE = "adds nothing to the others"


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


class Grown(NamedTuple):
    """Experts that are trained.

    Attributes
    ----------
    kept : list of int, their numbers
    seen : OutOfFold of these
    growth : PoolGrowth, or None where the experts are those that the user gave
    """

    kept: list
    seen: OutOfFold
    growth: Any = None

    @property
    def reasons(self):
        """Why experts were left out, by name."""
        return {} if self.growth is None else self.growth.reasons

    @property
    def has_room(self):
        """Whether budgets bear corrections by trees."""
        return self.growth is None or self.growth.has_room(self.kept)

    def unkept(self, experts, begun):
        """What became of budgets, in a sentence, or None; see ``PoolGrowth``."""
        if self.growth is None or not self.growth.terms.is_bounded:
            return None
        return self.growth.unkept(experts, time.process_time() - begun)


class PoolGrowth:
    """Finds the members of a pool that earn their cost, and the folds they need.

    Parameters
    ----------
    seen : OutOfFold
        Of all members that suit the table.
    begun : float
        CPU time of the process when the fit began.

    Attributes
    ----------
    looks : dict of int to Look
    reasons : dict of str to str
        Why members were left out, by name.
    """

    def __init__(self, seen, begun):
        self.seen, self.begun = seen, begun
        self.recipe = seen.task.recipe
        self.terms, self.names = self.recipe.pool, self.recipe.names
        self.looks, self.reasons = {}, {}
        self.charged = self._latency = 0.0
        self.fold = _thinned(seen.folds[0], self.recipe.seed)
        self.is_whole, self.is_settled = self.fold is seen.folds[0], False

    def grown(self):
        """The members that stay, as ``Grown``."""
        self._look_at_members()
        kept = self._worth_it(self._of_looks(), list(self.looks), FIRST_GAIN)
        kept = self._small_enough(kept)
        seen, kept = self._fit_folds(self._settled(kept), kept)
        seen, again = self._left(seen, kept, LAST_GAIN)
        self._latency = sum(self.looks[k].latency for k in again)
        return Grown(again, seen, self)

    def _look_at_members(self):
        """Looks at all members; by a budget of time at those it has room for."""
        order = sorted(
            range(len(self.names)),
            key=lambda k: (self.names[k] not in self.terms.always, self._price(k)),
        )
        if self.terms.max_time is None:
            self.looks = self._look(order, self.fold)
            return
        for k in order:
            if self._has_time_for(k):
                self.looks |= self._look([k], self.fold)
            else:
                self.reasons[self.names[k]] = (
                    f"would take about {self._seconds(k):.2g} s a fit, more than "
                    f"max_time={self.terms.max_time:g} leaves"
                )

    def _has_time_for(self, k):
        """Whether a member may be looked at, with all that this leads to."""
        if not self.looks or self.names[k] in self.terms.always:
            return True
        return self._to_come([*self.looks, k]) <= self._time_left()

    def _look(self, numbers, fold, experts=None):
        """A ``Look`` at a fold of each of some members, by number."""
        task, calls = self.seen.task, []
        for k in numbers:
            own = arguments(task, k)
            given = own if experts is None else (experts[k], *own[1:])
            calls.append((self.terms.is_small, fold, task.rows.classes, *given))
        told = task.report.steps([f"{self.names[k]} on fold 1" for k in numbers])
        found = task.recipe.run_fits(looked, calls, told)
        for k, look in zip(numbers, found, strict=True):
            check_finite(look.answer, self.names[k])
            self.charged += look.seconds
        return dict(zip(numbers, found, strict=True))

    def _of_looks(self):
        """The ``OutOfFold`` of what members make of the first fold."""
        numbers = list(self.looks)
        own = self.seen.of_experts(numbers).with_folds([self.fold])
        own.parts = {(j, 0): self.looks[k].answer for j, k in enumerate(numbers)}
        return own

    def _worth_it(self, seen, numbers, gain):
        """Those of the members ``numbers``, whom ``seen`` is of, that earn their cost.

        The one that is missed least, for its price, goes first.
        """
        blend, kept = Blend(seen), list(range(len(numbers)))
        while len(kept) > 1:
            least = blend.loss(kept)
            saved = {
                k: blend.loss([j for j in kept if j != k])
                - (1.0 + gain * self._price(numbers[k])) * least
                for k in kept
                if not self._stays(numbers[k])
            }
            idle = min(saved, key=saved.get, default=None)
            if idle is None or saved[idle] > 0:
                break
            kept.remove(idle)
            self.reasons[self.names[numbers[idle]]] = IDLE
        return [numbers[k] for k in kept]

    def _stays(self, k):
        """Whether a member stays whatever it earns: where budgets decide, some do."""
        return self.terms.is_bounded and self.names[k] in self.terms.always

    def _small_enough(self, kept):
        """Members that memory and time of a row have room for together."""
        blend, numbers = Blend(self._of_looks()), list(self.looks)
        kept = list(kept)
        while len(kept) > 1 and self._over(kept) > 1:
            optional = [k for k in kept if not self._stays(k)]
            if not optional:
                break
            rises = []
            for k in optional:
                others = [j for j in kept if j != k]
                saved = self._over(kept) - self._over(others)
                rise = blend.loss([numbers.index(j) for j in others])
                rises.append(rise / max(saved, 1e-9))
            least = optional[int(np.argmin(rises))]
            kept.remove(least)
            self.reasons[self.names[least]] = self._too_large(least)
        return kept

    def _over(self, numbers):
        """How much members take of what they may: the larger share."""
        pairs = [
            (sum(self.looks[k].memory for k in numbers), self.terms.max_memory),
            (sum(self.looks[k].latency for k in numbers), self.terms.max_latency),
        ]
        return max([took / most for took, most in pairs if most], default=0.0)

    def _too_large(self, k):
        look, terms, said = self.looks[k], self.terms, []
        if terms.max_memory is not None:
            said.append(f"{look.memory:.2g} MB with max_memory={terms.max_memory:g}")
        if terms.max_latency is not None:
            said.append(f"{look.latency:.2g} ms with max_latency={terms.max_latency:g}")
        return "takes " + " and ".join(said)

    def _settled(self, kept):
        """An ``OutOfFold`` of members, with what they make of the first fold."""
        finals = {k: self.terms.finals.get(self.names[k]) for k in kept}
        final = [k for k in kept if finals[k] or not self.is_whole]
        # What some of the rows say of the length of training is too little for all.
        experts = {
            k: clone(self.recipe.experts[k]).set_params(**finals[k] or {})
            for k in final
        }
        whole = self._look(final, self.seen.folds[0], experts) if final else {}
        self.looks |= whole
        self.fold, self.is_settled = self.seen.folds[0], True
        looks = [self.looks[k] for k in kept]
        own = self.seen.of_experts(kept).with_experts([look.expert for look in looks])
        own.parts = {(j, 0): look.answer for j, look in enumerate(looks)}
        return own

    def _fit_folds(self, seen, kept):
        """Folds one after another, until the gate has rows enough.

        Returns the ``OutOfFold`` and the numbers of the members that go through all.
        """
        for number in range(1, len(seen.folds)):
            if self._has_enough(seen.folds[:number], kept):
                seen.folds = seen.folds[:number]
                break
            if number > 1:
                seen, kept = self._left(seen, kept, FIRST_GAIN)
            seen.fit([number])
            self.charged += sum(map(self._seconds, kept))
        return seen, kept

    def _left(self, seen, kept, gain):
        """The same of the members that earn their cost."""
        again = self._worth_it(seen, kept, gain)
        return seen.of_experts([kept.index(k) for k in again]), again

    def _has_enough(self, folds, kept):
        if is_splitter(self.seen.cv) or len(folds) < FEWEST_FOLDS:
            return False
        # Another fold, and all rows, which are more than those of a fold.
        is_bounded, to_come = self.terms.max_time is not None, 1.5 * self._to_come(kept)
        if is_bounded and self._time_left() < to_come:
            return True
        classes = self.seen.task.rows.classes
        enough = ENOUGH_VALUES if classes is None else ENOUGH_CLASSES
        return sum(len(test) for _, test in folds) >= enough

    def has_room(self, kept):
        """Whether budgets leave room for corrections by trees."""
        if self.terms.is_small:
            return False
        if self.terms.max_time is None:
            return True
        unit = self._unit() * self._growth()
        price = 4 * CORRECTION_PRICE * len(kept) * unit
        return price + self._to_come(kept) / FEWEST_FOLDS < self._time_left()

    def _price(self, k):
        return self.terms.prices.get(self.names[k], 1.0)

    def _unit(self):
        """CPU seconds of a price of one on the rows looked at."""
        if not self.looks:
            return 0.0
        told = [k for k in self.looks if self._tells(k)]
        seconds = sum(self.looks[k].seconds for k in told)
        return seconds / max(sum(map(self._price, told)), 1e-9)

    def _tells(self, k):
        """Whether a look at a member tells what later fits of it take."""
        return self.is_settled or self.names[k] not in self.terms.finals

    def _growth(self):
        """Rows of a fold over those looked at."""
        return len(self.seen.folds[0][0]) / len(self.fold[0])

    def _seconds(self, k):
        """CPU seconds of a fit of a member to a fold."""
        if k in self.looks and self._tells(k):
            return self.looks[k].seconds * self._growth()
        return self._price(k) * self._unit() * self._growth()

    def _to_come(self, numbers):
        """CPU seconds of members on as many folds as there have to be, and all rows."""
        return FEWEST_FOLDS * sum(self._seconds(k) for k in numbers)

    def _time_left(self):
        # Other processes do not count in the time of this one.
        spent = max(time.process_time() - self.begun, self.charged)
        return (1.0 - RESERVE) * self.terms.max_time - spent

    def unkept(self, experts, seconds):
        """What became of budgets, in a sentence, or None where all is well.

        Parameters
        ----------
        experts : list of fitted experts
        seconds : float, CPU time of the fit in this process
        """
        took = {
            "max_time": (max(seconds, self.charged), "CPU seconds"),
            "max_memory": (1e-6 * len(pickle.dumps(experts)), "MB"),
            "max_latency": (self._latency, "ms a row"),
        }
        over = [
            f"{name}={getattr(self.terms, name):g} was not kept ({spent:.2g} {unit})"
            for name, (spent, unit) in took.items()
            if spent > (getattr(self.terms, name) or np.inf)
        ]
        left = [name for name, why in self.reasons.items() if why != IDLE]
        said = [f"left out {', '.join(left)}"] if left else []
        if not said + over:
            return None
        return (
            f"AutoPool {' and '.join(said + over)}; {' and '.join(self.terms.always)} "
            "always stay, so raise what it may take, or fit to fewer rows."
        )


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


def _thinned(fold, seed):
    """The fold, or so many of its rows as a first look takes."""
    draw = np.random.RandomState(seed)
    parts = [
        part if len(part) <= most else np.sort(draw.choice(part, most, replace=False))
        for part, most in zip(fold, (MOST_LOOKED_AT, MOST_LOOKED_AT), strict=True)
    ]
    whole = all(own is part for own, part in zip(parts, fold, strict=True))
    return fold if whole else tuple(parts)
