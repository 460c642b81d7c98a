"""Which members of a pool are trained, and on how many folds: what each one earns.

All members look at one fold.  Those without which the best blend would err hardly more,
for what they cost, are spared the others; so are folds once the gate has rows enough.
"""

import pickle
import time
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from .._folds import is_splitter
from .looks import Blend, looked
from .out_of_fold import OutOfFold, arguments, check_finite

# Share of the loss that a member has to save for each unit of its price: to be fitted
# to more folds than the first, and to be kept.
FIRST_GAIN, LAST_GAIN = 1e-3, 2.5e-4
# Rows that a first look trains on, and is judged by, at most.
MOST_LOOKED_AT = 5000
# Rows left out by which gate and corrections are fitted well: of values, and of
# classes, which say less; and folds that this takes at least.
ENOUGH_VALUES, ENOUGH_CLASSES, FEWEST_FOLDS = 1800, 4000, 2
# Rows left out by which members are judged: fewer say too little.
FEWEST_JUDGED = 25
# Share of a budget of time that is left for the gate.
RESERVE = 0.15
# Boosted trees that correct an answer, over those that give one, in CPU time.
CORRECTION_PRICE = 0.5
IDLE = "adds nothing to the others"


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
        self.seen, self.begun = seen.with_folds(_most_telling_first(seen)), begun
        self.recipe = seen.task.recipe
        self.terms, self.names = self.recipe.pool, self.recipe.names
        self.looks, self.reasons = {}, {}
        self.charged = self._latency = 0.0
        self.fold = _thinned(self.seen.folds[0], self.recipe.seed)
        self.is_whole, self.is_settled = self.fold is self.seen.folds[0], False
        # So few rows say nothing of who is missed.
        self.judges = len(self.fold[1]) >= FEWEST_JUDGED

    def grown(self):
        """The members that stay, as ``Grown``."""
        self._look_at_members()
        kept, looked_at = list(self.looks), self._of_looks()
        if self.judges:
            kept = self._worth_it(looked_at, kept, FIRST_GAIN)
            kept = self._small_enough(kept, looked_at, list(self.looks))
        seen = self._settled(kept)
        if self.judges:
            # Averages, and members that grow with the rows, are larger than they were.
            small = self._small_enough(kept, seen, kept)
            seen, kept = seen.of_experts([kept.index(k) for k in small]), small
        seen, kept = self._fit_folds(seen, kept)
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
        task, found = self.seen.task, {}
        experts = self.recipe.experts if experts is None else experts
        # Beside others a member would be charged with what these take.
        groups = [[k] for k in numbers] if self.terms.is_bounded else [numbers]
        for group in groups:
            calls = [
                (
                    self.terms.is_small,
                    fold,
                    task.rows.classes,
                    experts[k],
                    *arguments(task, k)[1:],
                )
                for k in group
            ]
            told = task.report.steps([f"{self.names[k]} on fold 1" for k in group])
            looks = task.recipe.run_fits(looked, calls, told)
            found |= dict(zip(group, looks, strict=True))
        for k, look in found.items():
            check_finite(look.answer, self.names[k])
            self.charged += look.seconds
        return found

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

    def _small_enough(self, kept, seen, numbers):
        """Members that memory and time of a row have room for together.

        ``seen`` is of the members ``numbers``, those that are kept among them.
        """
        if self._over(kept) <= 1:
            return kept
        blend, kept = Blend(seen), list(kept)
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
            if self.judges and number > 1:
                seen, kept = self._left(seen, kept, FIRST_GAIN)
            seen.fit([number])
            self.charged += sum(map(self._seconds, kept))
        return seen, kept

    def _left(self, seen, kept, gain):
        """The same of the members that earn their cost."""
        again = self._worth_it(seen, kept, gain)
        return seen.of_experts([kept.index(k) for k in again]), again

    def _has_enough(self, folds, kept):
        if len(folds) < FEWEST_FOLDS:
            return False
        # Another fold, and all rows, which are more than those of a fold.
        is_bounded, to_come = self.terms.max_time is not None, 1.5 * self._to_come(kept)
        if is_bounded and self._time_left() < to_come:
            return True
        if is_splitter(self.seen.cv):
            return False
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
        terms, size = self.terms, 0.0
        if terms.max_memory is not None:
            size = 1e-6 * len(pickle.dumps(experts))
        took = [
            ("max_time", terms.max_time, max(seconds, self.charged), "CPU seconds"),
            ("max_memory", terms.max_memory, size, "MB"),
            ("max_latency", terms.max_latency, self._latency, "ms a row"),
        ]
        over = [
            f"{name}={most:g} was not kept ({spent:.2g} {unit})"
            for name, most, spent, unit in took
            if most is not None and spent > most
        ]
        left = [name for name, why in self.reasons.items() if why != IDLE]
        said = [f"left out {', '.join(left)}"] if left else []
        if not said + over:
            return None
        always = [name for name in terms.always if name in self.names]
        stay = f"{' and '.join(always)} stay whatever they take, so " if always else ""
        return (
            f"AutoPool {' and '.join(said + over)}; {stay}raise what it may take, or "
            "fit to fewer rows."
        )


def _most_telling_first(seen):
    """The folds, that with the most training rows, of several classes, in front."""
    labels, classes = seen.task.rows.labels, seen.task.rows.classes

    def tells(fold):
        train, test = fold
        several = classes is None or np.any(labels[train] != labels[train[0]])
        return several, len(test) >= FEWEST_JUDGED, len(train)

    first = max(range(len(seen.folds)), key=lambda f: tells(seen.folds[f]))
    return [seen.folds[first], *seen.folds[:first], *seen.folds[first + 1 :]]


def _thinned(fold, seed):
    """The fold, or so many of its rows as a first look takes."""
    draw, most = np.random.RandomState(seed), MOST_LOOKED_AT
    if max(map(len, fold)) <= most:
        return fold
    return tuple(
        part if len(part) <= most else np.sort(draw.choice(part, most, replace=False))
        for part in fold
    )
