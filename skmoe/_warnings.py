"""Warnings that name the user's line, and are said once per fit."""

import concurrent.futures
import contextlib
import copy
import functools
import multiprocessing
import pickle
import re
import sys
import threading
import warnings
from os.path import dirname, join

import joblib
import numba
import numpy as np
import scipy
import sklearn
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning

from .exceptions import ExpertCollapseWarning, NoSampleWeightWarning

# Folders, and files, of those through whom a user calls: nothing there is to be mended.
_PACKAGES = (joblib, numba, np, scipy, sklearn, concurrent.futures, multiprocessing)
_MODULES = (contextlib, copy, functools, pickle, threading, threadpoolctl)
BETWEEN = (
    join(dirname(__file__), ""),
    *(join(dirname(str(package.__file__)), "") for package in _PACKAGES),
    *(module.__file__ for module in _MODULES),
    "<frozen ",
)


def warn(message, category=UserWarning):
    """Issue a warning at the line of the user's code that led to it.

    In a thread that no code of the user's has started, this is where the main thread
    is; in another process, where skmoe was entered.
    """
    own = sys._getframe(1)
    main = sys._current_frames().get(threading.main_thread().ident)
    frame = _users_frame(own) or _users_frame(main) or _entered(own)
    if issubclass(category, ONCE_A_LINE) and _is_said(frame, message, category):
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__", "<unknown>"),
        registry=registry,
    )


# One is enough for each line of the user's, whichever experts it names: a search over
# the number of experts would say it at each of its fits.
ONCE_A_LINE = (ExpertCollapseWarning,)
_said: set[tuple] = set()


def _is_said(frame, message, category):
    """Whether a line has led to a warning of a kind before, in this process.

    Python's own memory of that is lost whenever filters change, as they do in each fit.
    A filter that somebody has set has the last word.
    """
    place = frame.f_code.co_filename, frame.f_lineno
    module = frame.f_globals.get("__name__", "<unknown>")
    if _action(message, category, module, place[1]) != "default":
        return False
    known = (category, *place) in _said
    _said.add((category, *place))
    return known


def _action(message, category, module, line):
    """What the filters of this process say of a warning."""
    for action, text, kind, name, number in warnings.filters:
        fits = issubclass(category, kind) and number in (0, line)
        if fits and all(
            own is None or own.match(what)
            for own, what in ((text, str(message)), (name, module))
        ):
            return action
    return "default"


def _callers(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


def _users_frame(frame):
    """The innermost frame that is none of a library's, or None."""
    callers = (f for f in _callers(frame) if not _is_between(f))
    return next(callers, None)


def _is_between(frame):
    return frame.f_code.co_filename.startswith(BETWEEN)


def _entered(frame):
    """The outermost frame of this package."""
    own = [f for f in _callers(frame) if f.f_code.co_filename.startswith(BETWEEN[0])]
    return own[-1] if own else frame


# For developers rather than for users, who would see them at their own line.
TECHNICAL = (
    DeprecationWarning,
    PendingDeprecationWarning,
    ImportWarning,
    ResourceWarning,
)


# Of parts that the user has not chosen himself, whose author alone could heed them.
OF_AUTHOR = (ConvergenceWarning, DataConversionWarning, ExpertCollapseWarning)
OF_AUTHOR_WORDS = ("n_quantiles", "The number of unique classes")
# How a mixture begins that is given weights which are little beside its penalties.
OF_WEIGHTS = "sample_weight sums to"


def of_trainer(category, text):
    """Whether a warning is about weights that are responsibilities, not the user's."""
    return text.startswith(OF_WEIGHTS)


def of_author(category, text):
    """Whether only the author of a pool's member could heed a warning.

    Whether a member converged, or a mixture among them lost an expert, shows in the
    loss of its predictions, by which the gate judges it.
    """
    author = issubclass(category, OF_AUTHOR) or text.startswith(OF_AUTHOR_WORDS)
    return author or of_trainer(category, text)


# Those that are one, whichever experts they name: sizes of a search have others.
OF_ONE_KIND = (NoSampleWeightWarning,)
# What a fit within another one has counted.
SAID = re.compile(r" \(said (\d+) times by parts of this fit\)$")


class _Listener(threading.local):
    """Takes the warnings of the calls of a thread, each counted.

    It stands in a filter in place of a category, so that all warnings of a thread that
    listens are shown, and is shown them.  ``catch_warnings`` would not do: it swaps
    what belongs to the whole process, and threads that leave in another order than
    they came restore the wrong filters.
    """

    def __init__(self):
        self.heard = None

    def __reduce__(self):
        return "_listener"

    def __subclasscheck__(self, category):
        return self.heard is not None and not issubclass(category, TECHNICAL)

    def take(self, category, text):
        """Count a warning; false if nobody listens."""
        if not issubclass(category, self):
            return False
        said = SAID.search(text)
        text = text[: said.start()] if said else text
        # The same words about other numbers are the same warning; names are words.
        words = re.sub(r"(?<!\w)[-+.\d]*\d(e[-+]?\d+)?", "#", text)
        key = category, "" if issubclass(category, OF_ONE_KIND) else words
        first, count = self.heard.get(key, (text, 0))
        self.heard[key] = first, count + (int(said[1]) if said else 1)
        return True


class _Process:
    """What is in force while calls of this process listen."""

    def __init__(self):
        self.lock, self.depth, self.show = threading.Lock(), 0, warnings.showwarning

    def enter(self):
        """Put filter and display in their places, from which others may take them."""
        with self.lock:
            self.depth += 1
            if _FILTER not in warnings.filters:
                warnings.filters.insert(0, _FILTER)
            if warnings.showwarning is not _show:
                self.show, warnings.showwarning = warnings.showwarning, _show

    def leave(self):
        """Clear up behind the last one."""
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                if _FILTER in warnings.filters:
                    warnings.filters.remove(_FILTER)
                if warnings.showwarning is _show:
                    warnings.showwarning = self.show


def _show(message, category, *arguments, **options):
    if not _listener.take(category, str(message)):
        _process.show(message, category, *arguments, **options)


_listener, _process, _fits = _Listener(), _Process(), threading.local()
_FILTER = ("always", None, _listener, None, 0)


@contextlib.contextmanager
def _listening(heard):
    _process.enter()
    before, _listener.heard = _listener.heard, heard
    try:
        yield
    finally:
        _listener.heard = before
        _process.leave()


def heard(function, *arguments, **options):
    """Result of a call, and its warnings: texts and counts by category and words.

    Made to run in a worker, thread or process, which knows no filters of the caller.
    """
    found = {}
    with _listening(found):
        result = function(*arguments, **options)
    return result, found


def quietly(function, *arguments, kinds):
    """Result of a call whose warnings of some kinds are nobody's business."""
    result, found = heard(function, *arguments)
    tell([found], lambda category, text: issubclass(category, kinds))
    return result


def tell(found, silenced=lambda category, text: False):
    """Keep warnings of calls for the end of the fit; say them now outside of one.

    Parameters
    ----------
    found : list of dict
        As :func:`heard` returns them.
    silenced : callable
        Of category and text: whether to leave a warning out.
    """
    fits = getattr(_fits, "pending", None)
    pending = {} if fits is None else fits
    for own in found:
        for key, (text, count) in own.items():
            if not silenced(key[0], text):
                first, before = pending.get(key, (text, 0))
                pending[key] = first, before + count
    if fits is None:
        _say(pending)


@contextlib.contextmanager
def unheard():
    """Context whose warnings, and those of fits in it, are nobody's business."""
    before, _fits.pending = getattr(_fits, "pending", None), {}
    try:
        with _listening({}):
            yield
    finally:
        _fits.pending = before


def _say(pending):
    for (category, _), (text, count) in pending.items():
        times = f" (said {count} times by parts of this fit)" if count > 1 else ""
        warn(f"{text}{times}", category)


def tells_once(fit):
    """Say at the end of a fit, once, what it and its parts have warned of."""

    @functools.wraps(fit)
    def wrapped(*args, **kwargs):
        before = getattr(_fits, "pending", None)
        pending = _fits.pending = {}
        try:
            result, own = heard(fit, *args, **kwargs)
            tell([own])
        finally:
            _fits.pending = before
        _say(pending)
        return result

    return wrapped
