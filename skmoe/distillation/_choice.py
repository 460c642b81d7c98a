"""The cheapest student that is about as good as its teacher on rows held out."""

import time
from functools import partial
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from .._sklearn import safe_indexing
from .._warnings import heard
from ..experts._foreign import fit_expert
from ..trainers._folds import checked_folds, draw_folds, is_splitter
from ._report import Candidate, Distilled
from ._students import students

# A price is the least of so many measurements, on at most so many rows.
N_MEASURED, MOST_MEASURED = 5, 1000
LEAST_SECONDS = 1e-9


class Judged(NamedTuple):
    """What a model was worth on the held-out rows of a fold, or why it was not."""

    losses: np.ndarray | None
    row_seconds: float = np.nan
    batch_seconds: float = np.nan
    failed: str | None = None


def choose_student(pupils, tolerance, cv, n_jobs, verbose):
    """A student fitted to all rows; its ``distilled_`` says why it was chosen.

    The teacher is fitted again without the rows of each fold, and students to what
    these teachers say; both are compared on the rows that neither has seen.
    """
    say = print if verbose else _say_nothing
    classes = np.unique(pupils.y) if pupils.classify else None
    if is_splitter(cv):
        splits = cv.split(pupils.X, pupils.y)
        folds = checked_folds(splits, len(pupils.y), f"distill got cv={cv!r}")
    else:
        folds = draw_folds(pupils.y, classes, cv, pupils.seed)
    run = partial(_in_parallel, n_jobs)
    teachers = run(_held_out_teacher, [(pupils, *fold) for fold in folds])
    misses = _misses(pupils, folds, teachers)
    scale = _scale(pupils)
    judged = [own for _, own in teachers]
    compared = {"teacher": _candidate("teacher", pupils, folds, judged, scale)}
    say(f"[distill] teacher: {_in_short(compared['teacher'])}")
    models = students(pupils.X, pupils.classify, pupils.seed)
    for name, model in models.items():
        calls = [
            (pupils, model, own, misses, *fold)
            for (own, _), fold in zip(teachers, folds, strict=True)
        ]
        judged = run(_held_out_student, calls)
        compared[name] = _candidate(name, pupils, folds, judged, scale)
        say(f"[distill] {name}: {_in_short(compared[name])}")
    teacher, *candidates = compared.values()
    chosen = cheapest_within(candidates, teacher, tolerance)
    metric = "log-loss" if pupils.classify else "RMSE"
    student, _ = heard(_taught, models[chosen.name], pupils, pupils.teacher, misses)
    student.distilled_ = Distilled(chosen, teacher, metric, tolerance, candidates)
    say(f"[distill] {student.distilled_}")
    return student


def cheapest_within(candidates, teacher, tolerance):
    """The cheapest of those about as good as the teacher, else the best of all."""
    fitted = [own for own in candidates if own.failed is None]
    if not fitted:
        reasons = "; ".join(f"{own.name}: {own.failed}" for own in candidates)
        raise ValueError(
            f"distill got X and y to which none of its students could be fitted "
            f"({reasons}); give the student."
        )
    most = (1 + tolerance) * teacher.loss
    good = [own for own in fitted if own.loss <= most]
    if good:
        return min(good, key=lambda own: own.row_seconds)
    return min(fitted, key=lambda own: own.loss)


def _in_parallel(n_jobs, function, calls):
    """Results of calls, whose warnings are kept back: losses show what they mean."""
    found = Parallel(n_jobs=n_jobs)(delayed(heard)(function, *own) for own in calls)
    return [result for result, _ in found]


def _say_nothing(_):
    pass


def _in_short(own):
    if own.failed is not None:
        return own.failed
    return f"loss {own.loss:.4g}, {1e3 * own.row_seconds:.3g} ms for one row"


def _held_out_teacher(pupils, train, test):
    """A teacher that has not seen the rows to test, and what it is worth there."""
    teacher = pupils.take(train).fit(pupils.teacher)
    return teacher, _judge(teacher, pupils.take(test))


def _held_out_student(pupils, model, teacher, misses, train, test):
    """What a student of a teacher is worth on rows that neither has seen."""
    own = None if misses is None else misses[train]
    try:
        student = _taught(model, pupils.take(train), teacher, own)
    except ValueError as error:
        return Judged(None, failed=str(error))
    return _judge(student, pupils.take(test))


def _taught(model, pupils, teacher, misses):
    lesson = pupils.teach(teacher, misses)
    return fit_expert(model, *lesson, pupils.seed)


def _judge(model, pupils):
    answer = model.predict_proba if pupils.classify else model.predict
    n_rows = min(len(pupils.y), MOST_MEASURED)
    one, many = (safe_indexing(pupils.X, np.arange(n)) for n in (1, n_rows))
    seconds = _seconds(answer, one), _seconds(answer, many) / n_rows
    return Judged(pupils.losses(model), *seconds)


def _seconds(answer, X):
    """CPU seconds of a prediction, the least of several."""
    spent = []
    for _ in range(N_MEASURED):
        begun = time.process_time()
        answer(X)
        spent.append(time.process_time() - begun)
    return max(min(spent), LEAST_SECONDS)


def _misses(pupils, folds, teachers):
    """By how much teachers miss each row that they have not seen; None for classes."""
    if pupils.classify:
        return None
    misses = np.full(pupils.y.shape, np.nan)
    for (_, test), (_, judged) in zip(folds, teachers, strict=True):
        misses[test] = np.sqrt(judged.losses)
    # A splitter may leave rows out.
    return np.where(np.isnan(misses), np.nanmedian(misses, axis=0), misses)


def _scale(pupils):
    """What losses are divided by: variances of outputs, if these are several."""
    if pupils.y.ndim == 1 or pupils.y.shape[1] == 1:
        return 1.0
    mean = np.average(pupils.y, axis=0, weights=pupils.weight)
    spread = np.average((pupils.y - mean) ** 2, axis=0, weights=pupils.weight)
    return np.where(spread > 0, spread, 1.0)


def _candidate(name, pupils, folds, judged, scale):
    """A candidate by what it was worth in all folds."""
    failed = next((own.failed for own in judged if own.failed), None)
    if failed is not None:
        return Candidate(name, np.nan, np.nan, np.nan, failed)
    losses = np.concatenate([own.losses for own in judged]) / scale
    weight = np.concatenate([pupils.weight[test] for _, test in folds])
    loss = np.average(losses.reshape(len(weight), -1).mean(axis=1), weights=weight)
    prices = np.median([own[1:3] for own in judged], axis=0)
    loss = float(loss if pupils.classify else np.sqrt(loss))
    return Candidate(name, loss, *map(float, prices))
