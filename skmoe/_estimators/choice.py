"""How many experts pay, by rows that are held out: ``n_experts="auto"``."""

from typing import NamedTuple

import numpy as np

from .. import mixture
from .._numerics.curves import Bins
from .._numerics.design import make_design
from .._warnings import unheard
from ..trainers._folds import draw_folds
from ..trainers._partitions import content_hash
from ..trainers._rows import is_numbers
from ..trainers._task import Report
from .answers import FittedMixture, Seen, of_subjects
from .parts import BOUND
from .training import kept_of, parts_of_size, told_by

# Sizes that are tried beside one expert, the largest first.
SIZES = (BOUND, 2)
# Those under a gate that is the same for all rows, each beside the best so far: no row
# says which expert is its own, so that needless ones hardly lose their rows.
GROWING = (2, 3, BOUND)
# Distinct rows up to which each is held out once, and in how many parts.
FEW_ROWS, N_FOLDS = 2000, 3
# Of more rows one part of so many is held out, and so many rows are looked at.
N_PARTS, MOST_ROWS = 2, 20_000
# With fewer distinct rows there is nothing to hold out.
LEAST_ROWS = 30
# Standard errors by which more experts must be ahead in the end, and by which the
# matter is clear before all rows are scored.
ERRORS, CLEAR = 1.0, 3.0
# Nats a row that training leaves open, which are no gain.
LEAST_GAIN = 1e-4
# By how much squared errors may surely rise: two per cent of their root.
SLACK = 0.04
# Gains beyond are as good as infinite; their squares are numbers.
LARGEST_GAIN = 1e100
PAYS, OPEN, FAILS = 1, 0, -1


class Losses(NamedTuple):
    """Losses of held-out rows under one size.

    Attributes
    ----------
    density : (m,) minus log-densities, in nats
    square : (m,) squared errors in units of the variance of y, or None for classes
    n_left : int, experts that kept their rows in training
    refused : str, why there are none; empty where there are
    """

    density: np.ndarray
    square: np.ndarray | None
    n_left: int
    refused: str = ""


class HeldOut:
    """Mixtures of several sizes, each trained on some rows and scored on others.

    Parameters
    ----------
    task : Task, of as many experts as there may be
    parts : ResolvedParts, of as many
    target : ValueTarget or ClassTarget

    Attributes
    ----------
    splits : list of pairs of row numbers, to train and to score on
    routes : bool, whether the gate reads anything, without which the mean of more
        experts is about that of one
    """

    def __init__(self, task, parts, target):
        self.task, self.parts, self.target = task, parts, target
        self.groups = content_groups(task.rows)
        self.splits = known_classes(task.rows, splits_of(task.rows, self.groups))
        self.routes = parts.gate.node_gate.columns_read(task.rows.gate_view) != []
        self._known = {}

    def losses(self, size, number):
        """``Losses`` of the held-out rows of a split."""
        if (size, number) not in self._known:
            own = parts_of_size(self.parts, size)
            task = self.task.of_experts(kept_of(self.parts, size))
            task = task.with_recipe(router=own.router)
            try:
                with unheard():
                    found = self._scored(own.trainer, task, *self.splits[number])
            except ValueError as error:
                # Some of the rows may be too few for the parts; all need not be.
                found = Losses(np.empty(0), None, 0, str(error))
            self._known[size, number] = found
        return self._known[size, number]

    def _scored(self, trainer, task, train, test):
        own, rows = task.on_rows(train), task.rows.on_rows(test)
        brief = trainer.brief(own.recipe)
        fit = brief.fit(own.rows, own.recipe, own.start, Report())
        router = task.recipe.router if fit.router is None else fit.router
        fitted = FittedMixture(
            fit.gate,
            router.resized(len(fit.kept)),
            fit.experts,
            fit.likelihoods,
            views=None,
            shared=None,
            target=self.target,
            n_jobs=task.recipe.n_jobs,
        )
        views = [rows.expert_views[k] for k in fit.kept]
        seen = Seen(rows.gate_view, views, rows.log_prior, rows.size)
        density = -_each_row(rows, *fitted.log_parts(seen, rows.y))
        n_left = int(np.sum(~fitted.is_bare()))
        if rows.classes is not None:
            return Losses(density, None, n_left)
        parts = fitted.explained(seen)
        mean = mixture.mean(parts.weights, parts.means())
        return Losses(density, self._squares(mean, rows), n_left)

    def _squares(self, mean, rows):
        """Squared errors (m,) of means (m, d)."""
        whole = self.task.rows
        center = np.average(whole.y, axis=0, weights=whole.weight)
        spread = np.average((whole.y - center) ** 2, axis=0, weights=whole.weight)
        squares = (rows.y - mean) ** 2 / np.where(spread > 0, spread, 1.0)
        return squares.sum(axis=1)

    def constant(self, number):
        """Losses (m,) of the held-out rows of a split without any column.

        Squared errors of the mean, or minus the logarithms of the classes' shares.
        """
        train, test = (self.task.rows.on_rows(part) for part in self.splits[number])
        if train.classes is not None:
            share = np.bincount(train.y, train.weight)
            return -np.log(share[test.y] / share.sum())
        sizes = [
            np.ones(len(part)) if part.size is None else part.size
            for part in (train, test)
        ]
        rate = (train.weight @ train.y) / (train.weight @ sizes[0])
        return self._squares(sizes[1][:, None] * rate, test)

    def trial(self, size, beside=1):
        """Whether so many experts pay beside fewer, as an entry of the record.

        Splits are scored one after another, until the matter is clear.
        """
        entry = {"n_experts": size, "beside": beside, "pays": False}
        state = OPEN
        for number in range(len(self.splits)):
            for own in (beside, size):
                if refused := self.losses(own, number).refused:
                    return {**entry, "refused": refused}
            gains, left = self.gains(size, beside, number + 1)
            entry |= {"n_left": left, **gains._asdict()}
            state = gains.state(CLEAR)
            if state != OPEN:
                break
        state = gains.state(ERRORS) if state == OPEN else state
        return {**entry, "pays": state == PAYS}

    def gains(self, size, beside, n_splits):
        """``Gains`` of the rows of the first splits, and the most experts left."""
        rows = np.concatenate([test for _, test in self.splits[:n_splits]])
        few, more = (
            [self.losses(own, number) for number in range(n_splits)]
            for own in (beside, size)
        )
        left = max(own.n_left for own in more)
        weight, groups = self.task.rows.weight[rows], self.groups[rows]

        def joined(found, name):
            return np.concatenate([own._asdict()[name] for own in found])

        def gain(name, before=None):
            before = joined(few, name) if before is None else before
            return paired(before, joined(more, name), weight, groups)

        constant = np.concatenate([self.constant(k) for k in range(n_splits)])
        if few[0].square is None:
            over, _ = gain("density", constant)
            return Gains(len(rows), over, *gain("density")), left
        over, _ = gain("square", constant)
        slack = np.inf
        if self.routes:
            slack = SLACK * float(weight @ joined(few, "square") / weight.sum())
        return Gains(len(rows), over, *gain("density"), *gain("square"), slack), left


def _each_row(rows, log_gate, log_prob):
    """Log-densities (n,); that of a subject is shared out among its rows."""
    subjects = rows.subjects
    density = mixture.log_density(*of_subjects(log_gate, log_prob, subjects))
    return subjects.spread(density / subjects.total(subjects.share))


class Gains(NamedTuple):
    """What held-out rows gain by more experts, in means of rows.

    Attributes
    ----------
    n_rows : int
    over_constant : float, fall of the squared errors of the mean of y, or gain in
        log-density over the shares of the classes
    density, error : float, gain in log-density, and its standard error
    square, noise : float, fall of the squared errors, and its standard error
    slack : float, by how much these may rise: however much under a gate that reads
        nothing
    """

    n_rows: int
    over_constant: float
    density: float
    error: float
    square: float = 0.0
    noise: float = 0.0
    slack: float = 0.0

    def state(self, errors):
        """Whether the gain is more than noise, none, or open.

        Log-densities decide; squared errors must surely not rise by more than the
        slack, and a constant must not be ahead.
        """
        sure = self.square - self.noise >= -self.slack
        sure = sure and self.over_constant >= -self.slack
        if self.density > max(errors * self.error, LEAST_GAIN) and sure:
            return PAYS
        lost = self.density < 0.0 or self.square + self.noise < -self.slack
        return FAILS if lost else OPEN


def paired(before, after, weight, groups):
    """Mean of what losses (m,) fall by, and its standard error over distinct rows.

    Equal rows are one, so that a row of weight two is the row twice.
    """
    with np.errstate(invalid="ignore"):
        gain = np.nan_to_num(before - after, nan=0.0, posinf=np.inf, neginf=-np.inf)
    gain = np.clip(gain, -LARGEST_GAIN, LARGEST_GAIN)
    share = weight / weight.sum()
    mean = float(share @ gain)
    sums = np.bincount(groups, share * (gain - mean))
    return mean, float(np.sqrt(np.sum(sums**2)))


def choose(task, parts, target, tell):
    """How many experts pay: a record, which ``history_`` keeps.

    Parameters
    ----------
    task : Task, of as many experts as there may be
    parts : ResolvedParts, of as many
    target : ValueTarget or ClassTarget
    tell : callable(text)

    Returns
    -------
    dict
        ``chosen``; ``at_most``; ``candidates``, the sizes that were tried;
        ``compared``, for each but one a dict with ``n_experts``, whether these ``pays``
        ``beside`` how many, and either ``n_left`` of them, and what ``Gains`` holds, or
        why a trial was ``refused``; and the ``reason`` in words.
    """
    held, compared = HeldOut(task, parts, target), []
    chosen, reason = 1, "there are too few rows to hold some out"
    if held.splits:
        compared = tried(held)
        paid = [own for own in compared if own["pays"]]
        chosen = paid[-1]["n_left"] if paid else 1
        reason = reason_of(compared)
    record = {
        "chosen": chosen,
        "at_most": BOUND,
        "candidates": sorted({1, *(own["n_experts"] for own in compared)}),
        "compared": compared,
        "reason": reason,
    }
    tell(told(record))
    return record


def tried(held):
    """Entries of the sizes that were tried; the last one that pays is the best."""
    compared, best = [], 1
    for size in SIZES if held.routes else GROWING:
        compared.append(held.trial(size, best))
        if compared[-1]["pays"]:
            best = size
        if held.routes and best > 1:
            break
    return compared


def reason_of(compared):
    """Why so many, in words."""
    if any(own["pays"] for own in compared):
        return "held-out rows gain by them"
    if all("refused" in own for own in compared):
        return f"trials on some of the rows were refused: {compared[-1]['refused']}"
    return "held-out rows gain nothing by more"


def told(record):
    """The choice in words."""
    compared = [
        f"{own['n_experts']} gain {own['density']:+.4f} nats a row over "
        f"{own['beside']}, standard error {own['error']:.4f}"
        for own in record["compared"]
        if "density" in own
    ]
    chosen = f"{record['chosen']} of at most {record['at_most']} experts"
    scores = f" ({'; '.join(compared)})" if compared else ""
    return f"n_experts='auto': {chosen}, as {record['reason']}{scores}"


def content_groups(rows):
    """Numbers (n,) of distinct rows, equal where rows are, in an order of their own.

    Where a part reads what is neither numbers nor bins, each row is one.  Rows of a
    subject have its number, subjects of equal rows the same.
    """
    views = {id(v): v for v in (rows.gate_view, *rows.expert_views)}
    subjects = rows.subjects
    if not all(isinstance(v, Bins) or is_numbers(v) for v in views.values()):
        return subjects.spread(np.arange(len(subjects)))
    y = rows.y.reshape(len(rows), -1).astype(float)
    keys = [_key(view, rows.weight) for view in (*views.values(), y)]
    # Sums of so few bits are exact, in any order of the rows.
    content = subjects.total(content_hash(np.column_stack(keys)))
    return subjects.spread(np.unique(content, return_inverse=True)[1])


def _key(view, weight):
    """A number (n,) for each row of a view, whatever the units of its columns, and
    whatever columns without spread are among them."""
    if isinstance(view, Bins):
        return _told_apart(np.ptp(view.codes, axis=1) > 0) @ view.codes
    scale = make_design(view, weight).inverse_scale
    return view @ (_told_apart(scale > 0) * scale)


def _told_apart(counts):
    """Irrational coefficients (p,) of the columns that count, zeros of others."""
    out = np.zeros(len(counts))
    out[counts] = np.sqrt(np.arange(2, counts.sum() + 2))
    return out


def splits_of(rows, groups):
    """Training and held-out rows of each split; equal rows stay together."""
    if rows.folds is not None:
        # Who belongs together is known.
        return rows.folds
    n_groups = groups.max() + 1
    if n_groups < LEAST_ROWS:
        return []
    labels = np.zeros(n_groups)
    if rows.classes is not None:
        np.maximum.at(labels, groups, rows.y)
    n_folds = N_FOLDS if n_groups <= FEW_ROWS else N_PARTS
    folds = draw_folds(labels[:MOST_ROWS], rows.classes, n_folds, 0)
    folds = folds if n_groups <= FEW_ROWS else folds[:1]
    return [_of_groups(groups, n_groups, fold) for fold in folds]


def _of_groups(groups, n_groups, fold):
    """Rows of two lists of groups."""
    found = []
    for part in fold:
        taken = np.zeros(n_groups, dtype=bool)
        taken[part] = True
        found.append(np.flatnonzero(taken[groups]))
    return tuple(found)


def known_classes(rows, splits):
    """Splits without held-out rows whose class no training row has."""
    if rows.classes is None:
        return splits
    kept = []
    for train, test in splits:
        known = test[np.isin(rows.y[test], rows.y[train])]
        if len(known):
            kept.append((train, known))
    return kept


def sized(model, parts, task, views, target):
    """Parts, task and views of as many experts as pay, and the record of the choice.

    Parameters
    ----------
    model : mixture, which may want to be told
    parts : ResolvedParts, of as many experts as there may be
    task : Task
    views : Views
    target : ValueTarget or ClassTarget
    """
    record = choose(task, parts, target, told_by(model))
    size = record["chosen"]
    kept, own = kept_of(parts, size), parts_of_size(parts, size)
    task = task.of_experts(kept).with_recipe(router=own.router)
    return own, task, views.only(kept), record
